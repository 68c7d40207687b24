"""Unloading: the pins of a load, its attachments, its directories; and what keeps a program in the kernel after that."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from bpfload.errors import NotFoundError, PinError
from bpfload.kernel import mounts
from bpfload.objects.bpffs import Pin, identify, pins
from bpfload.objects.paths import LINK, STAGED, STAGED_MAPS
from bpfload.pins import staging
from bpfload.pins.holding import Holder, remaining_holders


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What one `unload` did.

    `removed`: the pins that are gone, links first, those at `path` last. `directories`: that went with them. `leftovers`:
    pins of an earlier load at this path that had been killed. `kept`: pins in the directory `path` that no load of bpfload
    put there. `holders`: what still keeps a program of this load in the kernel. `chains`: (device, program) of the chains
    that programs were taken out of, by `bpfload.dispatcher.unloading`.
    """

    path: str
    removed: tuple[Pin, ...]
    directories: tuple[str, ...] = ()
    leftovers: tuple[Pin, ...] = ()
    kept: tuple[Pin, ...] = ()
    holders: tuple[Holder, ...] = ()
    chains: tuple[tuple[str, int], ...] = ()


def unload(path: str | os.PathLike[str]) -> Unloaded:
    """Detach and unpin what a load pinned at `path`: a program with its link and maps, or a directory of programs.

    A single map or link can be named as well. Pins that the load didn't make are left alone. Raises NotFoundError where there
    is nothing at `path`, PinError for what is no pin, or a directory that no load made, KernelError where detaching fails.
    """
    place = os.path.abspath(os.fspath(path))
    _require_pin(place)
    with staging.locked(place):
        leftovers = staging.clean(place)
        if os.path.isdir(place):
            done = _unload_directory(place)
        elif os.path.lexists(place):
            done = _unload_file(place)
        elif leftovers:
            done = Unloaded(place, ())
        else:
            raise _nothing_there(place)
    gone = [*leftovers, *done.removed]
    programs = sorted({pin.id for pin in gone if pin.kind == "program"} | {pin.prog_id for pin in gone if pin.prog_id})
    holders = remaining_holders(programs, ignored_links={pin.id for pin in gone if pin.kind == "link"})
    return Unloaded(place, done.removed, done.directories, tuple(leftovers), done.kept, tuple(holders))


def _require_pin(path: str) -> None:
    """Check that `path` is on a bpffs, and not the whole of it."""
    parent = os.path.dirname(path)
    if os.path.ismount(path):
        raise PinError(f"{path} is a mount point, not a load", path=path, hint="Name a pin in it.")
    if os.path.lexists(path) or os.path.isdir(parent):
        if not mounts.is_bpffs(parent):
            raise PinError(
                f"{path} is not on a BPF file system",
                path=path,
                hint="Only pins can be unloaded; they live on a BPF file system, usually mounted at /sys/fs/bpf.",
            )
    else:
        raise _nothing_there(path)


def _nothing_there(path: str) -> NotFoundError:
    from bpfload.errors import near

    parent, name = os.path.split(path)
    try:
        names = [name for name in os.listdir(parent) if not name.endswith((STAGED, STAGED_MAPS))]
    except OSError:
        names = []
    return NotFoundError(
        f"nothing is pinned at {path}", candidates=tuple(os.path.join(parent, each) for each in near(name, names))
    )


def _unload_file(path: str) -> Unloaded:
    pin = identify(path)
    if pin is None:
        if not os.access(path, os.R_OK, effective_ids=True):
            raise PinError(
                f"{path} can't be opened: {os.strerror(errno.EACCES)}", path=path, hint="Run it as root.", errno_code=errno.EACCES
            )
        raise PinError(f"{path} holds no program, map or link", path=path, errno_code=errno.EINVAL)
    removed: list[Pin] = []
    directories: list[str] = []
    if pin.kind == "program":
        removed += staging.detach_links(path + LINK, {pin.id})
        maps, directories = staging.remove_maps(path, staging.marked_maps(path, [pin]))
        removed += maps
    removed += staging.remove_pin(pin)
    return Unloaded(path, tuple(removed), tuple(directories))


def _unload_directory(path: str) -> Unloaded:
    present = list(pins(path))
    marks = {pin.mtime for pin in present if pin.kind == "program" and staging.is_directory_mark(pin.mtime)}
    ours = [pin for pin in present if pin.mtime in marks]
    foreign = [pin for pin in present if pin.mtime not in marks]
    if not ours:
        raise _not_a_load(path, foreign)
    inside = {pin.path for pin in present}
    programs = [pin for pin in ours if pin.kind == "program"]
    maps = [pin for pin in staging.marked_maps(path, programs) if pin.path not in inside]
    maps, directories = staging.remove_maps(path, maps)
    ours.sort(key=_order)
    if not foreign:
        # All of it is one load's: it vanishes at once, then it is taken apart under its staging name.
        directories += [place for place, _, _ in os.walk(path, topdown=False)]
        os.rename(path, path + STAGED)
        staging.remove_all(path + STAGED)
    else:
        ours = [pin for each in ours for pin in staging.remove_pin(each)]
    return Unloaded(path, (*maps, *ours), tuple(directories), kept=tuple(foreign))


def _order(pin: Pin) -> int:
    return ("link", "map", "program").index(pin.kind)


def _not_a_load(path: str, present: list[Pin]) -> PinError:
    if not present:
        return PinError(f"{path} is a directory with no pins in it", path=path, hint=f"Remove it: rmdir {path}")
    names = ", ".join(pin.path for pin in present[:4]) + (", …" if len(present) > 4 else "")
    return PinError(
        f"{path} is a directory that no load of bpfload made",
        path=path,
        hint=f"Name what is to be unloaded; it has {names}.",
    )
