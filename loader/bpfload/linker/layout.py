"""A program with the subprograms that it uses, in libbpf's order.

The order decides the tag: each subprogram is appended when the first call (or address) of it is met, and its own calls
are followed before the caller's next one. Source: bpf_object__reloc_code() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from dataclasses import dataclass, field
from struct import pack_into, unpack_from

from bpfload.errors import LIBBPF_RELOC, LinkError
from bpfload.linker.records import append_records
from bpfload.spec import RELOC_CALL, RELOC_EXTERN_CALL, RELOC_SUBPROG_ADDR, ObjectSpec, ProgramSpec, Record, Relocation

_SLOT = 8
_CODE_CALL = 0x85  # BPF_JMP | BPF_CALL
_PSEUDO_CALL = 1  # BPF_PSEUDO_CALL in src_reg
_PSEUDO_FUNC = 4  # BPF_PSEUDO_FUNC in src_reg
_TEXT = ".text"


@dataclass(slots=True, eq=False, repr=False)
class LinkedProgram(Record):
    """An entry program, whole: its own instructions, then those of its subprograms.

    `insns`: packed slots; map, variable and extern references still unpatched. `functions`: (offset in bytes, function),
    the program itself first. `relocations`: (offset in bytes, Relocation) of what is still to be patched. `func_info`,
    `line_info`: records as BPF_PROG_LOAD takes them (instruction offsets in slots), empty where the object has none.
    """

    spec: ProgramSpec
    insns: bytearray
    functions: list[tuple[int, ProgramSpec]] = field(default_factory=list)
    relocations: list[tuple[int, Relocation]] = field(default_factory=list)
    func_info: bytearray = field(default_factory=bytearray)
    func_info_size: int = 0
    line_info: bytearray = field(default_factory=bytearray)
    line_info_size: int = 0

    @property
    def name(self) -> str:
        """The entry program's name."""
        return self.spec.name

    def function_at(self, offset: int) -> tuple[int, ProgramSpec]:
        """Return (start, function) of the function that holds the byte `offset`."""
        starts = [start for start, _ in self.functions]
        return self.functions[bisect_right(starts, offset) - 1]


class Subprograms:
    """The functions of .text, found by an offset within them."""

    __slots__ = ("_functions", "_starts")

    def __init__(self, spec: ObjectSpec) -> None:
        self._functions = sorted((f for f in spec.programs if f.section == _TEXT), key=lambda f: f.offset)
        self._starts = [function.offset for function in self._functions]

    def at(self, offset: int) -> ProgramSpec | None:
        """Return the function that holds the byte `offset` of .text, or None."""
        place = bisect_right(self._starts, offset) - 1
        if place < 0:
            return None
        function = self._functions[place]
        return function if offset < function.offset + len(function.insns) else None


def link(
    spec: ObjectSpec,
    program: ProgramSpec,
    *,
    code: dict[int, bytes] | None = None,
    subprograms: Subprograms | None = None,
    with_records: bool = True,
) -> LinkedProgram:
    """Link an entry program: append its subprograms, patch calls and callbacks, move func_info and line_info.

    `code`: instructions to use instead of a function's own, by id() of its ProgramSpec: those with CO-RE relocations
    applied. `with_records`: False leaves func_info and line_info out. Raises LinkError (errno LIBBPF_RELOC) for a call
    that leads nowhere.
    """
    linker = _Layout(spec, program, code or {}, subprograms or Subprograms(spec), with_records)
    linker.add(program)
    if program.exception_callback:
        linker.add_exception_callback(program.exception_callback)
    return linker.linked


class _Layout:
    """The state of linking one program."""

    __slots__ = ("_code", "_offsets", "_subprograms", "_with_records", "linked", "spec")

    def __init__(
        self, spec: ObjectSpec, program: ProgramSpec, code: dict[int, bytes], subprograms: Subprograms, with_records: bool
    ) -> None:
        self.spec = spec
        self.linked = LinkedProgram(program, bytearray())
        self._code = code
        self._subprograms = subprograms
        self._with_records = with_records and spec.btf_ext is not None
        self._offsets: dict[int, int] = {}

    def add(self, function: ProgramSpec) -> int:
        """Append a function, then whatever it calls that isn't there yet; return its offset in bytes."""
        linked = self.linked
        start = len(linked.insns)
        self._offsets[id(function)] = start
        linked.insns += self._code.get(id(function), function.insns)
        linked.functions.append((start, function))
        if self._with_records and self.spec.btf_ext is not None:
            append_records(linked, self.spec.btf_ext, function, start)
        calls = self._collect_references(function, start)
        for offset in self._reference_points(function, calls):
            self._resolve(function, start, offset, calls.get(offset))
        return start

    def add_exception_callback(self, name: str) -> None:
        """Append the program's exception callback unless something called it already.

        Source: bpf_prog_assign_exc_cb() in tools/lib/bpf/libbpf.c.
        """
        found = [function for function in self.spec.programs if function.is_subprog and function.name == name]
        if not found:
            message = f"its exception callback {name!r} isn't in the object"
            raise LinkError(message, program=self.linked.name, symbol=name, errno_code=errno.ENOENT)
        callback = found[0]
        if not callback.is_global or callback.hidden:
            raise LinkError(
                f"its exception callback {name!r} must be a global function that isn't hidden",
                program=self.linked.name,
                symbol=name,
                hint='Declare it without static, and without visibility("hidden").',
            )
        if id(callback) not in self._offsets:
            self.add(callback)

    def _collect_references(self, function: ProgramSpec, start: int) -> dict[int, Relocation]:
        """Keep the function's data references for later; return those to code, by offset."""
        code: dict[int, Relocation] = {}
        for relocation in function.relocations:
            if relocation.kind in (RELOC_CALL, RELOC_SUBPROG_ADDR):
                code[relocation.offset] = relocation
            else:
                self.linked.relocations.append((start + relocation.offset, relocation))
                code.setdefault(relocation.offset, relocation)
        return code

    def _reference_points(self, function: ProgramSpec, references: dict[int, Relocation]) -> list[int]:
        """Return the offsets of all subprogram calls and addresses of a function, in order."""
        insns = function.insns
        codes, registers = insns[0::_SLOT], insns[1::_SLOT]
        points = [offset for offset, relocation in references.items() if relocation.kind == RELOC_SUBPROG_ADDR]
        slot = codes.find(_CODE_CALL)
        while slot >= 0:
            if registers[slot] >> 4 == _PSEUDO_CALL:
                points.append(slot * _SLOT)
            slot = codes.find(_CODE_CALL, slot + 1)
        points.sort()
        return points

    def _resolve(self, function: ProgramSpec, start: int, offset: int, relocation: Relocation | None) -> None:
        """Point one call, or one callback address, at its subprogram."""
        if relocation is not None and relocation.kind == RELOC_EXTERN_CALL:
            return
        linked = self.linked
        (imm,) = unpack_from("<i", linked.insns, start + offset + 4)
        if relocation is None:
            target = function.offset + offset + (imm + 1) * _SLOT
        elif relocation.kind == RELOC_CALL:
            # A global function's call has imm -1; a static one's counts from its section's start.
            target = relocation.value + (imm + 1) * _SLOT
        elif relocation.kind == RELOC_SUBPROG_ADDR:
            target = relocation.value + imm
        else:
            raise self._error(function, offset, f"a call of {relocation.symbol!r} is relocated like data", relocation.symbol)
        callee = self._subprograms.at(target)
        if callee is None:
            symbol = relocation.symbol if relocation else ""
            what = f"the call of {symbol!r}" if symbol else "a call"
            raise self._error(function, offset, f"{what} leads to no function in section .text", symbol)
        if not callee.is_subprog:
            raise self._error(function, offset, f"the entry program {callee.name!r} can't be called", callee.name)
        place = self._offsets.get(id(callee))
        if place is None:
            place = self.add(callee)
        position = start + offset
        pack_into("<i", linked.insns, position + 4, (place - position) // _SLOT - 1)
        if relocation is not None and relocation.kind == RELOC_SUBPROG_ADDR:
            registers = linked.insns[position + 1]
            linked.insns[position + 1] = (registers & 0x0F) | _PSEUDO_FUNC << 4

    def _error(self, function: ProgramSpec, offset: int, message: str, symbol: str) -> LinkError:
        return LinkError(
            message, program=function.name, instruction=offset // _SLOT, symbol=symbol, errno_code=LIBBPF_RELOC
        ).within(f"program {self.linked.name!r}")
