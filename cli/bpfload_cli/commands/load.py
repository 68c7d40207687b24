"""`bpfload OBJ PATH`: load an object, attach it where asked, pin it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from bpfload.errors import UsageError
from bpfload.links import Target
from bpfload.objects.program import Program
from bpfload.pins.deployment import deploy

if TYPE_CHECKING:
    from bpfload.load import LoadOptions
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
    kernel_btf: Annotated[
        str, typer.Option("--kernel-btf", metavar="FILE", help="Resolve CO-RE relocations against this BTF.")
    ] = "",
    kconfig: Annotated[
        str, typer.Option("--kconfig", metavar="FILE", help="Values of CONFIG_ externs, before the kernel's own.")
    ] = "",
    attach_to: Annotated[
        str, typer.Option("--attach-to", metavar="PIN", help="The pinned program that freplace, fentry, fexit target.")
    ] = "",
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
    options = _options(program, kernel_btf, kconfig, [name for name, chosen in existing.items() if chosen])
    target = Target(device=dev, mode=mode or "auto", name=attach)
    with _opened(attach_to) as program_to_attach_to:
        if program_to_attach_to is not None:
            options.attach_to = program_to_attach_to.fd
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


def _opened(pin: str) -> AbstractContextManager[Program | None]:
    """Open the program that --attach-to names, if it names one."""
    return Program.from_pin(pin) if pin else nullcontext()


def _options(programs: list[str] | None, kernel_btf: str, kconfig: str, existing: list[str]) -> LoadOptions:
    from bpfload.load import LoadOptions

    if len(existing) > 1:
        raise UsageError("--reuse-maps, --replace-maps and --fail-on-existing exclude each other")
    options = LoadOptions(kernel_btf=kernel_btf or None)
    if programs:
        options.programs = frozenset(programs)
    if kconfig:
        with open(kconfig, encoding="utf-8", errors="surrogateescape") as file:
            options.kconfig = file.read()
    if existing:
        options.existing_maps = existing[0]
    return options
