"""Several XDP programs on one network device: a dispatcher that calls them in order of their priorities.

It speaks libxdp's protocol: `xdp-loader status` shows what is attached here, and what libxdp attached can be added to and taken
apart here. Programs replace functions of the dispatcher (freplace), which takes Linux 5.10.

::

    dispatcher.attach("count.bpf.o", "eth0", priority=10, actions=["pass"]).close()
    chain = dispatcher.chain_on(socket.if_nametoindex("eth0"))
    dispatcher.detach("eth0", [chain.programs[0].id])

    protocol     names, numbers, the configuration, the lock      program     the dispatcher's instructions and types
    run_config   what an object says of its place                 chain       what a device runs
    change       a program more, or less                          swap        one dispatcher in another's place
    deployment   a program in a chain and pinned
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfload.dispatcher.chain import Chain, ChainProgram, chain_on
    from bpfload.dispatcher.change import attach, attach_program, detach, leave
    from bpfload.dispatcher.deployment import deploy

__all__ = ["Chain", "ChainProgram", "attach", "attach_program", "chain_on", "deploy", "detach", "leave"]

_HOMES = {
    "Chain": "chain",
    "ChainProgram": "chain",
    "attach": "change",
    "attach_program": "change",
    "chain_on": "chain",
    "deploy": "deployment",
    "detach": "change",
    "leave": "change",
}


def __getattr__(name: str) -> object:
    """Import a name's module when the name is first asked for."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bpfload.dispatcher.{_HOMES[name]}"), name)
