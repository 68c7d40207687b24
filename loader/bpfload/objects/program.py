"""A loaded program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from bpfload.objects.base import KernelObject
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.objects.info import ProgInfo


class Program(KernelObject):
    """A program in the kernel, held by an fd."""

    __slots__ = ()

    @classmethod
    def from_id(cls, ident: int) -> Self:
        """Open the program with that id. Raises NotFoundError, KernelError."""
        from bpfload.objects import opening

        return cls(opening.by_id(bpf.prog_get_fd_by_id, "program", ident))

    @classmethod
    def from_pin(cls, path: str | os.PathLike[str]) -> Self:
        """Open the program pinned at `path`. Raises PinError, KernelError."""
        from bpfload.objects import opening

        return cls(opening.by_pin(path, "program"))

    def info(self, *arrays: str) -> ProgInfo:
        """Return what the kernel says of the program.

        `arrays`: the names of the arrays to fetch as well, any of `bpfload.objects.info.PROG_ARRAYS` ("map_ids",
        "func_info", "line_info", "xlated_prog_insns", …). Those not asked for are empty in the result.
        """
        from bpfload.objects.info import prog_info

        return prog_info(self.fd, arrays)

    def read_stream(self, stream: int, size: int = 65536) -> bytes:
        """Take up to `size` bytes off the program's output: `stream` 1 stdout, 2 stderr (Linux 6.17)."""
        return bpf.prog_stream_read(self.fd, stream, size)

    def test_run(
        self, data: bytes = b"", *, data_size_out: int = 0, context: bytes = b"", context_size_out: int = 0, repeat: int = 1
    ) -> tuple[int, bytes, bytes, int]:
        """Run the program `repeat` times on `data` (a packet) and a context, as far as its type has such a thing.

        `data_size_out`, `context_size_out`: room for what comes out, in bytes. Returns (its return value, what the data and the
        context are afterwards, the mean duration in nanoseconds). Raises KernelError: ENOTSUPP for a type that can't be run so.
        """
        return bpf.prog_test_run(
            self.fd, data, data_size_out=data_size_out, context=context, context_size_out=context_size_out, repeat=repeat
        )
