"""What `gen object` and `gen skeleton` make, in use: linked programs run, a skeleton's maps, variables, events and links."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import bpfload
from bpfload.errors import BpfError, NotFoundError, UsageError
from bpfload.gen.object import link_objects
from bpfload.gen.skeleton import skeleton, subskeleton
from support.namespaces import VethPair
from support.paths import DATA, HELLO

pytestmark = [pytest.mark.usefixtures("nothing_left_behind", "no_fd_leak")]

ONE, TWO = DATA / "linked" / "one.bpf.o", DATA / "linked" / "two.bpf.o"
OBJECT = DATA / "skeleton.bpf.o"


@pytest.fixture
def everything() -> Iterator[ModuleType]:
    yield from _imported("everything_live", skeleton(OBJECT, "everything"))


@pytest.fixture
def part() -> Iterator[ModuleType]:
    yield from _imported("part_live", subskeleton(OBJECT, "part"))


def _imported(name: str, source: str) -> Iterator[ModuleType]:
    module = sys.modules[name] = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    yield module
    del sys.modules[name]


def test_linked_programs_share_maps_variables_and_functions() -> None:
    spec = bpfload.read("both.bpf.o", data=link_objects([ONE, TWO]))
    spec.set_value("only_pid", os.getpid())
    with bpfload.load(spec) as live:
        with live.program("first").attach():
            os.getppid()
        runs, odd = divmod(live.value("total") - 1000, 7)
        assert runs > 0
        assert not odd, "add() of the second file returns 7"
        counts = live.map("counts").typed()
        # twice() of the first file: 2 * weight; 'o' of its text; choose() of the second, which is the strong one: 2.
        assert counts[1] == runs * (2 * 3 + ord("o") + 2)
        # which, of the first file; twice() of the second: 20; 't' of its text.
        assert counts[2] == runs * (1 + 20 + ord("t"))
        assert live.program("second").info().name == "second"


def test_a_skeleton_in_use(everything: ModuleType) -> None:
    with everything.Everything() as made:
        made.rodata.only_pid = os.getpid()
        made.rodata.origin = everything.Point(x=30, y=40)
        made.data.counter = 100
        made.load()
        key = everything.Flow(from_=1, lambda_=2, v4=0x30004)
        stats = everything.Stats(packets=5, comm="me", verdict=everything.Verdict.VERDICT_DROP, level=-3)
        made.maps.flows[key] = stats
        made.attach()
        assert made.links.count is not None
        assert made.links.pass_ is None, "SEC() doesn't say which device"
        os.getppid()
        made.links.count = None
        runs = made.data.counter - 100
        assert runs > 0
        assert made.bss.list_ == [0, 30, 0, 0]
        assert made.bss.total.corners == [everything.Point(0, 0), everything.Point(0, 40)]
        assert made.bss.import_ is everything.Verdict.VERDICT_DROP
        found = made.maps.flows[key]
        assert (found.packets, found.comm, found.verdict, found.level) == (5 + runs, "me", 7, -3)
        [(read, value)] = made.maps.flows.items()
        assert (read.from_, read.lambda_, read.low, read.high) == (1, 2, 4, 3)
        assert value == found
        assert made.maps.flows.get(read) == found, "a key that was read is a key"
        events = list(made.maps.events.read(everything.Event, timeout=0))
        assert [event.number for event in events] == list(range(101, 101 + runs))
        assert events[0] == everything.Event(101, everything.Verdict.VERDICT_PASS, "hello")


def test_maps_of_a_skeleton(everything: ModuleType) -> None:
    with everything.Everything.open_and_load() as made:
        flows, key = made.maps.flows, everything.Flow(from_=5)
        assert (len(flows), key in flows, flows.get(key), flows.delete(key)) == (0, False, None, False)
        with pytest.raises(KeyError):
            _ = flows[key]
        flows.set(key, everything.Stats(packets=1))
        with pytest.raises(BpfError, match="EEXIST"):
            flows.set(key, everything.Stats(), flags=1)
        assert (len(flows), key in flows, [each.from_ for each in flows], [each.packets for each in flows.values()]) == (
            1,
            True,
            [5],
            [1],
        )
        del flows[key]
        assert len(flows) == 0
        per_cpu = [everything.Point(cpu, -cpu) for cpu in range(len(made.maps.per_cpu[0]))]
        made.maps.per_cpu[0] = per_cpu
        assert made.maps.per_cpu[0] == per_cpu
        queue = made.maps.queue
        queue.push(everything.Point(1, 2))
        assert (queue.peek(), queue.pop(), queue.pop()) == (everything.Point(1, 2), everything.Point(1, 2), None)
        made.maps.global_[everything.Verdict.VERDICT_PASS] = -5
        assert dict(made.maps.global_.items())[everything.Verdict.VERDICT_PASS] == -5
        assert isinstance(made.maps.jumps, bpfload.Map)
        with pytest.raises(UsageError, match="'only_pid' is a constant"):
            made.rodata.only_pid = 1
        with pytest.raises(UsageError, match="loaded already"):
            made.load()


def test_programs_are_attached_where_targets_say_or_none_is(everything: ModuleType, veth: VethPair) -> None:
    with everything.Everything.open_and_load() as made:
        with pytest.raises(BpfError, match=r"program 'pass'.*no-such-device"):
            made.attach(pass_=bpfload.Target(device="no-such-device"))
        assert made.links.count is None, "what was attached before it failed isn't any more"
        made.attach(pass_=bpfload.Target(device=veth.device, mode="generic"))
        assert made.links.pass_ is not None
        assert made.links.pass_.info().prog_id == made.programs.pass_.info().id
        made.links.count = made.programs.count.attach_raw_tracepoint("sys_exit")
        made.detach()
        assert made.links.pass_ is None


def test_a_subskeleton_works_on_an_object_that_is_loaded(everything: ModuleType, part: ModuleType) -> None:
    with everything.Everything.open_and_load() as made:
        library = part.Part(made.live)
        library.data.counter = 77
        library.maps.global_[part.Verdict.VERDICT_PASS] = 8
        assert made.data.counter == 77
        assert made.maps.global_[everything.Verdict.VERDICT_PASS] == 8
        assert library.programs.count.info().id == made.programs.count.info().id
    with bpfload.load(HELLO) as live, pytest.raises(NotFoundError, match="no program 'count' is loaded"):
        part.Part(live)


def test_values_of_the_kernels_configuration() -> None:
    source = skeleton(DATA / "features" / "externs.bpf.o")
    [module] = _imported("externs_live", source)
    with module.Externs() as made:
        with pytest.raises(UsageError, match="CONFIG_TEST_YES: the object isn't loaded"):
            _ = made.kconfig.CONFIG_TEST_YES
        made.load(bpfload.LoadOptions(programs=frozenset(("options",)), kconfig=CONFIG))
        values = made.kconfig
        assert (values.CONFIG_TEST_YES, values.CONFIG_TEST_NO, values.CONFIG_TEST_MODULE) == (True, False, 2)
        assert (values.CONFIG_TEST_SIGNED, values.CONFIG_TEST_STRING, values.CONFIG_TEST_ABSENT) == (-3, "text", 0)
        assert values.LINUX_KERNEL_VERSION > 0x50000


CONFIG = """\
CONFIG_TEST_YES=y
CONFIG_TEST_NO=n
CONFIG_TEST_MODULE=m
CONFIG_TEST_CHAR=65
CONFIG_TEST_SIGNED=-3
CONFIG_TEST_SHORT=7
CONFIG_TEST_INT=-5
CONFIG_TEST_LONG=9
CONFIG_TEST_STRING="text"
"""
