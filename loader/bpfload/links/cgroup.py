"""Programs of a control group: packets, sockets, addresses, options, devices, sysctl, LSM.

Source: cgroup_bpf_link_attach() in kernel/bpf/cgroup.c.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach to the cgroup (version 2) with the directory `target.cgroup`."""
    if not target.cgroup:
        raise UsageError(f"program {spec.name!r}: no cgroup to attach to", hint="Name the directory of one.")
    try:
        directory = os.open(target.cgroup, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotFoundError(f"no cgroup {target.cgroup}: {reason}", errno_code=error.errno or errno.ENOENT) from None
    try:
        return Link(bpf.link_create(program.fd, directory, spec.attach_type))
    except KernelError as error:
        raise _explain(error, spec, target) from None
    finally:
        os.close(directory)


def _explain(error: KernelError, spec: ProgramSpec, target: Target) -> KernelError:
    from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN
    from bpfload.kernel.mounts import cgroup2_root
    from bpfload.links.refusal import refused

    hint = ""
    if error.errno == errno.EBADF:
        root = cgroup2_root()
        where = f"it is mounted at {root}" if root else "it is mounted nowhere"
        hint = f"{target.cgroup} is no directory of the cgroup2 file system; {where}."
    elif error.errno == errno.EPERM:
        hint = "A cgroup above has a program at this hook that allows no other (neither multi nor override)."
        from bpfload.kernel.capabilities import missing, permission_hint

        if missing(CAP_BPF, CAP_NET_ADMIN):
            hint = permission_hint(CAP_BPF, CAP_NET_ADMIN)
    return refused(error, f"attaching program {spec.name!r} to cgroup {target.cgroup}", CAP_BPF, CAP_NET_ADMIN, hint=hint)
