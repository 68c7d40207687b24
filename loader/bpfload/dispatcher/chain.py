"""What chain of programs a device runs: its dispatcher, read from the kernel, and what is pinned for it."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from struct import unpack_from

from bpfload.dispatcher import protocol
from bpfload.dispatcher.protocol import Config
from bpfload.errors import BpfError
from bpfload.objects.btf import BtfObject
from bpfload.objects.info import ProgInfo
from bpfload.objects.map import Map
from bpfload.objects.program import Program

_CUT_NAME = 15  # the kernel keeps so many bytes of a name
_ONLY_KEY = bytes(4)


@dataclass(frozen=True, slots=True)
class ChainProgram:
    """One program of a chain, in its order. `id`: None where it isn't pinned where it should be, and so can't be told.

    `actions`: names of those behind which the next program runs. `flags`: BPF_F_* that it was loaded for.
    """

    slot: int
    id: int | None
    name: str
    tag: str
    load_time: int
    priority: int
    actions: tuple[str, ...]
    flags: int
    path: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A dispatcher on a device. `id`: of its program. `mode`: "generic", "driver". `directory`: where its programs are pinned."""

    ifindex: int
    mode: str
    id: int
    config: Config
    programs: tuple[ChainProgram, ...]
    directory: str

    @property
    def complete(self) -> bool:
        """Whether each of its programs is known."""
        return all(program.id is not None for program in self.programs)


def read_chain(ifindex: int, mode: str, prog_id: int) -> Chain | None:
    """Return the chain whose dispatcher is that program; None for a program that is no dispatcher, or may not be opened."""
    try:
        with Program.from_id(prog_id) as program:
            config = dispatcher_config(program)
    except BpfError:
        return None
    if config is None:
        return None
    directory = protocol.pin_directory(ifindex, prog_id)
    programs = tuple(_member(config, slot, protocol.program_pin(directory, slot)) for slot in range(len(config.slots)))
    return Chain(ifindex, mode, prog_id, config, programs, directory)


def dispatcher_config(program: Program) -> Config | None:
    """Return a dispatcher's configuration, None for another program. Raises KernelError.

    libxdp's test: the program's name, its only map, and what the map holds.
    """
    info = program.info("map_ids")
    if info.name != protocol.NAME or not info.btf_id or len(info.map_ids) != 1:
        return None
    with Map.from_id(info.map_ids[0]) as settings:
        form = settings.info()
        if (form.key_size, form.max_entries) != (4, 1):
            return None
        return Config.unpack(settings.lookup(_ONLY_KEY))


def _member(config: Config, slot: int, path: str) -> ChainProgram:
    settings = config.slots[slot]
    ident, name, tag, load_time = None, "", "", 0
    try:
        with Program.from_pin(path) as program:
            info = program.info()
            ident, name, tag, load_time = info.id, full_name(program, info), info.tag, info.load_time
    except BpfError:
        pass
    actions = protocol.action_names(settings.actions)
    return ChainProgram(slot, ident, name, tag, load_time, settings.priority, actions, settings.flags, path)


def full_name(program: Program, info: ProgInfo) -> str:
    """Return a program's name: the function's name of BTF where the kernel has cut it."""
    if len(info.name) < _CUT_NAME or not info.btf_id or not info.nr_func_info:
        return info.name
    records = program.info("func_info").func_info
    try:
        with BtfObject.from_id(info.btf_id) as holder:
            return holder.btf().type(unpack_from("=I", records, 4)[0]).name or info.name
    except BpfError:
        return info.name


def chain_on(ifindex: int) -> Chain | None:
    """Return the chain that a device of this network namespace runs, None without one. Raises KernelError."""
    from bpfload.syscall import netlink

    for attachment in netlink.xdp_attachments(ifindex):
        for mode, prog_id in attachment.programs:
            found = read_chain(ifindex, mode, prog_id)
            if found is not None:
                return found
    return None


def chains_with(programs: Collection[int]) -> list[tuple[int, int, list[int]]]:
    """Return (device's index, dispatcher's id, ids) of the chains that any of these programs is pinned for.

    In any network namespace: who asks has to see whether that device runs that dispatcher in his.
    """
    from bpfload.objects.bpffs import pins

    found = []
    for ifindex, dispatcher, directory in pinned_dispatchers():
        members = [pin.id for pin in pins(directory) if pin.kind == "program" and pin.id in programs]
        if members:
            found.append((ifindex, dispatcher, members))
    return found


def pinned_dispatchers() -> list[tuple[int, int, str]]:
    """Return (device's index, dispatcher's id, directory) of every directory of a dispatcher, in the order of ids."""
    state = protocol.state_directory()
    try:
        names = os.listdir(state)
    except OSError:
        return []
    found = []
    for name in names:
        kind, *numbers = name.split("-")
        if kind == "dispatch" and len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            found.append((int(numbers[0]), int(numbers[1]), os.path.join(state, name)))
    return sorted(found, key=lambda row: row[1])


def open_programs(chain: Chain, stack: ExitStack) -> list[Program]:
    """Open the programs of a chain, in its order, for as long as `stack` lasts. Raises PinError, KernelError."""
    return [stack.enter_context(Program.from_pin(program.path)) for program in chain.programs]
