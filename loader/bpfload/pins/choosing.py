"""Which programs of an object are to be attached, and where: from what SEC() says and what the caller asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bpfload.errors import NotFoundError, UsageError, near
from bpfload.links import Target, attaches_by_itself, hook_of
from bpfload.spec import MapSpec, ObjectSpec, ProgramSpec


@dataclass(slots=True, eq=False)
class Wish:
    """One program to be attached to `hook` at `target`. `spec`: with the target that it gets instead of the one in SEC()."""

    spec: ProgramSpec
    hook: str
    target: Target

    @property
    def name(self) -> str:
        """The program's name."""
        return self.spec.name


#: Hooks that are named in words, by SEC() or by `Target.name`.
_NAMED = (
    *("tracepoint", "raw_tracepoint", "kprobe", "kprobe_multi", "ksyscall", "uprobe", "uprobe_multi", "usdt"),
    *("tracing", "tracing_multi", "lsm", "freplace"),
)
_BINARIES = ("uprobe", "uprobe_multi", "usdt")
_MAP_ITERATORS = ("bpf_map_elem", "bpf_sk_storage_map")
_CLSACT = "tc"


def _by_hook(*hooks: str) -> Callable[[ProgramSpec], bool]:
    return lambda program: hook_of(program) in hooks


def _of_process(program: ProgramSpec) -> bool:
    hook = hook_of(program)
    if hook == "iterator":
        return program.attach_target.startswith("task")
    return hook == "perf_event" or (hook in _BINARIES and bool(program.attach_target))


def _of_map(program: ProgramSpec) -> bool:
    return hook_of(program) == "sockmap" or (hook_of(program) == "iterator" and program.attach_target in _MAP_ITERATORS)


def _of_cgroup(program: ProgramSpec) -> bool:
    return hook_of(program) == "cgroup" or (hook_of(program) == "iterator" and program.attach_target == "cgroup")


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to say where: the field of Target, the command's option for it, which programs it attaches and what they are."""

    field: str
    option: str
    fits: Callable[[ProgramSpec], bool]
    kind: str

    @property
    def words(self) -> str:
        """What a message calls it."""
        return "--target, --attach NAME" if self.field == "name" else self.option.partition(" ")[0]


#: In this order they are looked at. A field is given if it isn't what a bare Target has.
_OPTIONS: tuple[_Option, ...] = (
    _Option("device", "--dev IF", _by_hook("xdp", "tc", "tcx", "netkit"), "XDP, tc or netkit"),
    _Option("cgroup", "--cgroup PATH", _of_cgroup, "cgroup"),
    _Option("netns", "--netns PATH", _by_hook("netns"), "sk_lookup or flow dissector"),
    _Option("map", "--map MAP", _of_map, "sockmap or map iterator"),
    _Option("hook", "--netfilter FAMILY/HOOK", _by_hook("netfilter"), "netfilter"),
    _Option("event_type", "--event TYPE/CONFIG", _by_hook("perf_event"), "perf_event"),
    _Option("pid", "--pid PID", _of_process, "uprobe, USDT, perf_event or task iterator"),
)
_NAME = _Option("name", "--target NAME", _by_hook(*_NAMED), "tracepoint, probe or tracing")
_BARE = Target()


def choose(
    spec: ObjectSpec,
    programs: Sequence[ProgramSpec],
    *,
    target: Target | None = None,
    targets: Mapping[str, Target] | None = None,
    attaching: bool = True,
    all_that_sec_names: bool = False,
) -> list[Wish]:
    """Choose which of `programs` are to be attached where.

    `target`: for whatever it fits: a device for XDP, tc and netkit programs, a cgroup for cgroup programs, …; a name for the one
    program that is named in words, or the one that SEC() leaves without a name. `targets`: by program name, for that program and
    no other. `attaching`: raw tracepoint programs that SEC() names a tracepoint for, too; `all_that_sec_names`: all others
    that SEC() says enough of. Raises UsageError where `target` fits no program, or too many, NotFoundError for a name.
    """
    given = target or _BARE
    wishes = {name: _wish(_program(spec, programs, name), each) for name, each in (targets or {}).items()}
    rest = [program for program in programs if program.name not in wishes]
    found = False
    for option in _OPTIONS:
        if getattr(given, option.field) != getattr(_BARE, option.field):
            fitting = [program for program in rest if option.fits(program)]
            if not fitting and not (option.field == "pid" and (found or _says_where(given, targets))):
                raise _unfit(spec, programs, option)
            _one_xdp(spec, fitting)
            wishes |= {program.name: _wish(program, _common(program, given)) for program in fitting if program.name not in wishes}
            found = True
    if given.name or given.binary:
        fitting = _the_one(spec, programs, [program for program in rest if _NAME.fits(program)])
        wishes |= {program.name: _wish(program, given) for program in fitting}
    for program in programs:
        by_default = attaching and hook_of(program) == "raw_tracepoint"
        if program.name not in wishes and (by_default or all_that_sec_names) and _said_by_section(program):
            wishes[program.name] = _wish(program, replace(given, name="", binary=""))
    return [wishes[program.name] for program in programs if program.name in wishes]


def _says_where(given: Target, targets: Mapping[str, Target] | None) -> bool:
    """Whether a pid may be for a program whose place is named."""
    return bool(given.name or given.binary) or any(each.pid == given.pid for each in (targets or {}).values())


def attachable_maps(spec: ObjectSpec) -> list[MapSpec]:
    """Return the struct_ops maps that SEC(".struct_ops.link") wants attached."""
    return [each for each in spec.maps.values() if each.struct_ops is not None and each.struct_ops.link and each.autocreate]


def idle(programs: Iterable[ProgramSpec], wishes: Sequence[Wish], *, all_that_sec_names: bool = False) -> tuple[str, ...]:
    """Say which programs were loaded and won't run: tracepoint programs without a tracepoint; of all, what was missing."""
    attached = {wish.name for wish in wishes}
    notes = []
    for program in programs:
        hook = hook_of(program)
        if program.name in attached or not hook:
            continue
        if hook == "raw_tracepoint" and not program.attach_target:
            notes.append(
                f'program {program.name!r} is loaded and not attached: SEC("{program.section}") names no tracepoint '
                "(--attach NAME does)"
            )
        elif all_that_sec_names:
            way = option_for(program)
            where = f"{way} does" if way else "the process that has the socket does it"
            notes.append(
                f'program {program.name!r} is loaded and not attached: SEC("{program.section}") doesn\'t say where ({where})'
            )
    return tuple(notes)


def option_for(program: ProgramSpec) -> str:
    """Return the command's option that says where a program is to be attached, "" where there is none."""
    return next((each.option for each in (*_OPTIONS, _NAME) if each.fits(program)), "")


def _program(spec: ObjectSpec, programs: Sequence[ProgramSpec], name: str) -> ProgramSpec:
    for program in programs:
        if program.name == name:
            return program
    names = [program.name for program in programs]
    hint = "" if near(name, names) else f"Its programs are {', '.join(names) or 'none'}."
    raise NotFoundError(f"{_file(spec)}: no program {name!r} is loaded of it", candidates=near(name, names), hint=hint)


def _wish(program: ProgramSpec, target: Target) -> Wish:
    """Make a wish: words that name what SEC() would name are put in SEC()'s place."""
    hook = hook_of(program)
    if not hook:
        raise UsageError(
            f'program {program.name!r}: SEC("{program.section}") programs have no hook to be attached to',
            hint="It can be loaded and pinned, and run by whatever uses it.",
        )
    in_words = target.name and hook not in ("tracepoint", "raw_tracepoint") and not target.binary
    if in_words:
        program, target = replace(program, attach_target=target.name), replace(target, name="")
    if hook == _CLSACT and target.parent not in ("ingress", "egress"):
        raise UsageError(
            f'program {program.name!r}: SEC("{program.section}") doesn\'t say in which direction packets go',
            hint="Say --direction ingress or --direction egress.",
        )
    return Wish(program, hook, target)


def _common(program: ProgramSpec, target: Target) -> Target:
    """Return the target that several programs have in common: the direction of packets is for those whose SEC() says none."""
    return replace(target, parent="") if target.parent and hook_of(program) != _CLSACT else target


def _said_by_section(program: ProgramSpec) -> bool:
    return attaches_by_itself(program) and not _of_map(program)


def _one_xdp(spec: ObjectSpec, programs: Iterable[ProgramSpec]) -> None:
    """A device has one XDP program: of several the caller has to choose."""
    names = [program.name for program in programs if hook_of(program) == "xdp"]
    if len(names) > 1:
        raise UsageError(
            f"--dev: {_file(spec)} has several XDP programs: {', '.join(names)}", hint="Choose one with --program NAME."
        )


def _the_one(spec: ObjectSpec, programs: Sequence[ProgramSpec], found: list[ProgramSpec]) -> list[ProgramSpec]:
    """Return the one program that a name is for: the only one, or the only one that SEC() leaves without."""
    if len(found) > 1:
        found = [program for program in found if not program.attach_target] or found
    if len(found) == 1:
        return found
    if not found:
        raise _unfit(spec, programs, _NAME)
    names = ", ".join(program.name for program in found)
    raise UsageError(
        f"--target: {_file(spec)} has several programs that a name could be for: {names}",
        hint="Say --target PROGRAM=NAME for each, or choose one with --program NAME.",
    )


def _unfit(spec: ObjectSpec, programs: Sequence[ProgramSpec], option: _Option) -> UsageError:
    """Say that an option fits no program, which programs there are, and what fits those."""
    words = []
    for program in programs:
        way = option_for(program)
        words.append(f'{program.name}, SEC("{program.section}")' + (f": {way}" if way else ""))
    return UsageError(
        f"{option.words}: {_file(spec)} has no {option.kind} program to attach",
        hint=f"Its programs are {'; '.join(words)}.",
    )


def _file(spec: ObjectSpec) -> str:
    return os.path.basename(spec.path) or spec.name
