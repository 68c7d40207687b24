"""What the processor does while a BPF program runs: hardware counters read at its entry and at its exit.

Two small programs, assembled here, are attached to the program's first function by fentry and fexit. For each metric there is a
perf event on each CPU, all in one map: what it counted between entry and exit is added up, CPU by CPU.

Source: bpf_perf_event_read_value() in kernel/trace/bpf_trace.c; the metrics are those of tools/bpf/bpftool/prog.c.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from struct import iter_unpack, pack, unpack_from

from bpfload.abi import consts
from bpfload.abi import perf as names
from bpfload.errors import KernelError, UsageError
from bpfload.insn import assemble as asm
from bpfload.insn.codec import BPF_ADD, BPF_DW, BPF_JEQ, BPF_JNE, BPF_SUB, BPF_W
from bpfload.kernel import cpus
from bpfload.objects.info import prog_info
from bpfload.objects.program import Program
from bpfload.objects.text import text_of
from bpfload.syscall import bpf, perf

#: So many at a time: processors have few counters.
MOST_METRICS = 4

_READ, _MISS = 0 << 8, 1 << 16  # operation and result of a cache event


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that can be counted. `kind`, `config`: of perf_event_open(2).

    `ratio_to`: the metric that it is set in relation to, "" for none; `ratio`: what that is called; `factor`: of that number.
    """

    name: str
    kind: int
    config: int
    ratio_to: str = ""
    ratio: str = ""
    factor: float = 1.0


METRICS = (
    Metric("cycles", names.TYPE_HARDWARE, names.HARDWARE.index("cpu-cycles")),
    Metric("instructions", names.TYPE_HARDWARE, names.HARDWARE.index("instructions"), "cycles", "insns per cycle"),
    Metric("l1d_loads", names.TYPE_CACHE, names.CACHES.index("L1-dcache") | _READ),
    *(
        Metric(name, names.TYPE_CACHE, names.CACHES.index(cache) | _READ | _MISS, "instructions", words, 1e6)
        for name, cache, words in (
            ("llc_misses", "LLC", "LLC misses per million insns"),
            ("itlb_misses", "iTLB", "itlb misses per million insns"),
            ("dtlb_misses", "dTLB", "dtlb misses per million insns"),
        )
    ),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one metric came to. `run_cnt`: runs of the program. `enabled`, `running`: nanoseconds in which the event was to be
    counted, and was: where `running` is less, the processor has too few counters and took turns."""

    metric: str
    run_cnt: int
    value: int
    enabled: int
    running: int


# --- the programs ---------------------------------------------------------------------------------------------------

_LOOKUP, _CPU, _READ_VALUE = 1, 8, 55  # bpf_map_lookup_elem, bpf_get_smp_processor_id, bpf_perf_event_read_value
_VALUE = 24  # struct bpf_perf_event_value: counter, enabled, running; 64 bits each
_KEY = -8  # on the stack: the only key of the arrays
_R0, _R1, _R2, _R3, _R4, _R6, _R7, _R8, _FP = 0, 1, 2, 3, 4, 6, 7, 8, 10


@dataclass(frozen=True, slots=True)
class Code:
    """Makes the two programs. `metrics`, `cpus`: how many. The rest are fds of maps.

    `events`: a perf_event_array, metric by metric with an event for each CPU. `before`: per CPU, the readings at the entry.
    `total`: per CPU, the runs, and the sums of the readings. The latter two have one element.
    """

    metrics: int
    cpus: int
    events: int
    before: int
    total: int

    def at_entry(self) -> bytes:
        """Return what runs at the entry: it keeps the readings; 0 for what can't be read, by bpf_perf_event_read_value()."""
        body = b"".join(
            self._read(metric, asm.mov64_reg(_R3, _R7) + asm.alu64_imm(BPF_ADD, _R3, metric * _VALUE))
            for metric in range(self.metrics)
        )
        end = _return()
        found = self._lookup(self.before, _R7, len(body))
        return asm.assemble(self._which_cpu(), found, body, end)

    def at_exit(self) -> bytes:
        """Return what runs at the exit: it reads all events first, then adds the differences up."""
        adding = b"".join(self._add(metric) for metric in range(self.metrics))
        count = asm.load(BPF_DW, _R1, _R8) + asm.alu64_imm(BPF_ADD, _R1, 1) + asm.store(BPF_DW, _R8, _R1)
        body = count + adding
        for number, register in ((self.total, _R8), (self.before, _R7)):
            body = self._lookup(number, register, len(body)) + body
        for metric in reversed(range(self.metrics)):
            place = asm.mov64_reg(_R3, _FP) + asm.alu64_imm(BPF_ADD, _R3, self._place(metric))
            unread = asm.jump_imm(BPF_JNE, _R0, 0, len(body) // 8)
            body = self._read(metric, place) + unread + body
        return asm.assemble(self._which_cpu(), body, _return())

    def _place(self, metric: int) -> int:
        """Return where on the stack a reading at the exit is."""
        return _KEY - (self.metrics - metric) * _VALUE

    def _which_cpu(self) -> bytes:
        return asm.call(_CPU) + asm.mov64_reg(_R6, _R0)

    def _lookup(self, fd: int, register: int, otherwise: int) -> bytes:
        """Point a register at the only element of an array; without one go on `otherwise` bytes further."""
        return asm.assemble(
            asm.store_imm(BPF_W, _FP, 0, _KEY),
            asm.mov64_reg(_R2, _FP),
            asm.alu64_imm(BPF_ADD, _R2, _KEY),
            asm.ld_map_fd(_R1, fd),
            asm.call(_LOOKUP),
            asm.jump_imm(BPF_JEQ, _R0, 0, otherwise // 8 + 1),
            asm.mov64_reg(register, _R0),
        )

    def _read(self, metric: int, place: bytes) -> bytes:
        """Read this CPU's event of a metric to where `place` lets r3 point."""
        return asm.assemble(
            asm.ld_map_fd(_R1, self.events),
            asm.mov64_reg(_R2, _R6),
            asm.alu64_imm(BPF_ADD, _R2, metric * self.cpus),
            place,
            asm.mov64_imm(_R4, _VALUE),
            asm.call(_READ_VALUE),
        )

    def _add(self, metric: int) -> bytes:
        """Add what was counted since the entry, if it was read there."""
        sums = b""
        for field in range(0, _VALUE, 8):
            here = metric * _VALUE + field
            sums += asm.assemble(
                asm.load(BPF_DW, _R1, _R7, here),
                asm.load(BPF_DW, _R2, _FP, self._place(metric) + field),
                asm.alu64_reg(BPF_SUB, _R2, _R1),
                asm.load(BPF_DW, _R3, _R8, 8 + here),
                asm.alu64_reg(BPF_ADD, _R3, _R2),
                asm.store(BPF_DW, _R8, _R3, 8 + here),
            )
        return asm.load(BPF_DW, _R1, _R7, metric * _VALUE) + asm.jump_imm(BPF_JEQ, _R1, 0, len(sums) // 8) + sums


def _return() -> bytes:
    return asm.mov64_imm(_R0, 0) + asm.exit_()


# --- counting -------------------------------------------------------------------------------------------------------


class Counters:
    """Perf events on all CPUs, and the maps and code that add up what they count between two moments. Closed by `close`."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        """Open the events. Raises UsageError for too many, KernelError for a metric that this machine can't count."""
        if not 1 <= len(metrics) <= MOST_METRICS:
            raise UsageError(f"1 to {MOST_METRICS} metrics can be counted at a time, not {len(metrics)}")
        self.metrics = tuple(metrics)
        with ExitStack() as stack:
            possible, count = cpus.possible(), len(metrics)
            events = {}
            for number, metric in enumerate(metrics):
                for cpu in cpus.online():
                    fd = events[number * possible + cpu] = _event(metric, cpu)
                    stack.callback(os.close, fd)
            self._maps = [
                _map(stack, consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, count * possible, "events"),
                _map(stack, consts.BPF_MAP_TYPE_PERCPU_ARRAY, count * _VALUE, 1, "before"),
                _map(stack, consts.BPF_MAP_TYPE_PERCPU_ARRAY, 8 + count * _VALUE, 1, "total"),
            ]
            for place, fd in events.items():
                bpf.map_update_elem(self._maps[0], pack("=I", place), pack("=i", fd))
            self.code = Code(count, possible, *self._maps)
            self._stack = stack.pop_all()

    def read(self) -> list[Reading]:
        """Return what came together until now."""
        size = 8 + len(self.metrics) * _VALUE
        data = bpf.map_lookup_elem(self._maps[2], bytes(4), size * self.code.cpus)
        rows = [data[start : start + size] for start in range(0, len(data), size)]
        runs = sum(unpack_from("=Q", row)[0] for row in rows)
        values = [list(iter_unpack("=3Q", row[8:])) for row in rows]
        return [
            Reading(metric.name, runs, *(sum(value[number][field] for value in values) for field in range(3)))
            for number, metric in enumerate(self.metrics)
        ]

    def close(self) -> None:
        """Give it all back; a second call does nothing."""
        self._stack.close()


class Profiler:
    """Counts what happens while a program runs, from now on until it is closed."""

    def __init__(self, program: Program, metrics: Sequence[Metric]) -> None:
        """Start counting. Raises UsageError, KernelError; nothing is attached then."""
        target = _function(program)
        with ExitStack() as stack:
            self._counters = Counters(metrics)
            stack.callback(self._counters.close)
            code = self._counters.code
            for insns, attach_type in (
                (code.at_entry(), consts.BPF_TRACE_FENTRY),
                (code.at_exit(), consts.BPF_TRACE_FEXIT),
            ):
                stack.callback(os.close, _attached(program, target, insns, attach_type))
            self._stack = stack.pop_all()

    def read(self) -> list[Reading]:
        """Return what was counted until now."""
        return self._counters.read()

    def close(self) -> None:
        """Stop; a second call does nothing."""
        self._stack.close()

    def __enter__(self) -> Profiler:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def _map(stack: ExitStack, kind: int, value_size: int, entries: int, name: str) -> int:
    fd = bpf.map_create(kind, 4, value_size, entries, name=name)
    stack.callback(os.close, fd)
    return fd


def _event(metric: Metric, cpu: int) -> int:
    """Open a metric's event on a CPU."""
    try:
        return perf.perf_event_open(metric.kind, metric.config, cpu=cpu, exclude_user=True)
    except KernelError as error:
        hint = ""
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV):
            hint = (
                "This machine has no counter for it: a virtual machine often has none at all (no PMU); perf list shows what is."
            )
        elif error.errno in (errno.EACCES, errno.EPERM):
            from bpfload.kernel.capabilities import permission_hint

            hint = permission_hint(consts.CAP_PERFMON)
        elif error.errno == errno.EBUSY:
            hint = "Something else has all counters."
        raise KernelError(error.call, error.errno or 0, f"counting {metric.name} on cpu {cpu} was refused", hint=hint) from None


def _function(program: Program) -> int:
    """Return the BTF id of a program's first function. Raises UsageError for a program without BTF."""
    info = prog_info(program.fd, ("func_info",))
    if not info.btf_id or len(info.func_info) < 8:
        raise UsageError(
            f"program {info.id} ({info.name}) has no BTF of its functions, by which others are attached to it",
            hint="Compile it with -g.",
        )
    type_id: int = unpack_from("=I", info.func_info, 4)[0]
    return type_id


def _attached(program: Program, target: int, insns: bytes, attach_type: int) -> int:
    """Load a program for a function of another one and attach it; return the link's fd."""
    word = "fentry" if attach_type == consts.BPF_TRACE_FENTRY else "fexit"

    def load(log: bytearray | None = None) -> int:
        return bpf.prog_load(
            consts.BPF_PROG_TYPE_TRACING,
            insns,
            b"GPL",
            name=f"profile_{word}",
            expected_attach_type=attach_type,
            attach_btf_id=target,
            attach_fd=program.fd,
            log_level=1 if log else 0,
            log=log,
        )

    try:
        fd = load()
    except KernelError as error:
        raise _refused(error, program, word, load) from None
    try:
        return bpf.raw_tracepoint_open(fd)
    except KernelError as error:
        raise KernelError(
            error.call, error.errno or 0, f"attaching to program {program.info().id} by {word} was refused"
        ) from None
    finally:
        os.close(fd)


def _refused(error: KernelError, program: Program, word: str, load: Callable[[bytearray], int]) -> KernelError:
    """Say why a program can't be attached to another one: what the verifier says, or which right is missing."""
    hint = ""
    if error.errno == errno.EPERM:
        from bpfload.kernel.capabilities import permission_hint

        hint = permission_hint(consts.CAP_BPF, consts.CAP_PERFMON)
    else:
        log = bytearray(1 << 16)
        try:
            os.close(load(log))
        except KernelError:
            said = text_of(log).strip().splitlines()
            hint = f"The verifier says: {said[0]}" if said else ""
    info = program.info()
    return KernelError(error.call, error.errno or 0, f"{word} of program {info.id} ({info.name}) was refused", hint=hint)
