"""Fields of packed slots."""

import struct

import pytest

from bpfload.insn import codec
from bpfload.insn.assemble import exit_, ld_imm64, ld_map_fd, mov64_imm
from bpfload.insn.codec import BIG, HOST, LD_IMM64, LITTLE, Codec

BOTH = pytest.mark.parametrize("order", [LITTLE, BIG], ids=["little", "big"])


@BOTH
def test_round_trip(order: Codec) -> None:
    slot = order.encode(0x07, dst_reg=3, src_reg=9, off=-5, imm=-20)
    one = order.decode(slot, 0)
    assert (one.index, one.code, one.dst_reg, one.src_reg, one.off, one.imm, one.slots) == (0, 0x07, 3, 9, -5, -20, 1)


def test_bytes_of_both_orders() -> None:
    assert LITTLE.encode(0x63, 10, 1, -8, 0x11223344).hex() == "631af8ff44332211"
    assert BIG.encode(0x63, 10, 1, -8, 0x11223344).hex() == "63a1fff811223344"


def test_unsigned_immediates_are_accepted() -> None:
    assert HOST.decode(HOST.encode(0xB7, imm=0xFFFFFFFF), 0).imm == -1


@BOTH
def test_wide(order: Codec) -> None:
    insns = order.encode_wide(1, 2, 0xFFFFFFF0, 0x12345678)
    one = order.decode(insns, 0)
    assert (one.slots, one.src_reg, one.imm, one.next_imm) == (2, 2, -16, 0x12345678)
    assert one.imm64 == order.imm64(insns, 0) == 0x12345678FFFFFFF0


def test_wide_cut_off() -> None:
    assert HOST.decode(ld_imm64(1, 1 << 40 | 5)[:8], 0).imm64 == 5


@BOTH
def test_fields_of_a_slot(order: Codec) -> None:
    insns = order.encode(0x95) + order.encode(0x2D, 4, 7, -3, -2)
    assert codec.opcode(insns, 1) == 0x2D
    assert (order.dst_reg(insns, 1), order.src_reg(insns, 1), order.off(insns, 1), order.imm(insns, 1)) == (4, 7, -3, -2)


@BOTH
def test_patching(order: Codec) -> None:
    insns = bytearray(order.encode_wide(6, 0, 1, 2))
    order.set_pseudo(insns, 0, 2, 0x80000001, 12)
    order.set_off(insns, 0, -1)
    one = order.decode(insns, 0)
    assert (one.dst_reg, one.src_reg, one.off, one.imm, one.next_imm) == (6, 2, -1, -0x7FFFFFFF, 12)
    order.set_imm64(insns, 0, -2)
    assert order.imm64(insns, 0) == 0xFFFFFFFFFFFFFFFE


def test_patches_that_do_not_fit() -> None:
    insns = bytearray(exit_())
    with pytest.raises(struct.error):
        HOST.set_off(insns, 0, 1 << 15)
    with pytest.raises(struct.error):
        HOST.set_imm(insns, 0, 1 << 32)
    assert insns == exit_()


def test_iteration_steps_over_second_slots() -> None:
    trap = ld_imm64(1, LD_IMM64 << 32)
    insns = mov64_imm(0, 1) + trap + ld_map_fd(2, 7) + exit_()
    assert list(codec.instruction_starts(insns)) == [0, 1, 3, 5]
    assert [one.index for one in HOST.decode_all(insns)] == [0, 1, 3, 5]
    assert list(codec.find_opcode(insns, LD_IMM64)) == [1, 3]
    assert codec.slot_count(insns) == 6


def test_a_partial_slot_is_left_out() -> None:
    insns = exit_() + b"\x95\0\0"
    assert [one.index for one in HOST.decode_all(insns)] == [0]
    assert list(codec.instruction_starts(insns)) == [0]
    assert list(codec.find_opcode(insns, 0x95)) == [0]


def test_repr_names_the_fields() -> None:
    assert repr(HOST.decode(mov64_imm(3, -1), 0)) == "Instruction(0: code=0xb7, dst_reg=3, src_reg=0, off=0, imm=-1)"
