"""Probes as trace events that are written to tracefs: the form for kernels before 4.17, whose perf has no kprobes and uprobes.

An event is the machine's, not the process's: it has to be taken away again, once the perf event is closed.

Source: Documentation/trace/kprobetrace.rst, uprobetracer.rst.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from bpfload.errors import KernelError, NotSupportedError
from bpfload.kernel import tracefs

PERF_TYPE_TRACEPOINT = 2
_GROUP = "bpfload"
_NAME_MAX = 63  # MAX_EVENT_NAME_LEN in kernel/trace/trace_probe.h
_numbers = count()


def add_kprobe(function: str, offset: int, *, is_return: bool) -> tuple[int, Callable[[], None]]:
    """Define a kprobe event; return its id and what takes it away. Raises KernelError, NotSupportedError."""
    return _add("kprobe", f"{function}+{offset:#x}", function, is_return)


def add_uprobe(path: str, offset: int, *, is_return: bool, semaphore: int = 0) -> tuple[int, Callable[[], None]]:
    """Define a uprobe event; return its id and what takes it away. Raises KernelError, NotSupportedError."""
    counter = f"({semaphore:#x})" if semaphore else ""
    return _add("uprobe", f"{path}:{offset:#x}{counter}", os.path.basename(path), is_return)


def _add(kind: str, place: str, label: str, is_return: bool) -> tuple[int, Callable[[], None]]:
    file = f"{tracefs.ensure()}/{kind}_events"
    name = f"p{os.getpid()}_{next(_numbers)}_{label}"
    name = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name)[:_NAME_MAX]
    _write(file, f"{'r' if is_return else 'p'}:{_GROUP}/{name} {place}", kind)

    def remove() -> None:
        # Somebody else may have cleared all events, or watch this one.
        with suppress(OSError):
            _write(file, f"-:{_GROUP}/{name}", kind)

    try:
        return tracefs.event_id(_GROUP, name), remove
    except BaseException:
        remove()
        raise


def _write(file: str, text: str, kind: str) -> None:
    try:
        fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        raise missing(kind) from None
    except OSError as error:
        raise KernelError(f"open {file}", error.errno or 0) from None
    try:
        os.write(fd, text.encode(errors="surrogateescape") + b"\n")
    except OSError as error:
        raise KernelError(f"write {file}", error.errno or 0) from None
    finally:
        os.close(fd)


def missing(kind: str) -> NotSupportedError:
    """Return the error for a kernel without kprobes or uprobes."""
    option = f"CONFIG_{kind.upper()}_EVENTS"
    return NotSupportedError(f"{kind}s", hint=f"This kernel was built without {option}.")
