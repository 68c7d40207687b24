"""Programs and libraries of user space built in memory: of either class and byte order, with symbols and static probes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

FUNC, OBJECT, IFUNC, NOTYPE = 2, 1, 10, 0
LOCAL, GLOBAL, WEAK = 0, 1, 2

#: Where the two segments are: (offset in the file, virtual address, size). Code, then data.
CODE = (0x1000, 0x401000, 0x1000)
DATA = (0x2000, 0x602000, 0x1000)


@dataclass
class Symbol:
    """A function, unless another kind. `value`: its address; `defined`: False for one that another file has."""

    name: str
    value: int
    kind: int = FUNC
    bind: int = GLOBAL
    defined: bool = True
    version: int = 1


@dataclass
class Note:
    """A static probe. `address`, `semaphore`: virtual."""

    provider: str
    name: str
    arguments: str = ""
    address: int = CODE[1] + 0x10
    base: int = 0
    semaphore: int = 0


def build(
    *,
    bits: int = 64,
    little: bool = True,
    shared: bool = True,
    symbols: Sequence[Symbol] | None = None,
    dynamic: Sequence[Symbol] | None = None,
    versions: Sequence[str] = (),
    notes: Sequence[Note] = (),
    note_bytes: bytes | None = None,
    base: int = 0,
) -> bytes:
    """Return a file. `versions`: names of the versions 2, 3, …; a symbol's version with 0x8000 is not the default one."""
    order, word = "<" if little else ">", "Q" if bits == 64 else "I"

    def pack(form: str, *values: object) -> bytes:
        return struct.pack(order + form, *values)

    def table(entries: Sequence[Symbol]) -> tuple[bytes, bytes]:
        strings, rows = b"\0", pack("IBBHQQ" if bits == 64 else "IIIBBH", 0, 0, 0, 0, 0, 0)
        for entry in entries:
            info, section = entry.bind << 4 | entry.kind, 1 if entry.defined else 0
            name = len(strings)
            strings += entry.name.encode() + b"\0"
            if bits == 64:
                rows += pack("IBBHQQ", name, info, 0, section, entry.value, 4)
            else:
                rows += pack("IIIBBH", name, entry.value, 4, info, 0, section)
        return rows, strings

    sections: list[tuple[str, int, int, int, bytes, int]] = [
        (".text", 1, CODE[1], CODE[0], b"", 0)
    ]  # name type addr at data link

    def add(name: str, kind: int, data: bytes, link: int = 0, address: int = 0) -> int:
        sections.append((name, kind, address, 0, data, link))
        return len(sections)

    for name, kind, strings_name, entries in ((".symtab", 2, ".strtab", symbols), (".dynsym", 11, ".dynstr", dynamic)):
        if entries is not None:
            rows, strings = table(entries)
            link = add(strings_name, 3, strings)
            add(name, kind, rows, link)
            if kind == 11 and versions:
                add(".gnu.version", 0x6FFFFFFF, pack("H", 0) + b"".join(pack("H", each.version) for each in entries))
                names = b"\0" + b"".join(version.encode() + b"\0" for version in versions)
                definitions, at = b"", 1
                for number, version in enumerate(versions):
                    last = number == len(versions) - 1
                    definitions += pack("HHHHIII", 1, 0, number + 2, 1, 0, 20, 0 if last else 28) + pack("II", at, 0)
                    at += len(version) + 1
                add(".gnu.version_d", 0x6FFFFFFD, definitions, add(".verstr", 3, names))
    content = b""
    for note in notes:
        description = pack(f"3{word}", note.address, note.base, note.semaphore)
        description += b"".join(text.encode() + b"\0" for text in (note.provider, note.name, note.arguments))
        content += pack("III", 8, len(description), 3) + b"stapsdt\0" + description.ljust(len(description) + 3 & ~3, b"\0")
    if notes or note_bytes is not None:
        add(".note.stapsdt", 7, content if note_bytes is None else note_bytes)
    if base:
        add(".stapsdt.base", 1, b"\0", address=base)
    names = b"\0"
    offsets = []
    for name, *_ in (*sections, (".shstrtab",)):
        offsets.append(len(names))
        names += name.encode() + b"\0"
    sections.append((".shstrtab", 3, 0, 0, names, 0))
    return _assemble(bits, pack, shared, sections, offsets)


def _assemble(bits: int, pack, shared: bool, sections, offsets) -> bytes:  # type: ignore[no-untyped-def]
    header_size, segment_size, section_size = (64, 56, 64) if bits == 64 else (52, 32, 40)
    segments = b""
    for (at, address, size), flags in ((CODE, 5), (DATA, 6)):
        if bits == 64:
            segments += pack("IIQQQQQQ", 1, flags, at, address, address, size, size, 4096)
        else:
            segments += pack("8I", 1, at, address, address, size, size, flags, 4096)
    body = bytearray(DATA[0] + DATA[2])
    rows = bytes(section_size)
    for (_, kind, address, at, data, link), name in zip(sections, offsets, strict=True):
        if not at:
            at = len(body)
            body += data
        size = len(data) or CODE[2]
        rows += pack("IIQQQQIIQQ" if bits == 64 else "10I", name, kind, 0, address, at, size, link, 0, 1, 0)
    table_at = len(body)
    little = pack("H", 1) == b"\1\0"
    ident = b"\x7fELF" + bytes((2 if bits == 64 else 1, 1 if little else 2, 1)) + bytes(9)
    header = ident + pack(
        "HHIQQQIHHHHHH" if bits == 64 else "HHIIIIIHHHHHH",
        3 if shared else 2,
        62,
        1,
        0,
        header_size,
        table_at,
        0,
        header_size,
        segment_size,
        2,
        section_size,
        len(sections) + 1,
        len(sections),
    )
    body[: header_size + len(segments)] = header + segments
    return bytes(body) + rows
