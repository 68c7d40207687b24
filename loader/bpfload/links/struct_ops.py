"""struct_ops: a table of functions, a map's only element, registered with the part of the kernel that calls them.

A map of ``.struct_ops.link`` is registered by a link (Linux 6.4), which can be updated with another such map. One of
``.struct_ops`` is registered when its element is written and stays until the element is deleted, whoever holds the map.

Source: bpf_struct_ops_map_update_elem(), bpf_struct_ops_map_delete_elem(), bpf_struct_ops_link_create() in
kernel/bpf/bpf_struct_ops.c; bpf_map__attach_struct_ops() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bpfload.abi import consts
from bpfload.errors import KernelError, NotSupportedError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.objects.link_info import LinkInfo
    from bpfload.objects.map import Map

_KEY = bytes(4)


def is_linked(table: Map) -> bool:
    """Whether a struct_ops map is registered by a link."""
    return bool(table.info().map_flags & consts.BPF_F_LINK)


def fill(table: Map, value: bytes) -> None:
    """Give a map that a link is to register its element: the kernel checks and prepares the functions. Twice is no error."""
    try:
        table.update(_KEY, value)
    except KernelError as error:
        if error.errno != errno.EBUSY:
            raise _explain(error, table) from None


def attach(table: Map, value: bytes) -> Attachment:
    """Register a struct_ops map. `value`: its element, with an fd of a program (8 bytes) at each function pointer.

    Raises KernelError, with the reason as far as it can be found: EEXIST where the kernel has something of that name.
    """
    if not is_linked(table):
        try:
            table.update(_KEY, value)
        except KernelError as error:
            raise _explain(error, table) from None
        return Registration(table)
    fill(table, value)
    try:
        return Link(bpf.link_create(table.fd, 0, consts.BPF_STRUCT_OPS))
    except KernelError as error:
        raise _explain(error, table) from None


def unregister(table: Map) -> None:
    """Take a registered map out. Raises NotSupportedError where a link has registered it."""
    try:
        table.delete(_KEY)
    except KernelError as error:
        info = table.info()
        if error.errno == errno.EOPNOTSUPP:
            hint = "Detach the link that has registered it: bpfload link list shows it, bpfload link detach ends it."
            message = f"way to unregister map {info.id} ({info.name}) other than its link"
            raise NotSupportedError(message, call=error.call, errno=error.errno, hint=hint) from None
        hint = "It isn't registered now." if error.errno in (errno.ENOENT, errno.EINPROGRESS) else ""
        raise KernelError(
            error.call, error.errno or 0, f"unregistering map {info.id} ({info.name}) was refused", hint=hint
        ) from None


def _explain(error: KernelError, table: Map) -> KernelError:
    from bpfload.links.refusal import refused

    hint = {
        errno.EEXIST: "The kernel has one of that name already: see bpfload struct_ops list.",
        errno.EBUSY: "It is registered already, or was: load the object again to register it once more.",
        errno.EINVAL: "The subsystem refuses it: a function that it needs is missing, or a value makes no sense to it.",
        errno.EOPNOTSUPP: 'Links for struct_ops came with Linux 6.4: use SEC(".struct_ops") on older kernels.',
    }.get(error.errno or 0, "")
    return refused(error, f"registering struct_ops map {table.info().name!r}", consts.CAP_BPF, consts.CAP_SYS_ADMIN, hint=hint)


class Registration:
    """A struct_ops map that is registered without a link: an `Attachment`. Closing it unregisters the map, unless kept."""

    __slots__ = ("_kept", "_table")

    def __init__(self, table: Map) -> None:
        from bpfload.objects.map import Map

        # An fd of its own: the object that the map belongs to may be closed first.
        self._table: Map | None = Map(os.dup(table.fd))
        self._kept = False

    @property
    def map(self) -> Map:
        """The map. Raises ValueError once closed."""
        if self._table is None:
            raise ValueError("Registration is closed")
        return self._table

    def info(self, *, arrays: bool = False) -> LinkInfo:
        """Return what is registered, as a link would tell it: `fields` has the map's id. There is no link: its id is 0."""
        from bpfload.objects.link_info import LinkInfo

        return LinkInfo(0, 0, 0, {"map_id": self.map.info().id})

    def update(self, program: KernelObject, *, old: KernelObject | None = None) -> None:
        """Raise NotSupportedError: only a link can put another map in the place of a registered one."""
        hint = 'Define it in SEC(".struct_ops.link"): a link can be updated.'
        raise NotSupportedError("update of a struct_ops map that is registered without a link", hint=hint)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Raise NotSupportedError: there is no link to pin, and none is needed for it to stay."""
        hint = "It stays registered by itself if it is kept; its map can be pinned."
        raise NotSupportedError("link of a struct_ops map without BPF_F_LINK", hint=hint)

    def keep(self) -> None:
        """Leave it registered when this is closed."""
        self._kept = True

    def detach(self) -> None:
        """Unregister it. Raises KernelError where it isn't registered any more."""
        unregister(self.map)
        self._kept = True

    def close(self) -> None:
        """Unregister it, unless it is kept; a second call does nothing."""
        if self._table is None:
            return
        table, self._table = self._table, None
        try:
            if not self._kept:
                unregister(table)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
                raise
        finally:
            table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
