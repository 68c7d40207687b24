"""Paths on bpffs: what is wrong with one, said before anything is created.

Source: bpf_lookup(), bpf_obj_do_pin() in kernel/bpf/inode.c.
"""

from __future__ import annotations

import errno
import os

from bpfload.errors import KernelError, PinError
from bpfload.kernel import mounts
from bpfload.syscall import bpf

#: What is under construction is called like the finished thing, with this behind it.
STAGED = "_bpfload_tmp"
#: The maps of a load that go to a directory of their own, while they are under construction.
STAGED_MAPS = "_bpfload_maps"
#: The link of a new version, until it takes the place of the old version's.
STAGED_LINK = "_bpfload_link"
#: Which pins of maps only one of two versions has, until the other is gone: see `bpfload.pins.settling`.
STAGED_SOLE = "_bpfload_sole"
#: The old version for a moment, on kernels that can't exchange two names.
SET_ASIDE = "_bpfload_old"
#: What a load says of the file that declared it (`bpfload.state`): a symbolic link; and that link until it takes its place.
APPLIED = "_bpfload_applied"
APPLYING = "_bpfload_record"
#: What the link of a program is called: like the program's pin, with this behind it.
LINK = "_link"

_NAME_MAX = 255
_PATH_MAX = 4096


def require_bpffs(path: str, *, mount: bool = True) -> None:
    """Check that the directory that `path` is to be in is there and on a bpffs.

    `mount`: if `path` is under /sys/fs/bpf, and no bpffs is mounted there, mount it. Raises PinError.
    """
    parent = os.path.dirname(os.path.abspath(path))
    if mounts.is_bpffs(parent) and os.path.isdir(parent):
        return
    usual = mounts.BPFFS
    inside = parent == usual or parent.startswith(usual + "/")
    if inside and not mounts.is_bpffs(usual) and not mount:
        raise PinError(
            f"no BPF file system is mounted at {usual}, and -n forbids mounting it",
            path=path,
            hint=f"Mount it: mount -t bpf bpf {usual}",
        )
    if inside and mount and not mounts.is_bpffs(usual):
        _mount_usual(path)
        if mounts.is_bpffs(parent) and os.path.isdir(parent):
            return
    raise _unusable_parent(path, parent)


def _mount_usual(path: str) -> None:
    try:
        mounts.mount_bpffs()
    except OSError as error:
        hint = ""
        if error.errno == errno.EPERM:
            from bpfload.abi.consts import CAP_SYS_ADMIN
            from bpfload.kernel.capabilities import permission_hint

            hint = permission_hint(CAP_SYS_ADMIN)
        raise PinError(
            f"no BPF file system is mounted at {mounts.BPFFS}, and mounting it failed: {os.strerror(error.errno or 0)}",
            path=path,
            hint=hint,
            errno_code=error.errno or errno.EINVAL,
        ) from None


def _unusable_parent(path: str, parent: str) -> PinError:
    """Say why nothing can be pinned in `parent`."""
    if os.path.isdir(parent):
        hint = f"Pins live on a BPF file system, usually mounted at {mounts.BPFFS}."
        return PinError(f"{parent} is not on a BPF file system", path=path, hint=hint, errno_code=errno.EPERM)
    if _has_dot(parent):
        return PinError(
            f"no directory {parent}: a BPF file system allows no dot in a name",
            path=path,
            hint=f"Try {_without_dots(path)}.",
            errno_code=errno.EPERM,
        )
    try:
        os.stat(parent)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        reason, hint = os.strerror(error.errno or 0), "Run it as root." if error.errno == errno.EACCES else ""
        return PinError(f"{parent} can't be used: {reason}", path=path, hint=hint, errno_code=error.errno or errno.EINVAL)
    else:
        return PinError(f"{parent} is not a directory", path=path, errno_code=errno.ENOTDIR)
    existing = parent
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if mounts.is_bpffs(existing):
        hint = f"Make it first: mkdir {'-p ' if os.path.dirname(parent) != existing else ''}{parent}"
    else:
        hint = f"Pins live on a BPF file system, usually mounted at {mounts.BPFFS}."
    return PinError(f"no directory {parent} to pin in", path=path, hint=hint, errno_code=errno.ENOENT)


def _has_dot(path: str) -> bool:
    """Whether a name below the mount point of a bpffs has a dot in it."""
    existing = path
    while not os.path.lexists(existing) and existing != "/":
        existing = os.path.dirname(existing)
    return mounts.is_bpffs(existing) and "." in path[len(existing) :]


def _without_dots(path: str) -> str:
    """Suggest a path that a bpffs would take: everything below the part that exists loses its dots."""
    existing = path
    while not os.path.lexists(existing) and existing != "/":
        existing = os.path.dirname(existing)
    return existing + path[len(existing) :].replace(".", "_")


def check_name(path: str) -> None:
    """Check the last name of a path: that a bpffs takes it, with room for what is put behind it. Raises PinError."""
    if not path:
        raise PinError("the path to pin at is empty", path=path, hint=f"A pin needs a name, as in {mounts.BPFFS}/hello.")
    if path.endswith("/"):
        better = os.path.join(path, "hello") if os.path.isdir(path) else path.rstrip("/")
        raise PinError(f"{path} has no name behind its last slash", path=path, hint=f"Try {better}.")
    name = os.path.basename(path)
    if "." in name:
        raise PinError(
            f"{name!r} has a dot in it, which a BPF file system allows in no name",
            path=path,
            hint=f"Try {os.path.join(os.path.dirname(path), name.replace('.', '_').lstrip('_') or 'hello')}.",
            errno_code=errno.EPERM,
        )
    room = _NAME_MAX - len(LINK) - len(STAGED)
    if len(os.fsencode(name)) > room or len(os.fsencode(path)) >= _PATH_MAX - _NAME_MAX:
        raise PinError(
            f"the name is too long: {len(name)} characters, {room} are possible", path=path, errno_code=errno.ENAMETOOLONG
        )
    for suffix in (STAGED, STAGED_MAPS, STAGED_LINK, STAGED_SOLE, SET_ASIDE, APPLIED, APPLYING):
        if name.endswith(suffix):
            hint = f"What ends in {suffix} is a load that isn't finished, and is taken away."
            raise PinError(f"{name!r} can't be a pin's name", path=path, hint=hint)


def check_new(path: str, *, mount: bool = True) -> None:
    """Check that something new can be pinned at `path`. Raises PinError that says what stands in the way."""
    check_name(path)
    check_free(path)
    require_bpffs(path, mount=mount)
    check_free(path)  # where a bpffs was mounted just now


def check_free(path: str) -> None:
    """Check that nothing is at `path` yet. Raises PinError that says what is."""
    if not os.path.lexists(path):
        return
    raise _occupied(path)


def _occupied(path: str) -> PinError:
    if os.path.isdir(path) and (os.path.ismount(path) or not mounts.is_bpffs(path)):
        hint = f"A pin needs a name of its own, as in {os.path.join(path if mounts.is_bpffs(path) else mounts.BPFFS, 'hello')}."
    elif mounts.is_bpffs(path):
        hint = f"Unload it first (bpfload unload {path}), or choose another path."
    else:
        hint = f"Pins live on a BPF file system, usually mounted at {mounts.BPFFS}."
    return PinError(f"{path} exists already: {describe(path)}", path=path, hint=hint, errno_code=errno.EEXIST)


def describe(path: str) -> str:
    """Say in a few words what is at a path: ``program 12 (hello)``, ``a directory``."""
    from bpfload.objects.bpffs import identify

    if os.path.isdir(path):
        return "a directory"
    found = identify(path)
    return f"{found.kind} {found.id}" if found else "something that is no pin"


def pin(fd: int, path: str) -> None:
    """Pin an object at `path`. Raises PinError that says why it can't be."""
    try:
        bpf.obj_pin(fd, path)
    except KernelError as error:
        raise pin_error(error, path) from None


def pin_error(error: OSError, path: str) -> PinError:
    """Say why something couldn't be pinned at, or moved to, `path`."""
    if error.errno == errno.EEXIST:
        return PinError(f"{path} exists already", path=path, hint="Choose another path.", errno_code=errno.EEXIST)
    if error.errno == errno.EPERM:
        try:
            check_name(path)
            require_bpffs(path, mount=False)
        except PinError as better:
            return better
    hint = ""
    if error.errno in (errno.EPERM, errno.EACCES):
        from bpfload.abi.consts import CAP_BPF
        from bpfload.kernel.capabilities import permission_hint

        hint = permission_hint(CAP_BPF)
    reason = os.strerror(error.errno or 0)
    return PinError(f"{path} could not be pinned: {reason}", path=path, hint=hint, errno_code=error.errno or errno.EINVAL)
