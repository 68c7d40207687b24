"""BPF instructions in packed form: opcode constants, fields of slots, iteration.

A program stays what it is in the object file and in the kernel: a run of 8-byte slots ::

    byte 0    opcode
    byte 1    dst_reg and src_reg, a nibble each (dst_reg is the low nibble on little-endian hosts, the high one on others)
    byte 2-3  off, signed
    byte 4-7  imm, signed

Only the 64-bit immediate load (`LD_IMM64`) takes two slots; the second holds nothing but the upper half of the value.
Programs are handed around as bytes or bytearray; a position is the index of a slot, never a byte offset.

Source: include/uapi/linux/bpf.h (struct bpf_insn), Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from struct import Struct

#: Bytes in a slot.
SLOT_SIZE = 8

# Instruction classes: the low 3 bits of an opcode.
BPF_LD = 0x00
BPF_LDX = 0x01
BPF_ST = 0x02
BPF_STX = 0x03
BPF_ALU = 0x04
BPF_JMP = 0x05
BPF_JMP32 = 0x06
BPF_ALU64 = 0x07

# Sizes of loads and stores.
BPF_W = 0x00
BPF_H = 0x08
BPF_B = 0x10
BPF_DW = 0x18

# Modes of loads and stores. The last two are the kernel's own, seen in dumps only.
BPF_IMM = 0x00
BPF_ABS = 0x20
BPF_IND = 0x40
BPF_MEM = 0x60
BPF_MEMSX = 0x80
BPF_ATOMIC = 0xC0
BPF_NOSPEC = 0xC0

# Where the second operand is: in imm or in src_reg.
BPF_K = 0x00
BPF_X = 0x08

# Arithmetic.
BPF_ADD = 0x00
BPF_SUB = 0x10
BPF_MUL = 0x20
BPF_DIV = 0x30
BPF_OR = 0x40
BPF_AND = 0x50
BPF_LSH = 0x60
BPF_RSH = 0x70
BPF_NEG = 0x80
BPF_MOD = 0x90
BPF_XOR = 0xA0
BPF_MOV = 0xB0
BPF_ARSH = 0xC0
BPF_END = 0xD0
BPF_TO_LE = 0x00
BPF_TO_BE = 0x08

# Jumps.
BPF_JA = 0x00
BPF_JEQ = 0x10
BPF_JGT = 0x20
BPF_JGE = 0x30
BPF_JSET = 0x40
BPF_JNE = 0x50
BPF_JSGT = 0x60
BPF_JSGE = 0x70
BPF_CALL = 0x80
BPF_EXIT = 0x90
BPF_JLT = 0xA0
BPF_JLE = 0xB0
BPF_JSLT = 0xC0
BPF_JSLE = 0xD0
BPF_JCOND = 0xE0

# imm of atomic operations, beside BPF_ADD, BPF_OR, BPF_AND and BPF_XOR.
BPF_FETCH = 0x01
BPF_XCHG = 0xE0 | BPF_FETCH
BPF_CMPXCHG = 0xF0 | BPF_FETCH
BPF_LOAD_ACQ = 0x100
BPF_STORE_REL = 0x110

# off of BPF_ALU64 | BPF_MOV | BPF_X that makes it something else than a move, and src_reg of BPF_JCOND.
BPF_ADDR_SPACE_CAST = 1
BPF_ADDR_PERCPU = -1
BPF_MAY_GOTO = 0

# Registers with a role of their own.
BPF_REG_0 = 0
BPF_REG_FP = 10

#: Opcodes of whole instructions that are asked for by name.
LD_IMM64 = BPF_LD | BPF_IMM | BPF_DW
CALL = BPF_JMP | BPF_CALL
EXIT = BPF_JMP | BPF_EXIT
GOTO = BPF_JMP | BPF_JA
GOTOL = BPF_JMP32 | BPF_JA
GOTOX = BPF_JMP | BPF_JA | BPF_X
MAY_GOTO = BPF_JMP | BPF_JCOND


def _signed(value: int) -> int:
    """An unsigned 32-bit value as the signed one; others, too large ones included, as they are."""
    return value - (1 << 32) if 0x7FFFFFFF < value <= 0xFFFFFFFF else value


class Instruction:
    """One decoded instruction; `imm` is the first slot's, `next_imm` the second slot's (0 where there is none)."""

    __slots__ = ("code", "dst_reg", "imm", "index", "next_imm", "off", "src_reg")

    def __init__(self, index: int, code: int, dst_reg: int, src_reg: int, off: int, imm: int, next_imm: int = 0) -> None:
        self.index = index
        self.code = code
        self.dst_reg = dst_reg
        self.src_reg = src_reg
        self.off = off
        self.imm = imm
        self.next_imm = next_imm

    @property
    def slots(self) -> int:
        """Slots that the instruction takes: 1 or 2."""
        return 2 if self.code == LD_IMM64 else 1

    @property
    def imm64(self) -> int:
        """The unsigned 64-bit value of a `LD_IMM64`."""
        return (self.next_imm & 0xFFFFFFFF) << 32 | self.imm & 0xFFFFFFFF

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)}" for name in ("dst_reg", "src_reg", "off", "imm"))
        return f"Instruction({self.index}: code={self.code:#04x}, {fields})"


class Codec:
    """Access to the fields of packed slots in one byte order. Use `LITTLE`, `BIG` or `HOST`."""

    __slots__ = ("_imm", "_off", "_slot", "little")

    def __init__(self, *, little: bool) -> None:
        order = "<" if little else ">"
        self.little = little
        self._slot = Struct(order + "BBhi")
        self._off = Struct(order + "h")
        self._imm = Struct(order + "i")

    def registers(self, dst_reg: int, src_reg: int) -> int:
        """Return byte 1 of a slot."""
        return src_reg << 4 | dst_reg if self.little else dst_reg << 4 | src_reg

    def encode(self, code: int, dst_reg: int = 0, src_reg: int = 0, off: int = 0, imm: int = 0) -> bytes:
        """Return one slot. `imm` may be given signed or unsigned."""
        return self._slot.pack(code, self.registers(dst_reg, src_reg), off, _signed(imm))

    def encode_wide(self, dst_reg: int, src_reg: int, imm: int, next_imm: int, off: int = 0) -> bytes:
        """Return the two slots of a `LD_IMM64`."""
        return self.encode(LD_IMM64, dst_reg, src_reg, off, imm) + self.encode(0, imm=next_imm)

    def decode(self, insns: bytes | bytearray | memoryview, index: int) -> Instruction:
        """Decode the instruction that starts at a slot. Raises struct.error past the end.

        A `LD_IMM64` whose second slot is cut off decodes with a `next_imm` of 0.
        """
        code, registers, off, imm = self._slot.unpack_from(insns, index * SLOT_SIZE)
        low, high = registers & 15, registers >> 4
        dst_reg, src_reg = (low, high) if self.little else (high, low)
        next_imm = 0
        if code == LD_IMM64 and len(insns) >= (index + 2) * SLOT_SIZE:
            next_imm = self.imm(insns, index + 1)
        return Instruction(index, code, dst_reg, src_reg, off, imm, next_imm)

    def decode_all(self, insns: bytes | bytearray | memoryview) -> Iterator[Instruction]:
        """Decode instruction after instruction; trailing bytes that don't fill a slot are left out."""
        index, count = 0, len(insns) // SLOT_SIZE
        while index < count:
            instruction = self.decode(insns, index)
            yield instruction
            index += instruction.slots

    def dst_reg(self, insns: bytes | bytearray | memoryview, index: int) -> int:
        """Return dst_reg of a slot."""
        registers = insns[index * SLOT_SIZE + 1]
        return registers & 15 if self.little else registers >> 4

    def src_reg(self, insns: bytes | bytearray | memoryview, index: int) -> int:
        """Return src_reg of a slot."""
        registers = insns[index * SLOT_SIZE + 1]
        return registers >> 4 if self.little else registers & 15

    def off(self, insns: bytes | bytearray | memoryview, index: int) -> int:
        """Return off of a slot, signed."""
        value: int = self._off.unpack_from(insns, index * SLOT_SIZE + 2)[0]
        return value

    def imm(self, insns: bytes | bytearray | memoryview, index: int) -> int:
        """Return imm of a slot, signed."""
        value: int = self._imm.unpack_from(insns, index * SLOT_SIZE + 4)[0]
        return value

    def imm64(self, insns: bytes | bytearray | memoryview, index: int) -> int:
        """Return the unsigned 64-bit value of the `LD_IMM64` at a slot."""
        return (self.imm(insns, index + 1) & 0xFFFFFFFF) << 32 | self.imm(insns, index) & 0xFFFFFFFF

    def set_src_reg(self, insns: bytearray, index: int, value: int) -> None:
        """Patch src_reg of a slot."""
        place = index * SLOT_SIZE + 1
        insns[place] = insns[place] & 0x0F | value << 4 if self.little else insns[place] & 0xF0 | value

    def set_off(self, insns: bytearray, index: int, value: int) -> None:
        """Patch off of a slot. Raises struct.error if it doesn't fit 16 bits."""
        self._off.pack_into(insns, index * SLOT_SIZE + 2, value)

    def set_imm(self, insns: bytearray, index: int, value: int) -> None:
        """Patch imm of a slot, given signed or unsigned. Raises struct.error if it doesn't fit 32 bits."""
        self._imm.pack_into(insns, index * SLOT_SIZE + 4, _signed(value))

    def set_imm64(self, insns: bytearray, index: int, value: int) -> None:
        """Patch the 64-bit value of the `LD_IMM64` at a slot, given signed or unsigned."""
        self.set_imm(insns, index, value & 0xFFFFFFFF)
        self.set_imm(insns, index + 1, value >> 32 & 0xFFFFFFFF)

    def set_pseudo(self, insns: bytearray, index: int, src_reg: int, imm: int, next_imm: int = 0) -> None:
        """Make the `LD_IMM64` at a slot a reference: src_reg says of which kind (BPF_PSEUDO_*), the two imm what to."""
        self.set_src_reg(insns, index, src_reg)
        self.set_imm(insns, index, imm)
        self.set_imm(insns, index + 1, next_imm)


LITTLE = Codec(little=True)
BIG = Codec(little=False)
HOST = LITTLE if sys.byteorder == "little" else BIG


def opcode(insns: bytes | bytearray | memoryview, index: int) -> int:
    """Return the opcode of a slot."""
    return insns[index * SLOT_SIZE]


def slot_count(insns: bytes | bytearray | memoryview) -> int:
    """Return the number of slots, the second ones of `LD_IMM64` included."""
    return len(insns) // SLOT_SIZE


def instruction_starts(insns: bytes | bytearray | memoryview) -> Iterator[int]:
    """Yield the index of each slot that an instruction starts at: every slot but the second ones of `LD_IMM64`."""
    codes = bytes(insns[::SLOT_SIZE])
    index, count = 0, len(insns) // SLOT_SIZE
    while index < count:
        yield index
        index += 2 if codes[index] == LD_IMM64 else 1


def find_opcode(insns: bytes | bytearray | memoryview, code: int) -> Iterator[int]:
    """Yield the index of each slot with that opcode (never 0, which the second slots of `LD_IMM64` have too)."""
    codes = bytes(insns[: len(insns) // SLOT_SIZE * SLOT_SIZE : SLOT_SIZE])
    index = codes.find(code)
    while index >= 0:
        yield index
        index = codes.find(code, index + 1)
