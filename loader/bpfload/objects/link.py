"""An attachment that is an object of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from bpfload.abi import consts
from bpfload.errors import KernelError
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

    def update(self, program: KernelObject, *, old: KernelObject | None = None) -> None:
        """Put another program (for a struct_ops link: another map) in the place of the present one, in one step.

        `old`: only if that is what is attached now. Raises KernelError: EPERM where it is something else than `old`, EINVAL where
        the new program is of another kind or for another place; NotSupportedError for a type of link that can't be updated.

        Source: link_update() in kernel/bpf/syscall.c.
        """
        if self._has_map(program, old):
            return
        try:
            bpf.link_update(self.fd, program.fd, old_fd=old.fd if old else 0, flags=consts.BPF_F_REPLACE if old else 0)
        except KernelError as error:
            from bpfload.objects.link_refusal import update_refused

            raise update_refused(self, error) from None

    def _has_map(self, table: KernelObject, old: KernelObject | None) -> bool:
        """Whether a struct_ops link has that very map already.

        The kernel must not be asked to put it there once more: its list of TCP congestion controls breaks, and the machine with
        it, at least up to Linux 6.18. Source: tcp_update_congestion_control() in net/ipv4/tcp_cong.c.
        """
        from bpfload.objects.map import Map

        if not isinstance(table, Map):
            return False
        info = self.info()
        if info.type != consts.BPF_LINK_TYPE_STRUCT_OPS or info.number("map_id") != table.info().id:
            return False
        if old is not None and not (isinstance(old, Map) and old.info().id == table.info().id):
            import errno

            raise KernelError("BPF_LINK_UPDATE", errno.EPERM, f"map {table.info().id} is registered by this link already")
        return True

    def keep(self) -> None:
        """Leave it in place when it is closed: a link can't be, but pinned. Raises NotSupportedError."""
        from bpfload.errors import NotSupportedError

        hint = "A link ends with its last holder: pin it, which holds it."
        raise NotSupportedError("way to leave a link in place that nothing holds", hint=hint)

    def detach(self) -> None:
        """Detach it from its hook, whoever else holds the link. Raises NotSupportedError for types that can't, KernelError."""
        try:
            bpf.link_detach(self.fd)
        except KernelError as error:
            from bpfload.objects.link_refusal import detach_refused

            raise detach_refused(self, error) from None
