"""Attaching a program beside those that a device runs, and taking it away again.

Each change builds a whole new dispatcher, lets every program of the chain replace its function in it, and swaps it in: packets
meet the old chain or the new one. A program of a chain is of type EXT, verified for the function that it replaces, so one that
was loaded as an XDP program can't join: it is loaded anew from its object.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from struct import pack
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.dispatcher import protocol, swap
from bpfload.dispatcher.chain import Chain, chain_on, chains_with, full_name, open_programs
from bpfload.dispatcher.program import dispatcher_spec, slot_function
from bpfload.dispatcher.protocol import Config, Slot
from bpfload.dispatcher.run_config import run_config
from bpfload.errors import BpfError, KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.load import LoadOptions, load
from bpfload.objects.link import Link
from bpfload.objects.program import Program
from bpfload.spec import ObjectSpec, ProgramSpec, SectionDefinition
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.load import Object

_ATTEMPTS = 10

#: Makes the program that is to join: given the dispatcher and the function to replace.
_Maker = Callable[[Program, str], Program]


@dataclass(slots=True)
class _Entry:
    """One program of the chain to be. `make`: for the one that isn't in the kernel yet."""

    name: str
    slot: Slot
    program: Program | None = None
    make: _Maker | None = None
    tag: str = ""
    load_time: int = 0

    def rank(self) -> tuple[int, str, bool, str, int]:
        """What libxdp sorts a chain by, cmp_xdp_programs()."""
        return self.slot.priority, self.name, self.make is not None, self.tag, self.load_time


def attach(
    source: ObjectSpec | str | os.PathLike[str],
    device: str,
    *,
    program: str = "",
    priority: int | None = None,
    actions: Sequence[str] | None = None,
    mode: str = "auto",
    version: int = protocol.DEFAULT_VERSION,
    options: LoadOptions | None = None,
    ready: Callable[[Object], None] | None = None,
    mount: bool = True,
) -> Object:
    """Load a program of an object, put it into the device's chain, and return what was loaded, which the caller owns.

    `program`: its name, "" for the only XDP program. `priority`: low ones run first; `actions`: names of those behind which the
    next program runs. Both come from the object's .xdp_run_config where they aren't given, and are 50 and "pass" without one.
    `mode`: "auto", "native", "generic", for a device that has no chain yet. `version`: of the protocol, for a new chain.
    `ready`: called with what was loaded before the chain runs it; what it raises ends it all. `mount`: mount a bpffs if there
    is none.

    The chain holds the program by pins of its own. All of it or nothing: raises UsageError, NotFoundError, LinkError, PinError,
    VerifierError, NotSupportedError (before Linux 5.10), KernelError.
    """
    spec = _read(source)
    chosen = _choose(spec, program)
    slot = _slot(run_config(spec.btf, chosen.name), priority, actions)
    if chosen.flags & consts.BPF_F_XDP_HAS_FRAGS:
        slot = replace(slot, flags=consts.BPF_F_XDP_HAS_FRAGS)
    loaded: list[Object] = []

    def make(dispatcher: Program, function: str) -> Program:
        while loaded:
            loaded.pop().close()
        loaded.append(_load_extension(spec, chosen, dispatcher, function, options))
        if ready is not None:
            ready(loaded[0])
        return loaded[0].program(chosen.name)

    try:
        _change(device, _adding(_Entry(chosen.name, slot, make=make), device), mode, version, mount=mount)
    except BaseException:
        while loaded:
            loaded.pop().close()
        raise
    return loaded[0]


def attach_program(
    program: Program,
    device: str,
    *,
    priority: int | None = None,
    actions: Sequence[str] | None = None,
    mode: str = "auto",
    version: int = protocol.DEFAULT_VERSION,
    mount: bool = True,
) -> None:
    """Put a program that is loaded already, of type EXT, into the device's chain: one that is in another chain, for example."""
    info = program.info()
    if info.type != consts.BPF_PROG_TYPE_EXT:
        raise UsageError(
            f"program {info.id} ({info.name}) was loaded to run alone: the programs of a chain are loaded for that",
            hint="Name its object file instead: bpfload net attach xdp object FILE dev IF chain.",
        )
    settings = Slot()
    with ExitStack() as stack:
        name = full_name(program, info)
        if info.btf_id:
            from bpfload.objects.btf import BtfObject

            settings = run_config(stack.enter_context(BtfObject.from_id(info.btf_id)).btf(), name)
        entry = _Entry(name, _slot(settings, priority, actions), program, tag=info.tag, load_time=info.load_time)
        _change(device, _adding(entry, device), mode, version, mount=mount)


def detach(device: str, programs: Collection[int] | None = None) -> Chain:
    """Take programs, by id, out of the device's chain; None: all of them. Return the chain as it was.

    Without its last program the device runs nothing. Raises NotFoundError, UsageError, KernelError.
    """

    def without(chain: Chain | None, entries: list[_Entry]) -> list[_Entry]:
        if chain is None:
            raise _no_chain(device)
        if programs is None:
            return []
        known = {each.id for each in chain.programs}
        for wanted in programs:
            if wanted not in known:
                raise NotFoundError(f"program {wanted} isn't in the chain of {device}: {_listed(chain)}")
        return [entry for entry, each in zip(entries, chain.programs, strict=True) if each.id not in programs]

    found = _change(device, without, "auto", protocol.DEFAULT_VERSION, mount=False, all_go=programs is None)
    assert found is not None
    return found


def leave(programs: Collection[int]) -> list[tuple[str, int]]:
    """Take programs, by id, out of all chains of this network namespace; return (device, program) for each that was in one.

    Raises KernelError.
    """
    import socket

    done = []
    for ifindex, dispatcher, found in chains_with(programs):
        try:
            device = socket.if_indextoname(ifindex)
        except OSError:
            continue  # of another network namespace, or gone
        chain = chain_on(ifindex)
        if chain is not None and chain.id == dispatcher:
            detach(device, found)
            done += [(device, program) for program in found]
    return done


def _no_chain(device: str) -> NotFoundError:
    return NotFoundError(f"device {device} runs no chain of programs", errno_code=errno.ENOENT)


def _listed(chain: Chain) -> str:
    return ", ".join(f"{each.id} ({each.name})" for each in chain.programs)


# --- the change -----------------------------------------------------------------------------------------------------


def _adding(entry: _Entry, device: str) -> Callable[[Chain | None, list[_Entry]], list[_Entry]]:
    def added(chain: Chain | None, entries: list[_Entry]) -> list[_Entry]:
        if len(entries) >= protocol.MAX_PROGRAMS:
            raise UsageError(
                f"the chain of {device} has {len(entries)} programs already, which is all it takes",
                hint=f"Take one away first: bpfload net detach xdp id ID dev {device} chain.",
                errno_code=errno.E2BIG,
            )
        if chain is not None and entry.program is not None and entry.program.info().id in {each.id for each in chain.programs}:
            raise UsageError(f"program {entry.name} is in the chain of {device} already", errno_code=errno.EEXIST)
        return [*entries, entry]

    return added


def _change(
    device: str,
    edit: Callable[[Chain | None, list[_Entry]], list[_Entry]],
    mode: str,
    version: int,
    *,
    mount: bool,
    all_go: bool = False,
) -> Chain | None:
    """Give a device the chain that `edit` makes of its present programs; return the chain that it had."""
    from bpfload.links.xdp import device_index

    if mode not in swap.MODE_FLAGS:
        raise UsageError(f"no XDP mode {mode!r} for a chain", hint="Modes are auto, native, generic.")
    ifindex = device_index(device)
    if all_go and chain_on(ifindex) is None:
        raise _no_chain(device)
    with protocol.locked(protocol.make_state_directory(mount=mount)):
        swap.clean_up(ifindex)
        for _ in range(_ATTEMPTS):
            try:
                return _change_once(device, ifindex, edit, mode, version, all_go)
            except swap.Changed:
                continue
    raise KernelError("RTM_SETLINK", errno.EBUSY, f"the XDP program of {device} changes too often to be replaced")


def _change_once(
    device: str,
    ifindex: int,
    edit: Callable[[Chain | None, list[_Entry]], list[_Entry]],
    mode: str,
    version: int,
    all_go: bool,
) -> Chain | None:
    old = chain_on(ifindex)
    if old is None:
        _check_free(device, ifindex)
    elif not all_go:
        _check_changeable(device, old)
    with ExitStack() as stack:
        present = []
        if old is not None and not all_go:
            present = [
                _Entry(each.name, slot, program, tag=each.tag, load_time=each.load_time)
                for each, slot, program in zip(old.programs, old.config.slots, open_programs(old, stack), strict=True)
            ]
        entries = sorted(edit(old, present), key=_Entry.rank)
        if old is not None and not entries:
            swap.swap_out(ifindex, old)
            return old
        slots = tuple(entry.slot for entry in entries)
        config = Config(slots, old.config.version if old else version, protocol.all_have_frags(slots))
        _build(device, ifindex, mode, config, entries, old, stack)
    return old


def _build(
    device: str, ifindex: int, mode: str, config: Config, entries: list[_Entry], old: Chain | None, stack: ExitStack
) -> None:
    dispatcher = stack.enter_context(load(dispatcher_spec(config))).program()
    programs, links = [], []
    for number, entry in enumerate(entries):
        function = slot_function(number)
        program = entry.make(dispatcher, function) if entry.make is not None else entry.program
        assert program is not None
        programs.append(program)
        links.append(stack.enter_context(_replace_function(dispatcher, function, program, entry.name)))
    try:
        swap.swap_in(ifindex, mode, dispatcher, links, programs, old)
    except KernelError as error:
        raise _refused(error, device, config, old) from None


def _replace_function(dispatcher: Program, function: str, program: Program, name: str) -> Link:
    """Let a program replace a function of the dispatcher."""
    from bpfload.btf.types import KIND_FUNC
    from bpfload.objects.btf import BtfObject

    with BtfObject.from_id(dispatcher.info().btf_id) as holder:
        target = holder.btf().find(function, KIND_FUNC)
    try:
        return Link(bpf.link_create(program.fd, dispatcher.fd, 0, extra=pack("=I", target)))
    except KernelError as error:
        from bpfload.kernel import version

        if error.errno == errno.EINVAL and version.code() < version.encode(5, 10, 0):
            raise NotSupportedError(
                "a program in several dispatchers", since="5.10", call=error.call, errno=errno.EINVAL
            ) from None
        raise KernelError(error.call, error.errno or 0, f"program {name!r} can't take its place in the chain") from None


def _refused(error: KernelError, device: str, config: Config, old: Chain | None) -> KernelError:
    from bpfload.abi.consts import CAP_NET_ADMIN
    from bpfload.links.refusal import refused

    hint = ""
    if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ERANGE) and not config.frags:
        hint = f'The MTU of {device} may be too large for programs without SEC("xdp.frags"), or its driver has no native XDP.'
        if old is not None and old.config.frags:
            hint = f'A program of the chain isn\'t SEC("xdp.frags"), which the MTU of {device} may need.'
    return refused(error, f"attaching the dispatcher to {device}", CAP_NET_ADMIN, hint=hint)


# --- what stands in the way -----------------------------------------------------------------------------------------


def _check_free(device: str, ifindex: int) -> None:
    """Complain of a program that is attached alone."""
    from bpfload.links.xdp import attached_to

    present = attached_to(ifindex)
    if present:
        raise KernelError(
            "RTM_SETLINK",
            errno.EBUSY,
            f"device {device} runs a program that is no dispatcher: {', '.join(present)}",
            hint="Only programs that were loaded for a chain can run beside others: detach it, and attach it with 'chain'.",
        )


def _check_changeable(device: str, chain: Chain) -> None:
    """Complain of a dispatcher that can't be rebuilt."""
    if chain.config.version not in protocol.CHANGEABLE_VERSIONS:
        raise UsageError(
            f"the dispatcher on {device} is of version {chain.config.version}; "
            f"{' and '.join(map(str, protocol.CHANGEABLE_VERSIONS))} can be changed",
            hint=f"Take the whole chain away (bpfload net detach xdp dev {device} chain), or use the libxdp that made it.",
        )
    if chain.config.device_bound:
        raise UsageError(
            f"the dispatcher on {device} is bound to its device, and so are the programs in its chain",
            hint="Use xdp-loader, which made it.",
        )
    if not chain.complete:
        raise NotFoundError(
            f"the programs of the dispatcher on {device} aren't pinned in {chain.directory}",
            hint="LIBXDP_BPFFS names the bpffs that they are on, if it isn't /sys/fs/bpf. "
            f"To take the whole chain away: bpfload net detach xdp dev {device} chain.",
        )


# --- the program that joins -----------------------------------------------------------------------------------------


def _read(source: ObjectSpec | str | os.PathLike[str]) -> ObjectSpec:
    if isinstance(source, ObjectSpec):
        return source
    from bpfload import elf

    return elf.read(source)


def _choose(spec: ObjectSpec, name: str) -> ProgramSpec:
    """Return the program that is to join. Raises NotFoundError, UsageError."""
    file = os.path.basename(spec.path) or spec.name
    fitting = (consts.BPF_PROG_TYPE_XDP, consts.BPF_PROG_TYPE_EXT)
    if name:
        chosen = spec.program(name)
    else:
        found = [each for each in spec.entry_programs if each.type == consts.BPF_PROG_TYPE_XDP]
        if len(found) != 1:
            names = ", ".join(each.name for each in found)
            message = f"{file} has several XDP programs: {names}" if found else f"{file} has no XDP program"
            raise UsageError(message, hint="Choose one by its name." if found else "")
        chosen = found[0]
    if chosen.type not in fitting:
        raise UsageError(f"program {chosen.name!r} of {file} is no XDP program")
    if spec.btf is None:
        raise UsageError(f"{file} has no BTF, without which no program can join a chain", hint="Compile it with -g.")
    return chosen


def _slot(settings: Slot, priority: int | None, actions: Sequence[str] | None) -> Slot:
    if priority is not None:
        if not 0 <= priority <= 0xFFFFFFFF:
            raise UsageError(f"{priority} is no priority: 0 to {0xFFFFFFFF}, the lowest runs first")
        settings = replace(settings, priority=priority)
    return settings if actions is None else replace(settings, actions=protocol.action_bits(list(actions)))


def _load_extension(
    spec: ObjectSpec, chosen: ProgramSpec, dispatcher: Program, function: str, options: LoadOptions | None
) -> Object:
    """Load a program so that it may replace a function of the dispatcher."""
    row = SectionDefinition("freplace", consts.BPF_PROG_TYPE_EXT, needs_btf_id=True, hook="freplace")
    flags = chosen.flags & ~(consts.BPF_F_XDP_HAS_FRAGS | consts.BPF_F_XDP_DEV_BOUND_ONLY)
    extension = replace(chosen, type=consts.BPF_PROG_TYPE_EXT, attach_type=0, sec=row, flags=flags, attach_target=function)
    programs = [extension if each is chosen else each for each in spec.programs]
    chosen_only = frozenset((chosen.name,))
    settings = replace(options or LoadOptions(), programs=chosen_only, attach_to=dispatcher.fd, attach_function=function)
    try:
        return load(replace(spec, programs=programs), settings)
    except BpfError as error:
        if error.errno_code == errno.EPERM and not error.hint:
            error.hint = (
                "A policy of this machine may forbid programs that replace functions (freplace), which a chain is made of."
            )
        raise
