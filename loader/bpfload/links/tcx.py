"""tcx: programs at the ingress and egress of a network device, in order, by link.

Source: tcx_link_attach() in kernel/bpf/tcx.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, NotSupportedError, UsageError
from bpfload.links.xdp import device_index
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach behind what the device `target.device` has at this end already."""
    if not target.device:
        raise UsageError(f"program {spec.name!r}: no device to attach to", hint="Name one.")
    index = device_index(target.device)
    try:
        return Link(bpf.link_create(program.fd, index, spec.attach_type))
    except KernelError as error:
        if error.errno == errno.EINVAL and _too_old():
            raise NotSupportedError("tcx", since="6.6", call=error.call, errno=errno.EINVAL) from None
        from bpfload.abi.consts import CAP_NET_ADMIN
        from bpfload.links.refusal import refused

        hint = "This very program is there already." if error.errno == errno.EEXIST else ""
        raise refused(error, f"attaching program {spec.name!r} to {target.device}", CAP_NET_ADMIN, hint=hint) from None


def _too_old() -> bool:
    """Whether the kernel has no tcx; it is the one kind of attachment whose absence looks like a mistake in the call."""
    import os

    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) < (6, 6)
