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
    from bpfload.elf.file import Section

EINVAL = 22
MAP_NAME_LENGTH = 15
_SMALLEST = 20
_SAMPLES = 28
_IPROUTE2 = 36


def add_maps(draft: Draft, section: Section) -> None:
    """Add the maps of one section."""
    content = draft.elf.content(section)
    symbols = [symbol for symbol in draft.symbols if symbol.section == section.index]
    symbols = [symbol for symbol in symbols if symbol.type not in (STT_SECTION, STT_FUNC)]
    symbols.sort(key=lambda symbol: symbol.value)
    ends = [symbol.value for symbol in symbols[1:]] + [len(content)]
    for symbol, end in zip(symbols, ends, strict=True):
        name = draft.elf.symbol_name(symbol)
        start, size = symbol.value, symbol.size or end - symbol.value
        if not name:
            draft.fail("a map has no name", EINVAL, section=section.label, offset=start)
        if size < _SMALLEST or start + size > len(content):
            draft.fail(f"map {name!r} has {size} bytes of definition", EINVAL, section=section.label, offset=start)
        spec = MapSpec(name, "legacy", section=section.label, offset=start, kernel_name=name[:MAP_NAME_LENGTH])
        fields = unpack_from("<5I", content, start)
        spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags = fields
        known = _SMALLEST
        if size >= _IPROUTE2:
            known = _IPROUTE2
            spec.pinning = int(bool(unpack_from("<I", content, start + 24)[0]))
        elif size >= _SAMPLES:
            known = _SAMPLES
            spec.numa_node = unpack_from("<I", content, start + 24)[0]
        if any(content[start + known : start + size]):
            draft.fail(f"the definition of map {name!r} has unknown fields", EINVAL, section=section.label, offset=start + known)
        draft.add_map(spec, section.index)


def connect_inner_maps(draft: Draft) -> None:
    """Give iproute2's maps of maps their templates and initial values: the maps with the id that they name."""
    contents = {section.label: draft.elf.content(section) for section in draft.legacy_maps}
    wide = {}
    for spec in draft.spec.maps.values():
        content = contents.get(spec.section, b"")
        end = min((other.offset for other in draft.spec.maps.values() if other.offset > spec.offset), default=len(content))
        if end - spec.offset >= _IPROUTE2:
            wide[spec.name] = unpack_from("<I4xIi", content, spec.offset + 20)
    by_id = {number: name for name, (number, _, _) in reversed(wide.items()) if number}
    for name, (_, wanted, _) in wide.items():
        template = draft.spec.maps.get(by_id.get(wanted, "")) if wanted else None
        if template is None:
            continue
        outer = draft.spec.maps[name]
        outer.inner = MapSpec(
            f"{name}.inner",
            "legacy",
            type=template.type,
            key_size=template.key_size,
            value_size=template.value_size,
            max_entries=template.max_entries,
            flags=template.flags,
            kernel_name=f"{name}.inner"[:MAP_NAME_LENGTH],
        )
        outer.slots += [
            MapSlot(index, other, "map") for other, (number, _, index) in wide.items() if number == wanted and index >= 0
        ]
