"""Network devices by number, in this network namespace and as another one's object names them."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """The device that a program or map is offloaded to. `ifname`: None where the device isn't in our network namespace."""

    ifindex: int
    ns_dev: int
    ns_inode: int
    ifname: str | None


def name_of(ifindex: int) -> str | None:
    """Return the name of a device of this network namespace, or None."""
    import socket

    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return None


def offload_device(ifindex: int, netns_dev: int, netns_ino: int) -> Device | None:
    """Return the device that an object is offloaded to; None where it isn't (`ifindex` 0)."""
    if not ifindex:
        return None
    here = os.stat("/proc/self/ns/net")
    same = (here.st_dev, here.st_ino) == (netns_dev, netns_ino)
    return Device(ifindex, netns_dev, netns_ino, name_of(ifindex) if same else None)
