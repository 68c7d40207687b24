"""Object files built in memory, section by section, right or wrong on purpose."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

PROGBITS, SYMTAB, STRTAB, NOBITS, REL = 1, 2, 3, 8, 9
WRITE, ALLOC, EXEC = 1, 2, 4
NOTYPE, OBJECT, FUNC, SECTION = 0, 1, 2, 3
LOCAL, GLOBAL, WEAK = 0, 1, 2
DEFAULT, HIDDEN = 0, 2
EM_BPF = 247

EXIT = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)  # r0 = 0; exit


def load64(imm: int = 0) -> bytes:
    """Return a ld_imm64 of r1."""
    return struct.pack("<BBhiBBhi", 0x18, 1, 0, imm, 0, 0, 0, 0)


def call(imm: int = -1, source: int = 1) -> bytes:
    """Return a call: of a subprogram unless `source` says otherwise."""
    return struct.pack("<BBhi", 0x85, source << 4, 0, imm)


@dataclass
class _Section:
    name: str
    type: int
    flags: int
    data: bytes
    size: int
    link: int = 0
    info: int = 0
    entry_size: int = 0


@dataclass
class ElfBuilder:
    """Sections and symbols, and the file that they make. The header's fields can be set to anything."""

    machine: int = EM_BPF
    type: int = 1
    elf_class: int = 2
    byte_order: int = 1
    with_symbols: bool = True
    _sections: list[_Section] = field(default_factory=list)
    _symbols: list[tuple[str, int, int, int, int, int]] = field(default_factory=list)
    _relocations: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _rel_names: dict[int, str] = field(default_factory=dict)

    def section(self, name: str, data: bytes = b"", *, type: int = PROGBITS, flags: int = ALLOC, size: int | None = None) -> int:
        """Add a section and return its index."""
        self._sections.append(_Section(name, type, flags, data, len(data) if size is None else size))
        return len(self._sections)

    def program(self, section: str, name: str, code: bytes = EXIT, *, bind: int = GLOBAL, visibility: int = DEFAULT) -> int:
        """Add a section with one function, and return the section's index."""
        index = self.section(section, code, flags=ALLOC | EXEC)
        self.symbol(name, index, 0, len(code), type=FUNC, bind=bind, visibility=visibility)
        return index

    def license(self, text: str = "GPL") -> int:
        """Add the licence."""
        return self.section("license", text.encode() + b"\0", flags=ALLOC | WRITE)

    def symbol(
        self,
        name: str,
        section: int = 0,
        value: int = 0,
        size: int = 0,
        *,
        type: int = OBJECT,
        bind: int = GLOBAL,
        visibility: int = DEFAULT,
    ) -> int:
        """Add a symbol and return its index."""
        self._symbols.append((name, bind << 4 | type, visibility, section, value, size))
        return len(self._symbols)

    def extern(self, name: str, *, weak: bool = False) -> int:
        """Add a symbol that is defined elsewhere."""
        return self.symbol(name, type=NOTYPE, bind=WEAK if weak else GLOBAL)

    def relocation(self, section: int, offset: int, symbol: int) -> None:
        """Let a place in a section refer to a symbol."""
        self._relocations.setdefault(section, []).append((offset, symbol))

    def build(self) -> bytes:
        """Return the file."""
        sections = list(self._sections)
        symbol_names = _Strings()
        table = bytes(24)
        for name, info, other, section, value, size in self._symbols:
            table += struct.pack("<IBBHQQ", symbol_names.add(name), info, other, section, value, size)
        table_index = len(sections) + len(self._relocations) + 1
        for target, entries in self._relocations.items():
            data = b"".join([struct.pack("<QII", offset, 1, symbol) for offset, symbol in entries])
            name = ".rel" + sections[target - 1].name
            sections.append(_Section(name, REL, 0, data, len(data), table_index, target, 16))
        if self.with_symbols:
            sections.append(_Section(".symtab", SYMTAB, 0, table, len(table), table_index + 1, 1, 24))
            sections.append(_Section(".strtab", STRTAB, 0, symbol_names.data, len(symbol_names.data)))
        names = _Strings()
        offsets = [names.add(section.name) for section in sections] + [names.add(".shstrtab")]
        sections.append(_Section(".shstrtab", STRTAB, 0, names.data, len(names.data)))
        body = b""
        headers = bytes(64)
        for section, name_offset in zip(sections, offsets, strict=True):
            headers += struct.pack(
                "<IIQQQQIIQQ",
                name_offset, section.type, section.flags, 0, 64 + len(body), section.size, section.link, section.info, 8,
                section.entry_size,
            )  # fmt: skip
            body += section.data + bytes(-len(section.data) % 8)
        order = "<" if self.byte_order == 1 else ">"
        ident = b"\x7fELF" + bytes((self.elf_class, self.byte_order, 1)) + bytes(9)
        count = len(sections) + 1
        fields = (self.type, self.machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, count, count - 1)
        return ident + struct.pack(order + "HHIQQQIHHHHHH", *fields) + body + headers


class _Strings:
    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        if not text:
            return 0
        self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return len(self.data) - len(text.encode("utf-8", "surrogateescape")) - 1
