"""After a replacement that was killed: what runs and is pinned is made to be that of PATH, whichever version that is.

PATH changes in one step of the replacement, from the whole old version to the whole new one; the other version is what has the
staging name, before and after. So the rules are the same on both sides of that step, and the last part of every replacement is
to follow them (see `bpfload.pins.replacement`):

- a link of PATH that runs a program of the other version gets its own program back;
- a link that waits to become PATH_link does so if it runs a program of PATH, else it goes;
- a map's pin that waits beside does so if a program of PATH uses that map, and not the one in its place;
- a map's pin that only the other version has goes: before any changes, each such map is also pinned in PATH_bpfload_sole/, by the
  name of its pin and the id of a program of the version that has it;
- then everything else of the other version goes; its links are detached unless PATH has them, too.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from bpfload.objects.bpffs import Pin, identify
from bpfload.objects.paths import LINK, SET_ASIDE, STAGED, STAGED_LINK, STAGED_MAPS, STAGED_SOLE
from bpfload.pins import staging


def settle(path: str, others: Collection[Pin]) -> list[Pin]:
    """Follow the rules; return the pins that are gone. `others`: programs under the staging name. Called under the lock."""
    present = staging.all_pins_at(path)
    programs = [pin for pin in present if pin.kind == "program"]
    ids = {pin.id for pin in programs}
    other_ids = {pin.id for pin in others} - ids
    removed: list[Pin] = []
    if os.path.isdir(path):
        links = [pin for pin in present if pin.kind == "link"]
    else:
        removed += _settle_link(path, ids, other_ids)
        links = [pin for pin in staging.all_pins_at(path + LINK) if pin.kind == "link" and pin.prog_id in ids | other_ids]
    _take_back(links, programs, others, other_ids)
    for other in others:
        if other.id in other_ids and identify(other.path) is not None:
            _take_back_unlinked(other, programs)
    kept = {pin.id for pin in links}
    removed += _settle_maps(path, programs, others)
    if os.path.isdir(path):
        for link in staging.pins_at(path + LINK):  # the other version was a single program
            if link.kind == "link" and (link.id in kept or link.prog_id in other_ids):
                removed += staging.remove_pin(link, keep_attached=link.id in kept)
    for suffix in (STAGED_LINK, STAGED_MAPS, STAGED_SOLE, STAGED, SET_ASIDE):
        if os.path.lexists(path + suffix):
            removed += staging.remove_all(path + suffix, kept)
    return removed


def _settle_link(path: str, ids: Collection[int], other_ids: Collection[int]) -> list[Pin]:
    """Put the link that waits beside PATH_link in its place, if it is for the program that PATH is."""
    waiting, place = path + STAGED_LINK, path + LINK
    if not staging.links_at(waiting, ids):
        return []
    if not os.path.lexists(place):
        os.rename(waiting, place)
        return []
    from bpfload.pins.swapping import exchange

    exchange(waiting, place, place + SET_ASIDE)
    kept = {pin.id for pin in staging.pins_at(place)}
    return staging.remove_all(waiting, kept)


def _take_back(links: list[Pin], programs: list[Pin], others: Collection[Pin], other_ids: Collection[int]) -> None:
    """Have the links of PATH run its programs, those that run one of the other version now."""
    from bpfload.objects.link import Link
    from bpfload.objects.program import Program

    for link in links:
        own = _program_of(link, programs)
        if link.prog_id not in other_ids or own is None:
            continue
        other = next(pin for pin in others if pin.id == link.prog_id)
        with Link.from_pin(link.path) as attached, Program.from_pin(own.path) as back, Program.from_pin(other.path) as now:
            attached.update(back, old=now)


def _take_back_unlinked(other: Pin, programs: list[Pin]) -> None:
    """Have attachments without a link run the programs of PATH; those of a program that PATH doesn't have go."""
    from bpfload.objects.program import Program
    from bpfload.pins import unlinked

    own = next((pin for pin in programs if os.path.basename(pin.path) == os.path.basename(other.path)), None)
    own = programs[0] if len(programs) == 1 else own
    with Program.from_pin(other.path) as now:
        for attachment in unlinked.attachments_of(now):
            with attachment:
                if own is None:
                    attachment.detach()
                    continue
                with Program.from_pin(own.path) as back:
                    attachment.update(back, old=now)


def _program_of(link: Pin, programs: list[Pin]) -> Pin | None:
    """Return the program that a link belongs to by its name: NAME_link, or a number in a directory NAME_link."""
    if len(programs) == 1:
        return programs[0]
    for place in (link.path, os.path.dirname(link.path)):
        for program in programs:
            if program.path + LINK == place:
                return program
    return None


def _settle_maps(path: str, programs: list[Pin], others: Collection[Pin]) -> list[Pin]:
    """Put pins of maps that wait in their places; take the pins away that only the other version has."""
    marked = staging.marked_maps(path, programs)
    removed: list[Pin] = []
    own_time = {staging.same_mark(pin.mtime, directory=True) for pin in programs}
    strangers = [pin for pin in others if staging.same_mark(pin.mtime, directory=True) not in own_time]
    removed += staging.remove_maps(path, [pin for pin in staging.marked_maps(path, strangers) if _outside(pin.path, path)])[0]
    removed += _settle_sole(path, marked, {pin.id for pin in programs})
    waiting = staging.all_pins_at(path + STAGED_MAPS)
    if not waiting:
        return removed
    used = _maps_of(programs)
    for pin in waiting:
        for there in marked:
            same_name = os.path.basename(there.path) == os.path.basename(pin.path)
            if same_name and _outside(there.path, path) and pin.id in used and there.id not in used:
                os.rename(pin.path, there.path)
                removed.append(there)
                break
    return removed


def sole_name(name: str, program: int) -> str:
    """Return what a map's pin is called that only the version with that program, by its id, has."""
    return f"{name}-{program}"


def _settle_sole(path: str, marked: Collection[Pin], ids: Collection[int]) -> list[Pin]:
    """Take away the pins of maps that only the other version has: one that is there in the name of no program of PATH."""
    removed: list[Pin] = []
    for pin in staging.all_pins_at(path + STAGED_SOLE):
        name, _, program = os.path.basename(pin.path).rpartition("-")
        if int(program) in ids:
            continue
        for there in marked:
            if (os.path.basename(there.path), there.id) == (name, pin.id) and _outside(there.path, path):
                removed += staging.remove_pin(there)
    return removed


def _outside(place: str, path: str) -> bool:
    """Whether a pin is neither in PATH nor in one of the places of what is under construction."""
    return not any(place.startswith(f"{path}{suffix}/") for suffix in ("", STAGED, STAGED_MAPS, STAGED_SOLE, SET_ASIDE))


def _maps_of(programs: list[Pin]) -> set[int]:
    """Return the ids of the maps that programs use."""
    from bpfload.objects.program import Program

    found: set[int] = set()
    for pin in programs:
        if identify(pin.path) is not None:
            with Program.from_pin(pin.path) as program:
                found |= set(program.info("map_ids").map_ids)
    return found
