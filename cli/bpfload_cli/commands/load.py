"""`bpfload OBJ PATH`: load an object, attach it where asked, pin it; put it in the place of an earlier version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from bpfload.errors import UsageError
from bpfload.links import Target
from bpfload.load import REUSE
from bpfload.pins.deployment import deploy
from bpfload_cli.app import typed
from bpfload_cli.commands.loading import AttachTo, Kconfig, KernelBtf, load_options, opened

if TYPE_CHECKING:
    from bpfload_cli.session import Session


def load(
    context: typer.Context,
    obj: Annotated[str, typer.Argument(metavar="OBJ", help="The object file, as clang -target bpf makes it.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where to pin it, on a bpffs.")],
    attach: Annotated[
        str, typer.Option("--attach", metavar="[NAME]", help="Attach all that SEC() says where; NAME: to this tracepoint.")
    ] = "",
    attach_all: Annotated[bool, typer.Option("--attach-all", hidden=True)] = False,
    no_attach: Annotated[bool, typer.Option("--no-attach", help="Don't attach what SEC() names a tracepoint for.")] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", metavar="[PROGRAM=]NAME", help="Attach to this function, tracepoint, PATH:FUNCTION, …, as SEC() has it."
        ),
    ] = None,
    dev: Annotated[str, typer.Option("--dev", metavar="IF", help="Attach XDP, tc and netkit programs to this device.")] = "",
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help="XDP: auto (the driver's choice), native, generic.")] = "",
    direction: Annotated[
        str, typer.Option("--direction", metavar="WAY", help='SEC("tc") programs: for ingress or egress packets.')
    ] = "",
    cgroup: Annotated[str, typer.Option("--cgroup", metavar="PATH", help="Attach cgroup programs to this one.")] = "",
    netns: Annotated[
        str, typer.Option("--netns", metavar="PATH", help="Attach sk_lookup, flow dissector programs to this namespace.")
    ] = "",
    pid: Annotated[
        int | None, typer.Option("--pid", metavar="PID", help="Attach uprobes, USDT, events, task iterators to this process.")
    ] = None,
    map_: Annotated[
        str, typer.Option("--map", metavar="MAP", help="Attach sk_msg, sk_skb, iterators to this map: name, or pin's path.")
    ] = "",
    netfilter: Annotated[
        str, typer.Option("--netfilter", metavar="FAMILY/HOOK", help="Attach netfilter programs: ip or ip6, as in ip/input.")
    ] = "",
    event: Annotated[
        str, typer.Option("--event", metavar="TYPE/CONFIG", help="Attach perf_event programs, as in software/cpu-clock.")
    ] = "",
    frequency: Annotated[int, typer.Option("--frequency", metavar="HZ", help="Of --event: samples a second.")] = 0,
    period: Annotated[int, typer.Option("--period", metavar="N", help="Of --event: a sample each N events.")] = 0,
    cpu: Annotated[int, typer.Option("--cpu", metavar="CPU", help="Of --event: only on this processor.")] = -1,
    before: Annotated[
        str, typer.Option("--before", metavar="WHAT", help="Stand before first, program:ID, link:ID or a pin's path.")
    ] = "",
    after: Annotated[
        str, typer.Option("--after", metavar="WHAT", help="Stand behind last, program:ID, link:ID or a pin's path.")
    ] = "",
    priority: Annotated[
        int | None, typer.Option("--priority", metavar="N", help="Of tc filters, netfilter programs, programs of a --chain.")
    ] = None,
    chain: Annotated[
        bool, typer.Option("--chain", help="Put the XDP program among others that --dev runs, as xdp-loader does.")
    ] = False,
    actions: Annotated[
        str, typer.Option("--actions", metavar="A,B", help="Of --chain: what the program returns for the next one to run; none.")
    ] = "",
    defragment: Annotated[bool, typer.Option("--defragment", help="Netfilter: packets whole.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Give a global constant or variable this value; may be repeated."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of what an earlier load pinned at PATH.")] = False,
    keep_maps: Annotated[bool, typer.Option("--keep-maps", help="--replace: all maps live on with what is in them.")] = False,
    fresh_maps: Annotated[bool, typer.Option("--fresh-maps", help="--replace: no map lives on.")] = False,
    fresh_map: Annotated[
        list[str] | None, typer.Option("--fresh-map", metavar="MAP", help="--replace: this one doesn't; may be repeated.")
    ] = None,
    pin_maps: Annotated[str, typer.Option("--pin-maps", metavar="DIR", help="Pin the maps too, in this directory.")] = "",
    program: Annotated[
        list[str] | None, typer.Option("--program", metavar="NAME", help="Load only this program; may be repeated.")
    ] = None,
    kernel_btf: KernelBtf = "",
    kconfig: Kconfig = "",
    attach_to: AttachTo = "",
    reuse_maps: Annotated[bool, typer.Option("--reuse-maps", help="Maps pinned by name: use what is there (default).")] = False,
    replace_maps: Annotated[bool, typer.Option("--replace-maps", help="Maps pinned by name: put new ones there.")] = False,
    fail_on_existing: Annotated[
        bool, typer.Option("--fail-on-existing", help="Maps pinned by name: fail where one is there.")
    ] = False,
) -> None:
    """Load OBJ and pin its programs at PATH."""
    session: Session = context.obj
    _check(context)
    existing = {"reuse": reuse_maps, "replace": replace_maps, "fail": fail_on_existing}
    common, targets = _targets(context.params)
    with opened(attach_to) as attached_to:
        options = load_options(kernel_btf, kconfig, attached_to)
        options.programs = frozenset(program) if program else None
        options.existing_maps = _one_of([name for name, chosen in existing.items() if chosen])
        if chain:
            from bpfload_cli.commands.load_chain import load_into_chain

            load_into_chain(session, context.params, options, _values(set_ or ()))
            return
        done = deploy(
            obj,
            path,
            target=common,
            targets=targets,
            attaching=not no_attach,
            attach_all=attach_all,
            values=_values(set_ or ()),
            maps_directory=pin_maps,
            options=options,
            mount=not session.nomount,
            replace=replace,
            keep_maps=True if keep_maps else False if fresh_maps else None,
            fresh_maps=tuple(fresh_map or ()),
        )
    for note in done.notes:
        session.warn(f"Note: {note}")
    session.done()


def _targets(given: dict[str, Any]) -> tuple[Target, dict[str, Target]]:
    """Return where to attach whatever it fits, and by program name where to attach just that. Raises UsageError."""
    common = Target(
        device=given["dev"],
        mode=given["mode"] or "auto",
        parent=given["direction"],
        cgroup=given["cgroup"],
        netns=given["netns"],
        pid=-1 if given["pid"] is None else given["pid"],
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


class LoadCommand(TyperCommand):
    """`load`, where the NAME of `--attach` may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words, `--attach` without a NAME as what it means."""
        return super().parse_args(ctx, without_name(args, self._with_values()))

    def _with_values(self) -> set[str]:
        """Return the options that a value follows."""
        return {name for each in self.params if not getattr(each, "is_flag", True) for name in each.opts if name.startswith("-")}


def without_name(args: list[str], with_values: set[str]) -> list[str]:
    """Write `--attach` without a NAME as `--attach-all`.

    A word behind it is its NAME if OBJ and PATH are among the other words; if not, it is one of those two.
    """
    positions = []  # of the words that are neither options nor values of options, the one behind --attach included
    after_attach = -1
    at = 0
    while at < len(args):
        word = args[at]
        if word == "--attach":
            after_attach = at + 1
        elif word in with_values:
            at += 1
        elif not word.startswith("-"):
            positions.append(at)
        at += 1
    if after_attach < 0:
        return args
    named = after_attach in positions and len(positions) > 2
    return args if named else [*args[: after_attach - 1], "--attach-all", *args[after_attach:]]


command = typed(load, LoadCommand)

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


def _check(context: typer.Context) -> None:
    """Complain of options that need, or exclude, others. Raises UsageError."""
    given = context.params
    for name, _, needed, message in _COMPANIONS:
        if given[name] and not any(given[other] for other in needed):
            raise UsageError(message)
    if given["cpu"] >= 0 and not given["event"]:
        raise UsageError("--cpu is about a perf event: it needs --event TYPE/CONFIG")
    if given["direction"] not in ("", "ingress", "egress"):
        raise UsageError(f"no direction {given['direction']!r}", hint="It is ingress or egress.")
    if given["keep_maps"] and (given["fresh_maps"] or given["fresh_map"]):
        raise UsageError("--keep-maps excludes --fresh-maps and --fresh-map")
    if given["attach_all"] and given["no_attach"]:
        raise UsageError("--attach and --no-attach exclude each other")
    if given["replace"] and (given["replace_maps"] or given["fail_on_existing"]):
        raise UsageError(
            "--replace keeps to maps that are pinned by name: --replace-maps and --fail-on-existing don't go with it",
            hint="Unload, and load anew.",
        )


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


def _values(words: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Read NAME=VALUE."""
    values = {}
    for each in words:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {each}: it takes NAME=VALUE")
        values[name] = value
    return values


def _one_of(chosen: list[str]) -> str:
    """Return what to do with maps that are pinned already. Raises UsageError."""
    if len(chosen) > 1:
        raise UsageError("--reuse-maps, --replace-maps and --fail-on-existing exclude each other")
    return chosen[0] if chosen else REUSE
