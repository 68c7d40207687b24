"""CO-RE relocations and externs of every kind on the real kernel, and the same instructions as libbpf makes of them."""

from __future__ import annotations

import os
from pathlib import Path
from struct import unpack_from
from types import SimpleNamespace
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.btf import types as t
from bpfload.btf.core import CoreResolver
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import VerifierError
from bpfload.kernel import btf as kernel_btf
from bpfload.kernel import kallsyms, kconfig, version
from bpfload.load import LoadOptions, externs, load
from bpfload.spec import ExternSpec, ObjectSpec
from bpfload.syscall import bpf
from support import system
from support.features_data import assert_same_as_libbpf, load_only, only, path, run_tracing, spec_of, theirs
from support.libbpf import Libbpf
from support.rows import row, rows_of_parameters

pytestmark = [
    pytest.mark.needs_feature("vmlinux_btf"),
    pytest.mark.needs_feature("raw_tracepoint_test_run", since="5.10", config="CONFIG_BPF_EVENTS"),
]

OVERLAY = """
CONFIG_TEST_YES=y
CONFIG_TEST_NO=n
CONFIG_TEST_MODULE=m
CONFIG_TEST_CHAR=y
CONFIG_TEST_SIGNED=-3
CONFIG_TEST_SHORT=0xffff
CONFIG_TEST_INT=-7
CONFIG_TEST_LONG=0xffffffffffffffff
CONFIG_TEST_STRING="some text"
"""


def values(name: str, program: str, **options: Any) -> dict[str, Any]:
    """Load a program, run it once, and return the object's global variables."""
    with load_only(name, program, **options) as live:
        run_tracing(live, program)
        return {variable.name: live.value(variable.name) for variable in live.spec.variables}


# --- CO-RE ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core() -> dict[str, Any]:
    return values("core", "all_kinds")


class Kernel:
    """What the 13 kinds should give, read off the kernel's own types."""

    def __init__(self) -> None:
        self.btf = kernel_btf.vmlinux()
        self.task = self.btf.type(self.btf.find("task_struct", t.KIND_STRUCT))

    def member(self, name: str, of: t.Type | None = None, base: int = 0) -> tuple[int, int, int]:
        """Return (offset in bits, bits of a bit field, type id), looking into anonymous members too."""
        for member in (of or self.task).members:
            place = base + member.offset_bits
            if member.name == name:
                return place, member.bitfield_size, member.type_id
            inner = self.btf.type(self.btf.resolve(member.type_id))
            if not member.name and inner.kind in (t.KIND_STRUCT, t.KIND_UNION):
                try:
                    return self.member(name, inner, place)
                except KeyError:
                    continue
        raise KeyError(name)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel()


def _shifts(kernel: Kernel) -> tuple[int, int]:
    """Of a one-bit field, read as a whole of the type's width that is aligned to that width."""
    bit, bits, _ = kernel.member("in_execve")
    within = bit % 32
    return 64 - within - bits, 64 - bits


EXPECTED = {
    "CO-RE field byte_off": ("byte_off", lambda kernel: kernel.member("exit_code")[0] // 8),
    "CO-RE field byte_sz": ("byte_sz", lambda kernel: kernel.btf.size_of(kernel.member("comm")[2])),
    "CO-RE field exists": (("exists", "missing"), lambda kernel: (1, 0)),
    "CO-RE field signed": (("is_signed", "is_unsigned"), lambda kernel: (1, 0)),
    "CO-RE field lshift_u64": ("lshift", lambda kernel: _shifts(kernel)[0]),
    "CO-RE field rshift_u64": (("rshift", "bits"), lambda kernel: (_shifts(kernel)[1], 0)),
    "CO-RE type id local": ("id_local", lambda kernel: spec_of("core").btf.find("task_struct", t.KIND_STRUCT)),  # type: ignore[union-attr]
    "CO-RE type id target": (("id_target", "id_missing"), lambda kernel: (kernel.task.id, 0)),
    "CO-RE type exists": (("type_exists", "type_missing"), lambda kernel: (1, 0)),
    "CO-RE type size": ("type_size", lambda kernel: kernel.task.size),
    "CO-RE type matches": (("matches", "matches_not"), lambda kernel: (1, 0)),
    "CO-RE enumval exists": (("value_exists", "value_missing"), lambda kernel: (1, 0)),
    "CO-RE enumval value": ("value", lambda kernel: consts.BPF_MAP_TYPE_ARRAY),
}


@pytest.mark.parametrize(("names", "expected"), rows_of_parameters(EXPECTED))
def test_core(core: dict[str, Any], kernel: Kernel, names: Any, expected: Any) -> None:
    seen = core[names] if isinstance(names, str) else tuple(core[name] for name in names)
    assert seen == expected(kernel)


@row(*EXPECTED)
def test_core_as_libbpf_relocates_it(libbpf: Libbpf) -> None:
    with load_only("core", "all_kinds") as live:
        assert_same_as_libbpf(live, theirs(libbpf, "core", "all_kinds"))


@row("kernel BTF file")
def test_types_of_a_file(tmp_path: Path, libbpf: Libbpf) -> None:
    """A kernel made up of a few types, and the running kernel's own types under another name."""
    builder = BtfBuilder()
    number = builder.add_int("int", 4, 1)
    comm = builder.add_array(builder.add_int("char", 1, 1), number, 24)
    builder.add_struct("task_struct", 64, [("tgid", number, 0), ("exit_code", number, 128), ("comm", comm, 192)])
    small = tmp_path / "small.btf"
    small.write_bytes(builder.bytes())
    with pytest.raises(VerifierError, match=r"struct task_struct has no member in_execve in small.btf"):
        load(path("core"), only("all_kinds", kernel_btf=str(small)))
    whole = tmp_path / "whole.btf"
    whole.write_bytes(Path("/sys/kernel/btf/vmlinux").read_bytes())
    options = only("all_kinds", kernel_btf=str(whole))
    with load(path("core"), options) as live:
        assert_same_as_libbpf(live, theirs(libbpf, "core", "all_kinds", kernel_btf=str(whole)))


class Modules:
    """Types of a module that isn't there, split BTF on top of the running kernel's."""

    def __init__(self) -> None:
        split = BtfBuilder(base=kernel_btf.vmlinux())
        number = split.add_int("module_int", 4, 1)
        self.struct = split.add_struct("in_a_module", 24, [("before", number, 0), ("wanted", number, 160)])
        self.function = split.add_func("function_of_a_module", split.add_func_proto(0))
        self.entry = SimpleNamespace(btf=split.build("some_module"), fd=77, name="some_module")


@row("module BTF")
def test_types_of_a_module() -> None:
    """By split BTF in memory: it needs no kernel with modules."""
    module = Modules()
    builder = BtfBuilder()
    struct = builder.add_struct("in_a_module", 4, [("wanted", builder.add_int("int", 4, 1), 0)])
    resolver = CoreResolver(builder.build("object"), (kernel_btf.vmlinux(),), modules=lambda: [module.entry.btf])
    assert resolver.resolve(struct, "0:0", 0).new_val == 20


@row("kfunc in a module")
def test_functions_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call gets the function's id in the module's BTF, and the index of that BTF's fd in the program's fd_array."""
    module = Modules()
    monkeypatch.setattr(kernel_btf, "modules", lambda: [module.entry])
    builder = BtfBuilder()
    declared = builder.add_func("function_of_a_module", builder.add_func_proto(0), 2)
    spec = ObjectSpec("object", btf=builder.build("object"))
    spec.externs = {"function_of_a_module": ExternSpec("function_of_a_module", "kfunc", type_id=declared)}
    fields = {"spec": spec, "options": LoadOptions(), "externs": {}, "kconfig_value": None, "fd_array": []}
    session = SimpleNamespace(**fields, module_fd=lambda module: module.fd)
    externs.resolve(session)  # type: ignore[arg-type]
    found = session.externs["function_of_a_module"]
    assert (found.kind, found.btf_id, found.fd_index, session.fd_array) == ("btf", module.function, 1, [0, 77])


# --- kconfig --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    return values("externs", "options", kconfig=OVERLAY)


SETTINGS = {
    "kconfig bool": {"yes": True, "no": False, "syscall_on": True},
    "kconfig tristate": {"module": 2},
    "kconfig char": {"character": ord("y"), "signed_character": -3},
    "kconfig int": {"short_number": 0xFFFF, "number": -7, "long_number": 0xFFFFFFFFFFFFFFFF},
    "kconfig string": {"string": "some text"},
    "weak kconfig": {"absent": 0},
}


@pytest.mark.parametrize("expected", rows_of_parameters(SETTINGS))
def test_kconfig(options: dict[str, Any], expected: dict[str, Any]) -> None:
    seen = {name: _plain(options[name], wanted) for name, wanted in expected.items()}
    assert seen == expected


def _plain(value: Any, like: Any) -> Any:
    """Characters are numbers here, whatever they are shown as."""
    if isinstance(value, str) and isinstance(like, int):
        number = ord(value)
        return number - 256 if like < 0 else number
    return value


@row("kconfig overlay")
def test_overlay_goes_before_the_kernels(options: dict[str, Any], libbpf: Libbpf) -> None:
    assert options["hz"] == int(kconfig.value("CONFIG_HZ") or 0)
    assert values("externs", "options", kconfig=OVERLAY + "CONFIG_HZ=12345\n")["hz"] == 12345
    with load_only("externs", "options", kconfig=OVERLAY) as live:
        assert_same_as_libbpf(live, theirs(libbpf, "externs", "options", kconfig=OVERLAY))


@row("LINUX_KERNEL_VERSION")
def test_kernel_version(options: dict[str, Any]) -> None:
    seen = options["version"]
    assert seen == version.code()
    assert (seen >> 16, seen >> 8 & 255) == system.kernel_version()


@row("LINUX_HAS_SYSCALL_WRAPPER")
def test_syscall_wrapper(options: dict[str, Any]) -> None:
    table = kallsyms.load()
    prefix = {"x86_64": "__x64_", "aarch64": "__arm64_", "s390x": "__s390x_"}.get(os.uname().machine)
    assert options["wrapper"] == bool(prefix and table.address(f"{prefix}sys_bpf"))


@row("LINUX_HAS_BPF_COOKIE")
def test_bpf_cookie(options: dict[str, Any]) -> None:
    assert options["cookie"] == (system.kernel_version() >= (5, 15))


# --- ksyms, kfuncs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def addresses() -> dict[str, Any]:
    return values("externs", "addresses", kconfig=OVERLAY)


@row("typeless ksym")
def test_typeless_ksyms(addresses: dict[str, Any], libbpf: Libbpf) -> None:
    for line in Path("/proc/kallsyms").read_text().splitlines():
        if line.split()[2] == "ksys_write":
            assert addresses["symbol"] == int(line.split()[0], 16) > 0
    with load_only("externs", "addresses", kconfig=OVERLAY) as live:
        assert_same_as_libbpf(live, theirs(libbpf, "externs", "addresses", kconfig=OVERLAY))


@row("weak ksym")
def test_weak_ksyms(addresses: dict[str, Any]) -> None:
    """Without a type and with one: both are 0 where the kernel hasn't got them."""
    assert (addresses["weak_symbol"], addresses["weak_variable"]) == (0, 0)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The instructions of each program that the kernel was asked to load."""
    seen: list[bytes] = []
    real = bpf.prog_load

    def spy(kind: int, insns: bytearray, license: bytes, **fields: Any) -> int:
        seen.append(bytes(insns))
        return real(kind, insns, license, **fields)

    monkeypatch.setattr(bpf, "prog_load", spy)
    return seen


@row("typed ksym")
def test_typed_ksyms(loads: list[bytes], libbpf: Libbpf, kernel: Kernel) -> None:
    """The kernel is given the variable's id in its own BTF; it takes it if CONFIG_KALLSYMS_ALL lets it find the address."""
    wanted = kernel.btf.find("runqueues", t.KIND_VAR)
    if not wanted:
        pytest.skip("feature: this kernel's BTF has no variables (pahole before 1.18)")
    outcome = theirs(libbpf, "externs", "typed", kconfig=OVERLAY)
    if (system.kconfig() or {}).get("CONFIG_KALLSYMS_ALL") == "y":
        seen = values("externs", "typed", kconfig=OVERLAY)
        assert seen["cpu"] in (0, 1)
        with load_only("externs", "typed", kconfig=OVERLAY) as live:
            assert_same_as_libbpf(live, outcome)
    else:
        with pytest.raises(VerifierError, match="kernel symbol 'runqueues'") as caught:
            load_only("externs", "typed", kconfig=OVERLAY)
        assert caught.value.errno_code == outcome.errno
        assert "CONFIG_KALLSYMS_ALL" in caught.value.hint
    insns = loads[0]
    places = [place for place in range(0, len(insns), 8) if insns[place] == 0x18 and insns[place + 1] >> 4 == 3]
    assert [unpack_from("<i", insns, place + 4)[0] for place in places] == [wanted] * len(places)
    assert places


@row("kfunc")
@pytest.mark.needs_feature("bpf_rcu_read_lock", since="6.2")
def test_kernel_functions(loads: list[bytes], libbpf: Libbpf, kernel: Kernel) -> None:
    assert values("externs", "functions", kconfig=OVERLAY)["locked"] == 1
    calls = [place for place in range(0, len(loads[0]), 8) if loads[0][place] == 0x85 and loads[0][place + 1] >> 4 == 2]
    ids = [kernel.btf.find(name, t.KIND_FUNC) for name in ("bpf_rcu_read_lock", "bpf_rcu_read_unlock")]
    assert [unpack_from("<i", loads[0], place + 4)[0] for place in calls] == ids
    with load_only("externs", "functions", kconfig=OVERLAY) as live:
        assert_same_as_libbpf(live, theirs(libbpf, "externs", "functions", kconfig=OVERLAY))


@row("unresolved weak kfunc")
@pytest.mark.needs_feature("bpf_rcu_read_lock", since="6.2")
def test_unresolved_functions(libbpf: Libbpf) -> None:
    """Compared with 0 it is absent; called without a guard, the program is refused, and says why."""
    assert values("externs", "functions", kconfig=OVERLAY)["unresolved"] == 1
    with pytest.raises(VerifierError, match="kfunc 'bpf_no_such_function' is called but this kernel doesn't have it") as caught:
        load_only("externs", "calls_unresolved", kconfig=OVERLAY)
    assert caught.value.errno_code == theirs(libbpf, "externs", "calls_unresolved", kconfig=OVERLAY).errno
