"""LINUX_VERSION_CODE from what uname(2) says, with the distributions' habits."""

from __future__ import annotations

import os

import pytest

from bpfload.kernel import version


@pytest.mark.parametrize(
    ("release", "text", "signature", "expected"),
    [
        ("6.18.44-fc", "#1 SMP PREEMPT_DYNAMIC", "", (6, 18, 44)),
        ("5.4.0-12-generic", "#15-Ubuntu SMP", "Ubuntu 5.4.0-12.15-generic 5.4.8\n", (5, 4, 8)),
        ("4.19.0-22-amd64", "#1 SMP Debian 4.19.260-1 (2022-09-29)", "", (4, 19, 255)),
        ("5.10.0-8-amd64", "#1 SMP Debian 5.10.46-4", "", (5, 10, 46)),
        ("6.1.0", "#1 SMP Debian unknown", "", (6, 1, 0)),
        ("6.1.7", "#1 SMP", "Ubuntu 6.1\n", (6, 1, 7)),
        ("4.14.300", "", "", (4, 14, 255)),
    ],
)
def test_version(release: str, text: str, signature: str, expected: tuple[int, int, int]) -> None:
    assert version.parse(release, text, signature) == version.encode(*expected)


@pytest.mark.parametrize("release", ["", "6", "6.1", "a.b.c", "6.x.1", "6.1.-1"])
def test_unknown_version(release: str) -> None:
    assert version.parse(release, "") == 0


def test_running_kernel() -> None:
    assert version.release() == os.uname().release
    assert version.code() >> 16 == int(version.release().split(".")[0])
