"""Programs of a sockmap: verdicts and parsers for the messages and streams of the sockets in it.

Links to them are there since Linux 6.10. Source: sock_map_link_create() in net/core/sock_map.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach to the sockmap or sockhash behind `target.map_fd`."""
    if target.map_fd < 0:
        raise UsageError(f"program {spec.name!r}: no sockmap to attach to")
    try:
        return Link(bpf.link_create(program.fd, target.map_fd, spec.attach_type))
    except KernelError as error:
        from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN
        from bpfload.links.refusal import refused

        hint = ""
        if error.errno == errno.EBUSY:
            hint = "The map has such a program already."
        elif error.errno == errno.EINVAL:
            hint = "The map is no sockmap or sockhash, or this kernel (before 6.10) has no links to them."
        raise refused(error, f"attaching program {spec.name!r} to its map", CAP_BPF, CAP_NET_ADMIN, hint=hint) from None
