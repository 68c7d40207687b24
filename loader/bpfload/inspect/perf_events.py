"""Programs at tracepoints, kprobes and uprobes by a file descriptor that some process holds.

Attachments by a link are no such descriptors: see `bpfload.inspect.links`.

Source: tools/bpf/bpftool/perf.c; bpf_task_fd_query() in kernel/bpf/syscall.c.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from bpfload.abi import consts
from bpfload.errors import ENOTSUPP, KernelError, NotSupportedError
from bpfload.inspect.view import INLINE
from bpfload.kernel import processes
from bpfload.syscall import bpf

_TYPES = {
    consts.BPF_FD_TYPE_RAW_TRACEPOINT: "raw_tracepoint",
    consts.BPF_FD_TYPE_TRACEPOINT: "tracepoint",
    consts.BPF_FD_TYPE_KPROBE: "kprobe",
    consts.BPF_FD_TYPE_KRETPROBE: "kretprobe",
    consts.BPF_FD_TYPE_UPROBE: "uprobe",
    consts.BPF_FD_TYPE_URETPROBE: "uretprobe",
}


@dataclass(frozen=True, slots=True)
class TracepointPlace:
    """A tracepoint, by its name."""

    tracepoint: str


@dataclass(frozen=True, slots=True)
class FunctionPlace:
    """A function of the kernel, and the bytes behind its start."""

    func: str
    offset: int


@dataclass(frozen=True, slots=True)
class AddressPlace:
    """An address in the kernel."""

    addr: int


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A program or library, and the bytes behind its start."""

    filename: str
    offset: int


@dataclass(frozen=True, slots=True)
class PerfEventView:
    """One file descriptor of a process. `fd_type`: None for a type that this library doesn't know; `place` is None then."""

    pid: int
    fd: int
    prog_id: int
    fd_type: str | None
    place: TracepointPlace | FunctionPlace | AddressPlace | FilePlace | None = field(default=None, metadata=INLINE)


def every() -> Iterator[PerfEventView]:
    """Yield the descriptors of all processes, by process and number. Raises KernelError, naming the missing capability."""
    _check_allowed()
    for pid in processes.pids():
        for fd, target in sorted(processes.open_files(pid)):
            # Perf events, links, and the raw tracepoints of kernels before 5.8. Other files aren't worth a system call.
            if not target.startswith(("anon_inode:[perf_event]", "anon_inode:bpf")):
                continue
            try:
                found = bpf.task_fd_query(pid, fd)
            except KernelError:
                continue
            yield _view(pid, fd, *found)


def _check_allowed() -> None:
    """Ask about a directory, which nothing can be attached to: whether the kernel answers at all."""
    fd = os.open("/", os.O_RDONLY)
    try:
        bpf.task_fd_query(os.getpid(), fd)
    except KernelError as error:
        if error.errno == ENOTSUPP:
            return
        if error.errno in (errno.EPERM, errno.EACCES):
            from bpfload.kernel.capabilities import permission_hint

            hint = permission_hint(consts.CAP_SYS_ADMIN)
            message = "asking what file descriptors of other processes are was refused"
            raise KernelError(error.call, error.errno, message, hint=hint) from None
        raise NotSupportedError("BPF_TASK_FD_QUERY", since="4.18", call=error.call, errno=error.errno or 0) from None
    finally:
        os.close(fd)


def _view(pid: int, fd: int, prog_id: int, fd_type: int, name: str, offset: int, address: int) -> PerfEventView:
    kind = _TYPES.get(fd_type)
    place: TracepointPlace | FunctionPlace | AddressPlace | FilePlace | None = None
    if kind in ("raw_tracepoint", "tracepoint"):
        place = TracepointPlace(name)
    elif kind in ("kprobe", "kretprobe"):
        place = FunctionPlace(name, offset) if name else AddressPlace(address)
    elif kind is not None:
        place = FilePlace(name, offset)
    return PerfEventView(pid, fd, prog_id, kind, place)
