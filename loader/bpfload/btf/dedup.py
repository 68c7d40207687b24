"""One type for what several BTFs say of the same one.

Steps, each on what the last has left: plain types (numbers, enums, floats, forward declarations) by what they say; structs and
unions by walking two graphs of types side by side, where a forward declaration passes for a struct of its name, and becomes it
if all the rest agrees; what is still only declared, by name, where just one struct has that name; and what refers to others
(pointers, typedefs, functions, …) by what it refers to.

Source: btf__dedup() in tools/lib/bpf/btf.c, whose verdicts these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.rows import NAME, Row, TypeTable, is_union_forward, kind_of, names_in, references_in, vlen_of
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Hashable

_STRUCTS = frozenset((t.KIND_STRUCT, t.KIND_UNION))
_ENUMS = frozenset((t.KIND_ENUM, t.KIND_ENUM64))
_PLAIN = frozenset((t.KIND_INT, t.KIND_FWD, t.KIND_FLOAT))
_ALONE = frozenset((t.KIND_VOID, t.KIND_VAR, t.KIND_DATASEC))  # never the same as another
_MAX_NESTING = 64

_PENDING = -1


def deduplicate(table: TypeTable) -> tuple[TypeTable, list[int]]:
    """Return a table that has each type once, in the order of first appearance, and by old id the new one."""
    found = _Deduplication(table)
    for step in (found.plain_types, found.structs, found.forward_declarations, found.references):
        step()
    return found.result()


class _Deduplication:
    """`same_as`: by id, the type that a type turned out to be: itself, or another, to be followed on; _PENDING if unknown."""

    def __init__(self, table: TypeTable) -> None:
        self.table = table
        self.rows = table.rows
        self.same_as = [type_id if kind_of(row) in _ALONE else _PENDING for type_id, row in enumerate(table.rows)]

    def canonical(self, type_id: int) -> int:
        """Return the type that a type turned out to be, as far as that is known."""
        same_as = self.same_as
        while same_as[type_id] not in (_PENDING, type_id):
            type_id = same_as[type_id]
        return type_id

    # Plain types

    def plain_types(self) -> None:
        """Find equal numbers, floats, declarations and enums."""
        known: dict[tuple[int, ...], int] = {}
        enums: dict[int, list[int]] = {}
        for type_id, row in enumerate(self.rows):
            kind = kind_of(row)
            if kind in _PLAIN:
                self.same_as[type_id] = known.setdefault(tuple(row), type_id)
            elif kind in _ENUMS:
                self._enum(type_id, row, enums.setdefault(row[NAME], []))

    def _enum(self, type_id: int, row: Row, namesakes: list[int]) -> None:
        """Compare an enum with those of its name: one without values only declares the others."""
        for other in namesakes:
            if row == self.rows[other] or not vlen_of(row):
                self.same_as[type_id] = other
                return
            if not vlen_of(self.rows[other]):
                self.same_as[other] = type_id
        self.same_as[type_id] = type_id
        namesakes.append(type_id)

    # Structs and unions

    def structs(self) -> None:
        """Find equal structs and unions."""
        known: dict[Hashable, list[int]] = {}
        for type_id, row in enumerate(self.rows):
            if kind_of(row) not in _STRUCTS or self.same_as[type_id] != _PENDING:
                continue
            alike = known.setdefault(_outside(row), [])
            for other in alike:
                pairs = self._pairs(type_id, other)
                if pairs is not None:
                    self._accept(pairs)
                    self.same_as[type_id] = other
                    break
            else:
                self.same_as[type_id] = type_id
                alike.append(type_id)

    def _pairs(self, candidate: int, canonical: int) -> dict[int, int] | None:
        """Walk two graphs of types side by side; return what stands for what (canonical: candidate), None if they differ."""
        pairs: dict[int, int] = {}
        pending = [(candidate, canonical)]
        while pending:
            left, right = pending.pop()
            if self.canonical(left) == self.canonical(right):
                continue
            right = self._struct_of(right)
            known = pairs.get(right)
            if known is not None:
                # A compiler may write one array, struct or pointer several times.
                if known == left or self._identical(known, left):
                    continue
                return None
            pairs[right] = left
            deeper = self._compare(self.rows[left], self.rows[right])
            if deeper is None:
                return None
            pending += reversed(deeper)
        return pairs

    def _struct_of(self, type_id: int) -> int:
        """Return the struct that a declaration is known to mean, else the type itself."""
        if kind_of(self.rows[type_id]) != t.KIND_FWD:
            return type_id
        found = self.canonical(type_id)
        return type_id if kind_of(self.rows[found]) == t.KIND_FWD else found

    def _compare(self, left: Row, right: Row) -> list[tuple[int, int]] | None:
        """Compare two types but for what they refer to; return the pairs of that, None if they differ."""
        kind, other = kind_of(left), kind_of(right)
        if left[NAME] != right[NAME]:
            return None
        if kind in _ENUMS and other in _ENUMS and not (vlen_of(left) and vlen_of(right)):
            return []
        if kind != other:
            declared, defined = (left, other) if kind == t.KIND_FWD else (right, kind)
            if kind_of(declared) != t.KIND_FWD:
                return None
            return [] if defined == (t.KIND_UNION if is_union_forward(declared) else t.KIND_STRUCT) else None
        places = references_in(left)
        if _outside(left) != _outside(right):
            return None
        return [(left[place], right[place]) for place in places]

    def _identical(self, left: int, right: int, depth: int = 0) -> bool:
        """Return whether two arrays, pointers or structs refer to the very same types."""
        one, two = self.rows[left], self.rows[right]
        kind = kind_of(one)
        if kind != kind_of(two):
            return False
        if kind == t.KIND_ARRAY or kind == t.KIND_PTR:
            return one == two
        if kind not in _STRUCTS or _outside(one) != _outside(two) or depth > _MAX_NESTING:
            return False
        return all(
            one[place] == two[place] or self._is_identical_member(one[place], two[place], depth) for place in references_in(one)
        )

    def _is_identical_member(self, left: int, right: int, depth: int) -> bool:
        return kind_of(self.rows[left]) != t.KIND_PTR and self._identical(left, right, depth + 1)

    def _accept(self, pairs: dict[int, int]) -> None:
        """Keep what was found on the way: what declarations mean, and which structs are equal too."""
        same_as = self.same_as
        for right, left in pairs.items():
            target, candidate = self.canonical(right), self.canonical(left)
            kind, other = kind_of(self.rows[target]), kind_of(self.rows[candidate])
            if kind != t.KIND_FWD and other == t.KIND_FWD:
                same_as[candidate] = target
            elif kind == t.KIND_FWD and other != t.KIND_FWD:
                same_as[target] = candidate
            if kind in _STRUCTS and other != t.KIND_FWD and _PENDING not in (same_as[candidate], same_as[target]):
                same_as[candidate] = target

    # Declarations

    def forward_declarations(self) -> None:
        """Let a declaration mean the struct or union of its name, if there is just one."""
        by_name: dict[int, int] = {}
        for type_id, row in enumerate(self.rows):
            if kind_of(row) in _STRUCTS and self.same_as[type_id] == type_id:
                by_name[row[NAME]] = 0 if row[NAME] in by_name else type_id
        for type_id, row in enumerate(self.rows):
            if kind_of(row) != t.KIND_FWD or self.same_as[type_id] != type_id:
                continue
            found = by_name.get(row[NAME], 0)
            if found and kind_of(self.rows[found]) == (t.KIND_UNION if is_union_forward(row) else t.KIND_STRUCT):
                self.same_as[type_id] = found

    # References

    def references(self) -> None:
        """Find equal types that refer to others, from what they refer to upwards."""
        known: dict[tuple[int, ...], int] = {}
        for type_id in range(len(self.rows)):
            self._reference(type_id, known)

    def _reference(self, start: int, known: dict[tuple[int, ...], int]) -> None:
        """Settle a type, and before it all that it refers to."""
        same_as, rows = self.same_as, self.rows
        pending, on_the_way = [start], set[int]()
        while pending:
            type_id = pending[-1]
            if same_as[type_id] != _PENDING:
                pending.pop()
                continue
            row = rows[type_id]
            places = references_in(row)
            open_ones = [row[place] for place in places if same_as[row[place]] == _PENDING]
            if open_ones:
                if type_id in on_the_way:
                    raise FormatError(f"BTF type {type_id} refers to itself, with no struct between", section=".BTF")
                on_the_way.add(type_id)
                pending += reversed(open_ones)
                continue
            for place in places:
                row[place] = self.canonical(row[place])
            same_as[type_id] = known.setdefault(tuple(row), type_id)
            pending.pop()

    # The outcome

    def result(self) -> tuple[TypeTable, list[int]]:
        """Return the types that are left, with new ids, and by old id the new one."""
        new_ids = [0] * len(self.rows)
        kept = [type_id for type_id in range(1, len(self.rows)) if self.same_as[type_id] == type_id]
        for new, old in enumerate(kept, 1):
            new_ids[old] = new
        ids = [new_ids[self.canonical(type_id)] for type_id in range(len(self.rows))]
        result = TypeTable(little_endian=self.table.little_endian)
        for old in kept:
            row = self.rows[old][:]
            _rename(self.table, result, row)
            for place in references_in(row):
                row[place] = ids[row[place]]
            result.add(row)
        return result, ids


def _rename(source: TypeTable, target: TypeTable, row: Row) -> None:
    """Move the names of a row from one table's strings to another's."""
    for place in names_in(row):
        row[place] = target.string(source.text(row[place]))


def _outside(row: Row) -> tuple[int, ...]:
    """Return a type without what it refers to."""
    outside = row[:]
    for place in references_in(row):
        outside[place] = 0
    return tuple(outside)
