"""Nothing left behind: file descriptors of this process, objects of the kernel."""

from __future__ import annotations

import gc
import os
import struct
import time
from collections import Counter
from pathlib import Path

from support import system

_NEXT_ID = {"program": 11, "map": 12, "btf": 23, "link": 31}
_FDINFO_KEYS = {"prog_id": "program", "map_id": "map", "link_id": "link", "btf_id": "btf"}


def open_fds() -> Counter[str]:
    """Count this process' open files that BPF work can leak, by what they are (`anon_inode:bpf-map`, a socket, a path)."""
    gc.collect()
    found: Counter[str] = Counter()
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue
        found[target.partition(":[")[0]] += 1
    return found


def kernel_ids() -> dict[str, set[int]]:
    """Return the ids of all programs, maps, BTF objects and links that the kernel has now."""
    return {kind: _ids(command) for kind, command in _NEXT_ID.items()}


def _ids(command: int) -> set[int]:
    ids: set[int] = set()
    last = 0
    while True:
        attribute = bytearray(struct.pack("=III", last, 0, 0))
        try:
            system.bpf(command, attribute)
        except OSError:
            return ids
        last = struct.unpack_from("=I", attribute, 4)[0]
        ids.add(last)


def held_by_strangers() -> dict[str, set[int]]:
    """Return the ids that processes hold which are neither this one nor its children: other people's BPF."""
    ours = {os.getpid()}
    held: dict[str, set[int]] = {kind: set() for kind in _NEXT_ID}
    processes = sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit())
    for pid in processes:
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid in ours or parent in ours:
                ours.add(pid)
                continue
            for info in Path(f"/proc/{pid}/fdinfo").iterdir():
                for line in info.read_text().splitlines():
                    key, _, value = line.partition(":")
                    if key in _FDINFO_KEYS:
                        held[_FDINFO_KEYS[key]].add(int(value))
        except OSError:
            continue
    return held


def left_behind(before: dict[str, set[int]], *, patience: float = 3.0) -> dict[str, set[int]]:
    """Return what the kernel has now, had not before, and no stranger holds.

    The kernel frees what was closed a little later (RCU), hence the patience.
    """
    deadline = time.monotonic() + patience
    while True:
        gc.collect()
        now = kernel_ids()
        new = {kind: now[kind] - before[kind] for kind in now}
        if any(new.values()):
            strangers = held_by_strangers()
            new = {kind: ids - strangers[kind] for kind, ids in new.items()}
        new = {kind: ids for kind, ids in new.items() if ids}
        if not new or time.monotonic() > deadline:
            return new
        time.sleep(0.05)
