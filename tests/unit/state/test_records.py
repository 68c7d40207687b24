"""What is remembered of a load: as text that a symbolic link can hold."""

from __future__ import annotations

import random

import pytest

from bpfload.errors import PinError
from bpfload.state.records import Record, digest_of, from_text, text_of

PATH_MAX = 4096


def record(pins: int, declared: int = 1) -> Record:
    rows: dict[str, list[object]] = {f"@/program_{n}": ["p", random.Random(n).randrange(1 << 20)] for n in range(pins)}
    said = {f"set.variable_{n}": random.Random(n).random() for n in range(declared)}
    return Record("/sys/fs/bpf/x", "lab", "x", "0" * 64, said, digest_of(said), rows, {"eth0": 2}, 0, ["/sys/fs/bpf/l"], True)


def test_a_small_one_is_readable_text_and_comes_back() -> None:
    text = text_of(record(2))
    assert text.startswith('{"bpfload":1,"name":"lab","object":"x"')
    assert from_text(text, "/sys/fs/bpf/x") == record(2)


def test_a_large_one_is_packed_and_comes_back_entire() -> None:
    text = text_of(record(150))
    assert len(text) < PATH_MAX
    assert from_text(text, "/sys/fs/bpf/x") == record(150)


def test_what_was_declared_gives_way_to_its_hash() -> None:
    large = record(20, 1000)
    text = text_of(large)
    assert len(text) < PATH_MAX
    found = from_text(text, "/sys/fs/bpf/x")
    assert found is not None
    assert (found.declared, found.declared_digest, found.pins) == (None, large.declared_digest, large.pins)


def test_one_that_is_too_long() -> None:
    with pytest.raises(PinError, match="too much for a record: 5000 pins"):
        text_of(record(5000))


@pytest.mark.parametrize(
    "text",
    ["", "../elsewhere", "{}", "[]", "5", '{"bpfload":2,"name":"a","object":"b"}', '{"bpfload":1}', "bpfload:", "bpfload:!x\x00"],
)
def test_a_text_that_is_no_record(text: str) -> None:
    assert from_text(text, "/x") is None
