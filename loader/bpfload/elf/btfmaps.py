"""Maps defined in .maps, where a struct's members, by their types, say what the map is.

A number is the length of an array that the member points to, a type is what the member points to; the variable's bytes in the
file hold nothing but static initial values.

Source: bpf_object__init_user_btf_maps(), parse_btf_map_def(), get_map_field_int() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.abi.consts import (
    BPF_MAP_TYPE_ARENA,
    BPF_MAP_TYPE_ARRAY_OF_MAPS,
    BPF_MAP_TYPE_HASH_OF_MAPS,
    BPF_MAP_TYPE_PROG_ARRAY,
)
from bpfload.btf.types import (
    KIND_ARRAY,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC_PROTO,
    KIND_NAMES,
    KIND_PTR,
    KIND_STRUCT,
    KIND_VAR,
    LINKAGE_GLOBAL,
)
from bpfload.elf.file import SHT_NOBITS
from bpfload.errors import BpfError, FormatError
from bpfload.spec import MapSpec

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf import Btf, Type
    from bpfload.btf.types import Member
    from bpfload.elf.draft import Draft

EINVAL = 22
ENOENT = 2
ENOTSUP = 95
PIN_BY_NAME = 1
MAP_NAME_LENGTH = 15
MAX_MEMBERS = 1 << 18  # of all definitions: maps may share a long one
MAPS_OF_MAPS = frozenset((BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS))

#: Members that hold a number, and the field of MapSpec for each.
_NUMBERS = {"type": "type", "max_entries": "max_entries", "map_flags": "flags", "numa_node": "numa_node"}


def add_maps(draft: Draft) -> None:
    """Add the maps of .maps, or those defined in the old way, and find the arena."""
    if draft.legacy_maps:
        from bpfload.elf import legacymaps

        legacymaps.add_maps(draft)
    if draft.maps is not None:
        _add_btf_maps(draft)
    _find_arena(draft)


def _add_btf_maps(draft: Draft) -> None:
    section, btf = draft.maps, draft.btf
    assert section is not None
    assert btf is not None  # read_btf has seen to it
    draft.maps_datasec = draft.datasec(".maps")
    if not draft.maps_datasec:
        draft.fail("BTF knows nothing of the maps there", ENOENT, section=".maps", hint="Compile with -g.")
    size = section.size if section.type == SHT_NOBITS else len(draft.elf.content(section))
    for variable in btf.type(draft.maps_datasec).variables:
        found = btf.type(variable.type_id)
        name = found.name
        if not name:
            draft.fail("a map has no name", EINVAL, section=".maps", offset=variable.offset)
        if variable.offset + variable.size > size:
            draft.fail(f"map {name!r} runs over the end of the section", EINVAL, section=".maps", offset=variable.offset)
        if found.kind != KIND_VAR:
            draft.fail(f"map {name!r} is no variable in BTF", EINVAL, section=".maps", offset=variable.offset)
        if found.linkage != LINKAGE_GLOBAL:
            draft.fail(
                f"map {name!r} is static or hidden", ENOTSUP, section=".maps", offset=variable.offset, hint="Remove `static`."
            )
        definition = btf.type(draft.resolve(found.type_id))
        if definition.kind != KIND_STRUCT:
            draft.fail(f"map {name!r} is not defined by a struct", EINVAL, section=".maps", offset=variable.offset)
        if definition.size > variable.size:
            draft.fail(f"the definition of map {name!r} is cut off", EINVAL, section=".maps", offset=variable.offset)
        spec = MapSpec(name, section=".maps", offset=variable.offset, kernel_name=name[:MAP_NAME_LENGTH])
        try:
            parse_definition(draft, btf, definition, spec)
        except BpfError as error:
            raise error.within(f"map {name!r}") from None
        draft.add_map(spec, section.index)


def _find_arena(draft: Draft) -> None:
    for spec in draft.spec.maps.values():
        if spec.type != BPF_MAP_TYPE_ARENA:
            continue
        if draft.arena_map is not None:
            draft.fail(f"maps {draft.arena_map.name!r} and {spec.name!r} are both arenas; there can be one", EINVAL)
        draft.arena_map = spec
        spec.kind = "arena"
        if draft.arena is not None:
            spec.data = bytearray(draft.elf.content(draft.arena))
    if draft.arena is not None and draft.arena_map is None:
        draft.fail(
            "global variables in an arena, and no arena to hold them",
            ENOENT,
            section=draft.arena.label,
            hint="Define a map of type BPF_MAP_TYPE_ARENA in .maps.",
        )


# One definition


def parse_definition(draft: Draft, btf: Btf, definition: Type, spec: MapSpec, *, is_inner: bool = False) -> None:
    """Fill a map from the members of the struct that defines it. Raises FormatError."""
    members = definition.members
    draft.member_count += len(members)
    if draft.member_count > MAX_MEMBERS:
        _fail(btf, "the map definitions are too long")
    for position, member in enumerate(members):
        name = member.name
        if name in _NUMBERS:
            setattr(spec, _NUMBERS[name], _number(draft, btf, member))
        elif name in ("key_size", "value_size"):
            _set_size(btf, spec, name, _number(draft, btf, member))
        elif name in ("key", "value"):
            pointer = btf.type(member.type_id)
            if pointer.kind != KIND_PTR:
                _fail(btf, f"{name!r} is {KIND_NAMES[pointer.kind]}, not a pointer to the {name}'s type")
            _set_size(btf, spec, f"{name}_size", btf.size_of(pointer.type_id))
            setattr(spec, f"{name}_type_id", pointer.type_id)
        elif name == "values":
            _parse_values(draft, btf, spec, member, is_inner=is_inner, is_last=position == len(members) - 1)
        elif name == "pinning":
            if is_inner:
                _fail(btf, "an inner map can't be pinned by its definition")
            spec.pinning = _number(draft, btf, member)
            if spec.pinning > PIN_BY_NAME:
                _fail(btf, f"pinning is {spec.pinning}; there are 0 (none) and 1 (by name)")
        elif name == "map_extra":
            spec.extra = _long_number(draft, btf, member)
        else:
            _fail(btf, f"unknown field {name!r} in the definition", ENOTSUP)
    if not spec.type:
        _fail(btf, "the definition says no type")


def _parse_values(draft: Draft, btf: Btf, spec: MapSpec, member: Member, *, is_inner: bool, is_last: bool) -> None:
    is_prog_array = spec.type == BPF_MAP_TYPE_PROG_ARRAY
    if is_inner:
        _fail(btf, "maps of maps of maps can't be defined", ENOTSUP)
    if not is_last:
        _fail(btf, "'values' has to be the last member")
    if not is_prog_array and spec.type not in MAPS_OF_MAPS:
        _fail(btf, "only maps of maps and program arrays have 'values' (after 'type')", ENOTSUP)
    _set_size(btf, spec, "value_size", 4)
    array = btf.type(member.type_id)
    if array.kind != KIND_ARRAY or array.nelems:
        _fail(btf, "'values' is not an array of length 0")
    pointer = btf.type(draft.resolve(array.elem))
    if pointer.kind != KIND_PTR:
        _fail(btf, f"'values' holds {KIND_NAMES[pointer.kind]} instead of pointers")
    value = btf.type(draft.resolve(pointer.type_id))
    wanted = KIND_FUNC_PROTO if is_prog_array else KIND_STRUCT
    if value.kind != wanted:
        _fail(btf, f"'values' points to {KIND_NAMES[value.kind]} instead of {KIND_NAMES[wanted]}")
    if not is_prog_array:
        name = f"{spec.name}.inner"
        spec.inner = MapSpec(name, section=spec.section, kernel_name=name[:MAP_NAME_LENGTH])
        parse_definition(draft, btf, value, spec.inner, is_inner=True)


def _set_size(btf: Btf, spec: MapSpec, field: str, size: int) -> None:
    known = getattr(spec, field)
    if known and known != size:
        _fail(btf, f"{field} is both {known} and {size}")
    setattr(spec, field, size)


def _number(draft: Draft, btf: Btf, member: Member) -> int:
    """Return the number that a member stands for: `int (*name)[NUMBER]`."""
    pointer = btf.type(draft.resolve(member.type_id))
    if pointer.kind != KIND_PTR:
        _fail(btf, f"{member.name!r} is {KIND_NAMES[pointer.kind]}, not a pointer to an array", hint="Use __uint().")
    array = btf.type(pointer.type_id)
    if array.kind != KIND_ARRAY:
        _fail(btf, f"{member.name!r} points to {KIND_NAMES[array.kind]}, not to an array", hint="Use __uint().")
    return array.nelems


def _long_number(draft: Draft, btf: Btf, member: Member) -> int:
    """Return a number of up to 64 bits: as `_number`, or the one value of an enum."""
    found = btf.type(draft.resolve(member.type_id))
    if found.kind == KIND_PTR:
        return _number(draft, btf, member)
    if found.kind not in (KIND_ENUM, KIND_ENUM64):
        _fail(btf, f"{member.name!r} is {KIND_NAMES[found.kind]}, not an enum", hint="Use __ulong().")
    if found.vlen != 1:
        _fail(btf, f"{member.name!r} is an enum with {found.vlen} values instead of one", hint="Use __ulong().")
    return found.values[0].value & 0xFFFFFFFFFFFFFFFF


def _fail(btf: Btf, message: str, errno_code: int = EINVAL, *, hint: str = "") -> NoReturn:
    raise FormatError(message, file=btf.name, section=".maps", hint=hint, errno_code=errno_code)
