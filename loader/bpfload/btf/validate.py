"""A check of all types of a BTF: what they refer to exists, what they are called is in the strings.

Source: btf_sanity_check() in tools/lib/bpf/btf.c, with the same verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf.index import Btf

_REFERENCE_KINDS = frozenset(
    (t.KIND_PTR, t.KIND_TYPEDEF, t.KIND_VOLATILE, t.KIND_CONST, t.KIND_RESTRICT, t.KIND_VAR, t.KIND_DECL_TAG, t.KIND_TYPE_TAG)
)
_NO_REFERENCE_KINDS = frozenset((t.KIND_INT, t.KIND_FWD, t.KIND_FLOAT))
#: Of the kinds with a table: words a row, column of the name, column of the type id; -1 if there is none.
_TABLES = {
    t.KIND_STRUCT: (3, 0, 1),
    t.KIND_UNION: (3, 0, 1),
    t.KIND_ENUM: (2, 0, -1),
    t.KIND_ENUM64: (3, 0, -1),
    t.KIND_FUNC_PROTO: (2, 0, 1),
    t.KIND_DATASEC: (3, -1, 0),
}


def _fail(btf: Btf, type_id: int, message: str) -> NoReturn:
    raise FormatError(f"BTF type {type_id}: {message}", file=btf.name, section=".BTF")


def validate(btf: Btf) -> None:
    """Raise FormatError for the first type of the BTF's own that refers to a type or string that doesn't exist."""
    words = btf.words
    count = len(btf)
    strings = btf.string_end
    for type_id, at in enumerate(btf.starts, btf.start_id):
        info = words[at]
        kind = info >> 24 & 31
        if words[at - 1] >= strings:
            _fail(btf, type_id, f"its name is at {words[at - 1]}, outside the strings")
        if kind in _REFERENCE_KINDS:
            if words[at + 1] >= count:
                _fail(btf, type_id, f"it refers to type {words[at + 1]}, which doesn't exist")
        elif kind in _NO_REFERENCE_KINDS:
            continue
        elif kind in _TABLES:
            _check_table(btf, type_id, at, info & 0xFFFF, _TABLES[kind])
        elif kind == t.KIND_ARRAY:
            if words[at + 2] >= count or words[at + 3] >= count:
                _fail(btf, type_id, "its element or index type doesn't exist")
        elif words[at + 1] >= count or btf.kind(words[at + 1]) != t.KIND_FUNC_PROTO:
            _fail(btf, type_id, f"the function's type {words[at + 1]} is not a FUNC_PROTO")


def _check_table(btf: Btf, type_id: int, at: int, rows: int, form: tuple[int, int, int]) -> None:
    width, name, reference = form
    if not rows:
        return
    start = at + 2
    end = start + width * rows
    table = btf.words[start:end].tolist()
    if name >= 0 and max(table[name::width]) >= btf.string_end:
        _fail(btf, type_id, "the name of a member is outside the strings")
    if reference >= 0 and max(table[reference::width]) >= len(btf):
        _fail(btf, type_id, "it refers to a type that doesn't exist")
