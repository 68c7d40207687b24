"""The number that a relocation asks for, of a spec in either BTF.

Source: bpf_core_calc_field_relo(), bpf_core_calc_type_relo() and bpf_core_calc_enumval_relo() in tools/lib/bpf/relo_core.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.core import spec as s
from bpfload.errors import FormatError, LinkError

if TYPE_CHECKING:
    from bpfload.btf.core.spec import Spec

_U32 = 0xFFFFFFFF
_U64 = 0xFFFFFFFFFFFFFFFF
_E2BIG = 7


class Value:
    """`number`: 64 bits, unsigned. `size`, `type_id`: of the field, where a load's width depends on it, else 0.

    `certain`: the compiler must have come to the same number, so the instruction can be checked against it.
    """

    __slots__ = ("certain", "number", "size", "type_id")

    def __init__(self, number: int, *, certain: bool = True, size: int = 0, type_id: int = 0) -> None:
        self.number = number
        self.certain = certain
        self.size = size
        self.type_id = type_id


def value_of(spec: Spec | None, kind: int) -> Value | None:
    """Return the value of a relocation of that kind for a spec, None for a spec that should stand for a missing field.

    None as spec means that the target has nothing that matches: some kinds have a value for that, of the others the
    instruction is poisoned, which returning None says. Raises LinkError or FormatError.
    """
    if kind in (s.FIELD_EXISTS, s.ENUMVAL_EXISTS):
        return Value(int(spec is not None))
    if kind in s.TYPE_KINDS:
        return _of_type(spec, kind)
    if spec is None:
        return None
    if kind == s.ENUMVAL_VALUE:
        return _of_enum(spec)
    if kind in s.FIELD_KINDS:
        return _of_field(spec, kind)
    raise LinkError(f"CO-RE relocation of unknown kind {kind}", errno_code=95)


def _of_type(spec: Spec | None, kind: int) -> Value:
    if spec is None:
        return Value(0)
    if kind in (s.TYPE_ID_LOCAL, s.TYPE_ID_TARGET):
        # The number in the instruction may be out of date after static linking.
        return Value(spec.type_id, certain=False)
    if kind == s.TYPE_SIZE:
        return Value(_size(spec, spec.type_id))
    return Value(1)


def _size(spec: Spec, type_id: int) -> int:
    try:
        return spec.btf.size_of(type_id)
    except FormatError as error:
        error.errno_code = 22
        raise


def _of_enum(spec: Spec) -> Value:
    accessor = spec.accessors[0]
    found = spec.btf.type(accessor.type_id)
    number = found.values[accessor.index].value
    if found.kind == t.KIND_ENUM and number & 0x80000000:
        # The 32 bits of a plain enum are extended as signed ones, whatever the enum says.
        number |= ~_U32
    return Value(number & _U64)


def _of_field(spec: Spec, kind: int) -> Value:
    accessor = spec.accessors[-1]
    if accessor.name is None:
        return _of_element(spec, kind, accessor.type_id)
    btf = spec.btf
    member = btf.type(accessor.type_id).members[accessor.index]
    type_id = btf.resolve(member.type_id)
    found = btf.type(type_id)
    bits = member.bitfield_size
    plain = not bits
    if plain:
        size = _size(spec, type_id)
        offset = spec.bit_offset // 8
        bits = size * 8
    else:
        offset, size = _load_of_bit_field(spec, found.size, bits)
    if kind == s.FIELD_SIGNED:
        enum = found.kind in s.ENUM_KINDS and found.kind_flag
        return Value(int(enum or bool(found.encoding & t.INT_SIGNED)))
    if kind == s.FIELD_BYTE_OFFSET:
        return Value(offset, certain=plain, size=size, type_id=type_id) if plain else Value(offset, certain=False)
    if kind == s.FIELD_BYTE_SIZE:
        return Value(size, certain=plain)
    if kind == s.FIELD_RSHIFT_U64:
        return Value(64 - bits & _U32)
    before = spec.bit_offset - offset * 8
    left = 64 - (before + bits) if btf.little_endian else (8 - size) * 8 + before
    return Value(left & _U32, certain=plain)


def _load_of_bit_field(spec: Spec, size: int, bits: int) -> tuple[int, int]:
    """Return offset and size in bytes of the smallest aligned load that covers a bit field, from its type's size up."""
    start = spec.bit_offset
    if not size:
        raise LinkError("CO-RE relocation of a bit field whose type has no size")
    while True:
        offset = start // 8 // size * size
        if start + bits <= (offset + size) * 8:
            return offset, size
        if size >= 8:
            raise LinkError("CO-RE relocation of a bit field that no 64-bit load can read", errno_code=_E2BIG)
        size *= 2


def _of_element(spec: Spec, kind: int, type_id: int) -> Value:
    if kind == s.FIELD_BYTE_OFFSET:
        return Value(spec.bit_offset // 8, size=_size(spec, type_id), type_id=type_id)
    if kind == s.FIELD_BYTE_SIZE:
        return Value(_size(spec, type_id))
    raise LinkError(f"CO-RE relocation {s.kind_name(kind)} can't be applied to an element of an array")
