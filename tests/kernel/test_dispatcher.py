"""bpfload.dispatcher: several XDP programs on one device, and libxdp beside it.

What replaces functions (freplace) is refused by a policy of some machines: that part runs in the guests of tests/vm.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import bpfload
from bpfload import dispatcher
from bpfload.abi import consts
from bpfload.dispatcher import protocol, swap, unloading
from bpfload.dispatcher.chain import Chain, chain_on, dispatcher_config
from bpfload.dispatcher.program import dispatcher_spec
from bpfload.dispatcher.protocol import Config, Slot
from bpfload.errors import BpfError, KernelError, NotFoundError, PinError, UsageError
from bpfload.inspect import net
from bpfload.links import attach
from bpfload.objects import Program
from bpfload.spec import ObjectSpec
from bpfload.syscall import bpf, netlink
from bpfload_cli.main import main
from support.killing import every_kill
from support.namespaces import VethPair
from support.paths import DATA, HELLO
from support.process import Result, find_tool, run
from support.programs import load_spec, raw_tracepoint_spec, small_program

pytestmark = [pytest.mark.usefixtures("nothing_left_behind"), pytest.mark.needs_feature("frozen_map")]

CHAINED = DATA / "chained.bpf.o"
EARLY, PLAIN, LATE = "early_program_with_a_long_name", "plain", "late"
PACKET = bytes(64)
Command = Callable[..., Result]


@pytest.fixture
def state(bpffs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of dispatchers, on a bpffs of the test's own, for libxdp too."""
    monkeypatch.setenv("LIBXDP_BPFFS", str(bpffs))
    return bpffs / "xdp"


@pytest.fixture
def device(state: Path, veth: VethPair) -> Iterator[str]:
    """A device, which runs nothing afterwards."""
    yield veth.device
    with suppress(KernelError):
        netlink.xdp_set(veth.ifindex, -1, 0)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """The command, in this process: starting another one takes ten seconds where a processor is emulated."""

    def in_process(*words: str | os.PathLike[str], check: bool = True) -> Result:
        line = tuple(os.fspath(word) for word in words)
        capfd.readouterr()
        status = main(list(line))
        sys.stdout.flush()
        done = Result(line, status, *capfd.readouterr())
        assert status == 0 or not check, done
        return done

    return in_process


def index(device: str) -> int:
    return socket.if_nametoindex(device)


def running(device: str) -> list[int]:
    """Return the ids of the XDP programs that the device runs."""
    return [ident for each in netlink.xdp_attachments(index(device)) for _, ident in each.programs]


def listing(state: Path) -> list[str]:
    return sorted(os.listdir(state)) if state.exists() else []


# The dispatcher alone


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("count", range(protocol.MAX_PROGRAMS + 1))
def test_a_dispatcher_passes_packets_until_its_slots_are_filled(count: int, version: int) -> None:
    config = Config(tuple(Slot(10 * slot, 1 << slot % 5) for slot in range(count)), version)
    with bpfload.load(dispatcher_spec(config)) as live:
        program = live.program()
        assert not live.notes
        assert program.info().btf_id
        assert bpf.prog_test_run(program.fd, PACKET)[0] == 2
        assert dispatcher_config(program) == config
        with pytest.raises(KernelError):  # its configuration is frozen
            live.maps[".rodata"].update(bytes(4), bytes(len(config.pack())))


@pytest.mark.needs_feature("xdp_frags")
def test_a_dispatcher_of_programs_for_large_packets_takes_those(device: str, veth: VethPair) -> None:
    for namespace, name in ((veth.here, device), (veth.there, veth.peer_device)):
        namespace.run("ip", "link", "set", name, "mtu", "9000")
    slots = (Slot(flags=consts.BPF_F_XDP_HAS_FRAGS),)
    with bpfload.load(dispatcher_spec(Config(slots, frags=protocol.all_have_frags(slots)))) as live:
        netlink.xdp_set(index(device), live.program().fd, consts.XDP_FLAGS_DRV_MODE)
    with bpfload.load(dispatcher_spec(Config((*slots, Slot())))) as live, pytest.raises(KernelError):
        netlink.xdp_set(index(device), live.program().fd, consts.XDP_FLAGS_DRV_MODE)


def test_another_program_is_no_dispatcher() -> None:
    with small_program("xdp_dispatcher") as program:
        assert dispatcher_config(program) is None


# Swapping dispatchers. What is pinned for them needn't replace functions for that.


class Stage:
    """Dispatchers on a device, each with `count` programs that replace nothing and a link that isn't theirs."""

    def __init__(self, device: str, state: Path, stack: ExitStack) -> None:
        self.device, self.state, self.stack = device, state, stack
        protocol.make_state_directory()
        self.programs = [stack.enter_context(small_program(f"member{number}")) for number in range(3)]
        spec = raw_tracepoint_spec(target="sys_enter")
        self.link = stack.enter_context(attach(stack.enter_context(load_spec(spec)), spec))

    def dispatcher(self, count: int) -> Program:
        config = Config(tuple(Slot(slot) for slot in range(count)))
        return self.stack.enter_context(bpfload.load(dispatcher_spec(config))).program()

    def put(self, new: Program | None, count: int = 0, *, mode: str = "auto") -> None:
        """What `change` does between taking the lock and letting go of it."""
        with protocol.locked(str(self.state)):
            swap.clean_up(index(self.device))
            old = chain_on(index(self.device))
            if new is None:
                assert old is not None
                swap.swap_out(index(self.device), old)
            else:
                swap.swap_in(index(self.device), mode, new, [self.link] * count, self.programs[:count], old)  # type: ignore[list-item]

    def chain(self) -> Chain:
        found = chain_on(index(self.device))
        assert found is not None
        return found


@pytest.fixture
def stage(device: str, state: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(device, state, stack)


@pytest.mark.parametrize(("mode", "shown"), [("auto", "driver"), ("native", "driver"), ("generic", "generic")])
def test_a_dispatcher_takes_another_ones_place_in_its_mode(stage: Stage, state: Path, mode: str, shown: str) -> None:
    first, second = stage.dispatcher(1), stage.dispatcher(2)
    stage.put(first, 1, mode=mode)
    assert running(stage.device) == [first.info().id]
    stage.put(second, 2)
    chain = stage.chain()
    assert (chain.id, chain.mode) == (second.info().id, shown)
    assert [one.name for one in chain.programs] == ["member0", "member1"]
    assert [one.id for one in chain.programs] == [program.info().id for program in stage.programs[:2]]
    assert listing(state) == [f"dispatch-{chain.ifindex}-{chain.id}"]
    stage.put(None)
    assert running(stage.device) == []
    assert listing(state) == []


@pytest.mark.needs_feature("xdp_link")
def test_a_dispatcher_that_hangs_on_a_link_is_swapped_there(stage: Stage, state: Path) -> None:
    first, second = stage.dispatcher(0), stage.dispatcher(1)
    with first.attach_xdp(stage.device) as link:
        stage.put(second, 1)
        assert link.info().prog_id == second.info().id
        assert [one.name for one in stage.chain().programs] == ["member0"]
        stage.put(None)
        assert running(stage.device) == []


def test_what_somebody_else_changes_meanwhile_is_noticed(stage: Stage, state: Path) -> None:
    first, second, third = stage.dispatcher(1), stage.dispatcher(1), stage.dispatcher(1)
    stage.put(first, 1)
    seen = stage.chain()
    netlink.xdp_set(index(stage.device), second.fd, consts.XDP_FLAGS_DRV_MODE)
    for old in (seen, None):
        with pytest.raises(swap.Changed):
            swap.swap_in(index(stage.device), "auto", third, [stage.link], stage.programs[:1], old)  # type: ignore[list-item]
    with pytest.raises(swap.Changed):
        swap.swap_out(index(stage.device), seen)
    assert running(stage.device) == [second.info().id]
    assert listing(state) == []  # the one that isn't run any more went, too


@pytest.mark.parametrize("step", ["in", "over", "out"])
def test_killed_at_any_system_call_either_chain_is_there_whole(stage: Stage, state: Path, step: str) -> None:
    old, new = stage.dispatcher(1), stage.dispatcher(2)
    old_id, new_id = old.info().id, new.info().id
    before, after = ([] if step == "in" else [old_id]), ([] if step == "out" else [new_id])
    if step != "in":
        stage.put(old, 1)
    seen = set()
    action: Callable[[], None] = (lambda: stage.put(None)) if step == "out" else (lambda: stage.put(new, 2))
    for _ in every_kill(action):
        now = running(stage.device)
        assert now in (before, after)
        seen.add(tuple(now))
        for ident in now:
            chain = stage.chain()
            assert chain.complete, f"dispatcher {ident} has lost programs"
        if now == after:
            # Put the old one back, as whoever comes next would: what the killed one left is in nobody's way.
            with protocol.locked(str(state)):
                swap.clean_up(index(stage.device))
            assert listing(state) == [f"dispatch-{index(stage.device)}-{ident}" for ident in now]
            if step == "in":
                stage.put(None)
            else:
                stage.put(old, 1)
        assert len(listing(state)) <= 4
    # The last one was let be.
    assert running(stage.device) == after
    assert listing(state) == [f"dispatch-{index(stage.device)}-{ident}" for ident in after]
    assert seen == {tuple(before), tuple(after)}


@pytest.mark.parametrize("swapped", [False, True])
def test_an_interrupt_in_the_middle_leaves_the_chain_that_runs(
    stage: Stage, state: Path, swapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = stage.dispatcher(1), stage.dispatcher(2)
    stage.put(first, 1)
    attach_it = netlink.xdp_set

    def interrupted(*arguments: Any, **options: Any) -> None:
        if swapped:
            attach_it(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(netlink, "xdp_set", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.put(second, 2)
    monkeypatch.undo()
    monkeypatch.setenv("LIBXDP_BPFFS", str(state.parent))
    chain = stage.chain()
    assert chain.id == (second if swapped else first).info().id
    assert chain.complete
    assert listing(state) == [os.path.basename(chain.directory)]


def test_what_others_left_is_not_touched(stage: Stage, state: Path) -> None:
    ifindex = index(stage.device)
    own = os.stat("/proc/thread-self/ns/net").st_ino
    kept = [f"bpfload-{ifindex}-7-8-{own + 1}", f"bpfload-{ifindex + 1}-7-8-{own}", "bpfload-x", f"dispatch-{ifindex}-7", "other"]
    for name in [*kept, f"bpfload-{ifindex}-0-9-{own}", f"dispatch-{ifindex}-9"]:
        (state / name).mkdir()
    swap.clean_up(ifindex)
    assert listing(state) == sorted(kept)


# What is shown, and what is refused, on a device with a dispatcher


def test_the_chain_is_shown_with_its_device(stage: Stage, command: Command) -> None:
    stage.put(stage.dispatcher(2), 2)
    (row,) = net.view(index(stage.device)).xdp
    assert row.chain is not None
    tags = [program.info().tag for program in stage.programs]
    assert [(one.name, one.tag, one.priority, one.actions) for one in row.chain] == [
        ("member0", tags[0], 0, ("pass",)),
        ("member1", tags[1], 1, ("pass",)),
    ]
    members = [program.info().id for program in stage.programs]
    shown = command("net", "list", "dev", stage.device).stdout
    assert f"\tid {members[1]}  name member1  tag {tags[1]}  priority 1  goes on after pass\n" in shown
    (as_json,) = command("-j", "net", "list", "dev", stage.device).json()[0]["xdp"]
    assert as_json["chain"][0] == {"id": members[0], "name": "member0", "tag": tags[0], "priority": 0, "actions": ["pass"]}


def test_a_device_without_a_dispatcher_is_shown_as_ever(device: str, command: Command) -> None:
    with small_program() as program, program_on(device, program):
        shown = command("net", "list", "dev", device).stdout
        assert f"{device}({index(device)}) driver id {program.info().id}\n\ntc:" in shown
        assert "chain" not in command("-j", "net", "list", "dev", device).json()[0]["xdp"][0]


def program_on(device: str, program: Program) -> Any:
    spec = program_spec_of(program)
    from bpfload.links import Target

    return attach(program, spec, Target(device=device))


def program_spec_of(program: Program) -> Any:
    from bpfload.spec import ProgramSpec

    info = program.info()
    return ProgramSpec(info.name, "xdp", 0, b"", type=info.type, attach_type=consts.BPF_XDP)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("attach", "xdp", "PROG", "dev", "DEV", "overwrite"), "net attach xdp object FILE dev DEV chain"),
        (("attach", "xdpdrv", "PROG", "dev", "DEV"), "net attach xdpdrv object FILE dev DEV chain"),
        (("detach", "xdp", "dev", "DEV"), "net detach xdp dev DEV chain"),
    ],
)
def test_nothing_breaks_a_chain_by_mistake(stage: Stage, command: Command, words: tuple[str, ...], advice: str) -> None:
    stage.put(stage.dispatcher(1), 1)
    found = stage.chain()
    prog = ["id", str(stage.programs[2].info().id)]
    line = [part for word in words for part in (prog if word == "PROG" else [stage.device if word == "DEV" else word])]
    done = command("net", *line, check=False)
    assert done.status != 0
    assert f"runs several programs by a dispatcher (id {found.id})" in done.stderr
    assert f"member0 (id {found.programs[0].id})" in done.stderr
    assert advice.replace("DEV", stage.device) in done.stderr
    assert stage.chain() == found
    command("net", "detach", "xdpgeneric", "dev", stage.device)  # nothing is there in that mode
    assert stage.chain() == found


@pytest.mark.needs_feature("xdp_link")
def test_a_link_on_a_device_with_a_chain_is_refused_with_advice(stage: Stage) -> None:
    stage.put(stage.dispatcher(1), 1)
    with small_program("alone") as program, pytest.raises(KernelError, match="has an XDP program already") as caught:
        program_on(stage.device, program)
    assert f"net attach xdp object FILE dev {stage.device} chain" in caught.value.hint


def test_a_chain_whose_programs_cant_be_found_can_only_be_taken_away(
    stage: Stage, state: Path, bpffs: Path, command: Command
) -> None:
    stage.put(stage.dispatcher(1), 1)
    found = stage.chain()
    swap.take_apart(found.directory)
    assert "id unknown  priority 0" in command("net", "list", "dev", stage.device).stdout
    with pytest.raises(NotFoundError, match="aren't pinned in") as caught:
        dispatcher.attach(CHAINED, stage.device, program=PLAIN)
    assert "LIBXDP_BPFFS" in caught.value.hint
    command("net", "detach", "xdp", "dev", stage.device, "chain")
    assert running(stage.device) == []


def test_pins_of_a_dispatcher_are_not_unloaded_one_by_one(stage: Stage, command: Command) -> None:
    stage.put(stage.dispatcher(1), 1)
    chain = stage.chain()
    for path in (chain.directory, chain.programs[0].path):
        done = command("unload", path, check=False)
        assert f"{path} belongs to the dispatcher of {stage.device}" in done.stderr
        assert f"net detach xdp id ID dev {stage.device} chain" in done.stderr
    assert stage.chain() == chain
    other = protocol.pin_directory(4_000_000, 1)
    os.mkdir(other)
    with pytest.raises(PinError, match="of a device that isn't in this network namespace"):
        unloading.unload(other)


def test_a_version_that_is_not_known_is_left_alone(stage: Stage) -> None:
    config = bytearray(Config((Slot(),)).pack())
    config[1] = 9
    spec = dispatcher_spec(Config((Slot(),)))
    spec.maps[".rodata"].data = config
    with bpfload.load(spec) as live:
        netlink.xdp_set(index(stage.device), live.program().fd, 0)
        with pytest.raises(UsageError, match="is of version 9; 2 and 3 can be changed"):
            dispatcher.attach(CHAINED, stage.device, program=PLAIN)
        assert running(stage.device) == [live.program().info().id]


def test_a_program_that_runs_alone_is_not_pushed_aside(device: str) -> None:
    with small_program("alone") as program, program_on(device, program):
        with pytest.raises(KernelError, match="runs a program that is no dispatcher") as caught:
            dispatcher.attach(CHAINED, device, program=PLAIN)
        assert caught.value.errno == errno.EBUSY
        assert f"id {program.info().id} (alone)" in caught.value.message


def test_what_cant_join_says_why(device: str, bpffs: Path, command: Command) -> None:
    with pytest.raises(UsageError, match="several XDP programs: early"):
        dispatcher.attach(CHAINED, device)
    with pytest.raises(UsageError, match="has no XDP program"):
        dispatcher.attach(DATA / "looked-at.bpf.o", device)
    with pytest.raises(UsageError, match=r"'syscalls' of .* is no XDP program"):
        dispatcher.attach(DATA / "two-programs.bpf.o", device, program="syscalls")
    with pytest.raises(UsageError, match="no XDP action is called 'dorp'"):
        dispatcher.attach(CHAINED, device, program=PLAIN, actions=["pass", "dorp"])
    with pytest.raises(UsageError, match="no XDP mode 'offload' for a chain"):
        dispatcher.attach(CHAINED, device, program=PLAIN, mode="offload")
    with pytest.raises(UsageError, match="-1 is no priority"):
        dispatcher.attach(CHAINED, device, program=PLAIN, priority=-1)
    with pytest.raises(NotFoundError, match="runs no chain"):
        dispatcher.detach(device)
    with pytest.raises(NotFoundError, match="runs no chain"):
        dispatcher.detach(device, [1])
    with small_program("alone") as program:
        with pytest.raises(UsageError, match="was loaded to run alone"):
            dispatcher.attach_program(program, device)
        done = command("net", "attach", "xdp", "id", str(program.info().id), "dev", device, "chain", check=False)
        assert "was loaded to run alone" in done.stderr
    for words, said in (
        (("--chain",), "--chain is about the programs of a device"),
        (("--actions", "pass", "--dev", device), "--actions is about a chain"),
        (("--chain", "--dev", device, "--pid", "1"), "--pid doesn't go with --chain"),
        (("--chain", "--dev", device, "--program", PLAIN, "--program", LATE), "name one with --program"),
        (("--chain", "--dev", device), "several XDP programs"),
    ):
        done = command(CHAINED, bpffs / "chained", *words, check=False)
        assert (done.status != 0, said in done.stderr) == (True, True), done
    assert running(device) == []
    assert not (bpffs / "chained").exists()


def test_no_bpffs_no_chain(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBXDP_BPFFS", str(tmp_path))
    with pytest.raises(PinError, match="is not on a BPF file system"):
        dispatcher.attach(CHAINED, device, program=PLAIN)


# Chains of programs that replace functions


def verdict_on(device: str) -> int:
    """Give a packet to what the device runs, and return its verdict."""
    with Program.from_id(running(device)[0]) as program:
        return bpf.prog_test_run(program.fd, PACKET)[0]


def join(device: str, program: str = "", source: Path | ObjectSpec = CHAINED, **options: Any) -> bpfload.Object:
    """Attach; skip where a policy of the machine lets no program replace functions."""
    try:
        return dispatcher.attach(source, device, program=program, **options)
    except KernelError as error:
        if error.errno_code == errno.EPERM and "BPFLOAD_NO_POLICY" not in os.environ:
            pytest.skip("feature: freplace: a policy of this machine lets not even root load such programs")
        raise


def names(device: str) -> list[str]:
    return list(ids(device))


def ids(device: str) -> dict[str, int | None]:
    """Return the ids of a chain's programs by name, in their order."""
    found = chain_on(index(device))
    return {one.name: one.id for one in found.programs} if found else {}


@pytest.mark.needs_feature("freplace", since="5.10")
def test_programs_run_by_priority_until_one_ends_it(device: str, veth: VethPair, state: Path) -> None:
    with join(device, LATE) as late, join(device, EARLY) as early, join(device, PLAIN, priority=20) as plain:
        assert names(device) == [EARLY, PLAIN, LATE]
        chain = chain_on(index(device))
        assert chain is not None
        assert [one.priority for one in chain.programs] == [10, 20, 90]
        assert [one.actions for one in chain.programs] == [("drop", "pass"), ("pass",), ()]
        assert listing(state) == [f"dispatch-{chain.ifindex}-{chain.id}"]
        veth.send(5)
        assert (early.value("early_runs"), plain.value("plain_runs"), late.value("late_runs")) == (5, 5, 5)
        assert PLAIN in {one.name for one in dispatcher.detach(device, [chain.programs[1].id or 0]).programs}
        assert names(device) == [EARLY, LATE]
        veth.send(3)
        assert (early.value("early_runs"), plain.value("plain_runs"), late.value("late_runs")) == (8, 5, 8)
    dispatcher.detach(device)
    assert running(device) == []
    assert listing(state) == []


@pytest.mark.needs_feature("freplace", since="5.10")
def test_an_action_that_is_not_the_chains_ends_it(device: str, veth: VethPair) -> None:
    spec = bpfload.read(CHAINED)
    spec.set_value("verdict", 1)  # XDP_DROP, which plain ends the chain with
    with join(device, EARLY, actions=["drop"]) as early, join(device, PLAIN, spec) as plain, join(device, LATE) as late:
        veth.send(2)  # early passes, which isn't among its actions any more
        assert (early.value("early_runs"), plain.value("plain_runs"), late.value("late_runs")) == (2, 0, 0)
        dispatcher.detach(device, [early.program().info().id])
        assert verdict_on(device) == 1
        assert (plain.value("plain_runs"), late.value("late_runs")) == (1, 0)
    dispatcher.detach(device)


@pytest.mark.needs_feature("freplace", since="5.10")
def test_a_chain_takes_ten_programs_and_no_eleventh(device: str) -> None:
    with ExitStack() as stack:
        joined = [stack.enter_context(join(device, PLAIN, priority=number)) for number in range(10)]
        with pytest.raises(UsageError, match="has 10 programs already"):
            dispatcher.attach(CHAINED, device, program=PLAIN)
        assert verdict_on(device) == 2
        assert [each.value("plain_runs") for each in joined] == [1] * 10
    dispatcher.detach(device)


@pytest.mark.needs_feature("freplace", since="5.10")
def test_a_program_of_one_chain_joins_another(device: str, veth: VethPair, state: Path) -> None:
    with join(device, PLAIN) as plain:
        with pytest.raises(UsageError, match="is in the chain of veth0 already"):
            dispatcher.attach_program(plain.program(), device)
        dispatcher.attach_program(plain.program(), "lo", mode="generic", priority=3)
        chain = chain_on(index("lo"))
        assert chain is not None
        assert [(one.id, one.priority) for one in chain.programs] == [(plain.program().info().id, 3)]
        assert len(listing(state)) == 2
        assert sorted(dispatcher.leave([plain.program().info().id])) == [
            ("lo", plain.program().info().id),
            (device, plain.program().info().id),
        ]
    assert running(device) == running("lo") == []
    assert listing(state) == []


@pytest.mark.needs_feature("freplace", since="5.10")
def test_no_packet_is_missed_while_programs_come_and_go(device: str, veth: VethPair) -> None:
    with join(device, EARLY) as early:
        done = threading.Event()
        sent = [0]

        def stream() -> None:
            while not done.is_set():
                veth.send(20)
                sent[0] += 20

        sender = threading.Thread(target=stream)
        sender.start()
        try:
            for _ in range(5):
                with dispatcher.attach(CHAINED, device, program=PLAIN) as plain:
                    dispatcher.detach(device, [plain.program().info().id])
        finally:
            done.set()
            sender.join()
        assert sent[0] > 0
        assert early.value("early_runs") == sent[0]
    dispatcher.detach(device)


@pytest.mark.needs_feature("freplace", since="5.10")
def test_a_chain_is_rolled_back_when_a_program_is_refused(device: str, state: Path) -> None:
    join(device, PLAIN).close()
    found = chain_on(index(device))
    with pytest.raises(BpfError):
        dispatcher.attach(DATA / "rejected.bpf.o", device)

    def refuse(_: bpfload.Object) -> None:
        raise RuntimeError("not this one")

    with pytest.raises(RuntimeError):
        dispatcher.attach(CHAINED, device, program=LATE, ready=refuse)
    assert chain_on(index(device)) == found
    assert len(listing(state)) == 1
    dispatcher.detach(device)


@pytest.mark.needs_feature("freplace", since="5.10")
def test_a_program_in_a_chain_is_pinned_and_unloaded(device: str, bpffs: Path, command: Command) -> None:
    join(device, PLAIN).close()
    pins = dispatcher.deploy(HELLO, bpffs / "hello", device, priority=1)
    assert pins == [str(bpffs / "hello")]
    assert names(device) == ["hello", PLAIN]
    with Program.from_pin(bpffs / "hello") as program:
        ident = program.info().id
    done = unloading.unload(bpffs / "hello")
    assert (done.holders, done.chains) == ((), ((device, ident),))
    assert names(device) == [PLAIN]
    join(device, LATE).close()
    dispatcher.deploy(HELLO, bpffs / "hello", device)
    assert f"took program {ids(device)['hello']} out of the chain of {device}\n" in command("unload", bpffs / "hello").stdout
    assert names(device) == [PLAIN, LATE]
    dispatcher.detach(device)


@pytest.mark.needs_feature("freplace", since="5.10")
def test_the_command(device: str, bpffs: Path, command: Command) -> None:
    join(device, PLAIN).close()
    line = (CHAINED, bpffs / "early", "--dev", device, "--chain", "--program", EARLY, "--priority", "3", "--actions", "tx")
    command(*line, "--pin-maps", bpffs / "maps")
    found = chain_on(index(device))
    assert found is not None
    first = found.programs[0]
    assert (first.name, first.priority, first.actions) == (EARLY, 3, ("tx",))
    assert sorted(os.listdir(bpffs / "maps")) == ["chained_bss", "chained_rodata"]
    with Program.from_pin(bpffs / "early") as program:
        assert program.info().id == found.programs[0].id
    command("unload", bpffs / "early")
    assert names(device) == [PLAIN]
    assert sorted(os.listdir(bpffs)) == ["xdp"]

    chained = ("net", "attach", "xdp", "object", str(CHAINED), "program", LATE, "dev", device, "chain")
    assert command("-j", *chained, "priority", "7", "actions", "none").stdout == "null\n"
    shown = command("net", "list", "dev", device).stdout
    assert shown.index(f"name {LATE}  tag") < shown.index(f"name {PLAIN}  tag")
    assert "priority 7  goes on after nothing\n" in shown
    command("net", "detach", "xdp", "name", PLAIN, "dev", device, "chain")
    assert names(device) == [LATE]
    command("net", "detach", "xdp", "dev", device, "chain")
    assert running(device) == []


# Beside libxdp


@pytest.fixture
def xdp_loader(device: str) -> Command:
    """libxdp's command, on the test's own bpffs."""
    from conftest import lacking

    tool = find_tool("xdp-loader")
    if not tool:
        lacking("no xdp-loader (make peers)")
    return lambda *words, **options: run(tool, *words, **options)


def shown_by_libxdp(status: Result) -> list[tuple[str, str, str, str]]:
    """Return (priority, name, id, actions) of the programs that `xdp-loader status` shows."""
    rows = [line.split() for line in status.stdout.splitlines() if line.lstrip().startswith("=>")]
    return [(row[1], row[2], row[3], row[5] if len(row) > 5 else "") for row in rows]


@pytest.mark.needs_feature("freplace", since="5.10")
def test_libxdp_shows_adds_to_and_takes_apart_our_chain(device: str, state: Path, veth: VethPair, xdp_loader: Command) -> None:
    with join(device, EARLY) as early, join(device, LATE) as late:
        chain = chain_on(index(device))
        assert chain is not None
        first, last = (str(one.id) for one in chain.programs)
        shown = shown_by_libxdp(xdp_loader("status", device))
        assert shown[0] == ("10", EARLY, first, "XDP_DROP,XDP_PASS")
        assert shown[1][:3] == ("90", LATE, last)  # for no actions at all it shows those of the program before
        xdp_loader("load", device, HELLO)
        assert names(device) == [EARLY, "hello", LATE]
        assert len(listing(state)) == 1
        veth.send(4)
        assert (early.value("early_runs"), late.value("late_runs")) == (4, 4)
        xdp_loader("unload", "-i", first, device)
        assert names(device) == ["hello", LATE]
    dispatcher.detach(device)
    assert listing(state) == []


@pytest.mark.needs_feature("freplace", since="5.10")
def test_we_add_to_and_take_apart_libxdps_chain(device: str, state: Path, veth: VethPair, xdp_loader: Command) -> None:
    join(device, PLAIN).close()
    dispatcher.detach(device)
    xdp_loader("load", device, HELLO)
    assert names(device) == ["hello"]
    with dispatcher.attach(CHAINED, device, program=EARLY) as early:
        shown = shown_by_libxdp(xdp_loader("status", device))
        assert [(priority, name) for priority, name, _, _ in shown] == [("10", EARLY), ("50", "hello")]
        xdp_loader("load", device, CHAINED, "-n", LATE)
        assert names(device) == [EARLY, "hello", LATE]
        veth.send(2)
        assert early.value("early_runs") == 2
        chain = chain_on(index(device))
        assert chain is not None
        dispatcher.detach(device, [chain.programs[1].id or 0])
        shown = shown_by_libxdp(xdp_loader("status", device))
        assert [name for _, name, _, _ in shown] == [EARLY, LATE]
        xdp_loader("unload", "--all", device)
    assert running(device) == []
    assert listing(state) == []
