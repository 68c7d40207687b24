"""Maps with LIBBPF_PIN_BY_NAME: found where an earlier load pinned them, compared, reused, replaced or refused.

Source: bpf_object__reuse_map(), map_is_reuse_compat() and bpf_map__pin() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.abi.names import MAP_TYPE_NAMES, name_of
from bpfload.errors import KernelError, LinkError, PinError
from bpfload.kernel import mounts
from bpfload.load.options import FAIL, REPLACE
from bpfload.objects import opening
from bpfload.spec import MapSpec
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.load.session import Session
    from bpfload.objects.info import MapInfo

_DEVICE_MAPS = (consts.BPF_MAP_TYPE_DEVMAP, consts.BPF_MAP_TYPE_DEVMAP_HASH)


def pin_path(session: Session, spec: MapSpec) -> str:
    """Return where a map with LIBBPF_PIN_BY_NAME is pinned: its name with "_" for ".", which bpffs doesn't take."""
    return os.path.join(session.options.pin_root or "", spec.name.replace(".", "_"))


def open_existing(session: Session, spec: MapSpec) -> int | None:
    """Return an fd of the map that is pinned under this map's name, or None where a new one is to be created.

    Raises PinError: something is pinned there and existing pins are not to be reused. LinkError: it is no map of this form;
    the message names each field that differs.
    """
    path = pin_path(session, spec)
    try:
        fd = bpf.obj_get(path)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise _unusable("opened", path, error) from error
    try:
        if session.options.existing_maps == FAIL:
            raise PinError(
                f"{path} exists already",
                path=path,
                hint="Let it be reused or replaced (--reuse-maps, --replace-maps), or remove it.",
                errno_code=errno.EEXIST,
            )
        kind = opening.kind_of(fd)
        if kind != "map":
            hint = "Remove or rename that pin, or give the map another name."
            raise PinError(f"{path} holds a {kind or 'different object'}, not a map", path=path, hint=hint)
        if session.options.existing_maps == REPLACE:
            os.close(fd)
            return None
        _compare(spec, fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def pin(session: Session, spec: MapSpec, fd: int) -> None:
    """Pin a new map under its name; the pin goes again if the load fails. An old pin is replaced by rename."""
    path = pin_path(session, spec)
    _make_directory(session, os.path.dirname(path), path)
    if session.options.existing_maps == REPLACE and os.path.lexists(path):
        staged = f"{path}_new_{os.getpid()}"
        bpf.obj_pin(fd, staged)
        session.undo(os.unlink, staged)
        session.at_end(os.rename, staged, path)
        return
    try:
        bpf.obj_pin(fd, path)
    except KernelError as error:
        raise _unusable("pinned", path, error) from error
    session.undo(os.unlink, path)


def _make_directory(session: Session, directory: str, path: str) -> None:
    """Make the directory of a pin, and those above it that aren't there; they go again if the load fails. Raises PinError."""
    missing = []
    while not os.path.lexists(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    try:
        if missing and not mounts.is_bpffs(directory):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        for name in reversed(missing):
            os.mkdir(name, mode=0o700)
            session.undo(os.rmdir, name)
    except OSError as error:
        raise _unusable("pinned", path, error) from error


def _unusable(what: str, path: str, error: OSError) -> PinError:
    """Say why a map can't be opened or pinned at a path."""
    existing = path
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    message, hint = f"the map can't be {what} at {path}: {error.strerror}", ""
    if not mounts.is_bpffs(existing):
        message, hint = f"{path} is not on a BPF file system", f"Pins live on bpffs, usually mounted at {mounts.BPFFS}."
    elif "." in path[len(existing) :]:
        message = f"{path}: a BPF file system allows no dot in a name"
        hint = f"Try {existing}{path[len(existing) :].replace('.', '_')}."
    return PinError(message, path=path, hint=hint, errno_code=error.errno or errno.EINVAL)


def _compare(spec: MapSpec, fd: int, path: str) -> None:
    from bpfload.load.maps import actual_max_entries
    from bpfload.objects.info import map_info

    info: MapInfo = map_info(fd)
    flags = info.map_flags & ~consts.BPF_F_RDONLY_PROG if spec.type in _DEVICE_MAPS else info.map_flags
    pairs = (
        ("type", _type_name(info.type), _type_name(spec.type)),
        ("key_size", info.key_size, spec.key_size),
        ("value_size", info.value_size, spec.value_size),
        ("max_entries", info.max_entries, actual_max_entries(spec)),
        ("map_flags", hex(flags), hex(spec.flags)),
        ("map_extra", info.map_extra, spec.extra),
    )
    different = [f"{name} is {found}, the object wants {wanted}" for name, found, wanted in pairs if found != wanted]
    if different:
        raise LinkError(
            f"the map pinned at {path} can't be reused: {'; '.join(different)}",
            symbol=spec.name,
            hint="Remove or rename that pin, or have it replaced (--replace-maps).",
        )


def _type_name(number: int) -> str:
    return name_of(MAP_TYPE_NAMES, number) or str(number)
