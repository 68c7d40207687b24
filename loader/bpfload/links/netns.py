"""Programs of a network namespace: flow dissector, socket lookup.

By link (flow dissector Linux 5.8, socket lookup 5.9); the flow dissector of the own namespace also without.

Source: netns_bpf_link_create() and netns_bpf_prog_attach() in kernel/bpf/net_namespace.c.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.links.fallback import ProgAttachment
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_OWN = "/proc/thread-self/ns/net"
_ATTACH_TYPES = {
    consts.BPF_PROG_TYPE_FLOW_DISSECTOR: consts.BPF_FLOW_DISSECTOR,
    consts.BPF_PROG_TYPE_SK_LOOKUP: consts.BPF_SK_LOOKUP,
}


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the network namespace at the path `target.netns`, or to the own one."""
    attach_type = _attach_type(spec)
    path = target.netns or _OWN
    namespace = _open(path)
    try:
        if target.link:
            try:
                return Link(bpf.link_create(program.fd, namespace, attach_type))
            except KernelError as error:
                if error.errno != errno.EINVAL or attach_type != consts.BPF_FLOW_DISSECTOR:
                    raise
        return _without_link(program, namespace, attach_type, path)
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


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment | None:
    """Return the attachment without link of this flow dissector to the own namespace; None if there is none."""
    from bpfload.links.fallback import program_id

    namespace = _open(target.netns or _OWN)
    try:
        ids, *_ = bpf.prog_query(namespace, _attach_type(spec))
        return _attachment(program, namespace, _attach_type(spec)) if program_id(program) in ids else None
    finally:
        os.close(namespace)


def find_own(program: KernelObject, ident: int, kind: int) -> ProgAttachment | None:
    """Return the attachment of a program, by its id and type, to the own namespace, where it is none by link; else None."""
    namespace, attach_type = _open(_OWN), _ATTACH_TYPES[kind]
    try:
        return _attachment(program, namespace, attach_type) if ident in bpf.prog_query(namespace, attach_type)[0] else None
    except KernelError:  # not allowed to ask, or a kernel that can't be asked
        return None
    finally:
        os.close(namespace)


def _attach_type(spec: ProgramSpec) -> int:
    if spec.type not in _ATTACH_TYPES:
        raise UsageError(f"program {spec.name!r} is no program of a network namespace")
    return _ATTACH_TYPES[spec.type]


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotFoundError(f"no network namespace {path}: {reason}", errno_code=error.errno or errno.ENOENT) from None


def _without_link(program: KernelObject, namespace: int, attach_type: int, path: str) -> Attachment:
    if attach_type != consts.BPF_FLOW_DISSECTOR:
        raise NotSupportedError(
            "way to attach an sk_lookup program without a link", call="BPF_PROG_ATTACH", hint="Leave out that it be without one."
        )
    own = os.stat(_OWN)
    if os.fstat(namespace).st_ino != own.st_ino:
        raise UsageError(
            f"without a link a flow dissector can only be attached to the own network namespace, which {path} is not",
            hint="Run it in there: ip netns exec NAME, or nsenter --net=PATH.",
        )
    if bpf.prog_query(namespace, attach_type)[0]:  # it would be replaced
        raise KernelError("BPF_PROG_ATTACH", errno.EEXIST)
    bpf.prog_attach(program.fd, 0, attach_type)
    return _attachment(program, namespace, attach_type)


def _attachment(program: KernelObject, namespace: int, attach_type: int) -> ProgAttachment:
    from bpfload.links.fallback import ProgAttachment

    holder = os.dup(namespace)
    details: dict[str, int | str | tuple[int, ...]] = {"netns_ino": os.fstat(namespace).st_ino}
    return ProgAttachment(program, 0, attach_type, holder=holder, query=holder, details=details)
