"""A place among the programs of a hook, in the kernel's terms.

Source: bpf_mprog_attach() in kernel/bpf/mprog.c, get_prog_list() in kernel/bpf/cgroup.c.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import TYPE_CHECKING, NamedTuple

from bpfload.abi import consts
from bpfload.errors import UsageError

if TYPE_CHECKING:
    from bpfload.errors import KernelError
    from bpfload.links.target import Order


class Place(NamedTuple):
    """`flags`: BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID, BPF_F_LINK, BPF_F_PREORDER. `relative`: id of the neighbour, 0: none."""

    flags: int = 0
    relative: int = 0
    revision: int = 0

    @property
    def extra(self) -> bytes:
        """What follows the flags in BPF_LINK_CREATE; empty where nothing is asked for, which older kernels take too."""
        return pack("=I4xQ", self.relative, self.revision) if self.relative or self.revision else b""


_NEIGHBOURS = {"program": consts.BPF_F_ID, "prog": consts.BPF_F_ID, "link": consts.BPF_F_ID | consts.BPF_F_LINK}


def place_of(order: Order) -> Place:
    """Return a place in numbers. Raises UsageError for one that makes no sense."""
    if order.before and order.after:
        raise UsageError("a place is either before or after something, not both", hint="Leave one of the two out.")
    flags = consts.BPF_F_PREORDER if order.preorder else 0
    if not order.before and not order.after:
        return Place(flags, 0, order.revision)
    words, end, direction = (
        (order.before, "first", consts.BPF_F_BEFORE) if order.before else (order.after, "last", consts.BPF_F_AFTER)
    )
    if words == end:
        return Place(flags | direction, 0, order.revision)
    kind, _, number = words.partition(":")
    if kind not in _NEIGHBOURS or not number.isdecimal() or not 0 < int(number) < 1 << 32:
        side = "before" if order.before else "after"
        raise UsageError(
            f"no place {side} {words!r}",
            hint=f'A place is {side} "{end}", "program:ID" or "link:ID", with ids as prog list shows.',
        )
    return Place(flags | direction | _NEIGHBOURS[kind], int(number), order.revision)


def refusal_hint(error: KernelError, order: Order) -> str:
    """Say what a refusal has to do with the place that was asked for, "" where it has nothing to do with it."""
    neighbour = order.before or order.after
    if error.errno == errno.ENOENT and neighbour:
        return f"There is no {neighbour.replace(':', ' id ')} at this hook, so nothing can stand next to it."
    if error.errno == errno.ESTALE:
        return f"The programs at this hook have changed since revision {order.revision}: look again, and decide again."
    if error.errno == errno.ERANGE:
        return "This hook has as many programs as it takes, or no place fits what was asked for."
    return ""
