"""bpfload: eBPF ELF object loader, pinning manager and inspector in pure Python.

The way of an object file::

    spec = bpfload.read("hello.bpf.o")              # ObjectSpec: plain data, to be looked at and edited
    spec.set_value("limit", 100)
    with bpfload.load(spec) as live:                # Object: programs and maps in the kernel, all or nothing
        with live.program("hello").attach_xdp("eth0"):
            print(live.value("counter"))

`deploy` and `unload` do the same with pins, for good; `check` asks the verifier only. Errors: `bpfload.errors`.

Everything here is imported when it is first named: `import bpfload` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.elf import read
    from bpfload.errors import BpfError
    from bpfload.links import Order, Target, attach
    from bpfload.links.program import AttachableProgram as Program
    from bpfload.load import LoadOptions, Object, load
    from bpfload.load.check import Verdict, check
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.btf import BtfObject
    from bpfload.objects.link import Link
    from bpfload.objects.map import Map
    from bpfload.pins import Deployed, Unloaded, deploy, unload
    from bpfload.spec import ObjectSpec
    from bpfload.streams.events import EventType, typed
    from bpfload.streams.perf_buffer import PerfBuffer
    from bpfload.streams.ring_buffer import RingBuffer, UserRingBuffer

__version__ = "0.1.0"

__all__ = [
    "Attachment",
    "BpfError",
    "BtfObject",
    "Deployed",
    "EventType",
    "Link",
    "LoadOptions",
    "Map",
    "Object",
    "ObjectSpec",
    "Order",
    "PerfBuffer",
    "Program",
    "RingBuffer",
    "Target",
    "Unloaded",
    "UserRingBuffer",
    "Verdict",
    "__version__",
    "attach",
    "check",
    "deploy",
    "load",
    "read",
    "typed",
    "unload",
]

_HOMES = {
    "Attachment": "objects.attachment",
    "BpfError": "errors",
    "BtfObject": "objects.btf",
    "Deployed": "pins",
    "EventType": "streams.events",
    "Link": "objects.link",
    "LoadOptions": "load",
    "Map": "objects.map",
    "Object": "load",
    "ObjectSpec": "spec",
    "Order": "links",
    "PerfBuffer": "streams.perf_buffer",
    "Program": "links.program:AttachableProgram",
    "RingBuffer": "streams.ring_buffer",
    "Target": "links",
    "Unloaded": "pins",
    "UserRingBuffer": "streams.ring_buffer",
    "Verdict": "load.check",
    "attach": "links",
    "check": "load.check",
    "deploy": "pins",
    "load": "load",
    "read": "elf",
    "typed": "streams.events",
    "unload": "pins",
}


def __getattr__(name: str) -> object:
    """Import what is asked for by name."""
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    return getattr(import_module(f"bpfload.{module}"), attribute or name)
