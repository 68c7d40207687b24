"""bpfload: eBPF ELF object loader, pinning manager and inspector in pure Python.

The way of an object file::

    spec = bpfload.read("hello.bpf.o")              # ObjectSpec: plain data, to be looked at and edited
    spec.set_value("limit", 100)
    with bpfload.load(spec) as live:                # Object: programs and maps in the kernel, all or nothing
        link = bpfload.attach(live.program("hello"), spec.program("hello"), bpfload.Target(device="eth0"))
        print(live.value("counter"))

`deploy` and `unload` do the same with pins, for good; `check` asks the verifier only. Errors: `bpfload.errors`.

Everything here is imported when it is first named: `import bpfload` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.elf import read
    from bpfload.errors import BpfError
    from bpfload.links import Target, attach
    from bpfload.load import LoadOptions, Object, load
    from bpfload.load.check import Verdict, check
    from bpfload.objects.btf import BtfObject
    from bpfload.objects.link import Link
    from bpfload.objects.map import Map
    from bpfload.objects.program import Program
    from bpfload.pins import Deployed, Unloaded, deploy, unload
    from bpfload.spec import ObjectSpec

__version__ = "0.1.0"

__all__ = [
    "BpfError",
    "BtfObject",
    "Deployed",
    "Link",
    "LoadOptions",
    "Map",
    "Object",
    "ObjectSpec",
    "Program",
    "Target",
    "Unloaded",
    "Verdict",
    "__version__",
    "attach",
    "check",
    "deploy",
    "load",
    "read",
    "unload",
]

_HOMES = {
    "BpfError": "errors",
    "BtfObject": "objects.btf",
    "Deployed": "pins",
    "Link": "objects.link",
    "LoadOptions": "load",
    "Map": "objects.map",
    "Object": "load",
    "ObjectSpec": "spec",
    "Program": "objects.program",
    "Target": "links",
    "Unloaded": "pins",
    "Verdict": "load.check",
    "attach": "links",
    "check": "load.check",
    "deploy": "pins",
    "load": "load",
    "read": "elf",
    "unload": "pins",
}


def __getattr__(name: str) -> object:
    """Import what is asked for by name."""
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bpfload.{home}"), name)
