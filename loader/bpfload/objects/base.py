"""The owner of one fd."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self


class KernelObject:
    """An object in the kernel, held by one file descriptor that this owns.

    `close()`, the end of a `with` block, or the collection of the Python object closes it; what keeps the object alive
    otherwise (a pin, an attachment, another process) is not touched.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        """The file descriptor. Raises ValueError once closed."""
        if self._fd < 0:
            raise ValueError(f"{type(self).__name__} is closed")
        return self._fd

    @property
    def closed(self) -> bool:
        """Whether the fd was closed or given away."""
        return self._fd < 0

    def detach_fd(self) -> int:
        """Give the fd away: the caller owns it from now on."""
        fd, self._fd = self.fd, -1
        return fd

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin it at `path`, on a bpffs that is mounted. Raises PinError that says what stands in the way."""
        from bpfload.objects import paths

        place = os.path.abspath(os.fspath(path))
        paths.check_new(place, mount=False)
        paths.pin(self.fd, place)

    def close(self) -> None:
        """Close the fd; a second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        # At interpreter exit `os` may be gone already; the kernel closes the fd then.
        if getattr(self, "_fd", -1) >= 0 and os is not None:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd {self._fd}>" if self._fd >= 0 else f"<{type(self).__name__} closed>"
