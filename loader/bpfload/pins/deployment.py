"""From an object file to a finished load: read, load, attach, pin. All of it, or nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpfload.errors import KernelError, NotFoundError, VerifierError
from bpfload.kernel import mounts
from bpfload.links import Target
from bpfload.load import load
from bpfload.objects import paths
from bpfload.pins import staging
from bpfload.pins.attaching import attach_wish
from bpfload.pins.choosing import Wish, attachable_maps, choose, idle
from bpfload.pins.publication import maps_by_pin, publish
from bpfload.spec import ObjectSpec, ProgramSpec

if TYPE_CHECKING:
    from bpfload.load import LoadOptions
    from bpfload.objects.attachment import Attachment
    from bpfload.pins.permissions import Permissions


@dataclass(frozen=True, slots=True)
class Deployed:
    """What `deploy` did. `pins`: paths, the one at PATH included. `attached`: names of programs. `notes`: done without.

    After a replacement also: `kept_maps`: names of maps that live on with their contents, `replaced`: ids of the programs that
    were there before.
    """

    pins: tuple[str, ...]
    attached: tuple[str, ...]
    notes: tuple[str, ...]
    kept_maps: tuple[str, ...] = ()
    replaced: tuple[int, ...] = ()


def deploy(
    source: ObjectSpec | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    target: Target | None = None,
    targets: Mapping[str, Target] | None = None,
    attaching: bool = True,
    attach_all: bool = False,
    values: Mapping[str, Any] | None = None,
    maps_directory: str | os.PathLike[str] = "",
    options: LoadOptions | None = None,
    mount: bool = True,
    replace: bool = False,
    keep_maps: bool | None = None,
    fresh_maps: Collection[str] = (),
    permissions: Permissions | None = None,
) -> Deployed:
    """Load an object, attach what is to be attached, and pin the programs at `path`, which appears last.

    `target`: where to attach whatever it fits: a device the XDP, tc and netkit programs, a cgroup the cgroup programs, a name the
    program that is named in words (`bpfload.pins.choosing.choose` has it all). `targets`: by program name, for just that program.
    Programs whose SEC() names a raw tracepoint are attached to that without being asked, unless `attaching` is False;
    `attach_all` attaches all others, too, that SEC() says enough of, struct_ops maps of .struct_ops.link included.
    `values`: of global variables, constants included, set before the load (`bpfload.load.settings.set_values`; a spec that is
    passed in is changed). `maps_directory`: also pin the maps, there. `mount`: mount a bpffs at /sys/fs/bpf if there is none.
    `permissions`: of pins and of directories that are made (`bpfload.pins.permissions`); a replacement has
    those of what it replaces.

    `replace`: put the object in the place of the load at `path`, if there is one: see `bpfload.pins.replacement`, also for
    `keep_maps` and `fresh_maps`.

    Raises whatever reading, loading, attaching and pinning raise; nothing is left behind then. A process killed on the way
    leaves no `path` (a replacement: the old load); the next load or unload there takes away what it left.
    """
    if not isinstance(source, ObjectSpec):
        from bpfload import elf

        source = elf.read(source)
    if values:
        from bpfload.load.settings import set_values

        set_values(source, values)
    place = os.path.abspath(os.fspath(path))
    paths.check_name(os.fspath(path))
    maps_place = os.path.abspath(os.fspath(maps_directory)) if maps_directory else ""
    selected = _selected(source, options)
    wishes = choose(
        source, selected, target=target, targets=targets, attaching=attaching and not replace, all_that_sec_names=attach_all
    )
    plan = Plan(source, place, wishes, options, maps_place, attach_all=attach_all, permissions=permissions)
    try:
        if replace:
            from bpfload.pins import replacement

            done = replacement.replace(
                plan, selected, attaching=attaching, keep_maps=keep_maps, fresh_maps=fresh_maps, values=tuple(values or ())
            )
            if done is not None:
                return done
            plan.wishes = choose(
                source, selected, target=target, targets=targets, attaching=attaching, all_that_sec_names=attach_all
            )
        return _deploy_new(plan, selected, attaching, mount)
    except KernelError as error:
        raise _with_capabilities(error, selected) from None


@dataclass(slots=True, eq=False)
class Plan:
    """One deployment: what is to be loaded, attached and pinned. `path`, `maps_directory`: absolute, the latter "" for none."""

    spec: ObjectSpec
    path: str
    wishes: list[Wish]
    options: LoadOptions | None
    maps_directory: str = ""
    attach_all: bool = False
    permissions: Permissions | None = None

    def load_options(self, maps: Mapping[str, int] | None = None) -> LoadOptions | None:
        """Return the options of the load, with the targets that SEC() doesn't name and the `maps` to use, by fd."""
        named = {
            wish.name: wish.spec.attach_target for wish in self.wishes if wish.spec.sec is not None and wish.spec.sec.needs_btf_id
        }
        if not named and not maps:
            return self.options
        from dataclasses import replace

        from bpfload.load import LoadOptions

        options = self.options or LoadOptions()
        return replace(options, attach_targets={**named, **options.attach_targets}, maps={**options.maps, **(maps or {})})


def _deploy_new(plan: Plan, selected: list[ProgramSpec], attaching: bool, mount: bool) -> Deployed:
    """Deploy where nothing is yet."""
    place, maps_place = plan.path, plan.maps_directory
    paths.check_new(place, mount=mount)
    new_directory = not (os.path.isdir(maps_place) and mounts.is_bpffs(maps_place))
    if maps_place and new_directory and not maps_place.startswith(place + "/") and maps_place != place:
        paths.check_name(maps_place)
        paths.require_bpffs(maps_place, mount=mount)
    staging.clean_up(place)  # a link that a killed load left would be in the way of attaching
    done = _load_attach_pin(plan)
    if not attaching:
        return done
    notes = idle(selected, plan.wishes, all_that_sec_names=plan.attach_all)
    return Deployed(done.pins, done.attached, done.notes + notes)


def _load_attach_pin(plan: Plan) -> Deployed:
    with ExitStack() as stack, ExitStack() as undo:
        loaded = stack.enter_context(load(plan.spec, plan.load_options()))
        for pinned_by_name in loaded.new_pins:
            undo.callback(_forget, pinned_by_name)
            if plan.permissions is not None:
                plan.permissions.apply(pinned_by_name)
        struct_ops = attachable_maps(plan.spec) if plan.attach_all else []

        def attach() -> dict[str, Attachment]:
            """Attach what is to be attached: once the programs are staged, by which a killed load's attachments are found."""
            links = {wish.name: stack.enter_context(attach_wish(wish, loaded, undo)) for wish in plan.wishes}
            return links | {each.name: stack.enter_context(loaded.attach_struct_ops(each.name)) for each in struct_ops}

        maps = maps_by_pin(loaded.spec, loaded.maps) if plan.maps_directory else {}
        pinned = publish(
            plan.path,
            loaded.programs,
            attach,
            maps=maps,
            maps_directory=plan.maps_directory,
            as_directory=True if struct_ops else None,
            permissions=plan.permissions,
        )
        undo.pop_all()
        names = (*(wish.name for wish in plan.wishes), *(each.name for each in struct_ops))
        return Deployed(tuple(pinned), names, tuple(loaded.notes))


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
