"""Object files: from the bytes of a ``.bpf.o`` to an `ObjectSpec`. Reads its file, and nothing else of the machine.

::

    file         the ELF container: header, sections, symbols, relocation tables
    sections     the SEC() table: what a section's name says of its programs
    reader       the passes over a file, in order
    layout       what each section is
    programs     functions, and the SEC() of each
    externs      kconfig values, kernel symbols, kernel functions
    fixup        BTF as the kernel wants it
    btfmaps      maps defined in .maps
    datamaps     maps of global variables, of kconfig values, of struct_ops
    legacymaps   maps defined in "maps", as before BTF
    relocations  what instructions and initialised maps refer to
    btfext       .BTF.ext
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from bpfload.spec import ObjectSpec


def read(path: str | os.PathLike[str], *, data: bytes | None = None) -> ObjectSpec:
    """Read an object file.

    `path`: the file, which also names the object. `data`: its content, if it is in memory already; the file is then not
    touched. Raises FormatError for whatever is wrong in the file, NotFoundError if there is no file, BpfError if it can't be
    read. The verdict and `errno_code` are those of libbpf's bpf_object__open().
    """
    from bpfload.elf.reader import read_object

    return read_object(path, data)


__all__ = ["read"]
