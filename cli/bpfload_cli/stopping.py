"""Commands that go on until somebody stops them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def until_stopped() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end what is in the block, quietly; SIGINT also where a shell's background ignores it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    with suppress(KeyboardInterrupt):
        yield


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
