"""`bpfload attach PROG|PATH…`: attach what is loaded already. `bpfload detach PROG|PATH…`: take it off again."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from bpfload.errors import BpfError, UsageError
from bpfload.links.program import AttachableProgram
from bpfload.pins.attached import Attached, Detached, attach_loaded, detach_programs
from bpfload_cli.app import typed
from bpfload_cli.commands.targets import (
    After,
    Before,
    Cgroup,
    Cpu,
    Defragment,
    Device,
    Direction,
    Event,
    Frequency,
    MapName,
    Mode,
    Netfilter,
    Netns,
    Period,
    Pid,
    Priority,
    TargetNames,
    check,
    targets_of,
)
from bpfload_cli.grammar import PROGRAM_SELECTORS, Words, is_prefix
from bpfload_cli.session import Session

# Hooks that several types of programs share, or that a type alone doesn't tell.
HOOKS = (
    *("xdp", "tc", "tcx", "netkit", "cgroup", "netns", "netfilter", "sockmap", "tracepoint", "raw_tracepoint", "kprobe"),
    *("kprobe_multi", "ksyscall", "uprobe", "uprobe_multi", "usdt", "perf_event", "tracing", "tracing_multi", "lsm"),
    *("freplace", "iterator"),
)

Programs = Annotated[
    list[str], typer.Argument(metavar="PROG|PATH…", help="Pins of programs or directories of them; or id ID, tag TAG, name NAME.")
]


def attach(
    context: typer.Context,
    programs: Programs,
    hook: Annotated[str, typer.Option("--hook", metavar="HOOK", help="Where its type doesn't tell: uprobe, iterator, …")] = "",
    attach_type: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="Attach type, as in bpftool feature list_builtins attach_types.")
    ] = "",
    target: TargetNames = None,
    dev: Device = "",
    mode: Mode = "",
    direction: Direction = "",
    cgroup: Cgroup = "",
    netns: Netns = "",
    pid: Pid = None,
    map_: MapName = "",
    netfilter: Netfilter = "",
    event: Event = "",
    frequency: Frequency = 0,
    period: Period = 0,
    cpu: Cpu = -1,
    before: Before = "",
    after: After = "",
    priority: Priority = None,
    defragment: Defragment = False,
    pin: Annotated[
        str, typer.Option("--pin", metavar="PATH", help="Where to pin the link; PATH_link for a program pinned at PATH.")
    ] = "",
    no_link: Annotated[bool, typer.Option("--no-link", help="Attach without a link: XDP, tc, cgroup, sockmap.")] = False,
) -> None:
    """Attach programs that are loaded already."""
    session: Session = context.obj
    check(context.params)
    if hook and hook not in HOOKS:
        raise UsageError(f"no hook {hook!r}", hint=f"Hooks are {', '.join(HOOKS)}.")
    common, by_name = targets_of({**context.params, "attach": ""})
    common.attach_type = _attach_type(attach_type)
    common.link = not no_link
    with ExitStack() as stack:
        found = list(_opened(programs, stack))
        if pin and len(found) > 1:
            raise UsageError(f"--pin is for one program, {len(found)} are meant")
        if common.map:
            common.map_fd = _map(common.map, stack)
        done = []
        for program, path in found:
            place = pin or (f"{path}_link" if path and not no_link else "")
            done.append(attach_loaded(program, by_name.get(program.info().name, common), place, hook=hook))
    _show_attached(session, done)


def _attach_type(word: str) -> int:
    """Return the number of an attach type by its name. Raises UsageError with near matches."""
    if not word:
        return -1
    from bpfload.abi.names import ATTACH_TYPE_NAMES
    from bpfload.inspect.cgroups import hook

    names = [name for name in ATTACH_TYPE_NAMES if name]
    if word in names:
        return ATTACH_TYPE_NAMES.index(word)
    return hook(word)


def _map(word: str, stack: ExitStack) -> int:
    from bpfload.objects.map import Map

    if "/" in word:
        return stack.enter_context(Map.from_pin(word)).fd
    from bpfload.inspect import maps

    found = [stack.enter_context(each) for each in maps.find("name", word)]
    if len(found) > 1:
        raise UsageError(f"--map {word}: {len(found)} maps have that name", hint="Name one by the path of its pin.")
    return found[0].fd


def _opened(words: list[str], stack: ExitStack) -> list[tuple[AttachableProgram, str]]:
    """Open what the words mean: paths of pins, directories of them, or bpftool's selectors; each with the path of its pin."""
    from bpfload.inspect import programs

    found: list[tuple[AttachableProgram, str]] = []
    rest = Words(words, "bpfload attach")
    while rest:
        word = rest.peek()
        if "/" in word or not any(is_prefix(word, each) for each in PROGRAM_SELECTORS):
            found += [(stack.enter_context(AttachableProgram.from_pin(path)), path) for path in _paths(rest.take("a pin"))]
            continue
        kind, value = rest.selector(PROGRAM_SELECTORS, "a program")
        some = programs.find(kind, value)
        if len(some) > 1:
            ids = ", ".join(str(each.info().id) for each in some)
            raise UsageError(f"{len(some)} programs match: ids {ids}", hint="Name one of them by its id.")
        found += [(stack.enter_context(AttachableProgram(each.detach_fd())), value if kind == "pinned" else "") for each in some]
    return found


def _paths(word: str) -> list[str]:
    """Return the pins of programs that a path means: itself, or those in the directory."""
    import os

    if not os.path.isdir(word):
        return [word]
    from bpfload.objects.bpffs import pins

    found = [pin.path for pin in pins(os.path.abspath(word)) if pin.kind == "program"]
    if not found:
        raise UsageError(f"{word}: no program is pinned in that directory")
    return found


def _show_attached(session: Session, done: list[Attached]) -> None:
    if session.json:
        session.data(
            [{"prog_id": each.program, "hook": each.hook, "link_ids": each.link_ids, "pinned": each.pins} for each in done]
        )
        return
    for each in done:
        how = (
            f"by link {', '.join(map(str, each.link_ids))}, pinned at {', '.join(each.pins)}"
            if each.link_ids
            else "without a link"
        )
        session.line(f"program {each.program} is attached ({each.hook}) {how}")


# --- detach ---------------------------------------------------------------------------------------------------------


def detach(
    context: typer.Context,
    programs: Programs,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Take programs off wherever they are attached; they stay loaded and pinned."""
    session: Session = context.obj
    with ExitStack() as stack:
        idents = [program.info().id for program, _ in _opened(programs, stack)]
        done = detach_programs(idents, dry_run=dry_run)
    if session.json:
        session.data([_as_data(each) for each in done])
    else:
        for each in done:
            session.line(_words(each, dry_run))
        if not done:
            session.line("nothing is attached")
    if any(each.remains for each in done):
        raise BpfError(
            "some links are held by others, and can only end with their last holder",
            hint="bpfload link list shows the processes that hold them.",
        )


def _words(each: Detached, dry_run: bool) -> str:
    what = f"link {each.link} ({each.where})" if each.link else f"the {each.where}"
    verb = "would detach" if dry_run else "still attached by" if each.remains else "detached"
    pinned = "".join(f", {'would remove' if dry_run else 'removed'} {pin.path}" for pin in each.pins)
    return f"{verb} {what} of program {each.program}{pinned}"


def _as_data(each: Detached) -> dict[str, object]:
    row: dict[str, object] = {"prog_id": each.program, "link_id": each.link, "where": each.where}
    return {**row, "removed": [pin.path for pin in each.pins], "remains": each.remains}


command = typed(attach)
detach_command = typed(detach)
