"""From an object file to a finished load: read, load, attach, pin. All of it, or nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, NotFoundError, UsageError, VerifierError
from bpfload.kernel import mounts
from bpfload.links import Target, attach, attaches_by_itself, hook_of
from bpfload.load import load
from bpfload.objects import paths
from bpfload.objects.base import KernelObject
from bpfload.objects.link import Link
from bpfload.objects.map import Map
from bpfload.pins import staging
from bpfload.pins.publication import publish
from bpfload.spec import ObjectSpec, ProgramSpec

if TYPE_CHECKING:
    from bpfload.load import LoadOptions, Object


@dataclass(frozen=True, slots=True)
class Deployed:
    """What `deploy` did. `pins`: paths, the one at PATH included. `attached`: names of programs. `notes`: done without."""

    pins: tuple[str, ...]
    attached: tuple[str, ...]
    notes: tuple[str, ...]


def deploy(
    source: ObjectSpec | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    target: Target | None = None,
    attaching: bool = True,
    maps_directory: str | os.PathLike[str] = "",
    options: LoadOptions | None = None,
    mount: bool = True,
) -> Deployed:
    """Load an object, attach what is to be attached, and pin the programs at `path`, which appears last.

    `target`: a device attaches the object's XDP program to it, a name its (raw) tracepoint program. Programs whose SEC() names
    a raw tracepoint are attached to that without being asked, unless `attaching` is False. `maps_directory`: also pin the maps,
    there. `mount`: mount a bpffs at /sys/fs/bpf if there is none.

    Raises whatever reading, loading, attaching and pinning raise; nothing is left behind then. A process killed on the way
    leaves no `path`; the next load or unload there takes away what it left.
    """
    if not isinstance(source, ObjectSpec):
        from bpfload import elf

        source = elf.read(source)
    place = os.path.abspath(os.fspath(path))
    selected = _selected(source, options)
    chosen = _to_attach(source, selected, target or Target(), attaching)
    paths.check_name(os.fspath(path))
    paths.check_new(place, mount=mount)
    maps_place = os.path.abspath(os.fspath(maps_directory)) if maps_directory else ""
    new_directory = not (os.path.isdir(maps_place) and mounts.is_bpffs(maps_place))
    if maps_place and new_directory and not maps_place.startswith(place + "/") and maps_place != place:
        paths.check_name(maps_place)
        paths.require_bpffs(maps_place, mount=mount)
    staging.clean_up(place)  # a link that a killed load left would be in the way of attaching
    try:
        done = _load_attach_pin(source, place, chosen, target, maps_place, options)
    except KernelError as error:
        raise _with_capabilities(error, selected) from None
    return replace(done, notes=done.notes + _idle(selected, chosen)) if attaching else done


def _load_attach_pin(
    spec: ObjectSpec,
    path: str,
    chosen: list[ProgramSpec],
    target: Target | None,
    maps_directory: str,
    options: LoadOptions | None,
) -> Deployed:
    with ExitStack() as stack, ExitStack() as undo:
        loaded = stack.enter_context(load(spec, options))
        for pinned_by_name in loaded.new_pins:
            undo.callback(_forget, pinned_by_name)
        links: dict[str, KernelObject] = {}
        for program in chosen:
            attachment = stack.enter_context(attach(loaded.programs[program.name], program, target))
            assert isinstance(attachment, Link)
            links[program.name] = attachment
        maps = _maps_by_pin(loaded) if maps_directory else {}
        pinned = publish(path, loaded.programs, links, maps=maps, maps_directory=maps_directory)
        undo.pop_all()
        return Deployed(tuple(pinned), tuple(links), tuple(loaded.notes))


def _idle(selected: list[ProgramSpec], attached: list[ProgramSpec]) -> tuple[str, ...]:
    """Say which tracepoint programs were loaded and won't run, since neither SEC() nor the caller names a tracepoint."""
    return tuple(
        f'program {program.name!r} is loaded and not attached: SEC("{program.section}") names no tracepoint (--attach NAME does)'
        for program in selected
        if hook_of(program) == "raw_tracepoint" and not program.attach_target and program not in attached
    )


def _forget(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _with_capabilities(error: KernelError, programs: list[ProgramSpec]) -> KernelError:
    """Name all capabilities that these programs need and this process lacks, not only what the first refused call needs."""
    if error.errno == errno.EPERM and not isinstance(error, VerifierError):
        from bpfload.kernel import capabilities

        needed = {each for program in programs for each in capabilities.needed_for_program(program.type)}
        if capabilities.missing(*needed):
            error.hint = capabilities.permission_hint(*sorted(needed, reverse=True))
    return error


def _selected(spec: ObjectSpec, options: LoadOptions | None) -> list[ProgramSpec]:
    """Return the programs that will be loaded."""
    wanted = options.programs if options else None
    programs = [program for program in spec.entry_programs if (program.autoload if wanted is None else program.name in wanted)]
    if not programs and wanted is None:
        switched_off = spec.entry_programs
        hint = ""
        if switched_off:
            names = ", ".join(program.name for program in switched_off)
            hint = f'Its programs are switched off by a "?" in SEC(): name one with --program: {names}.'
        raise NotFoundError(f"{os.path.basename(spec.path) or spec.name}: there is no program in it to load", hint=hint)
    return programs


def _to_attach(spec: ObjectSpec, programs: list[ProgramSpec], target: Target, attaching: bool) -> list[ProgramSpec]:
    """Choose the programs that are to be attached. Raises UsageError where `target` fits none, or too many."""
    chosen: list[ProgramSpec] = []
    if target.device:
        chosen += _fitting(spec, programs, ("xdp",), "--dev", "XDP")
    if target.name:
        chosen += _fitting(spec, programs, ("raw_tracepoint", "tracepoint"), "--attach", "tracepoint")
    if attaching:
        chosen += [
            program
            for program in programs
            if hook_of(program) == "raw_tracepoint" and attaches_by_itself(program) and program not in chosen
        ]
    return chosen


def _fitting(spec: ObjectSpec, programs: list[ProgramSpec], hooks: tuple[str, ...], option: str, kind: str) -> list[ProgramSpec]:
    """Return the one program that an option is about: the only one of its kind, or the only one that names no target itself."""
    found = [program for program in programs if hook_of(program) in hooks]
    if len(found) > 1:
        found = [program for program in found if not program.attach_target] or found
    if len(found) == 1:
        return found
    file = os.path.basename(spec.path) or spec.name
    if not found:
        sections = ", ".join(sorted({f'SEC("{program.section}")' for program in programs}))
        raise UsageError(f"{option}: {file} has no {kind} program to attach", hint=f"Its programs are {sections}.")
    names = ", ".join(program.name for program in found)
    raise UsageError(f"{option}: {file} has several {kind} programs: {names}", hint="Choose one with --program NAME.")


def _maps_by_pin(loaded: Object) -> Mapping[str, Map]:
    """Return the maps by the names of their pins: the kernel's name for it, with "_" for dots; not those pinned by name."""
    return {
        (spec.kernel_name or spec.name).replace(".", "_"): loaded.maps[name]
        for name, spec in loaded.spec.maps.items()
        if name in loaded.maps and not spec.pinning
    }
