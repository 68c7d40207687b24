"""Results of CO-RE relocations into instructions: each form that can be relocated, and what is refused."""

from __future__ import annotations

import errno

import pytest

from bpfload.btf.core import POISON, CoreResult, patch
from bpfload.btf.core.spec import FIELD_BYTE_OFFSET, parse
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import LinkError
from bpfload.insn.codec import BIG, LITTLE, Codec

ADD_IMM = 0x07
ADD_REG = 0x0F
MOV32_IMM = 0xB4
LDX_W = 0x61
LDX_DW = 0x79
LDX_SX_W = 0x81
ST_H = 0x6A
STX_B = 0x73
LD_IMM64 = 0x18
LD_ABS = 0x20
JA = 0x05

POISONED = LITTLE.encode(0x85, imm=POISON)


def result(before: int, after: int, *, little: bool = True, **more: object) -> CoreResult:
    builder = BtfBuilder(little_endian=little)
    root = builder.add_struct("pair", 4, [("a", builder.add_int("int", 4), 0)])
    local = parse(builder.build(), root, "0:0", FIELD_BYTE_OFFSET)
    fields: dict[str, object] = {"poison": False, "validate": True, "local": local, **more}
    return CoreResult(before, after, **fields)  # type: ignore[arg-type]


def one(code: int, *, off: int = 0, imm: int = 0, codec: Codec = LITTLE) -> bytearray:
    return bytearray(codec.encode(0xB7) + codec.encode(code, 1, 2, off, imm) + codec.encode(0x95))


def wide(value: int) -> bytearray:
    return bytearray(LITTLE.encode_wide(1, 0, value & 0xFFFFFFFF, value >> 32))


def test_immediates() -> None:
    for code in (ADD_IMM, MOV32_IMM):
        insns = one(code, imm=4)
        assert patch(insns, 1, result(4, 16))
        assert insns == one(code, imm=16)


def test_a_negative_immediate_counts_as_64_bits() -> None:
    insns = one(ADD_IMM, imm=-1)
    assert patch(insns, 1, result((1 << 64) - 1, (1 << 64) - 5))
    assert insns == one(ADD_IMM, imm=-5)


@pytest.mark.parametrize("code", [LDX_W, LDX_SX_W, ST_H, STX_B])
def test_offsets(code: int) -> None:
    insns = one(code, off=4, imm=4)
    assert patch(insns, 1, result(4, 0x7FFF))
    assert insns == one(code, off=0x7FFF, imm=4)


def test_width_of_a_load() -> None:
    insns = one(LDX_W, off=4)
    assert patch(insns, 1, result(4, 16, orig_sz=4, new_sz=8))
    assert insns == one(LDX_DW, off=16)


def test_immediate_of_64_bits() -> None:
    insns = wide(5)
    assert patch(insns, 0, result(5, 0x1122334455667788))
    assert insns == wide(0x1122334455667788)


def test_big_endian() -> None:
    insns = one(LDX_W, off=4, codec=BIG)
    assert patch(insns, 1, result(4, 16, little=False))
    assert insns == one(LDX_W, off=16, codec=BIG)


@pytest.mark.parametrize("code", [ADD_IMM, LDX_W, ST_H])
def test_poison(code: int) -> None:
    insns = one(code, off=99, imm=99)
    assert not patch(insns, 1, result(4, 0, poison=True))
    assert insns == LITTLE.encode(0xB7) + POISONED + LITTLE.encode(0x95)


def test_poison_takes_both_slots() -> None:
    insns = wide(5)
    assert not patch(insns, 0, result(4, 0, poison=True))
    assert insns == POISONED * 2


def test_a_load_that_can_not_change_its_width_is_poisoned() -> None:
    insns = one(LDX_W, off=4)
    assert not patch(insns, 1, result(4, 16, orig_sz=4, new_sz=8, fail_memsz_adjust=True))
    assert insns[8:16] == POISONED
    insns = one(ADD_IMM, imm=4)
    assert patch(insns, 1, result(4, 16, orig_sz=4, new_sz=8, fail_memsz_adjust=True))


@pytest.mark.parametrize(
    ("insns", "index", "why"),
    [
        (one(ADD_IMM, imm=5), 1, "holds 5"),
        (one(LDX_W, off=-4), 1, "holds -4"),
        (wide(9), 0, "holds 9"),
        (one(ADD_REG, imm=4), 1, "can't be relocated"),
        (one(JA, off=4), 1, "can't be relocated"),
        (one(LD_ABS, imm=4), 1, "can't be relocated"),
        (bytearray(LITTLE.encode_wide(1, 1, 4, 0)), 0, "unexpected form"),
        (wide(4)[:8], 0, "unexpected form"),
        (wide(4)[:8] + LITTLE.encode(0, 1), 0, "unexpected form"),
    ],
)
def test_refused(insns: bytearray, index: int, why: str) -> None:
    before = bytes(insns)
    with pytest.raises(LinkError, match=why) as caught:
        patch(insns, index, result(4, 16))
    assert caught.value.errno_code == errno.EINVAL
    assert caught.value.instruction == index
    assert "struct pair.a (byte_off)" in caught.value.message
    assert insns == before


def test_unchecked_values() -> None:
    insns = one(ADD_IMM, imm=5)
    assert patch(insns, 1, result(4, 16, validate=False))
    assert insns == one(ADD_IMM, imm=16)


def test_an_offset_that_does_not_fit() -> None:
    with pytest.raises(LinkError, match="doesn't fit") as caught:
        patch(one(LDX_W, off=4), 1, result(4, 0x8000))
    assert caught.value.errno_code == errno.ERANGE


@pytest.mark.parametrize(("code", "new_size"), [(LDX_DW, 2), (LDX_W, 3)])
def test_impossible_widths(code: int, new_size: int) -> None:
    with pytest.raises(LinkError, match="bytes") as caught:
        patch(one(code, off=4), 1, result(4, 16, orig_sz=4, new_sz=new_size))
    assert caught.value.errno_code == errno.EINVAL
