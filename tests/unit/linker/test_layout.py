"""Linking: subprograms in libbpf's order, calls and callbacks patched, records moved along."""

from __future__ import annotations

import errno
from struct import pack, unpack, unpack_from

import pytest

from bpfload.errors import LIBBPF_RELOC, LinkError
from bpfload.insn.assemble import assemble, call, call_kfunc, call_subprog, exit_, ld_imm64, mov64_imm
from bpfload.linker import link
from bpfload.spec import (
    RELOC_CALL,
    RELOC_EXTERN_CALL,
    RELOC_MAP,
    RELOC_SUBPROG_ADDR,
    BtfExt,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    SectionInfo,
)


def entry(insns: bytes, *relocations: Relocation, name: str = "main", section: str = "xdp", offset: int = 0) -> ProgramSpec:
    return ProgramSpec(name, section, offset, insns, relocations=relocations, type=6)


def subprogram(name: str, offset: int, insns: bytes, *relocations: Relocation) -> ProgramSpec:
    return ProgramSpec(name, ".text", offset, insns, is_subprog=True, relocations=relocations)


def call_to(slot: int, symbol_offset: int, symbol: str = "sub") -> Relocation:
    return Relocation(slot * 8, RELOC_CALL, symbol, ".text", symbol_offset)


def call_targets(insns: bytes | bytearray) -> list[int]:
    """Slot that each subprogram call goes to."""
    calls = [slot for slot in range(len(insns) // 8) if insns[slot * 8] == 0x85 and insns[slot * 8 + 1] >> 4 == 1]
    return [slot + 1 + unpack_from("<i", insns, slot * 8 + 4)[0] for slot in calls]


def test_program_without_calls_is_unchanged() -> None:
    insns = assemble(mov64_imm(0, 2), exit_())
    linked = link(ObjectSpec("o", programs=[entry(insns)]), entry(insns))
    assert linked.insns == insns
    assert [start for start, _ in linked.functions] == [0]


def test_subprograms_are_appended_depth_first_in_the_order_of_their_calls() -> None:
    # main calls b, then a; b calls c: libbpf's order is main, b, c, a.
    a = subprogram("a", 0, assemble(mov64_imm(0, 1), exit_()))
    b = subprogram("b", 16, assemble(call_subprog(-1), mov64_imm(0, 2), exit_()), call_to(0, 40))
    c = subprogram("c", 40, assemble(mov64_imm(0, 3), exit_()))
    main = entry(assemble(call_subprog(-1), call_subprog(-1), exit_()), call_to(0, 16), call_to(1, 0))
    linked = link(ObjectSpec("o", programs=[main, a, b, c]), main)
    assert [function.name for _, function in linked.functions] == ["main", "b", "c", "a"]
    assert call_targets(linked.insns) == [3, 8, 6]


def test_subprogram_called_twice_is_there_once() -> None:
    sub = subprogram("sub", 0, assemble(mov64_imm(0, 1), exit_()))
    main = entry(assemble(call_subprog(-1), call_subprog(-1), exit_()), call_to(0, 0), call_to(1, 0))
    linked = link(ObjectSpec("o", programs=[main, sub]), main)
    assert len(linked.insns) == 5 * 8
    assert call_targets(linked.insns) == [3, 3]


def test_subprogram_that_is_not_called_is_left_out() -> None:
    sub = subprogram("sub", 0, assemble(mov64_imm(0, 1), exit_()))
    main = entry(assemble(mov64_imm(0, 0), exit_()))
    assert link(ObjectSpec("o", programs=[main, sub]), main).insns == main.insns


def test_recursion_ends() -> None:
    sub = subprogram("sub", 0, assemble(call_subprog(-1), exit_()))
    main = entry(assemble(call_subprog(-1), exit_()), call_to(0, 0))
    linked = link(ObjectSpec("o", programs=[main, sub]), main)
    assert call_targets(linked.insns) == [2, 2]


def test_static_function_is_found_by_its_section_and_the_calls_immediate() -> None:
    # Clang's call of a static function: relocated against the section, the immediate counts slots from its start.
    first = subprogram("first", 0, assemble(mov64_imm(0, 1), exit_()))
    second = subprogram("second", 16, assemble(mov64_imm(0, 2), exit_()))
    main = entry(assemble(call_subprog(1), exit_()), call_to(0, 0, ".text"))
    linked = link(ObjectSpec("o", programs=[main, first, second]), main)
    assert [function.name for _, function in linked.functions] == ["main", "second"]


def test_call_within_text_needs_no_relocation() -> None:
    outer = subprogram("outer", 0, assemble(call_subprog(1), exit_()))
    inner = subprogram("inner", 16, assemble(mov64_imm(0, 2), exit_()))
    main = entry(assemble(call_subprog(-1), exit_()), call_to(0, 0))
    linked = link(ObjectSpec("o", programs=[main, outer, inner]), main)
    assert [function.name for _, function in linked.functions] == ["main", "outer", "inner"]
    assert call_targets(linked.insns) == [2, 4]


def test_callback_becomes_a_relative_function_address() -> None:
    callback = subprogram("callback", 8, assemble(mov64_imm(0, 0), exit_()))
    main = entry(assemble(ld_imm64(2, 8), exit_()), Relocation(0, RELOC_SUBPROG_ADDR, "callback", ".text", 0))
    linked = link(ObjectSpec("o", programs=[main, subprogram("other", 0, exit_()), callback]), main)
    assert linked.insns[1] >> 4 == 4  # BPF_PSEUDO_FUNC
    assert unpack("<i", linked.insns[4:8]) == (2,)  # from the next slot to the fourth
    assert [function.name for _, function in linked.functions] == ["main", "callback"]


def test_exception_callback_comes_last() -> None:
    main = entry(assemble(mov64_imm(0, 0), exit_()))
    main.exception_callback = "oops"
    oops = subprogram("oops", 0, assemble(mov64_imm(0, 1), exit_()))
    linked = link(ObjectSpec("o", programs=[main, oops]), main)
    assert [function.name for _, function in linked.functions] == ["main", "oops"]


def test_references_of_subprograms_move_with_them() -> None:
    sub = subprogram("sub", 0, assemble(ld_imm64(1, 0), exit_()), Relocation(0, RELOC_MAP, "m", "m"))
    main = entry(assemble(call_subprog(-1), exit_()), call_to(0, 0))
    linked = link(ObjectSpec("o", programs=[main, sub]), main)
    assert [(offset, relocation.target) for offset, relocation in linked.relocations] == [(16, "m")]


def test_kfunc_calls_are_not_calls_of_subprograms() -> None:
    kfunc = call_kfunc(0)[:1] + b"\x10" + call_kfunc(0)[2:]  # as clang leaves it: BPF_PSEUDO_CALL
    main = entry(assemble(kfunc, exit_()), Relocation(0, RELOC_EXTERN_CALL, "bpf_k", "bpf_k"))
    linked = link(ObjectSpec("o", programs=[main]), main)
    assert len(linked.relocations) == 1


def test_helper_calls_are_left_alone() -> None:
    main = entry(assemble(call(6), exit_()))
    assert link(ObjectSpec("o", programs=[main]), main).insns == main.insns


def test_call_to_nowhere_names_the_symbol_and_has_libbpfs_number() -> None:
    main = entry(assemble(mov64_imm(0, 0), call_subprog(-1), exit_()), call_to(1, 800, "lost"))
    with pytest.raises(LinkError, match=r"program 'main', instruction 1: the call of 'lost' leads to no function") as caught:
        link(ObjectSpec("o", programs=[main]), main)
    assert caught.value.errno_code == LIBBPF_RELOC


def records(*offsets: int, section: str, size: int = 8) -> SectionInfo:
    return SectionInfo(section, size, b"".join(pack("<II", offset, 7) + bytes(size - 8) for offset in offsets))


def test_func_info_and_line_info_move_to_the_functions_new_place() -> None:
    sub = subprogram("sub", 16, assemble(mov64_imm(0, 1), exit_()))
    unused = subprogram("unused", 0, assemble(mov64_imm(0, 1), exit_()))
    main = entry(assemble(call_subprog(-1), exit_()), call_to(0, 16), offset=32)
    ext = BtfExt(
        func_info={"xdp": records(0, 32, section="xdp"), ".text": records(0, 16, section=".text")},
        line_info={"xdp": records(0, 32, 40, section="xdp", size=16), ".text": records(0, 16, 24, section=".text", size=16)},
    )
    linked = link(ObjectSpec("o", programs=[main, unused, sub], btf_ext=ext), main)
    assert [unpack_from("<I", linked.func_info, place)[0] for place in range(0, len(linked.func_info), 8)] == [0, 2]
    assert [unpack_from("<I", linked.line_info, place)[0] for place in range(0, len(linked.line_info), 16)] == [0, 1, 2, 3]


def test_program_without_records_of_its_own_gets_none() -> None:
    sub = subprogram("sub", 0, assemble(mov64_imm(0, 1), exit_()))
    main = entry(assemble(call_subprog(-1), exit_()), call_to(0, 0))
    ext = BtfExt(func_info={".text": records(0, section=".text")})
    assert not link(ObjectSpec("o", programs=[main, sub], btf_ext=ext), main).func_info


def test_subprogram_without_records_is_an_error_where_its_caller_has_some() -> None:
    sub = subprogram("sub", 0, assemble(mov64_imm(0, 1), exit_()))
    main = entry(assemble(call_subprog(-1), exit_()), call_to(0, 0))
    ext = BtfExt(func_info={"xdp": records(0, section="xdp")})
    with pytest.raises(LinkError, match=r"no func_info for it.*\n.*-g") as caught:
        link(ObjectSpec("o", programs=[main, sub], btf_ext=ext), main)
    assert caught.value.errno_code == errno.ENOENT


@pytest.mark.parametrize(
    ("callback", "message", "code"),
    [
        (None, "its exception callback 'oops' isn't in the object", errno.ENOENT),
        ({"is_global": False}, "its exception callback 'oops' must be a global function", errno.EINVAL),
        ({"hidden": True}, "its exception callback 'oops' must be a global function", errno.EINVAL),
    ],
)
def test_exception_callback_that_will_not_do(callback: dict[str, bool] | None, message: str, code: int) -> None:
    main = entry(assemble(mov64_imm(0, 0), exit_()))
    main.exception_callback = "oops"
    programs = [main]
    if callback is not None:
        oops = subprogram("oops", 0, assemble(mov64_imm(0, 1), exit_()))
        for name, value in callback.items():
            setattr(oops, name, value)
        programs.append(oops)
    with pytest.raises(LinkError, match=message) as caught:
        link(ObjectSpec("o", programs=programs), main)
    assert caught.value.errno_code == code
