"""bpfload.streams.events: records to objects, the quick way equal to the thorough one."""

from __future__ import annotations

from struct import pack

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError, NotFoundError, UsageError
from bpfload.streams.events import EventType
from bpfload.streams.ring_buffer import Batch

HEADER = bytes(8)


@pytest.fixture
def btf() -> Btf:
    new = BtfBuilder(little_endian=True)
    u32 = new.add_int("unsigned int", 4)
    u64 = new.add_int("unsigned long", 8)
    i8 = new.add_int("signed char", 1, t.INT_SIGNED)
    char = new.add_int("char", 1, t.INT_SIGNED)
    comm = new.add_array(char, 8, u32)
    pid = new.add_typedef("pid_t", u32)
    new.add_struct("event", 32, [("pid", pid, 0), ("level", i8, 32), ("when", u64, 64), ("comm", comm, 128), ("from", u64, 192)])
    inner = new.add_struct("", 8, [("a", u32, 0), ("b", u32, 32)])
    new.add_struct("nested", 16, [("kind", u32, 0), ("", inner, 32), ("last", u32, 96)])
    new.add_struct("bits", 4, [("low", u32, 0, 4), ("high", u32, 4, 28)])
    return new.build()


def event(pid: int, comm: bytes = b"bash") -> bytes:
    return pack("<Ib3xQ8sQ", pid, -3, 1 << 40, comm, 7)


def test_members_are_attributes_whatever_they_are_called(btf: Btf) -> None:
    one = EventType(btf, "struct event").decode(event(42))
    assert (one.pid, one.level, one.when, one.comm) == (42, -3, 1 << 40, "bash")
    assert getattr(one, "from") == 7
    assert one.as_dict() == {"pid": 42, "level": -3, "when": 1 << 40, "comm": "bash", "from": 7}
    assert repr(one) == "event(pid=42, level=-3, when=1099511627776, comm='bash', from=7)"
    assert one[0] == 42


@pytest.mark.parametrize("comm", [b"bash", b"", b"12345678", b"\xff\xfe", b"a\0rest", b"tab\t"])
def test_a_batch_gives_what_single_records_give(btf: Btf, comm: bytes) -> None:
    kind = EventType(btf, "event")
    records = [event(1, comm), event(2, comm)]
    batch = Batch(b"".join(HEADER + record for record in records), 2, 40, 32)
    assert batch.records() == records
    assert kind.decode_batch(batch) == [kind.decode(record) for record in records]


def test_longer_records_and_padding(btf: Btf) -> None:
    kind = EventType(btf, "event")
    step = 8 + 40
    batch = Batch(b"".join(HEADER + event(n) + b"more".ljust(8, b"!") for n in range(3)), 3, step, 36)
    assert [each.pid for each in kind.decode_batch(batch)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "record", "values"),
    [
        ("nested", pack("<4I", 1, 2, 3, 4), {"kind": 1, "a": 2, "b": 3, "last": 4}),
        ("bits", pack("<I", 0x25), {"low": 5, "high": 2}),
    ],
)
def test_what_takes_the_thorough_way(btf: Btf, name: str, record: bytes, values: dict[str, int]) -> None:
    kind = EventType(btf, name)
    batch = Batch(HEADER + record.ljust(16, b"\0"), 1, 24, len(record))
    assert [each.as_dict() for each in kind.decode_batch(batch)] == [values]


def test_short_records_and_wrong_types(btf: Btf) -> None:
    kind = EventType(btf, "event")
    with pytest.raises(FormatError, match="a record of 4 bytes is too short for struct event, which has 32"):
        kind.decode(bytes(4))
    with pytest.raises(FormatError, match="too short"):
        kind.decode_batch(Batch(HEADER + bytes(8), 1, 16, 4))
    with pytest.raises(NotFoundError) as caught:
        EventType(btf, "struct evnt")
    assert caught.value.candidates == ("event",)
    with pytest.raises(UsageError, match="is no struct"):
        EventType(btf, btf.find("char"))
