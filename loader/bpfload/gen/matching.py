"""Whether two objects mean the same thing by one name: the types of externs and their definitions, the definitions of maps.

Source: glob_sym_btf_matches(), map_defs_match() in tools/lib/bpf/linker.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.elf.btfmaps import parse_definition
from bpfload.elf.draft import Draft
from bpfload.errors import BpfError, LinkError
from bpfload.spec import MapSpec, ObjectSpec

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf import Btf, Type
    from bpfload.gen.source import SourceObject

_STRUCTS = (t.KIND_STRUCT, t.KIND_UNION)
_ENUMS = (t.KIND_ENUM, t.KIND_ENUM64)
_NAMED = (*_STRUCTS, *_ENUMS, t.KIND_FWD, t.KIND_FUNC, t.KIND_VAR)
_SIZED = (t.KIND_INT, t.KIND_FLOAT, *_ENUMS)
_MAX_DEPTH = 64

#: Fields of a map's definition that have to be the same, and what they are called.
_MAP_FIELDS = (
    ("type", "type"), ("key_size", "key_size"), ("value_size", "value_size"), ("max_entries", "max_entries"),
    ("flags", "map_flags"), ("extra", "map_extra"), ("numa_node", "numa_node"), ("pinning", "pinning"),
)  # fmt: skip


class Declared:
    """What one object says of a name: `source`, and the id of the VAR or FUNC in its BTF."""

    __slots__ = ("source", "type_id")

    def __init__(self, source: SourceObject, type_id: int) -> None:
        self.source = source
        self.type_id = type_id

    @property
    def btf(self) -> Btf:
        """The types of that object."""
        assert self.source.btf is not None
        return self.source.btf


def check_types(name: str, one: Declared, two: Declared) -> None:
    """Raise LinkError if two objects give a name types that can't be those of one thing."""
    _Comparison(name, one, two).compare(one.type_id, two.type_id)


def check_maps(name: str, one: Declared, two: Declared) -> None:
    """Raise LinkError if two objects define a map differently."""
    comparison = _Comparison(name, one, two)
    comparison.maps(_definition(name, one), _definition(name, two))


class _Comparison:
    def __init__(self, name: str, one: Declared, two: Declared) -> None:
        self.name = name
        self.one = one.btf
        self.two = two.btf
        self.files = (one.source.label, two.source.label)

    def fail(self, message: str) -> NoReturn:
        one, two = self.files
        raise LinkError(f"{self.name!r} is not the same in {one} and {two}: {message}", symbol=self.name)

    def compare(self, one_id: int, two_id: int, *, exact: bool = True, depth: int = 0) -> None:
        """Compare two types. `exact`: structs with all their members; behind a pointer the name will do."""
        if depth > _MAX_DEPTH:
            self.fail("its type is nested too deeply")
        one, two = self.one.type(self.one.resolve(one_id)), self.two.type(self.two.resolve(two_id))
        if not exact and t.KIND_FWD in (one.kind, two.kind) and one.kind != two.kind:
            self._declared(one, two)
            return
        if one.kind != two.kind:
            self.fail(f"{_words(one)} there, {_words(two)} here")
        if one.kind in _NAMED and one.name != two.name:
            self.fail(f"{_words(one)} there, {_words(two)} here")
        if one.kind in _SIZED and one.size != two.size:
            self.fail(f"{_words(one)} has {one.size} bytes there, {two.size} here")
        self._compare_inside(one, two, exact, depth + 1)

    def _declared(self, one: Type, two: Type) -> None:
        """Compare a struct that is only declared with one that is defined."""
        declared, defined = (one, two) if one.kind == t.KIND_FWD else (two, one)
        kind = t.KIND_UNION if declared.kind_flag else t.KIND_STRUCT
        if declared.name != defined.name or defined.kind != kind:
            self.fail(f"{_words(one)} there, {_words(two)} here")

    def _compare_inside(self, one: Type, two: Type, exact: bool, depth: int) -> None:
        kind = one.kind
        if kind == t.KIND_PTR:
            self.compare(one.type_id, two.type_id, exact=False, depth=depth)
        elif kind == t.KIND_ARRAY:
            self.compare(one.elem, two.elem, exact=exact, depth=depth)
        elif kind == t.KIND_FUNC or kind == t.KIND_VAR:
            if (one.linkage == t.LINKAGE_STATIC) != (two.linkage == t.LINKAGE_STATIC):
                self.fail("it is static in one of them")
            self.compare(one.type_id, two.type_id, exact=exact, depth=depth)
        elif kind in _STRUCTS:
            if exact:
                self._members(one, two, depth)
        elif kind == t.KIND_FUNC_PROTO:
            if one.vlen != two.vlen:
                self.fail(f"{one.vlen} parameters there, {two.vlen} here")
            for left, right in zip(one.params, two.params, strict=True):
                self.compare(left.type_id, right.type_id, exact=exact, depth=depth)
            self.compare(one.type_id, two.type_id, exact=exact, depth=depth)
        elif kind not in (t.KIND_VOID, t.KIND_FWD, *_SIZED):
            self.fail(f"a type that can't be compared: {t.KIND_NAMES[kind]}")

    def _members(self, one: Type, two: Type, depth: int) -> None:
        if one.vlen != two.vlen:
            self.fail(f"{_words(one)} has {one.vlen} members there, {two.vlen} here")
        for left, right in zip(one.members, two.members, strict=True):
            if left.name != right.name:
                self.fail(f"{_words(one)} has a member {left.name!r} there, {right.name!r} here")
            if (left.offset_bits, left.bitfield_size) != (right.offset_bits, right.bitfield_size):
                self.fail(f"member {left.name!r} of {_words(one)} is at another place")
            self.compare(left.type_id, right.type_id, depth=depth)

    def maps(self, one: MapSpec, two: MapSpec) -> None:
        """Compare two definitions of a map."""
        for field, words in _MAP_FIELDS:
            there, here = getattr(one, field), getattr(two, field)
            if there != here:
                self.fail(f"the map's {words} is {there} there, {here} here")
        for field, words in (("key_type_id", "key"), ("value_type_id", "value")):
            there, here = getattr(one, field), getattr(two, field)
            if bool(there) != bool(here):
                self.fail(f"the map's {words} has a type in one of them only")
            if there:
                self.compare(there, here)
        if (one.inner is None) != (two.inner is None):
            self.fail("the map has a definition of inner maps in one of them only")
        if one.inner is not None and two.inner is not None:
            self.maps(one.inner, two.inner)


def _definition(name: str, declared: Declared) -> MapSpec:
    """Return a map as one object defines it. Raises FormatError."""
    btf = declared.btf
    draft = Draft(declared.source.elf, ObjectSpec(name=declared.source.label, btf=btf))
    definition = btf.type(draft.resolve(btf.type(declared.type_id).type_id))
    spec = MapSpec(name)
    try:
        if definition.kind != t.KIND_STRUCT:
            declared.source.fail("it is not defined by a struct", section=".maps")
        parse_definition(draft, btf, definition, spec)
    except BpfError as error:
        raise error.within(f"map {name!r}") from None
    return spec


def _words(found: Type) -> str:
    """Return what a type is, in C's words as far as it has any."""
    words = {t.KIND_STRUCT: "struct", t.KIND_UNION: "union", t.KIND_ENUM: "enum", t.KIND_ENUM64: "enum"}
    words |= {t.KIND_FUNC_PROTO: "a function", t.KIND_PTR: "a pointer", t.KIND_ARRAY: "an array", t.KIND_VOID: "void"}
    words[t.KIND_FWD] = "union" if found.kind_flag else "struct"
    word = words.get(found.kind, "")
    return " ".join(part for part in (word, found.name if found.kind != t.KIND_VOID else "") if part) or "something else"
