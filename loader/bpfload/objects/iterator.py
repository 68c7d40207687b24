"""A link to an iterator, and reading what its program writes."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, cast

from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUFFER = 1 << 16


class IteratorLink(Link):
    """An iterator's link: each `open` walks over all that it is bound to, and reads what the program writes of it.

    A pin of the link can be read as well, like a file: ``cat /sys/fs/bpf/tasks``.
    """

    __slots__ = ()

    def open(self) -> BinaryIO:
        """Return a file to read the output of one walk from; the caller closes it.

        Reading raises OSError where the program fails: E2BIG for an element of which it writes more than eight pages.
        """
        return cast("BinaryIO", io.BufferedReader(_Output(bpf.iter_create(self.fd)), _BUFFER))

    def read(self) -> bytes:
        """Return the whole output of one walk."""
        with self.open() as file:
            return file.read()

    def lines(self) -> Iterator[str]:
        """Yield the lines of one walk, without their ends, as the kernel gives them out."""
        with self.open() as file:
            for line in file:
                yield line.decode(errors="surrogateescape").removesuffix("\n")


class _Output(io.RawIOBase):
    """The fd of one walk. The kernel says EAGAIN after a million elements without output: then it is asked again.

    Source: bpf_seq_read() in kernel/bpf/bpf_iter.c.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._fd < 0:
            raise ValueError("the iterator's output is closed")
        return self._fd

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while True:
            try:
                return os.readv(self.fileno(), [buffer])
            except BlockingIOError:
                continue

    def close(self) -> None:
        if not self.closed and self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
        super().close()
