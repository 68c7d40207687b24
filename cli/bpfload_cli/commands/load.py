"""`bpfload OBJ PATH`: load an object, attach it where asked, pin it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bpfload.errors import UsageError
from bpfload.links import Target
from bpfload.load import REUSE
from bpfload.pins.deployment import deploy
from bpfload_cli.commands.loading import AttachTo, Kconfig, KernelBtf, load_options, opened

if TYPE_CHECKING:
    from bpfload_cli.session import Session


def load(
    context: typer.Context,
    obj: Annotated[str, typer.Argument(metavar="OBJ", help="The object file, as clang -target bpf makes it.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where to pin it, on a bpffs.")],
    dev: Annotated[str, typer.Option("--dev", metavar="IF", help="Attach the XDP program to this network device.")] = "",
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help="XDP: auto (the driver's choice), native, generic.")] = "",
    attach: Annotated[str, typer.Option("--attach", metavar="NAME", help="Attach to this tracepoint.")] = "",
    no_attach: Annotated[bool, typer.Option("--no-attach", help="Don't attach what SEC() names a tracepoint for.")] = False,
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
    if mode and not dev:
        raise UsageError("--mode is about XDP on a device: it needs --dev IF")
    existing = {"reuse": reuse_maps, "replace": replace_maps, "fail": fail_on_existing}
    target = Target(device=dev, mode=mode or "auto", name=attach)
    with opened(attach_to) as attached_to:
        options = load_options(kernel_btf, kconfig, attached_to)
        options.programs = frozenset(program) if program else None
        options.existing_maps = _one_of([name for name, chosen in existing.items() if chosen])
        done = deploy(
            obj,
            path,
            target=target,
            attaching=not no_attach,
            maps_directory=pin_maps,
            options=options,
            mount=not session.nomount,
        )
    for note in done.notes:
        session.warn(f"Note: {note}")
    session.done()


def _one_of(chosen: list[str]) -> str:
    """Return what to do with maps that are pinned already. Raises UsageError."""
    if len(chosen) > 1:
        raise UsageError("--reuse-maps, --replace-maps and --fail-on-existing exclude each other")
    return chosen[0] if chosen else REUSE
