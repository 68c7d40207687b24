"""Putting an object in the place of an earlier load: everything is built beside it, and PATH changes in one step.

The order, under the directory's lock, once the new programs are loaded, with the maps that are kept:

1. they are pinned under the staging name;
2. where a hook can't be given another program, the new one is attached beside the old: for a moment both run, and what both
   count in a shared map is counted twice. Where a hook takes only one program it is refused (EBUSY), and nothing has changed;
3. new links, and the old ones that go on, are pinned with the programs; new maps are pinned in the places of the old;
4. links get their new programs in place (BPF_LINK_UPDATE, if the old one is still what they run): each packet, call or event is
   seen by one version, the old or the new. One link after another: with several there is a moment in which some are changed;
5. what is staged and PATH change names in one step;
6. what is left is settled: see `bpfload.pins.settling`.

A failure before step 5 goes back step by step. A process killed before it leaves the old load at PATH, one killed after it the
new; the next command for PATH settles what the kill left, in favour of that.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from bpfload.errors import BpfError, PinError
from bpfload.load import load
from bpfload.objects import paths
from bpfload.objects.link import Link
from bpfload.objects.paths import LINK, SET_ASIDE, STAGED_LINK, STAGED_MAPS, STAGED_SOLE
from bpfload.pins import earlier as earlier_load
from bpfload.pins import staging
from bpfload.pins.attaching import attach_wish
from bpfload.pins.choosing import choose, idle
from bpfload.pins.keeping import kept_maps
from bpfload.pins.permissions import permissions_of
from bpfload.pins.publication import Publication, maps_by_pin
from bpfload.pins.settling import sole_name
from bpfload.pins.swapping import exchange
from bpfload.pins.takeover import Move, move_of

if TYPE_CHECKING:
    from bpfload.load import Object
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.bpffs import Pin
    from bpfload.objects.map import Map
    from bpfload.objects.program import Program
    from bpfload.pins.deployment import Deployed, Plan
    from bpfload.pins.earlier import Earlier
    from bpfload.spec import ProgramSpec


def replace(
    plan: Plan,
    programs: list[ProgramSpec],
    *,
    attaching: bool = True,
    keep_maps: bool | None = None,
    fresh_maps: Collection[str] = (),
    values: Collection[str] = (),
) -> Deployed | None:
    """Put an object in the place of the load at `plan.path`. Returns None, and does nothing, where there is none.

    `plan.wishes`: where programs are to be attached other than where the old ones are. A program that the old version doesn't
    have is attached as in a first load; one that it has and the new hasn't goes. `keep_maps`, `fresh_maps`: see
    `bpfload.pins.keeping.kept_maps`. `values`: names of variables that the caller has set.

    Raises what loading, attaching and pinning raise, LinkError for maps that don't fit; the old load is as it was then.
    """
    from bpfload.pins.deployment import Deployed

    staging.clean_up(plan.path)
    if not os.path.lexists(plan.path):
        return None
    with ExitStack() as stack, ExitStack() as undo:
        old = earlier_load.read(plan.path, stack)
        by_name = plan.options is None or plan.options.pin_root is not None
        kept = kept_maps(plan.spec, old, keep_maps=keep_maps, fresh_maps=fresh_maps, pinned_by_name=by_name, changed=values)
        moves = _moves(plan, programs, old, attaching)
        for move in moves:
            for attachment in move.updated:
                stack.callback(attachment.close)
        plan.wishes = [move.wish for move in moves if move.wish is not None]
        loaded = stack.enter_context(load(plan.spec, plan.load_options({name: each.fd for name, each in kept.items()})))
        for pinned_by_name in loaded.new_pins:
            undo.callback(_forget, pinned_by_name)
            if plan.permissions is not None:
                plan.permissions.apply(pinned_by_name)
        swap = _Swap(plan, old, moves, loaded, kept)
        pinned = swap.run(stack, undo)
        attached = tuple(move.spec.name for move in moves if move.updated or move.wish)
        notes = (*loaded.notes, *swap.notes, *(idle(programs, plan.wishes) if attaching and not attached else ()))
        return Deployed(tuple(pinned), attached, notes, tuple(kept), old.program_ids)


def _moves(plan: Plan, programs: list[ProgramSpec], old: Earlier, attaching: bool) -> list[Move]:
    """Decide for each program where it goes. A new one is attached as in a first load."""
    counterparts = {program.name: old.counterpart(program, programs) for program in programs}
    wishes = {wish.name: wish for wish in plan.wishes}
    new = [program for program in programs if counterparts[program.name] is None and program.name not in wishes]
    wishes |= {wish.name: wish for wish in choose(plan.spec, new, attaching=attaching)}
    return [move_of(program, counterparts[program.name], wishes.get(program.name)) for program in programs]


class _Swap:
    """One replacement, once the new programs are loaded."""

    def __init__(self, plan: Plan, old: Earlier, moves: list[Move], loaded: Object, kept: Mapping[str, Map]) -> None:
        self.plan = plan
        self.old = old
        self.moves = moves
        self.loaded = loaded
        self.kept = kept
        # A directory stays one; the links of several programs can't all be PATH_link.
        allowed = plan.permissions or permissions_of(plan.path)
        self.work = Publication(plan.path, old.is_directory or len(loaded.programs) > 1, allowed)
        self.maps_directory = plan.maps_directory or old.maps_directory
        self.notes: tuple[str, ...] = ()

    def run(self, stack: ExitStack, undo: ExitStack) -> list[str]:
        """Do it; return the pins. `stack`: closes what is attached; `undo`: what is to be done if it fails."""
        path = self.plan.path
        with staging.locked(path), undo:
            staging.clean(path)
            self._check_unchanged()
            if self.old.mark:
                self.work.mark = staging.same_mark(self.old.mark, directory=self.work.is_directory)
            self.work.stage_programs(undo, self.loaded.programs, marked=bool(self.maps_directory))
            attached = self._attach(stack, undo)
            self._stage_links(undo, attached)
            unused = self._place_maps(undo)
            for move in self.moves:
                self._update(undo, move)
            exchange(self.work.staged, path, path + SET_ASIDE)
            undo.pop_all()
            self._let_go(unused)
        return self.work.pinned

    def _let_go(self, unused: list[str]) -> None:
        """Take away what is left of the old version; the new one is in place, whatever happens here."""
        try:
            for pin in unused:
                _forget(pin)
            staging.clean(self.plan.path)
        except (BpfError, OSError) as error:
            words = str(error).partition("\n")[0]
            self.notes = (
                f"the new version is in place, but not all of the old is gone; the next command there retries: {words}",
            )

    def _check_unchanged(self) -> None:
        """Check that nobody else has replaced or unloaded it since it was looked at."""
        there = {pin.id for pin in staging.pins_at(self.plan.path) if pin.kind == "program"} if self._is_there() else set()
        if there != set(self.old.program_ids):
            raise PinError(
                f"{self.plan.path} has changed meanwhile: another command has replaced or unloaded it",
                path=self.plan.path,
                hint="Look at what is there, and repeat the command if it is still wanted.",
            )

    def _is_there(self) -> bool:
        return os.path.lexists(self.plan.path)

    # --- attaching ----------------------------------------------------------------------------------------------------

    def _attach(self, stack: ExitStack, undo: ExitStack) -> dict[str, Attachment]:
        """Attach what can't be changed in place, beside the old."""
        return {
            move.spec.name: stack.enter_context(attach_wish(move.wish, self.loaded, undo, self.kept))
            for move in self.moves
            if move.wish is not None
        }

    def _stage_links(self, undo: ExitStack, attached: Mapping[str, Attachment]) -> None:
        """Pin the links of the new version: in the directory, or beside PATH until they take PATH_link's place."""
        for move in self.moves:
            name = move.spec.name
            if self.work.is_directory:
                for attachment in (*move.updated, *((attached[name],) if name in attached else ())):
                    self.work.place_link(undo, name, attachment)
            elif name in attached:
                waiting = self.plan.path + STAGED_LINK
                self.work.pin_attachment(undo, name, attached[name], waiting, self.plan.path + LINK)
            elif any(isinstance(attachment, Link) for attachment in move.updated):
                self.work.pinned.append(self.plan.path + LINK)

    def _update(self, undo: ExitStack, move: Move) -> None:
        """Give the links of one program the new one in place."""
        new, old = self.loaded.programs[move.spec.name], move.old
        if old is None:
            return
        for link in move.updated:
            try:
                link.update(new, old=old.program)
            except BpfError as error:
                error.within(f"program {move.spec.name!r}")
                raise
            undo.callback(_take_back, link, old.program, new)

    # --- maps ---------------------------------------------------------------------------------------------------------

    def _place_maps(self, undo: ExitStack) -> list[str]:
        """Pin the maps where the old ones were pinned, or where the caller wants them; return old pins that are to go."""
        if not self.maps_directory:
            return []
        directory, path = self.maps_directory, self.plan.path
        maps = maps_by_pin(self.plan.spec, {**self.loaded.maps, **self.kept})
        outside = {pin.path: pin for pin in self.old.map_pins if not pin.path.startswith(path + "/")}
        if directory == path or directory.startswith(path + "/"):
            self._note_sole(undo, outside.values(), {})
            self.work.place_maps(undo, maps, directory)
            return list(outside)
        there = {name: outside[f"{directory}/{name}"] for name in maps if f"{directory}/{name}" in outside}
        new = {name: each for name, each in maps.items() if name not in there}
        stay = {pin.path for pin in there.values()}
        self._note_sole(undo, [pin for place, pin in outside.items() if place not in stay], new)
        if new:
            self.work.place_maps(undo, new, directory)
        changed = {name: each for name, each in maps.items() if name in there and each.info().id != there[name].id}
        self._exchange_maps(undo, changed, directory)
        self.work.pinned += [there[name].path for name in there]
        return [place for place in outside if place not in stay]

    def _note_sole(self, undo: ExitStack, gone: Collection[Pin], new: Mapping[str, Map]) -> None:
        """Note beside PATH which pins of maps only the old or only the new version has, for whoever settles after a kill."""
        if not gone and not new:
            return
        place = self.plan.path + STAGED_SOLE
        os.mkdir(place, 0o700)
        undo.callback(_remove_all, place)
        for pin in gone:
            name = sole_name(os.path.basename(pin.path), self.old.program_ids[0])
            paths.pin(self.old.maps[pin.id].fd, f"{place}/{name}")
        program = next(iter(self.loaded.programs.values())).info().id
        for name, each in new.items():
            paths.pin(each.fd, f"{place}/{sole_name(name, program)}")

    def _exchange_maps(self, undo: ExitStack, changed: Mapping[str, Map], directory: str) -> None:
        """Put pins of new maps in the places of old ones; the old pins wait beside PATH until all is done."""
        if not changed:
            return
        waiting = self.plan.path + STAGED_MAPS
        os.mkdir(waiting, 0o700)
        undo.callback(_remove_all, waiting)
        for name, each in changed.items():
            place, staged = f"{directory}/{name}", f"{waiting}/{name}"
            before = next(self.old.maps[pin.id] for pin in self.old.map_pins if pin.path == place)
            paths.pin(each.fd, staged)
            (self.plan.permissions or permissions_of(place)).apply(staged)
            staging.mark(staged, self.work.mark)
            exchange(staged, place, f"{waiting}/{name}{SET_ASIDE}")
            undo.callback(_put_back, staged, place, before, self.old.mark)


def _take_back(link: Attachment, old: Program, new: Program) -> None:
    """Give a link its old program again; whoever has changed it meanwhile has the last word."""
    with suppress(BpfError):
        link.update(old, old=new)


def _put_back(staged: str, place: str, before: Map, mark: int) -> None:
    """Exchange two pins back; where the old one is gone since the kernel can't exchange, pin the map again."""
    if os.path.lexists(staged):
        exchange(staged, place, staged + SET_ASIDE)
        return
    paths.pin(before.fd, staged)
    staging.mark(staged, mark)
    os.rename(staged, place)


def _remove_all(place: str) -> None:
    if os.path.lexists(place):
        staging.remove_all(place)


def _forget(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
