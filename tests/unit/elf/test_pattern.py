"""bpfload.elf.pattern: patterns of functions' names."""

from __future__ import annotations

import time

import pytest

from bpfload.elf.pattern import glob, is_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("read", ["read"], ["pread", "read2", ""]),
        ("read*", ["read", "read64"], ["pread"]),
        ("*read*", ["read", "pread64"], ["rea", "red"]),
        ("p?ead", ["pread"], ["pead", "prread"]),
        ("*_a_*_b*", ["x_a__b", "x_a_1_b_2"], ["x_a_b", "_b_a_"]),
        ("*ab*ab", ["abab", "abxab", "ababab"], ["ab", "aba"]),
        ("?*", ["a", "abc"], [""]),
        ("*", ["", "anything"], []),
        ("**a**", ["a", "bab"], ["b"]),
        ("a.b[c]+", ["a.b[c]+"], ["aXb[c]+", "a.bc", "a.b[c]"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], others: list[str]) -> None:
    matches = glob(pattern)
    assert [name for name in matching if not matches(name)] == []
    assert [name for name in others if matches(name)] == []


def test_what_is_a_pattern() -> None:
    assert [is_pattern(text) for text in ("read", "read*", "p?ead", "a[b]")] == [False, True, True, False]


def test_a_hostile_pattern_takes_no_time() -> None:
    matches = glob("*a" * 50 + "b")
    start = time.monotonic()
    assert not matches("a" * 4000)
    assert time.monotonic() - start < 1
