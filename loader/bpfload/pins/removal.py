"""Unloading: the pins of a load, its attachments, its directories; and what keeps a program in the kernel after that."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from bpfload.errors import NotFoundError, PinError
from bpfload.kernel import mounts
from bpfload.objects.bpffs import Pin, identify, pins
from bpfload.objects.paths import APPLIED, APPLYING, LINK, STAGED, STAGED_MAPS
from bpfload.objects.program import Program
from bpfload.pins import staging, unlinked
from bpfload.pins.attached import Detached, detach_programs, detach_unlinked
from bpfload.pins.holding import Holder, remaining_holders


@dataclass(frozen=True, slots=True)
class Unloaded:
    """What one `unload` did.

    `removed`: the pins that are gone, links first, those at `path` last. `directories`: that went with them. `leftovers`:
    pins of an earlier load at this path that had been killed. `kept`: pins in the directory `path` that no load of bpfload
    put there. `holders`: what still keeps a program of this load in the kernel. `chains`: (device, program) of the chains
    that programs were taken out of, by `bpfload.dispatcher.unloading`. `detached`: attachments without a pin that were ended:
    without a link, or (where a program was named, not a path) by a link that wasn't pinned. `gone`: ids of the programs that the
    kernel has let go of; of a dry run none.
    """

    path: str
    removed: tuple[Pin, ...]
    directories: tuple[str, ...] = ()
    leftovers: tuple[Pin, ...] = ()
    kept: tuple[Pin, ...] = ()
    holders: tuple[Holder, ...] = ()
    chains: tuple[tuple[str, int], ...] = ()
    detached: tuple[Detached, ...] = ()
    gone: tuple[int, ...] = ()


def unload(path: str | os.PathLike[str], *, dry_run: bool = False) -> Unloaded:
    """Detach and unpin what a load pinned at `path`: a program with its link and maps, or a directory of programs.

    A single map or link can be named as well. Pins that the load didn't make are left alone. `dry_run`: only say what would go.
    Waits up to a second for the kernel to let go of the programs. Raises NotFoundError where there is nothing at `path`, PinError
    for what is no pin, or a directory that no load made, KernelError where detaching fails.
    """
    place = os.path.abspath(os.fspath(path))
    _require_pin(place)
    with staging.locked(place):
        leftovers = [] if dry_run else [*staging.clean(place), *staging.clean_attaching(place)]
        if os.path.isdir(place):
            done = _unload_directory(place, dry_run)
        elif os.path.lexists(place):
            done = _unload_file(place, dry_run)
        elif leftovers:
            done = Unloaded(place, ())
        else:
            raise _nothing_there(place)
        if not dry_run:
            _forget_record(place)
    return replace(done, leftovers=tuple(leftovers)) if dry_run else _wait(done, leftovers)


def unload_program(ident: int, *, dry_run: bool = False) -> Unloaded:
    """Detach and unpin the program with that id, wherever it is attached and pinned, with the maps that its load pinned.

    Of a load of several programs the others stay. `path` of the result is "". Raises NotFoundError, KernelError.
    """
    with Program.from_id(ident):
        pass
    total = Unloaded("", ())
    for pin in [each for each in pins() if each.kind == "program" and each.id == ident]:
        with staging.locked(pin.path):
            done = _unload_file(pin.path, dry_run)
        total = replace(
            total,
            removed=total.removed + done.removed,
            directories=total.directories + done.directories,
            detached=total.detached + done.detached,
        )
    seen = {pin.id for pin in total.removed if pin.kind == "link"}
    with suppress(NotFoundError):
        rest = [each for each in detach_programs([ident], dry_run=dry_run) if each.link not in seen or not each.link]
        known = {(each.program, each.where) for each in total.detached}
        total = replace(total, detached=total.detached + tuple(each for each in rest if (each.program, each.where) not in known))
    return total if dry_run else _wait(total, [], [ident])


def _wait(done: Unloaded, leftovers: list[Pin], more: Collection[int] = ()) -> Unloaded:
    """Wait for the kernel to let go of the programs, and add who keeps one."""
    gone = [*leftovers, *done.removed]
    programs = sorted({*more, *(pin.id for pin in gone if pin.kind == "program"), *(pin.prog_id for pin in gone if pin.prog_id)})
    links = {pin.id for pin in gone if pin.kind == "link"} | {each.link for each in done.detached if not each.remains}
    holders = remaining_holders(programs, ignored_links=links)
    held = {holder.program for holder in holders}
    ended = tuple(program for program in programs if program not in held)
    return replace(done, leftovers=tuple(leftovers), holders=tuple(holders), gone=ended)


def _forget_record(path: str) -> None:
    """Take away what says that the load was declared by a file (`bpfload.state`)."""
    for suffix in (APPLIED, APPLYING):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


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


def _unload_file(path: str, dry_run: bool) -> Unloaded:
    pin = identify(path)
    if pin is None:
        if not os.access(path, os.R_OK, effective_ids=True):
            raise PinError(
                f"{path} can't be opened: {os.strerror(errno.EACCES)}", path=path, hint="Run it as root.", errno_code=errno.EACCES
            )
        raise PinError(f"{path} holds no program, map or link", path=path, errno_code=errno.EINVAL)
    if pin.kind != "program":
        return Unloaded(path, (pin,) if dry_run else tuple(staging.remove_pin(pin)))
    links = staging.links_at(path + LINK, {pin.id}) if os.path.lexists(path + LINK) else []
    detached = () if links else _detach_unlinked([pin], dry_run)
    maps = staging.marked_maps(path, [pin])
    if dry_run:
        return Unloaded(path, (*links, *maps, pin), tuple(staging.directories_of(maps)), detached=detached)
    removed = staging.detach_links(path + LINK, {pin.id})
    gone, directories = staging.remove_maps(path, maps)
    removed += gone
    removed += staging.remove_pin(pin)
    return Unloaded(path, tuple(removed), tuple(directories), detached=detached)


def _unload_directory(path: str, dry_run: bool) -> Unloaded:
    present = list(pins(path))
    marks = {pin.mtime for pin in present if pin.kind == "program" and staging.is_directory_mark(pin.mtime)}
    ours = [pin for pin in present if pin.mtime in marks]
    foreign = [pin for pin in present if pin.mtime not in marks]
    if not ours:
        raise _not_a_load(path, foreign)
    inside = {pin.path for pin in present}
    programs = [pin for pin in ours if pin.kind == "program"]
    linked = {pin.prog_id for pin in present if pin.kind == "link"}
    detached = _detach_unlinked([pin for pin in programs if pin.id not in linked], dry_run)
    maps = [pin for pin in staging.marked_maps(path, programs) if pin.path not in inside]
    # Links that were pinned later, by `attach`, go with their programs.
    later = [pin for pin in foreign if pin.kind == "link" and pin.path == f"{_program_path(pin, programs)}{LINK}"]
    ours += later
    foreign = [pin for pin in foreign if pin not in later]
    ours.sort(key=_order)
    own_directories = [] if foreign else [place for place, _, _ in os.walk(path, topdown=False)]
    if dry_run:
        directories = staging.directories_of(maps) + own_directories
        return Unloaded(path, (*maps, *ours), tuple(directories), kept=tuple(foreign), detached=detached)
    maps, directories = staging.remove_maps(path, maps)
    if not foreign:
        # All of it is one load's: it vanishes at once, then it is taken apart under its staging name.
        directories += own_directories
        os.rename(path, path + STAGED)
        staging.remove_all(path + STAGED)
    else:
        ours = [pin for each in ours for pin in staging.remove_pin(each)]
    return Unloaded(path, (*maps, *ours), tuple(directories), kept=tuple(foreign), detached=detached)


def _program_path(link: Pin, programs: list[Pin]) -> str:
    return next((pin.path for pin in programs if pin.id == link.prog_id), "")


def _detach_unlinked(programs: list[Pin], dry_run: bool) -> tuple[Detached, ...]:
    """Take programs off where they are attached without a link, which no pin of theirs tells."""
    found: list[Detached] = []
    for pin in programs:
        with Program.from_pin(pin.path) as program:
            if program.info().type in unlinked.TYPES:
                found += detach_unlinked(pin.id, dry_run)
    return tuple(found)


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
