"""The order in which types are taken up for a stable header: by rank of kind, then by name.

Source: btf_type_rank(), btf_type_sort_name(), btf_type_disambig_hash() and btf_type_compare() in tools/bpf/bpftool/btf.c; the
hash is libbpf's str_hash(). Two headers of one kernel version compare well because of this.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfload.btf.flat import FlatTypes

#: Types are taken up by rank; those of the last one only lead to definitions.
LAST_RANK = 10
_RANKS = {
    t.KIND_ENUM: 1, t.KIND_ENUM64: 1, t.KIND_INT: 2, t.KIND_FLOAT: 2, t.KIND_STRUCT: 3, t.KIND_UNION: 3, t.KIND_FUNC_PROTO: 4,
}  # fmt: skip
_ENUM_KINDS = (t.KIND_ENUM, t.KIND_ENUM64)
_LINK_KINDS = t.MODIFIER_KINDS | {t.KIND_PTR, t.KIND_TYPEDEF, t.KIND_DECL_TAG, t.KIND_ARRAY}
#: Kinds of which one with a name ranks before the last.
_RANKED_KINDS = (*_RANKS, t.KIND_TYPEDEF, t.KIND_TYPE_TAG)
MAX_CHAIN = 1024
_MASK = (1 << 64) - 1


def ranked(flat: FlatTypes) -> list[int]:
    """Return the types whose rank is before the last, sorted."""
    words, at, kinds, names = flat.words, flat.at, flat.kinds, flat.names
    last = chr(LAST_RANK)
    keys = {}
    for type_id in flat.ids_of(*_RANKED_KINDS):
        name = words[at[type_id] - 1]
        kind = kinds[type_id]
        if name and kind in _RANKS:
            text = names[name]
            keys[type_id] = f"{chr(_RANKS[kind])}{text}\0{text}"
        elif name or kind in _ENUM_KINDS:
            key = _key(flat, type_id)
            if key[0] != last:
                keys[type_id] = key
    return _sorted(flat, keys)


def by_name(flat: FlatTypes, type_ids: Iterable[int]) -> list[int]:
    """Return types sorted."""
    return _sorted(flat, {type_id: _key(flat, type_id) for type_id in type_ids})


def _sorted(flat: FlatTypes, keys: dict[int, str]) -> list[int]:
    found = sorted(keys, key=keys.__getitem__)  # stable, and `keys` goes by id
    if len(set(keys.values())) == len(keys):
        return found
    result: list[int] = []
    for _, group in groupby(found, keys.__getitem__):
        same = list(group)
        if len(same) > 1:
            hashes = {type_id: _hash(flat, type_id, True, 0) for type_id in same}
            same.sort(key=hashes.__getitem__)
        result += same
    return result


def _key(flat: FlatTypes, type_id: int) -> str:
    """Return what a type is sorted by, in one string: rank, name of the type that it leads to, own name."""
    own = flat.name(type_id)
    kind = flat.kinds[type_id]
    if kind in _ENUM_KINDS:
        sort_name = own
        if not own:
            rows = flat.rows(type_id, 2)
            sort_name = flat.names[rows[0]] if len(rows) else ""
        return f"{chr(1 if own else 0)}{sort_name}\0{own}"
    end = type_id
    if kind in _LINK_KINDS:
        for _ in range(MAX_CHAIN):
            end = flat.words[flat.at[end] + 2] if kind == t.KIND_ARRAY else flat.target(end)
            kind = flat.kinds[end]
            if kind not in _LINK_KINDS:
                break
        else:
            raise FormatError(f"BTF type {type_id}: its chain of types is too long, or refers to itself", file=flat.btf.name)
    name = flat.name(end)
    rank = _RANKS.get(kind, LAST_RANK) if own else LAST_RANK
    return f"{chr(rank)}{name}\0{own}"


def _hash(flat: FlatTypes, type_id: int, members: bool, depth: int) -> int:
    """Return what tells types of one name apart, whatever their ids: a hash of the names in them, 64 bits."""
    if not type_id:
        return 0
    if depth > MAX_CHAIN // 4:
        raise FormatError(f"BTF type {type_id}: types are nested too deeply", file=flat.btf.name)
    kind = flat.kinds[type_id]
    result = _add_name(0, flat.name(type_id))
    if kind in _ENUM_KINDS:
        for name in flat.rows(type_id, 2 if kind == t.KIND_ENUM else 3)[:: 2 if kind == t.KIND_ENUM else 3]:
            result = _add_name(result, flat.names[name])
    elif kind == t.KIND_STRUCT or kind == t.KIND_UNION:
        rows = flat.rows(type_id, 3) if members else ()
        for name, member in zip(rows[::3], rows[1::3], strict=True):
            result = _add_name(result, flat.names[name])
            result = result * 31 + _hash(flat, member, False, depth + 1) & _MASK
    elif kind == t.KIND_ARRAY:
        at = flat.at[type_id]
        result = result * 31 + flat.words[at + 4] & _MASK
        result = result * 31 + _hash(flat, flat.words[at + 2], members, depth + 1) & _MASK
    elif kind in _LINK_KINDS:
        result = result * 31 + _hash(flat, flat.target(type_id), members, depth + 1) & _MASK
    return result


def _add_name(result: int, name: str) -> int:
    if not name:
        return result
    number = 0
    for char in name.encode("latin-1"):
        number = number * 31 + (char - 256 if char > 127 else char) & _MASK  # C's char, which has a sign here
    return result * 31 + number & _MASK
