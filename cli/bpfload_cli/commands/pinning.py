"""Pinning what is in the kernel already: `prog pin`, `map pin`, `link pin`."""

from __future__ import annotations

import os

from bpfload.objects import paths
from bpfload.objects.base import KernelObject
from bpfload_cli.session import Session


def pin_object(session: Session, item: KernelObject, path: str) -> None:
    """Pin an object at `path`, mounting a bpffs at /sys/fs/bpf if there is none. Raises PinError."""
    paths.check_name(path)
    place = os.path.abspath(path)
    paths.check_new(place, mount=not session.nomount)
    paths.pin(item.fd, place)
    session.done()
