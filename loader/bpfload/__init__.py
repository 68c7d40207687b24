"""bpfload: eBPF ELF object loader, pinning manager and inspector in pure Python.

The way of an object file::

    spec = bpfload.read("hello.bpf.o")              # ObjectSpec: plain data, to be looked at and edited
    spec.set_value("limit", 100)
    with bpfload.load(spec) as live:                # Object: programs and maps in the kernel, all or nothing
        with live.program("hello").attach_xdp("eth0"):
            print(live.value("counter"))

`deploy` and `unload` do the same with pins, for good; `check` asks the verifier only. Errors are `BpfError` and what derives
from it, explained in `bpfload.errors`; what is in the kernel is told by the modules of `bpfload.inspect`.

Everything here is imported when it is first named: `import bpfload` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.elf import read
    from bpfload.errors import (
        BpfError,
        FormatError,
        KernelError,
        LinkError,
        NotFoundError,
        NotSupportedError,
        PinError,
        UsageError,
        VerifierError,
    )
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
    "FormatError",
    "KernelError",
    "Link",
    "LinkError",
    "LoadOptions",
    "Map",
    "NotFoundError",
    "NotSupportedError",
    "Object",
    "ObjectSpec",
    "Order",
    "PerfBuffer",
    "PinError",
    "Program",
    "RingBuffer",
    "Target",
    "Unloaded",
    "UsageError",
    "UserRingBuffer",
    "Verdict",
    "VerifierError",
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
    "FormatError": "errors",
    "KernelError": "errors",
    "Link": "objects.link",
    "LinkError": "errors",
    "LoadOptions": "load",
    "Map": "objects.map",
    "NotFoundError": "errors",
    "NotSupportedError": "errors",
    "Object": "load",
    "ObjectSpec": "spec",
    "Order": "links",
    "PerfBuffer": "streams.perf_buffer",
    "PinError": "errors",
    "Program": "links.program:AttachableProgram",
    "RingBuffer": "streams.ring_buffer",
    "Target": "links",
    "Unloaded": "pins",
    "UsageError": "errors",
    "UserRingBuffer": "streams.ring_buffer",
    "Verdict": "load.check",
    "VerifierError": "errors",
    "attach": "links",
    "check": "load.check",
    "deploy": "pins",
    "load": "load",
    "read": "elf",
    "typed": "streams.events",
    "unload": "pins",
}
#: Modules that are there without an import of their own, as in ``except bpfload.errors.VerifierError``.
_MODULES = ("errors", "inspect", "links", "spec")


def __getattr__(name: str) -> object:
    """Import what is asked for by name."""
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"bpfload.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    return getattr(import_module(f"bpfload.{module}"), attribute or name)


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__, *_MODULES})
