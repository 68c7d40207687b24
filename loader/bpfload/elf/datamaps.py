"""Maps that nobody defined: of global variables, of kconfig values, of struct_ops variables.

Source: bpf_object__init_internal_map(), internal_map_name(), map_is_mmapable(), bpf_object__init_kconfig_map(),
init_struct_ops_maps() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.abi.consts import BPF_F_LINK, BPF_F_MMAPABLE, BPF_F_RDONLY_PROG, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_STRUCT_OPS
from bpfload.btf.types import KIND_STRUCT, KIND_VAR, LINKAGE_STATIC
from bpfload.elf.file import SHT_NOBITS, STB_LOCAL, STT_OBJECT
from bpfload.spec import MapSpec, StructOpsSpec, VariableSpec

if TYPE_CHECKING:
    from bpfload.btf import Type
    from bpfload.elf.draft import Draft
    from bpfload.elf.file import Section

EINVAL = 22
ENOMEM = 12
ENOTSUP = 95
MAP_NAME_LENGTH = 15
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")
#: How much memory a file may ask for by a size in a header, with no content behind it. The kernel's own limit for an array is
#: far above what a program can use.
MAX_BSS = 128 << 20


def kernel_name(object_name: str, section: str) -> str:
    """Return the name of a data map in the kernel: as much of the object's name as fits, and the section's.

    The section's gets at least 7 of the 15 characters, and all of them if it is one with a suffix of its own.
    """
    suffix = min(max(7, len(section)), MAP_NAME_LENGTH)
    prefix = 0 if "." in section[1:] else MAP_NAME_LENGTH - suffix
    name = object_name[:prefix] + section[:suffix]
    return "".join([character if character in _NAME_CHARACTERS else "_" for character in name])


def add_data_maps(draft: Draft) -> None:
    """Add a map for each section of global variables."""
    total = 0
    for section in draft.data_sections:
        name = section.label
        if section.type == SHT_NOBITS:
            total += section.size
            if total > MAX_BSS:
                draft.fail(f"{section.size} bytes of zeroed variables are too many", ENOMEM, section=name)
            data = bytearray(section.size)
        else:
            data = bytearray(draft.elf.content(section))
        spec = _data_map(draft, name, "data", data, read_only=name.startswith(".rodata"))
        draft.add_map(spec, section.index)
        draft.data_maps[section.index] = spec


def add_kconfig_map(draft: Draft) -> None:
    """Add the map of kconfig values, zero as yet: they are the running kernel's."""
    size = max((extern.offset + extern.size for extern in draft.spec.externs.values() if extern.kind == "kconfig"), default=0)
    if size > MAX_BSS:
        draft.fail(f"{size} bytes of kconfig values are too many", ENOMEM, section=".kconfig")
    if size:
        table = draft.symbol_table
        assert table is not None
        draft.add_map(_data_map(draft, ".kconfig", "kconfig", bytearray(size), read_only=True), table.index)


def _data_map(draft: Draft, name: str, kind: str, data: bytearray, *, read_only: bool) -> MapSpec:
    btf = draft.btf
    type_id = draft.datasec(name)
    section_type = btf.type(type_id) if btf is not None and type_id else None
    flags = BPF_F_RDONLY_PROG if read_only else 0
    mmapable = section_type is not None and _has_global_variable(draft, section_type)
    return MapSpec(
        name,
        kind,
        type=BPF_MAP_TYPE_ARRAY,
        key_size=4,
        value_size=len(data),
        max_entries=1,
        flags=flags | BPF_F_MMAPABLE if mmapable else flags,
        value_type_id=type_id,
        kernel_name=kernel_name(draft.spec.name, name),
        data=data,
        read_only=read_only,
        section=name,
    )


def _has_global_variable(draft: Draft, section: Type) -> bool:
    """Return whether a section has a variable that is seen from outside; only then is its map made mmapable."""
    answer = draft.has_global_variable.get(section.id)
    if answer is None:
        types = [section.btf.type(row.type_id) for row in section.variables]
        answer = any(found.kind == KIND_VAR and found.linkage != LINKAGE_STATIC for found in types)
        draft.has_global_variable[section.id] = answer
    return answer


def add_variables(draft: Draft) -> None:
    """List the global variables, by BTF where it knows the section, else by the symbols."""
    maps = [(draft.elf.sections[index].label, index, spec) for index, spec in draft.data_maps.items()]
    if draft.arena is not None and draft.arena_map is not None:
        maps.append((draft.arena.label, draft.arena.index, draft.arena_map))
    without_btf = {}
    listed = set()
    btf = draft.btf
    for section_name, index, spec in maps:
        type_id = draft.datasec(section_name)
        if btf is not None and type_id:
            if type_id not in listed:  # a second section of the same name, which no compiler makes, has no variables
                _add_from_btf(draft, btf.type(type_id), spec)
            listed.add(type_id)
        else:
            without_btf[index] = spec
    if without_btf:
        for symbol in draft.symbols:
            owner = without_btf.get(symbol.section)
            name = draft.elf.symbol_name(symbol) if owner is not None and symbol.type == STT_OBJECT else None
            if owner is not None and name and symbol.value + symbol.size <= len(owner.data or b""):
                is_static = symbol.bind == STB_LOCAL or symbol.is_hidden
                draft.spec.variables.append(VariableSpec(name, owner.name, symbol.value, symbol.size, is_static=is_static))


def _add_from_btf(draft: Draft, section: Type, spec: MapSpec) -> None:
    limit = len(spec.data or b"")
    for row in section.variables:
        found = section.btf.type(row.type_id)
        if found.kind == KIND_VAR and row.offset + row.size <= limit:
            is_static = found.linkage == LINKAGE_STATIC
            draft.spec.variables.append(VariableSpec(found.name, spec.name, row.offset, row.size, found.type_id, is_static))


# struct_ops


def add_struct_ops_maps(draft: Draft) -> None:
    """Add a map for each variable of the struct_ops sections."""
    for section in draft.struct_ops:
        _add_struct_ops_section(draft, section)


def _add_struct_ops_section(draft: Draft, section: Section) -> None:
    name = section.label
    btf = draft.btf
    assert btf is not None  # read_btf has seen to it
    datasec = draft.datasec(name)
    if not datasec:
        draft.fail("BTF knows nothing of the variables there", EINVAL, section=name, hint="Compile with -g.")
    content = draft.elf.content(section)
    copied = 0
    for row in btf.type(datasec).variables:
        variable = btf.type(row.type_id)
        value_type = btf.type(draft.resolve(row.type_id if variable.kind != KIND_VAR else variable.type_id))
        if not value_type.name:
            draft.fail(f"{variable.name!r} has a type without a name", ENOTSUP, section=name, offset=row.offset)
        if value_type.kind != KIND_STRUCT:
            draft.fail(f"{variable.name!r} is not a struct", EINVAL, section=name, offset=row.offset)
        end = row.offset + value_type.size
        copied += value_type.size
        if end > len(content) or copied > 16 * len(content):
            draft.fail(f"{variable.name!r} runs over the end of the section", EINVAL, section=name, offset=row.offset)
        is_link = name.endswith(".link")
        spec = MapSpec(
            variable.name,
            "struct_ops",
            type=BPF_MAP_TYPE_STRUCT_OPS,
            key_size=4,
            value_size=value_type.size,
            max_entries=1,
            flags=BPF_F_LINK if is_link else 0,
            value_type_id=value_type.id,
            kernel_name=variable.name[:MAP_NAME_LENGTH],
            data=bytearray(content[row.offset : end]),
            autocreate=not name.startswith("?"),
            section=name,
            offset=row.offset,
            struct_ops=StructOpsSpec(value_type.name, value_type.id, is_link),
        )
        draft.add_map(spec, section.index)
        draft.struct_ops_maps.setdefault(section.index, []).append(spec)
