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
    from bpfload.load import LoadOptions, Object
    from bpfload.objects.map import Map
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
    maps_directory: str | os.PathLike[str] = "",
    options: LoadOptions | None = None,
    mount: bool = True,
) -> list[str]:
    """Load a program of an object, put it into the device's chain as `change.attach` does, and pin it at `path`.

    `maps_directory`: also pin the maps, there. Return the paths of the pins. All of it or nothing; `unloading.unload(path)` is
    the way back.
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
            maps = _by_pin(joined) if maps_directory else {}
            return publish(place, joined.programs, maps=maps, maps_directory=os.fspath(maps_directory))
        except BaseException:
            change.detach(device, [joined.program().info().id])
            raise


def _by_pin(loaded: Object) -> dict[str, Map]:
    """Return the maps by the names of their pins: the kernel's, with "_" for dots; not those that are pinned by name."""
    return {
        (spec.kernel_name or name).replace(".", "_"): loaded.maps[name]
        for name, spec in loaded.spec.maps.items()
        if name in loaded.maps and not spec.pinning
    }
