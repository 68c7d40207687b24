"""Whether a local and a target type may stand for each other: three questions of different strictness.

Names of root types are compared by whoever picks the candidates, not here. Errors of either BTF are FormatErrors; types
that are nested too deeply to tell are too (EINVAL).

Source: bpf_core_fields_are_compat(), __bpf_core_types_are_compat() and __bpf_core_types_match() in tools/lib/bpf/relo_core.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.core.spec import COMPOSITE_KINDS, ENUM_KINDS
from bpfload.btf.names_index import essential_name
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf.index import Btf

_MAX_DEPTH = 32
_ALWAYS = frozenset((t.KIND_VOID, t.KIND_STRUCT, t.KIND_UNION, t.KIND_ENUM, t.KIND_ENUM64, t.KIND_FWD))
_NAMED = frozenset((t.KIND_FWD, t.KIND_ENUM, t.KIND_ENUM64))


def _too_deep(btf: Btf, type_id: int) -> NoReturn:
    raise FormatError(f"BTF type {type_id}: types are nested too deeply to be compared", file=btf.name)


def kinds_are_compatible(local: int, target: int) -> bool:
    """Return whether two kinds are the same, enum and enum64 taken as one."""
    return local == target or (local in ENUM_KINDS and target in ENUM_KINDS)


def _old_bit_field(kind: t.Type) -> bool:
    """Return whether an INT is a bit field in the form before kind_flag, which nobody relocates."""
    return kind.bit_offset != 0


def fields_are_compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Return whether members of these types may be one and the same member."""
    while True:
        mine, other = local.type(local.resolve(local_id)), target.type(target.resolve(target_id))
        kind = mine.kind
        if kind in COMPOSITE_KINDS and other.kind in COMPOSITE_KINDS:
            return True
        if not kinds_are_compatible(kind, other.kind):
            return False
        if kind == t.KIND_ARRAY:
            local_id, target_id = mine.elem, other.elem
            continue
        if kind == t.KIND_INT:
            return not _old_bit_field(mine) and not _old_bit_field(other)
        if kind in _NAMED:
            return not mine.name or not other.name or essential_name(mine.name) == essential_name(other.name)
        return kind in (t.KIND_PTR, t.KIND_FLOAT)


def types_are_compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Return whether two types are of the same shape as far as pointers, arrays and prototypes go; names don't matter."""
    return _Compatible(local, target).compare(local_id, target_id, _MAX_DEPTH)


def types_match(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Return whether the target has all that the local type says: members and enum names by name, integers by size and sign."""
    return _Match(local, target).compare(local_id, target_id, False, _MAX_DEPTH)


class _Compatible:
    def __init__(self, local: Btf, target: Btf) -> None:
        self.local = local
        self.target = target
        self.known: dict[tuple[int, int, int], bool] = {}

    def compare(self, local_id: int, target_id: int, level: int) -> bool:
        key = (local_id, target_id, level)
        if key not in self.known:
            self.known[key] = self._compare(local_id, target_id, level)
        return self.known[key]

    def _compare(self, local_id: int, target_id: int, level: int) -> bool:
        local, target = self.local, self.target
        if not kinds_are_compatible(local.kind(local_id), target.kind(target_id)):
            return False
        for _ in range(_MAX_DEPTH):
            mine, other = local.type(local.resolve(local_id)), target.type(target.resolve(target_id))
            kind = mine.kind
            if not kinds_are_compatible(kind, other.kind):
                return False
            if kind in _ALWAYS:
                return True
            if kind == t.KIND_INT:
                return not _old_bit_field(mine) and not _old_bit_field(other)
            if kind == t.KIND_ARRAY:
                local_id, target_id = mine.elem, other.elem
            elif kind == t.KIND_PTR:
                local_id, target_id = mine.type_id, other.type_id
            elif kind == t.KIND_FUNC_PROTO:
                if not self._params(mine, other, level):
                    return False
                local_id, target_id = mine.type_id, other.type_id
            else:
                return False
        _too_deep(local, local_id)

    def _params(self, mine: t.Type, other: t.Type, level: int) -> bool:
        if mine.vlen != other.vlen:
            return False
        for left, right in zip(mine.params, other.params, strict=True):
            if level <= 0:
                _too_deep(self.local, mine.id)
            if not self.compare(self.local.resolve(left.type_id), self.target.resolve(right.type_id), level - 1):
                return False
        return True


class _Match:
    def __init__(self, local: Btf, target: Btf) -> None:
        self.local = local
        self.target = target
        self.known: dict[tuple[int, int, bool, int], bool] = {}

    def compare(self, local_id: int, target_id: int, behind_pointer: bool, level: int) -> bool:
        key = (local_id, target_id, behind_pointer, level)
        if key not in self.known:
            self.known[key] = self._compare(local_id, target_id, behind_pointer, level)
        return self.known[key]

    def _compare(self, local_id: int, target_id: int, behind_pointer: bool, level: int) -> bool:
        local, target = self.local, self.target
        if level <= 0:
            _too_deep(local, local_id)
        for _ in range(_MAX_DEPTH):
            mine, other = local.type(local.resolve(local_id)), target.type(target.resolve(target_id))
            kind = mine.kind
            if not _names_match(mine.name if kind else "", other.name if other.kind else ""):
                return False
            if kind == t.KIND_FWD:
                return _forward_matches(mine, other, behind_pointer)
            if kind in COMPOSITE_KINDS:
                return self._composites(mine, other, behind_pointer, level)
            if kind in ENUM_KINDS:
                return other.kind in ENUM_KINDS and _enums_match(mine, other)
            if kind != other.kind:
                return False
            if kind == t.KIND_VOID:
                return True
            if kind == t.KIND_INT:
                return mine.size == other.size and mine.encoding & t.INT_SIGNED == other.encoding & t.INT_SIGNED
            if kind == t.KIND_PTR:
                behind_pointer = True
                local_id, target_id = mine.type_id, other.type_id
            elif kind == t.KIND_ARRAY:
                if mine.nelems != other.nelems:
                    return False
                local_id, target_id = mine.elem, other.elem
            elif kind == t.KIND_FUNC_PROTO:
                if not self._params(mine, other, behind_pointer, level):
                    return False
                local_id, target_id = mine.type_id, other.type_id
            else:
                return False
        _too_deep(local, local_id)

    def _params(self, mine: t.Type, other: t.Type, behind_pointer: bool, level: int) -> bool:
        if mine.vlen != other.vlen:
            return False
        pairs = zip(mine.params, other.params, strict=True)
        return all(self.compare(left.type_id, right.type_id, behind_pointer, level - 1) for left, right in pairs)

    def _composites(self, mine: t.Type, other: t.Type, behind_pointer: bool, level: int) -> bool:
        if behind_pointer:
            if mine.kind == other.kind:
                return True
            return other.kind == t.KIND_FWD and (mine.kind == t.KIND_UNION) == other.kind_flag
        if mine.kind != other.kind or mine.vlen > other.vlen:
            return False
        by_name: dict[str, list[t.Member]] = {}
        for member in other.members:
            by_name.setdefault(essential_name(member.name), []).append(member)
        for member in mine.members:
            partners = by_name.get(essential_name(member.name), ())
            if not any(self.compare(member.type_id, partner.type_id, False, level - 1) for partner in partners):
                return False
        return True


def _names_match(local: str, target: str) -> bool:
    return local == target or essential_name(local) == essential_name(target)


def _forward_matches(mine: t.Type, other: t.Type, behind_pointer: bool) -> bool:
    if other.kind == t.KIND_FWD:
        return mine.kind_flag == other.kind_flag
    return behind_pointer and other.kind == (t.KIND_UNION if mine.kind_flag else t.KIND_STRUCT)


def _enums_match(mine: t.Type, other: t.Type) -> bool:
    if mine.size != other.size or mine.vlen > other.vlen:
        return False
    names = {essential_name(value.name) for value in other.values}
    return all(essential_name(value.name) in names for value in mine.values)
