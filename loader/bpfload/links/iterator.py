"""Iterators: SEC("iter/TARGET"), over all of something in the kernel, or over a map's elements, one task's, one cgroup's.

Source: bpf_iter_link_attach() in kernel/bpf/bpf_iter.c; union bpf_iter_link_info in include/uapi/linux/bpf.h;
bpf_iter_attach_task() in kernel/bpf/task_iter.c, bpf_iter_attach_cgroup() in kernel/bpf/cgroup_iter.c.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.objects.iterator import IteratorLink
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

#: What the iterators that can be bound to something are bound to. Those that aren't here walk over everything.
BOUND_TO = {
    "bpf_map_elem": "map",
    "bpf_sk_storage_map": "map",
    "sockmap": "map",
    "task": "task",
    "task_file": "task",
    "task_vma": "task",
    "cgroup": "cgroup",
}
#: The ways to walk from a cgroup, by the names in `Target.cgroup_order`.
CGROUP_ORDERS = {
    "self": consts.BPF_CGROUP_ITER_SELF_ONLY,
    "descendants": consts.BPF_CGROUP_ITER_DESCENDANTS_PRE,
    "descendants_post": consts.BPF_CGROUP_ITER_DESCENDANTS_POST,
    "ancestors": consts.BPF_CGROUP_ITER_ANCESTORS_UP,
    "children": consts.BPF_CGROUP_ITER_CHILDREN,
}


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> IteratorLink:
    """Make the link that is read from.

    `target`: nothing for a walk over everything; `map_fd` of the map to walk; `tid` of a thread or `pid` of a process (0: this
    one) for those over tasks; `cgroup` (a directory, or the cgroup's id; "": the root) and `cgroup_order` ("": "descendants").
    Raises UsageError for what the iterator can't be bound to, which the kernel would ignore.
    """
    with ExitStack() as stack:
        info = _info(spec, target, stack)
        extra = pack("=QI4x", bpf.address(info), len(info)) if info else b""
        try:
            return IteratorLink(bpf.link_create(program.fd, 0, consts.BPF_TRACE_ITER, extra=extra))
        except KernelError as error:
            raise _explain(error, spec, target) from None


def _info(spec: ProgramSpec, target: Target, stack: ExitStack) -> bytes:
    """Return union bpf_iter_link_info, only as much of it as is needed: older kernels know less of it."""
    chosen = _chosen(spec, target)
    if chosen == "map":
        return pack("=I4x", target.map_fd)
    if chosen == "task":
        pid = os.getpid() if target.pid == 0 else max(target.pid, 0)
        return pack("=III", target.tid, pid, 0)
    if chosen == "cgroup":
        order = CGROUP_ORDERS.get(target.cgroup_order or "descendants")
        if order is None:
            raise UsageError(f"no order {target.cgroup_order!r} of cgroups", hint=f"There are: {', '.join(CGROUP_ORDERS)}.")
        if target.cgroup.isdigit():
            return pack("=IIQ", order, 0, int(target.cgroup))
        return pack("=IIQ", order, _opened(target.cgroup, stack) if target.cgroup else 0, 0)
    return b""


def _chosen(spec: ProgramSpec, target: Target) -> str:
    """Return what the iterator is to be bound to: "map", "task", "cgroup", or "" for a walk over everything."""
    given = [
        name
        for name, is_given in (
            ("map", target.map_fd >= 0),
            ("task", bool(target.tid) or target.pid >= 0),
            ("cgroup", bool(target.cgroup or target.cgroup_order)),
        )
        if is_given
    ]
    what = f"program {spec.name!r}"
    if len(given) > 1:
        raise UsageError(f"{what}: an iterator is bound to a {given[0]} or to a {given[1]}, not to both")
    if target.tid and target.pid >= 0:
        raise UsageError(f"{what}: an iterator is bound to a thread or to a process, not to both")
    wanted = BOUND_TO.get(spec.attach_target, "")
    if given and spec.attach_target and given[0] != wanted:
        takes = f"it takes a {wanted}" if wanted else "it walks over everything there is"
        raise UsageError(f"{what}: an iterator over {spec.attach_target} can't be bound to a {given[0]}; {takes}")
    # Without an order the kernel refuses an iterator over cgroups.
    return given[0] if given else "cgroup" if wanted == "cgroup" else ""


def _opened(path: str, stack: ExitStack) -> int:
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotFoundError(f"no cgroup {path}: {reason}", errno_code=error.errno or errno.ENOENT) from None
    stack.callback(os.close, directory)
    return directory


def _explain(error: KernelError, spec: ProgramSpec, target: Target) -> KernelError:
    from bpfload.links.refusal import refused

    hint = ""
    code, wanted = error.errno, BOUND_TO.get(spec.attach_target, "")
    if wanted == "map" and target.map_fd < 0 and code in (errno.EBADF, errno.EINVAL):
        hint = "An iterator over elements needs the map whose elements they are."
    elif wanted == "map" and code == errno.EINVAL:
        hint = "Maps of this type can't be walked by this iterator."
    elif wanted == "map" and code == errno.EACCES:
        hint = "The program reads more of a key or value than the map has."
    elif wanted == "task" and code in (errno.EINVAL, errno.E2BIG) and (target.tid or target.pid >= 0):
        hint = "Iterators over one task or process came with Linux 6.1."
    elif wanted == "cgroup" and code == errno.EINVAL and target.cgroup_order == "children":
        hint = "This kernel doesn't know the order 'children', which is newer than Linux 6.18."
    elif wanted == "cgroup" and target.cgroup and code in (errno.EBADF, errno.ENOENT):
        hint = f"{target.cgroup} is no cgroup."
    elif spec.flags & consts.BPF_F_SLEEPABLE and code == errno.EINVAL:
        hint = f"A sleepable program can't iterate over {spec.attach_target or 'this'}."
    return refused(error, f"attaching iterator {spec.name!r}", consts.CAP_BPF, consts.CAP_PERFMON, hint=hint)
