"""Pinning what is in the kernel already: `prog pin`, `map pin`, `link pin`."""

from __future__ import annotations

import errno
import os

from bpfload.errors import KernelError, PinError
from bpfload.kernel import mounts
from bpfload.objects.base import KernelObject
from bpfload.syscall import bpf
from bpfload_cli.session import Session


def pin_object(session: Session, item: KernelObject, path: str) -> None:
    """Pin an object at `path`, mounting bpffs there if it is nowhere yet. Raises PinError, KernelError."""
    ready_for_pin(path, mount=not session.nomount)
    try:
        bpf.obj_pin(item.fd, path)
    except KernelError as error:
        raise _explain(error, path) from None
    session.done()


def ready_for_pin(path: str, *, mount: bool) -> None:
    """Check that something can be pinned at `path`. Raises PinError, saying what is in the way."""
    directory = os.path.dirname(path) or "."
    if os.path.lexists(path):
        raise PinError(f"{path} exists already", path=path, hint="Remove it first, or pin elsewhere.", errno_code=errno.EEXIST)
    if not os.path.isdir(directory):
        raise PinError(f"the directory {directory} doesn't exist", path=path, errno_code=errno.ENOENT)
    if mounts.is_bpffs(directory):
        return
    if os.path.abspath(directory) == mounts.BPFFS and mount:
        mounts.mount_bpffs()
        return
    raise PinError(
        f"{directory} is not on a BPF file system",
        path=path,
        hint=f"Pin below {mounts.BPFFS}, or mount one: mount -t bpf bpf {directory}",
    )


def _explain(error: KernelError, path: str) -> PinError | KernelError:
    """Say why the kernel refused a path."""
    name = os.path.basename(path)
    if error.errno == errno.EPERM and "." in name:
        return PinError(f"{path} can't be a pin: bpffs allows no dots in names", path=path, errno_code=errno.EPERM)
    if error.errno == errno.EPERM:
        from bpfload.kernel.capabilities import CAP_BPF, permission_hint

        return KernelError(error.call, errno.EPERM, f"pinning at {path} was refused", hint=permission_hint(CAP_BPF))
    return error
