"""`bpfload map event_pipe` and `bpfload map watch`: what goes through a buffer, and how the contents of a map change."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpfload.abi import consts
from bpfload.errors import UsageError
from bpfload.inspect import maps
from bpfload.objects.map import Map
from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.output import hex_lines, json_text
from bpfload_cli.selecting import one_map
from bpfload_cli.session import Session
from bpfload_cli.stopping import until_stopped

if TYPE_CHECKING:
    from bpfload.inspect.map_changes import Change
    from bpfload.streams.events import EventType
    from bpfload.streams.perf_buffer import Record

_BUFFERS = (consts.BPF_MAP_TYPE_RINGBUF, consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY)
_POLL_SECONDS = 0.2
_NANO = 1_000_000_000


# --- event_pipe, in bpftool's words ---------------------------------------------------------------------------------


def event_pipe(session: Session, words: Words) -> None:
    """Print what programs write to a perf event array, until interrupted."""
    from bpfload.streams.perf_buffer import PerfBuffer

    with ExitStack() as stack:
        item = one_map(words, stack)
        info = item.info()
        if info.type != consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            hint = "bpfload map watch reads ring buffers." if info.type == consts.BPF_MAP_TYPE_RINGBUF else ""
            raise UsageError("map is not a perf event array", hint=hint)
        place = _place(words)
        buffer = stack.enter_context(PerfBuffer(item, places=place))
        separator = "["
        with until_stopped():
            while True:
                buffer.wait(_POLL_SECONDS)
                for record in buffer.read():
                    if session.json:
                        session.write(separator + json_text(_pipe_data(record, bool(place))))
                        separator = ","
                    else:
                        session.write(_pipe_text(record, bool(place)))
        session.warn("Stopping...")
        if session.json:
            session.write("[]\n" if separator == "[" else "]\n")


def _place(words: Words) -> list[tuple[int, int]]:
    """Read ``cpu N index M``; nothing for all CPUs."""
    given: dict[str, int] = {}
    while words:
        name = words.keyword(("cpu", "index"), "cpu or index")
        given[name] = words.number("a number")
    if len(given) == 1:
        raise UsageError("cpu and index must be specified together")
    return [(given["cpu"], given["index"])] if given else []


def _pipe_data(record: Record, placed: bool) -> dict[str, Any]:
    from bpfload.streams.perf_buffer import RECORD_LOST, RECORD_SAMPLE, Lost, Sample

    index = record.index if placed else record.cpu
    if isinstance(record, Sample):
        head = {"type": RECORD_SAMPLE, "cpu": record.cpu, "index": index}
        return {**head, "timestamp": record.time, "data": list(record.data)}
    if isinstance(record, Lost):
        lost = {"id": record.id, "count": record.count}
        return {"type": RECORD_LOST, "cpu": record.cpu, "index": index, "lost": lost}
    return {"type": record.type, "cpu": record.cpu, "index": index}


def _pipe_text(record: Record, placed: bool) -> str:
    from bpfload.streams.perf_buffer import Lost, Sample

    if isinstance(record, Sample):
        index = record.index if placed else record.cpu
        seconds, rest = divmod(record.time, _NANO)
        return f"== @{seconds}.{rest:09d} CPU: {record.cpu} index: {index} =====\n{hex_lines(record.data)}\n"
    if isinstance(record, Lost):
        return f"lost {record.count} events\n"
    return f"unknown event type={record.type} size={record.size}\n"


# --- watch ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Wishes:
    """What was asked for. `count`: stop after so many events or changes, `seconds`: after so long; 0: when interrupted."""

    type: str = ""
    btf: str = ""
    count: int = 0
    seconds: float = 0.0
    interval: float = 1.0
    quiet: bool = False


def watch(session: Session, words: Words) -> None:
    """Print a buffer's events as they come, or a map's contents as they change."""
    with ExitStack() as stack:
        item = one_map(words, stack)
        wishes = _wishes(words)
        kind = item.info().type
        if kind not in _BUFFERS:
            if wishes.type or wishes.btf:
                raise UsageError(
                    f"a map of type {maps.type_name(kind)} has types of its own: 'type' is for ring and perf buffers"
                )
            _watch_contents(session, item, wishes)
        elif kind == consts.BPF_MAP_TYPE_RINGBUF:
            _watch_ring(session, item, wishes)
        else:
            _watch_perf(session, item, wishes)


def _wishes(words: Words) -> _Wishes:
    wishes = _Wishes()
    while words:
        name = words.keyword(("type", "btf", "count", "seconds", "interval", "quiet"), "an option of map watch")
        if name == "type":
            wishes.type = words.take("the name of a struct")
            if wishes.type in ("struct", "union"):
                wishes.type = words.take("the name of a struct")
        elif name == "btf":
            wishes.btf = words.take("a file with BTF")
        elif name == "count":
            wishes.count = words.number("how many")
        elif name == "quiet":
            wishes.quiet = True
        else:
            setattr(wishes, name, _seconds(words, name))
    return wishes


def _seconds(words: Words, name: str) -> float:
    text = words.take("seconds")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"{name} {text}: that is no number of seconds")
    return seconds


def _event_type(session: Session, item: Map, wishes: _Wishes) -> EventType | None:
    """Return the type of a buffer's records: the one asked for, or the one that the map's name suggests."""
    from bpfload.inspect import event_types
    from bpfload.streams.events import EventType

    if wishes.btf:
        from bpfload.kernel.btf import load_file

        kinds = [load_file(wishes.btf)]
    else:
        kinds = event_types.types_for(item)
    if wishes.type:
        return EventType(*event_types.named(wishes.type, kinds))
    found = event_types.guess(item.info().name, kinds)
    if found is None:
        known = sorted(set(event_types.structs(kinds)))
        some = f" Its programs know {', '.join(known[:8])}{', …' if len(known) > 8 else ''}." if known else ""
        session.warn(f"Note: events are shown as bytes; type NAME decodes them.{some}")
        return None
    kind = EventType(*found)
    session.warn(f"Note: events are taken for struct {kind.name}; type NAME says otherwise.")
    return kind


class _Meter:
    """Counts what was shown, and ends it when it is enough."""

    def __init__(self, session: Session, wishes: _Wishes) -> None:
        self._session = session
        self._count = wishes.count
        self._quiet = wishes.quiet
        self._start = time.monotonic()
        self._end = self._start + wishes.seconds if wishes.seconds else 0.0
        self.shown = 0

    def left(self, count: int) -> int:
        """Return how many of `count` more may be shown, and count them."""
        take = min(count, self._count - self.shown) if self._count else count
        self.shown += take
        return take

    def over(self) -> bool:
        """Whether that was enough."""
        return bool(self._count and self.shown >= self._count) or bool(self._end and time.monotonic() >= self._end)

    def wait(self) -> float:
        """Return how long to wait for more at most, in seconds."""
        return min(_POLL_SECONDS, self.left_seconds())

    def left_seconds(self) -> float:
        """Return how long it may go on."""
        return max(0.0, self._end - time.monotonic()) if self._end else float("inf")

    def write(self, text: str) -> None:
        """Print lines, unless only the count was asked for."""
        if not self._quiet:
            self._session.write(text)

    def sum_up(self, trouble: str) -> None:
        """Say on stderr what came, where that isn't plain: nothing shown, or something lost."""
        if self._quiet or trouble:
            seconds = time.monotonic() - self._start
            rate = f", {self.shown / seconds:.0f} a second" if seconds > 0 else ""
            self._session.warn(f"{self.shown} events in {seconds:.1f} s{rate}{trouble}")


def _watch_ring(session: Session, item: Map, wishes: _Wishes) -> None:
    from bpfload.streams.ring_buffer import RingBuffer
    from bpfload_cli.event_lines import EventLines

    lines = EventLines(_event_type(session, item, wishes), as_json=session.json)
    meter = _Meter(session, wishes)
    with RingBuffer(item) as buffer:
        with until_stopped():
            while not meter.over():
                buffer.wait(meter.wait())
                for batch in buffer.batches():
                    take = meter.left(batch.count)
                    if wishes.quiet:
                        continue
                    if take == batch.count:
                        meter.write(lines.of_batch(batch))
                    else:
                        meter.write("".join(map(lines.of_record, batch.records()[:take])))
        full = f"; the buffer was full {buffer.was_full} times: programs may have dropped events" if buffer.was_full else ""
    meter.sum_up(full)


def _watch_perf(session: Session, item: Map, wishes: _Wishes) -> None:
    from bpfload.streams.perf_buffer import Lost, PerfBuffer, Sample
    from bpfload_cli.event_lines import EventLines

    lines = EventLines(_event_type(session, item, wishes), as_json=session.json)
    meter = _Meter(session, wishes)
    with PerfBuffer(item, pages=64) as buffer:
        with until_stopped():
            while not meter.over():
                buffer.wait(meter.wait())
                records = buffer.read()
                samples = [record for record in records if isinstance(record, Sample)]
                for sample in samples[: meter.left(len(samples))]:
                    if not wishes.quiet:
                        meter.write(lines.of_record(sample.data, (("time", sample.time), ("cpu", sample.cpu))))
                for record in records:
                    if isinstance(record, Lost):
                        session.warn(f"lost {record.count} events on CPU {record.cpu}: they came faster than they were read")
        lost = f"; {buffer.lost} lost" if buffer.lost else ""
    meter.sum_up(lost)


# --- contents -------------------------------------------------------------------------------------------------------


def _watch_contents(session: Session, item: Map, wishes: _Wishes) -> None:
    from bpfload.inspect.map_changes import Watch

    watched = Watch(item)
    meter = _Meter(session, wishes)
    with until_stopped():
        while True:
            changes = watched.look()
            for change in changes[: meter.left(len(changes))]:
                meter.write(_change_json(change) if session.json else _change_text(change))
            if meter.over():
                break
            time.sleep(min(wishes.interval, meter.left_seconds()))


_SIGNS = {"added": "+", "changed": " ", "removed": "-"}


def _change_text(change: Change) -> str:
    from bpfload_cli.event_lines import text_of

    line = f"{_SIGNS[change.kind]} {text_of(change.key)}: {text_of(change.value)}"
    grown = [
        f"{each.path + ' ' if each.path else ''}{each.difference:+} ({each.per_second:.1f}/s)"
        for each in change.growth
        if change.kind == "changed"
    ]
    return line + (f"  {', '.join(grown)}" if grown else "") + "\n"


def _change_json(change: Change) -> str:
    from bpfload_cli.event_lines import json_of

    growth = [
        {"path": each.path, "value": each.value, "difference": each.difference, "per_second": round(each.per_second, 3)}
        for each in change.growth
    ]
    row = {"change": change.kind, "time": time.time(), "key": change.key, "value": change.value}
    return json_of({**row, "growth": growth} if growth else row) + "\n"


event_pipe_command = WordCommand("event_pipe", event_pipe)
watch_command = WordCommand("watch", watch)
