"""What an object file would load: read off the file alone, without root and without a kernel."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload import elf
from bpfload.abi import consts
from bpfload.abi.names import ATTACH_TYPE_NAMES, MAP_TYPE_NAMES, PROG_TYPE_NAMES, name_of
from bpfload.errors import BpfError
from bpfload.insn.tag import program_tag
from bpfload.inspect.typed import Decoders, TypedValue
from bpfload.linker import ExternValue, LinkedProgram, References, link, patch_references
from bpfload.spec import (
    RELOC_CALL,
    RELOC_EXTERN_CALL,
    RELOC_EXTERN_LD64,
    RELOC_SUBPROG_ADDR,
    ExternSpec,
    MapSpec,
    ObjectSpec,
    ProgramSpec,
    Relocation,
    VariableSpec,
)

if TYPE_CHECKING:
    from bpfload.inspect.coretargets import CoreOutcome, Outcomes

_SLOT = 8
# Initial values that take more bytes than this aren't shown: with a type, without one.
_SHOWN_TYPED, _SHOWN_BYTES = 4096, 64
# What a reference to a map is patched with; tags don't depend on it.
_SOME_FD = 1


@dataclass(frozen=True, slots=True)
class RelocationView:
    """A reference.

    `insn`: index of the instruction in its function. `kind`: a RELOC_* word of `bpfload.spec`, or "core", with `core` its kind.
    `kernels`: how it comes out against the BTF files that were named; None if none were.
    """

    insn: int
    kind: str
    symbol: str
    target: str | None = None
    core: str | None = None
    kernels: tuple[CoreOutcome, ...] | None = None


@dataclass(frozen=True, slots=True)
class ObjectProgram:
    """A program of an object file.

    `insns`: its own instructions; `linked_insns`: with those of its `subprograms`. `tag_sha1`, `tag_sha256`: the tag that it gets
    from kernels that hash so (since 6.18: SHA-256); None where it depends on the kernel, `tag_depends_on` says on what.
    """

    name: str
    section: str
    type: str | int
    attach_type: str | int | None
    attach_target: str | None
    autoload: bool
    insns: int
    linked_insns: int | None
    tag_sha1: str | None
    tag_sha256: str | None
    tag_depends_on: str | None
    subprograms: tuple[str, ...]
    relocations: tuple[RelocationView, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Subprogram:
    """A function that programs call."""

    name: str
    section: str
    insns: int
    relocations: tuple[RelocationView, ...]


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """A map of an object file. `name`: as in the object; `kernel_name`: as the kernel will show it."""

    name: str
    kernel_name: str
    type: str | int
    flags: int
    bytes_key: int
    bytes_value: int
    max_entries: int
    frozen: bool
    autocreate: bool
    pinning: str | None
    key_type: str | None
    value_type: str | None
    inner_map: ObjectMap | None


@dataclass(frozen=True, slots=True)
class Variable:
    """A global variable. `value`: its initial value by its type; bytes without one; None where there is none, or a big one."""

    name: str
    section: str
    offset: int
    size: int
    type: str | None
    value: TypedValue | bytes | None


@dataclass(frozen=True, slots=True)
class Extern:
    """Something that the kernel is to provide."""

    name: str
    kind: str
    weak: bool
    type: str | None


@dataclass(frozen=True, slots=True)
class ObjectView:
    """An object file, as `bpfload inspect` shows it."""

    name: str
    license: str
    version: int | None
    byte_order: str
    btf: bool
    programs: tuple[ObjectProgram, ...]
    subprograms: tuple[Subprogram, ...]
    maps: tuple[ObjectMap, ...]
    variables: tuple[Variable, ...]
    externs: tuple[Extern, ...]
    warnings: tuple[str, ...] | None


def view(path: str | os.PathLike[str], *, kernels: Sequence[str | os.PathLike[str]] = ()) -> ObjectView:
    """Read an object file and return its view. Raises FormatError, NotFoundError.

    `kernels`: BTF files to resolve its CO-RE relocations against.
    """
    return view_spec(elf.read(path), kernels=kernels)


def view_spec(spec: ObjectSpec, *, kernels: Sequence[str | os.PathLike[str]] = ()) -> ObjectView:
    """Return the view of an object."""
    core = _core_relocations(spec, kernels)
    decoders = Decoders(spec.btf) if spec.btf else None
    subprograms = [program for program in spec.programs if program.is_subprog]
    return ObjectView(
        name=spec.name,
        license=spec.license,
        version=spec.version or None,
        byte_order="little" if spec.little_endian else "big",
        btf=spec.btf is not None,
        programs=tuple(_program(spec, program, core) for program in spec.entry_programs),
        subprograms=tuple(
            Subprogram(program.name, program.section, program.insn_count, _relocations(spec, program, core))
            for program in subprograms
        ),
        maps=tuple(_map(spec, entry) for entry in spec.maps.values()),
        variables=tuple(_variable(spec, variable, decoders) for variable in spec.variables),
        externs=tuple(_extern(spec, extern) for extern in spec.externs.values()),
        warnings=tuple(spec.warnings) or None,
    )


def _name(names: tuple[str, ...], number: int) -> str | int:
    name = name_of(names, number)
    return number if name is None else name


def _type_text(spec: ObjectSpec, type_id: int) -> str | None:
    if not type_id or spec.btf is None:
        return None
    from bpfload.btf.names import c_type

    return c_type(spec.btf, type_id)


# --- programs -------------------------------------------------------------------------------------------------------

CoreRecords = dict[int, list[RelocationView]]


def _core_relocations(spec: ObjectSpec, kernels: Sequence[str | os.PathLike[str]]) -> CoreRecords:
    """Return the CO-RE relocations of each function, by id() of its ProgramSpec."""
    found: CoreRecords = {}
    if spec.btf_ext is None or spec.btf is None:
        return found
    found_in: Outcomes = {}
    if kernels:
        from bpfload.inspect.coretargets import outcomes

        found_in = outcomes(spec, kernels)
    for section, info in spec.btf_ext.core_relos.items():
        functions = [program for program in spec.programs if program.section == section]
        for offset, type_id, access, kind in info.core_relocations():
            for function in functions:
                if function.offset <= offset < function.offset + len(function.insns):
                    where = found_in.get((section, offset))
                    row = _core_relocation(spec, (offset - function.offset) // _SLOT, type_id, access, kind, where)
                    found.setdefault(id(function), []).append(row)
    return found


def _core_relocation(
    spec: ObjectSpec, insn: int, type_id: int, access: int, kind: int, kernels: tuple[CoreOutcome, ...] | None
) -> RelocationView:
    from bpfload.btf.core.describe import describe
    from bpfload.btf.core.spec import kind_name

    assert spec.btf is not None
    try:
        symbol = describe(spec.btf, type_id, spec.btf.string(access), kind).rpartition(" (")[0]
    except BpfError:
        symbol = f"type {type_id}"
    return RelocationView(insn, "core", symbol, None, kind_name(kind), kernels)


def _relocations(spec: ObjectSpec, program: ProgramSpec, core: CoreRecords) -> tuple[RelocationView, ...]:
    rows = [
        RelocationView(row.offset // _SLOT, row.kind, _symbol(spec, program, row), row.target or None)
        for row in program.relocations
    ]
    return tuple(sorted(rows + core.get(id(program), []), key=lambda row: row.insn))


def _symbol(spec: ObjectSpec, program: ProgramSpec, row: Relocation) -> str:
    """Name what a relocation refers to: the function, where clang refers to its section and the instruction says where."""
    if row.kind not in (RELOC_CALL, RELOC_SUBPROG_ADDR) or row.offset + 8 > len(program.insns):
        return row.symbol
    (addend,) = unpack_from("<i" if spec.little_endian else ">i", program.insns, row.offset + 4)
    place = row.value + ((addend + 1) * _SLOT if row.kind == RELOC_CALL else addend)
    for function in spec.programs:
        if function.section == row.target and function.offset == place:
            return function.name
    return row.symbol


def _program(spec: ObjectSpec, program: ProgramSpec, core: CoreRecords) -> ObjectProgram:
    linked, error = None, None
    try:
        linked = link(spec, program, with_records=False)
    except BpfError as failed:
        error = str(failed)
    reason = _depends_on(spec, linked, core) if linked else None
    tags: dict[str, str | None] = {"sha1": None, "sha256": None}
    if linked and reason is None:
        insns = patch_references(linked, _references(spec))
        tags = {algorithm: program_tag(insns, algorithm=algorithm) for algorithm in tags}
    attach_known = program.attach_type or program.type == consts.BPF_PROG_TYPE_CGROUP_SKB
    return ObjectProgram(
        name=program.name,
        section=program.section,
        type=_name(PROG_TYPE_NAMES, program.type),
        attach_type=_name(ATTACH_TYPE_NAMES, program.attach_type) if attach_known else None,
        attach_target=program.attach_target or None,
        autoload=program.autoload,
        insns=program.insn_count,
        linked_insns=len(linked.insns) // _SLOT if linked else None,
        tag_sha1=tags["sha1"],
        tag_sha256=tags["sha256"],
        tag_depends_on=reason,
        subprograms=tuple(function.name for _, function in linked.functions[1:]) if linked else (),
        relocations=_relocations(spec, program, core),
        error=error,
    )


def _references(spec: ObjectSpec) -> References:
    """Return references to patch with: any number will do, for tags don't contain them."""
    created = {name: _SOME_FD for name, entry in spec.maps.items() if entry.autocreate}
    externs = {name: ExternValue("kconfig") for name in spec.externs}
    tables: dict[int, int] = defaultdict(lambda: _SOME_FD)
    return References(created, list(spec.maps), externs, jump_tables=tables)


def _depends_on(spec: ObjectSpec, linked: LinkedProgram, core: CoreRecords) -> str | None:
    """Say what of the kernel goes into a program's instructions; None for nothing: the tag is the same everywhere."""
    reasons = []
    if any(core.get(id(function)) for _, function in linked.functions):
        reasons.append("CO-RE relocations")
    kinds = {relocation.kind for _, relocation in linked.relocations}
    targets = {relocation.target for _, relocation in linked.relocations if relocation.kind == RELOC_EXTERN_LD64}
    if any(name in targets and extern.kind != "kconfig" for name, extern in spec.externs.items()):
        reasons.append("kernel symbols")
    if RELOC_EXTERN_CALL in kinds:
        reasons.append("kfuncs")
    return ", ".join(reasons) or None


# --- maps, variables, externs ---------------------------------------------------------------------------------------


def _map(spec: ObjectSpec, entry: MapSpec) -> ObjectMap:
    return ObjectMap(
        name=entry.name,
        kernel_name=(entry.kernel_name or entry.name)[: consts.BPF_OBJ_NAME_LEN - 1],
        type=_name(MAP_TYPE_NAMES, entry.type),
        flags=entry.flags,
        bytes_key=entry.key_size,
        bytes_value=entry.value_size,
        max_entries=entry.max_entries,
        frozen=entry.read_only,
        autocreate=entry.autocreate,
        pinning="by_name" if entry.pinning else None,
        key_type=_type_text(spec, entry.key_type_id),
        value_type=None if entry.kind in ("data", "kconfig") else _type_text(spec, entry.value_type_id),
        inner_map=_map(spec, entry.inner) if entry.inner else None,
    )


def _variable(spec: ObjectSpec, variable: VariableSpec, decoders: Decoders | None) -> Variable:
    entry = spec.maps.get(variable.map_name)
    data = bytes(entry.data[variable.offset : variable.offset + variable.size]) if entry and entry.data is not None else None
    value: TypedValue | bytes | None = data if data is None or len(data) <= _SHOWN_BYTES else None
    if data is not None and variable.type_id and decoders is not None and len(data) <= _SHOWN_TYPED:
        value = TypedValue(decoders, variable.type_id, data)
        if not _decodes(value):
            value = data
    type_text = _type_text(spec, variable.type_id)
    return Variable(variable.name, variable.map_name, variable.offset, variable.size, type_text, value)


def _decodes(value: TypedValue) -> bool:
    try:
        value.to_data()
    except BpfError:
        return False
    return True


def _extern(spec: ObjectSpec, extern: ExternSpec) -> Extern:
    return Extern(extern.name, extern.kind, extern.weak, _type_text(spec, extern.type_id))
