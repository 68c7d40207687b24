"""Iterators: SEC("iter/TARGET"), over all of something in the kernel, or over the elements of one map.

Source: bpf_iter_link_attach() in kernel/bpf/bpf_iter.c; union bpf_iter_link_info in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Make the link that `BPF_ITER_CREATE`, or a pin of it, reads from. `target.map_fd`: of the map to walk, if it is for one."""
    info = pack("=I4x", target.map_fd) if target.map_fd >= 0 else b""
    extra = pack("=QI4x", bpf.address(info), len(info)) if info else b""
    try:
        return Link(bpf.link_create(program.fd, 0, consts.BPF_TRACE_ITER, extra=extra))
    except KernelError as error:
        from bpfload.abi.consts import CAP_BPF, CAP_PERFMON
        from bpfload.links.refusal import refused

        hint = ""
        if error.errno in (errno.EBADF, errno.EINVAL) and spec.attach_target.startswith(("bpf_map_elem", "bpf_sk_storage")):
            hint = "An iterator over elements needs the map whose elements they are."
        raise refused(error, f"attaching iterator {spec.name!r}", CAP_BPF, CAP_PERFMON, hint=hint) from None
