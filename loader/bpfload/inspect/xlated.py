"""A loaded program's instructions as the kernel runs them, with functions, source lines and names.

`view` makes one `Xlated` of what bpf_prog_info gives; `plain_lines` and `json_value` print it as ``bpftool prog dump xlated``
does, `xlated_graph.dot_lines` as its ``visual`` does.

Sources: tools/bpf/bpftool/xlated_dumper.c, bpf_prog_linfo__lfind() in tools/lib/bpf/bpf_prog_linfo.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload.errors import FormatError
from bpfload.insn.codec import HOST, SLOT_SIZE
from bpfload.insn.disasm import Symbols, disassemble

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.objects.info import ProgInfo

#: What to ask the kernel for: the arguments of `Program.info`.
ARRAYS = ("xlated_prog_insns", "func_info", "line_info", "jited_ksyms", "jited_func_lens", "jited_line_info")

#: What isspace() of the C locale takes for white space.
_WHITE_SPACE = " \t\n\v\f\r"
_U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Pieces:
    """The parts of bpf_prog_info that a dump is made of, under the kernel's names, and the program's BTF (None without).

    `func_info` and `line_info`: packed records of their rec_size bytes each. `jited_func_lens` and `jited_line_info` add nothing
    to the dump; bpftool leaves out the source lines where they contradict the rest, and so does `view` if they are given.
    """

    insns: bytes
    func_info: bytes = b""
    func_info_rec_size: int = 8
    line_info: bytes = b""
    line_info_rec_size: int = 16
    jited_ksyms: tuple[int, ...] = ()
    jited_func_lens: tuple[int, ...] = ()
    jited_line_info: tuple[int, ...] = ()
    btf: Btf | None = None

    @classmethod
    def of(cls, info: ProgInfo, btf: Btf | None) -> Pieces:
        """Take the parts from what the kernel said, `ARRAYS` included. `btf`: the types of `info.btf_id`."""
        return cls(
            insns=info.xlated_prog_insns,
            func_info=info.func_info,
            func_info_rec_size=info.func_info_rec_size,
            line_info=info.line_info,
            line_info_rec_size=info.line_info_rec_size,
            jited_ksyms=info.jited_ksyms,
            jited_func_lens=info.jited_func_lens,
            jited_line_info=info.jited_line_info,
            btf=btf,
        )


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of source. `text`: without leading white space, None where BTF has none. `file`: None where BTF has none.

    `number`, `column`: from 1; 0 if unknown.
    """

    text: str | None
    file: str | None
    number: int
    column: int


@dataclass(frozen=True, slots=True)
class XlatedInstruction:
    """One instruction. `pc`: index of its first slot. `raw`: its 8 or 16 bytes. `disasm`: its text.

    `proto`: the prototype of the function that starts here, or "". `source`: the line that starts here, or None.
    """

    pc: int
    raw: bytes
    disasm: str
    proto: str = ""
    source: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class Xlated:
    """A program as the kernel runs it. `functions`: (first slot, prototype); `lines`: (first slot, source line), in order."""

    insns: bytes
    instructions: tuple[XlatedInstruction, ...]
    functions: tuple[tuple[int, str], ...] = ()
    lines: tuple[tuple[int, SourceLine], ...] = ()


def view(pieces: Pieces, symbols: Symbols | None = None) -> Xlated:
    """Return the view of a program. `symbols`: names of kernel addresses; without, calls show the addresses themselves.

    Raises FormatError where the records don't fit the program's BTF.
    """
    symbols = symbols or Symbols(jited=pieces.jited_ksyms)
    functions = functions_of(pieces)
    lines = lines_of(pieces)
    protos = _Follower(functions)
    sources = LineFinder(lines)
    instructions = []
    for line in disassemble(pieces.insns, symbols=symbols):
        start = line.pc * SLOT_SIZE
        raw = pieces.insns[start : start + line.slots * SLOT_SIZE]
        instructions.append(XlatedInstruction(line.pc, raw, line.text, protos.at(line.pc), sources.next_at(line.pc)))
    return Xlated(pieces.insns, tuple(instructions), functions, lines)


def plain_lines(xlated: Xlated, *, opcodes: bool = False, linum: bool = False) -> Iterator[str]:
    """Yield the lines of the plain dump. `opcodes`: the bytes too; `linum`: file, line and column of each source line."""
    for instruction in xlated.instructions:
        if instruction.proto:
            yield f"{instruction.proto}:"
        source = instruction.source
        if source is not None and source.text is not None:
            yield f"; {source.text}{place_text(source) if linum else ''}"
        yield f"{instruction.pc:4}: {instruction.disasm}"
        if opcodes:
            yield f"       {instruction.raw.hex(' ')}"


def place_text(source: SourceLine) -> str:
    """Return what `linum` shows of a source line behind its text."""
    return f" [file:{source.file or ''} line_num:{source.number} line_col:{source.column}]"


def json_value(xlated: Xlated, *, opcodes: bool = False, linum: bool = False) -> list[dict[str, object]]:
    """Return the value of the JSON dump: a list with an object for each instruction."""
    return [_instruction_value(instruction, opcodes, linum) for instruction in xlated.instructions]


def _instruction_value(instruction: XlatedInstruction, opcodes: bool, linum: bool) -> dict[str, object]:
    value: dict[str, object] = {}
    if instruction.proto:
        value["proto"] = instruction.proto
    if instruction.source is not None:
        value.update(source_value(instruction.source, linum))
    value["disasm"] = instruction.disasm
    if opcodes:
        value["opcodes"] = _opcodes_value(instruction.raw)
    return value


def source_value(source: SourceLine, linum: bool) -> Iterator[tuple[str, object]]:
    """Yield the members of an instruction's JSON that tell the source line; `linum`: where that is, too."""
    if source.text is not None:
        yield "src", source.text
    if linum:
        if source.file is not None:
            yield "file", source.file
        if source.number:
            yield "line_num", source.number
        if source.column:
            yield "line_col", source.column


def _opcodes_value(raw: bytes) -> dict[str, object]:
    """The bytes field by field; imm of a 64-bit immediate includes all of the second slot."""
    return {
        "code": f"0x{raw[0]:02x}",
        "src_reg": hex(HOST.src_reg(raw, 0)),
        "dst_reg": hex(HOST.dst_reg(raw, 0)),
        "off": [f"0x{byte:02x}" for byte in raw[2:4]],
        "imm": [f"0x{byte:02x}" for byte in raw[4:]],
    }


def functions_of(pieces: Pieces) -> tuple[tuple[int, str], ...]:
    """func_info as (first slot, prototype)."""
    if pieces.btf is None:
        return ()
    from bpfload.btf.names import prototype  # only where there is BTF

    functions = []
    for place in range(0, len(pieces.func_info), pieces.func_info_rec_size):
        slot, type_id = unpack_from("=II", pieces.func_info, place)
        functions.append((slot, prototype(pieces.btf, type_id)))
    return tuple(functions)


def lines_of(pieces: Pieces) -> tuple[tuple[int, SourceLine], ...]:
    """line_info as (first slot, source line)."""
    if pieces.btf is None or _jited_lines_contradict(pieces):
        return ()
    lines = []
    for place in range(0, len(pieces.line_info), pieces.line_info_rec_size):
        slot, file_offset, text_offset, position = unpack_from("=IIII", pieces.line_info, place)
        text = _string(pieces.btf, text_offset)
        if text is not None:
            text = text.lstrip(_WHITE_SPACE)
        lines.append((slot, SourceLine(text, _string(pieces.btf, file_offset), position >> 10, position & 0x3FF)))
    return tuple(lines)


def _jited_lines_contradict(pieces: Pieces) -> bool:
    """Whether libbpf would give up on the line info because of the machine code's addresses.

    It wants one address for each line, growing within a function, and each function to start with a line of its own. That
    isn't so where the verifier removed code, or the kernel added functions (exception callbacks).

    Source: bpf_prog_linfo__new() and dissect_jited_func() in tools/lib/bpf/bpf_prog_linfo.c.
    """
    entries, sizes, addresses = pieces.jited_ksyms, pieces.jited_func_lens, pieces.jited_line_info
    count = len(pieces.line_info) // pieces.line_info_rec_size
    if not entries or len(sizes) != len(entries) or not count or len(addresses) != count:
        return False
    if addresses[0] != entries[0]:
        return True
    function = 1
    for before, address in pairwise(addresses):
        if function == len(entries):
            break
        if address == entries[function]:
            if before - entries[function - 1] + 1 & _U64 > sizes[function - 1]:
                return True
            function += 1
        elif address <= before:
            return True
    return function != len(entries)


def _string(btf: Btf, offset: int) -> str | None:
    try:
        return btf.string(offset)
    except FormatError:
        return None


class _Follower:
    """Walks func_info beside the instructions."""

    def __init__(self, functions: Sequence[tuple[int, str]]) -> None:
        self._functions = functions
        self._next = 0

    def at(self, pc: int) -> str:
        """The prototype of the function that starts at `pc`, or ""."""
        if self._next < len(self._functions) and self._functions[self._next][0] == pc:
            self._next += 1
            return self._functions[self._next - 1][1]
        return ""


class LineFinder:
    """Walks line_info beside the instructions, in the kernel's way of giving each record to one instruction."""

    def __init__(self, lines: Sequence[tuple[int, SourceLine]]) -> None:
        self._lines = lines
        self._used = 0

    def next_at(self, pc: int) -> SourceLine | None:
        """The last record up to `pc`, once for each record used; None if the next unused record starts later.

        Where two records fall on one instruction, the later is shown, and shown again at the following instruction: so
        libbpf looks them up, with the count of lines shown so far as the count of records to skip.
        """
        lines, used = self._lines, self._used
        if used >= len(lines) or lines[used][0] > pc:
            return None
        last = used
        while last + 1 < len(lines) and lines[last + 1][0] <= pc:
            last += 1
        self._used += 1
        return lines[last][1]
