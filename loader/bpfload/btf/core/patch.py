"""Results of CO-RE relocations into instructions.

Source: bpf_core_patch_insn() and bpf_core_poison_insn() in tools/lib/bpf/relo_core.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.errors import LinkError
from bpfload.insn import codec

if TYPE_CHECKING:
    from bpfload.btf.core.resolver import CoreResult
    from bpfload.insn.codec import Codec

#: The "helper" that a poisoned instruction calls. The verifier's words for it: ``invalid func unknown#195896080``.
POISON = 0x0BAD2310

_U64 = 0xFFFFFFFFFFFFFFFF
_SIZES = {codec.BPF_B: 1, codec.BPF_H: 2, codec.BPF_W: 4, codec.BPF_DW: 8}
_SIZE_CODES = {size: code for code, size in _SIZES.items()}
_ERANGE = 34


def patch(insns: bytearray, index: int, result: CoreResult) -> bool:
    """Put a relocation's result into the instruction at slot `index`; return False if the instruction was poisoned.

    Raises LinkError: the instruction isn't one that can be relocated, or it doesn't hold what the compiler's types say.
    """
    fields = codec.LITTLE if result.local.btf.little_endian else codec.BIG
    code = insns[index * 8]
    instruction_class = code & 7
    if instruction_class in (codec.BPF_ALU, codec.BPF_ALU64) and not code & codec.BPF_X:
        return _patch_alu(fields, insns, index, result)
    if instruction_class in (codec.BPF_LDX, codec.BPF_ST, codec.BPF_STX):
        return _patch_memory(fields, insns, index, result)
    if code == codec.LD_IMM64:
        return _patch_imm64(fields, insns, index, result)
    raise _error(result, index, f"opcode {code:#04x} can't be relocated")


def _error(result: CoreResult, index: int, reason: str, errno_code: int = 22) -> LinkError:
    return LinkError(f"CO-RE relocation of {result.text}: {reason}", instruction=index, errno_code=errno_code)


def _poison(fields: Codec, insns: bytearray, index: int) -> bool:
    slots = 2 if insns[index * 8] == codec.LD_IMM64 else 1
    insns[index * 8 : (index + slots) * 8] = fields.encode(codec.CALL, imm=POISON) * slots
    return False


def _check(result: CoreResult, index: int, value: int) -> None:
    if result.validate and value & _U64 != result.orig_val:
        raise _error(result, index, f"the instruction holds {value}, its types say {result.orig_val}")


def _patch_alu(fields: Codec, insns: bytearray, index: int, result: CoreResult) -> bool:
    if result.poison:
        return _poison(fields, insns, index)
    _check(result, index, fields.imm(insns, index))
    fields.set_imm(insns, index, result.new_val & 0xFFFFFFFF)
    return True


def _patch_memory(fields: Codec, insns: bytearray, index: int, result: CoreResult) -> bool:
    if result.poison:
        return _poison(fields, insns, index)
    _check(result, index, fields.off(insns, index))
    if result.new_val > 0x7FFF:
        raise _error(result, index, f"offset {result.new_val} doesn't fit the instruction", _ERANGE)
    if result.fail_memsz_adjust:
        return _poison(fields, insns, index)
    fields.set_off(insns, index, result.new_val)
    if result.new_sz != result.orig_sz:
        code = insns[index * 8]
        if _SIZES[code & 0x18] != result.orig_sz:
            raise _error(result, index, f"the instruction accesses {_SIZES[code & 0x18]} bytes, its types say {result.orig_sz}")
        if result.new_sz not in _SIZE_CODES:
            raise _error(result, index, f"no instruction accesses {result.new_sz} bytes")
        insns[index * 8] = code & ~0x18 | _SIZE_CODES[result.new_sz]
    return True


def _patch_imm64(fields: Codec, insns: bytearray, index: int, result: CoreResult) -> bool:
    start = index * 8
    second = insns[start + 8 : start + 16]
    if insns[start + 1] >> (4 if fields.little else 0) & 15 or fields.off(insns, index) or len(second) < 8 or any(second[:4]):
        raise _error(result, index, "the 64-bit load has an unexpected form, or is cut off")
    if result.poison:
        return _poison(fields, insns, index)
    _check(result, index, fields.imm64(insns, index))
    fields.set_imm64(insns, index, result.new_val)
    return True
