"""What a load under construction, or a killed one, has left beside its path; the lock that tells the two apart.

Source: bpffs has rename, link and symlink since Linux 4.9 or before (bpf_dir_iops in kernel/bpf/inode.c).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from bpfload.errors import PinError
from bpfload.objects.bpffs import Pin, files, identify, mount_point_of, pins
from bpfload.objects.paths import LINK, SET_ASIDE, STAGED, STAGED_LINK, STAGED_MAPS, STAGED_SOLE

# What is beside PATH while something is under construction there.
_SUFFIXES = (STAGED, STAGED_MAPS, STAGED_LINK, STAGED_SOLE, SET_ASIDE)

_PATIENCE_SECONDS = 10.0

# Pins of one load are marked as such by one modification time, to the nanosecond. Its last three digits say that it was set
# on purpose; a time that the kernel sets by itself has them by one chance in a thousand, and then nothing else that matches.
_MODULUS, _PROGRAM_DIGITS, _DIRECTORY_DIGITS = 1000, 457, 458


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock of the directory that `path` is in: one load or unload there publishes at a time.

    The kernel drops the lock of a process that is killed: whatever is staged while nobody holds it is left over. Raises
    PinError where the directory can't be opened or stays locked for 10 seconds.
    """
    directory = os.path.dirname(os.path.abspath(path))
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise PinError(
            f"directory {directory} can't be opened: {reason}", path=path, errno_code=error.errno or errno.EINVAL
        ) from None
    try:
        _lock(fd, directory, path)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: str, path: str) -> None:
    waited = 0.0
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        if waited >= _PATIENCE_SECONDS:
            raise PinError(
                f"another process has held the lock of {directory} for {_PATIENCE_SECONDS:.0f} seconds",
                path=path,
                hint="Another load or unload seems to hang there; /proc/locks names its process.",
                errno_code=errno.EBUSY,
            )
        import time

        time.sleep(0.02)
        waited += 0.02


def new_mark(*, directory: bool) -> int:
    """Return a modification time for the pins of one load: now, with the digits that make it a mark.

    `directory`: for a load whose PATH is a directory.
    """
    import time

    return time.time_ns() // _MODULUS * _MODULUS + (_DIRECTORY_DIGITS if directory else _PROGRAM_DIGITS)


def is_mark(mtime: int) -> bool:
    """Whether a modification time is the mark of a load."""
    return mtime % _MODULUS in (_PROGRAM_DIGITS, _DIRECTORY_DIGITS)


def is_directory_mark(mtime: int) -> bool:
    """Whether a modification time is the mark of a load whose PATH is a directory."""
    return mtime % _MODULUS == _DIRECTORY_DIGITS


def same_mark(mtime: int, *, directory: bool) -> int:
    """Return the mark of another version of a load: of the same time, so that the load's maps still are its maps."""
    return mtime // _MODULUS * _MODULUS + (_DIRECTORY_DIGITS if directory else _PROGRAM_DIGITS)


def mark(path: str, when: int) -> None:
    """Mark a pin as belonging to the load with the mark `when`."""
    os.utime(path, ns=(when, when))


def marked_maps(path: str, programs: list[Pin]) -> list[Pin]:
    """Return the pins, on the bpffs that `path` is on, of the maps that were pinned by the load that pinned `programs`."""
    marks = {program.mtime // _MODULUS for program in programs if is_mark(program.mtime)}
    if not marks:
        return []
    times = ((path, _mtime(path)) for path in files(mount_point_of(path)))
    candidates = [path for path, mtime in times if is_mark(mtime) and mtime // _MODULUS in marks]
    known = {program.path for program in programs}
    found = [identify(path) for path in candidates if path not in known]
    return [pin for pin in found if pin is not None and pin.kind == "map"]


def _mtime(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0


def clean_up(path: str) -> None:
    """Take away what a killed load, replacement or unload at `path` left, if there is anything."""
    if any(os.path.lexists(path + suffix) for suffix in _SUFFIXES):
        with locked(path):
            clean(path)


def clean_attaching(path: str) -> list[Pin]:
    """Take away what killed attachments of the programs of the load at `path` left; return the pins. Called under the lock."""
    places = [path + LINK]
    if os.path.isdir(path):
        places = [f"{path}/{name.removesuffix(STAGED)}" for name in os.listdir(path) if name.endswith(LINK + STAGED)]
    return [pin for place in places for pin in clean(place)]


def clean(path: str) -> list[Pin]:
    """Take away what a killed load, replacement or unload at `path` left; return the pins that are gone. Called under the lock.

    Where `path` is there a replacement was on its way, before or behind the step in which `path` changed: then what runs and is
    pinned is made to be that of `path`. Otherwise links go first, so that nothing stays attached; what they are recognised by,
    the staged program, goes last.
    """
    aside = path + SET_ASIDE
    if os.path.lexists(aside) and not os.path.lexists(path):
        os.rename(aside, path)
    if not any(os.path.lexists(path + suffix) for suffix in _SUFFIXES):
        return []
    staged, staged_maps = path + STAGED, path + STAGED_MAPS
    programs = [pin for place in (staged, aside) for pin in all_pins_at(place) if pin.kind == "program"]
    if os.path.lexists(path):
        from bpfload.pins import settling

        return settling.settle(path, programs)
    removed = detach_links(path + LINK, {program.id for program in programs})
    for program in programs:
        _detach_unlinked(program)
    if os.path.lexists(staged_maps):
        removed += remove_all(staged_maps)
    removed += remove_maps(path, marked_maps(path, programs))[0]
    for place in (path + STAGED_LINK, path + STAGED_SOLE, staged_maps, staged):
        if os.path.lexists(place):
            removed += remove_all(place)
    return removed


def _detach_unlinked(pin: Pin) -> None:
    """Take a program off where it was attached without a link before its load was killed."""
    from bpfload.objects.program import Program
    from bpfload.pins import unlinked

    with Program.from_pin(pin.path) as program:
        if program.info().type in unlinked.TYPES:
            unlinked.detach_all(program)


def detach_links(place: str, programs: set[int]) -> list[Pin]:
    """Take away the links of these programs, by id, that are pinned at `place`, or in it where it is a directory of them."""
    links = links_at(place, programs)
    removed = [each for link in links for each in remove_pin(link)]
    if links and os.path.isdir(place) and not os.listdir(place):
        os.rmdir(place)
    return removed


def links_at(place: str, programs: Collection[int]) -> list[Pin]:
    """Return the links of these programs, by id, that are pinned at `place`, or in it: several that are one attachment."""
    return [pin for pin in pins_at(place) if pin.kind == "link" and pin.prog_id in programs]


def directories_of(maps: list[Pin]) -> list[str]:
    """Return the directories that hold nothing but these pins, which `remove_maps` will remove."""
    found = []
    for directory in sorted({os.path.dirname(pin.path) for pin in maps}):
        ours = sorted(os.path.basename(pin.path) for pin in maps if os.path.dirname(pin.path) == directory)
        if sorted(os.listdir(directory)) == ours and not os.path.ismount(directory):
            found.append(directory)
    return found


def remove_maps(path: str, maps: list[Pin]) -> tuple[list[Pin], list[str]]:
    """Remove the pins of maps of the load at `path`, and the directories that hold nothing else; return both.

    A directory is moved away before it is emptied: after a kill it is found by its staging name.
    """
    removed: list[Pin] = []
    directories: list[str] = []
    for directory in sorted({os.path.dirname(pin.path) for pin in maps}):
        ours = [pin for pin in maps if os.path.dirname(pin.path) == directory]
        if sorted(os.listdir(directory)) == sorted(os.path.basename(pin.path) for pin in ours) and not (
            os.path.ismount(directory) or os.path.lexists(path + STAGED_MAPS)
        ):
            os.rename(directory, path + STAGED_MAPS)
            remove_all(path + STAGED_MAPS)
            removed += ours
            directories.append(directory)
        else:
            for pin in ours:
                removed += remove_pin(pin)
    return removed, directories


def pins_at(path: str) -> list[Pin]:
    """Return what is pinned at a path, or in the directory there."""
    if os.path.isdir(path):
        return list(pins(path))
    found = identify(path)
    return [found] if found else []


def all_pins_at(path: str) -> list[Pin]:
    """Return the same, and raise PinError where something there can't be told: nothing may be concluded from its absence."""
    found = pins_at(path)
    there = list(files(path)) if os.path.isdir(path) else [path] if os.path.lexists(path) else []
    unknown = [place for place in there if place not in {pin.path for pin in found} and os.path.lexists(place)]
    if unknown:
        hint = "What a killed command left there is looked at before anything is taken away: run the command again, as root."
        raise PinError(f"{unknown[0]} can't be opened", path=unknown[0], hint=hint, errno_code=errno.EACCES)
    return found


def remove_all(path: str, kept_links: Collection[int] = ()) -> list[Pin]:
    """Remove a pin, or a directory with all that is in it, links first. Returns the pins that are gone.

    `kept_links`: ids of links that are pinned elsewhere, too, and stay attached.
    """
    removed: list[Pin] = []
    for pin in sorted(pins_at(path), key=lambda pin: pin.kind != "link"):
        removed += remove_pin(pin, keep_attached=pin.kind == "link" and pin.id in kept_links)
    if os.path.isdir(path):
        for place, directories, names in os.walk(path, topdown=False):
            for name in names:
                os.unlink(os.path.join(place, name))
            for name in directories:
                os.rmdir(os.path.join(place, name))
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)
    return removed


def remove_pin(pin: Pin, *, keep_attached: bool = False) -> list[Pin]:
    """Remove one pin; a link is detached first, unless it is to stay. Returns it, or nothing where it was gone already."""
    if pin.kind == "link" and not keep_attached:
        from bpfload.pins.detaching import detach

        detach(pin)
    try:
        os.unlink(pin.path)
    except FileNotFoundError:
        return []
    return [pin]
