"""Ring buffers: BPF_MAP_TYPE_RINGBUF, which programs write and this reads; BPF_MAP_TYPE_USER_RINGBUF the other way round.

The kernel maps two pages of positions, which only grow, and the data twice in a row, so that a record never seems to wrap. A
record is a header of 8 bytes, its data, and padding to 8 bytes.

Source: kernel/bpf/ringbuf.c; include/uapi/linux/bpf.h for BPF_RINGBUF_BUSY_BIT and the others.
"""

from __future__ import annotations

import mmap
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.objects.map import Map

if TYPE_CHECKING:
    from types import TracebackType

_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1
_HEADER = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one size that lay one behind the other: `count` times `step` bytes, of which `size` from byte 8 on are data."""

    data: bytes
    count: int
    step: int
    size: int

    def records(self) -> list[bytes]:
        """Return the data of each."""
        end, data = _HEADER + self.size, self.data
        return [data[at + _HEADER : at + end] for at in range(0, self.count * self.step, self.step)]


class _Mapped:
    """A ring buffer of either kind, mapped: its positions and data. `writes`: whether this side writes the records.

    Which side writes what is in: ringbuf_map_mmap_kern() and ringbuf_map_mmap_user() in kernel/bpf/ringbuf.c.
    """

    def __init__(self, source: Map, *, writes: bool) -> None:
        self.size = source.info().max_entries
        page = mmap.PAGESIZE
        self._pages = [
            _map(source.fd, page, 0, writable=not writes),
            _map(source.fd, page + 2 * self.size, page, writable=writes),
        ]
        whole = memoryview(self._pages[1])
        self._consumer = memoryview(self._pages[0]).cast("Q")
        self._producer = whole[:page].cast("Q")
        self._data = whole[page:]
        self._words = self._data.cast("I")
        # Taking and giving back a lock orders memory, which plain Python can't ask for otherwise; it matters on arm64.
        self._order = threading.Lock()

    def close(self) -> None:
        """Unmap it; a second call does nothing."""
        if self._pages:
            for view in (self._words, self._data, self._producer, self._consumer):
                view.release()
            for page in self._pages:
                page.close()
            self._pages = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class RingBuffer(_Mapped):
    """Reads a ring buffer map, each record once.

    Only one reader may read a map at a time: what one takes, another doesn't see. `discarded`: records that programs reserved
    and gave up. `was_full`: how often there was less room left than the largest record so far takes, so that programs may have
    lost some; the kernel doesn't count them. In `with`, or `close` it.
    """

    def __init__(self, source: Map) -> None:
        """`source` stays the caller's, and has to be open as long as this. Raises UsageError for a map of another type."""
        info = source.info()
        if info.type != consts.BPF_MAP_TYPE_RINGBUF:
            raise UsageError(f"map {info.id} ({info.name}) is no ring buffer")
        super().__init__(source, writes=False)
        self.discarded = 0
        self.was_full = 0
        self._largest = 0
        self._poll = select.epoll()
        self._poll.register(source.fd, select.EPOLLIN)

    # --- reading ----------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The file descriptor that can be waited on, for select, poll, epoll or asyncio: readable when there are records."""
        return self._poll.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds (None: for ever) until there is something to read; return whether there is."""
        return bool(self._poll.poll(-1 if timeout is None else timeout, 1))

    def batches(self) -> Iterator[Batch]:
        """Take all that is there now, records of one size together: the quick way to many. Doesn't wait."""
        end, start = self._producer[0], self._consumer[0]
        while self._consumer[0] < end:
            batch = self._next(self._consumer[0], end)
            if batch is None:
                break  # a program is still writing the next one
            if batch.count:
                yield batch
        # Source: __bpf_ringbuf_reserve(): a record that would fill the last byte doesn't fit.
        if end - start + self._largest >= self.size:
            self.was_full += 1

    def _next(self, position: int, end: int) -> Batch | None:
        """Take the record at a position, and all of its size that follow it; none are in the result if they were given up."""
        start = position % self.size
        header = self._words[start // 4]
        if header & _BUSY:
            return None
        size = header & _LENGTH
        step = (size + _HEADER + 7) & ~7
        count = self._alike(start // 4, step // 4, (end - position) // step)
        with self._order:
            pass
        given_up = bool(header & _DISCARDED)
        data = b"" if given_up else bytes(self._data[start : start + count * step])
        with self._order:
            pass
        self._consumer[0] = position + count * step
        if given_up:
            self.discarded += count
            return Batch(b"", 0, step, size)
        self._largest = max(self._largest, step)
        return Batch(data, count, step, size)

    def _alike(self, first: int, stride: int, most: int) -> int:
        """Return how many records, at most `most`, have the same header as the one at word `first`, each `stride` words on."""
        words, header = self._words, self._words[first]
        count, ahead = 1, 8
        while count < most:
            until = min(most, count + ahead)
            headers = words[first + count * stride : first + until * stride : stride].tolist()
            if headers.count(header) != until - count:
                return count + next(place for place, each in enumerate(headers) if each != header)
            count = until
            ahead *= 4  # few where sizes vary, many where all are alike
        return count

    def read(self) -> list[bytes]:
        """Take all records that are there now, in order. Doesn't wait."""
        return [record for batch in self.batches() for record in batch.records()]

    def __iter__(self) -> Iterator[bytes]:
        """Yield records as they come, for ever."""
        while True:
            yield from self.read()
            self.wait()

    def close(self) -> None:
        """Unmap it; a second call does nothing. Records that weren't read stay for the next reader."""
        super().close()
        self._poll.close()


class UserRingBuffer(_Mapped):
    """Writes records to a user ring buffer map (Linux 6.1), which a program takes with bpf_user_ringbuf_drain().

    One writer at a time. In `with`, or `close` it.
    """

    def __init__(self, source: Map) -> None:
        """`source` stays the caller's, and has to be open as long as this. Raises UsageError for a map of another type."""
        info = source.info()
        if info.type != consts.BPF_MAP_TYPE_USER_RINGBUF:
            raise UsageError(f"map {info.id} ({info.name}) is no user ring buffer")
        super().__init__(source, writes=True)

    @property
    def room(self) -> int:
        """Bytes that are free, headers of records to come included."""
        return self.size - (self._producer[0] - self._consumer[0])

    def write(self, record: bytes) -> bool:
        """Put a record in; False where there is no room for it now. Raises UsageError for one that can never fit."""
        step = (len(record) + _HEADER + 7) & ~7
        if step > self.size:
            raise UsageError(f"a record of {len(record)} bytes doesn't fit a ring buffer of {self.size}")
        if step > self.room:
            return False
        position = self._producer[0]
        start = position % self.size
        self._data[start + _HEADER : start + _HEADER + len(record)] = record
        self._words[start // 4] = len(record)
        self._words[start // 4 + 1] = 0
        with self._order:
            pass
        self._producer[0] = position + step
        return True


def _map(fd: int, size: int, offset: int, *, writable: bool) -> mmap.mmap:
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        return mmap.mmap(fd, size, mmap.MAP_SHARED, protection, offset=offset)
    except OSError as error:
        raise KernelError("mmap", error.errno or 0, f"can't map {size} bytes of the ring buffer") from None
