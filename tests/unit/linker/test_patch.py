"""Patching of map, variable and extern references."""

from __future__ import annotations

from struct import unpack_from

import pytest

from bpfload.insn.assemble import assemble, call_kfunc, exit_, ld_imm64
from bpfload.linker import ExternValue, LinkedProgram, References, patch_references
from bpfload.spec import (
    RELOC_DATA,
    RELOC_EXTERN_CALL,
    RELOC_EXTERN_LD64,
    RELOC_MAP,
    ProgramSpec,
    Relocation,
)

LD = assemble(ld_imm64(1, 12), exit_())


def patched(insns: bytes, relocation: Relocation, references: References) -> bytearray:
    spec = ProgramSpec("main", "xdp", 0, insns)
    return patch_references(LinkedProgram(spec, bytearray(insns), relocations=[(0, relocation)]), references)


def fields(insns: bytearray) -> tuple[int, int, int]:
    """src_reg, first and second immediate of a ld_imm64."""
    return insns[1] >> 4, unpack_from("<i", insns, 4)[0], unpack_from("<i", insns, 12)[0]


def test_map_reference_becomes_its_fd() -> None:
    result = patched(LD, Relocation(0, RELOC_MAP, "m", "m"), References({"m": 9}, ["m"]))
    assert fields(result)[:2] == (1, 9)
    assert result[1] & 0xF == 1  # dst_reg is kept


def test_variable_is_the_maps_fd_and_the_symbols_offset_plus_the_addend() -> None:
    result = patched(LD, Relocation(0, RELOC_DATA, "counter", ".bss", 8), References({".bss": 9}, [".bss"]))
    assert fields(result) == (2, 9, 20)


def test_map_that_was_not_created_is_poisoned_with_its_number() -> None:
    result = patched(LD, Relocation(0, RELOC_MAP, "b", "b"), References({"a": 5}, ["a", "b"]))
    assert result[0] == result[8] == 0x85
    assert unpack_from("<i", result, 4)[0] == 2001000001


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ExternValue("kconfig", offset=16), (2, 7, 16)),
        (ExternValue("address", address=0xFFFFFFFF81000000), (0, -0x7F000000, -1)),
        (ExternValue("address"), (0, 0, 0)),
        (ExternValue("btf", btf_id=4711, btf_fd=3), (3, 4711, 3)),
    ],
)
def test_extern_loads(value: ExternValue, expected: tuple[int, int, int]) -> None:
    references = References({".kconfig": 7}, [".kconfig"], {"x": value})
    assert fields(patched(LD, Relocation(0, RELOC_EXTERN_LD64, "x", "x"), references)) == expected


def test_kfunc_call_gets_btf_id_and_index_of_its_modules_fd() -> None:
    references = References({}, [], {"bpf_k": ExternValue("btf", btf_id=99, btf_fd=4, fd_index=1)})
    result = patched(assemble(call_kfunc(0), exit_()), Relocation(0, RELOC_EXTERN_CALL, "bpf_k", "bpf_k"), references)
    assert result[1] >> 4 == 2
    assert unpack_from("<hi", result, 2) == (1, 99)


def test_unresolved_weak_kfunc_is_poisoned_with_its_number() -> None:
    references = References({}, [], {"a": ExternValue("missing"), "b": ExternValue("missing")})
    result = patched(assemble(call_kfunc(0), exit_()), Relocation(0, RELOC_EXTERN_CALL, "b", "b"), references)
    assert unpack_from("<BBhi", result) == (0x85, 0, 0, 2002000001)
