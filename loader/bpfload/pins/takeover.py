"""How a new program takes the place of an old one at its hook: in one step where the kernel has that, else beside it first."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import UsageError
from bpfload.links import Target, attaches_by_itself, hook_of
from bpfload.pins.choosing import Wish

if TYPE_CHECKING:
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.link_info import LinkInfo
    from bpfload.pins.earlier import EarlierProgram
    from bpfload.spec import ProgramSpec

# Links that BPF_LINK_UPDATE gives another program: those with an `update_prog` in struct bpf_link_ops.
_UPDATED_IN_PLACE = (
    consts.BPF_LINK_TYPE_CGROUP,
    consts.BPF_LINK_TYPE_ITER,
    consts.BPF_LINK_TYPE_NETNS,
    consts.BPF_LINK_TYPE_XDP,
    consts.BPF_LINK_TYPE_TCX,
    consts.BPF_LINK_TYPE_NETKIT,
    consts.BPF_LINK_TYPE_SOCKMAP,
)
_RETURN_PROBES = (consts.BPF_PERF_EVENT_KRETPROBE, consts.BPF_PERF_EVENT_URETPROBE)
_MULTI_RETURN = 1  # BPF_F_KPROBE_MULTI_RETURN, BPF_F_UPROBE_MULTI_RETURN


@dataclass(slots=True, eq=False)
class Move:
    """What one program of the new version is to do. `old`: the program whose place it takes, if there is one.

    `updated`: the old attachments that get the new program in place. `wish`: where to attach it anew
    instead; the old links go then.
    """

    spec: ProgramSpec
    old: EarlierProgram | None
    updated: tuple[Attachment, ...] = ()
    wish: Wish | None = None


def move_of(program: ProgramSpec, old: EarlierProgram | None, wish: Wish | None) -> Move:
    """Decide how a program gets where it is wanted: where `wish` says, else exactly where the old one is.

    Raises UsageError where neither says it: the kernel doesn't tell everything of a link.
    """
    if old is None:
        return Move(program, old, wish=wish)
    if not old.links:
        unlinked = _without_link(old)
        return Move(program, old, unlinked) if unlinked else Move(program, old, wish=wish)
    infos = [link.info(arrays=True) for link in old.links]
    in_place = all(info.type in _UPDATED_IN_PLACE for info in infos)
    if in_place and len(infos) == 1 and _same_direction(infos[0], program) and (wish is None or _same_place(infos[0], wish)):
        return Move(program, old, tuple(old.links))
    if wish is None:
        wish = _where_it_is(program, infos)
    return Move(program, old, wish=wish)


def _without_link(old: EarlierProgram) -> tuple[Attachment, ...]:
    from bpfload.pins import unlinked

    return tuple(unlinked.attachments_of(old.program)) if old.info.type in unlinked.TYPES else ()


def _same_direction(info: LinkInfo, program: ProgramSpec) -> bool:
    """Whether a program is for the end of a device that the link is at; other links are for any program that they take."""
    if info.type not in (consts.BPF_LINK_TYPE_TCX, consts.BPF_LINK_TYPE_NETKIT):
        return True
    return program.attach_type in (0, info.number("attach_type"))


def _same_place(info: LinkInfo, wish: Wish) -> bool:
    """Whether a link is where a wish wants the program to be."""
    target = wish.target
    if info.type in (consts.BPF_LINK_TYPE_XDP, consts.BPF_LINK_TYPE_TCX, consts.BPF_LINK_TYPE_NETKIT):
        if _index(target.device) != info.number("ifindex"):
            return False
        ends = {"ingress": consts.BPF_TCX_INGRESS, "egress": consts.BPF_TCX_EGRESS}
        return info.type != consts.BPF_LINK_TYPE_TCX or ends.get(target.parent, info.number("attach_type")) == info.number(
            "attach_type"
        )
    if info.type == consts.BPF_LINK_TYPE_CGROUP:
        return _inode(target.cgroup) == info.number("cgroup_id")
    if info.type == consts.BPF_LINK_TYPE_NETNS:
        return _inode(target.netns or "/proc/thread-self/ns/net") == info.number("netns_ino")
    # An iterator walks what its program was made for; which map, task or cgroup is said by the options that attach it.
    said = (target.map, target.tid, target.pid, target.cgroup)
    return info.type == consts.BPF_LINK_TYPE_ITER and said == ("", 0, -1, "")


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0  # attaching says it better


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _where_it_is(program: ProgramSpec, infos: list[LinkInfo]) -> Wish:
    """Return where the old links are, as a wish."""
    hook, info = hook_of(program), infos[0]
    if info.type in (consts.BPF_LINK_TYPE_XDP, consts.BPF_LINK_TYPE_TCX, consts.BPF_LINK_TYPE_NETKIT):
        return Wish(program, hook, Target(device=socket.if_indextoname(info.number("ifindex"))))
    if info.type == consts.BPF_LINK_TYPE_RAW_TRACEPOINT:
        return Wish(program, hook, Target(name=info.text("tp_name"), cookie=info.number("cookie")))
    if info.type == consts.BPF_LINK_TYPE_TRACING:
        return Wish(program, hook, Target(cookie=info.number("cookie")))
    if info.type == consts.BPF_LINK_TYPE_KPROBE_MULTI and any(info.numbers("addrs")):
        is_return = bool(info.number("flags") & _MULTI_RETURN)
        target = Target(addresses=info.numbers("addrs"), cookies=info.numbers("cookies"), is_return=is_return)
        return Wish(replace(program, attach_target=""), hook, target)
    if info.type == consts.BPF_LINK_TYPE_UPROBE_MULTI and info.text("path"):
        target = Target(binary=info.text("path"), offsets=info.numbers("offsets"), cookies=info.numbers("cookies"))
        target.ref_ctr_offsets, target.pid = info.numbers("ref_ctr_offsets"), info.number("pid") or -1
        target.is_return = bool(info.number("flags") & _MULTI_RETURN)
        return Wish(replace(program, attach_target=""), hook, target)
    if info.type == consts.BPF_LINK_TYPE_PERF_EVENT and len(infos) == 1:
        return _where_its_event_is(program, hook, info)
    if attaches_by_itself(program):
        return Wish(program, hook, Target())
    raise _unknown(program)


def _where_its_event_is(program: ProgramSpec, hook: str, info: LinkInfo) -> Wish:
    kind = info.number("event_type")
    cookie = info.number("cookie")
    if attaches_by_itself(program):
        return Wish(program, hook, Target(cookie=cookie))
    if kind == consts.BPF_PERF_EVENT_TRACEPOINT:
        from bpfload.kernel import tracefs

        name = info.text("tp_name")
        found = [category for category, event in tracefs.available_events() if event == name]
        if len(found) == 1:
            return Wish(program, hook, Target(name=f"{found[0]}/{name}", cookie=cookie))
    elif kind in (consts.BPF_PERF_EVENT_KPROBE, consts.BPF_PERF_EVENT_KRETPROBE) and info.text("func_name"):
        target = Target(name=info.text("func_name"), offset=info.number("offset"), cookie=cookie)
        target.is_return = kind in _RETURN_PROBES
        return Wish(program, hook, target)
    raise _unknown(program)


def _unknown(program: ProgramSpec) -> UsageError:
    from bpfload.pins.choosing import option_for

    return UsageError(
        f"program {program.name!r}: the kernel doesn't tell all of where the old one is attached",
        hint=f"Say again where: {option_for(program) or 'by its target'}.",
    )
