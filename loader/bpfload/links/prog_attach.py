"""BPF_PROG_ATTACH and BPF_PROG_DETACH for sockmaps and the flow dissector, as they are: what is attached already is replaced.

The hooks of this package (`sockmap`, `netns`) prefer links, which don't disturb each other.

Source: sock_map_get_from_fd(), sock_map_prog_detach() in net/core/sock_map.c; netns_bpf_prog_attach() and netns_bpf_prog_detach()
in kernel/bpf/net_namespace.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.objects.map import Map
    from bpfload.objects.program import Program

_OF_NETNS = {
    errno.EINVAL: "It is of another type than flow_dissector, or not what is attached there.",
    errno.EEXIST: "Another program is attached by a link, or in the initial network namespace.",
    errno.ENOENT: "It isn't attached there.",
}
_OF_MAPS = {
    errno.EINVAL: "The program is of another type, or the map is no sockmap or sockhash.",
    errno.EOPNOTSUPP: "The map is no sockmap or sockhash, or this kernel has none (CONFIG_BPF_STREAM_PARSER).",
    errno.EBUSY: "The map has a program that excludes this one (stream_verdict and skb_verdict exclude each other), or a link.",
    errno.ENOENT: "It isn't attached there.",
}


def attach(program: Program, attach_type: int, target: Map | None) -> None:
    """Attach a program to a sockmap or sockhash, or (`target` None) to the own network namespace. Raises KernelError."""
    _call(program, attach_type, target, detach=False)


def detach(program: Program, attach_type: int, target: Map | None) -> None:
    """Detach what `attach` attached. Raises KernelError."""
    _call(program, attach_type, target, detach=True)


def _call(program: Program, attach_type: int, target: Map | None, *, detach: bool) -> None:
    call = bpf.prog_detach if detach else bpf.prog_attach
    try:
        call(program.fd, target.fd if target is not None else 0, attach_type)
    except KernelError as error:
        from bpfload.links.refusal import refused

        where = "this network namespace" if target is None else f"map {target.info().id}"
        hints = _OF_NETNS if target is None else _OF_MAPS
        what = f"{'detaching' if detach else 'attaching'} program {program.info().id} {'from' if detach else 'to'} {where}"
        raise refused(error, what, consts.CAP_BPF, consts.CAP_NET_ADMIN, hint=hints.get(error.errno or 0, "")) from None
