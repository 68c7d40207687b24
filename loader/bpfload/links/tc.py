"""tc: a direct-action BPF filter of the clsact qdisc, at the ingress or egress of a network device. By netlink; there is no link.

What `tc filter add dev DEV ingress bpf direct-action` does, and bpf_tc_attach() of libbpf. The qdisc is made where it isn't
there, and removed again with the filter if it was made for it and has no other.

Source: cls_bpf_change() in net/sched/cls_bpf.c.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, ClassVar

from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.links.fallback import Fallback
from bpfload.links.xdp import device_index
from bpfload.objects.base import KernelObject
from bpfload.syscall import netlink

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.spec import ProgramSpec

_PARENTS = {"ingress": netlink.TC_H_CLSACT_INGRESS, "egress": netlink.TC_H_CLSACT_EGRESS}
_LARGEST_PRIORITY = 0xFFFF
_LARGEST_HANDLE = 0xFFFFFFFF


class TcFilter(Fallback):
    """A program that runs as a filter. `priority`, `handle`: as `tc filter show` names it (pref, handle).

    `owns_qdisc`: the qdisc was made for it.
    """

    __slots__ = ("_ifindex", "_owns_qdisc", "_parent", "handle", "priority")

    form: ClassVar[str] = "tc filter"
    pin_hint: ClassVar[str] = "Call keep(): the filter then stays until tc filter del takes it off. tcx (Linux 6.6) has links."

    def __init__(
        self, program: KernelObject, ifindex: int, parent: int, priority: int, handle: int, *, owns_qdisc: bool = False
    ) -> None:
        super().__init__(program)
        self._ifindex, self._parent, self._owns_qdisc = ifindex, parent, owns_qdisc
        self.priority, self.handle = priority, handle

    def _fields(self) -> dict[str, int | str | tuple[int, ...]]:
        return {"ifindex": self._ifindex, "parent": self._parent, "priority": self.priority, "handle": self.handle}

    def _present(self) -> list[int]:
        return [
            each.program or self.program_id
            for each in netlink.tc_bpf_filters(self._ifindex, self._parent)
            if (each.priority, each.handle) == (self.priority, self.handle)
        ]

    def _replace(self, program: KernelObject) -> None:
        netlink.tc_filter_add(
            self._ifindex,
            self._parent,
            program.fd,
            _filter_name(program),
            priority=self.priority,
            handle=self.handle,
            replace=True,
        )

    def _take_off(self) -> None:
        netlink.tc_filter_delete(self._ifindex, self._parent, self.priority, self.handle)
        if self._owns_qdisc:
            _remove_empty_qdisc(self._ifindex)


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> TcFilter:
    """Attach to the end `target.parent` ("ingress", the default, or "egress") of the network device `target.device`.

    `target.priority`, `target.handle`: 0: the kernel chooses; a lower priority runs first.
    """
    parent = _parent_of(spec, target)
    if not 0 <= target.priority <= _LARGEST_PRIORITY:
        raise UsageError(f"no priority {target.priority} of a tc filter", hint=f"It is a number up to {_LARGEST_PRIORITY}.")
    if not 0 <= target.handle <= _LARGEST_HANDLE:
        raise UsageError(f"no handle {target.handle} of a tc filter", hint=f"It is a number up to {_LARGEST_HANDLE}.")
    index = device_index(target.device)
    created = False
    try:
        created = netlink.clsact_create(index)
        name = _filter_name(program, spec.name)
        place = netlink.tc_filter_add(index, parent, program.fd, name, priority=target.priority, handle=target.handle)
    except KernelError as error:
        if created:
            _remove_empty_qdisc(index)
        raise _explain(error, spec, target) from None
    return TcFilter(program, index, parent, *place, owns_qdisc=created)


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> TcFilter | None:
    """Return the filter with this program that is there already, of the priority and handle that are given; None if none is."""
    from bpfload.links.fallback import program_id

    index, parent, ident = device_index(target.device), _parent_of(spec, target), program_id(program)
    for each in netlink.tc_bpf_filters(index, parent):
        if each.program == ident and target.priority in (0, each.priority) and target.handle in (0, each.handle):
            return TcFilter(program, index, parent, each.priority, each.handle)
    return None


def _parent_of(spec: ProgramSpec, target: Target) -> int:
    if not target.device:
        raise UsageError(f"program {spec.name!r}: no device to attach to", hint="Name one with --dev, for example --dev eth0.")
    end = target.parent or "ingress"
    if end not in _PARENTS:
        raise UsageError(f"no end {end!r} of a device", hint=f"A filter is for {' or '.join(_PARENTS)}.")
    return _PARENTS[end]


def _filter_name(program: KernelObject, name: str = "") -> str:
    """Return the name that the filter is listed by: name and id of the program, as libbpf writes them."""
    from bpfload.objects.info import prog_info

    info = prog_info(program.fd, ())
    return f"{info.name or name}:[{info.id}]"


def _remove_empty_qdisc(index: int) -> None:
    """Take the qdisc off that was made for a filter, unless it has other ones by now."""
    with contextlib.suppress(KernelError, NotFoundError):  # the filter is gone, which was asked for
        if not any(netlink.tc_has_filters(index, parent) for parent in _PARENTS.values()):
            netlink.clsact_delete(index)


def _explain(error: KernelError, spec: ProgramSpec, target: Target) -> KernelError:
    from bpfload.abi.consts import CAP_NET_ADMIN
    from bpfload.links.refusal import refused

    hint = ""
    if error.errno == errno.EEXIST:
        hint = "There is a filter with this priority and handle already: choose another, or leave them to the kernel."
    elif error.errno in (errno.ENOENT, errno.EOPNOTSUPP) and error.call == "RTM_NEWQDISC":
        hint = "This kernel has no clsact (CONFIG_NET_SCH_INGRESS)."
    elif error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
        hint = "This kernel has no BPF filters (CONFIG_NET_CLS_BPF)."
    return refused(error, f"attaching program {spec.name!r} to {target.device} as a tc filter", CAP_NET_ADMIN, hint=hint)
