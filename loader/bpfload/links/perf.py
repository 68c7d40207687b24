"""Programs at perf events: what tracepoints, kprobes, uprobes and perf's own events have in common.

An event is opened by perf_event_open(2); a BPF link (Linux 5.15), or before that an ioctl, puts the program on it.

Source: bpf_perf_link_attach() in kernel/bpf/syscall.c; perf_event_set_bpf_prog() in kernel/events/core.c.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, NotSupportedError
from bpfload.links.fallback import NO_LINK, program_id
from bpfload.objects.base import KernelObject
from bpfload.objects.link import Link
from bpfload.objects.link_info import LinkInfo
from bpfload.syscall import bpf, perf

if TYPE_CHECKING:
    from bpfload.objects.attachment import Attachment

_PARANOID = "/proc/sys/kernel/perf_event_paranoid"
_DEVICES = "/sys/bus/event_source/devices"


class EventLink(Link):
    """A link to a perf event that takes something along when it is closed: the trace event that it was made of."""

    __slots__ = ("_undo",)

    def __init__(self, fd: int, undo: Callable[[], None]) -> None:
        super().__init__(fd)
        self._undo: Callable[[], None] | None = undo

    def close(self) -> None:
        """Close the link, and take the trace event away unless a pin still needs it; a second call does nothing."""
        super().close()
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


class EventAttachment(KernelObject):
    """A program that an ioctl put on a perf event, whose fd this is: it stays there for as long as the event is open.

    The form of kernels before 5.15, which have no links of perf events.
    """

    __slots__ = ("_program_id", "_undo")

    def __init__(self, event: int, program: KernelObject, undo: Callable[[], None] | None = None) -> None:
        super().__init__(event)
        self._program_id = program_id(program)
        self._undo = undo

    def info(self, *, arrays: bool = False) -> LinkInfo:
        """Return what is attached and where, in the form of a link's info: `type` and `id` are 0.

        Source: bpf_get_perf_event_info() in kernel/trace/bpf_trace.c.
        """
        fields: dict[str, int | str | tuple[int, ...]] = {}
        try:
            _, kind, name, offset, address = bpf.task_fd_query(os.getpid(), self.fd)
        except KernelError:  # it tells of probes and tracepoints only
            return LinkInfo(NO_LINK, 0, self._program_id, fields)
        event_type, label = _EVENT_TYPES.get(kind, (consts.BPF_PERF_EVENT_EVENT, ""))
        fields = {"event_type": event_type, "offset": offset, "addr": address}
        if arrays and label:
            fields[label] = name
        return LinkInfo(NO_LINK, 0, self._program_id, fields)

    def update(self, program: KernelObject, *, old: KernelObject | None = None) -> None:
        """Raise NotSupportedError: there is no such step."""
        hint = "Attach the new program, then close this."
        raise NotSupportedError("way to update what is attached to a perf event", hint=hint)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Raise NotSupportedError: only links can be pinned."""
        hint = "The program stays attached for as long as this process keeps the event open."
        raise NotSupportedError("link for this perf event, and only links can be pinned", since="5.15", hint=hint)

    def keep(self) -> None:
        """Raise NotSupportedError: it ends with the process that holds it."""
        hint = "The event ends with the process that holds it."
        raise NotSupportedError("way to leave the program at a perf event that nothing holds", hint=hint)

    def detach(self) -> None:
        """Take the program off: only closing the event does, for a program runs at a probe whether or not its event counts."""
        self.close()

    def close(self) -> None:
        """Close the event, which takes the program off; a second call does nothing."""
        super().close()
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


# BPF_FD_TYPE_* to BPF_PERF_EVENT_*, and what a link's info calls the name.
_EVENT_TYPES = {
    consts.BPF_FD_TYPE_TRACEPOINT: (consts.BPF_PERF_EVENT_TRACEPOINT, "tp_name"),
    consts.BPF_FD_TYPE_KPROBE: (consts.BPF_PERF_EVENT_KPROBE, "func_name"),
    consts.BPF_FD_TYPE_KRETPROBE: (consts.BPF_PERF_EVENT_KRETPROBE, "func_name"),
    consts.BPF_FD_TYPE_UPROBE: (consts.BPF_PERF_EVENT_UPROBE, "file_name"),
    consts.BPF_FD_TYPE_URETPROBE: (consts.BPF_PERF_EVENT_URETPROBE, "file_name"),
}


def attach_event(
    program: KernelObject,
    event: int,
    attaching: str,
    *,
    cookie: int = 0,
    link: bool = True,
    undo: Callable[[], None] | None = None,
) -> Attachment:
    """Put a program on an open event, whose fd this takes over: opened so that it runs at once.

    `attaching`: what is being done, for messages ("attaching program 'hello' to tracepoint …"). `link`: False for the form by
    ioctl. `undo`: done after the event was closed. Raises KernelError, NotSupportedError for a cookie on kernels before 5.15.
    """
    try:
        return _attach(program, event, cookie, link, undo)
    except KernelError as error:
        os.close(event)
        if undo is not None:
            undo()
        raise _refused(error, attaching) from None


def _attach(program: KernelObject, event: int, cookie: int, link: bool, undo: Callable[[], None] | None) -> Attachment:
    if link:
        try:
            extra = pack("=Q", cookie) if cookie else b""
            fd = bpf.link_create(program.fd, event, consts.BPF_PERF_EVENT, extra=extra)
        except KernelError as error:
            if error.errno != errno.EINVAL or _has_links():
                raise
        else:
            # The link holds the event.
            os.close(event)
            return Link(fd) if undo is None else EventLink(fd, undo)
    if cookie:
        raise NotSupportedError("cookies of perf events without a link", since="5.15")
    perf.set_bpf(event, program.fd)
    return EventAttachment(event, program, undo)


def _has_links() -> bool:
    """Whether this kernel has links of perf events, as far as that can be told."""
    from bpfload import features

    return features.supports("perf_link") is not False


def _refused(error: KernelError, attaching: str) -> KernelError:
    from bpfload.links.refusal import refused

    if isinstance(error, NotSupportedError):
        error.message = f"{attaching}: {error.message}"
        return error
    hint = ""
    if error.errno == errno.EEXIST:
        hint = "This program is attached there already."
    elif error.errno == errno.E2BIG:
        hint = "There are 64 programs at this event, which is as many as the kernel takes."
    elif error.errno == errno.EACCES:
        hint = "The program reads behind the end of the event's record."
    return refused(error, attaching, consts.CAP_BPF, consts.CAP_PERFMON, hint=hint)


def open_error(error: KernelError, attaching: str, *, pid: int = -1, hint: str = "") -> KernelError | NotFoundError:
    """Return what a refused perf_event_open(2) means. `hint`: for what the caller has found out."""
    from bpfload.links.refusal import refused

    if error.errno == errno.ESRCH and pid > 0:
        return NotFoundError(f"{attaching}: there is no process {pid}", errno_code=errno.ESRCH)
    if not hint and error.errno in (errno.EPERM, errno.EACCES):
        from bpfload.kernel.capabilities import permission_hint

        hint = permission_hint(consts.CAP_PERFMON)
        level = _paranoid()
        if level is not None and level > -1:
            hint += f" (kernel.perf_event_paranoid is {level}.)"
    return refused(error, attaching, consts.CAP_PERFMON, hint=hint)


def _paranoid() -> int | None:
    """Return how much the kernel keeps from users without CAP_PERFMON: -1 nothing, 2 and more nearly everything."""
    try:
        with open(_PARANOID, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def device_type(name: str) -> int | None:
    """Return the number of a PMU ("kprobe", "uprobe", "msr"), None where this kernel has none of that name."""
    try:
        with open(f"{_DEVICES}/{name}/type", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def device_bit(name: str, field: str) -> int:
    """Return the first bit of a field of a PMU's config, as its format says: "config:0", "config:32-63"."""
    try:
        with open(f"{_DEVICES}/{name}/format/{field}", encoding="ascii") as file:
            return int(file.read().partition(":")[2].partition("-")[0])
    except (OSError, ValueError):
        raise NotSupportedError(f"field {field!r} of {name} events", since="4.17") from None
