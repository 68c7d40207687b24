"""netkit: programs at the two ends of a netkit device pair, in an order of one's choice (Linux 6.7). Called as tcx is.

Both ends are attached to through the primary device: "peer" is what the other one sends.

Source: netkit_link_attach() in drivers/net/netkit.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.links.tcx import attach_in_order, attach_type_of, find_in_order

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_ENDS = {"primary": consts.BPF_NETKIT_PRIMARY, "peer": consts.BPF_NETKIT_PEER}


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the end `target.parent` of the netkit device `target.device`, by default the one in SEC(), at `target.order`."""
    return attach_in_order(program, spec, target, attach_type_of(spec, target, _ENDS), "netkit", (6, 7))


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment | None:
    """Return the attachment without link of this program at that end; None if there is none."""
    return find_in_order(program, target, attach_type_of(spec, target, _ENDS))
