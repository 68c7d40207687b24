"""Create the maps of an object, fill them and freeze what is read-only.

Order and fall-backs are libbpf's: bpf_object__create_maps(), bpf_object__create_map() and
bpf_object__populate_internal_map() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
import os
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError, KernelError, NotSupportedError
from bpfload.spec import MapSpec
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.load.session import Session

# Types whose elements the kernel doesn't describe by BTF (map_check_btf() in their kernel files refuses it).
_WITHOUT_BTF = frozenset(
    (
        consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
        consts.BPF_MAP_TYPE_CGROUP_ARRAY,
        consts.BPF_MAP_TYPE_STACK_TRACE,
        consts.BPF_MAP_TYPE_ARRAY_OF_MAPS,
        consts.BPF_MAP_TYPE_HASH_OF_MAPS,
        consts.BPF_MAP_TYPE_DEVMAP,
        consts.BPF_MAP_TYPE_DEVMAP_HASH,
        consts.BPF_MAP_TYPE_CPUMAP,
        consts.BPF_MAP_TYPE_XSKMAP,
        consts.BPF_MAP_TYPE_SOCKMAP,
        consts.BPF_MAP_TYPE_SOCKHASH,
        consts.BPF_MAP_TYPE_QUEUE,
        consts.BPF_MAP_TYPE_STACK,
        consts.BPF_MAP_TYPE_ARENA,
    )
)
_OF_MAPS = (consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, consts.BPF_MAP_TYPE_HASH_OF_MAPS)
_RING_BUFFERS = (consts.BPF_MAP_TYPE_RINGBUF, consts.BPF_MAP_TYPE_USER_RINGBUF)
_GLOBAL_DATA = ("data", "kconfig")
_ZERO_KEY = bytes(4)


def create_maps(session: Session) -> None:
    """Create every map of the object that isn't switched off; `session.map_fds` gets their fds, owned by the session."""
    for spec in session.spec.maps.values():
        if not spec.autocreate:
            continue
        given = session.options.maps.get(spec.name)
        if given is not None:
            session.map_fds[spec.name] = given
            continue
        try:
            _create_and_fill(session, spec)
        except BpfError as error:
            error.within(f"map {spec.name!r}")
            raise


def _create_and_fill(session: Session, spec: MapSpec) -> None:
    pinning = spec.pinning and session.options.pin_root is not None
    if pinning:
        from bpfload.load import pinned

        fd = pinned.open_existing(session, spec)
        if fd is not None:
            session.adopt_map(spec, fd)
            return
    fd = create_map(session, spec)
    if fd is None:
        return
    session.adopt_map(spec, fd)
    if spec.kind in _GLOBAL_DATA:
        _fill_global_data(fd, spec, session.initial_value(spec))
    elif spec.kind == "arena":
        from bpfload.load import arena

        arena.map_arena(session, spec, fd)
    if spec.slots and spec.type in _OF_MAPS:
        _fill_map_slots(session, spec, fd)
    if pinning:
        from bpfload.load import pinned

        pinned.pin(session, spec, fd)


def create_map(session: Session, spec: MapSpec) -> int | None:
    """Create one map and return its fd; None for global data on a kernel that has none."""
    inner_fd = _create_inner_map(session, spec) if spec.type in _OF_MAPS else 0
    try:
        return _create_with_fallbacks(session, spec, inner_fd)
    finally:
        if inner_fd and spec.inner is not None:
            os.close(inner_fd)


def _create_inner_map(session: Session, spec: MapSpec) -> int:
    """Create the template that a map-in-map is made from; the kernel keeps only its form."""
    if spec.inner is None:
        return 0
    try:
        return create_map(session, spec.inner) or 0
    except BpfError as error:
        error.within("its inner map")
        raise


def _create_with_fallbacks(session: Session, spec: MapSpec, inner_fd: int) -> int | None:
    flags, name = spec.flags, spec.kernel_name or spec.name
    described = session.btf_fd > 0 and spec.type not in _WITHOUT_BTF
    struct_ops = session.struct_ops.get(spec.name)
    exclusive = b""
    if session.options.exclusive_maps:
        from bpfload.load.exclusive import program_hash

        exclusive = program_hash(session, spec)

    def attempt(flags: int, name: str, with_btf: bool) -> int:
        return bpf.map_create(
            spec.type,
            spec.key_size,
            struct_ops.value_size if struct_ops else spec.value_size,
            actual_max_entries(spec),
            flags | (consts.BPF_F_VTYPE_BTF_OBJ_FD if struct_ops and struct_ops.btf_fd else 0) | session.token_flag,
            name=name,
            inner_map_fd=inner_fd,
            numa_node=spec.numa_node,
            ifindex=spec.ifindex,
            btf_fd=session.btf_fd if with_btf else 0,
            btf_key_type_id=spec.key_type_id if with_btf else 0,
            btf_value_type_id=spec.value_type_id if with_btf and not struct_ops else 0,
            btf_vmlinux_value_type_id=struct_ops.value_type_id if struct_ops else 0,
            map_extra=spec.extra,
            value_type_btf_obj_fd=struct_ops.btf_fd if struct_ops else 0,
            token_fd=session.token_fd,
            excl_prog_hash=exclusive,
        )

    try:
        return attempt(flags, name, described)
    except KernelError as error:
        refused = error
    if exclusive and refused.errno == errno.E2BIG:
        raise NotSupportedError("exclusive maps", since="6.18", call="BPF_MAP_CREATE", errno=errno.E2BIG) from refused
    # Why? First what an old kernel may lack, then, as libbpf does, without BTF.
    if refused.errno in (errno.EINVAL, errno.E2BIG):
        older = _without_missing_features(spec, flags, name)
        if older is None:
            return None
        if older != (flags, name):
            flags, name = older
            try:
                return attempt(flags, name, described)
            except KernelError as error:
                refused = error
    if described and (spec.key_type_id or (spec.value_type_id and not struct_ops)):
        try:
            return attempt(flags, name, False)
        except KernelError as error:
            refused = error
    raise _explained(refused, spec)


def _without_missing_features(spec: MapSpec, flags: int, name: str) -> tuple[int, str] | None:
    """Return (flags, name) less what the running kernel lacks; None where it has no global data at all."""
    from bpfload import features

    if spec.kind in _GLOBAL_DATA and features.supports("global_data") is False:
        return None
    if spec.kind in _GLOBAL_DATA and flags & consts.BPF_F_MMAPABLE and features.supports("array_mmap") is False:
        flags &= ~consts.BPF_F_MMAPABLE
    if features.supports("prog_name") is False:
        name = ""
    return flags, name


def _explained(error: KernelError, spec: MapSpec) -> KernelError:
    """The kernel's refusal of a map with what is known about its cause."""
    from bpfload.abi.names import MAP_TYPE_NAMES, name_of

    kind = name_of(MAP_TYPE_NAMES, spec.type) or f"type {spec.type}"
    shape = f"{kind}, key {spec.key_size}B, value {spec.value_size}B, max_entries {spec.max_entries}, flags {spec.flags:#x}"
    hint = ""
    if error.errno == errno.EPERM:
        from bpfload.kernel import capabilities

        hint = capabilities.permission_hint(consts.CAP_BPF)
    elif error.errno == errno.E2BIG:
        hint = "It is larger than the kernel allows: lower max_entries or the value's size."
    elif error.errno == errno.ENOMEM:
        hint = "Not enough memory (or memory cgroup limit): lower max_entries, or set BPF_F_NO_PREALLOC."
    elif error.errno == errno.EINVAL and spec.max_entries == 0 and spec.type != consts.BPF_MAP_TYPE_STRUCT_OPS:
        hint = "max_entries is 0: set it in the map's definition."
    elif error.errno == errno.EINVAL:
        hint = "The kernel doesn't know the type or a flag, or a size doesn't fit the type."
    return KernelError("BPF_MAP_CREATE", error.errno or errno.EINVAL, f"can't create it ({shape})", hint=hint)


def actual_max_entries(spec: MapSpec) -> int:
    """Return max_entries as the kernel wants it on this machine.

    A perf event array of 0 gets one entry a possible CPU; a ring buffer's size (bytes) is rounded up to a page size times a
    power of two. Source: map_set_def_max_entries() and adjust_ringbuf_sz() in tools/lib/bpf/libbpf.c.
    """
    if spec.type == consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY and spec.max_entries == 0:
        from bpfload.kernel import cpus

        return cpus.possible()
    if spec.type in _RING_BUFFERS and spec.max_entries:
        page = os.sysconf("SC_PAGE_SIZE")
        pages, rest = divmod(spec.max_entries, page)
        if rest == 0 and pages & (pages - 1) == 0:
            return spec.max_entries
        size = page << pages.bit_length()
        return size if size <= 0xFFFFFFFF else spec.max_entries
    return spec.max_entries


def _fill_global_data(fd: int, spec: MapSpec, value: bytes | bytearray) -> None:
    if any(value) if len(value) <= 64 else value.count(0) != len(value):  # a new map is all zeroes already
        bpf.map_update_elem(fd, _ZERO_KEY, value)
    if spec.read_only:
        bpf.map_freeze(fd)


def _fill_map_slots(session: Session, spec: MapSpec, fd: int) -> None:
    for slot in spec.slots:
        inner = session.map_fds.get(slot.symbol)
        if inner is None:
            continue
        try:
            bpf.map_update_elem(fd, pack("=I", slot.index), pack("=i", inner))
        except BpfError as error:
            error.within(f"slot {slot.index} ({slot.symbol!r})")
            raise


def fill_program_slots(session: Session) -> None:
    """Put loaded programs into the statically initialised slots of prog_arrays, once all are loaded."""
    for spec in session.spec.maps.values():
        if spec.type != consts.BPF_MAP_TYPE_PROG_ARRAY or not spec.slots or spec.name not in session.map_fds:
            continue
        for slot in spec.slots:
            program = session.program_fds.get(slot.symbol)
            if program is None:
                # libbpf passes the fd -1 of a program that it hasn't loaded, and the kernel says EBADF.
                raise BpfError(
                    f"slot {slot.index} wants program {slot.symbol!r}, which isn't loaded", errno_code=errno.EBADF
                ).within(f"map {spec.name!r}")
            bpf.map_update_elem(session.map_fds[spec.name], pack("=I", slot.index), pack("=i", program))
