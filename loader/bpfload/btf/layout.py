"""Sizes and alignments of types.

Source: btf__resolve_size(), btf__align_of(), determine_ptr_size() in tools/lib/bpf/btf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf.index import Btf

MAX_DEPTH = 32  # of chains of types, as libbpf and the kernel limit them
MAX_STRUCT_DEPTH = 100
_UINT32_MAX = 0xFFFFFFFF
_REFERENCE_KINDS = t.MODIFIER_KINDS | {t.KIND_TYPEDEF, t.KIND_VAR, t.KIND_DECL_TAG}
_SCALAR_KINDS = frozenset((t.KIND_INT, t.KIND_ENUM, t.KIND_ENUM64, t.KIND_FLOAT))


def _fail(btf: Btf, type_id: int, message: str, errno_code: int = 22) -> NoReturn:
    raise FormatError(f"BTF type {type_id}: {message}", file=btf.name, section=".BTF", errno_code=errno_code)


def pointer_size(btf: Btf, long_names: frozenset[str]) -> int:
    """Return the size of C's long in the BTF, 0 if it has no such type."""
    if btf.base is not None and (size := pointer_size(btf.base, long_names)):
        return size
    words = btf.words
    for at in btf.starts:
        if words[at] >> 24 & 31 == t.KIND_INT and words[at + 1] in (4, 8) and btf.string(words[at - 1]) in long_names:
            return words[at + 1]
    return 0


def size_of(btf: Btf, type_id: int) -> int:
    """Return the size of a type in bytes. Raises FormatError if it has none or is over 4 GiB."""
    count = 1
    current = type_id
    for _ in range(MAX_DEPTH):
        found = btf.type(current)
        kind = found.kind
        if kind in t.SIZED_KINDS:
            size = found.size
        elif kind == t.KIND_PTR:
            size = btf.pointer_size
        elif kind == t.KIND_ARRAY:
            count *= found.nelems
            if count > _UINT32_MAX:
                _fail(btf, type_id, "the array is too large", errno_code=7)
            current = found.elem
            continue
        elif kind in _REFERENCE_KINDS:
            current = found.type_id
            continue
        else:
            _fail(btf, type_id, f"{t.KIND_NAMES[kind]} {found.name!r} has no size")
        if count * size > _UINT32_MAX:
            _fail(btf, type_id, "the array is too large", errno_code=7)
        return count * size
    _fail(btf, type_id, "its chain of types is too long, or refers to itself")


def align_of(btf: Btf, type_id: int, known: dict[int, int], depth: int = 0) -> int:
    """Return the alignment of a type in bytes.

    `known`: what was found before, by id; 0 marks a struct that is being looked at, so that one that holds itself is seen.
    `depth`: number of such structs.
    """
    current = type_id
    for _ in range(MAX_DEPTH):
        found = btf.type(current)
        kind = found.kind
        if kind in _SCALAR_KINDS:
            return min(btf.pointer_size, found.size)
        if kind == t.KIND_PTR:
            return btf.pointer_size
        if kind == t.KIND_ARRAY:
            current = found.elem
        elif kind == t.KIND_TYPEDEF or kind in t.MODIFIER_KINDS:
            current = found.type_id
        elif kind == t.KIND_STRUCT or kind == t.KIND_UNION:
            return _align_of_struct(btf, found, known, depth)
        else:
            _fail(btf, type_id, f"{t.KIND_NAMES[kind]} {found.name!r} has no alignment")
    _fail(btf, type_id, "its chain of types is too long, or refers to itself")


def _align_of_struct(btf: Btf, found: t.Type, known: dict[int, int], depth: int) -> int:
    align = known.get(found.id)
    if align == 0 or depth > MAX_STRUCT_DEPTH:
        _fail(btf, found.id, "it contains itself, or structs are nested too deeply")
    if align is None:
        known[found.id] = 0
        try:
            align = _largest_align(btf, found, known, depth)
        finally:
            del known[found.id]
        known[found.id] = align
    return align


def _largest_align(btf: Btf, found: t.Type, known: dict[int, int], depth: int) -> int:
    largest = 1
    for member in found.members:
        align = align_of(btf, member.type_id, known, depth + 1)
        if align <= 0:
            _fail(btf, found.id, f"member {member.name!r} has no alignment")
        largest = max(largest, align)
        if not member.bitfield_size and member.offset_bits % (8 * align):
            return 1  # packed
    return 1 if found.size % largest else largest
