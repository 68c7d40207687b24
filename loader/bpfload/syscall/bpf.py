"""bpf(2): one function per command, named after it.

Every function raises KernelError (call = the command's name) where the kernel refuses; what fits better (VerifierError,
NotSupportedError) is decided by the callers, who know what was meant. `bytes` in, `bytes` and ints out; a returned fd is
owned by the caller and is close-on-exec, as the kernel makes all BPF fds.

Source: union bpf_attr in include/uapi/linux/bpf.h; __sys_bpf() in kernel/bpf/syscall.c. Attributes are passed as long as
the fields that are set: older kernels accept a longer union only if what they don't know is zero (bpf_check_uarg_tail_zero()).
"""

from __future__ import annotations

import errno
import os
from struct import pack, pack_into, unpack_from

from bpfload.abi import consts
from bpfload.errors import KernelError
from bpfload.syscall.bpf_call import address as address  # whoever makes attributes gets it from here, too
from bpfload.syscall.bpf_call import call, call_in_place

# The kernel gives up verification with EAGAIN when a signal is pending; libbpf tries as often.
_PROG_LOAD_ATTEMPTS = 5


def object_name(name: str | bytes) -> bytes:
    """Return as much of a name as the kernel takes: 15 bytes. It refuses any but letters, digits, "_" and ".".

    Source: bpf_obj_name_cpy() in kernel/bpf/syscall.c.
    """
    raw = name.encode() if isinstance(name, str) else name
    return raw[: consts.BPF_OBJ_NAME_LEN - 1]


# --- maps -----------------------------------------------------------------------------------------------------------


def map_create(
    map_type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    *,
    name: str | bytes = b"",
    inner_map_fd: int = 0,
    numa_node: int = 0,
    ifindex: int = 0,
    btf_fd: int = 0,
    btf_key_type_id: int = 0,
    btf_value_type_id: int = 0,
    btf_vmlinux_value_type_id: int = 0,
    map_extra: int = 0,
    value_type_btf_obj_fd: int = 0,
    token_fd: int = 0,
    excl_prog_hash: bytes = b"",
) -> int:
    """Create a map and return its fd. Sizes in bytes."""
    attr = pack(
        "=7I16s5IQii",
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
        inner_map_fd,
        numa_node,
        object_name(name),
        ifindex,
        btf_fd,
        btf_key_type_id,
        btf_value_type_id,
        btf_vmlinux_value_type_id,
        map_extra,
        value_type_btf_obj_fd,
        token_fd,
    )
    if excl_prog_hash:
        attr += pack("=QII", address(excl_prog_hash), len(excl_prog_hash), 0)
    return call(consts.BPF_MAP_CREATE, attr, "BPF_MAP_CREATE")


def _elem(fd: int, key: bytes | None, value: int, flags: int) -> bytes:
    return pack("=IIQQQ", fd, 0, address(key), value, flags)


def map_lookup_elem(fd: int, key: bytes | None, value_size: int, flags: int = 0) -> bytes:
    """Return the value at `key`. `value_size`: of the whole value; per-CPU maps: of all CPUs, each rounded up to 8 bytes."""
    value = bytearray(value_size)
    call(consts.BPF_MAP_LOOKUP_ELEM, _elem(fd, key, address(value), flags), "BPF_MAP_LOOKUP_ELEM")
    return bytes(value)


def map_update_elem(fd: int, key: bytes | None, value: bytes | bytearray, flags: int = 0) -> None:
    """Store a value. `flags`: BPF_ANY, BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK."""
    call(consts.BPF_MAP_UPDATE_ELEM, _elem(fd, key, address(value), flags), "BPF_MAP_UPDATE_ELEM")


def map_delete_elem(fd: int, key: bytes) -> None:
    """Delete the element at `key`."""
    call(consts.BPF_MAP_DELETE_ELEM, _elem(fd, key, 0, 0), "BPF_MAP_DELETE_ELEM")


def map_lookup_and_delete_elem(fd: int, key: bytes | None, value_size: int, flags: int = 0) -> bytes:
    """Return the value at `key` and delete it; `key` None pops from a queue or stack."""
    value = bytearray(value_size)
    call(consts.BPF_MAP_LOOKUP_AND_DELETE_ELEM, _elem(fd, key, address(value), flags), "BPF_MAP_LOOKUP_AND_DELETE_ELEM")
    return bytes(value)


def map_get_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """Return the key after `key` (None: the first), or None at the end."""
    following = bytearray(key_size)
    try:
        call(consts.BPF_MAP_GET_NEXT_KEY, _elem(fd, key, address(following), 0), "BPF_MAP_GET_NEXT_KEY")
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return bytes(following)


def map_freeze(fd: int) -> None:
    """Make a map read-only for user space, for good."""
    call(consts.BPF_MAP_FREEZE, pack("=I", fd), "BPF_MAP_FREEZE")


def map_lookup_batch(
    fd: int, start: bytes | None, count: int, key_size: int, value_size: int, *, token_size: int | None = None
) -> tuple[bytes, bytes, int, bytes | None]:
    """Read up to `count` elements at once.

    `start`: None, or the token that the last call returned. Returns (keys, values, number read, next token); the token is
    None at the end. Raises KernelError ENOSPC where a hash bucket holds more than `count` elements, EINTR where elements vanished
    so fast that none could be read.
    """
    keys = bytearray(max(count * key_size, 1))
    values = bytearray(max(count * value_size, 1))
    token = bytearray(max(token_size or key_size, 4))
    attr = bytearray(
        pack("=QQQQIIQQ", address(start), address(token), address(keys), address(values), count, fd, 0, 0),
    )
    done = False
    try:
        call_in_place(consts.BPF_MAP_LOOKUP_BATCH, attr, "BPF_MAP_LOOKUP_BATCH")
    except KernelError as error:
        # EINTR: what was read before counts, and the token goes on from there.
        if error.errno != errno.ENOENT and not (error.errno == errno.EINTR and unpack_from("=I", attr, 32)[0]):
            raise
        done = error.errno == errno.ENOENT
    (read,) = unpack_from("=I", attr, 32)
    return bytes(keys[: read * key_size]), bytes(values[: read * value_size]), read, None if done else bytes(token)


def map_update_batch(fd: int, keys: bytes, values: bytes, count: int, flags: int = 0) -> None:
    """Store `count` elements at once (Linux 5.6). `keys`, `values`: one after another. `flags`: of each, BPF_ANY, …"""
    attr = bytearray(pack("=QQQQIIQQ", 0, 0, address(keys), address(values), count, fd, flags, 0))
    call_in_place(consts.BPF_MAP_UPDATE_BATCH, attr, "BPF_MAP_UPDATE_BATCH")


# --- programs -------------------------------------------------------------------------------------------------------


def prog_load(
    prog_type: int,
    insns: bytes | bytearray,
    license: bytes,
    *,
    name: str | bytes = b"",
    expected_attach_type: int = 0,
    flags: int = 0,
    kern_version: int = 0,
    ifindex: int = 0,
    btf_fd: int = 0,
    func_info: bytes | bytearray = b"",
    func_info_rec_size: int = 0,
    line_info: bytes | bytearray = b"",
    line_info_rec_size: int = 0,
    attach_btf_id: int = 0,
    attach_fd: int = 0,
    fd_array: bytes | bytearray = b"",
    log_level: int = 0,
    log: bytearray | None = None,
    token_fd: int = 0,
) -> int:
    """Load a program and return its fd.

    `insns`: packed 8-byte slots. `license`: without the NUL. `func_info`, `line_info`: packed records of the given sizes.
    `attach_fd`: the target program, or the BTF object that `attach_btf_id` is an id of (0: vmlinux). `fd_array`: packed
    32-bit fds. `log`: the buffer for the verifier's log, asked for at `log_level`. Raises KernelError with the bare errno.
    """
    licence = license + b"\0"
    attr = pack(
        "=IIQQIIQII16sIIIIQIIQIIIIQ",
        prog_type,
        len(insns) // 8,
        address(insns),
        address(licence),
        log_level,
        len(log) if log else 0,
        address(log),
        kern_version,
        flags,
        object_name(name),
        ifindex,
        expected_attach_type,
        btf_fd,
        func_info_rec_size if func_info else 0,
        address(func_info),
        len(func_info) // func_info_rec_size if func_info else 0,
        line_info_rec_size if line_info else 0,
        address(line_info),
        len(line_info) // line_info_rec_size if line_info else 0,
        attach_btf_id,
        attach_fd,
        0,
        address(fd_array),
    )
    if token_fd:
        attr += pack("=QIIi", 0, 0, 0, token_fd)
    for attempt in range(_PROG_LOAD_ATTEMPTS):
        try:
            return call(consts.BPF_PROG_LOAD, attr, "BPF_PROG_LOAD")
        except KernelError as error:
            if error.errno != errno.EAGAIN or attempt == _PROG_LOAD_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def prog_attach(
    prog_fd: int,
    target: int,
    attach_type: int,
    flags: int = 0,
    *,
    replace_fd: int = 0,
    relative: int = 0,
    expected_revision: int = 0,
) -> None:
    """Attach without a link. `target`: fd of a cgroup or map, or an interface index. `relative`: fd or id (BPF_F_ID)."""
    attr = pack("=IIIIIIQ", target, prog_fd, attach_type, flags, replace_fd, relative, expected_revision)
    call(consts.BPF_PROG_ATTACH, attr, "BPF_PROG_ATTACH")


def prog_detach(
    prog_fd: int, target: int, attach_type: int, flags: int = 0, *, relative: int = 0, expected_revision: int = 0
) -> None:
    """Detach what prog_attach attached."""
    attr = pack("=IIIIIIQ", target, prog_fd, attach_type, flags, 0, relative, expected_revision)
    call(consts.BPF_PROG_DETACH, attr, "BPF_PROG_DETACH")


def prog_query(target: int, attach_type: int, query_flags: int = 0) -> tuple[list[int], int, list[int], list[int], list[int]]:
    """Return what is attached at a hook: (program ids, attach flags, each program's flags, link ids, link flags).

    `target`: fd of a cgroup, network namespace or map, or an interface index (tcx, netkit).
    """
    attr = bytearray(64)
    pack_into("=III", attr, 0, target, attach_type, query_flags)
    call_in_place(consts.BPF_PROG_QUERY, attr, "BPF_PROG_QUERY")
    (count,) = unpack_from("=I", attr, 24)
    (attach_flags,) = unpack_from("=I", attr, 12)
    if count == 0:
        return [], attach_flags, [], [], []
    count += 8
    ids, per_program, links, link_flags = (bytearray(4 * count) for _ in range(4))
    attr = bytearray(64)
    # Effective queries take no array of flags; attach types other than cgroup, tcx and netkit none at all.
    effective = query_flags & consts.BPF_F_QUERY_EFFECTIVE
    pack_into("=III", attr, 0, target, attach_type, query_flags)
    pack_into("=QI", attr, 16, address(ids), count)
    with_links = attach_type in (
        consts.BPF_TCX_INGRESS,
        consts.BPF_TCX_EGRESS,
        consts.BPF_NETKIT_PRIMARY,
        consts.BPF_NETKIT_PEER,
    )
    if not effective:
        pack_into("=Q", attr, 32, address(per_program))
    if with_links:
        pack_into("=QQ", attr, 40, address(links), address(link_flags))
    try:
        call_in_place(consts.BPF_PROG_QUERY, attr, "BPF_PROG_QUERY")
    except KernelError as error:
        if error.errno not in (errno.EINVAL, errno.E2BIG):
            raise
        pack_into("=QQQ", attr, 32, 0, 0, 0)
        pack_into("=I", attr, 24, count)
        call_in_place(consts.BPF_PROG_QUERY, attr, "BPF_PROG_QUERY")
    (found,) = unpack_from("=I", attr, 24)
    (attach_flags,) = unpack_from("=I", attr, 12)

    def numbers(buffer: bytearray) -> list[int]:
        return list(unpack_from(f"={found}I", buffer))

    return numbers(ids), attach_flags, numbers(per_program), numbers(links), numbers(link_flags)


def prog_test_run(
    fd: int,
    data: bytes = b"",
    *,
    data_size_out: int = 0,
    context: bytes = b"",
    context_size_out: int = 0,
    repeat: int = 0,
    flags: int = 0,
    cpu: int = 0,
    batch_size: int = 0,
) -> tuple[int, bytes, bytes, int]:
    """Run a program; return (its return value, output data, output context, mean duration in nanoseconds)."""
    out, ctx_out = bytearray(data_size_out), bytearray(context_size_out)
    attr = bytearray(
        pack(
            "=IIIIQQIIIIQQIIII",
            fd,
            0,
            len(data),
            len(out),
            address(data),
            address(out),
            repeat,
            0,
            len(context),
            len(ctx_out),
            address(context),
            address(ctx_out),
            flags,
            cpu,
            batch_size,
            0,
        )
    )
    call_in_place(consts.BPF_PROG_TEST_RUN, attr, "BPF_PROG_TEST_RUN")
    retval, size_out = unpack_from("=I4xI", attr, 4)
    (duration,) = unpack_from("=I", attr, 36)
    (context_out,) = unpack_from("=I", attr, 44)
    return retval, bytes(out[:size_out]), bytes(ctx_out[:context_out]), duration


def prog_bind_map(prog_fd: int, map_fd: int) -> None:
    """Let a program hold a map that its instructions don't mention."""
    call(consts.BPF_PROG_BIND_MAP, pack("=III", prog_fd, map_fd, 0), "BPF_PROG_BIND_MAP")


def prog_stream_read(prog_fd: int, stream: int, size: int) -> bytes:
    """Read up to `size` bytes of a program's stream: 1 stdout, 2 stderr."""
    buffer = bytearray(size)
    attr = pack("=QIII4x", address(buffer), size, stream, prog_fd)
    return bytes(buffer[: call(consts.BPF_PROG_STREAM_READ_BY_FD, attr, "BPF_PROG_STREAM_READ_BY_FD")])


# --- BTF ------------------------------------------------------------------------------------------------------------


def btf_load(data: bytes | bytearray, *, log_level: int = 0, log: bytearray | None = None, token_fd: int = 0) -> int:
    """Load BTF and return its fd. `log`: buffer for the kernel's reasons, asked for at `log_level`."""
    attr = pack("=QQIII", address(data), address(log), len(data), len(log) if log else 0, log_level)
    if token_fd:
        attr += pack("=IIi", 0, consts.BPF_F_TOKEN_FD, token_fd)
    return call(consts.BPF_BTF_LOAD, attr, "BPF_BTF_LOAD")


# --- ids and info ---------------------------------------------------------------------------------------------------


def _next_id(command: int, start: int, name: str) -> int | None:
    attr = bytearray(pack("=III", start, 0, 0))
    try:
        call_in_place(command, attr, name)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return int(unpack_from("=I", attr, 4)[0])


def prog_get_next_id(start: int) -> int | None:
    """Return the lowest program id above `start`, or None."""
    return _next_id(consts.BPF_PROG_GET_NEXT_ID, start, "BPF_PROG_GET_NEXT_ID")


def map_get_next_id(start: int) -> int | None:
    """Return the lowest map id above `start`, or None."""
    return _next_id(consts.BPF_MAP_GET_NEXT_ID, start, "BPF_MAP_GET_NEXT_ID")


def btf_get_next_id(start: int) -> int | None:
    """Return the lowest BTF id above `start`, or None."""
    return _next_id(consts.BPF_BTF_GET_NEXT_ID, start, "BPF_BTF_GET_NEXT_ID")


def link_get_next_id(start: int) -> int | None:
    """Return the lowest link id above `start`, or None."""
    return _next_id(consts.BPF_LINK_GET_NEXT_ID, start, "BPF_LINK_GET_NEXT_ID")


def prog_get_fd_by_id(ident: int) -> int:
    """Return an fd of the program with that id."""
    return call(consts.BPF_PROG_GET_FD_BY_ID, pack("=III", ident, 0, 0), "BPF_PROG_GET_FD_BY_ID")


def map_get_fd_by_id(ident: int, flags: int = 0) -> int:
    """Return an fd of the map with that id. `flags`: BPF_F_RDONLY or BPF_F_WRONLY, or 0."""
    return call(consts.BPF_MAP_GET_FD_BY_ID, pack("=III", ident, 0, flags), "BPF_MAP_GET_FD_BY_ID")


def btf_get_fd_by_id(ident: int) -> int:
    """Return an fd of the BTF object with that id."""
    return call(consts.BPF_BTF_GET_FD_BY_ID, pack("=III", ident, 0, 0), "BPF_BTF_GET_FD_BY_ID")


def link_get_fd_by_id(ident: int) -> int:
    """Return an fd of the link with that id."""
    return call(consts.BPF_LINK_GET_FD_BY_ID, pack("=III", ident, 0, 0), "BPF_LINK_GET_FD_BY_ID")


def obj_get_info_by_fd(fd: int, info: bytearray) -> int:
    """Let the kernel fill `info` for a program, map, BTF object or link; return the number of bytes it knows."""
    attr = bytearray(pack("=IIQ", fd, len(info), address(info)))
    call_in_place(consts.BPF_OBJ_GET_INFO_BY_FD, attr, "BPF_OBJ_GET_INFO_BY_FD")
    return int(unpack_from("=I", attr, 4)[0])


def task_fd_query(pid: int, fd: int) -> tuple[int, int, str, int, int]:
    """Return (program id, BPF_FD_TYPE_*, name, offset, address) of a process's perf event fd with a program."""
    name = bytearray(4096)
    attr = bytearray(pack("=IIIIQIIQQ", pid, fd, 0, len(name), address(name), 0, 0, 0, 0))
    call_in_place(consts.BPF_TASK_FD_QUERY, attr, "BPF_TASK_FD_QUERY")
    prog_id, fd_type, offset, where = unpack_from("=IIQQ", attr, 24)
    return prog_id, fd_type, name.split(b"\0", 1)[0].decode(errors="replace"), offset, where


def enable_stats(kind: int = 0) -> int:
    """Turn run-time statistics on for as long as the returned fd is open."""
    return call(consts.BPF_ENABLE_STATS, pack("=I", kind), "BPF_ENABLE_STATS")


# --- pins -----------------------------------------------------------------------------------------------------------


def obj_pin(fd: int, path: str) -> None:
    """Pin an object on bpffs."""
    raw = os.fsencode(path) + b"\0"
    call(consts.BPF_OBJ_PIN, pack("=QII", address(raw), fd, 0), "BPF_OBJ_PIN")


def obj_get(path: str, flags: int = 0) -> int:
    """Return an fd of what is pinned at `path`. `flags`: BPF_F_RDONLY or BPF_F_WRONLY for a map, or 0."""
    raw = os.fsencode(path) + b"\0"
    return call(consts.BPF_OBJ_GET, pack("=QII", address(raw), 0, flags), "BPF_OBJ_GET")


# --- attachments ----------------------------------------------------------------------------------------------------


def raw_tracepoint_open(prog_fd: int, name: str = "", cookie: int = 0) -> int:
    """Attach to a raw tracepoint (or, without a name, where the program was verified for); return the link's fd."""
    raw = name.encode() + b"\0" if name else b""
    attr = pack("=QI", address(raw), prog_fd)
    if cookie:
        attr += pack("=IQ", 0, cookie)
    return call(consts.BPF_RAW_TRACEPOINT_OPEN, attr, "BPF_RAW_TRACEPOINT_OPEN")


def link_create(prog_fd: int, target: int, attach_type: int, flags: int = 0, *, extra: bytes = b"") -> int:
    """Attach by a link; return its fd. `target`: fd or interface index. `extra`: the packed union that follows `flags`."""
    attr = pack("=IIII", prog_fd, target, attach_type, flags) + extra
    return call(consts.BPF_LINK_CREATE, attr, "BPF_LINK_CREATE")


def link_update(link_fd: int, new_fd: int, *, old_fd: int = 0, flags: int = 0) -> None:
    """Swap a link's program (or struct_ops map). `old_fd` with BPF_F_REPLACE: only if that is the present one."""
    call(consts.BPF_LINK_UPDATE, pack("=IIII", link_fd, new_fd, flags, old_fd), "BPF_LINK_UPDATE")


def link_detach(link_fd: int) -> None:
    """Detach a link from its hook, whoever else holds it."""
    call(consts.BPF_LINK_DETACH, pack("=I", link_fd), "BPF_LINK_DETACH")


def iter_create(link_fd: int) -> int:
    """Return a readable fd of an iterator link."""
    return call(consts.BPF_ITER_CREATE, pack("=II", link_fd, 0), "BPF_ITER_CREATE")


def token_create(bpffs_fd: int) -> int:
    """Return a BPF token's fd, derived from a bpffs mount with delegation."""
    return call(consts.BPF_TOKEN_CREATE, pack("=II", 0, bpffs_fd), "BPF_TOKEN_CREATE")
