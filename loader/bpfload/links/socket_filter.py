"""Programs of one socket: a filter of what it receives, and sk_reuseport, which chooses among sockets that share a port.

There is no link; the socket holds the program, and the attachment ends with the socket at the latest.

Source: sk_attach_bpf(), sk_reuseport_attach_bpf() and sk_detach_filter() in net/core/filter.c.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, ClassVar

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.links.fallback import Fallback
from bpfload.objects.base import KernelObject

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.spec import ProgramSpec

# asm-generic/socket.h; alpha, mips, parisc and sparc have numbers of their own, and so has their Python for most of them.
_SO_ATTACH_BPF, _SO_DETACH_BPF = 50, 27
_SO_ATTACH_REUSEPORT_EBPF, _SO_DETACH_REUSEPORT_BPF = 52, 68


class SocketAttachment(Fallback):
    """A program that a socket has. The socket is its owner's: this only remembers which one it was."""

    __slots__ = ("_inode", "_reuseport", "_socket_fd")

    form: ClassVar[str] = "program of a socket"
    pin_hint: ClassVar[str] = "It lives as long as the socket does: call keep(), and keep the socket open."

    def __init__(self, program: KernelObject, socket_fd: int, *, reuseport: bool) -> None:
        super().__init__(program)
        self._socket_fd, self._reuseport = socket_fd, reuseport
        self._inode = os.fstat(socket_fd).st_ino

    def _fields(self) -> dict[str, int | str | tuple[int, ...]]:
        return {"socket_inode": self._inode}

    def _present(self) -> list[int]:
        # The kernel doesn't tell what program a socket has, only whether it is still that socket.
        try:
            same = os.fstat(self._socket_fd).st_ino == self._inode
        except OSError:
            same = False
        return [self.program_id] if same else []

    def _replace(self, program: KernelObject) -> None:
        _attach(program, self._socket_fd, reuseport=self._reuseport)

    def _take_off(self) -> None:
        _set(self._socket_fd, _SO_DETACH_REUSEPORT_BPF if self._reuseport else _SO_DETACH_BPF, 0)


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> SocketAttachment:
    """Attach to the socket `target.socket_fd`; a program that it has already is replaced."""
    if target.socket_fd < 0:
        raise UsageError(f"program {spec.name!r}: no socket to attach to")
    reuseport = spec.type == consts.BPF_PROG_TYPE_SK_REUSEPORT
    try:
        _attach(program, target.socket_fd, reuseport=reuseport)
    except KernelError as error:
        from bpfload.abi.consts import CAP_BPF
        from bpfload.links.refusal import refused

        hint = ""
        if error.errno == errno.ENOTSOCK:
            hint = f"File descriptor {target.socket_fd} is no socket."
        elif error.errno == errno.EINVAL and reuseport:
            hint = "The socket shares no port: set SO_REUSEPORT before it is bound, and bind it."
        elif error.errno == errno.EPERM:
            hint = "The socket's filter is locked (SO_LOCK_FILTER)."
        raise refused(error, f"attaching program {spec.name!r} to its socket", CAP_BPF, hint=hint) from None
    return SocketAttachment(program, target.socket_fd, reuseport=reuseport)


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> SocketAttachment:
    """Return the attachment to that socket, which can't be asked whether it has the program."""
    return SocketAttachment(program, target.socket_fd, reuseport=spec.type == consts.BPF_PROG_TYPE_SK_REUSEPORT)


def _attach(program: KernelObject, socket_fd: int, *, reuseport: bool) -> None:
    _set(socket_fd, _SO_ATTACH_REUSEPORT_EBPF if reuseport else _SO_ATTACH_BPF, program.fd)


def _set(socket_fd: int, option: int, value: int) -> None:
    try:
        # An object over the same fd, which it gives back without closing it.
        borrowed = socket.socket(fileno=socket_fd)
        try:
            borrowed.setsockopt(socket.SOL_SOCKET, option, value)
        finally:
            borrowed.detach()
    except OSError as error:
        raise KernelError("setsockopt", error.errno or errno.EINVAL) from None
