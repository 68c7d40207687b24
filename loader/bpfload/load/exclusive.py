"""Exclusive maps: a map that one program alone may use, which the kernel knows by the digest of its instructions (Linux 6.18).

Source: bpf_map__set_exclusive_program() and bpf_prog_compute_hash() in tools/lib/bpf/libbpf.c (libbpf 1.7); map_create() and
check_map_prog_compatibility() in kernel/bpf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.errors import NotFoundError
from bpfload.insn.tag import program_digest
from bpfload.linker import References, patch_references
from bpfload.spec import MapSpec

if TYPE_CHECKING:
    from bpfload.load.session import Session


def program_hash(session: Session, spec: MapSpec) -> bytes:
    """Return the digest of the program that a map is for, b"" for a map that isn't exclusive. Raises NotFoundError."""
    name = session.options.exclusive_maps.get(spec.name)
    if name is None:
        return b""
    for linked in session.linked:
        if linked.name == name:
            # No map exists yet; their file descriptors don't count in the digest.
            references = References(dict.fromkeys(session.spec.maps, 0), list(session.spec.maps), session.externs)
            return program_digest(patch_references(linked, references), algorithm="sha256")
    names = ", ".join(linked.name for linked in session.linked) or "none"
    raise NotFoundError(f"the map is to be exclusive to program {name!r}, which isn't loaded; there are: {names}")
