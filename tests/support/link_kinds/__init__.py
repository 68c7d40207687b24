"""The table of attachments: one row for each kind that bpfload can make, for the one test that goes over all of them.

::

    kind       Kind, Place: what a row says, what it may use
    network    devices, control groups, namespaces, sockets
    probes     kprobe, uprobe, tracepoint, perf event and their multi forms
    tracing    what is verified for its target: fentry, lsm, freplace, iterators, struct_ops
"""

from __future__ import annotations

from support.link_kinds import network, probes, tracing
from support.link_kinds.kind import Kind, Place

__all__ = ["KINDS", "Kind", "Place"]

KINDS: tuple[Kind, ...] = (*network.KINDS, *probes.KINDS, *tracing.KINDS)
