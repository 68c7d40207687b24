"""The ELF container: what kind of file it is, its sections, symbols and relocation tables.

The one module that imports pyelftools, which identifies the file and reads its header. Tables are decoded here, all entries in
one go: pyelftools takes 15 to 40 microseconds for each entry, which is more than all the rest of reading an object.

Source: elf(5); what is refused follows bpf_object__elf_init() in tools/lib/bpf/libbpf.c and elfutils' libelf.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

from elftools.elf.elffile import ELFFile

from bpfload.errors import LIBBPF_ELF, LIBBPF_ENDIAN, LIBBPF_FORMAT, FormatError

if TYPE_CHECKING:
    from typing import Any, NoReturn

SHT_PROGBITS = 1
SHT_SYMTAB = 2
SHT_STRTAB = 3
SHT_NOBITS = 8
SHT_REL = 9
SHT_LLVM_ADDRSIG = 0x6FFF4C03
SHF_EXECINSTR = 4
SHF_COMPRESSED = 0x800
SHN_UNDEF = 0
SHN_LORESERVE = 0xFF00
SHN_XINDEX = 0xFFFF

STT_NOTYPE = 0
STT_OBJECT = 1
STT_FUNC = 2
STT_SECTION = 3
STB_LOCAL = 0
STB_GLOBAL = 1
STB_WEAK = 2
STV_INTERNAL = 1
STV_HIDDEN = 2

#: Limits on what a file may make us do. Real objects are far below them: the largest of the kernel's selftests has a megabyte
#: and some thousand symbols.
MAX_FILE_SIZE = 64 << 20
MAX_SECTIONS = 0xFF00
MAX_ENTRIES = 1 << 18  # symbols; relocations
MAX_NAME = 4096  # bytes of one name
MAX_NAMES = 64 << 20  # bytes of all names: two names may share bytes
MAX_COPIES = 4  # how often the sections may cover the file's bytes; those of a real file don't overlap, but some are read twice

_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_REL = struct.Struct("<QII")
#: Section type to the size of an entry; libelf refuses sections that hold no whole number of entries.
_ENTRY_SIZES = {2: 24, 4: 24, 6: 16, 9: 16, 11: 24, 14: 8, 15: 8, 16: 8, 17: 4, 18: 4}

#: Names that people use for the machines whose objects are given to a BPF loader by mistake.
_MACHINES = {"x64": "x86-64", "x86": "x86 (32 bit)", "AArch64": "arm64"}


class Section:
    """One row of the section header table. `name`: None if it has no valid one. `offset`, `size`, `align`: bytes in the file."""

    __slots__ = ("align", "entry_size", "flags", "index", "info", "link", "name", "offset", "size", "type")

    def __init__(self, index: int, name: str | None, row: tuple[int, ...]) -> None:
        self.index = index
        self.name = name
        _, self.type, self.flags, _, self.offset, self.size, self.link, self.info, self.align, self.entry_size = row

    @property
    def label(self) -> str:
        """The name for messages."""
        return self.name or f"#{self.index}"


class Symbol:
    """One symbol. `section`: index of its section, or a special one. `name_offset`: in the symbol string table."""

    __slots__ = ("bind", "name_offset", "section", "size", "type", "value", "visibility")

    def __init__(self, name_offset: int, info: int, other: int, section: int, value: int, size: int) -> None:
        self.name_offset = name_offset
        self.bind = info >> 4
        self.type = info & 15
        self.visibility = other & 3
        self.section = section
        self.value = value
        self.size = size

    @property
    def is_extern(self) -> bool:
        """Whether it is declared here and defined elsewhere."""
        return self.section == SHN_UNDEF and self.type == STT_NOTYPE and self.bind in (STB_GLOBAL, STB_WEAK)

    @property
    def is_hidden(self) -> bool:
        """Whether its visibility takes it out of what other objects can see."""
        return self.visibility in (STV_HIDDEN, STV_INTERNAL)


class ElfFile:
    """A 64-bit little-endian relocatable ELF file for BPF. `name`: for messages. `sections`: by index, with the null one.

    Raises FormatError if it is anything else, or if its tables don't fit into it.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.data = data
        self._budget = MAX_COPIES * len(data)
        self._relocation_count = 0
        self._name_size = 0
        self._by_name: dict[str | None, Section] = {}
        self._names: bytes = b""
        self.sections = self._read_sections(self._identify(data))

    def fail(
        self,
        message: str,
        *,
        section: str = "",
        offset: int | None = None,
        hint: str = "",
        errno_code: int = LIBBPF_FORMAT,
    ) -> NoReturn:
        """Raise FormatError for this file."""
        raise FormatError(message, file=self.name, section=section, offset=offset, hint=hint, errno_code=errno_code)

    # Header

    def _identify(self, data: bytes) -> Any:
        if data[:4] != b"\x7fELF":
            what = "the file is empty" if not data else "not an ELF file"
            self.fail(what, hint="An object is made by: clang -O2 -g -target bpf -c NAME.bpf.c")
        if len(data) < 64:
            self.fail(f"truncated: an ELF header has 64 bytes, the file {len(data)}")
        try:
            elf: Any = ELFFile(BytesIO(data))
            header = elf.header
            machine = header["e_machine"]
            kind = header["e_type"]
            bits = elf.elfclass
            little_endian = elf.little_endian
        except Exception as error:  # whatever pyelftools raises on a malformed file, and it raises many kinds
            self.fail(f"malformed ELF header ({error})")
        hint = "An object is made by: clang -O2 -g -target bpf -c NAME.bpf.c"
        if machine not in ("EM_BPF", "EM_NONE"):
            arch = elf.get_machine_arch() if isinstance(machine, str) else f"machine {machine}"
            self.fail(f"an ELF file for {_MACHINES.get(arch, arch)}, not for BPF", hint=hint)
        if bits != 64:
            self.fail("a 32-bit ELF file; BPF objects are 64-bit ones", hint=hint)
        if kind != "ET_REL":
            self.fail(f"not a relocatable ELF file but one of type {kind}", hint=hint)
        if not little_endian:
            self.fail(
                "compiled for big-endian machines (bpfeb)",
                hint="Compile it with -target bpf on this machine, or with -target bpfel.",
                errno_code=LIBBPF_ENDIAN,
            )
        return header

    def _read_sections(self, header: Any) -> list[Section]:
        """Return all sections, with their names."""
        data = self.data
        start, count = header["e_shoff"], header["e_shnum"]
        if not start:
            self.fail("no sections")
        if start + _SECTION_HEADER.size > len(data):
            self.fail(f"truncated: the section headers are at {start:#x}, the file has {len(data):#x} bytes")
        first = _SECTION_HEADER.unpack_from(data, start)
        count = count or first[5]  # from 0xff00 sections on, the number is in the null section
        if count * _SECTION_HEADER.size > len(data) - start:
            message = f"truncated: {count} section headers are at {start:#x}, the file has {len(data):#x} bytes"
            self.fail(message, errno_code=LIBBPF_FORMAT if header["e_shnum"] else LIBBPF_ELF)
        if count > MAX_SECTIONS:
            self.fail(f"{count} sections are too many")
        rows = list(_SECTION_HEADER.iter_unpack(data[start : start + count * _SECTION_HEADER.size]))
        names_index = header["e_shstrndx"]
        if names_index == SHN_XINDEX:
            names_index = first[6]
        if names_index >= count:
            self.fail(f"section {names_index} is to hold the section names; there are {count} sections")
        names = self.strings(Section(names_index, ".shstrtab", rows[names_index]))
        sections = []
        for index, row in enumerate(rows):
            sections.append(Section(index, self._string(names, row[0]), row))
        return sections

    # Sections

    def check(self, section: Section) -> None:
        """Raise FormatError if a section is not all in the file, or not a whole number of its type's entries."""
        offset, size = section.offset, section.size
        if section.type == SHT_NOBITS:
            return
        if size and (offset > len(self.data) or size > len(self.data) - offset):
            self.fail(f"truncated: {size} bytes at {offset:#x}, the file has {len(self.data):#x} bytes", section=section.label)
        if size % _ENTRY_SIZES.get(section.type, 1):
            self.fail(f"{size} bytes are no whole number of entries", section=section.label)

    def content(self, section: Section) -> bytes:
        """Return a section's bytes; those of a NOBITS section are not in the file and given as b"". Raises as `check` does."""
        if section.type == SHT_NOBITS:
            return b""
        self.check(section)
        offset, size = section.offset, section.size
        self._budget -= size
        if self._budget < 0:
            self.fail("the sections overlap each other too often", section=section.label)
        return self.data[offset : offset + size]

    def find(self, name: str) -> Section | None:
        """Return the first section of that name."""
        if not self._by_name:
            self._by_name = {section.name: section for section in reversed(self.sections[1:])}
        return self._by_name.get(name)

    def strings(self, section: Section) -> bytes:
        """Return a string table, b"" if the section is none that can be read."""
        content = self.content(section)
        return content if section.type == SHT_STRTAB and not section.flags & SHF_COMPRESSED else b""

    # Symbols

    def symbols(self, section: Section) -> list[Symbol]:
        """Decode a symbol table."""
        content = self.content(section)
        if len(content) > MAX_ENTRIES * _SYMBOL.size:
            self.fail(f"{len(content) // _SYMBOL.size} symbols are too many", section=section.label)
        return [Symbol(*row) for row in _SYMBOL.iter_unpack(content)]

    def set_symbol_names(self, section: Section | None) -> None:
        """Say which string table holds the symbols' names."""
        self._names = self.strings(section) if section is not None else b""

    def symbol_name(self, symbol: Symbol) -> str | None:
        """Return a symbol's name, None if it has no valid one."""
        return self._string(self._names, symbol.name_offset)

    def _string(self, table: bytes, offset: int) -> str | None:
        """Return the NUL-terminated string at an offset, None if there is none."""
        end = table.find(b"\0", offset, offset + MAX_NAME)
        if end < 0:
            return None
        self._name_size += end - offset
        if self._name_size > MAX_NAMES:
            self.fail("the names are too long")
        return table[offset:end].decode("utf-8", "surrogateescape")

    def relocations(self, section: Section) -> list[tuple[int, int, int]]:
        """Decode a REL table: (offset in the section that it is for, relocation type, index of the symbol)."""
        content = self.content(section)
        self._relocation_count += len(content) // _REL.size
        if self._relocation_count > MAX_ENTRIES:
            self.fail(f"{self._relocation_count} relocations are too many", section=section.label)
        return list(_REL.iter_unpack(content))
