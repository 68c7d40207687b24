"""Probes of the features that a loaded object may have to do without on an older kernel.

Each probe makes one small, harmless call. EPERM and the like mean "couldn't tell" (None), and are asked again next time.
The set is libbpf's (tools/lib/bpf/features.c), so that what is left out for an old kernel is the same.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from struct import pack

from bpfload.abi import consts
from bpfload.errors import KernelError
from bpfload.insn.assemble import alu64_imm, assemble, call, call_subprog, exit_, ld_map_value, mov64_imm, mov64_reg
from bpfload.insn.codec import BPF_ADD
from bpfload.syscall import bpf

_RETURN_0 = assemble(mov64_imm(0, 0), exit_())
_BTF_MAGIC = 0xEB9F
_INT, _PTR, _ENUM64, _FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG = 1, 2, 19, 12, 13, 14, 15, 16, 17, 18
_HELPER_GET_FUNC_IP, _HELPER_GET_ATTACH_COOKIE, _HELPER_PROBE_READ_KERNEL = 173, 174, 113

# What a kernel answers when privileges or memory are short: it says nothing about the feature.
_UNSURE = (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: what it is called in messages, the first kernel with it, and how to find out."""

    name: str
    description: str
    since: str
    probe: Callable[[], None]


_answers: dict[str, bool] = {}


def supports(name: str) -> bool | None:
    """Return whether the running kernel has a feature of FEATURES: True, False, or None where that couldn't be told."""
    known = _answers.get(name)
    if known is not None:
        return known
    try:
        FEATURES[name].probe()
    except KernelError as error:
        if error.errno in _UNSURE:
            return None
        _answers[name] = False
        return False
    _answers[name] = True
    return True


def missing(*names: str) -> frozenset[str]:
    """Return those of the features that the running kernel certainly lacks."""
    return frozenset(name for name in names if supports(name) is False)


def _load(
    prog_type: int, insns: bytes, *, name: str = "", expected_attach_type: int = 0, btf_fd: int = 0, func_info: bytes = b""
) -> int:
    return bpf.prog_load(
        prog_type,
        insns,
        b"GPL",
        name=name,
        expected_attach_type=expected_attach_type,
        btf_fd=btf_fd,
        func_info=func_info,
        func_info_rec_size=8,
    )


def _try_program(prog_type: int, insns: bytes, *, name: str = "", expected_attach_type: int = 0) -> None:
    os.close(_load(prog_type, insns, name=name, expected_attach_type=expected_attach_type))


def _btf(strings: bytes, *words: int) -> bytes:
    types = pack(f"={len(words)}I", *words)
    return pack("=HBBIIIII", _BTF_MAGIC, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def _info(kind: int, vlen: int = 0) -> int:
    return kind << 24 | vlen


_INT_TYPE = (_info(_INT), 4, 1 << 24 | 32)  # signed, 32 bits; preceded by its name's offset


def _try_btf(strings: bytes, *words: int) -> None:
    os.close(bpf.btf_load(_btf(strings, *words)))


def _prog_name() -> None:
    _try_program(consts.BPF_PROG_TYPE_SOCKET_FILTER, _RETURN_0, name="bpfload_probe")


def _global_data() -> None:
    fd = bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 32, 1)
    try:
        _try_program(consts.BPF_PROG_TYPE_SOCKET_FILTER, assemble(ld_map_value(1, fd, 16), mov64_imm(0, 0), exit_()))
    finally:
        os.close(fd)


def _btf_minimal() -> None:
    _try_btf(b"\0int\0", 1, *_INT_TYPE)


def _btf_function(linkage: int) -> None:
    _try_btf(b"\0int\0x\0a\0", 1, *_INT_TYPE, 0, _info(_FUNC_PROTO, 1), 0, 7, 1, 5, _info(_FUNC, linkage), 2)


def _btf_datasec_named(name: bytes) -> None:
    _try_btf(b"\0x\0" + name + b"\0", 0, *_INT_TYPE, 1, _info(_VAR), 1, 0, 3, _info(_DATASEC, 1), 4, 2, 0, 4)


def _btf_float() -> None:
    _try_btf(b"\0float\0", 1, _info(_FLOAT), 4)


def _btf_decl_tag() -> None:
    _try_btf(b"\0tag\0", 0, *_INT_TYPE, 1, _info(_VAR), 1, 0, 1, _info(_DECL_TAG), 2, 0xFFFFFFFF)


def _btf_type_tag() -> None:
    _try_btf(b"\0tag\0", 0, *_INT_TYPE, 1, _info(_TYPE_TAG), 1, 0, _info(_PTR), 2)


def _btf_enum64() -> None:
    _try_btf(b"\0enum64\0", 1, _info(_ENUM64), 8)


def _array_mmap() -> None:
    os.close(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1, consts.BPF_F_MMAPABLE))


def _expected_attach_type() -> None:
    _try_program(consts.BPF_PROG_TYPE_CGROUP_SOCK, _RETURN_0, expected_attach_type=consts.BPF_CGROUP_INET_SOCK_CREATE)


def _probe_read_kernel() -> None:
    insns = assemble(
        mov64_reg(1, 10), alu64_imm(BPF_ADD, 1, -8), mov64_imm(2, 8), mov64_imm(3, 0), call(_HELPER_PROBE_READ_KERNEL), exit_()
    )
    _try_program(consts.BPF_PROG_TYPE_TRACEPOINT, insns)


def _prog_bind_map() -> None:
    map_fd = bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 32, 1)
    try:
        prog_fd = _load(consts.BPF_PROG_TYPE_SOCKET_FILTER, _RETURN_0)
        try:
            bpf.prog_bind_map(prog_fd, map_fd)
        finally:
            os.close(prog_fd)
    finally:
        os.close(map_fd)


def _module_btf() -> None:
    # Kernels with BTF of modules are those whose bpf_btf_info has a name.
    fd = bpf.btf_load(_btf(b"\0int\0", 1, *_INT_TYPE))
    try:
        name = bytearray(16)
        bpf.obj_get_info_by_fd(fd, bytearray(pack("=QIIQII", 0, 0, 0, bpf.address(name), len(name), 0)))
    finally:
        os.close(fd)


def _bpf_cookie() -> None:
    _try_program(consts.BPF_PROG_TYPE_TRACEPOINT, assemble(call(_HELPER_GET_ATTACH_COOKIE), exit_()))


def _uprobe_multi() -> None:
    """Multi-uprobe links that filter by process: pid -1 is refused with EINVAL only where that was put right."""
    fd = _load(consts.BPF_PROG_TYPE_KPROBE, _RETURN_0, expected_attach_type=consts.BPF_TRACE_UPROBE_MULTI)
    try:
        path, offset = b"/\0", bytes(8)
        for pid, wanted in ((0, errno.EBADF), (0xFFFFFFFF, errno.EINVAL)):
            extra = pack("=QQQQIIII", bpf.address(path), bpf.address(offset), 0, 0, 1, 0, pid, 0)
            try:
                os.close(bpf.link_create(fd, 0xFFFFFFFF, consts.BPF_TRACE_UPROBE_MULTI, extra=extra))
            except KernelError as error:
                if error.errno == wanted:
                    continue
            raise KernelError("BPF_LINK_CREATE", errno.EOPNOTSUPP)
    finally:
        os.close(fd)


def _perf_link() -> None:
    fd = _load(consts.BPF_PROG_TYPE_TRACEPOINT, _RETURN_0)
    try:
        os.close(bpf.link_create(fd, 0xFFFFFFFF, consts.BPF_PERF_EVENT))
    except KernelError as error:
        if error.errno != errno.EBADF:
            raise
    finally:
        os.close(fd)


def _arg_ctx_tag() -> None:
    """A global subprogram whose `void *` argument has the tag arg:ctx may call what needs a context."""
    types = (
        (1, *_INT_TYPE),
        (0, _info(_PTR), 0),
        (0, _info(_FUNC_PROTO, 1), 1, 1, 2),
        (1, _info(_FUNC, 1), 3),
        (0, _info(_FUNC_PROTO, 1), 1, 3, 2),
        (3, _info(_FUNC, 1), 5),
        (5, _info(_DECL_TAG), 6, 0),
    )
    words = (word for entry in types for word in entry)
    fd = bpf.btf_load(_btf(b"\0a\0b\0arg:ctx\0", *words))
    try:
        insns = assemble(call_subprog(1), exit_(), call(_HELPER_GET_FUNC_IP), exit_())
        os.close(_load(consts.BPF_PROG_TYPE_KPROBE, insns, btf_fd=fd, func_info=pack("=IIII", 0, 4, 2, 6)))
    finally:
        os.close(fd)


FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("prog_name", "names of programs and maps", "4.15", _prog_name),
        Feature("global_data", "global variables", "5.2", _global_data),
        Feature("btf", "BTF", "4.18", _btf_minimal),
        Feature("btf_func", "functions in BTF", "5.0", lambda: _btf_function(0)),
        Feature("btf_func_global", "global functions in BTF", "5.6", lambda: _btf_function(1)),
        Feature("btf_datasec", "variables and sections in BTF", "5.2", lambda: _btf_datasec_named(b".data")),
        Feature("btf_qmark_datasec", "section names with '?' in BTF", "6.9", lambda: _btf_datasec_named(b"?.data")),
        Feature("btf_float", "floating-point types in BTF", "5.13", _btf_float),
        Feature("btf_decl_tag", "declaration tags in BTF", "5.16", _btf_decl_tag),
        Feature("btf_type_tag", "type tags in BTF", "5.17", _btf_type_tag),
        Feature("btf_enum64", "64-bit enums in BTF", "6.0", _btf_enum64),
        Feature("array_mmap", "arrays that can be mapped into memory", "5.5", _array_mmap),
        Feature("expected_attach_type", "expected_attach_type", "4.17", _expected_attach_type),
        Feature("probe_read_kernel", "bpf_probe_read_kernel()", "5.5", _probe_read_kernel),
        Feature("prog_bind_map", "BPF_PROG_BIND_MAP", "5.10", _prog_bind_map),
        Feature("module_btf", "BTF of modules", "5.11", _module_btf),
        Feature("perf_link", "links of perf events", "5.15", _perf_link),
        Feature("bpf_cookie", "bpf_get_attach_cookie()", "5.15", _bpf_cookie),
        Feature("uprobe_multi", "multi-uprobe links", "6.6", _uprobe_multi),
        Feature("arg_ctx_tag", "the argument tag arg:ctx", "6.8", _arg_ctx_tag),
    )
}
