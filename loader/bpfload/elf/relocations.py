"""What instructions, map definitions and struct_ops variables refer to.

Source: bpf_object__collect_relos() and what it calls, bpf_program__record_reloc() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from bisect import bisect_right
from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload.abi.consts import BPF_MAP_TYPE_HASH_OF_MAPS, BPF_MAP_TYPE_PROG_ARRAY, BPF_PROG_TYPE_STRUCT_OPS
from bpfload.btf.types import KIND_FUNC_PROTO, KIND_PTR
from bpfload.elf.btfmaps import MAPS_OF_MAPS
from bpfload.elf.file import SHN_LORESERVE, STB_LOCAL, STT_FUNC, STT_SECTION, Symbol
from bpfload.errors import LIBBPF_FORMAT, LIBBPF_RELOC
from bpfload.spec import (
    RELOC_CALL,
    RELOC_DATA,
    RELOC_EXTERN_CALL,
    RELOC_EXTERN_LD64,
    RELOC_INSN_ARRAY,
    RELOC_MAP,
    RELOC_SUBPROG_ADDR,
    MapSlot,
    Relocation,
)

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf import Type
    from bpfload.elf.draft import Draft
    from bpfload.elf.file import Section
    from bpfload.spec import MapSpec, ProgramSpec

EINVAL = 22
ESRCH = 3
SLOT = 8
POINTER = 8
OP_CALL = 0x85
OP_LD_IMM64 = 0x18
PSEUDO_CALL = 1


def collect_relocations(draft: Draft) -> None:
    """Read all relocation sections that matter."""
    found: dict[int, tuple[ProgramSpec, list[Relocation]]] = {}
    struct_ops = {section.index for section in draft.struct_ops}
    for section in draft.relocations:
        if section.info in struct_ops:
            _collect_struct_ops(draft, section)
        elif draft.maps is not None and section.info == draft.maps.index:
            _collect_map_values(draft, section)
        else:
            _collect_instructions(draft, section, found)
    for program, relocations in found.values():
        relocations.sort(key=_offset)
        program.relocations = tuple(relocations)


def _offset(relocation: Relocation) -> int:
    return relocation.offset


# Instructions


def _collect_instructions(draft: Draft, section: Section, found: dict[int, tuple[ProgramSpec, list[Relocation]]]) -> None:
    elf, symbols = draft.elf, draft.symbols
    target = section.info
    size = elf.sections[target].size
    count = len(elf.sections)
    for offset, _, index in elf.relocations(section):
        if index >= len(symbols):
            draft.fail(f"symbol {index} doesn't exist", LIBBPF_FORMAT, section=section.label, offset=offset)
        symbol = symbols[index]
        if symbol.section >= count:
            draft.fail(
                f"{draft.symbol_label(symbol)!r} is in section {symbol.section}, which doesn't exist",
                LIBBPF_FORMAT,
                section=section.label,
                offset=offset,
            )
        if offset % SLOT or offset >= size:
            draft.fail(f"nothing to relocate at {offset:#x}", LIBBPF_FORMAT, section=section.label, offset=offset)
        place = draft.program_at(target, offset)
        if place is None:
            continue  # of a weak function that another one has overridden
        start, program = place
        relocation = _relocation(draft, program, offset - start, index, symbol)
        known = found.get(id(program))
        if known is None:
            found[id(program)] = (program, [relocation])
        else:
            known[1].append(relocation)


def _relocation(draft: Draft, program: ProgramSpec, offset: int, index: int, symbol: Symbol) -> Relocation:
    """Say what one instruction refers to."""
    opcode, registers, imm = unpack_from("<BB2xi", program.insns, offset)
    label = draft.symbol_label(symbol)
    if opcode not in (OP_CALL, OP_LD_IMM64):
        _refuse(draft, program, offset, f"an instruction of code {opcode:#x} refers to {label!r}; only loads and calls can")
    if symbol.is_extern:
        extern = draft.externs_by_symbol.get(index)
        if extern is None:
            _refuse(draft, program, offset, f"{label!r} is no known extern")
        return Relocation(offset, RELOC_EXTERN_CALL if opcode == OP_CALL else RELOC_EXTERN_LD64, extern.name, extern.name)
    if opcode == OP_CALL:
        if registers >> 4 != PSEUDO_CALL:
            _refuse(draft, program, offset, f"a call of {label!r} that is none of a subprogram")
        if not symbol.section or symbol.section != draft.text:
            where = draft.elf.sections[symbol.section].label
            _refuse(draft, program, offset, f"call of {label!r} in section {where!r}; subprograms are in .text")
        if symbol.value % SLOT:
            _refuse(draft, program, offset, f"{label!r} starts inside an instruction")
        return Relocation(offset, RELOC_CALL, label, draft.elf.sections[draft.text].label, _int(symbol.value))
    if not symbol.section or symbol.section >= SHN_LORESERVE:
        _refuse(draft, program, offset, f"{label!r} is defined nowhere", "Is it a global variable without a definition?")
    if draft.text and symbol.section == draft.text and _is_function(symbol):
        if symbol.value % SLOT or imm % SLOT:
            _refuse(draft, program, offset, f"the address {label!r} {imm:+d} is inside an instruction")
        return Relocation(offset, RELOC_SUBPROG_ADDR, label, draft.elf.sections[draft.text].label, _int(symbol.value))
    return _data_relocation(draft, program, offset, symbol, label)


def _int(value: int) -> int:
    """Return what a C int makes of a value: the patched field has 32 bits."""
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def _is_function(symbol: Symbol) -> bool:
    return symbol.type == STT_SECTION if symbol.bind == STB_LOCAL else symbol.type == STT_FUNC


def _data_relocation(draft: Draft, program: ProgramSpec, offset: int, symbol: Symbol, label: str) -> Relocation:
    section = symbol.section
    if draft.arena is not None and section == draft.arena.index:
        if draft.arena_map is None:
            _refuse(draft, program, offset, f"{label!r} is in an arena, and there is none")
        return Relocation(offset, RELOC_DATA, label, draft.arena_map.name, _int(symbol.value))
    if draft.jumptables is not None and section == draft.jumptables.index:
        return Relocation(offset, RELOC_INSN_ARRAY, label, draft.jumptables.label, symbol.value, symbol.size)
    data_map = draft.data_maps.get(section)
    if data_map is not None:
        return Relocation(offset, RELOC_DATA, label, data_map.name, _int(symbol.value))
    where = draft.elf.sections[section].label
    is_map = (draft.maps is not None and section == draft.maps.index) or any(
        section == other.index for other in draft.legacy_maps
    )
    if not is_map:
        _refuse(draft, program, offset, f"{label!r} in section {where!r} is neither a map nor a variable")
    found = draft.maps_by_place.get((section, symbol.value))
    if found is None:
        _refuse(draft, program, offset, f"there is no map at offset {symbol.value:#x} of section {where!r}")
    return Relocation(offset, RELOC_MAP, label, found.name)


def _refuse(draft: Draft, program: ProgramSpec, offset: int, message: str, hint: str = "") -> NoReturn:
    text = f"program {program.name!r}: {message}"
    draft.fail(text, LIBBPF_RELOC, section=program.section, offset=program.offset + offset, hint=hint)


# Initial values of maps


def _collect_map_values(draft: Draft, section: Section) -> None:
    btf = draft.btf
    if btf is None or not draft.maps_datasec:
        draft.fail("map values without BTF", EINVAL, section=section.label)
    by_offset = {row.offset: row for row in btf.type(draft.maps_datasec).variables}
    offsets = sorted(by_offset)
    programs = {entry[3].name: entry[:2] for entry in reversed(draft.placed) if not entry[3].is_subprog}
    slots: dict[tuple[str, int], MapSlot] = {}
    for offset, _, index in draft.elf.relocations(section):
        if index >= len(draft.symbols):
            draft.fail(f"symbol {index} doesn't exist", LIBBPF_FORMAT, section=section.label, offset=offset)
        symbol = draft.symbols[index]
        at = bisect_right(offsets, offset) - 1
        row = by_offset[offsets[at]] if at >= 0 else None
        spec = draft.maps_by_place.get((section.info, row.offset)) if row is not None else None
        if row is None or spec is None or offset + POINTER > row.offset + row.size:
            draft.fail(f"there is no map at {offset:#x}", EINVAL, section=".maps", offset=offset)
        kind, name = _map_value(draft, section, offset, symbol, spec, programs)
        position = _slot_index(draft, btf.type(draft.resolve(btf.type(row.type_id).type_id)), offset - row.offset, offset)
        slots[spec.name, position] = MapSlot(position, name, kind)
    for (name, _), slot in sorted(slots.items(), key=lambda entry: entry[0]):
        draft.spec.maps[name].slots.append(slot)


def _map_value(
    draft: Draft, section: Section, offset: int, symbol: Symbol, spec: MapSpec, programs: dict[str, tuple[int, int]]
) -> tuple[str, str]:
    """Return the kind and the name of what goes into a slot. `programs`: section and offset of each by name."""
    label = draft.symbol_label(symbol)
    message = ""
    errno_code = LIBBPF_RELOC
    if spec.type in MAPS_OF_MAPS:
        if symbol.section != section.info:
            message = f"{label!r} is not a map of .maps"
        elif spec.type == BPF_MAP_TYPE_HASH_OF_MAPS and spec.key_size != 4:
            message, errno_code = f"keys have {spec.key_size} bytes, initial values need 4", EINVAL
        elif label not in draft.spec.maps:
            message, errno_code = f"{label!r} is not a map", ESRCH
        kind = "map"
    elif spec.type == BPF_MAP_TYPE_PROG_ARRAY:
        place = programs.get(label)
        if place is None:
            message, errno_code = f"{label!r} is not a program", ESRCH
        elif place != (symbol.section, symbol.value):
            message = f"{label!r} is not where a program starts"
        kind = "prog"
    else:
        message, errno_code = "it is neither a map of maps nor a program array", EINVAL
    if message:
        draft.fail(f"initial value of map {spec.name!r}: {message}", errno_code, section=".maps", offset=offset)
    return kind, label


def _slot_index(draft: Draft, definition: Type, at: int, offset: int) -> int:
    """Return the index of the slot at a byte offset of a map's definition."""
    last = definition.members[-1] if definition.members else None
    if last is None or last.name != "values" or at < last.offset_bits // 8 or (at - last.offset_bits // 8) % POINTER:
        draft.fail("an initial value outside 'values'", EINVAL, section=".maps", offset=offset)
    return (at - last.offset_bits // 8) // POINTER


# struct_ops


def _collect_struct_ops(draft: Draft, section: Section) -> None:
    name = draft.elf.sections[section.info].label
    specs = sorted(draft.struct_ops_maps.get(section.info, []), key=lambda spec: spec.offset)
    offsets = [spec.offset for spec in specs]
    members: dict[int, dict[int, tuple[str, int]]] = {}
    for offset, _, index in draft.elf.relocations(section):
        if index >= len(draft.symbols):
            draft.fail(f"symbol {index} doesn't exist", LIBBPF_FORMAT, section=section.label, offset=offset)
        symbol = draft.symbols[index]
        at = bisect_right(offsets, offset) - 1
        spec = specs[at] if at >= 0 and offset < offsets[at] + specs[at].value_size else None
        if spec is None or spec.struct_ops is None:
            draft.fail(f"there is no variable at {offset:#x}", EINVAL, section=name, offset=offset)
        if symbol.section >= SHN_LORESERVE:
            message = f"{spec.name!r} refers to {draft.symbol_label(symbol)!r}, which is no function of this object"
            draft.fail(message, LIBBPF_RELOC, section=name, offset=offset)
        if symbol.value % SLOT:
            draft.fail(f"{spec.name!r} refers to the middle of an instruction", LIBBPF_FORMAT, section=name, offset=offset)
        type_id = spec.struct_ops.type_id
        if type_id not in members:
            members[type_id] = _members_by_offset(draft, type_id)
        member = members[type_id].get((offset - spec.offset) * 8)
        if member is None:
            draft.fail(f"{spec.name!r} has no member at {offset:#x}", EINVAL, section=name, offset=offset)
        if not _is_function_pointer(draft, member[1]):
            draft.fail(f"member {member[0]!r} of {spec.name!r} is no function pointer", EINVAL, section=name, offset=offset)
        place = draft.program_at(symbol.section, symbol.value)
        if place is None or place[1].type != BPF_PROG_TYPE_STRUCT_OPS:
            draft.fail(
                f"member {member[0]!r} of {spec.name!r} refers to {draft.symbol_label(symbol)!r}, which is no struct_ops program",
                EINVAL,
                section=name,
                offset=offset,
                hint='Put the function into SEC("struct_ops").',
            )
        spec.struct_ops.programs.append((offset - spec.offset, place[1].name))


def _members_by_offset(draft: Draft, type_id: int) -> dict[int, tuple[str, int]]:
    assert draft.btf is not None
    found: dict[int, tuple[str, int]] = {}
    for member in draft.btf.type(type_id).members:
        found.setdefault(member.offset_bits, (member.name, member.type_id))
    return found


def _is_function_pointer(draft: Draft, type_id: int) -> bool:
    btf = draft.btf
    assert btf is not None
    pointer = btf.type(draft.resolve(type_id))
    return pointer.kind == KIND_PTR and btf.type(draft.resolve(pointer.type_id)).kind == KIND_FUNC_PROTO
