"""Types as rows of words, as they stand in the file, in one table that several BTFs go into: what merging them works on.

A row is ``[name, info, word, *rest]``: offset of the name in the table's own strings; kind, flag and number of table rows; size
or type id; what follows for the kind. Ids are places in the table, 0 is void.

Source: include/uapi/linux/btf.h.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.index import HEADER_SIZE, MAGIC, Btf
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = list[int]

NAME, INFO, WORD, REST = 0, 1, 2, 3
_VLEN = 0xFFFF
_REFERENCE_KINDS = t.MODIFIER_KINDS | {t.KIND_PTR, t.KIND_TYPEDEF, t.KIND_FUNC, t.KIND_VAR, t.KIND_DECL_TAG}
#: By kind: words of a row of the table behind a type, place of a name in it, place of a type id in it; -1 for none.
_TABLES = {
    t.KIND_STRUCT: (3, 0, 1),
    t.KIND_UNION: (3, 0, 1),
    t.KIND_ENUM: (2, 0, -1),
    t.KIND_ENUM64: (3, 0, -1),
    t.KIND_FUNC_PROTO: (2, 0, 1),
    t.KIND_DATASEC: (3, -1, 0),
}


def kind_of(row: Row) -> int:
    """Return the kind of a type."""
    return row[INFO] >> 24 & 31


def vlen_of(row: Row) -> int:
    """Return the number of members, values, parameters or variables; a FUNC's linkage."""
    return row[INFO] & _VLEN


def is_union_forward(row: Row) -> bool:
    """Return whether a FWD declares a union."""
    return bool(row[INFO] >> 31)


def names_in(row: Row) -> list[int]:
    """Return the places in a row that hold names."""
    kind = kind_of(row)
    width, name, _ = _TABLES.get(kind, (1, -1, -1))
    return [NAME] if name < 0 else [NAME, *range(REST + name, REST + width * vlen_of(row), width)]


def references_in(row: Row) -> Sequence[int]:
    """Return the places in a row that hold type ids."""
    kind = kind_of(row)
    if kind in _REFERENCE_KINDS:
        return (WORD,)
    if kind == t.KIND_ARRAY:
        return (REST, REST + 1)
    width, _, reference = _TABLES.get(kind, (1, -1, -1))
    if reference < 0:
        return ()
    places = range(REST + reference, REST + width * vlen_of(row), width)
    return (WORD, *places) if kind == t.KIND_FUNC_PROTO else places


class TypeTable:
    """Types that are collected, by id. `rows[0]` stands for void. `little_endian`: byte order of `bytes()`."""

    def __init__(self, *, little_endian: bool = True) -> None:
        self.little_endian = little_endian
        self.rows: list[Row] = [[0, 0, 0]]
        self._strings: dict[bytes, int] = {b"": 0}
        self._texts: dict[int, bytes] = {0: b""}
        self._end = 1

    def __len__(self) -> int:
        """One more than the highest id."""
        return len(self.rows)

    def string(self, text: bytes) -> int:
        """Return the offset of a string, which is added if it isn't there yet."""
        offset = self._strings.get(text)
        if offset is None:
            offset = self._strings[text] = self._end
            self._texts[offset] = text
            self._end += len(text) + 1
        return offset

    def text(self, offset: int) -> bytes:
        """Return the string at an offset that `string` gave."""
        return self._texts[offset]

    def name(self, type_id: int) -> str:
        """Return a type's name, "" if it has none."""
        return self._texts[self.rows[type_id][NAME]].decode("utf-8", "backslashreplace")

    def add(self, row: Row) -> int:
        """Append a type, whose names are in this table, and return its id."""
        self.rows.append(row)
        return len(self.rows) - 1

    def row_of(self, btf: Btf, type_id: int) -> Row:
        """Return a type of another BTF as a row, with its names in this table and its type ids as they were."""
        at = btf.starts[type_id - btf.start_id] - 1
        index = type_id - btf.start_id + 1
        end = btf.starts[index] - 1 if index < len(btf.starts) else len(btf.words)
        row = btf.words[at:end].tolist()
        for place in names_in(row):
            if row[place]:
                row[place] = self.string(btf.string_bytes(row[place]))
        return row

    def bytes(self) -> bytes:
        """Return the types as BTF: header, types, strings. Raises FormatError if there is too much of them."""
        strings = b"\0".join(self._strings) + b"\0"
        order = "<" if self.little_endian else ">"
        words = [word for row in self.rows[1:] for word in row]
        types = struct.pack(f"{order}{len(words)}I", *words)
        if len(types) + len(strings) > 0x7FFFFFFF:
            raise FormatError("the types are too large together")
        header = (MAGIC, 1, 0, HEADER_SIZE, 0, len(types), len(types), len(strings))
        return struct.pack(order + "HBB5I", *header) + types + strings
