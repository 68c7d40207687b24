"""What an object file says about its programs' place in a chain: libxdp's XDP_RUN_CONFIG().

Source: xdp_program__parse_btf() in lib/libxdp/libxdp.c; headers/xdp/xdp_helpers.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf.types import KIND_ARRAY, KIND_DATASEC, KIND_PTR, KIND_STRUCT
from bpfload.dispatcher.protocol import ACTIONS, Slot
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from bpfload.btf import Btf

_SECTION = ".xdp_run_config"


def run_config(btf: Btf | None, program: str) -> Slot:
    """Return priority and actions that the variable ``_program`` in .xdp_run_config gives, the usual ones without it.

    Each is the length of an array that a member points to: ``priority``, ``XDP_PASS``, ``XDP_DROP``, … Raises FormatError.
    """
    section = btf.find(_SECTION, KIND_DATASEC) if btf is not None else 0
    if btf is None or not section:
        return Slot()
    for variable in btf.type(section).variables:
        found = btf.type(variable.type_id)
        if found.name == f"_{program}":
            return _read(btf, btf.resolve(found.type_id), program)
    return Slot()


def _read(btf: Btf, struct: int, program: str) -> Slot:
    definition = btf.type(struct)
    if definition.kind != KIND_STRUCT:
        raise FormatError(f"the run configuration of {program!r} is no struct", file=btf.name, section=_SECTION)
    names = {f"XDP_{name.upper()}": bit for bit, name in enumerate(ACTIONS)}
    slot = Slot()
    priority, actions = slot.priority, slot.actions
    for member in definition.members:
        number = _length(btf, member.type_id, f"{program}.{member.name}")
        if member.name == "priority":
            priority = number
        elif member.name in names:
            bit = 1 << names[member.name]
            actions = actions | bit if number else actions & ~bit
        else:
            known = ", ".join(["priority", *names])
            message = f"the run configuration of {program!r} has a member {member.name!r}; there can be {known}"
            raise FormatError(message, file=btf.name, section=_SECTION)
    return Slot(priority, actions)


def _length(btf: Btf, type_id: int, path: str) -> int:
    pointer = btf.type(btf.resolve(type_id))
    array = btf.type(btf.resolve(pointer.type_id)) if pointer.kind == KIND_PTR else pointer
    if pointer.kind != KIND_PTR or array.kind != KIND_ARRAY:
        raise FormatError(
            f"{path} is no number in the form of a map's",
            file=btf.name,
            section=_SECTION,
            hint="Write it with __uint() from bpf_helpers.h: __uint(priority, 10); __uint(XDP_DROP, 1).",
        )
    return array.nelems
