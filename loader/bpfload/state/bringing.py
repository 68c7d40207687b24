"""One declared object: read and checked, brought in, put in the place of what is there, taken away."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bpfload import elf
from bpfload.errors import BpfError, LinkError, NotFoundError, UsageError
from bpfload.kernel import mounts
from bpfload.links import Order, Target
from bpfload.load import LoadOptions
from bpfload.load.settings import find_variable, set_values
from bpfload.objects import paths
from bpfload.objects.bpffs import identify
from bpfload.pins import staging
from bpfload.pins.choosing import attachable_maps, choose
from bpfload.pins.deployment import Deployed, deploy
from bpfload.state import drift, records
from bpfload.state.planning import Change
from bpfload.state.records import Record

if TYPE_CHECKING:
    from bpfload.spec import ObjectSpec, ProgramSpec
    from bpfload.state.declaration import DeclaredObject

# What an attachment that is changed in place keeps, whatever is declared: it has to be taken off for that.
_MANNERS = ("mode", "before", "after", "priority", "map")


@dataclass(slots=True, eq=False)
class Prepared:
    """An object that is read and checked. `names`: programs that are to be attached."""

    declared: DeclaredObject
    spec: ObjectSpec
    target: Target
    targets: dict[str, Target]
    names: frozenset[str]
    chained: str = ""


def prepare(declared: DeclaredObject) -> Prepared:
    """Read an object file and check what is said of it against what is in it. Raises BpfError."""
    try:
        spec = elf.read(declared.file)
        set_values(elf.read(declared.file), declared.get("set", {}))
        selected = _selected(spec, declared)
        target = target_of(declared.keys)
        targets = {name: target_of({**_common(declared), **table}) for name, table in declared.get("program", {}).items()}
        for name in declared.get("fresh-maps", ()):
            if name not in spec.maps:
                from bpfload.errors import near

                raise NotFoundError(f"fresh-maps: {spec.name} has no map {name!r}", candidates=near(name, spec.maps))
        if declared.get("chain"):
            (chained,) = [program.name for program in selected] if len(selected) == 1 else [""]
            if not chained:
                raise UsageError("chain puts one program into a chain", hint='Name it: programs = ["…"].')
            return Prepared(declared, spec, target, targets, frozenset(), chained)
        attach = declared.get("attach")
        wishes = choose(
            spec, selected, target=target, targets=targets, attaching=attach is not False, all_that_sec_names=bool(attach)
        )
        if targets:
            _check_common(spec, selected, target, targets)
        base = {wish.name for wish in choose(spec, selected, target=target, targets=targets, attaching=False)}
        # A replacement attaches only what it is told to: what SEC() says is told, too.
        by_section = {wish.name: Target() for wish in wishes if wish.name not in base}
        names = frozenset(wish.name for wish in wishes)
        return Prepared(declared, spec, target, {**targets, **by_section}, names)
    except BpfError as error:
        error.within(declared.where)
        raise


def _common(declared: DeclaredObject) -> dict[str, Any]:
    """Return what a program's own table adds to: the places of the object, without what is for one program alone."""
    return {key: value for key, value in declared.keys.items() if key in ("dev", "mode", "cgroup", "netns", "before", "after")}


def _check_common(spec: ObjectSpec, selected: list[ProgramSpec], target: Target, targets: Mapping[str, Target]) -> None:
    for name in targets:
        if name not in {program.name for program in selected}:
            choose(spec, selected, target=target, targets={name: Target()})  # says it


def _selected(spec: ObjectSpec, declared: DeclaredObject) -> list[ProgramSpec]:
    wanted = declared.get("programs")
    for name in wanted or ():
        spec.program(name)
    found = [each for each in spec.entry_programs if (each.autoload if wanted is None else each.name in wanted)]
    if not found:
        raise NotFoundError("there is no program in it to load", hint="programs = […] names those that SEC() switches off.")
    return found


def target_of(said: Mapping[str, Any]) -> Target:
    """Return where to attach, of the keys of a table."""
    from bpfload.state.declaration import _two

    family, hook = _two(said.get("netfilter", ""))
    event_type, event_config = _two(said.get("event", ""))
    return Target(
        device=said.get("dev", ""),
        mode=said.get("mode", "auto"),
        parent=said.get("direction", ""),
        cgroup=said.get("cgroup", ""),
        netns=said.get("netns", ""),
        pid=said.get("pid", -1),
        map=said.get("map", ""),
        name=said.get("target", ""),
        cpu=said.get("cpu", -1),
        sample_frequency=said.get("frequency", 0),
        sample_period=said.get("period", 0),
        priority=said.get("priority", 0),
        defragment=said.get("defragment", False),
        family=family,
        hook=hook,
        event_type=event_type,
        event_config=event_config,
        order=Order(before=said.get("before", ""), after=said.get("after", "")),
    )


def _with_neighbours(target: Target) -> Target:
    """Return a target whose neighbours that are named by their pins are named by their ids: they are there by now."""
    order = Order(before=_neighbour(target.order.before), after=_neighbour(target.order.after))
    return replace(target, order=order)


def _neighbour(word: str) -> str:
    if "/" not in word:
        return word
    pin = identify(word)
    if pin is None or pin.kind not in ("program", "link"):
        raise NotFoundError(f"no program or link is pinned at {word}, beside which to stand")
    return f"{pin.kind}:{pin.id}"


def bring(prepared: Prepared, change: Change, name: str, *, mount: bool = True) -> Deployed:
    """Bring an object in, or put it in the place of what is at its PATH. `name`: of the file. Raises what `deploy` raises.

    What was there stays if that fails.
    """
    declared, path = prepared.declared, prepared.declared.pin
    said = declared.declared()
    made = _make_parents(path, name, mount)
    before = change.record
    pending = replace(before, name=name, pending=True) if before else Record(path, name, declared.name, pending=True)
    records.write(replace(pending, object=declared.name, made=sorted({*made, *pending.made})))
    try:
        if change.action == "create" and before is not None:
            clear(before)
        done = _chain(prepared, change, mount) if prepared.chained else _deploy(prepared, change, mount)
    except BaseException:
        if before is not None and change.action != "create":
            records.write(before)
        elif before is None or not os.path.lexists(path):
            records.remove(path)
            _remove_empty(made)
        raise
    pins = drift.pins_of(path, done.pins)
    attached = sum(row[0] == "l" for row in pins.values())
    unlinked = drift.unlinked_attachments(done.pins) if len(done.attached) > attached else 0
    records.write(
        Record(
            path,
            name,
            declared.name,
            declared.digest(),
            said,
            records.digest_of(said),
            pins,
            drift.places_of(said),
            unlinked,
            sorted({*made, *pending.made}),
        )
    )
    return done


def _deploy(prepared: Prepared, change: Change, mount: bool) -> Deployed:
    declared, replacing = prepared.declared, change.action == "replace"
    attach = declared.get("attach")
    fresh: tuple[str, ...] = tuple(declared.get("fresh-maps", ()))
    policy = declared.get("maps", "keep")
    target = _with_neighbours(prepared.target)
    targets = {name: _with_neighbours(each) for name, each in prepared.targets.items()}
    if replacing and attachable_maps(prepared.spec):
        # Tables of functions aren't swapped: what the kernel calls through them is taken out, and put in again.
        take_away(change.record or Record(declared.pin, "", declared.name), keep_record=True)
        replacing = False
    if replacing and _manner_changed(change):
        _detach(declared.pin, frozenset())
    with _options(declared) as options:

        def once(fresh: tuple[str, ...]) -> Deployed:
            values = _values(prepared, change, fresh, policy) if replacing else declared.get("set", {})
            return deploy(
                elf.read(declared.file),
                declared.pin,
                target=target,
                targets=targets,
                attaching=attach is not False,
                attach_all=bool(attach),
                values=values,
                maps_directory=declared.path("pin-maps"),
                options=options,
                mount=mount,
                replace=replacing,
                keep_maps={"keep-all": True, "fresh": False}.get(policy),
                fresh_maps=fresh,
                **_permissions(declared),
            )

        try:
            done = once(fresh)
        except LinkError as error:
            unfit = tuple(each for each in error.symbol.split(",") if each in prepared.spec.maps)
            if not (replacing and policy == "fit" and unfit):
                raise
            done = once((*fresh, *unfit))
            done = replace(done, notes=(*done.notes, f"started anew, empty, as it didn't fit any more: {', '.join(unfit)}"))
    if replacing:
        _detach(declared.pin, prepared.names)
        gone = [pin for pin in done.pins if not os.path.lexists(pin)]
        done = replace(done, pins=tuple(pin for pin in done.pins if pin not in gone))
    return done


def _permissions(declared: DeclaredObject) -> dict[str, Any]:
    from bpfload.pins.permissions import permissions

    given = permissions(declared.get("pin-mode", ""), declared.get("pin-owner", ""), declared.get("pin-group", ""))
    return {"permissions": given} if given else {}


@contextmanager
def _options(declared: DeclaredObject) -> Iterator[LoadOptions]:
    options = LoadOptions(kernel_btf=declared.path("kernel-btf") or None, token_path=declared.path("token"))
    if declared.get("programs") is not None:
        options.programs = frozenset(declared.get("programs"))
    if declared.path("kconfig"):
        with open(declared.path("kconfig"), encoding="utf-8", errors="surrogateescape") as file:
            options.kconfig = file.read()
    if not declared.path("attach-to"):
        yield options
        return
    from bpfload.objects.program import Program

    with Program.from_pin(declared.path("attach-to")) as target:
        options.attach_to = target.fd
        yield options


def _values(prepared: Prepared, change: Change, fresh: tuple[str, ...], policy: str) -> dict[str, Any]:
    """Return the values to set in a replacement: not those of variables that live on, unless another one is declared now."""
    before = change.record.declared if change.record is not None and change.record.declared is not None else {}
    chosen = {}
    for name, value in prepared.declared.get("set", {}).items():
        holder = prepared.spec.maps[find_variable(prepared.spec, name)[0].map_name]
        is_new = holder.read_only or policy == "fresh" or holder.name in fresh
        if is_new or (f"set.{name}" in before and before[f"set.{name}"] != value):
            chosen[name] = value
    return chosen


def _manner_changed(change: Change) -> bool:
    """Whether something is declared otherwise that an attachment keeps when it gets another program in place."""
    if any(key.rpartition(".")[2] in _MANNERS for key in change.moved):
        return True
    return bool(change.moved and change.record is not None and change.record.unlinked)


def _detach(path: str, wanted: frozenset[str]) -> None:
    """Take the programs at PATH off, but for those that are wanted: links, and attachments that are none."""
    from bpfload.objects.program import Program
    from bpfload.pins import unlinked

    with staging.locked(path):
        programs = [pin for pin in staging.pins_at(path) if pin.kind == "program"]
        for pin in programs:
            with Program.from_pin(pin.path) as program:
                info = program.info()
                # A program alone has the name that the kernel keeps of it, fifteen characters.
                own = os.path.basename(pin.path) if os.path.isdir(path) else info.name
                if own in wanted or (not os.path.isdir(path) and any(each[:15] == own for each in wanted)):
                    continue
                staging.detach_links(pin.path + paths.LINK, {pin.id})
                if info.type in unlinked.TYPES:
                    unlinked.detach_all(program)


def _chain(prepared: Prepared, change: Change, mount: bool) -> Deployed:
    """Put a program into a device's chain: tried first, for a chain has no place for two versions of one."""
    from bpfload import dispatcher
    from bpfload.load import load

    declared = prepared.declared
    with _options(declared) as options:
        spec = elf.read(declared.file)
        set_values(spec, declared.get("set", {}))
        if change.action == "replace":
            load(spec, options).close()
            take_away(change.record or Record(declared.pin, "", declared.name), keep_record=True)
        pinned = dispatcher.deploy(
            spec,
            declared.pin,
            prepared.target.device,
            program=prepared.chained,
            priority=declared.get("priority"),
            actions=declared.get("actions"),
            mode=prepared.target.mode,
            maps_directory=declared.path("pin-maps"),
            options=options,
            mount=mount,
        )
    return Deployed(tuple(pinned), (prepared.chained,), ())


# --- taking away ------------------------------------------------------------------------------------------------------


def take_away(record: Record, *, keep_record: bool = False) -> None:
    """Unload what a record names, and the record with it, unless that is to stay. Raises what unloading raises."""
    from bpfload.dispatcher.unloading import unload

    with suppress(NotFoundError):
        unload(record.path)
    clear(record)
    if keep_record:
        records.write(replace(record, pending=True))
        return
    records.remove(record.path)
    _remove_empty(record.made)


def clear(record: Record) -> None:
    """Take away what is still pinned of what a record names, though PATH is gone: the same objects only."""
    for path, (kind, ident, *_) in sorted(drift.paths_of(record).items(), key=lambda item: item[1][0] != "l"):
        pin = identify(path)
        if pin is not None and (pin.kind[0], pin.id) == (kind, ident):
            staging.remove_pin(pin)
    for path in {os.path.dirname(path) for path in drift.paths_of(record)}:
        # Directories that only this load had; a map's directory is one of them if nothing else is in it.
        if path == record.path or path.startswith(record.path + "/"):
            with suppress(OSError):
                os.rmdir(path)


def _make_parents(path: str, name: str, mount: bool) -> list[str]:
    """Make the directories that PATH is to be in, where they are missing; return those and others that the file made above it."""
    parent = os.path.dirname(path)
    made = {each for record in records.every(name) for each in record.made if parent == each or parent.startswith(each + "/")}
    missing = []
    place = parent
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    if missing:
        if not mounts.is_bpffs(place):
            paths.require_bpffs(os.path.join(mounts.BPFFS, "x") if parent.startswith(mounts.BPFFS + "/") else path, mount=mount)
        for each in reversed(missing):
            try:
                os.mkdir(each, 0o700)
            except OSError as error:
                raise paths.pin_error(error, each) from None
    else:
        paths.require_bpffs(path, mount=mount)
    return sorted({*made, *missing})


def _remove_empty(directories: list[str]) -> None:
    for each in sorted(directories, reverse=True):
        with suppress(OSError):
            os.rmdir(each)
