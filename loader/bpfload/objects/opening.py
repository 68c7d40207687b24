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
        # EAGAIN: a link whose making isn't finished, or has failed half-way; the id is listed, but nothing has it yet.
        if error.errno in (errno.ENOENT, errno.EAGAIN):
            raise NotFoundError(f"no {kind} has id {ident}") from None
        raise with_capability(error, f"opening {kind} {ident}") from None


def with_capability(error: KernelError, doing: str) -> KernelError:
    """Return `error`, and where the kernel said EPERM, one that names the capability that is missing."""
    if error.errno == errno.EPERM:
        from bpfload.abi.consts import CAP_SYS_ADMIN
        from bpfload.kernel.capabilities import permission_hint

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
        from bpfload.abi.consts import CAP_BPF
        from bpfload.kernel.capabilities import permission_hint

        return PinError(f"opening {path} was refused", path=path, hint=permission_hint(CAP_BPF), errno_code=error.errno)
    if error.errno == errno.EACCES:
        from bpfload.kernel import mounts

        if os.path.exists(path) and not mounts.is_bpffs(path):
            message, hint = f"{path} is not on a BPF file system", f"Pins live on bpffs, usually mounted at {mounts.BPFFS}."
        elif os.path.isdir(path):
            message, hint = f"{path} is a directory, not a pin", "Name a pin in it."
        else:
            message, hint = f"{path} can't be opened: its permissions forbid it", "" if os.geteuid() == 0 else "Run it as root."
        return PinError(message, path=path, hint=hint, errno_code=error.errno)
    return error
