"""Opening what is already in the kernel, by id or by pin, with errors that say what was looked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from bpfload.errors import KernelError, NotFoundError, PinError
from bpfload.syscall import bpf

#: What /proc/self/fd/N points to, and the kind of object that it means.
_KINDS = {
    "anon_inode:bpf-prog": "program",
    "anon_inode:bpf-map": "map",
    "anon_inode:bpf_link": "link",
    "anon_inode:bpf-link": "link",
    "anon_inode:btf": "BTF object",
    "anon_inode:bpf_iter": "iterator",
}


def kind_of(fd: int) -> str:
    """Return "program", "map", "link", "BTF object" or "iterator"; "" for an fd of anything else."""
    return _KINDS.get(os.readlink(f"/proc/self/fd/{fd}"), "")


def by_id(get_fd: Callable[[int], int], kind: str, ident: int) -> int:
    """Return an fd of the object of `kind` with that id. Raises NotFoundError, or KernelError saying what is missing."""
    try:
        return get_fd(ident)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            raise NotFoundError(f"no {kind} has id {ident}") from None
        raise with_capability(error, f"opening {kind} {ident}") from None


def with_capability(error: KernelError, doing: str) -> KernelError:
    """Return `error`, and where the kernel said EPERM, one that names the capability that is missing."""
    if error.errno == errno.EPERM:
        from bpfload.kernel.capabilities import CAP_SYS_ADMIN, permission_hint

        return KernelError(error.call, error.errno, f"{doing} was refused", hint=permission_hint(CAP_SYS_ADMIN))
    return error


def by_pin(path: str | os.PathLike[str], kind: str, flags: int = 0) -> int:
    """Return an fd of what is pinned at `path`. Raises PinError where nothing is pinned there, or something of another kind."""
    text = os.fspath(path)
    try:
        fd = bpf.obj_get(text, flags)
    except KernelError as error:
        raise _pin_error(error, text) from None
    found = kind_of(fd)
    if found != kind:
        os.close(fd)
        raise PinError(f"{text} holds a {found or 'different object'}, not a {kind}", path=text)
    return fd


def _pin_error(error: KernelError, path: str) -> PinError | KernelError:
    """Say why nothing could be opened at a path."""
    if error.errno == errno.ENOENT:
        return PinError(f"nothing is pinned at {path}", path=path, errno_code=error.errno)
    if error.errno == errno.EPERM:
        from bpfload.kernel.capabilities import CAP_BPF, permission_hint

        return PinError(f"opening {path} was refused", path=path, hint=permission_hint(CAP_BPF), errno_code=error.errno)
    if error.errno == errno.EACCES:
        return PinError(
            f"{path} can't be opened as a pin: it is not on a BPF file system, or its permissions forbid it",
            path=path,
            hint="Pins live on bpffs, usually mounted at /sys/fs/bpf.",
            errno_code=error.errno,
        )
    return error
