"""What a CO-RE relocation refers to: a type, or a path of members and array elements from it, or a name of an enum.

Source: bpf_core_parse_spec() in tools/lib/bpf/relo_core.c; enum bpf_core_relo_kind in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import BpfError, LinkError

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf.index import Btf

FIELD_BYTE_OFFSET = 0
FIELD_BYTE_SIZE = 1
FIELD_EXISTS = 2
FIELD_SIGNED = 3
FIELD_LSHIFT_U64 = 4
FIELD_RSHIFT_U64 = 5
TYPE_ID_LOCAL = 6
TYPE_ID_TARGET = 7
TYPE_EXISTS = 8
TYPE_SIZE = 9
ENUMVAL_EXISTS = 10
ENUMVAL_VALUE = 11
TYPE_MATCHES = 12

#: Index: kind of relocation. As libbpf's messages spell them.
KIND_NAMES = (
    "byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64", "local_type_id", "target_type_id",
    "type_exists", "type_size", "enumval_exists", "enumval_value", "type_matches",
)  # fmt: skip

FIELD_KINDS = frozenset(range(FIELD_BYTE_OFFSET, FIELD_RSHIFT_U64 + 1))
TYPE_KINDS = frozenset((TYPE_ID_LOCAL, TYPE_ID_TARGET, TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES))
ENUMVAL_KINDS = frozenset((ENUMVAL_EXISTS, ENUMVAL_VALUE))

#: Steps of a path, anonymous members included.
MAX_STEPS = 64
COMPOSITE_KINDS = frozenset((t.KIND_STRUCT, t.KIND_UNION))
ENUM_KINDS = frozenset((t.KIND_ENUM, t.KIND_ENUM64))


class Accessor:
    """One step of a path that has a meaning in C: a named member, or an element of an array (`name` is None).

    `type_id`: the struct that has the member, or the element's type. `index`: of the member or element.
    """

    __slots__ = ("index", "name", "type_id")

    def __init__(self, type_id: int, index: int, name: str | None = None) -> None:
        self.type_id = type_id
        self.index = index
        self.name = name


class Spec:
    """A relocation's subject in one BTF.

    `type_id`: the root type. `kind`: of the relocation. `accessors`: the path; the first is the element of the array that a
    pointer to the root type points to, or the name of an enum. `steps`: the path with anonymous members, each an index.
    `bit_offset`: where the path leads to, from the start of the root type, modulo 2**32.
    """

    __slots__ = ("accessors", "bit_offset", "btf", "kind", "steps", "type_id")

    def __init__(self, btf: Btf, type_id: int, kind: int) -> None:
        self.btf = btf
        self.type_id = type_id
        self.kind = kind
        self.accessors: list[Accessor] = []
        self.steps: list[int] = []
        self.bit_offset = 0

    def move(self, bits: int) -> None:
        """Add to `bit_offset`."""
        self.bit_offset = self.bit_offset + bits & 0xFFFFFFFF


def kind_name(kind: int) -> str:
    """Return the name of a kind of relocation."""
    return KIND_NAMES[kind] if 0 <= kind < len(KIND_NAMES) else f"kind {kind}"


def is_flexible_array(btf: Btf, before: Accessor, array: t.Type) -> bool:
    """Return whether an array without elements is the last member of its struct. `before`: the step that led to the array."""
    if before.name is None or array.nelems > 0:
        return False
    return before.index == btf.type(before.type_id).vlen - 1


def parse(btf: Btf, type_id: int, access: str, kind: int) -> Spec:
    """Parse a relocation's access string, such as "0:1:2", against the object's types. Raises LinkError."""
    spec = Spec(btf, type_id, kind)
    try:
        _parse_into(spec, access)
    except LinkError:
        raise
    except BpfError as error:
        _fail(spec, access, error.message)
    return spec


def _fail(spec: Spec, access: str, reason: str) -> NoReturn:
    found = spec.btf.type(spec.type_id)
    kind = t.KIND_NAMES[found.kind].lower()
    name = found.name or "<anonymous>"
    raise LinkError(f"malformed CO-RE relocation {kind_name(spec.kind)} of {kind} {name}, access {access!r}: {reason}")


def _parse_into(spec: Spec, access: str) -> None:
    if spec.kind in TYPE_KINDS:
        if access != "0":
            _fail(spec, access, 'a type is accessed by "0"')
        return
    spec.steps = _numbers(spec, access)
    btf = spec.btf
    type_id = btf.resolve(spec.type_id)
    if spec.kind in ENUMVAL_KINDS:
        values = btf.type(type_id).values
        if btf.kind(type_id) not in ENUM_KINDS or len(spec.steps) != 1 or spec.steps[0] >= len(values):
            _fail(spec, access, "it isn't a value of an enum")
        spec.accessors.append(Accessor(type_id, spec.steps[0], values[spec.steps[0]].name))
        return
    if spec.kind not in FIELD_KINDS:
        _fail(spec, access, "the kind of relocation is unknown")
    _follow(spec, access, type_id)


def _numbers(spec: Spec, access: str) -> list[int]:
    parts = access.split(":")
    if len(parts) > MAX_STEPS:
        _fail(spec, access, f"more than {MAX_STEPS} steps")
    if not all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts):
        _fail(spec, access, "it isn't numbers with colons between them")
    numbers = [int(part) for part in parts]
    if max(numbers) > 0x7FFFFFFF:
        _fail(spec, access, "an index is out of range")
    return numbers


def _follow(spec: Spec, access: str, type_id: int) -> None:
    """Follow the steps of a path from the root type."""
    btf = spec.btf
    spec.accessors.append(Accessor(type_id, spec.steps[0]))
    spec.move(spec.steps[0] * btf.size_of(type_id) * 8)
    for index in spec.steps[1:]:
        type_id = btf.resolve(type_id)
        found = btf.type(type_id)
        if found.kind in COMPOSITE_KINDS:
            if index >= found.vlen:
                _fail(spec, access, f"{found.name or 'the struct'} has only {found.vlen} members")
            member = found.members[index]
            spec.move(member.offset_bits)
            if member.name:
                spec.accessors.append(Accessor(type_id, index, member.name))
            type_id = member.type_id
        elif found.kind == t.KIND_ARRAY:
            if index >= found.nelems and not is_flexible_array(btf, spec.accessors[-1], found):
                _fail(spec, access, f"an array has only {found.nelems} elements")
            type_id = btf.resolve(found.elem)
            spec.accessors.append(Accessor(type_id, index))
            spec.move(index * btf.size_of(type_id) * 8)
        else:
            _fail(spec, access, f"type {type_id} has no members")
