"""BTF as the kernel wants it: what the compiler left for whoever knows the ELF file.

Sizes of sections and offsets of global variables, which the compiler leaves zero; hidden functions and variables, which become
static; externs, which become defined (see `externs`).

Source: bpf_object_fixup_btf(), btf_fixup_datasec(), bpf_object__sanitize_and_load_btf() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bpfload.btf import Btf
from bpfload.btf.types import KIND_DATASEC, KIND_FUNC, KIND_VAR, LINKAGE_GLOBAL, LINKAGE_STATIC
from bpfload.elf.file import STB_GLOBAL, STB_WEAK, STT_OBJECT

if TYPE_CHECKING:
    from bpfload.btf import Type
    from bpfload.elf.draft import Draft
    from bpfload.elf.file import Symbol

EINVAL = 22
ENOENT = 2
EXTERN_SECTIONS = (".kconfig", ".ksyms")
MAX_UINT = 0xFFFFFFFF


class Editor:
    """Changes to a BTF that keep every type id and string offset."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._raw = bytearray(btf.raw)
        view = Btf.parse(self._raw, name=btf.name)  # type: ignore[arg-type]  # writable words on the same types
        self._words = view.words
        self._starts = view.starts
        self._new_types = bytearray()
        self._new_strings = bytearray()
        self._new_names: dict[str, int] = {}
        self._new_count = 0

    def set_size(self, type_id: int, size: int) -> None:
        """Set the size of a DATASEC."""
        self._words[self._starts[type_id - 1] + 1] = size

    def set_row(self, type_id: int, row: int, variable: int, offset: int, size: int) -> None:
        """Set one row of a DATASEC."""
        at = self._starts[type_id - 1] + 2 + 3 * row
        self._words[at] = variable
        self._words[at + 1] = offset
        self._words[at + 2] = size

    def sort_rows(self, type_id: int) -> None:
        """Sort the rows of a DATASEC by offset."""
        words = self._words
        start = self._starts[type_id - 1]
        count = words[start] & 0xFFFF
        table = words[start + 2 : start + 2 + 3 * count].tolist()
        offsets = table[1::3]
        if all(map(int.__le__, offsets, offsets[1:])):
            return
        order = sorted(range(count), key=offsets.__getitem__)
        for row, old in enumerate(order):
            self.set_row(type_id, row, *table[3 * old : 3 * old + 3])

    def set_variable(self, type_id: int, type_of: int, linkage: int) -> None:
        """Set type and linkage of a VAR."""
        at = self._starts[type_id - 1]
        self._words[at + 1] = type_of
        self._words[at + 2] = linkage

    def set_function_linkage(self, type_id: int, linkage: int) -> None:
        """Set the linkage of a FUNC."""
        at = self._starts[type_id - 1]
        self._words[at] = self._words[at] & ~0xFFFF | linkage

    def name_params(self, type_id: int, name: str) -> None:
        """Give a name to those parameters of a FUNC_PROTO that have a type and no name."""
        words = self._words
        start = self._starts[type_id - 1]
        for at in range(start + 2, start + 2 + 2 * (words[start] & 0xFFFF), 2):
            if words[at + 1] and not words[at]:
                words[at] = self._string(name)

    def add_variable(self, name: str, type_of: int, linkage: int) -> int:
        """Append a VAR and return its id."""
        self._new_types += struct.pack("<4I", self._string(name), KIND_VAR << 24, type_of, linkage)
        self._new_count += 1
        return len(self._starts) + self._new_count

    def _string(self, text: str) -> int:
        offset = self._new_names.get(text)
        if offset is None:
            offset = self._new_names[text] = len(self._btf.own_strings) + len(self._new_strings)
            self._new_strings += text.encode() + b"\0"
        return offset

    def finish(self) -> Btf:
        """Return the changed BTF."""
        raw = bytes(self._raw)
        if self._new_types or self._new_strings:
            start, header = struct.unpack_from("<II", raw)
            types_at, types_len, strings_at, strings_len = struct.unpack_from("<4I", raw, 8)
            types = raw[header + types_at : header + types_at + types_len] + self._new_types
            strings = raw[header + strings_at : header + strings_at + strings_len] + self._new_strings
            raw = struct.pack("<6I", start, 24, 0, len(types), len(types), len(strings)) + types + strings
        btf = Btf.parse(raw, name=self._btf.name)
        btf.pointer_size_override = self._btf.pointer_size_override
        return btf


def edit(draft: Draft) -> Editor:
    """Return the editor of the object's BTF."""
    if draft.editor is None:
        assert draft.btf is not None
        draft.editor = Editor(draft.btf)
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
            edit(draft).set_function_linkage(type_id, LINKAGE_STATIC)
            hidden.discard(function.name)
    if draft.editor is not None:
        draft.spec.btf = draft.editor.finish()


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
            edit(draft).set_size(section.id, size)
            fill_offsets = True
        for row, variable in enumerate(rows):
            found = btf.type(variable.type_id)
            if found.kind != KIND_VAR:
                draft.fail(f"{found.name!r} in DATASEC {section.name!r} is no variable", EINVAL, section=".BTF")
            if found.linkage != LINKAGE_GLOBAL:
                continue
            symbol = symbols.get(found.name)
            if symbol is None:
                draft.fail(f"variable {found.name!r} is in BTF and not among the symbols", ENOENT, section=".BTF")
            if fill_offsets:
                edit(draft).set_row(section.id, row, variable.type_id, symbol.value & MAX_UINT, variable.size)
            if symbol.is_hidden:
                edit(draft).set_variable(found.id, found.type_id, LINKAGE_STATIC)
    elif draft.editor is None:
        return
    edit(draft).sort_rows(section.id)


def _section_size(draft: Draft, name: str) -> int:
    section = draft.elf.find(name)
    size = section.size & MAX_UINT if section is not None and section.type else 0
    if not size:
        draft.fail(f"BTF has a section {name!r} that the file lacks, or that is empty there", ENOENT, section=".BTF")
    return size
