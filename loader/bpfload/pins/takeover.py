"""How a new program takes the place of an old one at its hook: in one step where the kernel has that, else beside it first."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import UsageError
from bpfload.links import EVERY_PROCESS, Target, attaches_by_itself, hook_of
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
_BINARIES = ("uprobe", "uprobe_multi", "usdt")
_ON_DEVICES = (consts.BPF_LINK_TYPE_XDP, consts.BPF_LINK_TYPE_TCX, consts.BPF_LINK_TYPE_NETKIT)
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
        if unlinked and wish is not None:
            _check_unlinked(program, unlinked, wish)
        return Move(program, old, unlinked) if unlinked else Move(program, old, wish=wish)
    infos = [link.info(arrays=True) for link in old.links]
    in_place = all(info.type in _UPDATED_IN_PLACE for info in infos)
    if in_place and len(infos) == 1 and _same_direction(infos[0], program) and (wish is None or _same_place(infos[0], wish)):
        if wish is not None and infos[0].type == consts.BPF_LINK_TYPE_XDP:
            _check_mode(program, infos[0].number("ifindex"), wish)
        return Move(program, old, tuple(old.links))
    _check_alone(program, infos, wish)
    if wish is None:
        wish = _where_it_is(program, infos)
    return Move(program, old, wish=_for_its_process(program, infos, wish))


def _without_link(old: EarlierProgram) -> tuple[Attachment, ...]:
    from bpfload.pins import unlinked

    return tuple(unlinked.attachments_of(old.program)) if old.info.type in unlinked.TYPES else ()


def _check_unlinked(program: ProgramSpec, unlinked: tuple[Attachment, ...], wish: Wish) -> None:
    """Check that a wish is for where a program is without a link: nothing could be told to go from there later."""
    target, infos = wish.target, [each.info() for each in unlinked]
    here = _index(target.device) if target.device else 0
    for info in infos:
        places = [
            (here, info.number("ifindex")),
            (target.priority, info.number("priority")),
            (target.handle, info.number("handle")),
        ]
        if target.cgroup:
            places.append((_inode(target.cgroup), info.number("cgroup_id")))
        if len(infos) > 1 or target.map or any(wanted and wanted != there for wanted, there in places):
            raise UsageError(
                f"program {program.name!r} is attached without a link, and stays where it is when it is replaced",
                hint="Leave out where to attach it; or unload it, and load it anew without --replace.",
            )
    if program.type == consts.BPF_PROG_TYPE_XDP:
        _check_mode(program, infos[0].number("ifindex"), wish)


def _check_mode(program: ProgramSpec, index: int, wish: Wish) -> None:
    """Check that a device runs its program in the mode that is wished: that can't be changed while it runs one."""
    if wish.target.mode == "auto":
        return
    from bpfload.links import xdp

    modes = xdp.modes_on(index)
    if modes and wish.target.mode not in modes:
        raise UsageError(
            f"program {program.name!r} is attached to {wish.target.device} in {modes[0]} mode, "
            f"which can't become {wish.target.mode} without a moment in which no program runs",
            hint="Leave out --mode; or unload it, and load it anew without --replace.",
        )


def _check_alone(program: ProgramSpec, infos: list[LinkInfo], wish: Wish | None) -> None:
    """Refuse early what the hook takes only one program of, so that none can be attached beside it."""
    info = infos[0]
    if info.type == consts.BPF_LINK_TYPE_NETFILTER:
        from bpfload.links.netfilter import FAMILIES, HOOKS

        if wish is not None:
            target = wish.target
            there = (info.number("pf"), info.number("hooknum"), info.number("priority"))
            if (FAMILIES.get(target.family.lower()), HOOKS.get(target.hook.lower()), target.priority) != there:
                return
        what = (
            f"each priority of a netfilter hook is there once (its is {info.number('priority')}), "
            "and the kernel can't update its link"
        )
        other = ", or say another one: --netfilter FAMILY/HOOK --priority NUMBER"
    elif hook_of(program) == "freplace":
        if wish is not None and wish.spec.attach_target != program.attach_target:
            return
        what, other = "a function can be replaced by one program only, and the kernel can't update its link", ""
    else:
        return
    raise UsageError(
        f"program {program.name!r} can't take the place of the old one: {what}",
        hint=f"Unload the old one first, and load it without --replace{other}.",
    )


def _for_its_process(program: ProgramSpec, infos: list[LinkInfo], wish: Wish) -> Wish:
    """Complete a wish that doesn't say for which process, where the old one may be for one."""
    info, target = infos[0], wish.target
    if target.pid != -1:
        return wish
    if info.type == consts.BPF_LINK_TYPE_UPROBE_MULTI and info.number("pid"):
        return Wish(wish.spec, wish.hook, replace(target, pid=info.number("pid")))
    # A perf event of every process is one on each CPU; of a uprobe the kernel doesn't tell it at all.
    counts_one = wish.hook == "perf_event" and len(infos) == 1 and target.cpu < 0
    if info.type == consts.BPF_LINK_TYPE_PERF_EVENT and (wish.hook in _BINARIES or counts_one):
        raise UsageError(
            f"program {program.name!r}: the kernel doesn't tell whether the old one is attached to one process, and to which",
            hint="Say --pid PID, or --pid -1 for all.",
        )
    return wish


def _same_direction(info: LinkInfo, program: ProgramSpec) -> bool:
    """Whether a program is for the end of a device that the link is at; other links are for any program that they take."""
    if info.type not in (consts.BPF_LINK_TYPE_TCX, consts.BPF_LINK_TYPE_NETKIT):
        return True
    return program.attach_type in (0, info.number("attach_type"))


def _same_place(info: LinkInfo, wish: Wish) -> bool:
    """Whether a link is where a wish wants the program to be."""
    target = wish.target
    if info.type in _ON_DEVICES:
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
    said = (target.map, target.tid, max(target.pid, -1), target.cgroup)
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
    if info.type in _ON_DEVICES:
        return Wish(program, hook, Target(device=socket.if_indextoname(info.number("ifindex"))))
    if info.type == consts.BPF_LINK_TYPE_RAW_TRACEPOINT:
        return Wish(program, hook, Target(name=info.text("tp_name"), cookie=info.number("cookie")))
    if info.type == consts.BPF_LINK_TYPE_TRACING:
        return Wish(program, hook, Target(cookie=info.number("cookie")))
    if info.type == consts.BPF_LINK_TYPE_KPROBE_MULTI and any(info.numbers("addrs")):
        is_return = bool(info.number("flags") & _MULTI_RETURN)
        target = Target(addresses=info.numbers("addrs"), cookies=info.numbers("cookies"), is_return=is_return)
        return Wish(replace(program, attach_target=""), hook, target)
    if hook == "usdt" and attaches_by_itself(program):
        return Wish(program, hook, Target())
    if info.type == consts.BPF_LINK_TYPE_UPROBE_MULTI and info.text("path"):
        target = Target(binary=info.text("path"), offsets=info.numbers("offsets"), cookies=info.numbers("cookies"))
        target.ref_ctr_offsets, target.pid = info.numbers("ref_ctr_offsets"), info.number("pid") or EVERY_PROCESS
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
