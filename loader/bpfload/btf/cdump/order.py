"""In what order C wants the definitions: what is embedded before what embeds it, what is only pointed to anywhere.

Source: btf_dump_order_type() and btf_dump_mark_referenced() in tools/lib/bpf/btf_dump.c, whose order this is.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NoReturn

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfload.btf.flat import FlatTypes

#: Types passed on the way; in well-formed BTF few are passed more than some times.
MAX_STEPS = 50_000_000
_NEW, _ORDERING, _ORDERED = 0, 1, 2
#: Kinds that put no definition anywhere.
INERT_KINDS = frozenset((t.KIND_VOID, t.KIND_FUNC, t.KIND_VAR, t.KIND_DATASEC, t.KIND_DECL_TAG))
#: Kinds that only lead to another type.
_LINK_KINDS = (t.KIND_PTR, t.KIND_VOLATILE, t.KIND_CONST, t.KIND_RESTRICT, t.KIND_TYPE_TAG)


class DefinitionOrder:
    """Collects in `queue` the ids of what is to be defined, each once."""

    def __init__(self, flat: FlatTypes) -> None:
        self.queue: list[int] = []
        self._flat = flat
        self._states = bytearray(len(flat))
        self._states[0] = _ORDERED
        self._embedded: set[int] | None = None
        self._left = MAX_STEPS

    def add(self, type_ids: Iterable[int]) -> None:
        """Put types, and what they need, into the queue. Raises FormatError for types that contain themselves."""
        states, order = self._states, self._order
        for type_id in type_ids:
            if states[type_id] != _ORDERED:
                order(type_id, False)

    def _order(self, type_id: int, through_pointer: bool) -> bool:
        """Order one type; return whether whoever refers to it can go on without a forward declaration."""
        state = self._states[type_id]
        if state == _ORDERED:
            return True
        kind = self._flat.kinds[type_id]
        if kind == t.KIND_STRUCT or kind == t.KIND_UNION:
            return self._order_struct(type_id, state, through_pointer)
        if kind == t.KIND_PTR:
            strong = self._order(self._flat.target(type_id), True)
            self._states[type_id] = _ORDERED
            return strong
        if kind == t.KIND_ARRAY:
            return self._order(self._flat.words[self._flat.at[type_id] + 2], False)
        if kind == t.KIND_FUNC_PROTO:
            return self._order_prototype(type_id, through_pointer)
        if kind == t.KIND_TYPEDEF:
            if not self._order(self._flat.target(type_id), through_pointer) and through_pointer:
                return False
            self.queue.append(type_id)
        elif kind in t.MODIFIER_KINDS:
            return self._order(self._flat.target(type_id), through_pointer)
        elif kind in (t.KIND_ENUM, t.KIND_ENUM64, t.KIND_FWD):
            if self._flat.words[self._flat.at[type_id] - 1] or type_id not in self._anonymous_parts():
                self.queue.append(type_id)
        else:
            self._states[type_id] = _ORDERED
            return False
        self._states[type_id] = _ORDERED
        return True

    def _order_struct(self, type_id: int, state: int, through_pointer: bool) -> bool:
        flat, states = self._flat, self._states
        named = flat.words[flat.at[type_id] - 1]
        if through_pointer and named:
            return False  # a forward declaration will do
        if state == _ORDERING:
            self._fail(type_id, "it contains itself")
        states[type_id] = _ORDERING
        members = flat.rows(type_id, 3)[1::3]
        self._step(type_id, len(members))
        for member in members:
            if states[member] != _ORDERED:
                self._order(member, False)
        if named:
            self.queue.append(type_id)
        states[type_id] = _ORDERED
        return True

    def _order_prototype(self, type_id: int, through_pointer: bool) -> bool:
        params = self._flat.rows(type_id, 2)[1::2]
        self._step(type_id, len(params))
        strong = self._order(self._flat.target(type_id), through_pointer)
        for param in params:
            if self._states[param] == _ORDERED or self._order(param, through_pointer):
                strong = True
        return strong

    def _step(self, type_id: int, count: int) -> None:
        self._left -= count + 1
        if self._left < 0:
            self._fail(type_id, "types are nested too often")

    def _fail(self, type_id: int, message: str) -> NoReturn:
        raise FormatError(f"BTF type {type_id}: {message}, which C can't say", file=self._flat.btf.name, errno_code=40)

    def _anonymous_parts(self) -> set[int]:
        """Return the enums without a name that other types refer to: they are defined there and not on their own."""
        if self._embedded is None:
            flat = self._flat
            words, at = flat.words, flat.at
            kinds = (t.KIND_ENUM, t.KIND_ENUM64, t.KIND_FWD)
            wanted = {type_id for type_id in flat.ids_of(*kinds) if not words[at[type_id] - 1]}
            found = _referenced(flat, wanted)
            self._embedded = found
        return self._embedded

    # --- what isn't reached yet -------------------------------------------------------------------------------------

    def leading_to_undefined(self) -> list[int]:
        """Return the types whose ordering would still add to the queue, now that all named structs are in it; in order of id.

        These are typedefs and forward declarations that nothing needed so far, and what leads to them.
        """
        flat, states = self._flat, self._states
        found = {type_id for type_id in flat.ids_of(t.KIND_TYPEDEF, t.KIND_FWD) if states[type_id] != _ORDERED}
        if not found:
            return []
        words, at = flat.words, flat.at
        links = list(flat.ids_of(*_LINK_KINDS))
        pairs = list(zip(links, [words[at[type_id] + 1] for type_id in links], strict=True))
        pairs += [(type_id, words[at[type_id] + 2]) for type_id in flat.ids_of(t.KIND_ARRAY)]
        structs = [type_id for type_id in flat.ids_of(t.KIND_STRUCT, t.KIND_UNION) if states[type_id] != _ORDERED]
        new = found
        while new:
            reached = set(new)
            while new:
                new = {type_id for type_id, target in pairs if target in new} - found
                new.update([type_id for type_id in structs if not found.isdisjoint(flat.rows(type_id, 3)[1::3])])
                new -= found
                found |= new
                reached |= new
            new = set(_prototypes_with(flat, reached)) - found
            found |= new
        return sorted(found)


def _prototypes_with(flat: FlatTypes, wanted: set[int]) -> list[int]:
    """Return the prototypes that return one of `wanted` or take one. Mostly there are none, which is quickly seen."""
    words, at = flat.words, flat.at
    prototypes = list(flat.ids_of(t.KIND_FUNC_PROTO))
    found = [type_id for type_id in prototypes if words[at[type_id] + 1] in wanted]
    if not wanted.isdisjoint(flat.params()):
        ends = list(accumulate([words[at[type_id]] & 0xFFFF for type_id in prototypes]))
        places = [place for place, param in enumerate(flat.params()) if param in wanted]
        found += [prototypes[bisect_right(ends, place)] for place in places]
    return found


def _referenced(flat: FlatTypes, wanted: set[int]) -> set[int]:
    """Return those of `wanted` that other types refer to."""
    words, at = flat.words, flat.at
    found: set[int] = set()
    links = flat.ids_of(*t.MODIFIER_KINDS, t.KIND_PTR, t.KIND_TYPEDEF, t.KIND_VAR, t.KIND_DECL_TAG)
    found.update(wanted.intersection([words[at[type_id] + 1] for type_id in links]))
    for type_id in flat.ids_of(t.KIND_ARRAY):
        found.update(wanted.intersection(words[at[type_id] + 2 : at[type_id] + 4]))
    # One set of all members, made without a step of Python for each of them.
    found.update(wanted.intersection(flat.params()))
    for kinds, column in (((t.KIND_STRUCT, t.KIND_UNION), 1), ((t.KIND_DATASEC,), 0)):
        tables = memoryview(b"".join([flat.rows(type_id, 3) for type_id in flat.ids_of(*kinds)])).cast("I")
        found.update(wanted.intersection(tables[column::3]))
    return found
