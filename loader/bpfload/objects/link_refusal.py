"""Why a link can't be updated or detached, in words: imported once the kernel has refused.

Which types can do what: struct bpf_link_ops in kernel/bpf/*.c, net/core/dev.c, net/core/sock_map.c, net/netfilter/nf_bpf_link.c,
drivers/net/netkit.c (`update_prog`, `update_map`, `detach`).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.abi.names import LINK_TYPE_NAMES
from bpfload.errors import BpfError, KernelError, NotSupportedError

if TYPE_CHECKING:
    from bpfload.objects.link import Link
    from bpfload.objects.link_info import LinkInfo

_UPDATABLE = frozenset(
    (
        consts.BPF_LINK_TYPE_CGROUP,
        consts.BPF_LINK_TYPE_ITER,
        consts.BPF_LINK_TYPE_NETNS,
        consts.BPF_LINK_TYPE_XDP,
        consts.BPF_LINK_TYPE_STRUCT_OPS,
        consts.BPF_LINK_TYPE_TCX,
        consts.BPF_LINK_TYPE_NETKIT,
        consts.BPF_LINK_TYPE_SOCKMAP,
    )
)
_CANNOT = (errno.EINVAL, errno.EOPNOTSUPP)


def update_refused(link: Link, error: KernelError) -> KernelError:
    """Return what a refused BPF_LINK_UPDATE means for this link."""
    info = _info(link)
    if info is None:
        return error
    kind = _kind(info)
    if info.type not in _UPDATABLE and error.errno in _CANNOT:
        return NotSupportedError(
            f"update of {kind} links",
            call=error.call,
            errno=error.errno or 0,
            hint="Attach the new program beside the old one, then close or unload the old link.",
        )
    hint = {
        errno.EPERM: f"It has program id {info.prog_id} now, which is not the expected one: somebody else has updated it.",
        errno.EINVAL: "The new program is of another type than the present one, or was loaded for another place.",
        errno.ENOLINK: "The link is detached already: what it was attached to is gone, or somebody has detached it.",
        errno.EEXIST: "The new program is attached there already.",
    }.get(error.errno or 0, "")
    return KernelError(error.call, error.errno or 0, f"updating {kind} link id {info.id} was refused", hint=hint or error.hint)


def detach_refused(link: Link, error: KernelError) -> KernelError:
    """Return what a refused BPF_LINK_DETACH means for this link."""
    info = _info(link) if error.errno in _CANNOT else None
    if info is None:
        return error
    return NotSupportedError(
        f"detaching of {_kind(info)} links",
        call=error.call,
        errno=error.errno or 0,
        hint="Such an attachment ends with its last holder: close the link, and remove its pins (bpfload unload PATH).",
    )


def _info(link: Link) -> LinkInfo | None:
    try:
        return link.info()
    except BpfError:
        return None


def _kind(info: LinkInfo) -> str:
    return LINK_TYPE_NAMES[info.type] if info.type < len(LINK_TYPE_NAMES) else f"type {info.type}"
