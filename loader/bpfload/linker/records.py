"""func_info and line_info, moved from their place in a section to their place in a linked program.

Source: adjust_prog_btf_ext_info() in tools/lib/bpf/libbpf.c; struct bpf_func_info and bpf_line_info in
include/uapi/linux/bpf.h: both start with the instruction's offset, in bytes in .BTF.ext and in slots for the kernel.
"""

from __future__ import annotations

import errno
from struct import pack_into, unpack_from
from typing import TYPE_CHECKING

from bpfload.errors import LinkError
from bpfload.spec import BtfExt, ProgramSpec, SectionInfo

if TYPE_CHECKING:
    from bpfload.linker.layout import LinkedProgram

_SLOT = 8


def append_records(linked: LinkedProgram, btf_ext: BtfExt, function: ProgramSpec, start: int) -> None:
    """Append a function's func_info and line_info to a linked program in which the function stands at `start` (bytes).

    A program whose own records are missing gets none at all; once it has some, each subprogram must have them too
    (LinkError, ENOENT): the kernel refuses a gap.
    """
    first = start == 0
    if first or linked.func_info:
        records, size = _moved(btf_ext.func_info.get(function.section), function, start)
        if records:
            linked.func_info += records
            linked.func_info_size = size
        elif linked.func_info:
            raise _missing("func_info", function)
    if first or linked.line_info:
        records, size = _moved(btf_ext.line_info.get(function.section), function, start)
        if records:
            linked.line_info += records
            linked.line_info_size = size
        elif linked.line_info:
            raise _missing("line_info", function)


def _moved(info: SectionInfo | None, function: ProgramSpec, start: int) -> tuple[bytearray, int]:
    """Return the records of one function with offsets in slots of the linked program, and their size."""
    if info is None:
        return bytearray(), 0
    size, data = info.record_size, info.data
    first = _lower_bound(data, size, function.offset)
    last = _lower_bound(data, size, function.offset + len(function.insns))
    moved = bytearray(data[first * size : last * size])
    shift = (start - function.offset) // _SLOT
    for place in range(0, len(moved), size):
        (offset,) = unpack_from("<I", moved, place)
        pack_into("<I", moved, place, offset // _SLOT + shift)
    return moved, size


def _lower_bound(data: bytes, size: int, offset: int) -> int:
    """Return the index of the first record at or after a section offset; records are in ascending order."""
    low, high = 0, len(data) // size
    while low < high:
        middle = (low + high) // 2
        if unpack_from("<I", data, middle * size)[0] < offset:
            low = middle + 1
        else:
            high = middle
    return low


def _missing(what: str, function: ProgramSpec) -> LinkError:
    return LinkError(
        f".BTF.ext has no {what} for it, though its caller has some",
        program=function.name,
        hint="Compile all of the object with -g, and with one compiler.",
        errno_code=errno.ENOENT,
    )
