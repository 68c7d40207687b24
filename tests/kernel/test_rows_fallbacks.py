"""What is done for older kernels, and what a refusal says.

The running kernel plays an older one: the library's answers to what it has are replaced, and calls with what the older one lacks
are refused before they reach it. What is then loaded instead goes to the real kernel, which has to take it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import unpack_from
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.errors import KernelError, VerifierError
from bpfload.features import probes
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.insn.assemble import load as load_insn
from bpfload.insn.codec import BPF_DW
from bpfload.load import LoadOptions, Object, load
from bpfload.objects.btf import BtfObject
from bpfload.spec import ObjectSpec, ProgramSpec
from bpfload.syscall import bpf
from support.features_data import load_only, only, path, run_tracing, spec_of, theirs
from support.libbpf import Libbpf
from support.rows import row, rows_of_parameters

pytestmark = pytest.mark.needs_feature("enum64", "raw_tracepoint")

PROGRAM = "a_program_with_a_long_name"


class OldKernel:
    """The running kernel without some features. `calls`: the arguments of each call that it took, by the call's name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
        self.monkeypatch = monkeypatch
        self.calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}
        for name in probes.FEATURES:
            monkeypatch.setitem(probes._answers, name, name not in missing)

    def refuse(self, call: str, when: Callable[..., bool], code: int = errno.EINVAL) -> None:
        """Refuse a call whose arguments `when` is true for."""
        real = getattr(bpf, call)
        taken = self.calls.setdefault(call, [])

        def stand_in(*arguments: Any, **fields: Any) -> Any:
            if when(*arguments, **fields):
                raise KernelError(f"BPF_{call.upper()}", code)
            result = real(*arguments, **fields)
            taken.append((tuple(bytes(a) if isinstance(a, bytearray) else a for a in arguments), fields))
            return result

        self.monkeypatch.setattr(bpf, call, stand_in)


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., OldKernel]:
    return lambda *missing: OldKernel(monkeypatch, *missing)


def types_in_kernel(live: Object) -> Btf:
    info = live.program().info()
    with BtfObject.from_id(info.btf_id) as holder:
        return holder.btf()


def kinds(btf: Btf) -> set[int]:
    return {entry.kind for entry in btf.types()}


# --- BTF ------------------------------------------------------------------------------------------------------------

#: In the order in which Linux got them: a kernel without one has none of the later ones.
IN_ORDER = ("btf_func", "btf_datasec", "btf_func_global", "btf_float", "btf_decl_tag", "btf_type_tag", "btf_enum64")

#: The first feature that the kernel lacks, the kind that it doesn't know for that, the kind that must be there instead.
SANITISED = {
    "VAR to INT": ("btf_datasec", t.KIND_VAR, t.KIND_INT),
    "DATASEC to STRUCT": ("btf_datasec", t.KIND_DATASEC, t.KIND_STRUCT),
    "DECL_TAG to INT": ("btf_decl_tag", t.KIND_DECL_TAG, t.KIND_INT),
    "FUNC to TYPEDEF": ("btf_func", t.KIND_FUNC, t.KIND_TYPEDEF),
    "FUNC_PROTO to ENUM": ("btf_func", t.KIND_FUNC_PROTO, t.KIND_ENUM),
    "FLOAT to STRUCT": ("btf_float", t.KIND_FLOAT, t.KIND_STRUCT),
    "TYPE_TAG to CONST": ("btf_type_tag", t.KIND_TYPE_TAG, t.KIND_CONST),
    "ENUM64 to UNION": ("btf_enum64", t.KIND_ENUM64, t.KIND_UNION),
}


@pytest.mark.parametrize(("feature", "unknown", "instead"), rows_of_parameters(SANITISED))
def test_btf_of_older_kernels(old_kernel: Callable[..., OldKernel], feature: str, unknown: int, instead: int) -> None:
    """What the older kernel doesn't know is rewritten; map and program are loaded with the rest, and the program runs."""
    spec = spec_of("oldkernel")
    assert spec.btf is not None
    kernel = old_kernel(*IN_ORDER[IN_ORDER.index(feature) :])
    kernel.refuse("btf_load", lambda data, **_: unknown in kinds(Btf.parse(bytes(data))))
    with load(spec, only(PROGRAM)) as live:
        (((data,), _),) = kernel.calls["btf_load"]
        sent = Btf.parse(bytes(data))
        rewritten = [entry.id for entry in spec.btf.types() if entry.kind == unknown]
        assert rewritten
        assert {sent.type(ident).kind for ident in rewritten} == {instead}
        run_tracing(live, PROGRAM)
        # Without functions in BTF a program has no records that refer to them.
        assert (live.program().info().nr_func_info > 0) == (feature != "btf_func")
        if feature != "btf_func":
            assert types_in_kernel(live).raw == sent.raw
        assert live.map("a_map_with_a_long_name").info().btf_value_type_id > 0
        assert live.notes == []


@row("global to static FUNC")
def test_global_functions_on_older_kernels(old_kernel: Callable[..., OldKernel]) -> None:
    def has_global(data: bytes, **_: Any) -> bool:
        btf = Btf.parse(bytes(data))
        return any(entry.kind == t.KIND_FUNC and entry.linkage for entry in btf.types())

    kernel = old_kernel("btf_func_global")
    kernel.refuse("btf_load", has_global)
    with load_only("oldkernel", PROGRAM) as live:
        run_tracing(live, PROGRAM)
        assert live.program().info().nr_func_info == 2
        assert not has_global(types_in_kernel(live).raw)


def test_all_kinds_at_once(old_kernel: Callable[..., OldKernel]) -> None:
    """Linux 4.18: only the oldest kinds are left."""
    kernel = old_kernel(*(name for name in probes.FEATURES if name.startswith("btf_")))
    kernel.refuse("btf_load", lambda data, **_: bool({k for k in kinds(Btf.parse(bytes(data))) if k > t.KIND_RESTRICT}))
    with load_only("oldkernel", PROGRAM) as live:
        run_tracing(live, PROGRAM)
        assert live.map("a_map_with_a_long_name").info().btf_value_type_id > 0


def test_a_kernel_that_refuses_all_btf(old_kernel: Callable[..., OldKernel]) -> None:
    """Then there is none, and that is noted."""
    kernel = old_kernel("btf_float")
    kernel.refuse("btf_load", lambda *_, **__: True)
    with load_only("oldkernel", PROGRAM) as live:
        run_tracing(live, PROGRAM)
        assert live.program().info().btf_id == 0
        assert live.notes == ["the kernel refused the object's BTF (Invalid argument): loading without it"]


# --- programs and maps ----------------------------------------------------------------------------------------------


def helpers(insns: bytes) -> list[int]:
    """The helpers that instructions call."""
    places = range(0, len(insns), 8)
    return [unpack_from("<i", insns, place + 4)[0] for place in places if insns[place] == 0x85 and not insns[place + 1] >> 4]


@row("probe_read_kernel to probe_read")
@pytest.mark.needs_feature("probe_read", since="4.1", config="CONFIG_ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE")
def test_probe_read(old_kernel: Callable[..., OldKernel]) -> None:
    kernel = old_kernel("probe_read_kernel")
    kernel.refuse("prog_load", lambda kind, insns, license, **_: bool({112, 113, 114, 115} & set(helpers(insns))))
    with load_only("oldkernel", PROGRAM) as live:
        run_tracing(live, PROGRAM)
    (loaded,) = (arguments[1] for arguments, _ in kernel.calls["prog_load"])
    assert [number for number in helpers(loaded) if number in (4, 45)] == [4, 4, 45, 45]


@row("long names dropped")
def test_names(old_kernel: Callable[..., OldKernel]) -> None:
    """Kernels before 4.15 take no names; later ones take 15 characters."""
    with load_only("oldkernel", PROGRAM) as live:
        assert live.program().info().name == PROGRAM[:15]
        assert live.map("a_map_with_a_long_name").info().name == "a_map_with_a_long_name"[:15]
    kernel = old_kernel("prog_name")
    for call in ("prog_load", "map_create"):
        kernel.refuse(call, lambda *_, name, **__: bool(name), errno.E2BIG)
    with load_only("oldkernel", PROGRAM) as live:
        assert live.program().info().name == live.map("a_map_with_a_long_name").info().name == ""
        run_tracing(live, PROGRAM)


@row("expected_attach_type dropped")
def test_expected_attach_type(old_kernel: Callable[..., OldKernel]) -> None:
    kernel = old_kernel("expected_attach_type")
    kernel.refuse("prog_load", lambda *_, expected_attach_type, **__: bool(expected_attach_type), errno.E2BIG)
    with load_only("oldkernel", "with_optional_attach_type") as live:
        assert live.program().info().type == consts.BPF_PROG_TYPE_XDP
    assert [fields["expected_attach_type"] for _, fields in kernel.calls["prog_load"]] == [0]
    with pytest.raises(KernelError, match="E2BIG"):
        load_only("programs", "fragments")  # not optional for xdp.frags


@row("mmapable arrays dropped")
def test_mmapable(old_kernel: Callable[..., OldKernel]) -> None:
    with load_only("oldkernel", PROGRAM) as live:
        assert live.map(".data").info().map_flags == consts.BPF_F_MMAPABLE
    kernel = old_kernel("array_mmap")
    kernel.refuse("map_create", lambda *sizes, **_: len(sizes) > 4 and bool(sizes[4] & consts.BPF_F_MMAPABLE))
    with load_only("oldkernel", PROGRAM) as live:
        assert live.map(".data").info().map_flags == 0
        run_tracing(live, PROGRAM)
        assert live.value("counter") == 1


@row("global data dropped")
def test_global_data(old_kernel: Callable[..., OldKernel]) -> None:
    """Without it a program that has no use for it is loaded; one that has is told what is missing."""
    kernel = old_kernel("global_data")
    kernel.refuse("map_create", lambda *_, name, **__: name.endswith((".data", ".bss")))
    with load_only("oldkernel", "with_optional_attach_type") as live:
        assert list(live.maps) == ["a_map_with_a_long_name"]
    with pytest.raises(VerifierError, match=r"map '\.\w+' is referenced but wasn't created"):
        load_only("oldkernel", PROGRAM)


# --- refusals -------------------------------------------------------------------------------------------------------


class TestVerifierLog:
    """No log without need; one with need, in a buffer that grows until it holds what is wanted."""

    #: The log of so many instructions is some times as large as the first buffer.
    COUNT = 40000

    def refused(self, options: LoadOptions) -> VerifierError:
        steps = [mov64_imm(0, number) for number in range(self.COUNT)]
        insns = assemble(*steps, mov64_imm(2, 0), load_insn(BPF_DW, 0, 2), exit_())
        program = ProgramSpec("long", "xdp", 0, insns, type=consts.BPF_PROG_TYPE_XDP, attach_type=consts.BPF_XDP)
        with pytest.raises(VerifierError, match="R2 invalid mem access 'scalar'") as caught:
            load(ObjectSpec("object", license="GPL", programs=[program]), options)
        return caught.value

    @pytest.fixture
    def loads(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """(log level, size of the buffer) of each BPF_PROG_LOAD."""
        seen: list[tuple[int, int]] = []
        real = bpf.prog_load

        def spy(*arguments: Any, **fields: Any) -> int:
            if fields["name"] in ("long", "map_reference"):  # and not what probes load
                seen.append((fields["log_level"], len(fields["log"] or b"")))
            return real(*arguments, **fields)

        monkeypatch.setattr(bpf, "prog_load", spy)
        return seen

    @row("verifier log")
    def test_none_for_a_program_that_loads(self, loads: list[tuple[int, int]]) -> None:
        load_only("basics", "map_reference").close()
        assert loads == [(0, 0)]

    @row("verifier log")
    @pytest.mark.needs_feature("rolling_log", since="6.4")
    def test_its_end_says_why(self, loads: list[tuple[int, int]]) -> None:
        """A buffer that is too small for all of the log holds the end of it, which is enough."""
        error = self.refused(LoadOptions())
        assert [level for level, _ in loads] == [0, 1]
        assert len(error.log) < loads[1][1]
        assert "processed" in error.log
        assert len(error.tail) == 8
        assert f"{self.COUNT + 1}: (79) r0 = *(u64 *)(r2 +0)" in error.tail[-1]

    @row("verifier log")
    def test_all_of_it_where_it_was_asked_for(self, loads: list[tuple[int, int]]) -> None:
        error = self.refused(LoadOptions(log_level=1))
        sizes = [size for _, size in loads]
        assert sizes == sorted(sizes)
        assert len(sizes) >= 2
        assert sizes[-1] > len(error.log) > sizes[0]
        assert "\n0: (b7) r0 = 0 " in error.log
        assert f"{self.COUNT - 1}: (b7) r0 = {self.COUNT - 1} " in error.log


def line_of(name: str, text: str) -> str:
    """Where a text stands in an object's source: as a message should say it."""
    lines = path(name).with_suffix(".c").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line]
    return f"{name}.bpf.c:{number}: {lines[number - 1].strip()}"


@row("diagnosis of a CO-RE relocation")
def test_field_type_and_line_of_a_core_relocation(libbpf: Libbpf) -> None:
    with pytest.raises(VerifierError) as caught:
        load_only("core", "missing_member")
    error = caught.value
    assert error.errno_code == theirs(libbpf, "core", "missing_member").errno
    assert "struct task_struct___other.no_such_member" in error.reason
    assert "struct task_struct has no member no_such_member in vmlinux" in error.reason
    assert error.source == line_of("core", "if (task->no_such_member)")
    assert "bpf_core_field_exists" in error.hint
    assert "195896080" not in error.message


@row("diagnosis of a map")
def test_name_and_line_of_a_map_that_was_not_created() -> None:
    spec = spec_of("programs")
    spec.maps["exclusive"].autocreate = False
    with pytest.raises(VerifierError) as caught:
        load(spec, only("intruder"))
    assert caught.value.reason == "map 'exclusive' is referenced but wasn't created"
    assert caught.value.source == line_of("programs", "return bpf_map_lookup_elem(&exclusive, &key) != 0;")
    assert "unknown#" not in caught.value.message


@row("diagnosis of a kfunc")
def test_name_and_line_of_a_function_that_is_not_there() -> None:
    overlay = "".join(
        f"CONFIG_TEST_{name}={value}\n"
        for name, value in {
            "YES": "y", "NO": "n", "MODULE": "m", "CHAR": "y", "SIGNED": 1, "SHORT": 1, "INT": 1, "LONG": 1, "STRING": '"x"'
        }.items()
    )  # fmt: skip
    with pytest.raises(VerifierError) as caught:
        load_only("externs", "calls_unresolved", kconfig=overlay)
    assert caught.value.reason == "kfunc 'bpf_no_such_function' is called but this kernel doesn't have it"
    assert caught.value.source == line_of("externs", "/* not guarded */")
    assert "bpf_ksym_exists" in caught.value.hint
    assert "unknown#" not in caught.value.message
