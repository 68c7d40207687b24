"""The .BTF section of an ELF file: a kernel image, a module, an object.

Kernel images with debug information have hundreds of megabytes, of which only the headers and that section are read.

Source: elf(5).
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from bpfload.errors import FormatError

if TYPE_CHECKING:
    from io import BufferedReader

_ENODATA = 61
_LIBBPF_FORMAT = 4001
_MAX_SECTIONS = 1 << 16
_MAX_SECTION = 1 << 30
_SHF_COMPRESSED = 1 << 11
_SHT_NOBITS = 8
#: Class byte of the file: (header after the 16 bytes of e_ident, section header).
_LAYOUTS = {1: ("HHIIIIIHHHHHH", "IIIIIIIIII"), 2: ("HHIQQQIHHHHHH", "IIQQQQIIQQ")}


def read_section(path: str, name: str) -> bytes:
    """Return the content of a section. Raises FormatError: not an ELF file, or one without that section (ENODATA)."""
    with open(path, "rb") as file:
        try:
            return _read(file, path, name.encode())
        except (struct.error, ValueError, OverflowError):
            raise FormatError("malformed ELF file", file=path, errno_code=_LIBBPF_FORMAT) from None


def _read(file: BufferedReader, path: str, name: bytes) -> bytes:
    limit = os.fstat(file.fileno()).st_size
    ident = file.read(16)
    if len(ident) < 16 or ident[:4] != b"\x7fELF" or ident[4] not in _LAYOUTS or ident[5] not in (1, 2):
        raise FormatError("neither BTF nor an ELF file", file=path, errno_code=_LIBBPF_FORMAT)
    order = "<" if ident[5] == 1 else ">"
    header_form, row_form = (order + form for form in _LAYOUTS[ident[4]])
    header = struct.unpack(header_form, file.read(struct.calcsize(header_form)))
    table, row_size, count, names_index = header[5], header[10], header[11], header[12]

    def row(index: int) -> tuple[int, ...]:
        file.seek(table + index * row_size)
        return struct.unpack(row_form, file.read(struct.calcsize(row_form)))

    def content(place: tuple[int, ...]) -> bytes:
        offset, size = place[4], place[5]
        if place[1] == _SHT_NOBITS or offset + size > limit or size > _MAX_SECTION:
            raise ValueError
        file.seek(offset)
        return file.read(size)

    if not table:
        raise _without(path, name)
    first = row(0)
    # Files with 65,280 sections or more have their number, and the index of the section of names, in the first row.
    count = count or first[5]
    names_index = first[6] if names_index == 0xFFFF else names_index
    if count > _MAX_SECTIONS:
        raise ValueError
    names = content(row(names_index))
    for index in range(1, count):
        place = row(index)
        start = place[0]
        if names[start : start + len(name) + 1] == name + b"\0":
            if place[2] & _SHF_COMPRESSED:
                raise FormatError(f"section {name.decode()} is compressed", file=path, errno_code=_LIBBPF_FORMAT)
            return content(place)
    raise _without(path, name)


def _without(path: str, name: bytes) -> FormatError:
    return FormatError(f"there is no section {name.decode()} in the file", file=path, errno_code=_ENODATA)
