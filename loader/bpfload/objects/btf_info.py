"""What the kernel says of a BTF object, decoded."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from struct import calcsize, pack_into, unpack_from

from bpfload.abi import layout
from bpfload.errors import KernelError
from bpfload.objects.text import text_of
from bpfload.syscall import bpf


@dataclass(frozen=True, slots=True)
class BtfInfo:
    """struct bpf_btf_info. `data`: the BTF, b"" unless asked for. `kernel_btf`: vmlinux's or a module's."""

    id: int
    btf_size: int
    name: str
    kernel_btf: bool
    data: bytes = b""


def btf_info(fd: int, *, data: bool = False) -> BtfInfo:
    """Ask the kernel about a BTF object. Raises KernelError.

    Kernels before 5.11 have no names for BTF objects, nor objects for their own BTF.
    """
    size = 0
    if data:
        info = bytearray(calcsize(layout.BTF_INFO_FORMAT))
        bpf.obj_get_info_by_fd(fd, info)
        (size,) = unpack_from("=I", info, 8)
    name, blob = bytearray(64), bytearray(size)
    info = bytearray(calcsize(layout.BTF_INFO_FORMAT))
    pack_into(layout.BTF_INFO_FORMAT, info, 0, bpf.address(blob), size, 0, bpf.address(name), len(name), 0)
    try:
        bpf.obj_get_info_by_fd(fd, info)
    except KernelError as error:
        if error.errno != errno.E2BIG:
            raise
        pack_into(layout.BTF_INFO_FORMAT, info, 0, bpf.address(blob), size, 0, 0, 0, 0)
        bpf.obj_get_info_by_fd(fd, info)
    _, btf_size, ident, _, _, kernel_btf = unpack_from(layout.BTF_INFO_FORMAT, info)
    return BtfInfo(ident, btf_size, text_of(name), bool(kernel_btf), bytes(blob))
