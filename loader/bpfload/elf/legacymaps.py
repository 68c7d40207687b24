"""Maps defined in a section "maps", as before BTF: an array of structs, one for each symbol.

libbpf refuses them since 1.0; iproute2 and older loaders' users still have them. The forms, told apart by their size:

    20 bytes  libbpf's struct bpf_map_def: type, key_size, value_size, max_entries, map_flags
    28 bytes  the kernel samples' struct bpf_map_def: the same, then inner_map_idx, numa_node
    36 bytes  iproute2's struct bpf_elf_map: type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx

Source: include/bpf_elf.h of iproute2; samples/bpf/bpf_load.h of Linux 5.4; bpf_object__init_user_maps() of libbpf 0.8.
"""

from __future__ import annotations

from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload.elf.file import STT_FUNC, STT_SECTION
from bpfload.spec import MapSlot, MapSpec

if TYPE_CHECKING:
    from bpfload.elf.draft import Draft
    from bpfload.elf.file import Section, Symbol

EINVAL = 22
MAP_NAME_LENGTH = 15
_SMALLEST = 20
_SAMPLES = 28
_IPROUTE2 = 36


def add_maps(draft: Draft) -> None:
    """Add the maps of all such sections."""
    sections = {section.index: section for section in draft.legacy_maps}
    symbols: dict[int, list[Symbol]] = {}
    for symbol in draft.symbols:
        if symbol.section in sections and symbol.type not in (STT_SECTION, STT_FUNC):
            symbols.setdefault(symbol.section, []).append(symbol)
    identified: list[tuple[MapSpec, int, int, int]] = []
    for index, found in symbols.items():
        _add_section(draft, sections[index], sorted(found, key=_value), identified)
    _connect(identified)


def _value(symbol: Symbol) -> int:
    return symbol.value


def _add_section(draft: Draft, section: Section, symbols: list[Symbol], identified: list[tuple[MapSpec, int, int, int]]) -> None:
    """Add the maps of one section; append those in iproute2's form to `identified`: map, id, inner_id, inner_idx."""
    content = draft.elf.content(section)
    where = section.label
    for position, symbol in enumerate(symbols):
        start = symbol.value
        end = symbols[position + 1].value if position + 1 < len(symbols) else len(content)
        size = symbol.size or end - start
        name = draft.elf.symbol_name(symbol)
        if not name:
            draft.fail("a map has no name", EINVAL, section=where, offset=start)
        if size < _SMALLEST or start + size > len(content):
            draft.fail(f"map {name!r} has {size} bytes of definition", EINVAL, section=where, offset=start)
        spec = MapSpec(name, "legacy", section=where, offset=start, kernel_name=name[:MAP_NAME_LENGTH])
        spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags = unpack_from("<5I", content, start)
        known = _SMALLEST
        if size >= _IPROUTE2:
            known = _IPROUTE2
            number, pinning, inner_id, inner_index = unpack_from("<3Ii", content, start + _SMALLEST)
            spec.pinning = int(pinning > 0)
            identified.append((spec, number, inner_id, inner_index))
        elif size >= _SAMPLES:
            known = _SAMPLES
            spec.numa_node = unpack_from("<I", content, start + _SMALLEST + 4)[0]
        if content.count(0, start + known, start + size) != size - known:
            draft.fail(f"the definition of map {name!r} has unknown fields", EINVAL, section=where, offset=start + known)
        draft.add_map(spec, section.index)


def _connect(identified: list[tuple[MapSpec, int, int, int]]) -> None:
    """Give iproute2's maps of maps a template and initial values: the maps with the id that they name as their inner_id."""
    by_id: dict[int, list[tuple[MapSpec, int]]] = {}
    for spec, number, _, index in identified:
        if number:
            by_id.setdefault(number, []).append((spec, index))
    for spec, _, inner_id, _ in identified:
        inner = by_id.pop(inner_id, None)  # an id has one outer map
        if inner is None:
            continue
        template = inner[0][0]
        spec.inner = MapSpec(
            f"{spec.name}.inner",
            "legacy",
            type=template.type,
            key_size=template.key_size,
            value_size=template.value_size,
            max_entries=template.max_entries,
            flags=template.flags,
            kernel_name=f"{spec.name}.inner"[:MAP_NAME_LENGTH],
        )
        spec.slots = [MapSlot(index, other.name, "map") for other, index in inner if index >= 0]
