"""An object file that is to be linked: its sections, symbols and types, checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.elf.btfext import check_names, parse_btf_ext
from bpfload.elf.file import (
    SHF_EXECINSTR,
    SHN_LORESERVE,
    SHN_UNDEF,
    SHT_LLVM_ADDRSIG,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_REL,
    SHT_STRTAB,
    SHT_SYMTAB,
    STB_GLOBAL,
    STB_LOCAL,
    STB_WEAK,
    STT_NOTYPE,
    STT_OBJECT,
    STT_SECTION,
    STV_HIDDEN,
    ElfFile,
    Section,
    Symbol,
)
from bpfload.spec import BtfExt

if TYPE_CHECKING:
    from typing import NoReturn

EXTERN_SECTION = ".extern"  # clang's DATASEC of externs that another object shall define
_TYPES = (SHT_PROGBITS, SHT_NOBITS, SHT_REL, SHT_SYMTAB, SHT_STRTAB, SHT_LLVM_ADDRSIG)
_RELOCATION_TYPES = {1: "R_BPF_64_64", 2: "R_BPF_64_ABS64", 3: "R_BPF_64_ABS32", 10: "R_BPF_64_32"}
_MAX_ALIGN = 1 << 20


class SourceObject:
    """One object file.

    `sections`: those whose content goes into the outcome, by index. `symbols`: by index. `relocations`: by index of the section
    that they are for: (offset, type, symbol's index). `datasecs`: by name, the ids of BTF's sections. `btf`: None without .BTF.
    """

    def __init__(self, path: str, data: bytes) -> None:
        """Raise FormatError for what can't be linked."""
        self.path = path
        self.elf = ElfFile(path, data)
        self.sections: dict[int, Section] = {}
        self.symbols: list[Symbol] = []
        self.relocations: dict[int, list[tuple[int, int, int]]] = {}
        self.btf: Btf | None = None
        self.btf_ext = BtfExt()
        self.datasecs: dict[str, int] = {}
        self._typed: dict[str, tuple[int, int]] | None = None
        self._read()

    @property
    def label(self) -> str:
        """The file's name for messages."""
        return os.path.basename(self.path)

    def fail(self, message: str, *, section: str = "", hint: str = "") -> NoReturn:
        """Raise FormatError for this file."""
        self.elf.fail(message, section=section, hint=hint)

    def name_of(self, symbol: Symbol) -> str:
        """Return a symbol's name. Raises FormatError."""
        name = self.elf.symbol_name(symbol)
        if name is None:
            self.fail("a symbol's name is outside the strings")
        return name

    # Reading

    def _read(self) -> None:
        elf = self.elf
        tables = [section for section in elf.sections[1:] if section.type == SHT_SYMTAB]
        if len(tables) != 1:
            self.fail(f"{len(tables) or 'no'} symbol tables", hint="Strip no more than: llvm-strip -g")
        table = tables[0]
        if not 0 < table.link < len(elf.sections):
            self.fail("the symbols have no string table", section=table.label)
        elf.set_symbol_names(elf.sections[table.link])
        self.symbols = elf.symbols(table)
        relocated = [section for section in elf.sections[1:] if self._sort(section)]
        self._check_symbols()
        for section in relocated:
            self._read_relocations(section, table.index)
        self._read_types()

    def _sort(self, section: Section) -> bool:
        """Note a section that goes into the outcome; return whether it holds relocations."""
        name = section.name
        if not name:
            self.fail("a section has no name", section=section.label)
        if _is_debug(name.removeprefix(".rel")):
            return False
        if section.type not in _TYPES:
            self.fail(f"sections of type {section.type:#x} can't be linked", section=name)
        align = section.align
        if align & (align - 1) or align > _MAX_ALIGN:
            self.fail(f"an alignment of {align}", section=name)
        self.elf.check(section)
        if section.type == SHT_REL:
            return name not in (".rel.BTF", ".rel.BTF.ext")
        if section.type in (SHT_PROGBITS, SHT_NOBITS) and name not in (".BTF", ".BTF.ext"):
            if section.flags & SHF_EXECINSTR and section.size % 8:
                self.fail(f"{section.size} bytes are no whole number of instructions", section=name)
            if section.size or name != ".text" or section.type == SHT_NOBITS:
                self.sections[section.index] = section
        return False

    def _check_symbols(self) -> None:
        for symbol in self.symbols[1:]:
            if symbol.bind not in (STB_LOCAL, STB_GLOBAL, STB_WEAK):
                self.fail(f"symbol {self.name_of(symbol)!r} has a binding that can't be linked: {symbol.bind}")
            if symbol.visibility not in (0, STV_HIDDEN):
                self.fail(f"symbol {self.name_of(symbol)!r} has a visibility that can't be linked: {symbol.visibility}")
            if symbol.section == SHN_UNDEF:
                if symbol.type != STT_NOTYPE or symbol.bind == STB_LOCAL or symbol.value or symbol.size:
                    self.fail(f"symbol {self.name_of(symbol)!r} is no proper extern")
            elif symbol.section < SHN_LORESERVE and symbol.section >= len(self.elf.sections):
                self.fail(f"symbol {self.name_of(symbol)!r} is in a section that doesn't exist")
            elif symbol.section < SHN_LORESERVE and symbol.value + symbol.size > self.elf.sections[symbol.section].size:
                self.fail(f"symbol {self.name_of(symbol)!r} runs over the end of its section")
            elif symbol.type == STT_SECTION and symbol.value:
                self.fail(f"the symbol of section {symbol.section} has an offset")

    def _read_relocations(self, section: Section, symbol_table: int) -> None:
        """Read relocations of a section that goes into the outcome."""
        target = self.sections.get(section.info)
        if section.link != symbol_table or not 0 < section.info < len(self.elf.sections):
            self.fail("relocations without their symbols or section", section=section.label)
        if section.name != f".rel{self.elf.sections[section.info].name}":
            self.fail("its name is not that of the section that it relocates", section=section.label)
        if target is None:
            return
        rows = self.elf.relocations(section)
        for offset, kind, number in rows:
            if kind not in _RELOCATION_TYPES:
                self.fail(f"a relocation of type {kind}, which can't be linked", section=section.label)
            if not 0 < number < len(self.symbols):
                self.fail(f"a relocation against symbol {number}, which doesn't exist", section=section.label)
            if (offset % 8 and target.flags & SHF_EXECINSTR) or offset + (4 if kind == 3 else 8) > target.size:
                self.fail(f"a relocation at {offset:#x}, where nothing can be relocated", section=section.label)
        self.relocations[target.index] = rows

    # Types

    def _read_types(self) -> None:
        elf = self.elf
        section = elf.find(".BTF")
        if section is None:
            return
        self.btf = btf = Btf.parse(elf.content(section), name=self.path)
        btf.validate()
        check_names(btf)
        btf.pointer_size_override = 8
        extension = elf.find(".BTF.ext")
        if extension is not None and extension.size > 8:
            self.btf_ext = parse_btf_ext(elf.content(extension), btf, self.path)
            self._check_extension(btf)
        for found in btf.types():
            if found.kind == t.KIND_DATASEC and found.name != EXTERN_SECTION:
                self.datasecs[found.name] = found.id

    def _check_extension(self, btf: Btf) -> None:
        """Check what the records of .BTF.ext refer to."""
        extension = self.btf_ext
        for functions in extension.func_info.values():
            self._check_ids(functions.data, functions.record_size, btf)
        for relocations in extension.core_relos.values():
            self._check_ids(relocations.data, relocations.record_size, btf)

    def _check_ids(self, data: bytes, record_size: int, btf: Btf) -> None:
        for at in range(4, len(data), record_size):
            if int.from_bytes(data[at : at + 4], "little") >= len(btf):
                self.fail("a record refers to a type that doesn't exist", section=".BTF.ext")

    def variables_at(self, datasec: int) -> list[tuple[int, int, int]]:
        """Return the variables of a DATASEC: (type id, offset, size), global ones where the symbols say they are."""
        btf = self.btf
        assert btf is not None
        name = btf.type(datasec).name
        section = self.elf.find(name)
        index = section.index if section is not None else SHN_UNDEF
        symbols = {self.name_of(each): each for each in self.symbols if each.section == index and each.type == STT_OBJECT}
        rows = []
        for row in btf.type(datasec).variables:
            found = btf.type(row.type_id)
            offset = row.offset
            if found.kind == t.KIND_VAR and found.linkage == t.LINKAGE_GLOBAL:
                if found.name not in symbols:
                    self.fail(f"variable {found.name!r} is in BTF and not among the symbols", section=name)
                offset = symbols[found.name].value & 0xFFFFFFFF
            rows.append((row.type_id, offset, row.size))
        return rows

    def type_of(self, name: str) -> tuple[int, int]:
        """Return what BTF says of a global or extern symbol: (id of its DATASEC, or 0; id of its VAR or FUNC).

        Raises FormatError if it says nothing.
        """
        if self.btf is None:
            self.fail(f"symbol {name!r} can't be linked without BTF", hint="Compile with -g.")
        if self._typed is None:
            self._typed = self._index_types(self.btf)
        found = self._typed.get(name)
        if found is None:
            self.fail(f"BTF says nothing of the symbol {name!r}", section=".BTF")
        return found

    def _index_types(self, btf: Btf) -> dict[str, tuple[int, int]]:
        typed: dict[str, tuple[int, int]] = {}
        for found in btf.types():
            if is_shared(found):
                typed[found.name] = (0, found.id)
        for section in btf.types():
            for row in section.variables if section.kind == t.KIND_DATASEC else ():
                found = btf.type(row.type_id)
                if is_shared(found):
                    typed[found.name] = (section.id, found.id)
        return typed


def is_shared(found: t.Type) -> bool:
    """Return whether a type is of a variable or function that other objects can see."""
    return found.kind in (t.KIND_VAR, t.KIND_FUNC) and found.linkage != t.LINKAGE_STATIC


def _is_debug(name: str) -> bool:
    return name.startswith(".debug_")
