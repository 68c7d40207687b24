"""Rows of the table of attachments: devices, control groups, namespaces, sockets."""

from __future__ import annotations

from bpfload.abi import consts
from bpfload.links import Target
from support.link_kinds.kind import Kind, Place
from support.programs import program_spec


def _xdp_fields(place: Place, target: Target) -> dict[str, object]:
    return {"ifindex": place.veth.ifindex}


KINDS: tuple[Kind, ...] = (
    Kind(
        "xdp",
        program_spec,
        lambda place: Target(device=place.veth.device),
        consts.BPF_LINK_TYPE_XDP,
        ("xdp_link",),
        fields=_xdp_fields,
    ),
)
