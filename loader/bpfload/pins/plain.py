"""A load in bpftool's form: the first program pinned at a path, or all programs in a directory; or their links instead.

Unlike `deploy` this pins one thing for a program, under the names that bpftool gives it: a program, or with `autoattach` the
link that keeps it attached.

Source: load_with_options() in tools/bpf/bpftool/prog.c; bpf_object__pin_programs() and bpf_object__pin_maps() in libbpf.c.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError, NotFoundError, UsageError, near
from bpfload.kernel import mounts
from bpfload.links import attach, attaches_by_itself
from bpfload.load import LoadOptions, load
from bpfload.objects import paths
from bpfload.objects.map import Map
from bpfload.pins import staging
from bpfload.pins.publication import links_of, maps_by_pin, pin_name, publish
from bpfload.spec import ObjectSpec, ProgramSpec

if TYPE_CHECKING:
    from bpfload.links.program import AttachableProgram
    from bpfload.load import Object
    from bpfload.objects.base import KernelObject


@dataclass(frozen=True, slots=True)
class PlainLoad:
    """What a load left. `pins`: paths. `fallen_back`: by program name, why it was pinned and not attached, "" without reason.

    `logs`: by program name, the verifier's log, where a log level was asked for. `notes`: what the load had to do without.
    """

    pins: tuple[str, ...]
    fallen_back: dict[str, str]
    logs: dict[str, str]
    notes: tuple[str, ...]


def set_type(spec: ObjectSpec, name: str) -> None:
    """Make all programs of an object programs of one type, by a name of the SEC() table ("xdp", "cgroup/skb", "kprobe").

    Raises NotFoundError for a name that isn't there. What SEC() said of attaching doesn't count for a program whose type changes.
    """
    from bpfload.elf.sections import SECTION_DEFINITIONS, find_definition

    found = find_definition(name) or find_definition(f"{name}/")
    if found is None:
        names = [row[0].removesuffix("+") for row in SECTION_DEFINITIONS]
        close = near(name, names)
        hint = "" if close else 'It is what stands in SEC(), for example "xdp", "kprobe", "cgroup/skb".'
        raise NotFoundError(f"no program type {name!r}", candidates=close, hint=hint)
    for program in spec.entry_programs:
        if program.type != found.type:
            program.sec = None
        program.type, program.attach_type = found.type, found.attach_type


def offload(spec: ObjectSpec, ifindex: int) -> None:
    """Have programs and maps run on a network card."""
    for program in spec.entry_programs:
        program.ifindex = ifindex
    for each in spec.maps.values():
        if each.type != consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            each.ifindex = ifindex


def bind_to_device(spec: ObjectSpec, ifindex: int) -> None:
    """Let the XDP programs ask a device for what it knows of a packet (XDP hints, Linux 6.3); they run only there then."""
    for program in spec.entry_programs:
        if program.type == consts.BPF_PROG_TYPE_XDP:
            program.ifindex = ifindex
            program.flags |= consts.BPF_F_XDP_DEV_BOUND_ONLY


def load_and_pin(
    spec: ObjectSpec,
    path: str,
    *,
    all_programs: bool = False,
    autoattach: bool = False,
    maps: Mapping[str, Map] | None = None,
    maps_directory: str = "",
    options: LoadOptions | None = None,
    mount: bool = True,
) -> PlainLoad:
    """Load an object and pin its first program at `path`, or with `all_programs` each by its name in the directory `path`.

    The directory may be there already. `autoattach`: pin the link of each program that attaches by what SEC() says, instead of
    the program. `maps`: by name, maps to use instead of new ones. `maps_directory`: pin the maps there, too. `mount`: mount a
    bpffs at /sys/fs/bpf if there is none. All of it, or nothing. Raises whatever loading and pinning raise.
    """
    place = os.path.abspath(path)
    maps_place = os.path.abspath(maps_directory) if maps_directory else ""
    options = options or LoadOptions()
    options.maps = {**options.maps, **{name: each.fd for name, each in (maps or {}).items()}}
    if not any(program.autoload for program in spec.entry_programs):
        raise NotFoundError(f"{os.path.basename(spec.path) or spec.name}: there is no program in it to load")
    adding = all_programs and os.path.isdir(place)
    _check_places(path, place, maps_place, adding, mount)
    with ExitStack() as stack, ExitStack() as undo:
        loaded = stack.enter_context(load(spec, options))
        for pinned_by_name in loaded.new_pins:
            undo.callback(_forget, pinned_by_name)
        chosen = dict(loaded.programs if all_programs else list(loaded.programs.items())[:1])
        work = _Load(stack, autoattach)
        held = {name: work.pinnable(name, program) for name, program in chosen.items()}
        to_pin = {**maps_by_pin(spec, loaded.maps), **_given_by_pin(spec, maps or {})} if maps_place else {}
        pins = _publish(undo, place, held, to_pin, maps_place, adding=adding, all_programs=all_programs)
        undo.pop_all()
        return PlainLoad(tuple(pins), work.fallen_back, _logs(loaded), tuple(loaded.notes))


def _check_places(path: str, place: str, maps_place: str, adding: bool, mount: bool) -> None:
    """Complain of what stands in the way before anything is loaded."""
    paths.check_name(path)
    if adding:
        paths.require_bpffs(f"{place}/program", mount=mount)
    else:
        paths.check_new(place, mount=mount)
        staging.clean_up(place)
    if maps_place and not (os.path.isdir(maps_place) and mounts.is_bpffs(maps_place)) and not maps_place.startswith(place):
        paths.check_name(maps_place)
        paths.require_bpffs(maps_place, mount=mount)


class _Load:
    """What is made of the programs of a load before they are pinned. `stack`: closes it."""

    def __init__(self, stack: ExitStack, autoattach: bool) -> None:
        self._stack = stack
        self._autoattach = autoattach
        self.fallen_back: dict[str, str] = {}

    def pinnable(self, name: str, program: AttachableProgram) -> KernelObject:
        """Return what is to be pinned for a program: its link, or itself."""
        if not self._autoattach:
            return program
        spec: ProgramSpec = program.spec
        if spec.sec is None or not attaches_by_itself(spec):
            self.fallen_back[name] = ""
            return program
        try:
            attachment = self._stack.enter_context(attach(program, spec))
        except BpfError as error:
            self.fallen_back[name] = str(error)
            return program
        links = links_of(attachment)
        if len(links) != 1:
            attachment.detach()
            self.fallen_back[name] = "its attachment is not one link, which could be pinned"
            return program
        return links[0]


def _publish(
    undo: ExitStack,
    place: str,
    held: Mapping[str, KernelObject],
    maps: Mapping[str, Map],
    maps_place: str,
    *,
    adding: bool,
    all_programs: bool,
) -> list[str]:
    """Pin it all and return the paths."""
    if not adding:
        return publish(place, held, maps=maps, maps_directory=maps_place, as_directory=all_programs)
    pins: list[str] = []
    for name, each in held.items():
        pins += publish(f"{place}/{name}", {name: each}, maps=maps, maps_directory=maps_place, as_directory=False)
        maps = {}  # they are pinned with the first program
        for pin in pins:
            undo.callback(_forget, pin)
    return pins


def _given_by_pin(spec: ObjectSpec, maps: Mapping[str, Map]) -> dict[str, Map]:
    """Return the maps that were given by the names of their pins: their own names, unless the kernel has cut the object's.

    Source: bpf_map__reuse_fd() in tools/lib/bpf/libbpf.c; only sections such as .data.NAME keep their name for good.
    """
    found = {}
    for name, each in maps.items():
        wanted, own = spec.maps[name].kernel_name or name, each.info().name
        cut = len(own) == consts.BPF_OBJ_NAME_LEN - 1 and wanted.startswith(own)
        keeps = cut or (spec.maps[name].kind == "data" and wanted == name)
        found[pin_name(spec.maps[name]) if keeps else own.replace(".", "_")] = each
    return found


def _logs(loaded: Object) -> dict[str, str]:
    return {name: log for name, log in loaded.logs.items() if log}


def replacements(spec: ObjectSpec, by_name: Mapping[str, Map], by_index: Mapping[int, Map]) -> dict[str, Map]:
    """Return which maps are to be used instead of new ones, by name; `by_index`: by their place in the object, from 0.

    Raises NotFoundError for one that the object hasn't, UsageError for one that is named twice.
    """
    names = list(spec.maps)
    found: dict[str, Map] = {}
    wanted: list[tuple[str, Map]] = []
    for name, each in by_name.items():
        key = name if name in spec.maps else _by_kernel_name(spec, name)
        if not key:
            raise NotFoundError(
                f"the object has no map {name!r}", candidates=near(name, names), hint="" if near(name, names) else _list(names)
            )
        wanted.append((key, each))
    for index, each in by_index.items():
        if index >= len(names):
            raise NotFoundError(f"the object has no map with the index {index}", hint=_list(names))
        wanted.append((names[index], each))
    for name, each in wanted:
        if name in found:
            raise UsageError(f"map {name!r} (index {names.index(name)}) is replaced more than once")
        found[name] = each
    return found


def _by_kernel_name(spec: ObjectSpec, name: str) -> str:
    """Return the name of the map that the kernel will know by `name`, such as "hello.rodata"; "" for none."""
    return next((key for key, each in spec.maps.items() if each.kernel_name == name), "")


def _list(names: list[str]) -> str:
    return f"Its maps are, from index 0: {', '.join(names)}." if names else "It has none."


def _forget(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
