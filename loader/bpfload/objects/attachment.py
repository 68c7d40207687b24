"""What everything that `attach` returns can do, whichever way the kernel holds it."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from bpfload.objects.base import KernelObject
    from bpfload.objects.link_info import LinkInfo


class Attachment(Protocol):
    """A program at its hook: a `Link`, or on kernels without a link type for the hook one of `bpfload.links.fallback`.

    `close` gives it up: a link ends then unless it is pinned or held by somebody else; a fallback is detached, unless `keep`
    was called first.
    """

    def info(self, *, arrays: bool = False) -> LinkInfo:
        """Return what is attached and where. Raises KernelError."""

    def update(self, program: KernelObject, *, old: KernelObject | None = None) -> None:
        """Put another program in the place of the present one, at once; only if that is `old`, where one is given.

        Raises KernelError, NotSupportedError where the kernel has no such step for the hook.
        """

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Make it live on at `path` on a bpffs. Raises PinError, NotSupportedError where it is no link."""

    def keep(self) -> None:
        """Leave it in place when it is closed. Raises NotSupportedError where only a holder, or a pin, keeps it alive."""

    def detach(self) -> None:
        """Take the program off its hook, whoever else holds it. Raises KernelError."""

    def close(self) -> None:
        """Give it up; a second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
