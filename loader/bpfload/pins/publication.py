"""Publishing a load: all of its pins, or none; PATH last, and by rename.

The order, under the directory's lock:

1. what a killed load left at PATH is taken away (`staging.clean`);
2. the program is pinned at PATH_bpfload_tmp (several programs: a directory of that name, with a pin for each);
3. it is attached: a link goes with a killed process, and attachments of older kinds are found by the program;
4. maps that are to be pinned are pinned in PATH_bpfload_maps/, marked as this load's, and moved to their directory;
5. the link is pinned at PATH_link (several programs: NAME_link in the directory);
6. PATH_bpfload_tmp is renamed to PATH, unless something has appeared there.

A kill before step 6 leaves PATH_bpfload_tmp, from which the next load or unload at PATH recognises the rest: the link by its
program, the maps by the mark. There is nothing to do after step 6.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from bpfload.errors import BpfError, NotSupportedError, PinError, UsageError
from bpfload.objects import paths
from bpfload.objects.base import KernelObject
from bpfload.objects.link import Link
from bpfload.objects.paths import LINK, STAGED, STAGED_MAPS
from bpfload.pins import staging
from bpfload.syscall import fs

if TYPE_CHECKING:
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.map import Map
    from bpfload.pins.permissions import Permissions
    from bpfload.spec import MapSpec, ObjectSpec


def publish(
    path: str,
    programs: Mapping[str, KernelObject],
    links: Mapping[str, Attachment] | Callable[[], Mapping[str, Attachment]] | None = None,
    *,
    maps: Mapping[str, KernelObject] | None = None,
    maps_directory: str = "",
    as_directory: bool | None = None,
    permissions: Permissions | None = None,
) -> list[str]:
    """Pin a load at `path` and return the paths of its pins.

    `programs`, `links`: by program name; `links` may be what makes them, called once the programs are staged. One program is
    pinned at `path` itself, and its link at `path` + "_link"; several (or `as_directory`), in a directory `path`, by their
    names. An attachment of several links is a directory of them; one that is no link is told to stay, which takes no pin
    (`Attachment.keep`). `maps`: by the names of their pins, in `maps_directory`, which is made if it isn't there. `permissions`:
    of the pins and the directories that are made. Raises PinError, NotSupportedError for an attachment that can't stay, and
    leaves nothing behind then.
    """
    maps = maps or {}
    if not programs:
        raise UsageError("there is no program to pin")
    work = Publication(os.path.abspath(path), as_directory if as_directory is not None else len(programs) > 1, permissions)
    with staging.locked(work.path), ExitStack() as undo:
        staging.clean(work.path)
        paths.check_free(work.path)
        work.stage_programs(undo, programs, marked=bool(maps))
        attached = links() if callable(links) else links or {}
        if maps:
            work.place_maps(undo, maps, os.path.abspath(maps_directory))
        for name, link in attached.items():
            work.place_link(undo, name, link)
        work.finish()
        undo.pop_all()
    return work.pinned


class Publication:
    """The state of one `publish`: where things are staged, what they are called in the end."""

    def __init__(self, path: str, is_directory: bool, permissions: Permissions | None = None) -> None:
        self.path = path
        self.permissions = permissions
        self.staged = path + STAGED
        self.is_directory = is_directory
        self.mark = 0
        self.pinned: list[str] = []

    def stage_programs(self, undo: ExitStack, programs: Mapping[str, KernelObject], *, marked: bool) -> None:
        """Pin the programs under the staging name."""
        if (marked or self.is_directory) and not self.mark:
            self.mark = staging.new_mark(directory=self.is_directory)
        if not self.is_directory:
            (program,) = programs.values()
            self._pin(undo, program, self.staged, self.path)
            return
        self._make_directory(self.staged)
        undo.callback(_forget_directory, self.staged)
        for name, program in programs.items():
            self._pin(undo, program, f"{self.staged}/{name}", f"{self.path}/{name}")

    def _pin(self, undo: ExitStack, what: KernelObject, staged: str, final: str) -> None:
        paths.pin(what.fd, staged)
        undo.callback(_forget, staged)
        self._allow(staged)
        if self.mark:
            staging.mark(staged, self.mark)
        self.pinned.append(final)

    def _allow(self, path: str) -> None:
        """Give a pin or directory the permissions that were asked for."""
        if self.permissions is not None:
            self.permissions.apply(path)

    def _make_directory(self, path: str) -> None:
        _make_directory(path)
        self._allow(path)

    def place_maps(self, undo: ExitStack, maps: Mapping[str, KernelObject], directory: str) -> None:
        """Pin the maps under a staging name, mark them, and move them to where they belong."""
        if directory == self.path or directory.startswith(self.path + "/"):
            self._maps_inside(undo, maps, directory)
            return
        holding = self.path + STAGED_MAPS
        self._make_directory(holding)
        undo.callback(_forget_directory, holding)
        for name, each in maps.items():
            paths.pin(each.fd, f"{holding}/{name}")
            undo.callback(_forget, f"{holding}/{name}")
            self._allow(f"{holding}/{name}")
            staging.mark(f"{holding}/{name}", self.mark)
        if _becomes(holding, directory):
            undo.callback(_forget_directory, directory)
            for name in maps:
                undo.callback(_forget, f"{directory}/{name}")
        else:
            for name in maps:
                _move(f"{holding}/{name}", f"{directory}/{name}")
                undo.callback(_forget, f"{directory}/{name}")
            os.rmdir(holding)
        self.pinned += [f"{directory}/{name}" for name in maps]

    def _maps_inside(self, undo: ExitStack, maps: Mapping[str, KernelObject], directory: str) -> None:
        """Pin maps in the directory of the programs, or below it: they appear together with it."""
        if not self.is_directory:
            raise UsageError(
                f"maps can't be pinned in {directory}: {self.path} will be a program, not a directory",
                hint=f"Choose another directory, for example {self.path}_maps.",
            )
        below = self.staged
        for part in directory[len(self.path) :].split("/"):
            if part:
                below = f"{below}/{part}"
                self._make_directory(below)
                undo.callback(_forget_directory, below)
        for name, each in maps.items():
            self._pin(undo, each, f"{below}/{name}", f"{directory}/{name}")

    def place_link(self, undo: ExitStack, name: str, link: Attachment) -> None:
        """Pin the only link beside the only program, or one of several in the directory; keep what is no link."""
        staged, final = (f"{place}/{name}{LINK}" if self.is_directory else self.path + LINK for place in (self.staged, self.path))
        self.pin_attachment(undo, name, link, staged, final)

    def pin_attachment(self, undo: ExitStack, name: str, attachment: Attachment, staged: str, final: str) -> None:
        """Pin an attachment at `staged`, which will be `final`: a link, a directory of several; keep what is no link."""
        links = links_of(attachment)
        if not links:
            return keep(name, attachment)
        paths.check_free(staged)
        if len(links) == 1:
            return self._pin(undo, links[0], staged, final)
        self._make_directory(staged)
        undo.callback(_forget_directory, staged)
        for number, link in enumerate(links):
            self._pin(undo, link, f"{staged}/{number}", f"{final}/{number}")
        return None

    def finish(self) -> None:
        """Make the load visible."""
        _move(self.staged, self.path)


def maps_by_pin(spec: ObjectSpec, maps: Mapping[str, Map]) -> dict[str, Map]:
    """Return the maps by the names of their pins; not those that the load itself pins by name."""
    return {pin_name(each): maps[name] for name, each in spec.maps.items() if name in maps and not each.pinning}


def pin_name(spec: MapSpec) -> str:
    """Return what a map's pin is called, with "_" for dots: its name, for global data that with the object's in front."""
    name = spec.kernel_name if spec.kind in ("data", "kconfig") else ""
    return (name or spec.name).replace(".", "_")


def links_of(attachment: Attachment) -> list[Link]:
    """Return the links that an attachment consists of; none for one that is no link."""
    parts = getattr(attachment, "parts", (attachment,))
    links = [part for part in parts if isinstance(part, Link)]
    return links if len(links) == len(parts) else []


def keep(name: str, attachment: Attachment) -> None:
    """Have an attachment that is no link stay when this process ends. Raises NotSupportedError where it can't."""
    try:
        attachment.keep()
    except BpfError as error:
        raise NotSupportedError(
            f"attachment for program {name!r} that outlives the process",
            since="5.15",
            hint="Attach it from a process that goes on: bpfload.load(…).program(…).attach() in Python.",
        ) from error


def _move(old: str, new: str) -> None:
    try:
        fs.rename_noreplace(old, new)
    except OSError as error:
        raise _moving_error(error, new) from None


def _becomes(old: str, new: str) -> bool:
    """Move a directory to where nothing is yet; return False, and do nothing, where something is: a mount point, perhaps."""
    if os.path.lexists(new):
        return False
    try:
        fs.rename_noreplace(old, new)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return False
        raise _moving_error(error, new) from None
    return True


def _moving_error(error: OSError, path: str) -> PinError:
    if error.errno == errno.EXDEV:
        return PinError(
            f"{path} is on another BPF file system than the program's pin",
            path=path,
            hint="Choose two paths on the same mount.",
            errno_code=errno.EXDEV,
        )
    return paths.pin_error(error, path)


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except OSError as error:
        raise paths.pin_error(error, path) from None


def _forget(path: str) -> None:
    """Take back a pin; it may have been moved away since."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _forget_directory(path: str) -> None:
    """Take back a directory; it may have been moved away since."""
    with suppress(FileNotFoundError):
        os.rmdir(path)
