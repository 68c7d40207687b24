"""What an earlier load has pinned: programs, links and maps, opened, for another version to take their place."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import NotFoundError, PinError
from bpfload.objects.bpffs import Pin
from bpfload.objects.link import Link
from bpfload.objects.map import Map
from bpfload.objects.paths import LINK, describe
from bpfload.objects.program import Program
from bpfload.pins import staging

if TYPE_CHECKING:
    from bpfload.objects.info import ProgInfo
    from bpfload.spec import ProgramSpec

_NAME_LENGTH = 15  # BPF_OBJ_NAME_LEN without the NUL


@dataclass(slots=True, eq=False)
class EarlierProgram:
    """One program, opened. `name`: of its pin in a directory, else the kernel's. `links`: its links that are pinned by it."""

    name: str
    program: Program
    info: ProgInfo
    links: list[Link] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Earlier:
    """An earlier load. `mark`: the time that its pins are marked with, 0: none. `maps`: by id, those that its programs use or
    that it pinned, opened. `map_pins`: of those, outside of `path` and in it."""

    path: str
    is_directory: bool
    mark: int
    programs: list[EarlierProgram]
    maps: dict[int, Map]
    map_pins: list[Pin]

    @property
    def program_ids(self) -> tuple[int, ...]:
        """The ids of the programs."""
        return tuple(each.info.id for each in self.programs)

    @property
    def maps_directory(self) -> str:
        """Where its maps are pinned, "" if they aren't."""
        return os.path.dirname(self.map_pins[0].path) if self.map_pins else ""

    def counterpart(self, program: ProgramSpec, programs: list[ProgramSpec]) -> EarlierProgram | None:
        """Return the program whose place one of the new `programs` takes: that of its name; of the only one, the only one."""
        for each in self.programs:
            if each.name == program.name or (not self.is_directory and each.name == program.name[:_NAME_LENGTH]):
                return each
        alone = not self.is_directory and len(programs) == 1
        return self.programs[0] if alone else None


def read(path: str, stack: ExitStack) -> Earlier:
    """Open what a load has pinned at `path`; `stack` closes it. Raises PinError where that is no load, or not only one."""
    if os.path.isdir(path):
        return _read_directory(path, stack)
    pin = next(iter(staging.pins_at(path)), None)
    if pin is None or pin.kind != "program":
        raise PinError(
            f"{path} is {describe(path)}, not what a load pinned",
            path=path,
            hint="Only a program, or a directory of a load, can be replaced.",
            errno_code=errno.EEXIST,
        )
    program = _open(pin, "", stack)
    program.links = [stack.enter_context(Link.from_pin(link.path)) for link in staging.links_at(path + LINK, [pin.id])]
    mark = pin.mtime if staging.is_mark(pin.mtime) else 0
    return _with_maps(Earlier(path, False, mark, [program], {}, staging.marked_maps(path, [pin])), stack)


def _read_directory(path: str, stack: ExitStack) -> Earlier:
    present = staging.pins_at(path)
    marks = {pin.mtime for pin in present if pin.kind == "program" and staging.is_directory_mark(pin.mtime)}
    others = [pin.path for pin in present if pin.mtime not in marks]
    if len(marks) != 1 or others:
        what = "no load of bpfload made" if not marks else "holds pins of others, too" if others else "holds several loads"
        hint = f"Take them away first: {', '.join(others[:4])}." if others and marks else "Choose another path."
        raise PinError(f"{path} is a directory that {what}", path=path, hint=hint, errno_code=errno.EEXIST)
    programs = {pin.path: _open(pin, os.path.basename(pin.path), stack) for pin in present if pin.kind == "program"}
    for pin in present:
        if pin.kind != "link":
            continue
        for place in (pin.path, os.path.dirname(pin.path)):
            owner = programs.get(place.removesuffix(LINK)) if place.endswith(LINK) else None
            if owner is not None:
                owner.links.append(stack.enter_context(Link.from_pin(pin.path)))
                break
        else:
            raise _without_program(pin, path)
    own = [pin for pin in present if pin.kind == "program"]
    inside = [pin for pin in present if pin.kind == "map"]
    outside = [pin for pin in staging.marked_maps(path, own) if not pin.path.startswith(path + "/")]
    return _with_maps(Earlier(path, True, marks.pop(), list(programs.values()), {}, inside + outside), stack)


def _without_program(pin: Pin, path: str) -> PinError:
    """Say that a link is none of a program's: a registration of struct_ops, which would end with the old version."""
    with Link.from_pin(pin.path) as link:
        kind = link.info().type
    what = "registers struct_ops" if kind == consts.BPF_LINK_TYPE_STRUCT_OPS else "belongs to none of its programs"
    return PinError(
        f"{pin.path} {what}, and a replacement can't carry that over",
        path=pin.path,
        hint=f"Unload {path} first, and load it anew without --replace.",
        errno_code=errno.EOPNOTSUPP,
    )


def _open(pin: Pin, name: str, stack: ExitStack) -> EarlierProgram:
    program = stack.enter_context(Program.from_pin(pin.path))
    info = program.info("map_ids")
    return EarlierProgram(name or info.name, program, info)


def _with_maps(earlier: Earlier, stack: ExitStack) -> Earlier:
    for program in earlier.programs:
        for ident in program.info.map_ids:
            if ident not in earlier.maps:
                try:
                    earlier.maps[ident] = stack.enter_context(Map.from_id(ident))
                except NotFoundError:  # pragma: no cover  # the program holds it
                    continue
    for pin in earlier.map_pins:
        if pin.id not in earlier.maps:
            earlier.maps[pin.id] = stack.enter_context(Map.from_pin(pin.path))
    return earlier
