"""bpffs: pin, open, look through it, publish a whole load at once, unload it again.

A load at PATH is published so that PATH appears last and by rename: whoever sees PATH sees a finished load. What is being
built is called PATH + "_bpfload_tmp" until then; under that name the next load or unload at PATH finds what a killed one left,
and takes it away. See `publish`.
"""

from __future__ import annotations

from bpfload.pins.paths import check_new, pin, require_bpffs

__all__ = ["check_new", "deploy", "pin", "publish", "require_bpffs", "unload", "walk"]


def __getattr__(name: str) -> object:
    """Import a function when it is first named."""
    import importlib

    modules = {"deploy": "deploy", "publish": "publish", "unload": "removal", "walk": "contents"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"bpfload.pins.{modules[name]}"), name)
