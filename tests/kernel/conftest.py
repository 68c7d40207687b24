"""Every kernel test counts its file descriptors."""

from __future__ import annotations

import os

import pytest

from support.libbpf import Libbpf, library

_attached_kinds: list[str] = []


@pytest.fixture(scope="session")
def attached_kinds() -> list[str]:
    """The kinds of attachment that were made and taken away again in this run: test_every_link adds to it."""
    return _attached_kinds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _attached_kinds:
        kinds = ", ".join(_attached_kinds)
        terminalreporter.write_line(f"attached on Linux {os.uname().release}, {len(_attached_kinds)} kinds: {kinds}")


@pytest.fixture(autouse=True)
def _counted_fds(request: pytest.FixtureRequest) -> None:
    if not request.node.get_closest_marker("may_leave_fds"):
        request.getfixturevalue("no_fd_leak")


@pytest.fixture(autouse=True)
def feature_row(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The rows of the table of capabilities that a test is for (support.rows): here for its id to name them."""
    rows: tuple[str, ...] = getattr(request, "param", ())
    return rows


@pytest.fixture(scope="session")
def libbpf() -> Libbpf:
    """The peer in this process; see support.libbpf."""
    found = library()
    if found is None:
        pytest.skip("no libbpf.so (make peers)")
    return found
