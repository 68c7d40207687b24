"""Where things are in the source tree."""

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
REPO = TESTS.parent
DATA = TESTS / "data"
SAMPLES = REPO / "samples"

HELLO = SAMPLES / "hello" / "hello.bpf.o"
HELLO_FUNC = SAMPLES / "hello-func" / "hello-func.bpf.o"
PACKET_COUNTER = SAMPLES / "packet-counter" / "packet-counter.bpf.o"
EXEC_EVENTS = SAMPLES / "exec-events" / "exec-events.bpf.o"
SYS_ENTER = SAMPLES / "sys-enter" / "sys-enter.bpf.o"
SAMPLE_OBJECTS = (HELLO, HELLO_FUNC, PACKET_COUNTER, SYS_ENTER, EXEC_EVENTS)


def cache_directory() -> Path:
    """Return where what is built and fetched for the tests is kept: $BPFLOAD_CACHE, or .cache/ in the project root."""
    return Path(os.environ.get("BPFLOAD_CACHE") or REPO / ".cache").absolute()
