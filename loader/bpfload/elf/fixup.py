"""BTF as the kernel wants it: what the compiler left for whoever knows the ELF file.

Sizes of sections and offsets of global variables, which the compiler leaves zero; hidden functions and variables, which become
static; externs, which become defined (see `externs`).

Source: bpf_object_fixup_btf(), btf_fixup_datasec(), bpf_object__sanitize_and_load_btf() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf.types import KIND_DATASEC, KIND_FUNC, KIND_VAR, LINKAGE_EXTERN, LINKAGE_GLOBAL, LINKAGE_STATIC
from bpfload.btf.writer import BtfEditor
from bpfload.elf.file import STB_GLOBAL, STB_WEAK, STT_OBJECT

if TYPE_CHECKING:
    from bpfload.btf import Type
    from bpfload.btf.types import SectionVariable
    from bpfload.elf.draft import Draft
    from bpfload.elf.file import Symbol

EINVAL = 22
ENOENT = 2
EXTERN_SECTIONS = (".kconfig", ".ksyms")
MAX_UINT = 0xFFFFFFFF


def edit(draft: Draft) -> BtfEditor:
    """Return the editor of the object's BTF."""
    if draft.editor is None:
        assert draft.btf is not None
        draft.editor = BtfEditor(draft.btf)
    return draft.editor


def fix_btf(draft: Draft) -> None:
    """Fill in what the symbols know, and put the changed BTF in the place of the file's."""
    btf = draft.btf
    if btf is None:
        return
    symbols = _global_objects(draft)
    for type_id in draft.types.get(KIND_DATASEC, ()):
        _fix_section(draft, btf.type(type_id), symbols)
    hidden = {program.name for _, _, _, program in draft.placed if program.is_subprog and program.hidden}
    for type_id in draft.types.get(KIND_FUNC, ()) if hidden else ():
        function = btf.type(type_id)
        if function.name in hidden and function.linkage == LINKAGE_GLOBAL:
            edit(draft).set_func_linkage(type_id, LINKAGE_STATIC)
            hidden.discard(function.name)
    if draft.editor is not None:
        draft.spec.btf = fixed = draft.editor.build(btf.name)
        fixed.pointer_size_override = btf.pointer_size_override


def _global_objects(draft: Draft) -> dict[str, Symbol]:
    found: dict[str, Symbol] = {}
    for symbol in draft.symbols:
        if symbol.type == STT_OBJECT and symbol.bind in (STB_GLOBAL, STB_WEAK):
            name = draft.elf.symbol_name(symbol)
            if name is not None:
                found.setdefault(name, symbol)
    return found


def _fix_section(draft: Draft, section: Type, symbols: dict[str, Symbol]) -> None:
    """Set size, offsets and linkages of one DATASEC, and sort it."""
    btf = section.btf
    rows = section.variables
    fill_offsets = False
    if section.name not in EXTERN_SECTIONS:
        if not section.size:
            size = _section_size(draft, section.name)
            edit(draft).set_datasec_size(section.id, size)
            fill_offsets = True
        for row, variable in enumerate(rows):
            found = btf.type(variable.type_id)
            if found.kind != KIND_VAR:
                draft.fail(f"{found.name!r} in DATASEC {section.name!r} is no variable", EINVAL, section=".BTF")
            if found.linkage in (LINKAGE_STATIC, LINKAGE_EXTERN):
                continue
            symbol = symbols.get(found.name)
            if symbol is None:
                draft.fail(f"variable {found.name!r} is in BTF and not among the symbols", ENOENT, section=".BTF")
            if fill_offsets:
                edit(draft).set_datasec_offset(section.id, row, symbol.value & MAX_UINT)
            if symbol.is_hidden:
                edit(draft).set_var_linkage(found.id, LINKAGE_STATIC)
    if draft.editor is not None or not _is_sorted(rows):
        edit(draft).sort_datasec(section.id)


def _is_sorted(rows: tuple[SectionVariable, ...]) -> bool:
    offsets = [row.offset for row in rows]
    return all(map(int.__le__, offsets, offsets[1:]))


def _section_size(draft: Draft, name: str) -> int:
    section = draft.elf.find(name)
    size = section.size & MAX_UINT if section is not None else 0
    if not size:
        draft.fail(f"BTF has a section {name!r} that the file lacks, or that is empty there", ENOENT, section=".BTF")
    return size
