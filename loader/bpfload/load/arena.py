"""Arena maps: memory shared between programs and this process, with the object's arena globals in it.

The verifier wants to know where the arena lies in user space, so it is mapped before any program is loaded.
Source: arena_map_mmap() in kernel/bpf/arena.c; bpf_object__create_maps() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.errors import BpfError
from bpfload.spec import MapSpec
from bpfload.syscall import mem

if TYPE_CHECKING:
    from bpfload.load.session import Session


def map_arena(session: Session, spec: MapSpec, fd: int) -> None:
    """Map the arena at `map_extra` (0: anywhere) and copy its initial data; it is unmapped when the load ends."""
    size = spec.max_entries * os.sysconf("SC_PAGE_SIZE")
    if spec.data is not None and len(spec.data) > size:
        raise BpfError(
            f"its globals take {len(spec.data)} bytes, and it has {size}",
            hint="Raise the arena's max_entries (pages).",
            errno_code=errno.E2BIG,
        )
    address = mem.map_shared(fd, size, address=spec.extra)
    session.stack.callback(mem.unmap, address, size)
    if spec.data:
        mem.write(address, bytes(spec.data))
