"""Perf buffers: BPF_MAP_TYPE_PERF_EVENT_ARRAY, one ring for each CPU, which programs write with bpf_perf_event_output().

Source: struct perf_event_mmap_page, PERF_RECORD_SAMPLE and PERF_RECORD_LOST in include/uapi/linux/perf_event.h;
kernel/events/ring_buffer.c.
"""

from __future__ import annotations

import mmap
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from struct import Struct, pack
from sys import byteorder
from typing import TYPE_CHECKING, Self

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.kernel import cpus
from bpfload.objects.base import KernelObject
from bpfload.objects.map import Map
from bpfload.syscall import perf

if TYPE_CHECKING:
    from types import TracebackType

_SOFTWARE, _BPF_OUTPUT = 1, 10  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT
_SAMPLE_TIME, _SAMPLE_RAW = 1 << 2, 1 << 10
RECORD_LOST, RECORD_SAMPLE = 2, 9

_HEADER = Struct("=IHH")  # type, misc, size
_SAMPLE = Struct("=8xQI")  # time, size of the data, which follows it
_LOST = Struct("=8xQQ")  # id, how many
_HEAD, _TAIL = 1024 // 8, 1032 // 8  # data_head and data_tail of struct perf_event_mmap_page, in words of 8 bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """What a program wrote. `time`: nanoseconds of the perf clock. `data`: up to 7 bytes longer than what was written."""

    cpu: int
    index: int
    time: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """So many records didn't fit into the ring of a CPU. `id`: the kernel's, of the event."""

    cpu: int
    index: int
    id: int
    count: int


@dataclass(frozen=True, slots=True)
class Other:
    """A record of another type than is asked for."""

    cpu: int
    index: int
    type: int
    size: int


Record = Sample | Lost | Other


class PerfBuffer:
    """Reads a perf event array: a ring for each CPU that is online, put into the map for as long as this is open.

    One reader at a time: the rings of a second one take the place of the first one's. `lost`: records that didn't fit, in all.
    """

    def __init__(self, source: Map, *, pages: int = 16, wakeup_events: int = 1, places: Sequence[tuple[int, int]] = ()) -> None:
        """Open the rings. `source` stays the caller's, and has to be open as long as this.

        `pages`: of each ring, a power of two. `wakeup_events`: the reader is woken when so many have come. `places`: (CPU,
        index in the map) of the rings to open; empty: all CPUs, each at its number. Raises UsageError for a map of another type,
        KernelError.
        """
        info = source.info()
        if info.type != consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            raise UsageError(f"map {info.id} ({info.name}) is no perf event array")
        if pages < 1 or pages & (pages - 1):
            raise UsageError(f"a perf buffer of {pages} pages: it takes a power of two")
        self.lost = 0
        self._rings: dict[int, _Ring] = {}
        with ExitStack() as stack:
            self._poll = select.epoll()
            stack.callback(self._poll.close)
            for cpu, index in places or [(cpu, cpu) for cpu in cpus.online() if cpu < info.max_entries]:
                ring = _Ring(cpu, index, pages, wakeup_events)
                stack.callback(ring.close)
                source.update(pack("=I", index), pack("=I", ring.event.fd))
                stack.callback(_take_out, source, index)
                perf.enable(ring.event.fd)
                self._poll.register(ring.event.fd, select.EPOLLIN)
                self._rings[ring.event.fd] = ring
            self._stack = stack.pop_all()

    def fileno(self) -> int:
        """The file descriptor that can be waited on, for select, poll, epoll or asyncio."""
        return self._poll.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds (None: for ever) until there is something to read; return whether there is."""
        return bool(self._poll.poll(-1 if timeout is None else timeout, 1))

    def read(self) -> list[Record]:
        """Take what is in the rings now, one CPU after the other: `time` tells the order. Doesn't wait."""
        found: list[Record] = []
        for ring in self._rings.values():
            found += ring.read()
        self.lost += sum(record.count for record in found if isinstance(record, Lost))
        return found

    def __iter__(self) -> Iterator[Record]:
        """Yield records as they come, for ever."""
        while True:
            yield from self.read()
            self.wait()

    def close(self) -> None:
        """Take the rings out of the map and close them; a second call does nothing."""
        self._rings = {}
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Ring:
    """The ring of one CPU."""

    def __init__(self, cpu: int, index: int, pages: int, wakeup_events: int) -> None:
        self.cpu, self.index = cpu, index
        self.size = pages * mmap.PAGESIZE
        fd = perf.perf_event_open(
            _SOFTWARE,
            _BPF_OUTPUT,
            sample_period=1,
            sample_type=_SAMPLE_RAW | _SAMPLE_TIME,
            wakeup_events=wakeup_events,
            cpu=cpu,
        )
        self.event = KernelObject(fd)
        try:
            self._memory = mmap.mmap(fd, mmap.PAGESIZE + self.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            self.event.close()
            hint = "perf_event_mlock_kb limits what may be locked without CAP_IPC_LOCK: choose fewer pages."
            raise KernelError("mmap", error.errno or 0, f"can't map a perf ring of {pages} pages", hint=hint) from None
        whole = memoryview(self._memory)
        self._positions = whole[: mmap.PAGESIZE].cast("Q")
        self._data = whole[mmap.PAGESIZE :]
        self._order = threading.Lock()  # see RingBuffer: taking it orders memory

    def read(self) -> list[Record]:
        """Take all records, in order."""
        head, tail = self._positions[_HEAD], self._positions[_TAIL]
        if head == tail:
            return []
        with self._order:
            pass
        start, length = tail % self.size, head - tail
        data = bytes(self._data[start : start + length])
        if len(data) < length:  # it goes on at the beginning
            data += bytes(self._data[: length - len(data)])
        with self._order:
            pass
        self._positions[_TAIL] = head
        return list(self._records(data))

    def _records(self, data: bytes) -> Iterator[Record]:
        at, cpu, index = 0, self.cpu, self.index
        while at < len(data):
            kind, _, size = _HEADER.unpack_from(data, at)
            if kind == RECORD_SAMPLE:
                time, length = _SAMPLE.unpack_from(data, at)
                begin = at + _SAMPLE.size
                yield Sample(cpu, index, time, data[begin : begin + length])
            elif kind == RECORD_LOST:
                yield Lost(cpu, index, *_LOST.unpack_from(data, at))
            else:
                yield Other(cpu, index, kind, size)
            if size < _HEADER.size:
                return  # no kernel writes that
            at += size

    def close(self) -> None:
        """Unmap and close it."""
        self._positions.release()
        self._data.release()
        self._memory.close()
        self.event.close()


def _take_out(source: Map, index: int) -> None:
    """Empty a slot of the map, unless it went with its event."""
    try:
        source.delete(index.to_bytes(4, byteorder))
    except (KernelError, ValueError):
        return
