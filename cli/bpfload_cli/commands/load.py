"""`bpfload OBJ PATH`: load an object, attach it where asked, pin it; put it in the place of an earlier version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from bpfload.errors import UsageError
from bpfload.load import REUSE
from bpfload.pins.deployment import deploy
from bpfload_cli.app import typed
from bpfload_cli.commands.loading import AttachTo, Kconfig, KernelBtf, Token, load_options, opened
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
    chain: Annotated[
        bool, typer.Option("--chain", help="Put the XDP program among others that --dev runs, as xdp-loader does.")
    ] = False,
    actions: Annotated[
        str, typer.Option("--actions", metavar="A,B", help="Of --chain: what the program returns for the next one to run; none.")
    ] = "",
    defragment: Defragment = False,
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
    token: Token = "",
    pin_mode: Annotated[str, typer.Option("--pin-mode", metavar="MODE", help="Of the pins, as for chmod: 0640.")] = "",
    pin_owner: Annotated[str, typer.Option("--pin-owner", metavar="USER", help="Who the pins belong to: name or number.")] = "",
    pin_group: Annotated[str, typer.Option("--pin-group", metavar="GROUP", help="Which group: name or number.")] = "",
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
    common, targets = targets_of(context.params)
    from bpfload.pins.permissions import permissions

    with opened(attach_to) as attached_to:
        options = load_options(kernel_btf, kconfig, attached_to, token)
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
            permissions=permissions(pin_mode, pin_owner, pin_group),
        )
    for note in done.notes:
        session.warn(f"Note: {note}")
    session.done()


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


def _check(context: typer.Context) -> None:
    """Complain of options that need, or exclude, others. Raises UsageError."""
    given = context.params
    check(given)
    if given["keep_maps"] and (given["fresh_maps"] or given["fresh_map"]):
        raise UsageError("--keep-maps excludes --fresh-maps and --fresh-map")
    if given["attach_all"] and given["no_attach"]:
        raise UsageError("--attach and --no-attach exclude each other")
    if given["replace"] and (given["replace_maps"] or given["fail_on_existing"]):
        raise UsageError(
            "--replace keeps to maps that are pinned by name: --replace-maps and --fail-on-existing don't go with it",
            hint="Unload, and load anew.",
        )


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
