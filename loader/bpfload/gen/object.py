"""Static linking: several object files become one, as if they had been one source file.

Sections of one name are put behind each other, symbols resolved across the files (extern, weak, hidden), relocations moved along,
types merged so that each is there once. An extern that nobody defines stays one: the outcome can be linked on, and loaded if it
is the kernel that defines it.

Source: tools/lib/bpf/linker.c, with the same outcome but for the order of symbols and sections' tables.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpfload.elf.file import (
    MAX_FILE_SIZE,
    SHF_EXECINSTR,
    SHN_LORESERVE,
    SHN_UNDEF,
    STB_GLOBAL,
    STB_LOCAL,
    STB_WEAK,
    STT_SECTION,
    Section,
    Symbol,
)
from bpfload.elf.writer import OutputSection, OutputSymbol, elf_bytes
from bpfload.errors import BpfError, LinkError, NotFoundError, UsageError
from bpfload.gen.matching import Declared, check_maps, check_types
from bpfload.gen.merging import MergedTypes
from bpfload.gen.source import EXTERN_SECTION, SourceObject

if TYPE_CHECKING:
    from typing import NoReturn

_ONCE = ("license", "version")
_CALL = 0x85


def link_objects(paths: Sequence[str | os.PathLike[str]]) -> bytes:
    """Return the object file that several ones make. Raises UsageError, NotFoundError, FormatError, LinkError."""
    if not paths:
        raise UsageError("there is nothing to link: no object file is given")
    linker = Linker()
    for path in paths:
        name = os.fspath(path)
        linker.add(name, _read(name))
    return linker.finish()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_SIZE)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file", hint="Has it been compiled?") from None
    except OSError as error:
        raise BpfError(f"{path}: can't be read: {error.strerror}", errno_code=error.errno or 5) from None


class SharedSymbol:
    """A name that all files share: where it was defined, or only declared, so far.

    `section`: name of the section that it is in, "" for an extern of none. `declared`: the types that the definition gave it, or
    the first extern.
    """

    __slots__ = ("declared", "is_extern", "is_weak", "section", "symbol")

    def __init__(self, symbol: OutputSymbol, declared: Declared, section: str) -> None:
        self.symbol = symbol
        self.declared = declared
        self.section = section
        self.is_extern = symbol.section is None
        self.is_weak = symbol.bind == STB_WEAK


class _Placed:
    """Where a source's sections went: `sections` and `starts` by index. `symbols` by index."""

    def __init__(self) -> None:
        self.sections: dict[int, OutputSection] = {}
        self.starts: dict[int, int] = {}
        self.symbols: dict[int, OutputSymbol] = {}


class Linker:
    """Object files, added one by one."""

    def __init__(self) -> None:
        self.sections: dict[str, OutputSection] = {}
        self.symbols: list[OutputSymbol] = []
        self.shared: dict[str, SharedSymbol] = {}
        self.types = MergedTypes()
        self._section_symbols: dict[str, OutputSymbol] = {}

    def add(self, path: str, data: bytes) -> None:
        """Add an object file. After an error nothing more can be added."""
        source = SourceObject(path, data)
        placed = _Placed()
        for section in source.sections.values():
            self._add_section(source, section, placed)
        redefined = set()
        for number, symbol in enumerate(source.symbols[1:], 1):
            if self._add_symbol(source, number, symbol, placed):
                redefined.add(source.name_of(symbol))
        for index, rows in source.relocations.items():
            if index in placed.starts:
                self._add_relocations(source, source.sections[index], rows, placed)
        starts = {source.sections[index].name or "": start for index, start in placed.starts.items()}
        self.types.add(source, starts, self.shared, redefined)

    def finish(self) -> bytes:
        """Return the outcome."""
        sizes = {name: section.size for name, section in self.sections.items()}
        sections = list(self.sections.values())
        for name, data in self.types.finish(sizes):
            sections.append(OutputSection(name, align=8, data=bytearray(data), size=len(data)))
        return elf_bytes(sections, self.symbols)

    # Sections

    def _add_section(self, source: SourceObject, section: Section, placed: _Placed) -> None:
        name = section.name or ""
        content = source.elf.content(section)
        known = self.sections.get(name)
        if known is None:
            known = self.sections[name] = OutputSection(name, section.type, section.flags, entry_size=section.entry_size)
        elif (known.type, known.flags, known.entry_size) != (section.type, section.flags, section.entry_size):
            source.fail("the section has another type or other flags than in the files before", section=name)
        elif name in _ONCE:
            if known.data != content:
                there, here = _shown(name, bytes(known.data)), _shown(name, content)
                source.fail(f"the {name} is {here}; in the files before it is {there}", section=name)
            return
        placed.sections[section.index] = known
        placed.starts[section.index] = known.extend(content, section.size, section.align)

    # Symbols

    def _add_symbol(self, source: SourceObject, number: int, symbol: Symbol, placed: _Placed) -> bool:
        """Add a symbol, or find what it stands for; return whether it defines one that was there already."""
        section: OutputSection | int | None = None
        start = 0
        if symbol.section >= SHN_LORESERVE:
            section = symbol.section
        elif symbol.section != SHN_UNDEF:
            section = placed.sections.get(symbol.section)
            if section is None:
                return False  # of a section that is left out
            start = placed.starts[symbol.section]
        if symbol.type == STT_SECTION and isinstance(section, OutputSection):
            known = self._section_symbols.get(section.name)
            if known is not None:
                placed.symbols[number] = known
                return False
            start = 0
        name = source.name_of(symbol)
        if symbol.bind != STB_LOCAL and name in self.shared:
            return self._resolve(source, number, symbol, section, start, placed)
        added = OutputSymbol(name, symbol.bind, symbol.type, symbol.visibility, section, start + symbol.value, symbol.size)
        if symbol.bind != STB_LOCAL:
            datasec, type_id = source.type_of(name)
            self.shared[name] = SharedSymbol(added, Declared(source, type_id), _section_of(source, symbol, section, datasec))
        self.symbols.append(added)
        placed.symbols[number] = added
        if symbol.type == STT_SECTION and isinstance(section, OutputSection):
            self._section_symbols[section.name] = added
        return False

    def _resolve(
        self,
        source: SourceObject,
        number: int,
        symbol: Symbol,
        section: OutputSection | int | None,
        start: int,
        placed: _Placed,
    ) -> bool:
        """Put a symbol together with the one of its name; return whether it now defines it."""
        name = source.name_of(symbol)
        shared = self.shared[name]
        known = shared.symbol
        placed.symbols[number] = known
        is_extern = section is None
        if not is_extern and not shared.is_extern and not shared.is_weak and symbol.bind != STB_WEAK:
            first = shared.declared.source.label
            self._fail(
                name, f"{name!r} is defined in {first} and again in {source.label}", "One of them may be __weak or static."
            )
        datasec, type_id = source.type_of(name)
        declared = Declared(source, type_id)
        check = check_maps if ".maps" in (shared.section, _section_of(source, symbol, section, datasec)) else check_types
        check(name, shared.declared, declared)
        if symbol.bind == STB_GLOBAL:
            known.bind, shared.is_weak = STB_GLOBAL, False
        known.visibility = max(known.visibility, symbol.visibility)
        if is_extern or (not shared.is_extern and symbol.bind == STB_WEAK):
            return False
        known.type, known.section, known.value, known.size = symbol.type, section, start + symbol.value, symbol.size
        place = _section_of(source, symbol, section, datasec)
        if shared.section and shared.section != place:
            self._fail(
                name, f"{name!r} is in section {shared.section} in {shared.declared.source.label}, in {place} in {source.label}"
            )
        shared.section, shared.declared, shared.is_extern = place, declared, False
        return True

    def _fail(self, name: str, message: str, hint: str = "") -> NoReturn:
        raise LinkError(message, symbol=name, hint=hint)

    # Relocations

    def _add_relocations(self, source: SourceObject, section: Section, rows: list[tuple[int, int, int]], placed: _Placed) -> None:
        """Move relocations along with their section and the symbols that they name."""
        target = placed.sections[section.index]
        start = placed.starts[section.index]
        for offset, kind, number in rows:
            symbol = source.symbols[number]
            output = placed.symbols.get(number)
            if output is None:
                source.fail(f"a relocation against {source.name_of(symbol)!r}, which isn't linked", section=section.label)
            if symbol.type == STT_SECTION:
                if not section.flags & SHF_EXECINSTR:
                    source.fail("data that refers to static data or functions can't be linked", section=section.label)
                _shift(target.data, start + offset, placed.starts[symbol.section])
            target.relocations.append((start + offset, kind, output))


def _section_of(source: SourceObject, symbol: Symbol, section: OutputSection | int | None, datasec: int) -> str:
    """Return the name of the section that a symbol is in: for an extern what BTF says, unless that is only that it is one."""
    if isinstance(section, OutputSection):
        return section.name
    if section is None and datasec and source.btf is not None:
        name = source.btf.type(datasec).name
        return "" if name == EXTERN_SECTION else name
    return ""


def _shift(code: bytearray, at: int, distance: int) -> None:
    """Add to the offset in an instruction that refers to a section: in bytes, or in slots where it is called."""
    if code[at] == _CALL:
        distance //= 8
    value = int.from_bytes(code[at + 4 : at + 8], "little", signed=True) + distance
    code[at + 4 : at + 8] = (value & 0xFFFFFFFF).to_bytes(4, "little")


def _shown(name: str, content: bytes) -> str:
    """Return a licence or version for a message."""
    return (
        repr(content.rstrip(b"\0").decode("utf-8", "replace")) if name == "license" else f"{int.from_bytes(content, 'little'):#x}"
    )


def write_object(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file in one step: whoever opens the path finds the old content or all of the new. Raises BpfError."""
    name = os.fspath(path)
    is_special = os.path.exists(name) and not os.path.isfile(name)  # a device or a pipe, such as /dev/stdout
    beside = name if is_special else f"{name}.{os.getpid()}"
    try:
        with open(beside, "wb") as file:
            file.write(data)
        if beside != name:
            os.replace(beside, name)
    except OSError as error:
        if beside != name and os.path.exists(beside):
            os.unlink(beside)
        raise BpfError(f"{name}: can't be written: {error.strerror}", errno_code=error.errno or 5) from None
