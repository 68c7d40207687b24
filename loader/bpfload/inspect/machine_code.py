"""Machine code to text, by capstone (the extra ``jit``), in the words of LLVM's disassembler, which bpftool uses.

x86-64 is in AT&T syntax, as there. The only module that imports capstone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from sys import byteorder
from typing import Any

from bpfload.errors import BpfError, UsageError

#: What uname(2) calls the machines whose code can be shown, and by what name they can be asked for.
MACHINES = ("x86_64", "aarch64", "riscv64", "s390x")
_ALIASES = {"arm64": "aarch64", "amd64": "x86_64", "x86-64": "x86_64", "riscv": "riscv64", "s390": "s390x"}

_NUMBER = re.compile(r"(?<![\w%])(\$?)(-?)(0x[0-9a-f]+|\d{19,})")
_INDEX = re.compile(r", (?=[^()]*\))")
_UNSIGNED = re.compile(r"\$(429496[67]\d{3})")  # 32 bits of a byte with its sign
_SIGN = 1 << 63
# Opcodes of x86: a prefix, a prefix of four bits, shifts by 1, arithmetic with a byte whose sign is extended.
_LOCK, _REX, _SHIFT_BY_1, _BYTE_EXTENDED = 0xF0, 0x40, 0xD1, 0x83


@dataclass(frozen=True, slots=True)
class MachineInstruction:
    """One instruction. `offset`: bytes from the function's start. `target`: the address that it jumps to or calls, 0 for none."""

    offset: int
    raw: bytes
    operation: str
    operands: str
    target: int


class Disassembler:
    """Shows the code of one kind of machine. `machine`: as uname(2) names it, or "arm64", "amd64", "riscv"."""

    def __init__(self, machine: str) -> None:
        """Raise BpfError where capstone isn't there, UsageError for a machine that it doesn't know."""
        self.machine = _ALIASES.get(machine, machine)
        if self.machine not in MACHINES:
            raise UsageError(f"machine code of {machine} can't be shown", hint=f"Machines are {', '.join(MACHINES)}.")
        try:
            import capstone
        except ImportError:
            hint = "It takes the capstone package: pip install 'bpfload[jit]'. 'file FILE' writes the code's bytes without it."
            raise BpfError("machine code can't be shown: the capstone package isn't installed", hint=hint) from None
        little = capstone.CS_MODE_LITTLE_ENDIAN if byteorder == "little" else capstone.CS_MODE_BIG_ENDIAN
        kinds = {
            "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
            "aarch64": (capstone.CS_ARCH_ARM64, little),
            "riscv64": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV64 | capstone.CS_MODE_RISCVC),
            "s390x": (capstone.CS_ARCH_SYSZ, capstone.CS_MODE_BIG_ENDIAN),
        }
        self._engine: Any = capstone.Cs(*kinds[self.machine])
        self._engine.detail = True
        self._engine.skipdata = True
        self._jumps = {capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_BRANCH_RELATIVE}
        if self.machine == "x86_64":
            self._engine.syntax = capstone.CS_OPT_SYNTAX_ATT

    def instructions(self, code: bytes, address: int) -> Iterator[MachineInstruction]:
        """Yield the instructions of a function whose first byte is at `address` in the kernel."""
        for each in self._engine.disasm(code, address):
            offset, raw, operation, target = each.address - address, bytes(each.bytes), each.mnemonic, self._target(each)
            if raw[0] == _LOCK and operation.startswith("lock "):  # to LLVM the prefix is an instruction of its own
                yield MachineInstruction(offset, raw[:1], "lock", "", 0)
                offset, raw, operation = offset + 1, raw[1:], operation[5:]
            if self.machine == "x86_64":
                operation, operands = _X86_NAMES.get(operation, operation), _x86_operands(raw, each.op_str, target)
            else:
                operands = each.op_str
            yield MachineInstruction(offset, raw, operation, operands, target)

    def _target(self, found: Any) -> int:
        """Return where an instruction jumps to, 0 for others and for jumps to what a register holds."""
        if found.id == 0 or not self._jumps & set(found.groups) or not found.operands:
            return 0
        last = found.operands[-1]
        is_immediate = last.type == 2  # CS_OP_IMM
        return int(last.imm) & 0xFFFFFFFFFFFFFFFF if is_immediate else 0


# Where capstone and LLVM have two names for one instruction.
_X86_NAMES = {"call": "callq", "ret": "retq", "retn": "retq"}


def _x86_operands(raw: bytes, operands: str, target: int) -> str:
    """Return x86 operands as LLVM writes them: numbers in decimal with their sign, but for where a jump goes."""
    if target:
        return hex(target)
    operands = _INDEX.sub(",", _NUMBER.sub(_decimal, operands))
    opcode = raw[1] if raw[0] & 0xF0 == _REX else raw[0]
    if opcode == _SHIFT_BY_1:
        return operands.removeprefix("$1, ")
    if opcode == _BYTE_EXTENDED:
        return _UNSIGNED.sub(lambda found: f"${int(found[1]) - (1 << 32)}", operands)
    return operands


def _decimal(found: re.Match[str]) -> str:
    value = int(found[3], 0)
    if value & _SIGN and value < 1 << 64:
        value -= 1 << 64
    return f"{found[1]}{-value if found[2] else value}"
