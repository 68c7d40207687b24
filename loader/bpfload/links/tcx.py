"""tcx: programs at the ingress and egress of a network device, in an order of one's choice (Linux 6.6).

Source: tcx_link_attach() and tcx_prog_attach() in kernel/bpf/tcx.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotSupportedError, UsageError
from bpfload.links.ordering import place_of, refusal_hint
from bpfload.links.refusal import older_than, refused
from bpfload.links.xdp import device_index
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_ENDS = {"ingress": consts.BPF_TCX_INGRESS, "egress": consts.BPF_TCX_EGRESS}


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the end `target.parent` of the device `target.device`, by default the one in SEC(), at the place `target.order`.

    Without link where `target.link` is False: that form can take the place of a program, `target.order.replace`.
    """
    return attach_in_order(program, spec, target, attach_type_of(spec, target, _ENDS), "tcx", (6, 6))


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment | None:
    """Return the attachment without link of this program at that end; None if there is none."""
    return find_in_order(program, target, attach_type_of(spec, target, _ENDS))


def attach_type_of(spec: ProgramSpec, target: Target, ends: dict[str, int]) -> int:
    """Return the end of a device to attach to: the one named by the target, else by SEC()."""
    if not target.device:
        raise UsageError(f"program {spec.name!r}: no device to attach to", hint="Name one with --dev, for example --dev eth0.")
    if target.parent:
        if target.parent not in ends:
            raise UsageError(f"no end {target.parent!r} of a device", hint=f"Its ends are {' and '.join(ends)}.")
        return ends[target.parent]
    chosen = target.attach_type if target.attach_type >= 0 else spec.attach_type
    if chosen not in ends.values():
        names = ", ".join(ends)
        raise UsageError(
            f"program {spec.name!r}: neither SEC() nor the caller says which end of the device", hint=f"Say {names}."
        )
    return chosen


def attach_in_order(
    program: KernelObject, spec: ProgramSpec, target: Target, attach_type: int, feature: str, since: tuple[int, int]
) -> Attachment:
    """Attach to a device whose programs have an order: tcx and netkit. `since`: the kernel that `feature` came with."""
    place = place_of(target.order)
    if target.link and target.order.replace >= 0:
        raise UsageError("a link can't take the place of a program", hint="Update the link that has it, or attach without link.")
    index = device_index(target.device)
    try:
        if target.link:
            return Link(bpf.link_create(program.fd, index, attach_type, place.flags, extra=place.extra))
        return _without_link(program, target, index, attach_type)
    except KernelError as error:
        if error.errno == errno.EINVAL and older_than(*since):
            raise NotSupportedError(feature, since=f"{since[0]}.{since[1]}", call=error.call, errno=errno.EINVAL) from None
        from bpfload.abi.consts import CAP_NET_ADMIN

        hint = "This very program is there already." if error.errno == errno.EEXIST else refusal_hint(error, target.order)
        if error.errno == errno.EBUSY:
            hint = "What is to be replaced is there by a link: update that."
        raise refused(error, f"attaching program {spec.name!r} to {target.device}", CAP_NET_ADMIN, hint=hint) from None


def find_in_order(program: KernelObject, target: Target, attach_type: int) -> Attachment | None:
    """Return the attachment without link of a program at that end of a device; None if there is none."""
    from bpfload.links.fallback import ProgAttachment, program_id

    index = device_index(target.device)
    ids, _, _, links, _ = bpf.prog_query(index, attach_type)
    without_link = [ident for ident, link in zip(ids, links, strict=True) if not link]
    if program_id(program) not in without_link:
        return None
    return ProgAttachment(program, index, attach_type, in_place=True, details={"ifindex": index})


def _without_link(program: KernelObject, target: Target, index: int, attach_type: int) -> Attachment:
    from bpfload.links.fallback import ProgAttachment

    place, replaced = place_of(target.order), target.order.replace
    bpf.prog_attach(
        program.fd,
        index,
        attach_type,
        place.flags | (consts.BPF_F_REPLACE if replaced >= 0 else 0),
        replace_fd=max(replaced, 0),
        relative=place.relative,
        expected_revision=place.revision,
    )
    return ProgAttachment(program, index, attach_type, in_place=True, details={"ifindex": index})
