"""The text of instructions, in the words of the kernel and of ``bpftool prog dump xlated``.

Without symbols the text is that of the verifier's log. With symbols, references are named the way bpftool names them in a
dump of a loaded program: maps by id, helpers and kernel functions by the address they were patched to.

Sources: print_bpf_insn() in kernel/bpf/disasm.c, print_call() and print_imm() in tools/bpf/bpftool/xlated_dumper.c, Linux 6.18;
gotox is of 6.19.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bpfload.abi.consts import (
    BPF_PSEUDO_CALL,
    BPF_PSEUDO_FUNC,
    BPF_PSEUDO_KFUNC_CALL,
    BPF_PSEUDO_MAP_FD,
    BPF_PSEUDO_MAP_IDX_VALUE,
    BPF_PSEUDO_MAP_VALUE,
)
from bpfload.abi.helpers import HELPER_NAMES
from bpfload.insn.codec import (
    BPF_ABS,
    BPF_ADD,
    BPF_ADDR_PERCPU,
    BPF_ADDR_SPACE_CAST,
    BPF_ALU64,
    BPF_AND,
    BPF_ATOMIC,
    BPF_CALL,
    BPF_CMPXCHG,
    BPF_DIV,
    BPF_DW,
    BPF_END,
    BPF_FETCH,
    BPF_IND,
    BPF_JMP32,
    BPF_LOAD_ACQ,
    BPF_MAY_GOTO,
    BPF_MEM,
    BPF_MEMSX,
    BPF_MOD,
    BPF_MOV,
    BPF_NEG,
    BPF_NOSPEC,
    BPF_OR,
    BPF_STORE_REL,
    BPF_TO_BE,
    BPF_X,
    BPF_XCHG,
    BPF_XOR,
    CALL,
    EXIT,
    GOTO,
    GOTOL,
    GOTOX,
    HOST,
    LD_IMM64,
    MAY_GOTO,
    Codec,
    Instruction,
    find_opcode,
)

# By the upper 4 bits of an opcode. "(null)" is what the C library prints for what the kernel's tables leave out.
_NOTHING = "(null)"
_ALU_OPS = ("+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "neg", "%=", "^=", "=", "s>>=", "endian", _NOTHING, _NOTHING)
_JUMP_OPS = ("jmp", "==", ">", ">=", "&", "!=", "s>", "s>=", "call", "exit", "<", "<=", "s<", "s<=", _NOTHING, _NOTHING)
_SIGNED_DIVISIONS = {BPF_DIV: "s/=", BPF_MOD: "s%="}
_SIGNED_MOVES = {8: "(s8)", 16: "(s16)", 32: "(s32)"}
# By the two size bits.
_SIZES = ("u32", "u16", "u8", "u64")
_SIGNED_SIZES = ("s32", "s16", "s8", "s64")
_LOCKED = {BPF_ADD: "+=", BPF_OR: "|=", BPF_AND: "&=", BPF_XOR: "^="}
_FETCHING = {op | BPF_FETCH: name for op, name in ((BPF_ADD, "add"), (BPF_OR, "or"), (BPF_AND, "and"), (BPF_XOR, "xor"))}

_ADDRESS_MASK = 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True, eq=False)
class Symbols:
    """What the references of a loaded program stand for.

    `call_base`: the address of the kernel's __bpf_call_base, which calls are relative to (0: not known). `addresses`: names
    by kernel address; those of `called_addresses` are enough. `jited`: entry addresses of the program's functions in order
    (bpf_prog_info.jited_ksyms), empty if it isn't jited.
    """

    call_base: int = 0
    addresses: Mapping[int, str] = field(default_factory=dict)
    jited: Sequence[int] = ()


@dataclass(slots=True, frozen=True)
class Line:
    """The text of one instruction. `pc`: index of its first slot; `slots`: 1, or 2 for a 64-bit immediate."""

    pc: int
    text: str
    slots: int = 1


def disassemble(insns: bytes | bytearray, *, symbols: Symbols | None = None, codec: Codec = HOST) -> list[Line]:
    """Return the text of each instruction of a program. `codec`: the byte order of `insns`."""
    return [
        Line(instruction.index, instruction_text(instruction, symbols), instruction.slots)
        for instruction in codec.decode_all(insns)
    ]


def instruction_text(instruction: Instruction, symbols: Symbols | None = None) -> str:
    """Return the text of one instruction, opcode in parentheses first: ``(b7) r0 = 2``."""
    return _BY_CLASS[instruction.code & 7](instruction, symbols)


def called_addresses(insns: bytes | bytearray, symbols: Symbols, *, codec: Codec = HOST) -> set[int]:
    """Return the kernel addresses whose names the disassembly of a loaded program will want.

    `symbols`: `call_base` and `jited` are used. Kernels have 100,000 symbols and a program calls a few of them.
    """
    wanted = set()
    for index in find_opcode(insns, CALL):
        instruction = codec.decode(insns, index)
        if not _is_helper_id(instruction):
            wanted.add(_call_target(instruction, symbols))
    return wanted


def _is_helper_id(instruction: Instruction) -> bool:
    return instruction.src_reg == 0 and 0 <= instruction.imm < len(HELPER_NAMES)


def _call_target(instruction: Instruction, symbols: Symbols) -> int:
    """The address that a call goes to. A call to a function of the program itself carries that function's number."""
    if instruction.src_reg == BPF_PSEUDO_CALL and instruction.imm & 0xFFFFFFFF < len(symbols.jited):
        return symbols.jited[instruction.imm & 0xFFFFFFFF]
    return symbols.call_base + instruction.imm & _ADDRESS_MASK


def _call_text(instruction: Instruction, symbols: Symbols | None) -> str:
    if instruction.src_reg == BPF_PSEUDO_CALL:
        return f"({instruction.code:02x}) call pc{_subprogram_name(instruction, symbols)}"
    return f"({instruction.code:02x}) call {_function_name(instruction, symbols)}#{instruction.imm}"


def _subprogram_name(instruction: Instruction, symbols: Symbols | None) -> str:
    if symbols is None:
        return f"{instruction.imm:+d}"
    if not symbols.jited:
        return f"{instruction.off:+d}"
    address = _call_target(instruction, symbols)
    return f"{instruction.off:+d}#{symbols.addresses.get(address) or hex(address)}"


def _function_name(instruction: Instruction, symbols: Symbols | None) -> str:
    if _is_helper_id(instruction):
        return f"bpf_{HELPER_NAMES[instruction.imm]}"
    if symbols is not None:
        address = _call_target(instruction, symbols)
        return symbols.addresses.get(address) or hex(address)
    return "kernel-function" if instruction.src_reg == BPF_PSEUDO_KFUNC_CALL else "unknown"


def _wide_imm(instruction: Instruction, symbols: Symbols | None) -> str:
    if symbols is not None:
        number, offset = instruction.imm & 0xFFFFFFFF, instruction.next_imm & 0xFFFFFFFF
        kind = instruction.src_reg
        if kind == BPF_PSEUDO_MAP_FD:
            return f"map[id:{number}]"
        if kind == BPF_PSEUDO_MAP_VALUE:
            return f"map[id:{number}][0]+{offset}"
        if kind == BPF_PSEUDO_MAP_IDX_VALUE:
            return f"map[idx:{number}]+{offset}"
        if kind == BPF_PSEUDO_FUNC:
            return f"subprog[{instruction.imm:+d}]"
    return hex(instruction.imm64)


def _alu_text(instruction: Instruction, _symbols: Symbols | None) -> str:
    code, dst, src, off, imm = instruction.code, instruction.dst_reg, instruction.src_reg, instruction.off, instruction.imm
    op = code & 0xF0
    wide = code & 7 == BPF_ALU64
    letter = "r" if wide else "w"
    if op == BPF_END:
        swap = "bswap" if wide else "be" if code & BPF_TO_BE else "le"
        return f"({code:02x}) r{dst} = {swap}{imm} r{dst}"
    if op == BPF_NEG:
        return f"({code:02x}) {letter}{dst} = -{letter}{dst}"
    if code == BPF_ALU64 | BPF_MOV | BPF_X:
        if off == BPF_ADDR_SPACE_CAST:
            return f"({code:02x}) r{dst} = addr_space_cast(r{src}, {imm >> 16 & 0xFFFF}, {imm & 0xFFFF})"
        if off == BPF_ADDR_PERCPU:
            return f"({code:02x}) r{dst} = &(void __percpu *)(r{src})"
    operator = _SIGNED_DIVISIONS.get(op) if off == 1 else None
    operator = operator or _ALU_OPS[op >> 4]
    if not code & BPF_X:
        return f"({code:02x}) {letter}{dst} {operator} {imm}"
    cast = _SIGNED_MOVES.get(off, "") if op == BPF_MOV else ""
    return f"({code:02x}) {letter}{dst} {operator} {cast}{letter}{src}"


def _stx_text(instruction: Instruction, _symbols: Symbols | None) -> str:
    code, src, imm = instruction.code, instruction.src_reg, instruction.imm
    size = _SIZES[code >> 3 & 3]
    place = f"*({size} *)(r{instruction.dst_reg} {instruction.off:+d})"
    if code & 0xE0 == BPF_MEM:
        return f"({code:02x}) {place} = r{src}"
    if code & 0xE0 != BPF_ATOMIC:
        return f"BUG_{code:02x}"
    bits = "64" if code & 0x18 == BPF_DW else ""
    inner = place[1:]
    if imm in _LOCKED:
        return f"({code:02x}) lock {place} {_LOCKED[imm]} r{src}"
    if imm in _FETCHING:
        return f"({code:02x}) r{src} = atomic{bits}_fetch_{_FETCHING[imm]}({inner}, r{src})"
    if imm == BPF_CMPXCHG:
        return f"({code:02x}) r0 = atomic{bits}_cmpxchg({inner}, r0, r{src})"
    if imm == BPF_XCHG:
        return f"({code:02x}) r{src} = atomic{bits}_xchg({inner}, r{src})"
    if imm == BPF_LOAD_ACQ:
        return f"({code:02x}) r{instruction.dst_reg} = load_acquire(({size} *)(r{src} {instruction.off:+d}))"
    if imm == BPF_STORE_REL:
        return f"({code:02x}) store_release({inner}, r{src})"
    return f"BUG_{code:02x}"


def _st_text(instruction: Instruction, _symbols: Symbols | None) -> str:
    code = instruction.code
    if code & 0xE0 == BPF_MEM:
        size = _SIZES[code >> 3 & 3]
        return f"({code:02x}) *({size} *)(r{instruction.dst_reg} {instruction.off:+d}) = {instruction.imm}"
    if code & 0xE0 == BPF_NOSPEC:
        return f"({code:02x}) nospec"
    return f"BUG_st_{code:02x}"


def _ldx_text(instruction: Instruction, _symbols: Symbols | None) -> str:
    code = instruction.code
    mode = code & 0xE0
    if mode not in (BPF_MEM, BPF_MEMSX):
        return f"BUG_ldx_{code:02x}"
    size = (_SIZES if mode == BPF_MEM else _SIGNED_SIZES)[code >> 3 & 3]
    return f"({code:02x}) r{instruction.dst_reg} = *({size} *)(r{instruction.src_reg} {instruction.off:+d})"


def _ld_text(instruction: Instruction, symbols: Symbols | None) -> str:
    code, imm = instruction.code, instruction.imm
    if code == LD_IMM64:
        return f"({code:02x}) r{instruction.dst_reg} = {_wide_imm(instruction, symbols)}"
    size = _SIZES[code >> 3 & 3]
    if code & 0xE0 == BPF_ABS:
        return f"({code:02x}) r0 = *({size} *)skb[{imm}]"
    if code & 0xE0 == BPF_IND:
        return f"({code:02x}) r0 = *({size} *)skb[r{instruction.src_reg} + {imm}]"
    return f"BUG_ld_{code:02x}"


def _jump_text(instruction: Instruction, symbols: Symbols | None) -> str:
    code, off = instruction.code, instruction.off
    if code & 0xF0 == BPF_CALL:
        return _call_text(instruction, symbols)
    if code == GOTO:
        return f"({code:02x}) goto pc{off:+d}"
    if code == GOTOX:
        return f"({code:02x}) gotox r{instruction.dst_reg}"
    if code == MAY_GOTO and instruction.src_reg == BPF_MAY_GOTO:
        return f"({code:02x}) may_goto pc{off:+d}"
    if code == GOTOL:
        return f"({code:02x}) gotol pc{instruction.imm:+d}"
    if code == EXIT:
        return f"({code:02x}) exit"
    letter = "w" if code & 7 == BPF_JMP32 else "r"
    right = f"{letter}{instruction.src_reg}" if code & BPF_X else hex(instruction.imm & 0xFFFFFFFF)
    return f"({code:02x}) if {letter}{instruction.dst_reg} {_JUMP_OPS[code >> 4]} {right} goto pc{off:+d}"


# By the low 3 bits of an opcode: LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64.
_BY_CLASS = (_ld_text, _ldx_text, _st_text, _stx_text, _alu_text, _jump_text, _jump_text, _alu_text)
