"""Whether a map in the kernel fits what an object says of a map: field by field, its key and value by BTF as well.

Source of the fields: map_is_reuse_compat() in tools/lib/bpf/libbpf.c, which doesn't look at BTF.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.abi.names import MAP_TYPE_NAMES, name_of
from bpfload.btf import types as t

if TYPE_CHECKING:
    from bpfload.btf import Btf, Type
    from bpfload.objects.info import MapInfo
    from bpfload.spec import MapSpec

_DEVICE_MAPS = (consts.BPF_MAP_TYPE_DEVMAP, consts.BPF_MAP_TYPE_DEVMAP_HASH)
_MAX_DEPTH = 32
_NUMBERS = (t.KIND_INT, t.KIND_ENUM, t.KIND_ENUM64)


def differences(spec: MapSpec, types: Btf | None, max_entries: int, info: MapInfo, kernel_types: Btf | None) -> list[str]:
    """Say in what a map in the kernel differs from what `spec` wants: ``max_entries is 8, the object wants 16``; [] if it fits.

    `types`: the object's BTF; `kernel_types`: the one that the map was made with. `max_entries`: as this machine gets it
    (a size may be rounded up, or be the number of CPUs).
    """
    flags = info.map_flags
    if spec.type in _DEVICE_MAPS:
        flags &= ~consts.BPF_F_RDONLY_PROG
    if spec.kind == "data" and not flags & consts.BPF_F_MMAPABLE:
        flags |= spec.flags & consts.BPF_F_MMAPABLE  # left out by a kernel before 5.5
    pairs = (
        ("type", _type_name(info.type), _type_name(spec.type)),
        ("key_size", info.key_size, spec.key_size),
        ("value_size", info.value_size, spec.value_size),
        ("max_entries", info.max_entries, max_entries),
        ("map_flags", hex(flags), hex(spec.flags)),
        ("map_extra", info.map_extra, spec.extra),
    )
    found = [f"{name} is {there}, the object wants {wanted}" for name, there, wanted in pairs if there != wanted]
    if types is None or kernel_types is None:
        return found
    ids = ((info.btf_key_type_id, spec.key_type_id, "key"), (info.btf_value_type_id, spec.value_type_id, "value"))
    for there, wanted, part in ids:
        if there and wanted:
            found += type_differences(kernel_types, there, types, wanted, part)
    return found


def type_differences(old: Btf, old_id: int, new: Btf, new_id: int, path: str) -> list[str]:
    """Say in what the layout of two types differs, by members: ``value.bytes is at offset 8, the object wants it at 16``.

    Names of types, signs and names of enums' values don't count: the same bytes mean the same element.
    """
    return list(_compare(old, old_id, new, new_id, path, 0))


def _compare(old: Btf, old_id: int, new: Btf, new_id: int, path: str, depth: int) -> Iterator[str]:
    a, b = _bare(old, old_id), _bare(new, new_id)
    if a.kind != b.kind and not (a.kind in _NUMBERS and b.kind in _NUMBERS):
        yield f"{path} is {_describe(old, a)}, the object wants {_describe(new, b)}"
    elif a.kind in (t.KIND_STRUCT, t.KIND_UNION, t.KIND_DATASEC):
        if depth < _MAX_DEPTH:
            yield from _compare_parts(old, _parts(old, a), new, _parts(new, b), path, depth)
    elif a.kind == t.KIND_ARRAY:
        if a.nelems != b.nelems:
            yield f"{path} has {a.nelems} elements, the object wants {b.nelems}"
        if depth < _MAX_DEPTH:
            yield from _compare(old, a.elem, new, b.elem, f"{path}[]", depth + 1)
    elif a.kind in (*_NUMBERS, t.KIND_FLOAT) and a.size != b.size:
        yield f"{path} is {_describe(old, a)} of {a.size} bytes, the object wants {_describe(new, b)} of {b.size}"


#: A member or variable: (bit offset, bits of a bit field or 0, type id).
_Part = tuple[int, int, int]


def _parts(btf: Btf, found: Type) -> dict[str, _Part]:
    """Return members by name, those of anonymous structs by the name of their place; a section's variables."""
    if found.kind == t.KIND_DATASEC:
        rows = [(btf.type(row.type_id), row.offset * 8) for row in found.variables]
        return {variable.name: (offset, 0, variable.type_id) for variable, offset in rows}
    return {
        member.name or f"(unnamed {index})": (member.offset_bits, member.bitfield_size, member.type_id)
        for index, member in enumerate(found.members)
    }


def _compare_parts(old: Btf, before: dict[str, _Part], new: Btf, after: dict[str, _Part], path: str, depth: int) -> Iterator[str]:
    for name in before.keys() - after.keys():
        yield f"{path}.{name} is no longer in the object"
    for name, (offset, bits, type_id) in after.items():
        place = f"{path}.{name}"
        if name not in before:
            yield f"{place} is new in the object"
            continue
        old_offset, old_bits, old_type = before[name]
        if old_offset != offset:
            yield f"{place} is at {_offset(old_offset)}, the object wants it at {_offset(offset)}"
        elif old_bits != bits:
            yield f"{place} has {old_bits} bits, the object wants {bits}"
        yield from _compare(old, old_type, new, type_id, place, depth + 1)


def _bare(btf: Btf, type_id: int) -> Type:
    found = btf.type(btf.resolve(type_id))
    return btf.type(btf.resolve(found.type_id)) if found.kind == t.KIND_VAR else found


def _offset(bits: int) -> str:
    return f"offset {bits // 8}" + (f", bit {bits % 8}" if bits % 8 else "")


def _describe(btf: Btf, found: Type) -> str:
    words = {t.KIND_STRUCT: "struct ", t.KIND_UNION: "union ", t.KIND_ENUM: "enum ", t.KIND_ENUM64: "enum "}
    if found.kind == t.KIND_PTR:
        return "a pointer"
    if found.kind == t.KIND_ARRAY:
        return "an array"
    return f"{words.get(found.kind, '')}{found.name or '{…}'}"


def _type_name(number: int) -> str:
    return name_of(MAP_TYPE_NAMES, number) or str(number)
