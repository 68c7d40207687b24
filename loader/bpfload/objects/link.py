"""An attachment that is an object of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from bpfload.objects.base import KernelObject
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.objects.link_info import LinkInfo


class Link(KernelObject):
    """A link in the kernel, held by an fd: the attachment ends with its last holder, or with `detach`."""

    __slots__ = ()

    @classmethod
    def from_id(cls, ident: int) -> Self:
        """Open the link with that id. Raises NotFoundError, KernelError."""
        from bpfload.objects import opening

        return cls(opening.by_id(bpf.link_get_fd_by_id, "link", ident))

    @classmethod
    def from_pin(cls, path: str | os.PathLike[str]) -> Self:
        """Open the link pinned at `path`. Raises PinError, KernelError."""
        from bpfload.objects import opening

        return cls(opening.by_pin(path, "link"))

    def info(self, *, arrays: bool = False) -> LinkInfo:
        """Return what the kernel says of the link; `arrays`: names, paths and the probed addresses as well."""
        from bpfload.objects.link_info import link_info

        return link_info(self.fd, arrays=arrays)

    def detach(self) -> None:
        """Detach it from its hook, whoever else holds the link. Raises KernelError EOPNOTSUPP for types that can't."""
        bpf.link_detach(self.fd)
