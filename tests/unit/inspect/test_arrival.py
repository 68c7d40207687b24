"""The order of several values of one id, as libbpf's hash map hands them out."""

from __future__ import annotations

from bpfload.inspect.arrival import ArrivalTable


def test_newest_first_and_turned_around_by_growth() -> None:
    table = ArrivalTable()
    assert not table
    for number in range(3):
        table.add(1, number)
    assert table.numbers(1) == (2, 1, 0)
    table.add(1, 3)
    # The fourth makes the table grow: what was there is turned around, then the new one is put first.
    assert table.numbers(1) == (3, 0, 1, 2)
    assert len(table) == 4
    assert table.numbers(2) == ()


def test_text_and_numbers() -> None:
    table = ArrivalTable()
    table.add(1, "/a")
    table.add(1, "/b")
    assert table.texts(1) == ("/b", "/a")
    assert table.numbers(1) == ()
