"""Every kernel test counts its file descriptors."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _counted_fds(request: pytest.FixtureRequest) -> None:
    if not request.node.get_closest_marker("may_leave_fds"):
        request.getfixturevalue("no_fd_leak")
