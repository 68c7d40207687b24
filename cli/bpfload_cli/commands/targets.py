"""Options that say where to attach, of `load` and `attach`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bpfload.errors import UsageError
from bpfload.links import EVERY_PROCESS, Target

TargetNames = Annotated[
    list[str] | None,
    typer.Option(
        "--target", metavar="[PROGRAM=]NAME", help="Attach to this function, tracepoint, PATH:FUNCTION, …, as SEC() has it."
    ),
]
Device = Annotated[str, typer.Option("--dev", metavar="IF", help="Attach XDP, tc and netkit programs to this device.")]
Mode = Annotated[str, typer.Option("--mode", metavar="MODE", help="XDP: auto (the driver's choice), native, generic.")]
Direction = Annotated[str, typer.Option("--direction", metavar="WAY", help='SEC("tc") programs: for ingress or egress packets.')]
Cgroup = Annotated[str, typer.Option("--cgroup", metavar="PATH", help="Attach cgroup programs to this one.")]
Netns = Annotated[
    str, typer.Option("--netns", metavar="PATH", help="Attach sk_lookup, flow dissector programs to this namespace.")
]
Pid = Annotated[
    int | None,
    typer.Option("--pid", metavar="PID", help="Attach uprobes, USDT, events, task iterators to this process; -1: to all."),
]
MapName = Annotated[
    str, typer.Option("--map", metavar="MAP", help="Attach sk_msg, sk_skb, iterators to this map: name, or pin's path.")
]
Netfilter = Annotated[
    str, typer.Option("--netfilter", metavar="FAMILY/HOOK", help="Attach netfilter programs: ip or ip6, as in ip/input.")
]
Event = Annotated[
    str, typer.Option("--event", metavar="TYPE/CONFIG", help="Attach perf_event programs, as in software/cpu-clock.")
]
Frequency = Annotated[int, typer.Option("--frequency", metavar="HZ", help="Of --event: samples a second.")]
Period = Annotated[int, typer.Option("--period", metavar="N", help="Of --event: a sample each N events.")]
Cpu = Annotated[int, typer.Option("--cpu", metavar="CPU", help="Of --event: only on this processor.")]
Before = Annotated[str, typer.Option("--before", metavar="WHAT", help="Stand before first, program:ID, link:ID or a pin's path.")]
After = Annotated[str, typer.Option("--after", metavar="WHAT", help="Stand behind last, program:ID, link:ID or a pin's path.")]
Priority = Annotated[
    int | None, typer.Option("--priority", metavar="N", help="Of tc filters, netfilter programs, programs of a --chain.")
]
Defragment = Annotated[bool, typer.Option("--defragment", help="Netfilter: packets whole.")]

#: Options that make sense only along with one of those behind them.
_COMPANIONS = (
    ("mode", "--mode", ("dev",), "--mode is about XDP on a device: it needs --dev IF"),
    ("direction", "--direction", ("dev",), "--direction is about packets of a device: it needs --dev IF"),
    (
        "before",
        "--before",
        ("dev", "cgroup"),
        "--before is a place among programs of a device or cgroup: it needs --dev or --cgroup",
    ),
    (
        "after",
        "--after",
        ("dev", "cgroup"),
        "--after is a place among programs of a device or cgroup: it needs --dev or --cgroup",
    ),
    ("priority", "--priority", ("dev", "netfilter"), "--priority is about tc or netfilter: it needs --dev or --netfilter"),
    ("defragment", "--defragment", ("netfilter",), "--defragment is about netfilter: it needs --netfilter FAMILY/HOOK"),
    ("chain", "--chain", ("dev",), "--chain is about the programs of a device: it needs --dev IF"),
    ("actions", "--actions", ("chain",), "--actions is about a chain of programs: it needs --chain"),
    ("frequency", "--frequency", ("event",), "--frequency is about a perf event: it needs --event TYPE/CONFIG"),
    ("period", "--period", ("event",), "--period is about a perf event: it needs --event TYPE/CONFIG"),
    ("keep_maps", "--keep-maps", ("replace",), "--keep-maps says what --replace does: it needs that"),
    ("fresh_maps", "--fresh-maps", ("replace",), "--fresh-maps says what --replace does: it needs that"),
    ("fresh_map", "--fresh-map", ("replace",), "--fresh-map says what --replace does: it needs that"),
)


def targets_of(given: dict[str, Any]) -> tuple[Target, dict[str, Target]]:
    """Return where to attach whatever it fits, and by program name where to attach just that. Raises UsageError."""
    common = Target(
        device=given["dev"],
        mode=given["mode"] or "auto",
        parent=given["direction"],
        cgroup=given["cgroup"],
        netns=given["netns"],
        pid=-1 if given["pid"] is None else EVERY_PROCESS if given["pid"] < 0 else given["pid"],
        map=given["map_"],
        cpu=given["cpu"],
        sample_frequency=given["frequency"],
        sample_period=given["period"],
        priority=given["priority"] or 0,
        defragment=given["defragment"],
    )
    common.family, common.hook = _two(given["netfilter"], "--netfilter FAMILY/HOOK", "ip/input")
    common.event_type, common.event_config = _two(given["event"], "--event TYPE/CONFIG", "software/cpu-clock")
    if given["before"] or given["after"]:
        from bpfload_cli.commands.loading import order

        common.order = order(given["before"], given["after"])
    targets: dict[str, Target] = {}
    for words in (*(given["target"] or ()), *([given["attach"]] if given["attach"] else ())):
        _add_name(words, common, targets)
    return common, targets


def check(given: Mapping[str, Any]) -> None:
    """Complain of options that make no sense without another one. `given`: the command's parameters. Raises UsageError."""
    for name, _, needed, message in _COMPANIONS:
        if given.get(name) and not any(given.get(other) for other in needed):
            raise UsageError(message)
    if given["cpu"] >= 0 and not given["event"]:
        raise UsageError("--cpu is about a perf event: it needs --event TYPE/CONFIG")
    if given["direction"] not in ("", "ingress", "egress"):
        raise UsageError(f"no direction {given['direction']!r}", hint="It is ingress or egress.")


def _two(words: str, option: str, example: str) -> tuple[str, str]:
    """Take "A/B" (or "A:B") apart; two empty words where the option isn't given."""
    if not words:
        return "", ""
    first, _, second = words.partition("/" if "/" in words else ":")
    if not first or not second:
        raise UsageError(f"{option.partition(' ')[0]} {words}: it takes {option.partition(' ')[2]}, for example {example}")
    return first, second


def _add_name(words: str, common: Target, targets: dict[str, Target]) -> None:
    """Read [PROGRAM=]NAME: a target of its own for that program, else the name of the common target."""
    from dataclasses import replace

    program, equals, name = words.partition("=")
    if equals and program.isidentifier():
        if not name:
            raise UsageError(f"--target {words}: what to attach {program} to is missing")
        targets[program] = replace(common, name=name)
    elif common.name:
        raise UsageError(
            f"both {common.name!r} and {words!r} are names to attach to", hint="Say for which programs: --target PROGRAM=NAME."
        )
    else:
        common.name = words
