"""`bpfload OBJ PATH --dev IF --chain`: load a program, put it among those that a device runs, pin it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bpfload.errors import UsageError

if TYPE_CHECKING:
    from bpfload.load import LoadOptions
    from bpfload_cli.session import Session

# Options that have no meaning for a program in a chain.
_OTHERS = (
    "replace",
    "keep_maps",
    "fresh_maps",
    "fresh_map",
    "no_attach",
    "attach_all",
    "attach",
    "target",
    "direction",
    "cgroup",
    "netns",
    "pid",
    "map_",
    "netfilter",
    "event",
    "before",
    "after",
    "attach_to",
    "pin_mode",
    "pin_owner",
    "pin_group",
)


def load_into_chain(session: Session, given: Mapping[str, Any], options: LoadOptions, values: Mapping[str, str]) -> None:
    """Load as `given`, the options of `load`, say. `values`: of global variables."""
    from bpfload import dispatcher, elf

    for name in _OTHERS:
        if given.get(name):
            raise UsageError(f"--{name.strip('_').replace('_', '-')} doesn't go with --chain")
    names = list(given["program"] or ())
    if len(names) > 1:
        raise UsageError("--chain puts one program into a chain: name one with --program", hint="Load the others by themselves.")
    spec = elf.read(given["obj"])
    if values:
        from bpfload.load.settings import set_values

        set_values(spec, values)
    words = given["actions"]
    dispatcher.deploy(
        spec,
        given["path"],
        given["dev"],
        program=names[0] if names else "",
        priority=given["priority"],
        actions=None if not words else [] if words == "none" else words.split(","),
        mode=given["mode"] or "auto",
        maps_directory=given["pin_maps"],
        options=options,
        mount=not session.nomount,
    )
    session.done()
