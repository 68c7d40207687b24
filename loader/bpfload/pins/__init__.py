"""bpffs: pin, open, look through it, publish a whole load at once, unload it again.

A load at PATH is published so that PATH appears last and by rename: whoever sees PATH sees a finished load. What is being
built is called PATH + "_bpfload_tmp" until then; under that name the next load or unload at PATH finds what a killed one left,
and takes it away. See `publish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.objects.bpffs import Pin, identify, walk
    from bpfload.objects.paths import check_new, pin, require_bpffs
    from bpfload.pins.deployment import Deployed, deploy
    from bpfload.pins.holding import Holder, holders
    from bpfload.pins.publication import publish
    from bpfload.pins.removal import Unloaded, unload

__all__ = [
    "Deployed",
    "Holder",
    "Pin",
    "Unloaded",
    "check_new",
    "deploy",
    "holders",
    "identify",
    "pin",
    "publish",
    "require_bpffs",
    "unload",
    "walk",
]

_MODULES = {
    "Deployed": "pins.deployment",
    "Holder": "pins.holding",
    "Pin": "objects.bpffs",
    "Unloaded": "pins.removal",
    "check_new": "objects.paths",
    "deploy": "pins.deployment",
    "holders": "pins.holding",
    "identify": "objects.bpffs",
    "pin": "objects.paths",
    "publish": "pins.publication",
    "require_bpffs": "objects.paths",
    "unload": "pins.removal",
    "walk": "objects.bpffs",
}


def __getattr__(name: str) -> object:
    """Import a name's module when the name is first asked for: a load needs no unload."""
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"bpfload.{_MODULES[name]}"), name)
