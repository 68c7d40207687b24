"""A kernel state with one of everything that can be looked at: programs, maps, links, BTF, devices, cgroups, processes.

Made partly by the peer's commands, partly by ours, partly by bare system calls; what a program does is of no interest here.
Nothing is registered with the kernel by struct_ops: such maps are loaded only.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack

from bpfload.abi import consts as c
from bpfload.abi.names import MAP_TYPE_NAMES, PROG_TYPE_NAMES
from bpfload.elf import read
from bpfload.insn.assemble import assemble, exit_, mov64_imm
from bpfload.load import load
from bpfload.objects import Map
from bpfload.objects.bpffs import pins
from bpfload.syscall import bpf
from support.attachments import KINDS, Place, link_of, listening_socket, perf_event_open
from support.features import why_missing
from support.namespaces import VethPair
from support.paths import DATA, HELLO, HELLO_FUNC, PACKET_COUNTER
from support.process import Argument, Result, bpftool, run
from support.programs import load_spec, program_spec
from support.section_table import SECTION_ROWS

LOOKED_AT = DATA / "looked-at.bpf.o"
REGISTERED = DATA / "registered.bpf.o"

#: Program types of which none can be made so: they are verified for a target, which a policy may forbid even to root.
VERIFIED_FOR_A_TARGET = ("tracing", "ext", "lsm")

_PAGE = 4096
# By map type: key size, value size, entries, flags. The types of _STORAGE have BTF besides.
_MAPS = {
    "hash": (4, 8, 16, 0),
    "array": (4, 12, 5, 0),
    "prog_array": (4, 4, 4, 0),
    "perf_event_array": (4, 4, 2, 0),
    "percpu_hash": (8, 20, 16, 0),
    "percpu_array": (4, 6, 3, 0),
    "stack_trace": (4, 80, 8, 0),
    "cgroup_array": (4, 4, 2, 0),
    "lru_hash": (20, 4, 16, 0),
    "lru_percpu_hash": (4, 8, 16, 0),
    "lpm_trie": (8, 4, 16, c.BPF_F_NO_PREALLOC),
    "devmap": (4, 4, 4, 0),
    "sockmap": (4, 4, 4, 0),
    "cpumap": (4, 4, 2, 0),
    "xskmap": (4, 4, 4, 0),
    "sockhash": (4, 8, 4, 0),
    "cgroup_storage": (16, 8, 0, 0),
    "reuseport_sockarray": (4, 8, 4, 0),
    "percpu_cgroup_storage": (8, 8, 0, 0),
    "queue": (0, 4, 4, 0),
    "stack": (0, 4, 4, 0),
    "sk_storage": (4, 4, 0, c.BPF_F_NO_PREALLOC),
    "devmap_hash": (4, 8, 4, 0),
    "ringbuf": (0, 0, _PAGE, 0),
    "inode_storage": (4, 4, 0, c.BPF_F_NO_PREALLOC),
    "task_storage": (4, 4, 0, c.BPF_F_NO_PREALLOC),
    "bloom_filter": (0, 4, 16, 0),
    "user_ringbuf": (0, 0, _PAGE, 0),
    "cgrp_storage": (4, 4, 0, c.BPF_F_NO_PREALLOC),
    "arena": (0, 0, 4, c.BPF_F_MMAPABLE),
}
_STORAGE = ("sk_storage", "inode_storage", "task_storage", "cgrp_storage")
#: Of these bpftool's `map create` makes some; the names of its flags are numbers.
_MADE_BY_COMMANDS = ("hash", "array", "lpm_trie", "queue")


@dataclass
class State:
    """What was made. `ids`: by kind ("prog", "map", "link", "btf"), of what this process holds or has pinned."""

    bpffs: Path
    cgroup: Path
    veth: VethPair
    other: str
    ids: dict[str, list[int]] = field(default_factory=dict)
    pins: dict[str, Path] = field(default_factory=dict)

    def pin(self, name: str) -> Path:
        """Return a path for a new pin, remembered by its name."""
        self.pins[name] = self.bpffs / name
        return self.pins[name]


Command = Callable[..., Result]


def _programs(state: State, stack: ExitStack) -> None:
    """One of each type that loads with nothing but "return", by bare system calls."""
    seen = set()
    for row in SECTION_ROWS:
        kind = row.type.lower()
        if kind in seen or row.by_btf_id or kind in ("struct_ops", "lirc_mode2") or row.type == "TRACING":
            continue
        attach_type = 0 if row.attach_type == "0" else getattr(c, f"BPF_{row.attach_type}")
        spec = program_spec(f"is_{kind}"[:15], PROG_TYPE_NAMES.index(kind), attach_type=attach_type)
        spec.flags = c.BPF_F_SLEEPABLE if row.name == "syscall" else 0
        stack.enter_context(load_spec(spec))
        seen.add(kind)
    stack.enter_context(load_spec(program_spec("", c.BPF_PROG_TYPE_SOCKET_FILTER)))
    for _ in range(2):
        stack.enter_context(load_spec(program_spec("two_of_it", c.BPF_PROG_TYPE_SCHED_ACT)))


def _objects(state: State, stack: ExitStack, ours: Command) -> None:
    """Whole object files, each way of loading them."""
    bpftool("prog", "loadall", LOOKED_AT, state.pin("theirs"), "pinmaps", state.pin("theirs_maps"))
    ours("prog", "loadall", PACKET_COUNTER, state.pin("ours"), "pinmaps", state.pin("ours_maps"))
    bpftool("prog", "load", HELLO_FUNC, state.pin("loaded_by_peer"), "type", "raw_tracepoint")
    ours("load", HELLO, state.pin("loaded"), "--no-attach")
    ours("prog", "loadall", HELLO, state.pin("auto"), "autoattach")
    maps = state.pins["theirs_maps"]
    for number in range(2):
        for command, place in ((ours, number), (bpftool, number + 2)):
            value = [(place * 37 + at) % 256 for at in range(_value_size(maps / "typed_hash"))]
            key = [place, *[0] * (_key_size(maps / "typed_hash") - 1)]
            command("map", "update", "pinned", maps / "typed_hash", "key", *key, "value", *value)


def _key_size(pin: Path) -> int:
    with Map.from_pin(pin) as item:
        return item.info().key_size


def _value_size(pin: Path) -> int:
    with Map.from_pin(pin) as item:
        return item.info().value_size


def _int_btf() -> int:
    """Load BTF whose type 1 is an int; return its fd."""
    strings = b"\0int\0"
    types = pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    return bpf.btf_load(pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings)


def _maps(state: State, stack: ExitStack, ours: Command) -> None:
    """One of each type, with something in it where user space can put something there."""
    types = _int_btf()
    stack.callback(os.close, types)
    made = {}
    for kind, (key, value, entries, flags) in _MAPS.items():
        if kind in ("arena", "user_ringbuf", "ringbuf") and why_missing(kind):
            continue
        with_types = {"btf_fd": types, "btf_key_type_id": 1, "btf_value_type_id": 1} if kind in _STORAGE else {}
        number = MAP_TYPE_NAMES.index(kind)
        fd = bpf.map_create(number, key, value, entries, flags, name=f"is_{kind}"[:15], **with_types)
        made[kind] = stack.enter_context(Map(fd))
        _fill(kind, made[kind])
    for kind in ("array_of_maps", "hash_of_maps"):
        number = MAP_TYPE_NAMES.index(kind)
        fd = bpf.map_create(number, 4, 4, 3, inner_map_fd=made["array"].fd, name=f"is_{kind}")
        outer = stack.enter_context(Map(fd))
        outer.update(pack("=I", 1), pack("=I", made["array"].fd))
    slot = stack.enter_context(load_spec(program_spec("slot", c.BPF_PROG_TYPE_SOCKET_FILTER)))
    made["prog_array"].update(pack("=I", 2), pack("=I", slot.fd))
    listening = stack.enter_context(listening_socket())
    made["sockmap"].update(pack("=I", 1), pack("=I", listening.fileno()))
    loopback = socket.if_nametoindex("lo")
    made["devmap"].update(pack("=I", 3), pack("=I", loopback))
    stack.enter_context(Map(bpf.map_create(c.BPF_MAP_TYPE_ARRAY, 4, 4, 2, c.BPF_F_WRONLY, name="closed")))
    for command, name in ((bpftool, "made_by_peer"), (ours, "made")):
        for kind in _MADE_BY_COMMANDS:
            key, value, entries, flags = _MAPS[kind]
            shape = ("key", key, "value", value, "entries", entries)
            command("map", "create", state.pin(f"{name}_{kind}"), "type", kind, *shape, "name", "made", "flags", flags)
        command("map", "freeze", "pinned", state.pins[f"{name}_array"])


def _fill(kind: str, item: Map) -> None:
    info = item.info()
    if kind == "lpm_trie":
        for prefix, address in ((8, 10), (24, 11), (32, 12)):
            item.update(pack("=IBBBB", prefix, address, 0, 0, 1), bytes([address] * 4))
    elif kind.endswith("hash") and kind not in ("sockhash", "devmap_hash"):
        for number in range(7):
            item.update(number.to_bytes(info.key_size, "little"), bytes([number] * item.lookup_size))
    elif kind in ("array", "percpu_array"):
        for number in range(info.max_entries):
            item.update(pack("=I", number), bytes(range(number, number + item.lookup_size)))
    elif kind in ("queue", "stack", "bloom_filter"):
        item.update(None, b"abcd")


def _links(state: State, stack: ExitStack) -> None:
    """Links of every kind, by bare system calls; some pinned. The flow dissector is that of the other namespace."""
    place = Place(state.veth.ifindex, state.cgroup)
    for kind, (_, features) in KINDS.items():
        if any(why_missing(feature) for feature in features):
            continue
        with ExitStack() as elsewhere:
            if kind == "flow_dissector":
                elsewhere.enter_context(state.veth.there.entered())
            link = stack.enter_context(link_of(kind, place))
        if not kind.startswith(("perf", "up", "uret")):
            bpf.obj_pin(link.fd, str(state.pin(f"link_{kind}")))


def _iterators(state: State, stack: ExitStack, ours: Command) -> None:
    ours("iter", "pin", DATA / "iterators.bpf.o", state.pin("iterator"))
    bpftool("iter", "pin", DATA / "iterators.bpf.o", state.pin("iterator_by_peer"))


def _devices(state: State, stack: ExitStack, ours: Command) -> None:
    """XDP, tcx and classic filters on three devices, by both commands and by tc(8)."""
    filter_, xdp = state.pin("filter"), state.pin("xdp")
    for spec, path in (
        (program_spec("filter", c.BPF_PROG_TYPE_SCHED_CLS), filter_),
        (program_spec("passing"), xdp),
    ):
        bpf.obj_pin(stack.enter_context(load_spec(spec)).fd, str(path))
    run("ip", "link", "add", state.other, "type", "veth", "peer", "name", f"{state.other}b")
    bpftool("net", "attach", "xdpgeneric", "pinned", xdp, "dev", "lo")
    ours("net", "attach", "xdpdrv", "pinned", xdp, "dev", state.other)
    if not why_missing("tcx"):
        bpftool("net", "attach", "tcx_ingress", "pinned", filter_, "dev", "lo")
        ours("net", "attach", "tcx_egress", "pinned", filter_, "dev", state.other)
        ours("net", "attach", "tcx_ingress", "pinned", filter_, "dev", state.veth.device, "prepend")
    if not why_missing("clsact"):
        run("tc", "qdisc", "add", "dev", state.other, "clsact")
        for direction in ("ingress", "egress"):
            pinned = ("object-pinned", filter_)
            run("tc", "filter", "add", "dev", state.other, direction, "bpf", "da", *pinned)


def _cgroups(state: State, stack: ExitStack, ours: Command) -> None:
    """A program at every hook of a cgroup, attached by the one command or the other; more of them further down."""
    below = state.cgroup / "between" / "below"
    below.mkdir(parents=True)
    for number, row in enumerate(row for row in SECTION_ROWS if row.attach_type.startswith("CGROUP_")):
        attach_type = getattr(c, f"BPF_{row.attach_type}")
        spec = program_spec(f"at_{number}", PROG_TYPE_NAMES.index(row.type.lower()), attach_type=attach_type)
        spec.insns = assemble(mov64_imm(0, 1), exit_())
        program = stack.enter_context(load_spec(spec))
        command, folder = ((ours, state.cgroup), (bpftool, state.cgroup), (bpftool, below))[number % 3]
        command("cgroup", "attach", folder, row.attach_type.lower(), "id", program.info().id, "multi")


def _sockets(state: State, stack: ExitStack, ours: Command) -> None:
    """Programs that see the sockets in a map, attached without a link."""
    for command, name in ((bpftool, "seen_by_peer"), (ours, "seen")):
        sockets = stack.enter_context(Map(bpf.map_create(c.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1, name=name)))
        spec = program_spec(name, c.BPF_PROG_TYPE_SK_MSG, attach_type=c.BPF_SK_MSG_VERDICT)
        program = stack.enter_context(load_spec(spec))
        command("prog", "attach", "id", program.info().id, "sk_msg_verdict", "id", sockets.info().id)


def _struct_ops(state: State, stack: ExitStack) -> None:
    """Maps that are loaded, not registered."""
    if why_missing("linked_struct_ops", since="6.4", config="CONFIG_DEBUG_INFO_BTF"):
        return
    stack.enter_context(load(read(str(REGISTERED)))).struct_ops_map("first")


def _held(state: State, stack: ExitStack) -> dict[str, list[int]]:
    """Hold all that is pinned, and return the ids of all that is held, by kind. Of programs and maps also their BTF."""
    for pin in pins(str(state.bpffs)):
        stack.callback(os.close, bpf.obj_get(pin.path))
    found: dict[str, set[int]] = {"prog": set(), "map": set(), "link": set(), "btf": set()}
    for entry in os.listdir("/proc/self/fdinfo"):
        try:
            text = Path("/proc/self/fdinfo", entry).read_text()
        except OSError:
            continue  # the file that listed this directory
        for kind, ids in found.items():
            ids.update(int(number) for number in re.findall(rf"^{kind}_id:\s*(\d+)$", text, re.MULTILINE))
    return {kind: sorted(ids - {0}) for kind, ids in found.items()}


def event_without_link(stack: ExitStack) -> None:
    """Attach a program to a tracepoint's event as was done before there were links: `perf list` tells it."""
    import fcntl

    from bpfload.kernel import tracefs

    event = perf_event_open(2, tracefs.event_id("sched", "sched_switch"))
    stack.callback(os.close, event)
    program = stack.enter_context(load_spec(program_spec("held", c.BPF_PROG_TYPE_TRACEPOINT)))
    fcntl.ioctl(event, 0x40042408, program.fd)


@contextmanager
def kernel_state(bpffs: Path, cgroup: Path, veth: VethPair, ours: Callable[..., Result]) -> Iterator[State]:
    """Make everything, and take it away again. `ours`: runs our command; the thread is in `veth.here`."""

    def checked(*words: Argument) -> Result:
        result = ours(*words)
        assert result.status == 0, result
        return result

    with ExitStack() as stack:
        state = State(bpffs, cgroup, veth, "other0")
        _programs(state, stack)
        _objects(state, stack, checked)
        _maps(state, stack, checked)
        _links(state, stack)
        _iterators(state, stack, checked)
        _devices(state, stack, checked)
        _cgroups(state, stack, checked)
        _sockets(state, stack, checked)
        _struct_ops(state, stack)
        event_without_link(stack)
        state.ids = _held(state, stack)
        rows = [row for kind in ("prog", "map") for row in checked("-j", kind).json() if row["id"] in state.ids[kind]]
        state.ids["btf"] = sorted({row["btf_id"] for row in rows if "btf_id" in row})
        yield state
