"""Externs against a made-up kernel: kconfig values, addresses, types, modules, and what libbpf would say of each failure."""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bpfload.btf.writer import BtfBuilder
from bpfload.errors import LinkError
from bpfload.kernel import btf as kernel_btf
from bpfload.kernel import kallsyms, kconfig, syscalls, version
from bpfload.load import externs
from bpfload.spec import ExternSpec, MapSpec, ObjectSpec

CONFIG = b'CONFIG_A=y\nCONFIG_N=250\nCONFIG_S="text"\nCONFIG_BAD=m\n'
SYMBOLS = b"""ffffffff81000000 T start
ffffffff82000000 D jiffies
ffffffff82000010 d twice
ffffffff82000020 d twice\t[some_module]
"""


class Kernel:
    """Types: variable `current` of struct task *, function `do_it` of (int) -> int; the module has `in_module` of () -> void."""

    def __init__(self) -> None:
        builder = BtfBuilder()
        number = builder.add_int("int", 4, 1)
        task = builder.add_struct("task", 4, [("pid", number, 0)])
        self.current = builder.add_var("current", builder.add_pointer(task))
        self.do_it = builder.add_func("do_it", builder.add_func_proto(number, [("how", number)]))
        self.btf = builder.build("vmlinux")
        split = BtfBuilder(base=self.btf)
        self.in_module = split.add_func("in_module", split.add_func_proto(0))
        self.in_module_too = split.add_func("in_module_too", split.add_func_proto(0))
        self.modules = [SimpleNamespace(btf=split.build("some_module"), fd=77, name="some_module")]


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(kernel_btf, "vmlinux", lambda: made.btf)
    monkeypatch.setattr(kernel_btf, "modules", lambda: made.modules)
    monkeypatch.setattr(kallsyms, "load", lambda: kallsyms.Kallsyms(SYMBOLS))
    monkeypatch.setattr(kconfig, "read", lambda: CONFIG)
    monkeypatch.setattr(version, "code", lambda: 0x060102)
    monkeypatch.setattr(syscalls, "has_wrapper", lambda: True)
    return made


def session(*specs: ExternSpec, make: Callable[[BtfBuilder], object] = lambda b: None, overlay: str = "") -> Any:
    builder = BtfBuilder()
    make(builder)
    spec = ObjectSpec("object", btf=builder.build("object"))
    spec.externs = {extern.name: extern for extern in specs}
    size = max((extern.offset + extern.size for extern in specs), default=0)
    spec.maps = {"object.kconfig": MapSpec("object.kconfig", kind="kconfig", value_size=size)}
    options = SimpleNamespace(kconfig=overlay)
    fields = {"spec": spec, "options": options, "externs": {}, "kconfig_value": None, "fd_array": []}
    return SimpleNamespace(**fields, module_fd=lambda module: module.fd)


def option(name: str, kind: str = "int", size: int = 4, *, offset: int = 0, weak: bool = False) -> ExternSpec:
    return ExternSpec(name, "kconfig", weak=weak, value_kind=kind, size=size, offset=offset, type_id=1)


def fails(made: Any, code: int, text: str) -> LinkError:
    with pytest.raises(LinkError, match=text) as caught:
        externs.resolve(made)
    assert caught.value.errno_code == code
    return caught.value


class TestKconfig:
    def test_values(self) -> None:
        made = session(
            option("CONFIG_S", "string", 6, offset=8),
            option("CONFIG_A", "bool", 1, offset=4),
            option("CONFIG_N"),
        )
        externs.resolve(made)
        assert made.kconfig_value == b"\xfa\0\0\0\1\0\0\0text\0\0"
        assert [(name, value.kind, value.offset) for name, value in made.externs.items()] == [
            ("CONFIG_S", "kconfig", 8),
            ("CONFIG_A", "kconfig", 4),
            ("CONFIG_N", "kconfig", 0),
        ]

    def test_overlay_goes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = session(option("CONFIG_N"), option("CONFIG_MORE", offset=4), overlay="CONFIG_N=1\nCONFIG_MORE=2\n")
        monkeypatch.setattr(kconfig, "read", None)
        externs.resolve(made)
        assert made.kconfig_value == b"\1\0\0\0\2\0\0\0"

    def test_overlay_and_kernel(self) -> None:
        made = session(option("CONFIG_N"), option("CONFIG_MORE", offset=4), overlay="CONFIG_MORE=2")
        externs.resolve(made)
        assert made.kconfig_value == b"\xfa\0\0\0\2\0\0\0"

    def test_missing(self) -> None:
        error = fails(session(option("CONFIG_NOPE")), errno.ESRCH, "configuration doesn't set it")
        assert error.symbol == "CONFIG_NOPE"
        weak = session(option("CONFIG_NOPE", weak=True))
        externs.resolve(weak)
        assert weak.kconfig_value == bytes(4)
        assert weak.externs["CONFIG_NOPE"].kind == "kconfig"

    def test_misfits(self) -> None:
        fails(session(option("CONFIG_BAD", "bool", 1)), errno.EINVAL, "tristate")
        fails(session(option("CONFIG_N", size=4), overlay="CONFIG_N=0x100000000"), errno.EINVAL, "doesn't fit")
        fails(session(option("CONFIG_N"), overlay="CONFIG_OTHER"), errno.EINVAL, "sets no option")

    def test_virtual(self) -> None:
        made = session(
            option("LINUX_KERNEL_VERSION"),
            option("LINUX_HAS_SYSCALL_WRAPPER", "bool", 1, offset=4),
            option("LINUX_NEW_THING", offset=8, weak=True),
        )
        externs.resolve(made)
        assert made.kconfig_value == b"\2\1\6\0\1\0\0\0\0\0\0\0"

    def test_virtual_misfits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fails(session(option("LINUX_NEW_THING")), errno.EINVAL, "no kconfig value")
        fails(session(option("OTHER", weak=True)), errno.EINVAL, "no kconfig value")
        fails(session(option("LINUX_KERNEL_VERSION", size=2)), errno.ERANGE, "doesn't fit")
        monkeypatch.setattr(version, "code", lambda: 0)
        fails(session(option("LINUX_KERNEL_VERSION")), errno.EINVAL, "version can't be told")


class TestAddresses:
    def test_found(self) -> None:
        made = session(ExternSpec("jiffies", "ksym"), ExternSpec("nope", "ksym", weak=True))
        externs.resolve(made)
        assert made.kconfig_value is None
        assert made.externs["jiffies"].address == 0xFFFFFFFF82000000
        assert (made.externs["nope"].kind, made.externs["nope"].address) == ("address", 0)

    def test_failures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fails(session(ExternSpec("nope", "ksym")), errno.ESRCH, "no such symbol")
        fails(session(ExternSpec("twice", "ksym", weak=True)), errno.EINVAL, "ambiguous")
        monkeypatch.setattr(kallsyms, "load", lambda: kallsyms.Kallsyms(b""))
        fails(session(ExternSpec("jiffies", "ksym", weak=True)), errno.EINVAL, "can't be read")


def pointer_to(kind: str) -> Callable[[BtfBuilder], object]:
    def make(builder: BtfBuilder) -> None:
        builder.add_struct("other", 8) if kind == "struct" else builder.add_int("long", 8)
        builder.add_pointer(1)

    return make


class TestVariables:
    def test_found(self, kernel: Kernel) -> None:
        made = session(ExternSpec("current", "ksym", type_id=2), make=pointer_to("struct"))
        externs.resolve(made)
        value = made.externs["current"]
        assert (value.kind, value.btf_id, value.btf_fd) == ("btf", kernel.current, 0)

    def test_missing(self) -> None:
        fails(session(ExternSpec("nope", "ksym", type_id=2), make=pointer_to("struct")), errno.EINVAL, "variable 'nope'")
        weak = session(ExternSpec("nope", "ksym", type_id=2, weak=True), make=pointer_to("struct"))
        externs.resolve(weak)
        assert weak.externs["nope"].kind == "address"

    @pytest.mark.parametrize("weak", [True, False])
    def test_of_another_type(self, weak: bool) -> None:
        made = session(ExternSpec("current", "ksym", type_id=2, weak=weak), make=pointer_to("int"))
        fails(made, errno.EINVAL, r"declared as long \*, and is struct task \* in vmlinux")


def function(name: str, params: int = 0) -> Callable[[BtfBuilder], object]:
    def make(builder: BtfBuilder) -> None:
        number = builder.add_int("int", 4, 1)
        returned = number if params else 0
        builder.add_func(name, builder.add_func_proto(returned, [("p", number)] * params))

    return make


class TestFunctions:
    def test_of_the_kernel(self, kernel: Kernel) -> None:
        made = session(ExternSpec("do_it", "kfunc", type_id=3), make=function("do_it", 1))
        externs.resolve(made)
        value = made.externs["do_it"]
        assert (value.kind, value.btf_id, value.btf_fd, value.fd_index) == ("btf", kernel.do_it, 0, 0)
        assert made.fd_array == []

    def test_flavours(self, kernel: Kernel) -> None:
        flavoured = ExternSpec("do_it___new", "kfunc", type_id=3, essential_name="do_it")
        made = session(flavoured, make=function("do_it___new", 1))
        externs.resolve(made)
        assert made.externs["do_it___new"].btf_id == kernel.do_it

    def test_of_a_module(self, kernel: Kernel) -> None:
        def make(builder: BtfBuilder) -> None:
            proto = builder.add_func_proto(0)
            builder.add_func("in_module", proto)
            builder.add_func("in_module_too", proto)

        made = session(ExternSpec("in_module", "kfunc", type_id=2), ExternSpec("in_module_too", "kfunc", type_id=3), make=make)
        externs.resolve(made)
        first, second = made.externs.values()
        assert (first.btf_id, first.btf_fd, first.fd_index) == (kernel.in_module, 77, 1)
        assert (second.btf_id, second.btf_fd, second.fd_index) == (kernel.in_module_too, 77, 1)
        assert made.fd_array == [0, 77]

    def test_missing(self) -> None:
        fails(session(ExternSpec("nope", "kfunc", type_id=3), make=function("nope", 1)), errno.EINVAL, "function 'nope'")
        weak = session(ExternSpec("nope", "kfunc", type_id=3, weak=True), make=function("nope", 1))
        externs.resolve(weak)
        assert weak.externs["nope"].kind == "missing"

    def test_declared_in_another_way(self) -> None:
        fails(
            session(ExternSpec("do_it", "kfunc", type_id=3), make=function("do_it", 2)), errno.EINVAL, "declared as .* in vmlinux"
        )
        weak = session(ExternSpec("do_it", "kfunc", type_id=3, weak=True), make=function("do_it", 2))
        externs.resolve(weak)
        assert weak.externs["do_it"].kind == "missing"

    def test_a_struct_that_is_only_declared(self, kernel: Kernel) -> None:
        """`struct task;` is no match for the kernel's struct, however alike the two prototypes look."""
        split = BtfBuilder(base=kernel.btf)
        split.add_func("look_at", split.add_func_proto(0, [("task", split.add_pointer(kernel.btf.find("task")))]))
        kernel.modules[:] = [SimpleNamespace(btf=split.build("some_module"), fd=77, name="some_module")]

        def make(builder: BtfBuilder, *, defined: bool) -> None:
            task = builder.add_struct("task", 4, []) if defined else builder.add_fwd("task")
            builder.add_func("look_at", builder.add_func_proto(0, [("task", builder.add_pointer(task))]))

        extern = ExternSpec("look_at", "kfunc", type_id=4)
        externs.resolve(session(extern, make=lambda builder: make(builder, defined=True)))
        error = fails(session(extern, make=lambda builder: make(builder, defined=False)), errno.EINVAL, "in some_module")
        assert "only declares" in error.hint
