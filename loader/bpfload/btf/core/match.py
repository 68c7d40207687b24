"""Finding a local spec in a target type.

Source: bpf_core_spec_match() and bpf_core_match_member() in tools/lib/bpf/relo_core.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.core import compat
from bpfload.btf.core.fields import fields_of
from bpfload.btf.core.spec import (
    COMPOSITE_KINDS,
    ENUM_KINDS,
    ENUMVAL_KINDS,
    MAX_STEPS,
    TYPE_KINDS,
    TYPE_MATCHES,
    Accessor,
    Spec,
    is_flexible_array,
)
from bpfload.btf.names_index import essential_name
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from bpfload.btf.index import Btf


class Mismatch:
    """Why a spec isn't in a target type. `step`: index of the accessor that failed, -1 for the type as a whole.

    `type_id`: what the target has at that point. `reason`: "missing" (no such member or enum name), "type" (of another
    type), "bounds" (index past the array's end), "shape" (a struct, enum or array was needed there).
    """

    __slots__ = ("reason", "step", "type_id")

    def __init__(self, step: int, type_id: int, reason: str) -> None:
        self.step = step
        self.type_id = type_id
        self.reason = reason


def match(local: Spec, target: Btf, type_id: int) -> Spec | Mismatch:
    """Return the counterpart of a local spec in a target type, or why there is none. Raises FormatError."""
    spec = Spec(target, type_id, local.kind)
    if local.kind in TYPE_KINDS:
        compare = compat.types_match if local.kind == TYPE_MATCHES else compat.types_are_compatible
        return spec if compare(local.btf, local.type_id, target, type_id) else Mismatch(-1, type_id, "type")
    mismatch = _match_value(local, spec) if local.kind in ENUMVAL_KINDS else _match_path(local, spec)
    return mismatch or spec


def _match_value(local: Spec, spec: Spec) -> Mismatch | None:
    type_id = spec.btf.resolve(spec.type_id)
    found = spec.btf.type(type_id)
    if found.kind not in ENUM_KINDS:
        return Mismatch(0, type_id, "shape")
    name = essential_name(local.accessors[0].name or "")
    for index, value in enumerate(found.values):
        if essential_name(value.name) == name:
            spec.accessors.append(Accessor(type_id, index, value.name))
            spec.steps.append(index)
            return None
    return Mismatch(0, type_id, "missing")


def _match_path(local: Spec, spec: Spec) -> Mismatch | None:
    btf = spec.btf
    type_id = spec.type_id
    for number, accessor in enumerate(local.accessors):
        type_id = btf.resolve(type_id)
        if accessor.name is not None:
            following = _match_member(local, accessor, spec, type_id)
        else:
            # The first step counts in elements of the root type itself: a pointer to it may point into an array.
            following = _match_element(accessor, spec, type_id) if number else type_id
            if isinstance(following, int):
                _add_element(spec, following, accessor.index)
        if isinstance(following, str):
            return Mismatch(number, type_id, following)
        type_id = following
    return None


def _check_room(spec: Spec, steps: int) -> None:
    if len(spec.steps) + steps > MAX_STEPS:
        raise FormatError(f"BTF type {spec.type_id}: structs are nested too deeply", file=spec.btf.name, errno_code=7)


def _match_member(local: Spec, accessor: Accessor, spec: Spec, type_id: int) -> int | str:
    """Return the type id of the member in the target, or why there is none."""
    btf = spec.btf
    if btf.kind(type_id) not in COMPOSITE_KINDS:
        return "shape"
    _check_room(spec, 1)
    name = accessor.name or ""
    field = fields_of(btf, type_id).get(name)
    if field is None:
        return "missing"
    _check_room(spec, len(field.steps))
    wanted = local.btf.type(accessor.type_id).members[accessor.index].type_id
    if not compat.fields_are_compatible(local.btf, wanted, btf, field.type_id):
        return "type"
    spec.accessors.append(Accessor(field.owner, field.index, name))
    spec.steps += field.steps
    spec.move(field.bit_offset)
    return field.type_id


def _match_element(accessor: Accessor, spec: Spec, type_id: int) -> int | str:
    """Return the type id of the element in the target, or why there is none."""
    btf = spec.btf
    found = btf.type(type_id)
    if found.kind != t.KIND_ARRAY:
        return "shape"
    if accessor.index >= found.nelems and not is_flexible_array(btf, spec.accessors[-1], found):
        return "bounds"
    return btf.resolve(found.elem)


def _add_element(spec: Spec, type_id: int, index: int) -> None:
    _check_room(spec, 1)
    spec.accessors.append(Accessor(type_id, index))
    spec.steps.append(index)
    spec.move(index * spec.btf.size_of(type_id) * 8)
