"""The passes that turn a file into an ObjectSpec, in the order in which libbpf makes them: the first failure names the errno.

Source: bpf_object_open() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bpfload.elf import btfext, btfmaps, datamaps, externs, fixup, layout, programs, relocations
from bpfload.elf.draft import Draft
from bpfload.elf.file import MAX_FILE_SIZE, ElfFile
from bpfload.errors import BpfError, FormatError, NotFoundError
from bpfload.spec import ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Callable

OBJECT_NAME_LENGTH = 15

PASSES: tuple[Callable[[Draft], None], ...] = (
    layout.collect_sections,
    programs.place_programs,
    btfext.read_btf,
    externs.collect_externs,
    fixup.fix_btf,
    btfmaps.add_maps,
    datamaps.add_data_maps,
    datamaps.add_kconfig_map,
    datamaps.add_struct_ops_maps,
    programs.find_definitions,
    relocations.collect_relocations,
    programs.name_exception_callbacks,
    datamaps.add_variables,
)


def read_object(path: str | os.PathLike[str], data: bytes | None) -> ObjectSpec:
    """Read an object file; see `bpfload.elf.read`."""
    name = os.fspath(path)
    if data is None:
        data = _read_file(name)
    elf = ElfFile(name, data)
    draft = Draft(elf, ObjectSpec(name=object_name(name), path=name))
    for step in PASSES:
        step(draft)
    return draft.spec


def object_name(path: str) -> str:
    """Return the name that libbpf gives an object: the file's name up to the first dot, within its first 15 characters."""
    return os.path.basename(path)[:OBJECT_NAME_LENGTH].partition(".")[0]


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_SIZE:
                raise FormatError(f"{size} bytes are too many for a BPF object", file=path)
            return file.read(MAX_FILE_SIZE + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file", hint="Has it been compiled?", errno_code=error.errno or 2) from error
    except OSError as error:
        raise BpfError(f"{path}: can't be read: {error.strerror}", errno_code=error.errno or 5) from error
