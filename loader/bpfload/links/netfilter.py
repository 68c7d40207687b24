"""netfilter: a program among the hooks that iptables and nftables use (Linux 6.4). By link only.

Source: bpf_nf_link_attach() and bpf_nf_check_pf_and_hooks() in net/netfilter/nf_bpf_link.c; include/uapi/linux/netfilter.h.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotSupportedError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

#: NFPROTO_*, by the names of nft, ip and the kernel.
FAMILIES = {"ip": 2, "ipv4": 2, "inet4": 2, "ip6": 10, "ipv6": 10, "inet6": 10}

#: NF_INET_*.
HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}

# NF_IP_PRI_*, by the names of nft: below the number of one, a program runs before it.
PRIORITIES = {"raw": -300, "conntrack": -200, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}

# Packets are put together at this priority: what wants whole ones has to come later.
_DEFRAGMENTATION = -400
_LOWEST, _HIGHEST = -(1 << 31), (1 << 31) - 1


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Link:
    """Attach to the hook `target.hook` of `target.family`; lower `target.priority` runs first, each is there once.

    `target.defragment`: have fragments of packets put together before (Linux 6.6).
    """
    family, hook = _numbers(spec, target)
    flags = consts.BPF_F_NETFILTER_IP_DEFRAG if target.defragment else 0
    extra = pack("=IIiI", family, hook, target.priority, flags)
    try:
        return Link(bpf.link_create(program.fd, 0, consts.BPF_NETFILTER, extra=extra))
    except KernelError as error:
        raise _explain(error, spec, target) from None


def _numbers(spec: ProgramSpec, target: Target) -> tuple[int, int]:
    """Return a hook in the kernel's numbers. Raises UsageError for what the kernel would refuse without a reason."""
    for what, given, known in (("family", target.family, FAMILIES), ("hook", target.hook, HOOKS)):
        if given.lower() not in known:
            said = f"no netfilter {what} {given!r}" if given else f"program {spec.name!r}: no netfilter {what} to attach to"
            raise UsageError(said, hint=f"Choose one of {', '.join(known)}.")
    if not _LOWEST < target.priority < _HIGHEST:
        raise UsageError(f"no priority {target.priority}", hint="It is a 32-bit number, but for the lowest and the highest.")
    if target.defragment and target.priority <= _DEFRAGMENTATION:
        raise UsageError(
            f"priority {target.priority} comes before packets are put together, which is at {_DEFRAGMENTATION}",
            hint=f"Choose a priority above {_DEFRAGMENTATION}, or do without defragmentation.",
        )
    return FAMILIES[target.family.lower()], HOOKS[target.hook.lower()]


def _explain(error: KernelError, spec: ProgramSpec, target: Target) -> KernelError:
    from bpfload.abi.consts import CAP_NET_ADMIN
    from bpfload.links.refusal import older_than, refused

    if error.errno == errno.EINVAL and older_than(6, 4):
        return NotSupportedError("netfilter link", since="6.4", call=error.call, errno=errno.EINVAL)
    hint = ""
    if error.errno == errno.EBUSY:
        hint = f"There is a program with priority {target.priority} at this hook already, and each priority is there once."
    elif error.errno in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.ENOENT) and target.defragment:
        hint = "This kernel can't put packets of this family together (CONFIG_NF_DEFRAG_IPV4, CONFIG_NF_DEFRAG_IPV6)."
    elif error.errno == errno.EINVAL and target.defragment:
        hint = "Putting fragments together is there since Linux 6.6."
    elif error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.EAFNOSUPPORT):
        hint = "This kernel has no netfilter links, or not for this family (CONFIG_NETFILTER_BPF_LINK)."
    what = f"attaching program {spec.name!r} to netfilter {target.family} {target.hook}"
    return refused(error, what, CAP_NET_ADMIN, hint=hint)
