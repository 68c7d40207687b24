"""Programs of a network namespace: flow dissector, socket lookup.

Source: netns_bpf_link_create() in kernel/bpf/net_namespace.c.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_OWN = "/proc/thread-self/ns/net"


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach to the network namespace at the path `target.netns`, or to the own one."""
    path = target.netns or _OWN
    try:
        namespace = os.open(path, os.O_RDONLY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotFoundError(f"no network namespace {path}: {reason}", errno_code=error.errno or errno.ENOENT) from None
    attach_type = spec.attach_type
    if spec.type == consts.BPF_PROG_TYPE_FLOW_DISSECTOR:
        attach_type = consts.BPF_FLOW_DISSECTOR
    try:
        return Link(bpf.link_create(program.fd, namespace, attach_type))
    except KernelError as error:
        from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN
        from bpfload.links.refusal import refused

        hint = ""
        if error.errno in (errno.EEXIST, errno.E2BIG):
            hint = "This namespace, or the initial one, has as many of them as it can have: see bpfload net list."
        what = f"attaching program {spec.name!r} to network namespace {path}"
        raise refused(error, what, CAP_BPF, CAP_NET_ADMIN, hint=hint) from None
    finally:
        os.close(namespace)
