"""Writing an object file: sections, symbols and relocations into the bytes of a relocatable ELF file for BPF.

Source: elf(5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from bpfload.elf.file import SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_STRTAB, SHT_SYMTAB, STB_LOCAL

EM_BPF = 247
ET_REL = 1
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bits, little-endian, version 1
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_REL = struct.Struct("<QII")


@dataclass(slots=True, eq=False)
class OutputSection:
    """A section to be written.

    `size`: bytes, of the data unless it is NOBITS. `relocations`: (offset, type, symbol), written to a section of their own.
    """

    name: str
    type: int = SHT_PROGBITS
    flags: int = 0
    align: int = 1
    entry_size: int = 0
    data: bytearray = field(default_factory=bytearray)
    size: int = 0
    relocations: list[tuple[int, int, OutputSymbol]] = field(default_factory=list)

    def extend(self, data: bytes, size: int, align: int) -> int:
        """Append data (or `size` bytes of a NOBITS section) at a multiple of `align` and return where they start."""
        self.align = max(self.align, align, 1)
        start = -(-self.size // self.align) * self.align
        if self.type != SHT_NOBITS:
            self.data += bytes(start - self.size) + data
        self.size = start + size
        return start


@dataclass(slots=True, eq=False)
class OutputSymbol:
    """A symbol to be written. `section`: where it is defined, None for an extern; or a special index, as SHN_ABS."""

    name: str
    bind: int
    type: int
    visibility: int = 0
    section: OutputSection | int | None = None
    value: int = 0
    size: int = 0


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._offsets = {"": 0}

    def add(self, text: str) -> int:
        offset = self._offsets.get(text)
        if offset is None:
            offset = self._offsets[text] = len(self.data)
            self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return offset


def elf_bytes(sections: list[OutputSection], symbols: list[OutputSymbol]) -> bytes:
    """Return an object file of these sections and symbols, in this order, but that local symbols come first, as ELF wants it.

    Behind the sections follow their relocations, the symbols, the strings.
    """
    strings = _Strings()
    symbols = sorted(symbols, key=lambda symbol: symbol.bind != STB_LOCAL)
    places = {id(section): index for index, section in enumerate(sections, 1)}
    numbers = {id(symbol): index for index, symbol in enumerate(symbols, 1)}
    related = [section for section in sections if section.relocations]
    table = len(sections) + len(related) + 1
    locals_ = sum(symbol.bind == STB_LOCAL for symbol in symbols)
    # Name, type, flags, link, info, align, entry size, data, size.
    rows: list[tuple[str, int, int, int, int, int, int, bytes, int]] = [
        (each.name, each.type, each.flags, 0, 0, each.align, each.entry_size, bytes(each.data), each.size) for each in sections
    ]
    for each in related:
        data = b"".join(_REL.pack(offset, kind, numbers[id(symbol)]) for offset, kind, symbol in each.relocations)
        rows.append((f".rel{each.name}", SHT_REL, 0x40, table, places[id(each)], 8, _REL.size, data, len(data)))
    data = bytes(_SYMBOL.size) + b"".join(_symbol_bytes(symbol, strings, places) for symbol in symbols)
    rows.append((".symtab", SHT_SYMTAB, 0, table + 1, locals_ + 1, 8, _SYMBOL.size, data, len(data)))
    names = [strings.add(name) for name in (*(row[0] for row in rows), ".strtab")]
    rows.append((".strtab", SHT_STRTAB, 0, 0, 0, 1, 0, bytes(strings.data), len(strings.data)))
    return _lay_out(rows, names)


def _symbol_bytes(symbol: OutputSymbol, strings: _Strings, places: dict[int, int]) -> bytes:
    section = symbol.section
    index = places[id(section)] if isinstance(section, OutputSection) else section or 0
    info = symbol.bind << 4 | symbol.type
    return _SYMBOL.pack(strings.add(symbol.name), info, symbol.visibility, index, symbol.value, symbol.size)


def _lay_out(rows: list[tuple[str, int, int, int, int, int, int, bytes, int]], names: list[int]) -> bytes:
    """Return the file: header, the sections' data, the section headers, the last section being that of the names."""
    body = bytearray(_HEADER.size)
    headers = [bytes(_SECTION_HEADER.size)]
    for name, (_, kind, flags, link, info, align, entry_size, data, size) in zip(names, rows, strict=True):
        body += bytes(-len(body) % (align or 1))
        headers.append(_SECTION_HEADER.pack(name, kind, flags, 0, len(body), size, link, info, align, entry_size))
        body += data
    body += bytes(-len(body) % 8)
    count = len(headers)
    body[: _HEADER.size] = _HEADER.pack(
        _IDENT, ET_REL, EM_BPF, 1, 0, 0, len(body), 0, _HEADER.size, 0, 0, _SECTION_HEADER.size, count, count - 1
    )
    return bytes(body) + b"".join(headers)
