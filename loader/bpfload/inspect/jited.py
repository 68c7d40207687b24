"""A program's machine code, function by function, as `bpftool prog dump jited` shows it: names, prototypes, source lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bpfload.btf import Btf
from bpfload.errors import BpfError
from bpfload.inspect.machine_code import Disassembler
from bpfload.inspect.xlated import ARRAYS, LineFinder, Pieces, SourceLine, functions_of, lines_of, place_text, source_value
from bpfload.kernel.kallsyms import Kallsyms
from bpfload.objects.info import ProgInfo
from bpfload.objects.program import Program

_NOTHING = "no instructions returned"
_HINTS = (
    "It isn't compiled to machine code: net.core.bpf_jit_enable is 0, or the kernel has no compiler for it.",
    "The kernel hides them from those without CAP_SYS_ADMIN or CAP_PERFMON, and where net.core.bpf_jit_harden is 2.",
)


@dataclass(frozen=True, slots=True)
class JitedInstruction:
    """One instruction. `pc`: bytes from the function's start. `symbol`: where a call or jump goes to, "" if nameless."""

    pc: int
    raw: bytes
    operation: str
    operands: str
    symbol: str = ""
    source: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class JitedFunction:
    """One function of a program. `name`: of its symbol in the kernel. `proto`: its prototype, "" without BTF."""

    name: str
    address: int
    proto: str
    instructions: tuple[JitedInstruction, ...]


def raw(program: Program) -> bytes:
    """Return a program's machine code. Raises BpfError where there is none, or the kernel hides it."""
    info = program.info("jited_prog_insns")
    if not info.jited_prog_len or not any(info.jited_prog_insns):
        raise BpfError(_NOTHING, hint=_HINTS[bool(info.jited_prog_len)])
    return info.jited_prog_insns


def view(program: Program, machine: str = "") -> list[JitedFunction]:
    """Return the functions of a program. `machine`: whose code it is, as uname(2) names it, "": this one's.

    Raises BpfError where there is no code, the kernel hides it, or capstone isn't there.
    """
    import os

    code = raw(program)
    info = program.info("jited_func_lens", *ARRAYS)
    types = None
    if info.btf_id:
        from bpfload.inspect.btf import types as btf_types

        types = btf_types(info.btf_id)
    return list(_functions(info, code, types, Disassembler(machine or os.uname().machine)))


def _functions(info: ProgInfo, code: bytes, types: Btf | None, disassembler: Disassembler) -> Iterator[JitedFunction]:
    from bpfload.kernel import kallsyms

    symbols = kallsyms.read()
    sizes = info.jited_func_lens or (len(code),)
    entries = info.jited_ksyms or (0,) * len(sizes)
    names = {}
    for entry in entries:
        found = symbols.find(entry) if entry else None
        names[entry] = found[0] if found else f"0x{entry:016x}" if info.jited_ksyms else "unknown"
    protos = [proto for _, proto in functions_of(Pieces.of(info, types))]
    start = 0
    for number, (entry, size) in enumerate(zip(entries, sizes, strict=False)):
        lines = LineFinder(_lines_of(info, types, entry, size))
        instructions = []
        for each in disassembler.instructions(code[start : start + size], entry):
            symbol = _symbol(symbols, names, each.target) if each.target else ""
            instructions.append(
                JitedInstruction(each.offset, each.raw, each.operation, each.operands, symbol, lines.next_at(each.offset))
            )
        yield JitedFunction(names[entry], entry, protos[number] if number < len(protos) else "", tuple(instructions))
        start += size


def _symbol(symbols: Kallsyms, names: dict[int, str], target: int) -> str:
    """Return the name of what is at an address of the kernel, or ""."""
    if target in names:
        return names[target]
    found = symbols.find(target)
    return found[0] if found else ""


def _lines_of(info: ProgInfo, types: Btf | None, entry: int, size: int) -> list[tuple[int, SourceLine]]:
    """Return (offset in the function, source line) of the lines whose code is in a function."""
    if not info.jited_line_info or not entry:
        return []
    lines = lines_of(Pieces.of(info, types))
    if len(lines) != len(info.jited_line_info):
        return []
    return [
        (address - entry, line)
        for address, (_, line) in zip(info.jited_line_info, lines, strict=True)
        if entry <= address < entry + size
    ]


def plain_lines(functions: list[JitedFunction], *, opcodes: bool = False, linum: bool = False) -> Iterator[str]:
    """Yield the lines of the plain dump. `opcodes`: the bytes too; `linum`: file, line and column of each source line."""
    for function in functions:
        if function.proto:
            yield f"{function.proto}:"
        yield f"{function.name}:"
        for each in function.instructions:
            if each.source is not None and each.source.text is not None:
                yield f"; {each.source.text}{place_text(each.source) if linum else ''}"
            operands = f"\t{each.operands}" if each.operands else ""
            yield f"{each.pc:4x}:\t{each.operation}{operands}{f' <{each.symbol}>' if each.symbol else ''}"
            if opcodes:
                yield f"\t{each.raw.hex(' ')} "
        yield ""


def json_value(functions: list[JitedFunction], *, opcodes: bool = False, linum: bool = False) -> list[dict[str, object]]:
    """Return the value of the JSON dump: a list with an object for each function. "symbol" is ours, the rest is as in bpftool."""
    return [_function_value(function, opcodes, linum) for function in functions]


def _function_value(function: JitedFunction, opcodes: bool, linum: bool) -> dict[str, object]:
    value: dict[str, object] = {"proto": function.proto} if function.proto else {}
    value["name"] = function.name
    insns: list[dict[str, object]] = []
    for each in function.instructions:
        row: dict[str, object] = dict(source_value(each.source, linum)) if each.source is not None else {}
        row |= {"pc": hex(each.pc), "operation": each.operation}
        # bpftool cuts operands at blanks, commas and parentheses alike.
        row["operands"] = each.operands.translate(_CUTS).split() or [None]
        if each.symbol:
            row["symbol"] = each.symbol
        if opcodes:
            row["opcodes"] = [f"0x{byte:02x}" for byte in each.raw]
        insns.append(row)
    value["insns"] = insns
    return value


_CUTS = str.maketrans(",()", "   ")
