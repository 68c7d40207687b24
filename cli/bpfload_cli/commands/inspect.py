"""`bpfload inspect OBJ`: what is in an object file."""

from __future__ import annotations

from bpfload.inspect import objectfile
from bpfload.inspect.coretargets import CoreOutcome
from bpfload.inspect.objectfile import Extern, ObjectMap, ObjectProgram, ObjectView, RelocationView, Variable
from bpfload.inspect.typed import TypedValue
from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.output import json_text
from bpfload_cli.session import Session

# Characters of a value that are shown in the text; JSON has all of it.
_LONGEST_VALUE = 120

_KERNEL_BTF = "--kernel-btf"


def inspect(session: Session, words: Words) -> None:
    """Show what object files would load, and how that comes out on the kernels whose BTF files are named."""
    paths, kernels = _read_words(words)
    views = [objectfile.view(path, kernels=kernels) for path in paths]
    if session.json:
        session.data(views[0] if len(views) == 1 else views)
        return
    for position, view in enumerate(views):
        session.write(("\n" if position else "") + object_text(view))


def _read_words(words: Words) -> tuple[list[str], list[str]]:
    """Read object files and, after --kernel-btf, BTF files."""
    paths: list[str] = []
    kernels: list[str] = []
    current = paths
    while words:
        word = words.take("the object file")
        name, has_value, value = word.partition("=")
        if name != _KERNEL_BTF:
            if word.startswith("--"):
                raise words.error(f"bpfload inspect has no option {word!r}", (_KERNEL_BTF,))
            current.append(word)
        elif has_value:
            kernels.append(value)
        else:
            kernels.append(words.take("the BTF file"))
            current = kernels
    if not paths:
        raise words.error("bpfload inspect: the object file is missing")
    return paths, kernels


command = WordCommand("inspect", inspect)


# --- text -----------------------------------------------------------------------------------------------------------


def object_text(view: ObjectView) -> str:
    """Return the text of an object file."""
    version = f"  version {view.version}" if view.version else ""
    types = "" if view.btf else "  no BTF"
    lines = [f"{view.name}: license {view.license or '(none)'}{version}  {view.byte_order}-endian{types}"]
    lines += [f"\twarning: {warning}" for warning in view.warnings or ()]
    for program in view.programs:
        lines += _program(program)
    for subprogram in view.subprograms:
        lines.append(f"subprogram {subprogram.name}  section {subprogram.section}  {_count(subprogram.insns, 'instruction')}")
        lines += _relocations(subprogram.relocations)
    for entry in view.maps:
        lines += _map(entry)
    lines += [_variable(variable) for variable in view.variables]
    lines += [_extern(extern) for extern in view.externs]
    return "\n".join(lines) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _program(program: ObjectProgram) -> list[str]:
    attach = f"  attach_type {program.attach_type}" if program.attach_type is not None else ""
    target = f"  target {program.attach_target}" if program.attach_target else ""
    optional = "" if program.autoload else "  not loaded unless asked for"
    lines = [f"program {program.name}  section {program.section}  type {program.type}{attach}{target}{optional}"]
    size = _count(program.insns, "instruction")
    if program.linked_insns not in (None, program.insns):
        size += f", {program.linked_insns} with {', '.join(program.subprograms)}"
    lines.append(f"\t{size}")
    if program.tag_depends_on:
        lines.append(f"\ttag depends on the kernel: {program.tag_depends_on}")
    elif program.tag_sha1:
        lines.append(f"\ttag {program.tag_sha1} (SHA-1)  {program.tag_sha256} (SHA-256, Linux 6.18)")
    if program.error:
        lines.append(f"\tcan't be linked: {program.error}")
    return lines + _relocations(program.relocations)


def _relocations(rows: tuple[RelocationView, ...]) -> list[str]:
    lines = []
    for row in rows:
        lines.append(f"\t{row.insn:4}: {_relocation(row)}")
        lines += [f"\t\t{_outcome(outcome)}" for outcome in row.kernels or ()]
    return lines


def _outcome(outcome: CoreOutcome) -> str:
    if not outcome.resolved:
        return f"{outcome.kernel}: NOT resolved: {outcome.problem}"
    found = f"  {outcome.target}" if outcome.target else ""
    return f"{outcome.kernel}: {outcome.value}{found}"


def _relocation(row: RelocationView) -> str:
    if row.core is not None:
        return f"core {row.core} {row.symbol}"
    return f"{row.kind} {row.symbol}" + (f" in {row.target}" if row.target not in (None, row.symbol) else "")


def _map(entry: ObjectMap, depth: int = 0) -> list[str]:
    name = f" ({entry.kernel_name} in the kernel)" if entry.kernel_name != entry.name else ""
    flags = f"  flags 0x{entry.flags:x}" if entry.flags else ""
    notes = [
        word
        for word, there in (
            ("frozen", entry.frozen),
            ("pinned by name", entry.pinning == "by_name"),
            ("not created unless asked for", not entry.autocreate),
        )
        if there
    ]
    indent = "\t" * depth
    what = "inner map" if depth else f"map {entry.name}{name}"
    lines = [f"{indent}{what}  type {entry.type}{flags}" + "".join(f"  {note}" for note in notes)]
    lines.append(f"{indent}\tkey {entry.bytes_key}B  value {entry.bytes_value}B  max_entries {entry.max_entries}")
    if entry.key_type or entry.value_type:
        lines.append(f"{indent}\t{entry.key_type or '?'} -> {entry.value_type or '?'}")
    return lines + (_map(entry.inner_map, depth + 1) if entry.inner_map else [])


def _variable(variable: Variable) -> str:
    kind = variable.type or _count(variable.size, "byte")
    value = "" if variable.value is None else f" = {_value(variable.value)}"
    return f"variable {variable.name}: {kind} at {variable.section}+{variable.offset}{value}"


def _value(value: TypedValue | bytes) -> str:
    text = json_text(value.to_data()) if isinstance(value, TypedValue) else value.hex(" ")
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 2]} …"


def _extern(extern: Extern) -> str:
    weak = "  weak" if extern.weak else ""
    return f"extern {extern.name}: {extern.kind}{weak}" + (f"  {extern.type}" if extern.type else "")
