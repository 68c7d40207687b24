"""Programs of a sockmap: verdicts and parsers for the messages and streams of the sockets in it.

By link (Linux 6.10), else without. A socket takes the map's programs when it is put into the map: after an update it has to
be taken out and put there again.

Source: sock_map_link_create() and sock_map_prog_update() in net/core/sock_map.c.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from collections.abc import Container

    from bpfload.links import Target
    from bpfload.links.fallback import ProgAttachment
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

_HINTS = {
    errno.EBUSY: "The map has such a program already, or one that excludes it (verdict and stream_verdict).",
    errno.EEXIST: "The map has such a program already.",
    errno.EINVAL: "The map is no sockmap or sockhash.",
    errno.EOPNOTSUPP: "The map is no sockmap or sockhash, or this kernel has none (CONFIG_BPF_STREAM_PARSER).",
}

_ATTACH_TYPES = {
    consts.BPF_PROG_TYPE_SK_MSG: (consts.BPF_SK_MSG_VERDICT,),
    consts.BPF_PROG_TYPE_SK_SKB: (
        consts.BPF_SK_SKB_STREAM_PARSER,
        consts.BPF_SK_SKB_STREAM_VERDICT,
        consts.BPF_SK_SKB_VERDICT,
    ),
}


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the sockmap or sockhash behind `target.map_fd`."""
    if target.map_fd < 0:
        raise UsageError(f"program {spec.name!r}: no sockmap to attach to")
    attach_type = _attach_type(spec, target)
    try:
        if target.link:
            try:
                return Link(bpf.link_create(program.fd, target.map_fd, attach_type))
            except KernelError as error:
                if error.errno != errno.EINVAL:
                    raise
        return _without_link(program, target.map_fd, attach_type)
    except KernelError as error:
        from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN
        from bpfload.links.refusal import refused

        hint = _HINTS.get(error.errno or 0, "")
        raise refused(error, f"attaching program {spec.name!r} to its map", CAP_BPF, CAP_NET_ADMIN, hint=hint) from None


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment | None:
    """Return the attachment of this program to the map behind `target.map_fd`; None if there is none.

    Before Linux 5.17 the kernel can't be asked, and the caller is believed.
    """
    from bpfload.links.fallback import attached_programs, program_id

    attach_type, ident = _attach_type(spec, target), program_id(program)
    if ident not in attached_programs(target.map_fd, attach_type, lambda: ident):
        return None
    return _attachment(program, target.map_fd, attach_type)


def find_everywhere(program: KernelObject, ident: int, kind: int, linked: Container[tuple[int, int]]) -> list[ProgAttachment]:
    """Return the attachments without link of a program, by its id and type, to all sockmaps and sockhashes.

    `linked`: (map id, attach type) where a link has it. Before Linux 5.17 the kernel can't be asked: nothing is found.
    """
    from bpfload.objects.info import map_info

    found: list[ProgAttachment] = []
    number: int | None = 0
    while (number := bpf.map_get_next_id(number or 0)) is not None:
        try:
            map_fd = bpf.map_get_fd_by_id(number)
        except KernelError:
            continue
        try:
            if map_info(map_fd).type not in (consts.BPF_MAP_TYPE_SOCKMAP, consts.BPF_MAP_TYPE_SOCKHASH):
                continue
            found += [
                _attachment(program, map_fd, attach_type)
                for attach_type in _ATTACH_TYPES[kind]
                if (number, attach_type) not in linked and ident in _attached(map_fd, attach_type)
            ]
        finally:
            os.close(map_fd)
    return found


def _attached(map_fd: int, attach_type: int) -> list[int]:
    try:
        return bpf.prog_query(map_fd, attach_type)[0]
    except KernelError:  # EBUSY: the map has a program that excludes such; EINVAL: it can't be asked
        return []


def _attach_type(spec: ProgramSpec, target: Target) -> int:
    if target.attach_type >= 0:
        return target.attach_type
    if spec.type == consts.BPF_PROG_TYPE_SK_MSG:
        return consts.BPF_SK_MSG_VERDICT
    if spec.type == consts.BPF_PROG_TYPE_SK_SKB and spec.attach_type:
        return spec.attach_type
    raise UsageError(
        f"program {spec.name!r}: neither SEC() nor the caller says what it is to do for the map's sockets",
        hint='Name the attach type, or write SEC("sk_skb/stream_parser"), SEC("sk_skb/stream_verdict") or SEC("sk_skb/verdict").',
    )


def _without_link(program: KernelObject, map_fd: int, attach_type: int) -> Attachment:
    from bpfload.links.fallback import attached_programs

    if any(attached_programs(map_fd, attach_type, lambda: 0)):  # it would be replaced
        raise KernelError("BPF_PROG_ATTACH", errno.EEXIST)
    bpf.prog_attach(program.fd, map_fd, attach_type)
    return _attachment(program, map_fd, attach_type)


def _attachment(program: KernelObject, map_fd: int, attach_type: int) -> ProgAttachment:
    from bpfload.links.fallback import ProgAttachment
    from bpfload.objects.info import map_info

    holder = os.dup(map_fd)
    return ProgAttachment(program, holder, attach_type, holder=holder, details={"map_id": map_info(holder).id})
