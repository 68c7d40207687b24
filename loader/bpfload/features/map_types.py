"""Which map types the running kernel has: a small map of each is created and closed.

Source: probe_map_create() in tools/lib/bpf/libbpf_probes.c, whose answers these are.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass
from struct import pack

from bpfload.abi import consts
from bpfload.errors import ENOTSUPP, KernelError
from bpfload.syscall import bpf

#: The types that a network card may keep.
OFFLOADED = frozenset((consts.BPF_MAP_TYPE_HASH, consts.BPF_MAP_TYPE_ARRAY))

_CGROUP_STORAGE_KEY = 16  # struct bpf_cgroup_storage_key, with its padding
_INSN_ARRAY_VALUE = 16  # struct bpf_insn_array_value
_STORAGE = frozenset(
    (
        consts.BPF_MAP_TYPE_SK_STORAGE,
        consts.BPF_MAP_TYPE_INODE_STORAGE,
        consts.BPF_MAP_TYPE_TASK_STORAGE,
        consts.BPF_MAP_TYPE_CGRP_STORAGE,
    )
)
_OF_MAPS = frozenset((consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, consts.BPF_MAP_TYPE_HASH_OF_MAPS))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes in bytes, and flags, of the smallest map of a type."""

    key: int = 4
    value: int = 4
    entries: int = 1
    flags: int = 0


_PAGE = _Shape(0, 0, os.sysconf("SC_PAGE_SIZE"))
_SHAPES = {
    consts.BPF_MAP_TYPE_STACK_TRACE: _Shape(value=8),
    consts.BPF_MAP_TYPE_LPM_TRIE: _Shape(8, 8, flags=consts.BPF_F_NO_PREALLOC),
    consts.BPF_MAP_TYPE_CGROUP_STORAGE: _Shape(_CGROUP_STORAGE_KEY, 8, 0),
    consts.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: _Shape(_CGROUP_STORAGE_KEY, 8, 0),
    consts.BPF_MAP_TYPE_QUEUE: _Shape(0),
    consts.BPF_MAP_TYPE_STACK: _Shape(0),
    consts.BPF_MAP_TYPE_BLOOM_FILTER: _Shape(0),
    consts.BPF_MAP_TYPE_RINGBUF: _PAGE,
    consts.BPF_MAP_TYPE_USER_RINGBUF: _PAGE,
    consts.BPF_MAP_TYPE_ARENA: _Shape(0, 0, flags=consts.BPF_F_MMAPABLE),
    consts.BPF_MAP_TYPE_INSN_ARRAY: _Shape(value=_INSN_ARRAY_VALUE),
    **dict.fromkeys(_STORAGE, _Shape(4, 8, 0, consts.BPF_F_NO_PREALLOC)),
}
_PLAIN = _Shape()


def supported(map_type: int, *, ifindex: int = 0) -> bool | None:
    """Return whether the kernel knows a map type (`ifindex`: lets that network card keep it); None if it won't tell."""
    try:
        with ExitStack() as stack:
            fd = _create_offloaded(map_type, ifindex) if ifindex else _create(map_type, stack)
            os.close(fd)
    except KernelError as error:
        if map_type == consts.BPF_MAP_TYPE_STRUCT_OPS and error.errno == ENOTSUPP:
            return True
        return None if error.errno in (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EMFILE, errno.ENFILE) else False
    return map_type != consts.BPF_MAP_TYPE_STRUCT_OPS


def _create_offloaded(map_type: int, ifindex: int) -> int:
    return bpf.map_create(map_type, 4, 4, 1, ifindex=ifindex)


def _create(map_type: int, stack: ExitStack) -> int:
    shape = _SHAPES.get(map_type, _PLAIN)
    if map_type == consts.BPF_MAP_TYPE_STRUCT_OPS:
        # Type 1 is no struct_ops type: a kernel that knows the map type says ENOTSUPP.
        return bpf.map_create(map_type, 4, 4, 1, btf_vmlinux_value_type_id=1, value_type_btf_obj_fd=-1)
    inner = btf = 0
    if map_type in _OF_MAPS:
        inner = bpf.map_create(consts.BPF_MAP_TYPE_HASH, 4, 4, 1)
        stack.callback(os.close, inner)
    if map_type in _STORAGE:
        btf = bpf.btf_load(_storage_btf())
        stack.callback(os.close, btf)
    return bpf.map_create(
        map_type,
        shape.key,
        shape.value,
        shape.entries,
        shape.flags,
        inner_map_fd=inner,
        btf_fd=btf,
        btf_key_type_id=1 if btf else 0,
        btf_value_type_id=3 if btf else 0,
    )


def _storage_btf() -> bytes:
    """Return BTF: [1] ``int``, [2] ``struct bpf_spin_lock {int val;}``, [3] ``struct val {int cnt; struct bpf_spin_lock l;}``."""
    strings = b"\0bpf_spin_lock\0val\0cnt\0l\0"
    types = pack(
        "=17I",
        *(0, 1 << 24, 4, 1 << 24 | 32),
        *(1, 4 << 24 | 1, 4, 15, 1, 0),
        *(15, 4 << 24 | 2, 8, 19, 1, 0, 23),
    ) + pack("=II", 2, 32)
    return pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings
