"""Symbol tables of user space's programs and libraries: which functions a file has, and in which versions.

A browser has a million symbols: names are looked up in the strings first, and only symbols that have one of them are decoded.

Source: elf(5); the Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, unpack_from
from sys import byteorder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.elf.userbinary import Section, UserBinary

SHT_SYMTAB, SHT_DYNSYM = 2, 11
_SHT_GNU_VERDEF, _SHT_GNU_VERSYM = 0x6FFFFFFD, 0x6FFFFFFF
_SHN_UNDEF = 0
_STT_FUNC, _STT_IFUNC = 2, 10
_STB_WEAK = 2
_HIDDEN_VERSION = 0x8000
_MAX_NAME = 4096
_MAX_NAMES = 1 << 28  # bytes of all names that are looked at: names may share bytes


@dataclass(frozen=True, slots=True)
class Function:
    """A function by its symbol. `offset`: bytes in the file."""

    name: str
    offset: int
    weak: bool = False


class SymbolTable:
    """One symbol table with its strings, and for a dynamic one its versions."""

    def __init__(self, binary: UserBinary, section: Section) -> None:
        layout = binary.layout
        self._binary = binary
        self._form = Struct(binary.order + layout.symbol)
        self._order = layout.symbol_order
        content = binary.content(section)
        self._content = content[: len(content) // self._form.size * self._form.size]
        self._strings = binary.content(binary.sections[section.link])
        self._section = section

    def _name_offsets(self) -> array[int]:
        """Return where each symbol's name starts in the strings."""
        words = array("I", self._content)
        if self._binary.little != (byteorder == "little"):
            words.byteswap()
        return words[:: self._form.size // 4]

    def _symbol(self, index: int) -> tuple[int, int, int]:
        """Return (info, section, value)."""
        row = self._form.unpack_from(self._content, index * self._form.size)
        info, section, value = self._order
        return row[info], row[section], row[value]

    def _places_of(self, name: bytes) -> set[int]:
        """Return where in the strings that name stands: as a whole, or as the end of a longer one."""
        found, start, wanted = set(), 0, name + b"\0"
        while (start := self._strings.find(wanted, start)) >= 0:
            found.add(start)
            start += 1
        return found

    def _function(self, index: int, name: str) -> Function | None:
        info, section, value = self._symbol(index)
        if info & 15 != _STT_FUNC or section == _SHN_UNDEF:
            return None
        offset = self._binary.offset_of(value)
        return None if not offset else Function(name, offset, info >> 4 == _STB_WEAK)

    def named(self, name: str, version: str = "") -> list[Function]:
        """Return the functions of that name; those of its default version where there are several and none is asked for."""
        places = self._places_of(name.encode(errors="surrogateescape"))
        if not places:
            return []
        indices = [index for index, start in enumerate(self._name_offsets()) if start in places]
        versions = _versions(self._binary, self._section) if len(indices) > 1 or version else {}
        if version:
            indices = [index for index in indices if versions.get(index, ("", False))[0] == version]
        elif len(indices) > 1:
            default = [index for index in indices if not versions.get(index, ("", False))[1]]
            indices = default or indices
        return [entry for index in indices if (entry := self._function(index, name)) is not None]

    def all(self) -> Iterator[Function]:
        """Yield every function that is defined here."""
        for index, start in enumerate(self._name_offsets()):
            if self._content[index * self._form.size + self._info_at] & 15 != _STT_FUNC:
                continue
            entry = self._function(index, self._name(start))
            if entry is not None and entry.name:
                yield entry

    def kinds(self, name: str) -> set[str]:
        """Say what a name that is no function here stands for: "ifunc", "data", "undefined"."""
        found = set()
        places = self._places_of(name.encode(errors="surrogateescape"))
        for index, start in enumerate(self._name_offsets()):
            if start in places:
                info, section, _ = self._symbol(index)
                ifunc = "ifunc" if info & 15 == _STT_IFUNC else "data"
                found.add("undefined" if section == _SHN_UNDEF else ifunc)
        return found

    @property
    def _info_at(self) -> int:
        return 4 if self._form.size == 24 else 12

    def _name(self, start: int) -> str:
        end = self._strings.find(b"\0", start, start + _MAX_NAME)
        if end < 0:
            return ""
        self._binary.names_read += end - start
        if self._binary.names_read > _MAX_NAMES:
            self._binary.fail("the names are too long", section=self._section.name)
        return self._strings[start:end].decode(errors="surrogateescape")


def _versions(binary: UserBinary, table: Section) -> dict[int, tuple[str, bool]]:
    """Return by symbol's index: (name of its version, whether it is not the default one)."""
    numbers = next((section for section in binary.sections if section.type == _SHT_GNU_VERSYM), None)
    definitions = next((section for section in binary.sections if section.type == _SHT_GNU_VERDEF), None)
    if table.type != SHT_DYNSYM or numbers is None or definitions is None or definitions.link >= len(binary.sections):
        return {}
    data, strings = binary.content(definitions), binary.content(binary.sections[definitions.link])
    names: dict[int, str] = {}
    at = 0
    while at + 20 <= len(data):
        _, _, number, _, _, first, following = unpack_from(binary.order + "HHHHIII", data, at)
        if at + first + 4 <= len(data):
            names[number & ~_HIDDEN_VERSION] = text_at(strings, unpack_from(binary.order + "I", data, at + first)[0])
        if following < 20:
            break
        at += following
    words = array("H", binary.content(numbers)[: numbers.size & ~1])
    if binary.little != (byteorder == "little"):
        words.byteswap()
    return {
        index: (names.get(word & ~_HIDDEN_VERSION, ""), bool(word & _HIDDEN_VERSION))
        for index, word in enumerate(words)
        if word > 1
    }


def text_at(strings: bytes, offset: int) -> str:
    """Return the NUL-terminated string at an offset, "" if there is none."""
    end = strings.find(b"\0", offset, offset + _MAX_NAME)
    return strings[offset:end].decode(errors="replace") if end > offset else ""
