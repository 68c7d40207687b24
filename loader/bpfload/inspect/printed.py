"""What a program prints with bpf_printk(): the formats in its constants, and which lines of the trace pipe come from them.

The trace pipe is one for the whole machine and doesn't say which program a line is from; its formats do, as far as they differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from bpfload.abi.consts import BPF_F_RDONLY_PROG
from bpfload.errors import BpfError
from bpfload.insn.codec import CALL, HOST, LD_IMM64
from bpfload.inspect import instructions
from bpfload.objects.map import Map
from bpfload.objects.program import Program

_PRINTING = frozenset(("bpf_trace_printk", "bpf_trace_vprintk"))
_MAP_VALUE = 2  # BPF_PSEUDO_MAP_VALUE; a loaded program shows the map's id there, and the offset in its value behind it
_MOVE = 0xBF  # BPF_ALU64 | BPF_MOV | BPF_X
_ARGUMENT = 1  # the register that the format's address is in

# A conversion of the kernel's bstr_printf, as far as bpf_trace_printk() allows: flags, width, precision, length, kind.
_CONVERSION = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z|t)?([diuxXcs%]|p(?:[BKbfFsS]|[iI][46]|ks|us)?)")
_MATCHES = {"d": r"\s*[-+]?\d+\s*", "i": r"\s*[-+]?\d+\s*", "u": r"\s*\d+\s*", "x": r"\s*(?:0x)?[0-9a-f]+\s*", "c": ".", "%": "%"}
_ANYTHING = ".*"


@dataclass(frozen=True, slots=True)
class Printed:
    """What a program can print. `formats`: those found. `unknown`: calls whose format isn't among its constants."""

    formats: tuple[str, ...]
    unknown: int

    def __contains__(self, message: str) -> bool:
        """Whether a message may come from one of the formats."""
        return any(re.fullmatch(_pattern(each), message, re.DOTALL) for each in self.formats)


def printed_by(program: Program) -> Printed:
    """Find what a program prints. Raises BpfError where the kernel hides its instructions, KernelError."""
    places = list(_places(program))
    formats = {text for place in places if place and (text := _constant(*place))}
    return Printed(tuple(sorted(formats)), sum(1 for place in places if not place or not _constant(*place)))


def _places(program: Program) -> Iterator[tuple[int, int] | None]:
    """Yield (map id, offset) of the format of each call that prints; None where it comes from somewhere else.

    Follows what register 1 was last loaded with, in the order of the instructions: compilers load it right before the call.
    """
    insns = instructions.raw(program)
    symbols = instructions.symbols(insns, program.info("jited_ksyms").jited_ksyms)
    registers: dict[int, tuple[int, int] | None] = {}
    for instruction in HOST.decode_all(insns):
        if instruction.code == CALL:
            if symbols.addresses.get(symbols.call_base + instruction.imm & 0xFFFFFFFFFFFFFFFF) in _PRINTING:
                yield registers.get(_ARGUMENT)
            for register in range(6):
                registers.pop(register, None)
        elif instruction.code == LD_IMM64:
            there = (instruction.imm & 0xFFFFFFFF, instruction.imm64 >> 32) if instruction.src_reg == _MAP_VALUE else None
            registers[instruction.dst_reg] = there
        elif instruction.code == _MOVE:
            registers[instruction.dst_reg] = registers.get(instruction.src_reg)
        elif instruction.code & 7 in (0, 1, 4, 7):  # what else writes a register: loads and arithmetic
            registers.pop(instruction.dst_reg, None)


def _constant(ident: int, offset: int) -> str:
    """Return the text at a place in a map's only value; "" where there is none, or the map may change."""
    with suppress(BpfError), Map.from_id(ident) as item:
        if item.info().map_flags & BPF_F_RDONLY_PROG:
            return item.lookup(bytes(4))[offset:].partition(b"\0")[0].decode(errors="replace")
    return ""


def _pattern(text: str) -> str:
    """Return a format as a regular expression of what it prints; the pipe shows the last newline as the line's end."""
    text = text.removesuffix("\n")
    parts, at = [], 0
    for found in _CONVERSION.finditer(text):
        parts += [re.escape(text[at : found.start()]), _MATCHES.get(found[1].lower()[:1], _ANYTHING)]
        at = found.end()
    return "".join(parts) + re.escape(text[at:])
