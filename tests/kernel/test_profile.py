"""Counting what happens while a program runs: with clocks, which every machine has, instead of the processor's counters."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from bpfload.abi import consts
from bpfload.abi import perf as names
from bpfload.elf import read
from bpfload.errors import KernelError, UsageError
from bpfload.inspect import profile
from bpfload.inspect.profile import METRICS, Counters, Metric, Profiler
from bpfload.load import Object, load
from bpfload.syscall import bpf, perf
from support.paths import DATA
from support.programs import small_program

pytestmark = pytest.mark.usefixtures("nothing_left_behind", "no_fd_leak")

_ON_CPU = 1  # BPF_F_TEST_RUN_ON_CPU
CLOCKS = [Metric(name, names.TYPE_SOFTWARE, names.SOFTWARE.index(name)) for name in ("cpu-clock", "task-clock")]


@pytest.fixture
def live() -> Iterator[Object]:
    with load(read(str(DATA / "two-programs.bpf.o"))) as loaded:
        yield loaded


@pytest.mark.needs_feature("raw_tracepoint_run", since="5.10", config="CONFIG_BPF_EVENTS")
@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_programs_add_up_what_is_counted_between_them(count: int) -> None:
    """They are run one after the other as what may be run by itself; fentry and fexit programs are the same instructions."""
    with ExitStack() as stack:
        counters = stack.enter_context(closing(Counters((CLOCKS * 2)[:count])))
        entry, leave = (_loaded(stack, insns) for insns in (counters.code.at_entry(), counters.code.at_exit()))
        bpf.prog_test_run(leave, flags=_ON_CPU)  # without an entry there is nothing to take it from
        before = counters.read()
        assert [(each.run_cnt, each.value) for each in before] == [(1, 0)] * count
        for runs in range(2, 5):
            bpf.prog_test_run(entry, flags=_ON_CPU)
            bpf.prog_test_run(leave, flags=_ON_CPU)
            after = counters.read()
            for old, new in zip(before, after, strict=True):
                assert new.run_cnt == runs
                assert new.value > old.value
                assert new.running > old.running
                assert new.enabled >= new.running
            before = after


def _loaded(stack: ExitStack, insns: bytes) -> int:
    fd = bpf.prog_load(consts.BPF_PROG_TYPE_RAW_TRACEPOINT, insns, b"GPL")
    stack.callback(os.close, fd)
    return fd


@pytest.mark.needs_feature("fentry")
def test_a_program_is_profiled_while_it_is_watched(live: Object) -> None:
    """What ran before and afterwards doesn't count."""
    program = live.program("packets")
    program.test_run(bytes(64), repeat=3)
    try:
        profiler = Profiler(program, CLOCKS)
    except KernelError as error:
        if error.errno == errno.EPERM and "BPFLOAD_NO_POLICY" not in os.environ:
            pytest.skip("feature: a policy of this machine lets not even root load fentry programs")
        raise
    with profiler:
        assert [each.run_cnt for each in profiler.read()] == [0, 0]
        program.test_run(bytes(64), repeat=5)
        readings = profiler.read()
        assert [each.run_cnt for each in readings] == [5, 5]
        assert all(each.value > 0 for each in readings)
        assert [each.metric for each in readings] == ["cpu-clock", "task-clock"]


def test_a_machine_without_counters(live: Object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the metric; nothing was attached, nothing is left."""
    opened = perf.perf_event_open

    def no_hardware(kind: int, config: int, **options: int) -> int:
        if kind != names.TYPE_SOFTWARE:
            raise KernelError("perf_event_open", errno.ENOENT)
        return opened(kind, config, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(profile.perf, "perf_event_open", no_hardware)
    with pytest.raises(KernelError, match=r"counting cycles on cpu \d+ was refused.*\n.*no counter for it.*no PMU"):
        Profiler(live.program("packets"), [CLOCKS[0], METRICS[0]])


def test_what_cannot_be_profiled(live: Object) -> None:
    with small_program() as program, pytest.raises(UsageError, match="no BTF of its functions"):
        Profiler(program, CLOCKS)
    for metrics in ([], CLOCKS * 3):
        with pytest.raises(UsageError, match="1 to 4 metrics"):
            Profiler(live.program("packets"), metrics)
