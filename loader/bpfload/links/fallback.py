"""Attachments that are no links: what kernels without a link type for a hook have, and hooks that never got one.

Nothing in the kernel owns such an attachment: it stays until somebody takes it off. Here an object stands for it, which takes
it off when it is closed, as a link would end, unless it was told to `keep` it. It holds the program by an fd of its own, to be
sure that what it replaces or takes off is still its own program, and not one that somebody else has put there since.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, ClassVar

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, NotSupportedError
from bpfload.objects.base import KernelObject
from bpfload.objects.link_info import LinkInfo
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from collections.abc import Callable

#: The type that `info` tells: that of no link.
NO_LINK = 0


class Fallback(KernelObject):
    """A program attached without a link; `fd` is the program's. One subclass for each way to attach.

    `form`: what it is in words, for messages. `pin_hint`: what to do instead of pinning it.
    """

    __slots__ = ("_kept", "_there")

    form: ClassVar[str] = "attachment without a link"
    pin_hint: ClassVar[str] = (
        "Call keep(), and it stays without being held by anything; pin the program if it is to be found again."
    )

    def __init__(self, program: KernelObject) -> None:
        super().__init__(os.dup(program.fd))
        self._there = True
        self._kept = False

    # --- what each form does ----------------------------------------------------------------------------------------

    def _fields(self) -> dict[str, int | str | tuple[int, ...]]:
        """Return where it is attached, by the names that a link's info would use."""
        raise NotImplementedError

    def _present(self) -> list[int]:
        """Return the ids of the programs at the hook now. Raises KernelError."""
        raise NotImplementedError

    def _replace(self, program: KernelObject) -> None:
        """Put another program in the place of ours. Raises KernelError."""
        raise NotImplementedError

    def _take_off(self) -> None:
        """Detach our program, which is known to be there. Raises KernelError."""
        raise NotImplementedError

    # --- what all have in common ------------------------------------------------------------------------------------

    @property
    def program_id(self) -> int:
        """The id of the program that this has attached last."""
        return program_id(self)

    def info(self, *, arrays: bool = False) -> LinkInfo:
        """Return what is attached and where, in the form of a link's info: `type` and `id` are 0.

        `prog_id`: 0 once it was taken off, by this or by somebody else. Raises KernelError.
        """
        ident = self.program_id
        return LinkInfo(NO_LINK, 0, ident if self._there and ident in self._present() else 0, self._fields())

    def update(self, program: KernelObject, *, old: KernelObject | None = None) -> None:
        """Put another program in the place of the present one, at once; `old`: only if that is the present one.

        Raises KernelError: EPERM where it is not `old`, ENOLINK where ours isn't there any more.
        """
        self._check_there()
        if old is not None and program_id(old) != self.program_id:
            hint = f"It has program id {self.program_id} now, which is not the expected one."
            raise KernelError("update", errno.EPERM, f"updating the {self.form} was refused", hint=hint)
        self._replace(program)
        fd, self._fd = self._fd, os.dup(program.fd)
        os.close(fd)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Raise NotSupportedError: only links can be pinned."""
        raise NotSupportedError(
            f"link for this {self.form}, and only links can be pinned", call="BPF_OBJ_PIN", hint=self.pin_hint
        )

    def keep(self) -> None:
        """Leave it in place when it is closed."""
        self._kept = True

    def detach(self) -> None:
        """Take the program off its hook; nothing happens the second time. Raises KernelError ENOLINK where it isn't ours now."""
        if self._there:
            self._check_there()
            self._take_off()
            self._there = False

    def close(self) -> None:
        """Detach it, unless it is to be kept, and let go of the program. What somebody else has put there meanwhile stays."""
        if self.closed:
            return
        try:
            if not self._kept:
                self.detach()
        except NotFoundError:
            pass
        except KernelError as error:
            if error.errno not in _GONE:
                raise
        finally:
            super().close()

    def _check_there(self) -> None:
        if self._there and self.program_id in self._present():
            return
        hint = "Somebody has taken it off, or has put another program in its place."
        raise KernelError(
            "detach" if self._there else "update", errno.ENOLINK, f"the {self.form} is not there any more", hint=hint
        )


# The device, the cgroup or the program is gone, and with it the attachment; or it is somebody else's by now.
_GONE = (errno.ENOLINK, errno.ENODEV, errno.ENOENT, errno.EBADF, errno.ENXIO, errno.EEXIST)


class ProgAttachment(Fallback):
    """A program attached by BPF_PROG_ATTACH: to a cgroup, a sockmap, the network namespace, or by tcx without a link.

    `target`: fd or interface index, `holder`: the fd among them that is closed with this (-1: none). `query`: the same for
    BPF_PROG_QUERY, where it takes another. `flags`: what it was attached with, and is replaced with. `in_place`: whether
    the kernel replaces one of several by BPF_F_REPLACE (Linux 5.6); else the new program is attached over the old one.
    """

    __slots__ = ("_attach_type", "_details", "_flags", "_holder", "_in_place", "_query", "_target")

    form: ClassVar[str] = "attachment without a link"

    def __init__(
        self,
        program: KernelObject,
        target: int,
        attach_type: int,
        flags: int = 0,
        *,
        holder: int = -1,
        query: int | None = None,
        in_place: bool = False,
        details: dict[str, int | str | tuple[int, ...]] | None = None,
    ) -> None:
        self._holder = holder
        super().__init__(program)
        self._target, self._attach_type, self._flags, self._in_place = target, attach_type, flags, in_place
        self._query = target if query is None else query
        self._details = details or {}

    def _fields(self) -> dict[str, int | str | tuple[int, ...]]:
        return {"attach_type": self._attach_type, **self._details}

    def _present(self) -> list[int]:
        return attached_programs(self._query, self._attach_type, lambda: self.program_id)

    def _replace(self, program: KernelObject) -> None:
        if self._in_place:
            flags = self._flags | consts.BPF_F_REPLACE
            bpf.prog_attach(program.fd, self._target, self._attach_type, flags, replace_fd=self.fd)
        else:
            bpf.prog_attach(program.fd, self._target, self._attach_type, self._flags)

    def _take_off(self) -> None:
        bpf.prog_detach(self.fd, self._target, self._attach_type)

    def close(self) -> None:
        """Detach it, unless it is to be kept, and let go of the program and of what it was attached to."""
        try:
            super().close()
        finally:
            holder, self._holder = self._holder, -1
            if holder >= 0:
                os.close(holder)


def program_id(program: KernelObject) -> int:
    """Return a program's id. Raises KernelError."""
    from bpfload.objects.info import prog_info

    return prog_info(program.fd, ()).id


def attached_programs(target: int, attach_type: int, otherwise: Callable[[], int]) -> list[int]:
    """Return the ids of the programs at a hook; `otherwise` (what we think) for hooks that this kernel can't be asked about."""
    try:
        return bpf.prog_query(target, attach_type)[0]
    except KernelError as error:
        if error.errno != errno.EINVAL:  # sockmaps: since Linux 5.17
            raise
        return [otherwise()]
