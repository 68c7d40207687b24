"""The control-flow graph of a program, as DOT text: what ``bpftool prog dump xlated PROG visual`` prints.

The layout is bpftool 7.5's. In two things this graph differs from bpftool's on purpose: a function other than the first gets
its own prototype and source lines (bpftool looks them up as if each function began at slot 0), and a jump of 32 bits
(gotol) leads where it jumps to.

Source: tools/bpf/bpftool/cfg.c, dump_xlated_for_graph() in xlated_dumper.c, btf_dump_linfo_dotlabel() in btf_dumper.c.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bpfload.abi.consts import BPF_PSEUDO_CALL
from bpfload.insn.codec import BPF_CALL, BPF_EXIT, BPF_JA, BPF_JMP, BPF_JMP32, CALL, GOTOL, HOST, find_opcode, opcode, slot_count
from bpfload.inspect.xlated import SourceLine, Xlated, XlatedInstruction, json_value

_ENTRY = 0
_EXIT = 1
_FIRST_BLOCK = 2
_EDGE_STYLE = '[style="solid,bold", color=black, weight=10, constraint=true]'
_HIDDEN_EDGE_STYLE = '[style="invis", constraint=true]'
#: File names are cut to about this many characters.
_FILE_WIDTH = 32
_INSTRUCTION_ESCAPES = str.maketrans({char: f"\\{char}" for char in "<>|&"})
_SOURCE_ESCAPES = str.maketrans({char: f"\\{char}" for char in '\\"{}<>| '})


@dataclass(slots=True)
class Block:
    """Instructions that run one after the other: slots `head` to `tail`, both included. `number`: from 2 in its function."""

    number: int
    head: int
    tail: int
    successors: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Function:
    """One function. `number`: in the order in which the calls name them. `start`, `end`: its slots, both included."""

    number: int
    start: int
    end: int
    blocks: list[Block] = field(default_factory=list)


def control_flow(insns: bytes) -> list[Function]:
    """Return the functions of a loaded program with their blocks, in the order of the instructions."""
    count = slot_count(insns)
    numbers = {0: 0}
    for index in find_opcode(insns, CALL):
        if HOST.src_reg(insns, index) == BPF_PSEUDO_CALL:
            numbers.setdefault(index + HOST.off(insns, index) + 1, len(numbers))
    starts = sorted(start for start in numbers if 0 <= start < count)
    ends = [*(start - 1 for start in starts[1:]), count - 1]
    functions = [Function(numbers[start], start, end) for start, end in zip(starts, ends, strict=True)]
    for function in functions:
        _add_blocks(insns, function)
        _add_edges(insns, function)
    return functions


def _is_jump(code: int) -> bool:
    return code & 7 in (BPF_JMP, BPF_JMP32)


def _target(insns: bytes, index: int) -> int:
    distance = HOST.imm(insns, index) if opcode(insns, index) == GOTOL else HOST.off(insns, index)
    return index + distance + 1


def _add_blocks(insns: bytes, function: Function) -> None:
    """A block begins at the function's start, at each jump's target, and after each jump that may not be taken."""
    heads = {function.start}
    for index in range(function.start, function.end + 1):
        code = opcode(insns, index)
        kind = code & 0xF0
        if not _is_jump(code) or kind in (BPF_EXIT, BPF_CALL):
            continue
        heads.add(_target(insns, index))
        if kind != BPF_JA:
            heads.add(index + 1)
    inside = sorted(head for head in heads if function.start <= head <= function.end)
    tails = [*(head - 1 for head in inside[1:]), function.end]
    for number, (head, tail) in enumerate(zip(inside, tails, strict=True), _FIRST_BLOCK):
        function.blocks.append(Block(number, head, tail))


def _add_edges(insns: bytes, function: Function) -> None:
    numbers = {block.head: block.number for block in function.blocks}
    for position, block in enumerate(function.blocks):
        following = function.blocks[position + 1].number if position + 1 < len(function.blocks) else _EXIT
        code = opcode(insns, block.tail)
        kind = code & 0xF0
        jumps = _is_jump(code) and kind != BPF_EXIT
        if not jumps or kind != BPF_JA:
            block.successors.append(following)
        # A call at a block's end counts as a jump to the next instruction: bpftool draws that edge twice.
        target = numbers.get(_target(insns, block.tail)) if jumps else None
        if target is not None:
            block.successors.append(target)


def dot_lines(xlated: Xlated, *, opcodes: bool = False, linum: bool = False) -> Iterator[str]:
    """Yield the lines of the graph in the DOT language. `opcodes`, `linum`: as for the plain dump."""
    labels = _Labels(xlated, opcodes, linum)
    yield 'digraph "DOT graph for eBPF program" {'
    for function in control_flow(xlated.insns):
        name = f"fn_{function.number}_bb"
        yield f'subgraph "cluster_{function.number}" {{'
        yield '\tstyle="dashed";'
        yield '\tcolor="black";'
        yield f'\tlabel="func_{function.number} ()";'
        yield f'\t{name}_{_ENTRY} [shape=Mdiamond,style=filled,label="ENTRY"];'
        yield ""
        for block in function.blocks:
            yield f'\t{name}_{block.number} [shape=record,style=filled,label="{{\\'
            yield from labels.of(function, block)
            yield labels.end_of(block)
            yield ""
        yield f'\t{name}_{_EXIT} [shape=Mdiamond,style=filled,label="EXIT"];'
        yield ""
        yield from _edge_lines(function, name)
        yield "}"
    yield "}"


def json_graph(xlated: Xlated, *, opcodes: bool = False, linum: bool = False) -> dict[str, object]:
    """Return the graph as JSON: functions with their blocks; "successors" are numbers of blocks, "entry" and "exit" two of them.

    "instructions" of a block are as in the plain dump's JSON, each with its "pc", the slot it starts at.
    """
    rows = json_value(xlated, opcodes=opcodes, linum=linum)
    pcs = [instruction.pc for instruction in xlated.instructions]
    protos = dict(xlated.functions)
    functions: list[dict[str, object]] = []
    for function in control_flow(xlated.insns):
        blocks: list[dict[str, object]] = []
        for block in function.blocks:
            inside = slice(bisect_right(pcs, block.head - 1), bisect_right(pcs, block.tail))
            listing = [{"pc": pc, **row} for pc, row in zip(pcs[inside], rows[inside], strict=True)]
            blocks.append({"number": block.number, "successors": sorted(set(block.successors)), "instructions": listing})
        proto = {"proto": protos[function.start]} if protos.get(function.start) else {}
        head: dict[str, object] = {"number": function.number, **proto, "start": function.start, "end": function.end}
        functions.append({**head, "entry": _FIRST_BLOCK, "exit": _EXIT, "blocks": blocks})
    return {"functions": functions}


def _edge_lines(function: Function, name: str) -> Iterator[str]:
    yield f"\t{name}_{_ENTRY}:s -> {name}_{_FIRST_BLOCK}:n {_EDGE_STYLE};"
    for block in function.blocks:
        for successor in block.successors:
            yield f"\t{name}_{block.number}:s -> {name}_{successor}:n {_EDGE_STYLE};"
    yield f"\t{name}_{_ENTRY}:s -> {name}_{_EXIT}:n {_HIDDEN_EDGE_STYLE};"


class _Labels:
    """The text inside a block: left-aligned rows, an instruction and what belongs to it each."""

    def __init__(self, xlated: Xlated, opcodes: bool, linum: bool) -> None:
        self._instructions = xlated.instructions
        self._pcs = [instruction.pc for instruction in xlated.instructions]
        self._protos = dict(xlated.functions)
        self._lines = xlated.lines
        self._line_starts = [slot for slot, _line in xlated.lines]
        self._opcodes = opcodes
        self._linum = linum

    def of(self, function: Function, block: Block) -> Iterator[str]:
        """Yield the lines of one block."""
        shown = -1
        separator = ""
        first = bisect_right(self._pcs, block.head - 1)
        for instruction in self._instructions[first : bisect_right(self._pcs, block.tail)]:
            rows = []
            if self._protos.get(instruction.pc):
                rows.append(f"; {self._protos[instruction.pc]}:")
            line = bisect_right(self._line_starts, instruction.pc) - 1
            if line >= 0 and line != shown:
                shown = line
                rows.extend(_source_rows(self._lines[line][1], self._linum))
            rows.append(f"{instruction.pc - function.start}: {instruction.disasm.translate(_INSTRUCTION_ESCAPES)}")
            if self._opcodes:
                rows.append(f"\\ \\ \\ \\ {_hex(instruction)}")
            yield f"{separator}{rows[0]}\\l\\"
            yield from (f"{row}\\l\\" for row in rows[1:])
            separator = "| "

    def end_of(self, block: Block) -> str:
        """The line that closes a block: bpftool leaves an empty field after a 64-bit immediate."""
        last = self._instructions[bisect_right(self._pcs, block.tail) - 1]
        return '| }"];' if last.pc != block.tail else '}"];'


def _hex(instruction: XlatedInstruction) -> str:
    return instruction.raw.hex(" ")


def _source_rows(source: SourceLine, linum: bool) -> Sequence[str]:
    if not source.text:
        return ()
    rows = []
    if linum:
        file = source.file or ""
        short = _shorten(file)
        mark = "..." if short != file else ""
        rows.append(f"; [{mark}{short.translate(_SOURCE_ESCAPES)} line:{source.number} col:{source.column}]")
    rows.append(f"; {source.text.translate(_SOURCE_ESCAPES)}")
    return rows


def _shorten(path: str) -> str:
    """Cut a long path at a slash so that at most 32 characters remain, or the file's name if that alone is longer."""
    if len(path) <= _FILE_WIDTH:
        return path
    slash = path.find("/", len(path) - _FILE_WIDTH)
    if slash >= 0:
        return path if slash < len("...") else path[slash:]
    slash = path.rfind("/")
    return path[slash:] if slash >= 0 else path
