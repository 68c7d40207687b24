"""Instructions from Python, in the host's byte order: what feature probes and tests build their programs of.

Every function returns the packed bytes of one instruction, so that a program is a join of them::

    program = assemble(mov64_imm(0, 2), exit_())
"""

from __future__ import annotations

from bpfload.abi.consts import (
    BPF_PSEUDO_BTF_ID,
    BPF_PSEUDO_CALL,
    BPF_PSEUDO_FUNC,
    BPF_PSEUDO_KFUNC_CALL,
    BPF_PSEUDO_MAP_FD,
    BPF_PSEUDO_MAP_VALUE,
)
from bpfload.insn.codec import (
    BPF_ADDR_SPACE_CAST,
    BPF_ALU,
    BPF_ALU64,
    BPF_ATOMIC,
    BPF_DW,
    BPF_END,
    BPF_JMP,
    BPF_JMP32,
    BPF_K,
    BPF_LDX,
    BPF_MEM,
    BPF_MEMSX,
    BPF_MOV,
    BPF_NEG,
    BPF_ST,
    BPF_STX,
    BPF_TO_BE,
    BPF_TO_LE,
    BPF_X,
    CALL,
    EXIT,
    GOTO,
    GOTOL,
    GOTOX,
    HOST,
    MAY_GOTO,
)

_encode = HOST.encode


def assemble(*instructions: bytes) -> bytes:
    """Return the instructions as one program."""
    return b"".join(instructions)


def mov64_imm(dst: int, imm: int) -> bytes:
    """``rD = imm``, sign-extended."""
    return _encode(BPF_ALU64 | BPF_MOV | BPF_K, dst, imm=imm)


def mov32_imm(dst: int, imm: int) -> bytes:
    """``wD = imm``."""
    return _encode(BPF_ALU | BPF_MOV | BPF_K, dst, imm=imm)


def mov64_reg(dst: int, src: int, *, sign_bits: int = 0) -> bytes:
    """``rD = rS``; with `sign_bits` of 8, 16 or 32 the source is sign-extended from there."""
    return _encode(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, sign_bits)


def mov32_reg(dst: int, src: int, *, sign_bits: int = 0) -> bytes:
    """``wD = wS``; with `sign_bits` of 8 or 16 the source is sign-extended from there."""
    return _encode(BPF_ALU | BPF_MOV | BPF_X, dst, src, sign_bits)


def alu64_imm(op: int, dst: int, imm: int, *, off: int = 0) -> bytes:
    """``rD op= imm``. `op`: BPF_ADD…; `off`: 1 for the signed BPF_DIV and BPF_MOD."""
    return _encode(BPF_ALU64 | op | BPF_K, dst, 0, off, imm)


def alu64_reg(op: int, dst: int, src: int, *, off: int = 0) -> bytes:
    """``rD op= rS``. `op`: BPF_ADD…; `off`: 1 for the signed BPF_DIV and BPF_MOD."""
    return _encode(BPF_ALU64 | op | BPF_X, dst, src, off)


def alu32_imm(op: int, dst: int, imm: int, *, off: int = 0) -> bytes:
    """``wD op= imm``. `op`: BPF_ADD…; `off`: 1 for the signed BPF_DIV and BPF_MOD."""
    return _encode(BPF_ALU | op | BPF_K, dst, 0, off, imm)


def alu32_reg(op: int, dst: int, src: int, *, off: int = 0) -> bytes:
    """``wD op= wS``. `op`: BPF_ADD…; `off`: 1 for the signed BPF_DIV and BPF_MOD."""
    return _encode(BPF_ALU | op | BPF_X, dst, src, off)


def neg64(dst: int) -> bytes:
    """``rD = -rD``."""
    return _encode(BPF_ALU64 | BPF_NEG, dst)


def to_le(dst: int, bits: int) -> bytes:
    """``rD = leBITS rD``: to little endian, 16, 32 or 64 bits."""
    return _encode(BPF_ALU | BPF_END | BPF_TO_LE, dst, imm=bits)


def to_be(dst: int, bits: int) -> bytes:
    """``rD = beBITS rD``: to big endian, 16, 32 or 64 bits."""
    return _encode(BPF_ALU | BPF_END | BPF_TO_BE, dst, imm=bits)


def bswap(dst: int, bits: int) -> bytes:
    """``rD = bswapBITS rD``: swapped whatever the host is, 16, 32 or 64 bits."""
    return _encode(BPF_ALU64 | BPF_END, dst, imm=bits)


def addr_space_cast(dst: int, src: int, to: int, from_: int) -> bytes:
    """``rD = addr_space_cast(rS, to, from)``."""
    return _encode(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, BPF_ADDR_SPACE_CAST, to << 16 | from_)


def ld_imm64(dst: int, value: int) -> bytes:
    """``rD = value ll``, signed or unsigned 64 bits; two slots, as all of ld_*."""
    return HOST.encode_wide(dst, 0, value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)


def ld_map_fd(dst: int, fd: int) -> bytes:
    """``rD`` = the map behind a file descriptor."""
    return HOST.encode_wide(dst, BPF_PSEUDO_MAP_FD, fd, 0)


def ld_map_value(dst: int, fd: int, offset: int = 0) -> bytes:
    """``rD`` = the address of the single element of an array map, plus `offset`."""
    return HOST.encode_wide(dst, BPF_PSEUDO_MAP_VALUE, fd, offset)


def ld_btf_id(dst: int, btf_id: int, btf_fd: int = 0) -> bytes:
    """``rD`` = the address of a kernel variable, by its BTF id; `btf_fd` of the module's BTF, 0 for vmlinux."""
    return HOST.encode_wide(dst, BPF_PSEUDO_BTF_ID, btf_id, btf_fd)


def ld_func(dst: int, delta: int) -> bytes:
    """``rD`` = the address of the subprogram that starts `delta` slots after the next one."""
    return HOST.encode_wide(dst, BPF_PSEUDO_FUNC, delta, 0)


def load(size: int, dst: int, src: int, off: int = 0, *, signed: bool = False) -> bytes:
    """``rD = *(size *)(rS + off)``. `size`: BPF_B, BPF_H, BPF_W or BPF_DW."""
    return _encode(BPF_LDX | size | (BPF_MEMSX if signed else BPF_MEM), dst, src, off)


def store(size: int, dst: int, src: int, off: int = 0) -> bytes:
    """``*(size *)(rD + off) = rS``."""
    return _encode(BPF_STX | size | BPF_MEM, dst, src, off)


def store_imm(size: int, dst: int, imm: int, off: int = 0) -> bytes:
    """``*(size *)(rD + off) = imm``."""
    return _encode(BPF_ST | size | BPF_MEM, dst, 0, off, imm)


def atomic(op: int, dst: int, src: int, off: int = 0, *, size: int = BPF_DW) -> bytes:
    """Atomic operation on ``*(size *)(rD + off)``. `op`: BPF_ADD, BPF_ADD | BPF_FETCH, BPF_XCHG, BPF_LOAD_ACQ…"""
    return _encode(BPF_STX | size | BPF_ATOMIC, dst, src, off, op)


def goto(off: int) -> bytes:
    """``goto pc+off``."""
    return _encode(GOTO, off=off)


def gotol(delta: int) -> bytes:
    """``gotol pc+delta``: 32 bits of distance."""
    return _encode(GOTOL, imm=delta)


def gotox(dst: int) -> bytes:
    """``gotox rD``: to the address in a register, out of an instruction array."""
    return _encode(GOTOX, dst)


def may_goto(off: int) -> bytes:
    """``may_goto pc+off``: taken when the kernel has had enough of a loop."""
    return _encode(MAY_GOTO, off=off)


def jump_imm(op: int, dst: int, imm: int, off: int) -> bytes:
    """``if rD op imm goto pc+off``. `op`: BPF_JEQ…"""
    return _encode(BPF_JMP | op | BPF_K, dst, 0, off, imm)


def jump_reg(op: int, dst: int, src: int, off: int) -> bytes:
    """``if rD op rS goto pc+off``. `op`: BPF_JEQ…"""
    return _encode(BPF_JMP | op | BPF_X, dst, src, off)


def jump32_imm(op: int, dst: int, imm: int, off: int) -> bytes:
    """``if wD op imm goto pc+off``. `op`: BPF_JEQ…"""
    return _encode(BPF_JMP32 | op | BPF_K, dst, 0, off, imm)


def jump32_reg(op: int, dst: int, src: int, off: int) -> bytes:
    """``if wD op wS goto pc+off``. `op`: BPF_JEQ…"""
    return _encode(BPF_JMP32 | op | BPF_X, dst, src, off)


def call(helper: int) -> bytes:
    """Call a helper function by its id."""
    return _encode(CALL, imm=helper)


def call_subprog(delta: int) -> bytes:
    """Call the subprogram that starts `delta` slots after the next one."""
    return _encode(CALL, 0, BPF_PSEUDO_CALL, 0, delta)


def call_kfunc(btf_id: int, fd_index: int = 0) -> bytes:
    """Call a kernel function by its BTF id; `fd_index` of its module's BTF in the load's fd_array, 0 for vmlinux."""
    return _encode(CALL, 0, BPF_PSEUDO_KFUNC_CALL, fd_index, btf_id)


def exit_() -> bytes:
    """``exit``: return r0."""
    return _encode(EXIT)
