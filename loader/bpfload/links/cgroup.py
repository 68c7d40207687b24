"""Programs of a control group: packets, sockets, addresses, options, devices, sysctl, LSM.

By link (Linux 5.7), which shares the hook with other programs; without link on request and on older kernels: alone, with
`override` (a cgroup below may have another program instead), or `multi` (both run).

Source: cgroup_bpf_link_attach() and __cgroup_bpf_attach() in kernel/bpf/cgroup.c.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.links.ordering import Place, place_of, refusal_hint
from bpfload.links.refusal import older_than, refused
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from collections.abc import Container

    from bpfload.links import Target
    from bpfload.links.fallback import ProgAttachment
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

# Hooks by program type, for a program whose SEC() isn't known: the kernel doesn't tell what a program was verified for, but it
# refuses all others. One of them is no question.
_HOOKS: dict[int, tuple[int, ...]] = {
    consts.BPF_PROG_TYPE_CGROUP_SOCK: (
        consts.BPF_CGROUP_INET_SOCK_CREATE,
        consts.BPF_CGROUP_INET_SOCK_RELEASE,
        consts.BPF_CGROUP_INET4_POST_BIND,
        consts.BPF_CGROUP_INET6_POST_BIND,
    ),
    consts.BPF_PROG_TYPE_CGROUP_DEVICE: (consts.BPF_CGROUP_DEVICE,),
    consts.BPF_PROG_TYPE_CGROUP_SYSCTL: (consts.BPF_CGROUP_SYSCTL,),
    consts.BPF_PROG_TYPE_SOCK_OPS: (consts.BPF_CGROUP_SOCK_OPS,),
    consts.BPF_PROG_TYPE_LSM: (consts.BPF_LSM_CGROUP,),
    consts.BPF_PROG_TYPE_CGROUP_SOCKOPT: (consts.BPF_CGROUP_GETSOCKOPT, consts.BPF_CGROUP_SETSOCKOPT),
    consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: (
        consts.BPF_CGROUP_INET4_BIND,
        consts.BPF_CGROUP_INET6_BIND,
        consts.BPF_CGROUP_INET4_CONNECT,
        consts.BPF_CGROUP_INET6_CONNECT,
        consts.BPF_CGROUP_UNIX_CONNECT,
        consts.BPF_CGROUP_UDP4_SENDMSG,
        consts.BPF_CGROUP_UDP6_SENDMSG,
        consts.BPF_CGROUP_UNIX_SENDMSG,
        consts.BPF_CGROUP_UDP4_RECVMSG,
        consts.BPF_CGROUP_UDP6_RECVMSG,
        consts.BPF_CGROUP_UNIX_RECVMSG,
        consts.BPF_CGROUP_INET4_GETPEERNAME,
        consts.BPF_CGROUP_INET6_GETPEERNAME,
        consts.BPF_CGROUP_UNIX_GETPEERNAME,
        consts.BPF_CGROUP_INET4_GETSOCKNAME,
        consts.BPF_CGROUP_INET6_GETSOCKNAME,
        consts.BPF_CGROUP_UNIX_GETSOCKNAME,
    ),
}

_SOCKET_BUFFERS = (consts.BPF_CGROUP_INET_INGRESS, consts.BPF_CGROUP_INET_EGRESS)


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the cgroup (version 2) with the directory `target.cgroup`, at the place `target.order` among its programs."""
    if target.multi and target.override:
        raise UsageError("multi and override contradict each other", hint="Choose one of the two.")
    if target.link and (target.multi or target.override):
        raise UsageError("multi and override are for attachments without a link", hint="A link is always multi.")
    place = place_of(target.order)
    directory = _open(spec, target)
    try:
        return _at_first_that_fits(program, spec, target, directory, place)
    except KernelError as error:
        if error.errno == errno.EINVAL and _is_there(program, spec, target, directory):
            error.hint = "This very program is there already."
        raise _explain(error, spec, target) from None
    finally:
        os.close(directory)


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment | None:
    """Return the attachment without link of this program to the cgroup; None if there is none.

    The kernel doesn't tell which of a cgroup's programs are there by a link: for such a one, `detach` will be refused.
    """
    from bpfload.links.fallback import program_id

    directory, ident = _open(spec, target), program_id(program)
    try:
        for attach_type in _attach_types(spec, target):
            ids, flags, *_ = bpf.prog_query(directory, attach_type)
            if ident in ids:
                return _attachment(program, directory, attach_type, flags)
    finally:
        os.close(directory)
    return None


def find_everywhere(program: KernelObject, ident: int, kind: int, linked: Container[tuple[int, int]]) -> list[ProgAttachment]:
    """Return the attachments without link of a program, by its id and type, to the cgroups that this process sees.

    `linked`: (cgroup id, attach type) where a link has it.
    """
    from bpfload.kernel.mounts import cgroup2_root

    found: list[ProgAttachment] = []
    for place, _, _ in os.walk(cgroup2_root() or os.devnull):
        try:
            directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # it has just gone
            continue
        try:
            for attach_type in _SOCKET_BUFFERS if kind == consts.BPF_PROG_TYPE_CGROUP_SKB else _HOOKS[kind]:
                flags = _attached_with(ident, directory, attach_type)
                if flags is not None and (os.fstat(directory).st_ino, attach_type) not in linked:
                    found.append(_attachment(program, directory, attach_type, flags))
        finally:
            os.close(directory)
    return found


def _attached_with(ident: int, directory: int, attach_type: int) -> int | None:
    """Return the flags that a hook's programs are attached with, if the one with that id is among them."""
    try:
        ids, flags, *_ = bpf.prog_query(directory, attach_type)
    except KernelError:  # a hook that this kernel doesn't have, a cgroup that has just gone
        return None
    return flags if ident in ids else None


def _is_there(program: KernelObject, spec: ProgramSpec, target: Target, directory: int) -> bool:
    from bpfload.links.fallback import program_id

    try:
        ident = program_id(program)
        return any(ident in bpf.prog_query(directory, attach_type)[0] for attach_type in _attach_types(spec, target))
    except KernelError:
        return False


def _open(spec: ProgramSpec, target: Target) -> int:
    if not target.cgroup:
        raise UsageError(f"program {spec.name!r}: no cgroup to attach to", hint="Name the directory of one.")
    try:
        return os.open(target.cgroup, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotFoundError(f"no cgroup {target.cgroup}: {reason}", errno_code=error.errno or errno.ENOENT) from None


def _attach_types(spec: ProgramSpec, target: Target) -> tuple[int, ...]:
    """Return the hook to attach to, or those to try, where nobody says which."""
    if target.attach_type >= 0:
        return (target.attach_type,)
    if spec.attach_type or spec.section:
        if spec.section == "cgroup/skb":
            raise UsageError(
                f'program {spec.name!r}: SEC("cgroup/skb") doesn\'t say whether it is for ingress or egress',
                hint='Say which attach type, or write SEC("cgroup_skb/egress").',
            )
        if not spec.attach_type and spec.type not in (consts.BPF_PROG_TYPE_CGROUP_SKB, *_HOOKS):
            raise UsageError(f"program {spec.name!r} is no program of a cgroup")
        one = _HOOKS.get(spec.type, ())
        return one if len(one) == 1 else (spec.attach_type,)
    if spec.type not in _HOOKS:
        raise UsageError(
            f"program {spec.name!r}: nothing says which hook of a cgroup it is for",
            hint="Name the attach type, for example egress.",
        )
    return _HOOKS[spec.type]


def _at_first_that_fits(program: KernelObject, spec: ProgramSpec, target: Target, directory: int, place: Place) -> Attachment:
    attach_types = _attach_types(spec, target)
    for attach_type in attach_types[:-1]:
        try:
            return _attach_at(program, target, directory, attach_type, place)
        except KernelError as error:
            if error.errno != errno.EINVAL:
                raise
    return _attach_at(program, target, directory, attach_types[-1], place)


def _attach_at(program: KernelObject, target: Target, directory: int, attach_type: int, place: Place) -> Attachment:
    flags = consts.BPF_F_ALLOW_MULTI * target.multi | consts.BPF_F_ALLOW_OVERRIDE * target.override
    if target.link:
        if target.order.replace >= 0:
            raise UsageError(
                "a link can't take the place of a program", hint="Update the link that has it, or attach without link."
            )
        try:
            extra = place.extra
            if place.relative and not place.flags & consts.BPF_F_LINK:
                place = _neighbouring_link(directory, attach_type, place)
                extra = place.extra
            return Link(bpf.link_create(program.fd, directory, attach_type, place.flags, extra=extra))
        except KernelError as error:
            if error.errno != errno.EINVAL or not older_than(5, 7):
                raise
            flags = consts.BPF_F_ALLOW_MULTI  # as a link is
    elif target.order.before or target.order.after:
        flags |= consts.BPF_F_ALLOW_MULTI
    replaced = target.order.replace
    bpf.prog_attach(
        program.fd,
        directory,
        attach_type,
        flags | place.flags | (consts.BPF_F_REPLACE if replaced >= 0 else 0),
        replace_fd=max(replaced, 0),
        relative=place.relative,
        expected_revision=place.revision,
    )
    return _attachment(program, directory, attach_type, flags)


def _attachment(program: KernelObject, directory: int, attach_type: int, flags: int) -> ProgAttachment:
    from bpfload.links.fallback import ProgAttachment

    holder = os.dup(directory)
    # The number of a cgroup's directory is the cgroup's id.
    details: dict[str, int | str | tuple[int, ...]] = {"cgroup_id": os.fstat(directory).st_ino}
    multi = bool(flags & consts.BPF_F_ALLOW_MULTI)
    return ProgAttachment(program, holder, attach_type, flags, holder=holder, in_place=multi, details=details)


def _neighbouring_link(directory: int, attach_type: int, place: Place) -> Place:
    """Return a place next to the link that a program is attached by: in a cgroup a link can stand next to links only."""
    cgroup = os.fstat(directory).st_ino
    ident: int | None = 0
    while (ident := bpf.link_get_next_id(ident or 0)) is not None:
        try:
            with Link.from_id(ident) as link:
                info = link.info()
        except NotFoundError:
            continue
        if (info.type, info.prog_id) == (consts.BPF_LINK_TYPE_CGROUP, place.relative) and (
            (info.number("cgroup_id"), info.number("attach_type")) == (cgroup, attach_type)
        ):
            return place._replace(flags=place.flags | consts.BPF_F_LINK, relative=ident)
    raise UsageError(
        f"no link holds program id {place.relative} at this hook of the cgroup, and a link can only be ordered among links",
        hint="Attach without link to be next to a program that is there without one.",
    )


def _explain(error: KernelError, spec: ProgramSpec, target: Target) -> KernelError:
    from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN
    from bpfload.kernel.mounts import cgroup2_root

    hint = refusal_hint(error, target.order)
    if error.errno == errno.EBADF:
        root = cgroup2_root()
        where = f"it is mounted at {root}" if root else "it is mounted nowhere"
        hint = f"{target.cgroup} is no directory of the cgroup2 file system; {where}."
    elif error.errno == errno.EINVAL and not error.hint and (target.order.before or target.order.after or target.order.preorder):
        hint = (
            "Programs of a cgroup have a choice of places since Linux 6.17; one with preorder only stands next to another such."
        )
    elif error.errno == errno.EPERM:
        hint = (
            "This cgroup or one above has a program at this hook that allows no other (neither multi nor override), "
            "or has programs that are shared in another way."
        )
        from bpfload.kernel.capabilities import missing, permission_hint

        if missing(CAP_BPF, CAP_NET_ADMIN):
            hint = permission_hint(CAP_BPF, CAP_NET_ADMIN)
    return refused(error, f"attaching program {spec.name!r} to cgroup {target.cgroup}", CAP_BPF, CAP_NET_ADMIN, hint=hint)
