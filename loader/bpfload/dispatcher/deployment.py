"""From an object file to a program that is pinned and in a device's chain."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bpfload.dispatcher import change
from bpfload.dispatcher.protocol import DEFAULT_VERSION
from bpfload.objects import paths
from bpfload.pins import staging
from bpfload.pins.publication import publish

if TYPE_CHECKING:
    from bpfload.load import LoadOptions
    from bpfload.spec import ObjectSpec


def deploy(
    source: ObjectSpec | str | os.PathLike[str],
    path: str | os.PathLike[str],
    device: str,
    *,
    program: str = "",
    priority: int | None = None,
    actions: Sequence[str] | None = None,
    mode: str = "auto",
    version: int = DEFAULT_VERSION,
    options: LoadOptions | None = None,
    mount: bool = True,
) -> list[str]:
    """Load a program of an object, put it into the device's chain as `change.attach` does, and pin it at `path`.

    Return the paths of the pins. All of it or nothing; `pins.unload(path)` removes the pin, `change.leave` the chain's hold.
    """
    place = os.path.abspath(os.fspath(path))
    paths.check_name(os.fspath(path))
    paths.check_new(place, mount=mount)
    staging.clean_up(place)
    joined = change.attach(
        source,
        device,
        program=program,
        priority=priority,
        actions=actions,
        mode=mode,
        version=version,
        options=options,
        mount=mount,
    )
    with joined:
        try:
            return publish(place, joined.programs)
        except BaseException:
            change.detach(device, [joined.program().info().id])
            raise
