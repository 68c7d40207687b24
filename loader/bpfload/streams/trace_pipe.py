"""The kernel's trace pipe, where bpf_printk() and bpf_trace_printk() write."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from bpfload.errors import BpfError, NotFoundError
from bpfload.kernel import tracefs


class TracePipe:
    """The lines of the trace pipe, as they come. Whoever reads a line takes it from all other readers."""

    def __init__(self, fd: int, switch: str) -> None:
        """`switch`: the file that says whether the kernel writes to its trace buffers."""
        self._file = os.fdopen(fd, "rb", buffering=0)
        self.switch = switch

    def is_on(self) -> bool:
        """Whether anything can come: somebody, or an oops of the kernel, may have switched tracing off."""
        try:
            with open(self.switch, encoding="ascii") as file:
                return file.read().strip() != "0"
        except OSError:
            return True

    def __iter__(self) -> Iterator[str]:
        """Yield lines, each with its newline; waits for the next one."""
        rest = b""
        while True:
            data = self._file.read(65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode(errors="surrogateescape") + "\n"

    def fileno(self) -> int:
        """The fd, for poll(2) and its like."""
        return self._file.fileno()

    def close(self) -> None:
        """Stop reading."""
        self._file.close()


def open_trace_pipe(*, mount: bool = True) -> TracePipe:
    """Open the trace pipe, with `mount` mounting tracefs if it isn't. Raises BpfError."""
    place = tracefs.ensure() if mount else tracefs.find()
    if place is None:
        raise NotFoundError("tracefs is not mounted", hint="Mount it: mount -t tracefs tracefs /sys/kernel/tracing")
    path = f"{place}/trace_pipe"
    try:
        return TracePipe(os.open(path, os.O_RDONLY | os.O_CLOEXEC), f"{place}/tracing_on")
    except OSError as error:
        if error.errno == errno.EBUSY:
            hint = "Another process reads it: there is one trace pipe for all."
        else:
            hint = "Reading it takes root." if error.errno in (errno.EPERM, errno.EACCES) else ""
        reason = os.strerror(error.errno or 0)
        raise BpfError(f"{path} can't be opened: {reason}", hint=hint, errno_code=error.errno or 0) from None
