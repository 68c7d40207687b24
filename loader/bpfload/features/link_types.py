"""Which link types the running kernel has: each is asked for at a place that isn't there.

A kernel that knows the type complains of the place, one that doesn't complains of the type. Nothing is attached anywhere, but
for an iterator's link, which does nothing until it is read.

Source: bpf_link_create's handlers as named below; the errors are those of the first kernel with the type and of Linux 6.18.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from struct import pack

from bpfload.abi import consts
from bpfload.errors import ENOTSUPP, BpfError, KernelError
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.syscall import bpf

_RETURN_0 = assemble(mov64_imm(0, 0), exit_())
_RETURN_1 = assemble(mov64_imm(0, 1), exit_())
_NO_FD, _NO_DEVICE, _LOOPBACK = 0xFFFFFFFF, 0x7FFFFFFF, 1
_NO_SYMBOL = b"bpfload_asks_for_no_such_function\0"
_NO_PROTOCOL = 200  # of netfilter: neither NFPROTO_IPV4 nor NFPROTO_IPV6
_UNSURE = (errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A link that can't be made: of what program, where, and what a kernel that knows the type says."""

    prog_type: int
    attach_type: int
    target: int
    answer: int
    insns: bytes = _RETURN_0
    flags: int = 0


_ATTEMPTS = {
    # cgroup_bpf_link_attach(): get_cgroup_from_fd()
    consts.BPF_LINK_TYPE_CGROUP: _Attempt(
        consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_CGROUP_INET_EGRESS, _NO_FD, errno.EBADF, _RETURN_1
    ),
    # netns_bpf_link_create(): get_net_ns_by_fd()
    consts.BPF_LINK_TYPE_NETNS: _Attempt(consts.BPF_PROG_TYPE_FLOW_DISSECTOR, consts.BPF_FLOW_DISSECTOR, _NO_FD, errno.EBADF),
    # dev_xdp_attach(): the loopback device runs no program by itself
    consts.BPF_LINK_TYPE_XDP: _Attempt(
        consts.BPF_PROG_TYPE_XDP, consts.BPF_XDP, _LOOPBACK, errno.EOPNOTSUPP, flags=consts.XDP_FLAGS_HW_MODE
    ),
    # bpf_perf_link_attach(): perf_event_get()
    consts.BPF_LINK_TYPE_PERF_EVENT: _Attempt(consts.BPF_PROG_TYPE_PERF_EVENT, consts.BPF_PERF_EVENT, _NO_FD, errno.EBADF),
    # tcx_link_attach(): dev_get_by_index()
    consts.BPF_LINK_TYPE_TCX: _Attempt(consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_TCX_INGRESS, _NO_DEVICE, errno.ENODEV),
    # netkit_link_attach(): netkit_dev_fetch()
    consts.BPF_LINK_TYPE_NETKIT: _Attempt(consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_NETKIT_PRIMARY, _NO_DEVICE, errno.ENODEV),
    # sock_map_link_create(): bpf_map_get_with_uref()
    consts.BPF_LINK_TYPE_SOCKMAP: _Attempt(consts.BPF_PROG_TYPE_SK_MSG, consts.BPF_SK_MSG_VERDICT, _NO_FD, errno.EBADF),
}


def supported(link_type: int) -> bool | None:
    """Return whether the kernel has a link type (enum bpf_link_type); None if it won't tell, or nobody knows how to ask."""
    ask = _QUESTIONS.get(link_type)
    attempt = _ATTEMPTS.get(link_type)
    try:
        if ask is not None:
            return ask()
        if attempt is None:
            return None
        return _answer(attempt) == attempt.answer
    except KernelError as error:
        return None if error.errno in _UNSURE else False


def _answer(attempt: _Attempt, *, expected_attach_type: int | None = None, extra: bytes = b"") -> int:
    """Return the errno of the attempt. Raises KernelError: the program can't be loaded, or the kernel won't tell."""
    expected = attempt.attach_type if expected_attach_type is None else expected_attach_type
    with ExitStack() as stack:
        program = bpf.prog_load(attempt.prog_type, attempt.insns, b"GPL", expected_attach_type=expected)
        stack.callback(os.close, program)
        try:
            os.close(bpf.link_create(program, attempt.target, attempt.attach_type, attempt.flags, extra=extra))
        except KernelError as error:
            if error.errno in _UNSURE:
                raise
            return error.errno or 0
    return 0


def _raw_tracepoint() -> bool:
    """Ask for a tracepoint that isn't there: bpf_raw_tp_link_attach() says ENOENT. As links they exist since LINK_CREATE does."""
    with ExitStack() as stack:
        program = bpf.prog_load(consts.BPF_PROG_TYPE_RAW_TRACEPOINT, _RETURN_0, b"GPL")
        stack.callback(os.close, program)
        try:
            os.close(bpf.raw_tracepoint_open(program, "bpfload_no_such"))
        except KernelError as error:
            if error.errno in _UNSURE:
                raise
            return error.errno == errno.ENOENT
    return True


def _btf_function(name: str) -> int:
    from bpfload.btf.types import KIND_FUNC
    from bpfload.kernel import btf

    try:
        return btf.vmlinux().find(name, KIND_FUNC)
    except BpfError:
        return 0


def _iterator() -> bool:
    """Make the link of an iterator over programs, and close it."""
    ident = _btf_function("bpf_iter_bpf_prog")
    if not ident:
        return False
    with ExitStack() as stack:
        program = bpf.prog_load(
            consts.BPF_PROG_TYPE_TRACING,
            _RETURN_0,
            b"GPL",
            expected_attach_type=consts.BPF_TRACE_ITER,
            attach_btf_id=ident,
        )
        stack.callback(os.close, program)
        os.close(bpf.link_create(program, 0, consts.BPF_TRACE_ITER))
    return True


def _tracing() -> bool | None:
    """Tell from the program type: kernels that have it make links of it (as such since 5.7), if they have types to attach to."""
    from bpfload.features import program_types

    return program_types.supported(consts.BPF_PROG_TYPE_TRACING)


def _kprobe_multi() -> bool:
    """Ask for a function that isn't there: bpf_kprobe_multi_link_attach() says ESRCH, without CONFIG_FPROBE EOPNOTSUPP."""
    symbols = pack("=Q", bpf.address(_NO_SYMBOL))
    extra = pack("=IIQQQ", 0, 1, bpf.address(symbols), 0, 0)
    attempt = _Attempt(consts.BPF_PROG_TYPE_KPROBE, consts.BPF_TRACE_KPROBE_MULTI, 0, errno.ESRCH)
    return _answer(attempt, extra=extra) == attempt.answer


def _uprobe_multi() -> bool:
    """Ask for an offset in a directory: bpf_uprobe_multi_link_attach() says EBADF, as it isn't a regular file."""
    path, offsets = b"/\0", pack("=Q", 0)
    extra = pack("=QQQQIIII", bpf.address(path), bpf.address(offsets), 0, 0, 1, 0, 0, 0)
    attempt = _Attempt(consts.BPF_PROG_TYPE_KPROBE, consts.BPF_TRACE_UPROBE_MULTI, 0, errno.EBADF)
    return _answer(attempt, extra=extra) == attempt.answer


def _struct_ops() -> bool:
    """Ask for a map that may hang on a link: bpf_struct_ops_map_alloc() knows the flag, and says ENOTSUPP to type 1."""
    flags = consts.BPF_F_LINK
    try:
        os.close(
            bpf.map_create(consts.BPF_MAP_TYPE_STRUCT_OPS, 4, 4, 1, flags, btf_vmlinux_value_type_id=1, value_type_btf_obj_fd=-1)
        )
    except KernelError as error:
        if error.errno in _UNSURE:
            raise
        return error.errno == ENOTSUPP
    return False


def _netfilter() -> bool:
    """Ask for a protocol that isn't there: bpf_nf_check_pf_and_hooks() says EAFNOSUPPORT."""
    attempt = _Attempt(consts.BPF_PROG_TYPE_NETFILTER, consts.BPF_NETFILTER, 0, errno.EAFNOSUPPORT)
    return _answer(attempt, extra=pack("=IIiI", _NO_PROTOCOL, 0, 0, 0)) == attempt.answer


_QUESTIONS: dict[int, Callable[[], bool | None]] = {
    consts.BPF_LINK_TYPE_RAW_TRACEPOINT: _raw_tracepoint,
    consts.BPF_LINK_TYPE_TRACING: _tracing,
    consts.BPF_LINK_TYPE_ITER: _iterator,
    consts.BPF_LINK_TYPE_KPROBE_MULTI: _kprobe_multi,
    consts.BPF_LINK_TYPE_UPROBE_MULTI: _uprobe_multi,
    consts.BPF_LINK_TYPE_STRUCT_OPS: _struct_ops,
    consts.BPF_LINK_TYPE_NETFILTER: _netfilter,
}
