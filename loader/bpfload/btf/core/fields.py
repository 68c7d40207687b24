"""Members of a struct by name, those of its anonymous members included, kept for each BTF."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from bpfload.btf.core.spec import COMPOSITE_KINDS, MAX_STEPS
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from bpfload.btf.index import Btf

_E2BIG = 7
#: Members that may be looked at for one struct: a malformed BTF may nest without end.
_MAX_MEMBERS = 1 << 18


class Field:
    """A named member. `owner`: the struct that has it as member number `index`; `type_id`: its own type.

    `bit_offset`, `steps`: from the struct that was asked, through anonymous members.
    """

    __slots__ = ("bit_offset", "index", "owner", "steps", "type_id")

    def __init__(self, owner: int, index: int, type_id: int, bit_offset: int, steps: tuple[int, ...]) -> None:
        self.owner = owner
        self.index = index
        self.type_id = type_id
        self.bit_offset = bit_offset
        self.steps = steps


_KNOWN: WeakKeyDictionary[Btf, dict[int, dict[str, Field]]] = WeakKeyDictionary()


def fields_of(btf: Btf, type_id: int) -> dict[str, Field]:
    """Return the named members of a struct or union. Raises FormatError (E2BIG) if it is nested too deeply.

    `type_id`: of the struct itself, not of a typedef. Of two members with one name, the first is meant.
    """
    known = _KNOWN.get(btf)
    if known is None:
        known = _KNOWN[btf] = {}
    fields = known.get(type_id)
    if fields is None:
        fields = known[type_id] = {}
        try:
            _collect(btf, type_id, 0, (), fields, [_MAX_MEMBERS])
        except FormatError:
            del known[type_id]
            raise
    return fields


def _collect(
    btf: Btf, type_id: int, bit_offset: int, steps: tuple[int, ...], fields: dict[str, Field], budget: list[int]
) -> None:
    found = btf.type(type_id)
    budget[0] -= found.vlen
    if len(steps) >= MAX_STEPS or budget[0] < 0:
        raise FormatError(f"BTF type {type_id}: structs are nested too deeply", file=btf.name, errno_code=_E2BIG)
    for index, member in enumerate(found.members):
        offset = bit_offset + member.offset_bits
        path = (*steps, index)
        if member.name:
            if member.name not in fields:
                fields[member.name] = Field(type_id, index, member.type_id, offset, path)
            continue
        inner = btf.resolve(member.type_id)
        if btf.kind(inner) in COMPOSITE_KINDS:
            _collect(btf, inner, offset, path, fields, budget)
