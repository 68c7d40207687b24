"""Network and cgroup hooks: what attached programs do to packets and sockets, in which order, and what is said otherwise."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from struct import pack, unpack

import pytest

from bpfload.abi import consts
from bpfload.abi.helpers import HELPER_NAMES
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.insn.assemble import (
    assemble,
    atomic,
    call,
    exit_,
    jump_imm,
    ld_map_fd,
    ld_map_value,
    mov64_imm,
    mov64_reg,
    store_imm,
)
from bpfload.insn.codec import BPF_ADD, BPF_JNE, BPF_W
from bpfload.links import Order, Target, attach, netfilter, tc, tcx, xdp
from bpfload.links.program import AttachableProgram
from bpfload.objects import Map
from bpfload.spec import ProgramSpec
from bpfload.syscall import bpf
from support.features import why_missing
from support.namespaces import NetworkNamespace, VethPair, run_in_cgroup
from support.process import Result, bpfload, run
from support.programs import load_spec, program_spec

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

XDP_DROP, XDP_PASS = 1, 2
TC_OK, TC_SHOT, TCX_NEXT = 0, 2, -1
PORT = 4321


def helper(name: str) -> bytes:
    return call(HELPER_NAMES.index(name))


class Counter:
    """A map that counts how often programs have run."""

    def __init__(self) -> None:
        self.map = Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 8, 1))

    @property
    def value(self) -> int:
        return int(unpack("=Q", bpf.map_lookup_elem(self.map.fd, bytes(4), 8))[0])

    def program(
        self, type_: int, attach_type: int, returns: int, *, name: str = "counting", section: str = "x"
    ) -> AttachableProgram:
        """Load a program that counts, and returns a value."""
        spec = program_spec(name, type_, section=section, attach_type=attach_type)
        spec.insns = assemble(
            ld_map_value(1, self.map.fd), mov64_imm(2, 1), atomic(BPF_ADD, 1, 2), mov64_imm(0, returns), exit_()
        )
        return loaded(spec)


def loaded(spec: ProgramSpec) -> AttachableProgram:
    with load_spec(spec) as program:
        return AttachableProgram(program.detach_fd(), spec)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


@pytest.fixture
def counter(stack: ExitStack) -> Counter:
    made = Counter()
    stack.enter_context(made.map)
    return made


def arriving(veth: VethPair, count: int = 3) -> int:
    """Send datagrams through the cable; return how many a socket gets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((veth.address, PORT))
        veth.send(count, port=PORT)
        return drained(receiver, count)


def drained(receiver: socket.socket, wanted: int) -> int:
    """Return how many datagrams wait, or come within a moment."""
    receiver.settimeout(0.3)
    got = 0
    with suppress(TimeoutError):
        while got < wanted:
            receiver.recv(1000)
            got += 1
    return got


# XDP


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("link", [True, False])
@pytest.mark.needs_feature("xdp_link")
def test_xdp_drops_packets_until_it_is_updated_or_detached(
    veth: VethPair, stack: ExitStack, counter: Counter, mode: str, link: bool
) -> None:
    drop = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_XDP, consts.BPF_XDP, XDP_DROP))
    passing = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_XDP, consts.BPF_XDP, XDP_PASS))
    assert arriving(veth) == 3
    with drop.attach_xdp(veth.device, mode=mode, link=link) as attachment:
        assert arriving(veth) == 0
        assert counter.value == 3
        attachment.update(passing, old=drop)
        assert arriving(veth) == 3
        assert counter.value == 6
    assert arriving(veth) == 3
    assert counter.value == 6


def test_xdp_by_netlink_leaves_alone_what_somebody_else_has_put_there(veth: VethPair, bpffs: Path, stack: ExitStack) -> None:
    ours, theirs, another = (stack.enter_context(loaded(program_spec(name))) for name in ("ours", "theirs", "another"))
    bpf.obj_pin(theirs.fd, str(bpffs / "theirs"))
    attachment = ours.attach_xdp(veth.device, link=False)
    run("ip", "-force", "link", "set", "dev", veth.device, "xdp", "pinned", bpffs / "theirs")
    assert attachment.info().prog_id == 0
    with pytest.raises(KernelError, match="is not there any more") as caught:
        attachment.update(another)
    assert "another program in its place" in caught.value.hint
    with pytest.raises(KernelError, match="is not there any more"):
        attachment.detach()
    attachment.close()
    found = xdp.find(theirs, theirs.spec, Target(device=veth.device))
    assert found is not None
    assert found.info().prog_id == theirs.info().id
    found.close()
    assert xdp.find(theirs, theirs.spec, Target(device=veth.device)) is None


def test_xdp_by_netlink_on_a_taken_device(veth: VethPair, stack: ExitStack) -> None:
    first, second = (stack.enter_context(loaded(program_spec(name))) for name in ("first", "second"))
    with first.attach_xdp(veth.device, link=False), pytest.raises(KernelError, match="has an XDP program already") as caught:
        second.attach_xdp(veth.device, link=False)
    assert f"id {first.info().id} (first)" in caught.value.message
    with first.attach_xdp(veth.device, link=False) as attachment:
        with pytest.raises(KernelError, match="EPERM") as wrong:
            attachment.update(second, old=second)
        assert f"program id {first.info().id} now" in wrong.value.hint
        with pytest.raises(NotSupportedError) as refused:
            attachment.pin("/sys/fs/bpf/x")
        assert "keep()" in refused.value.hint


def test_xdp_offload_needs_a_card(veth: VethPair, stack: ExitStack) -> None:
    program = stack.enter_context(loaded(program_spec()))
    with pytest.raises(KernelError) as caught:
        program.attach_xdp(veth.device, mode="offload")
    assert "loaded for that very device" in caught.value.hint


# tc


def tc_filters(device: str, end: str) -> list[tuple[int, str, str, int]]:
    """(priority, handle, name, program id) as tc(8) tells them."""
    shown = run("tc", "-j", "filter", "show", "dev", device, end).json()
    return [
        (each["pref"], each["options"]["handle"], each["options"]["bpf_name"], each["options"]["prog"]["id"])
        for each in shown
        if each.get("options", {}).get("prog")
    ]


def qdiscs(device: str) -> set[str]:
    return {each["kind"] for each in run("tc", "-j", "qdisc", "show", "dev", device).json()}


@pytest.mark.needs_feature("clsact")
def test_tc_drops_packets_in_the_order_of_priorities(veth: VethPair, stack: ExitStack, counter: Counter) -> None:
    drop = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_SCHED_CLS, 0, TC_SHOT, section="tc"))
    passing = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_SCHED_CLS, 0, TC_OK, section="tc"))
    with drop.attach_tc(veth.device, priority=20) as dropping:
        assert arriving(veth) == 0
        assert counter.value == 3
        with passing.attach_tc(veth.device, priority=10):  # accepts the packet before the other sees it
            assert arriving(veth) == 3
            assert counter.value == 6
        assert arriving(veth) == 0
        dropping.update(passing)
        assert arriving(veth) == 3
    with drop.attach_tc(veth.device, "egress"):
        assert arriving(veth) == 3
    assert "clsact" not in qdiscs(veth.device)


@pytest.mark.needs_feature("clsact")
def test_tc_as_tc_shows_it(veth: VethPair, stack: ExitStack, bpftool: Callable[..., Result]) -> None:
    spec = program_spec("shown", consts.BPF_PROG_TYPE_SCHED_CLS, section="tc")
    program, other = stack.enter_context(loaded(spec)), stack.enter_context(loaded(spec))
    ident = program.info().id
    with program.attach_tc(veth.device, priority=7, handle=3) as chosen, program.attach_tc(veth.device) as by_kernel:
        shown = tc_filters(veth.device, "ingress")
        assert (7, "0x3", f"shown:[{ident}]", ident) in shown
        assert isinstance(by_kernel, tc.TcFilter)
        assert (by_kernel.priority, f"{by_kernel.handle:#x}") in [row[:2] for row in shown]
        assert {row["id"] for row in bpftool("-j", "net", "show", "dev", veth.device).json()[0]["tc"]} == {ident}
        with pytest.raises(KernelError) as taken:
            other.attach_tc(veth.device, priority=7, handle=3)
        assert "priority and handle already" in taken.value.hint
        chosen.update(other)
        assert (7, "0x3", f"shown:[{other.info().id}]", other.info().id) in tc_filters(veth.device, "ingress")
        run("tc", "filter", "del", "dev", veth.device, "ingress", "pref", 7)
        assert chosen.info().prog_id == 0
        with pytest.raises(KernelError, match="the tc filter is not there any more"):
            chosen.detach()


@pytest.mark.needs_feature("clsact")
def test_the_qdisc_goes_only_if_it_was_made_for_the_filter_and_is_empty(veth: VethPair, stack: ExitStack) -> None:
    program = stack.enter_context(loaded(program_spec("tc", consts.BPF_PROG_TYPE_SCHED_CLS, section="tc")))
    first = program.attach_tc(veth.device, "egress")
    second = program.attach_tc(veth.device, "ingress")
    first.detach()
    assert tc_filters(veth.device, "egress") == []
    assert len(tc_filters(veth.device, "ingress")) == 1
    second.close()  # it didn't make the qdisc
    assert "clsact" in qdiscs(veth.device)
    with program.attach_tc(veth.device):
        pass
    assert "clsact" in qdiscs(veth.device)


@pytest.mark.needs_feature("clsact")
def test_a_tc_target_that_makes_no_sense(veth: VethPair, stack: ExitStack) -> None:
    program = stack.enter_context(loaded(program_spec("tc", consts.BPF_PROG_TYPE_SCHED_CLS, section="tc")))
    with pytest.raises(UsageError, match="no end 'sideways' of a device"):
        program.attach_tc(veth.device, "sideways")
    with pytest.raises(UsageError, match="no priority 65536"):
        program.attach_tc(veth.device, priority=65536)
    with pytest.raises(UsageError, match="no handle"):
        program.attach_tc(veth.device, handle=1 << 32)
    with pytest.raises(NotFoundError, match="no network device"):
        program.attach_tc("nope")
    wrong = stack.enter_context(loaded(program_spec("xdp")))
    with pytest.raises(KernelError) as caught:
        attach_as(wrong, "tc", Target(device=veth.device))
    assert caught.value.errno
    assert "clsact" not in qdiscs(veth.device)


def attach_as(program: AttachableProgram, hook: str, target: Target) -> None:
    from bpfload.links import attach_to

    attach_to(hook, program, program.spec, target).close()


# tcx


def tcx_ids(device: str) -> list[int]:
    return bpf.prog_query(socket.if_nametoindex(device), consts.BPF_TCX_INGRESS)[0]


def tcx_program(counter: Counter, returns: int, name: str) -> AttachableProgram:
    return counter.program(consts.BPF_PROG_TYPE_SCHED_CLS, consts.BPF_TCX_INGRESS, returns, name=name, section="tcx/ingress")


@pytest.mark.needs_feature("tcx")
@pytest.mark.parametrize("link", [True, False])
def test_tcx_in_every_place(veth: VethPair, stack: ExitStack, counter: Counter, link: bool) -> None:
    programs = {name: stack.enter_context(tcx_program(counter, TCX_NEXT, name)) for name in "abcdef"}
    ids = {program.info().id: name for name, program in programs.items()}

    def put(name: str, **order: str) -> int:
        """Attach; return the id that others may stand next to."""
        program = programs[name]
        target = Target(device=veth.device, order=Order(**order), link=link)  # type: ignore[arg-type]
        attachment = stack.enter_context(attach(program, program.spec, target))
        return attachment.info().id or program.info().id

    kind = "link" if link else "program"
    a = put("a")
    b = put("b", after="last")
    put("c", before="first")
    put("d", before=f"{kind}:{b}")
    put("e", after=f"program:{programs['a'].info().id}")
    put("f", after=f"{kind}:{a}")
    assert "".join(ids[ident] for ident in tcx_ids(veth.device)) == "cafedb"


@pytest.mark.needs_feature("tcx")
def test_the_order_of_tcx_decides_who_sees_a_packet(veth: VethPair, stack: ExitStack) -> None:
    drops, passes = Counter(), Counter()
    stack.enter_context(drops.map)
    stack.enter_context(passes.map)
    drop = stack.enter_context(tcx_program(drops, TC_SHOT, "drop"))
    passing = stack.enter_context(tcx_program(passes, TCX_NEXT, "pass"))
    with passing.attach_tcx(veth.device):
        with drop.attach_tcx(veth.device, order=Order(before="first")):
            assert arriving(veth) == 0
            assert (drops.value, passes.value) == (3, 0)
        with drop.attach_tcx(veth.device, order=Order(after="last")):
            assert arriving(veth) == 0
            assert (drops.value, passes.value) == (6, 3)
    assert arriving(veth) == 3


@pytest.mark.needs_feature("tcx")
def test_tcx_takes_the_place_of_a_program_and_keeps_to_a_revision(veth: VethPair, stack: ExitStack, counter: Counter) -> None:
    first, second, third = (stack.enter_context(tcx_program(counter, TCX_NEXT, name)) for name in ("one", "two", "three"))

    def put(program: AttachableProgram, order: Order, *, link: bool = False) -> None:
        stack.enter_context(attach(program, program.spec, Target(device=veth.device, order=order, link=link)))

    put(first, Order())
    put(second, Order())
    put(third, Order(replace=first.fd))
    assert tcx_ids(veth.device) == [third.info().id, second.info().id]
    with pytest.raises(KernelError) as stale:
        put(first, Order(revision=1))
    assert "have changed since revision 1" in stale.value.hint
    with pytest.raises(UsageError, match="can't take the place"):
        put(first, Order(replace=second.fd), link=True)
    found = tcx.find(second, second.spec, Target(device=veth.device))
    assert found is not None
    found.close()
    assert tcx_ids(veth.device) == [third.info().id]


@pytest.mark.needs_feature("tcx")
def test_a_place_that_is_none(veth: VethPair, stack: ExitStack, counter: Counter) -> None:
    program, stranger = (stack.enter_context(tcx_program(counter, TCX_NEXT, name)) for name in ("one", "two"))
    for order, said in (
        (Order(before="last"), "no place before 'last'"),
        (Order(after="17"), "no place after '17'"),
        (Order(before="map:3"), "no place before 'map:3'"),
        (Order(before="first", after="last"), "either before or after"),
    ):
        with pytest.raises(UsageError, match=said):
            program.attach_tcx(veth.device, order=order)
    with pytest.raises(KernelError) as caught:
        program.attach_tcx(veth.device, order=Order(before=f"program:{stranger.info().id}"))
    assert f"There is no program id {stranger.info().id} at this hook" in caught.value.hint
    spec = program_spec("endless", consts.BPF_PROG_TYPE_SCHED_CLS, section="tc")
    endless = stack.enter_context(loaded(spec))
    with pytest.raises(UsageError, match="which end of the device"):
        endless.attach_tcx(veth.device)
    with endless.attach_tcx(veth.device, "egress") as link:
        assert link.info().number("attach_type") == consts.BPF_TCX_EGRESS
    with pytest.raises(UsageError, match="no end 'in' of a device"):
        endless.attach_tcx(veth.device, "in")


@pytest.mark.needs_feature("netkit")
def test_netkit_drops_what_either_end_sends(netns: VethPair, stack: ExitStack, counter: Counter) -> None:
    """The far end is in the other namespace; its program is attached from here, by the near one's device."""
    run("ip", "link", "add", "kit0", "type", "netkit")
    run("ip", "link", "set", "nk0", "netns", netns.there.pid)
    for namespace, device, address in ((netns.here, "kit0", "10.9.9.1"), (netns.there, "nk0", "10.9.9.2")):
        namespace.run("ip", "addr", "add", f"{address}/24", "dev", device)
        namespace.run("ip", "link", "set", device, "up")

    def arrives(sender: NetworkNamespace, receiver: NetworkNamespace, address: str) -> bool:
        with receiver.entered():
            receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender.entered():
            sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with receiving, sending:
            receiving.bind((address, PORT))
            with suppress(OSError):
                sending.sendto(b"x", (address, PORT))
            return drained(receiving, 1) == 1

    def out() -> bool:
        return arrives(netns.here, netns.there, "10.9.9.2")

    def back() -> bool:
        return arrives(netns.there, netns.here, "10.9.9.1")

    assert out()
    assert back()
    type_ = consts.BPF_PROG_TYPE_SCHED_CLS
    primary = stack.enter_context(counter.program(type_, consts.BPF_NETKIT_PRIMARY, TC_SHOT, section="netkit/primary"))
    peer = stack.enter_context(counter.program(type_, consts.BPF_NETKIT_PEER, TC_SHOT, section="netkit/peer"))
    with primary.attach_netkit("kit0"):
        assert not out()
        assert back()
    with peer.attach_netkit("kit0", order=Order(before="first")):
        assert out()
        assert not back()
    assert out()
    with pytest.raises(KernelError):
        primary.attach_netkit(netns.device)


# Control groups

CONNECT = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
    one.settimeout(2)
    try:
        one.connect(("127.0.0.1", int(sys.argv[1])))
    except OSError as error:
        print(type(error).__name__)
    else:
        print("connected")
"""

SEND = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    try:
        one.sendto(b"x", ("127.0.0.1", int(sys.argv[1])))
    except OSError as error:
        print(type(error).__name__)
    else:
        print("sent")
"""


def in_cgroup(cgroup: Path, code: str, port: int) -> str:
    return run_in_cgroup(cgroup, [sys.executable, "-c", code, str(port)]).stdout.strip()


@contextmanager
def listening() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        yield server.getsockname()[1]


@pytest.mark.needs_feature("cgroup_link")
def test_a_process_of_the_cgroup_may_not_connect(netns: VethPair, cgroup: Path, stack: ExitStack, counter: Counter) -> None:
    deny = stack.enter_context(
        counter.program(consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, consts.BPF_CGROUP_INET4_CONNECT, 0, section="cgroup/connect4")
    )
    port = stack.enter_context(listening())
    with deny.attach_cgroup(cgroup):
        assert in_cgroup(cgroup, CONNECT, port) == "PermissionError"
        assert counter.value == 1
        assert run(sys.executable, "-c", CONNECT, port).stdout.strip() == "connected"
    assert in_cgroup(cgroup, CONNECT, port) == "connected"


@pytest.mark.needs_feature("cgroup_bpf")
@pytest.mark.parametrize("options", [{"link": True}, {"link": False}, {"multi": True}, {"override": True}])
def test_what_a_process_of_the_cgroup_sends_is_dropped(
    netns: VethPair, cgroup: Path, stack: ExitStack, counter: Counter, options: dict[str, bool]
) -> None:
    type_, attach_type = consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_CGROUP_INET_EGRESS
    drop = stack.enter_context(counter.program(type_, attach_type, 0, section="cgroup_skb/egress"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        with drop.attach_cgroup(cgroup, **options):
            assert in_cgroup(cgroup, SEND, port) == "PermissionError"
            assert counter.value == 1
        assert in_cgroup(cgroup, SEND, port) == "sent"
        assert drained(receiver, 1) == 1


@pytest.mark.needs_feature("cgroup_link")
def test_sock_ops_see_connections(netns: VethPair, cgroup: Path, stack: ExitStack, counter: Counter) -> None:
    program = stack.enter_context(
        counter.program(consts.BPF_PROG_TYPE_SOCK_OPS, consts.BPF_CGROUP_SOCK_OPS, 1, section="sockops")
    )
    port = stack.enter_context(listening())
    with program.attach_cgroup(cgroup):
        assert in_cgroup(cgroup, CONNECT, port) == "connected"
    assert counter.value > 0


def egress(counter: Counter, stack: ExitStack, name: str) -> AttachableProgram:
    type_, attach_type = consts.BPF_PROG_TYPE_CGROUP_SKB, consts.BPF_CGROUP_INET_EGRESS
    return stack.enter_context(counter.program(type_, attach_type, 1, name=name, section="cgroup_skb/egress"))


def cgroup_ids(cgroup: Path, *, effective: bool = False) -> list[int]:
    directory = os.open(cgroup, os.O_RDONLY)
    try:
        flags = consts.BPF_F_QUERY_EFFECTIVE if effective else 0
        return bpf.prog_query(directory, consts.BPF_CGROUP_INET_EGRESS, flags)[0]
    finally:
        os.close(directory)


@pytest.mark.needs_feature("cgroup_bpf")
def test_sharing_a_cgroup_without_link(cgroup: Path, stack: ExitStack, counter: Counter, bpftool: Callable[..., Result]) -> None:
    # Older kernels don't know what today's bpftool asks them.
    command = bpfload if why_missing("cgroup_query_flags", since="6.0") else bpftool

    def shown() -> list[dict[str, object]]:
        rows: list[dict[str, object]] = command("-j", "cgroup", "show", cgroup).json()
        return rows

    first, second, third = (egress(counter, stack, name) for name in ("one", "two", "three"))
    below = cgroup / "below"
    below.mkdir()
    with first.attach_cgroup(cgroup, link=False):
        assert [(row["id"], row["attach_flags"]) for row in shown()] == [(first.info().id, "")]
        with pytest.raises(KernelError) as caught:
            second.attach_cgroup(below, multi=True)
        assert "allows no other" in caught.value.hint
    with first.attach_cgroup(cgroup, override=True), second.attach_cgroup(below, override=True):
        assert shown()[0]["attach_flags"] == "override"
        assert cgroup_ids(below, effective=True) == [second.info().id]
    with first.attach_cgroup(cgroup, multi=True) as one, second.attach_cgroup(cgroup, multi=True):
        assert [row["attach_flags"] for row in shown()] == ["multi", "multi"]
        one.update(third)
        assert cgroup_ids(cgroup) == [third.info().id, second.info().id]  # in the same place
    assert cgroup_ids(cgroup) == []


@pytest.mark.needs_feature("cgroup_order")
@pytest.mark.parametrize("link", [True, False])
def test_a_cgroup_in_every_place(cgroup: Path, stack: ExitStack, counter: Counter, link: bool) -> None:
    programs = {name: egress(counter, stack, name) for name in "abcdef"}
    ids = {program.info().id: name for name, program in programs.items()}

    def put(name: str, **order: str) -> int:
        program = programs[name]
        attachment = stack.enter_context(
            program.attach_cgroup(cgroup, link=link, multi=not link, order=Order(**order))  # type: ignore[arg-type]
        )
        return attachment.info().id or program.info().id

    kind = "link" if link else "program"
    a = put("a")
    b = put("b", after="last")
    put("c", before="first")
    put("d", before=f"{kind}:{b}")
    put("e", after=f"program:{programs['a'].info().id}")
    put("f", after=f"{kind}:{a}")
    assert "".join(ids[ident] for ident in cgroup_ids(cgroup)) == "cafedb"
    with ExitStack() as again:  # by another link a program may run twice
        if link:
            again.enter_context(programs["a"].attach_cgroup(cgroup))
            assert len(cgroup_ids(cgroup)) == 7
        else:
            with pytest.raises(KernelError) as twice:
                programs["a"].attach_cgroup(cgroup, multi=True)
            assert "is there already" in twice.value.hint
    with pytest.raises((KernelError, UsageError)) as caught:
        egress(counter, stack, "g").attach_cgroup(cgroup, link=link, multi=not link, order=Order(before=f"program:{1 << 30}"))
    assert str(1 << 30) in str(caught.value)


@pytest.mark.needs_feature("cgroup_order")
def test_preorder_runs_before_the_cgroups_below(cgroup: Path, stack: ExitStack, counter: Counter) -> None:
    above, early, inner = (egress(counter, stack, name) for name in ("above", "early", "inner"))
    below = cgroup / "below"
    below.mkdir()
    stack.enter_context(inner.attach_cgroup(below))
    stack.enter_context(above.attach_cgroup(cgroup))
    stack.enter_context(early.attach_cgroup(cgroup, order=Order(preorder=True)))
    assert cgroup_ids(below, effective=True) == [early.info().id, inner.info().id, above.info().id]


@pytest.mark.needs_feature("cgroup_link")
def test_the_hook_of_a_program_that_was_opened_by_its_id(cgroup: Path, stack: ExitStack, counter: Counter) -> None:
    """The kernel doesn't tell what it was loaded for: the hooks of its type are tried."""
    spec = program_spec("nameless", consts.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach_type=consts.BPF_CGROUP_INET4_GETPEERNAME)
    spec.insns = assemble(mov64_imm(0, 1), exit_())
    original = stack.enter_context(loaded(spec))
    with AttachableProgram.from_id(original.info().id) as opened, opened.attach_cgroup(cgroup) as link:
        assert link.info().number("attach_type") == consts.BPF_CGROUP_INET4_GETPEERNAME
    packets = egress(counter, stack, "packets")
    with AttachableProgram.from_id(packets.info().id) as opened:
        with pytest.raises(UsageError, match="nothing says which hook"):
            opened.attach_cgroup(cgroup)
        with opened.attach_cgroup(cgroup, attach_type=consts.BPF_CGROUP_INET_EGRESS) as link:
            assert link.info().number("attach_type") == consts.BPF_CGROUP_INET_EGRESS


@pytest.mark.needs_feature("cgroup_bpf")
def test_a_cgroup_target_that_makes_no_sense(cgroup: Path, stack: ExitStack, counter: Counter) -> None:
    program = egress(counter, stack, "one")
    with pytest.raises(UsageError, match="contradict"):
        program.attach_cgroup(cgroup, multi=True, override=True)
    spec = program_spec("both", consts.BPF_PROG_TYPE_CGROUP_SKB, section="cgroup/skb")
    with pytest.raises(UsageError, match="ingress or egress"):
        stack.enter_context(loaded(spec)).attach_cgroup(cgroup)


@pytest.mark.needs_feature("cgroup_bpf")
def test_a_cgroup_that_is_removed_takes_the_attachment_along(cgroup: Path, stack: ExitStack, counter: Counter) -> None:
    program = egress(counter, stack, "one")
    below = cgroup / "below"
    below.mkdir()
    attachment = program.attach_cgroup(below, multi=True)
    below.rmdir()
    attachment.close()
    assert attachment.closed  # type: ignore[attr-defined]


# Network namespaces


@pytest.mark.needs_feature("sk_lookup")
def test_sk_lookup_sends_a_connection_to_another_socket(netns: VethPair, stack: ExitStack) -> None:
    sockets = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 8, 1)))
    spec = program_spec("redirect", consts.BPF_PROG_TYPE_SK_LOOKUP, section="sk_lookup", attach_type=consts.BPF_SK_LOOKUP)
    spec.insns = assemble(
        mov64_reg(6, 1),
        store_imm(BPF_W, 10, 0, -4),
        ld_map_fd(1, sockets.fd),
        mov64_reg(2, 10),
        _add(2, -4),
        helper("map_lookup_elem"),
        jump_imm(BPF_JNE, 0, 0, 2),
        mov64_imm(0, 1),
        exit_(),
        mov64_reg(7, 0),
        mov64_reg(1, 6),
        mov64_reg(2, 7),
        mov64_imm(3, 0),
        helper("sk_assign"),
        mov64_reg(1, 7),
        helper("sk_release"),
        mov64_imm(0, 1),
        exit_(),
    )
    program = stack.enter_context(loaded(spec))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        bpf.map_update_elem(sockets.fd, bytes(4), pack("=Q", server.fileno()))
        with program.attach_netns(), socket.create_connection(("127.0.0.1", 7777), timeout=3):
            accepted, _ = server.accept()
            assert accepted.getsockname()[1] == 7777
            accepted.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 7777), timeout=3)


def _add(register: int, number: int) -> bytes:
    from bpfload.insn.assemble import alu64_imm

    return alu64_imm(BPF_ADD, register, number)


@pytest.mark.needs_feature("sk_lookup")
def test_what_a_network_namespace_only_has_by_link(netns: VethPair, stack: ExitStack) -> None:
    lookup = program_spec("lookup", consts.BPF_PROG_TYPE_SK_LOOKUP, attach_type=consts.BPF_SK_LOOKUP)
    program = stack.enter_context(loaded(lookup))
    with pytest.raises(NotSupportedError):
        attach(program, lookup, Target(link=False))
    dissector = program_spec("dissect", consts.BPF_PROG_TYPE_FLOW_DISSECTOR, attach_type=consts.BPF_FLOW_DISSECTOR)
    program, other = stack.enter_context(loaded(dissector)), stack.enter_context(loaded(dissector))
    with pytest.raises(UsageError, match="only be attached to the own network namespace"):
        attach(program, dissector, Target(netns=str(netns.there.path), link=False))
    with attach(program, dissector, Target(link=False)):
        for link in (True, False):
            with pytest.raises(KernelError) as taken:
                attach(other, dissector, Target(link=link))
            assert "as many of them as it can have" in taken.value.hint


# netfilter


@pytest.mark.needs_feature("netfilter_link")
def test_netfilter_drops_packets(veth: VethPair, stack: ExitStack, counter: Counter) -> None:
    drop = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_NETFILTER, consts.BPF_NETFILTER, 0, section="netfilter"))
    with drop.attach_netfilter("ip", "input", priority=-5):
        assert arriving(veth) == 0
        assert counter.value == 3
    with drop.attach_netfilter("ip", "forward"), drop.attach_netfilter("ip6", "input"):
        assert arriving(veth) == 3
    assert counter.value == 3


@pytest.mark.needs_feature("netfilter_link", "netfilter_defragmentation")
def test_netfilter_puts_fragments_together(veth: VethPair, stack: ExitStack, counter: Counter) -> None:
    """A datagram of 4000 bytes is three packets on the cable, and one for the program."""
    passing = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_NETFILTER, consts.BPF_NETFILTER, 1, section="netfilter"))
    for defragment, seen in ((False, 3), (True, 1)):
        before = counter.value
        with passing.attach_netfilter("ip", "prerouting", defragment=defragment) as link:
            assert link.info().number("flags") == defragment
            veth.send(1, size=4000, port=PORT)
            time.sleep(0.1)
        assert counter.value - before == seen


@pytest.mark.needs_feature("netfilter_link")
def test_a_netfilter_target_that_makes_no_sense(veth: VethPair, stack: ExitStack) -> None:
    spec = program_spec("filter", consts.BPF_PROG_TYPE_NETFILTER, section="netfilter", attach_type=consts.BPF_NETFILTER)
    program = stack.enter_context(loaded(spec))
    with pytest.raises(UsageError, match="no netfilter family 'arp'") as family:
        program.attach_netfilter("arp", "input")
    assert "ip6" in family.value.hint
    with pytest.raises(UsageError, match="no netfilter hook to attach to"):
        program.attach_netfilter("ip", "")
    with pytest.raises(UsageError, match="no priority"):
        program.attach_netfilter("ip", "input", priority=-(1 << 31))
    with pytest.raises(UsageError, match="before packets are put together"):
        program.attach_netfilter("ip", "input", priority=-400, defragment=True)
    assert netfilter.PRIORITIES["filter"] == 0
    with program.attach_netfilter("ip", "input", priority=9), pytest.raises(KernelError) as taken:
        program.attach_netfilter("ip", "input", priority=9)
    assert "with priority 9 at this hook already" in taken.value.hint


# Sockets


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        client = socket.create_connection(server.getsockname(), timeout=3)
        accepted, _ = server.accept()
    accepted.settimeout(0.5)
    return client, accepted


@pytest.mark.needs_feature("sockmap_verdict_alone")
@pytest.mark.parametrize("link", [True, False])
def test_a_verdict_over_the_streams_of_a_sockmap(netns: VethPair, stack: ExitStack, link: bool) -> None:
    sockets = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 8, 2)))
    counter = Counter()
    stack.enter_context(counter.map)
    type_, attach_type = consts.BPF_PROG_TYPE_SK_SKB, consts.BPF_SK_SKB_STREAM_VERDICT
    drop = stack.enter_context(counter.program(type_, attach_type, 0, section="sk_skb/stream_verdict"))
    passing = stack.enter_context(counter.program(type_, attach_type, 1, section="sk_skb/stream_verdict"))
    client, accepted = connected()
    with client, accepted, drop.attach_sockmap(sockets, link=link) as attachment:
        bpf.map_update_elem(sockets.fd, bytes(4), pack("=Q", accepted.fileno()))
        client.send(b"lost")
        with pytest.raises(TimeoutError):
            accepted.recv(10)
        assert counter.value == 1
        attachment.update(passing)
        bpf.map_delete_elem(sockets.fd, bytes(4))  # a socket has the programs that the map had when it was put there
        bpf.map_update_elem(sockets.fd, bytes(4), pack("=Q", accepted.fileno()))
        client.send(b"seen")
        assert accepted.recv(10) == b"seen"
        bpf.map_delete_elem(sockets.fd, bytes(4))


@pytest.mark.needs_feature("sockmap")
@pytest.mark.parametrize("link", [True, False])
def test_a_verdict_over_the_messages_of_a_sockmap(netns: VethPair, stack: ExitStack, counter: Counter, link: bool) -> None:
    sockets = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 8, 2)))
    drop = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_SK_MSG, consts.BPF_SK_MSG_VERDICT, 0, section="sk_msg"))
    client, accepted = connected()
    with client, accepted, drop.attach_sockmap(sockets, link=link):
        bpf.map_update_elem(sockets.fd, bytes(4), pack("=Q", client.fileno()))
        with pytest.raises(PermissionError):
            client.send(b"lost")
        assert counter.value == 1
        bpf.map_delete_elem(sockets.fd, bytes(4))
        client.send(b"seen")
        assert accepted.recv(10) == b"seen"


@pytest.mark.needs_feature("sockmap")
def test_a_sockmap_that_is_taken_or_none(stack: ExitStack) -> None:
    spec = program_spec("message", consts.BPF_PROG_TYPE_SK_MSG, section="sk_msg", attach_type=consts.BPF_SK_MSG_VERDICT)
    first, second = stack.enter_context(loaded(spec)), stack.enter_context(loaded(spec))
    sockets = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_SOCKMAP, 4, 4, 1)))
    array = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)))
    with pytest.raises(KernelError) as wrong:
        first.attach_sockmap(array)
    assert "no sockmap or sockhash" in wrong.value.hint
    unknown = program_spec("stream", consts.BPF_PROG_TYPE_SK_SKB, section="sk_skb")
    with pytest.raises(UsageError, match="what it is to do"):
        stack.enter_context(loaded(unknown)).attach_sockmap(sockets)
    if why_missing("sockmap_query"):  # the kernel puts one in the place of the other and says nothing
        return
    with first.attach_sockmap(sockets, link=False), pytest.raises(KernelError) as taken:
        second.attach_sockmap(sockets, link=False)
    assert "such a program already" in taken.value.hint


def test_a_socket_filter_drops_what_a_socket_receives(netns: VethPair, stack: ExitStack, counter: Counter) -> None:
    drop = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_SOCKET_FILTER, 0, 0, section="socket"))
    passing = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_SOCKET_FILTER, 0, -1, section="socket"))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))

        def arrives() -> bool:
            sender.sendto(b"x", receiver.getsockname())
            return drained(receiver, 1) == 1

        with drop.attach_socket(receiver.fileno()) as attachment:
            assert not arrives()
            assert counter.value == 1
            attachment.update(passing)
            assert arrives()
            assert counter.value == 2
        assert arrives()
        assert counter.value == 2
        kept = drop.attach_socket(receiver.fileno())
        kept.keep()
        kept.close()
        assert not arrives()


def test_what_is_no_socket_or_not_the_same(netns: VethPair, stack: ExitStack, counter: Counter) -> None:
    program = stack.enter_context(counter.program(consts.BPF_PROG_TYPE_SOCKET_FILTER, 0, 0, section="socket"))
    with pytest.raises(UsageError, match="no socket to attach to"):
        program.attach()
    with pytest.raises(KernelError) as caught:
        program.attach_socket(counter.map.fd)
    assert "is no socket" in caught.value.hint
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        attachment = program.attach_socket(one.fileno())
    assert attachment.info().prog_id == 0
    with pytest.raises(KernelError, match="not there any more"):
        attachment.detach()
    attachment.close()


@pytest.mark.needs_feature("sk_reuseport")
def test_sk_reuseport_chooses_the_socket(netns: VethPair, stack: ExitStack) -> None:
    sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
    port = 0
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.bind(("127.0.0.1", port))
        port = each.getsockname()[1]
    chosen = stack.enter_context(Map(bpf.map_create(consts.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 8, 1)))
    bpf.map_update_elem(chosen.fd, bytes(4), pack("=Q", sockets[1].fileno()))
    spec = program_spec("choose", consts.BPF_PROG_TYPE_SK_REUSEPORT, section="sk_reuseport", attach_type=0)
    spec.insns = assemble(
        store_imm(BPF_W, 10, 0, -4),
        ld_map_fd(2, chosen.fd),
        mov64_reg(3, 10),
        _add(3, -4),
        mov64_imm(4, 0),
        helper("sk_select_reuseport"),
        mov64_imm(0, 1),
        exit_(),
    )
    program = stack.enter_context(loaded(spec))
    lonely = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with pytest.raises(KernelError) as caught:
        program.attach_socket(lonely.fileno())
    assert "SO_REUSEPORT" in caught.value.hint
    with program.attach_socket(sockets[0].fileno()):
        for _ in range(20):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x", ("127.0.0.1", port))
        time.sleep(0.05)
        assert [drained(each, 20) for each in sockets] == [0, 20, 0]
