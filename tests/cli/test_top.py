"""`bpfload top`: how busy programs are, as text, as JSON, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bpfload.inspect.activity import Activity
from bpfload.syscall import bpf
from support.process import Result, bpfload_command
from support.programs import small_program

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.usefixtures("nothing_left_behind"),
    pytest.mark.needs_feature("run_statistics", since="5.8"),
]

PACKET = bytes(64)


@pytest.fixture
def busy() -> Iterator[int]:
    """The id of a program that runs 1,000 times each 20 ms."""
    stop = threading.Event()
    with small_program("busy") as program:

        def work() -> None:
            while not stop.wait(0.02):
                bpf.prog_test_run(program.fd, PACKET, repeat=1000)

        thread = threading.Thread(target=work)
        thread.start()
        yield program.info().id
        stop.set()
        thread.join()


def test_calls_are_counted() -> None:
    with small_program("counted") as program, small_program("idle") as idle, Activity() as activity:
        activity.look()
        bpf.prog_test_run(program.fd, PACKET, repeat=500)
        found = {each.id: each for each in activity.look()}
        counted, quiet = found[program.info().id], found[idle.info().id]
        assert (counted.calls, counted.name, counted.type) == (500, "counted", "xdp")
        assert counted.calls_per_second > 0
        assert counted.ns_per_call > 0
        assert counted.cpu > 0
        assert (quiet.calls, quiet.calls_per_second, quiet.ns_per_call, quiet.cpu) == (0, 0, 0, 0)
        activity.look()
        again = {each.id: each for each in activity.look()}[program.info().id]
        assert (again.calls, again.calls_per_second) == (500, 0)


def test_text_and_json(busy: int, bpfload: Callable[..., Result]) -> None:
    text = bpfload("top", "count", 2, "interval", "0.3", "sort", "rate", "rows", 1)
    tables = text.stdout.split("\n\n")
    assert len(tables) == 2
    head, row = tables[0].splitlines()
    assert head.split() == ["ID", "TYPE", "NAME", "CPU", "%", "CALLS/S", "NS/CALL", "CALLS", "SECONDS"]
    assert row.split()[:3] == [str(busy), "xdp", "busy"]
    lines = bpfload("-j", "top", "count", 2, "interval", "0.3").lines
    (row,) = [each for each in json.loads(lines[1])["programs"] if each["id"] == busy]
    assert row["calls_per_second"] > 100


def test_wrong_words(bpfload: Callable[..., Result]) -> None:
    for words, said in ((("sort", "colour"), "cpu, rate, each"), (("interval", "0"), "no number of seconds")):
        failed = bpfload("top", *words, check=False)
        assert failed.status == 2
        assert said in failed.stderr


def test_on_a_terminal(busy: int) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen([*bpfload_command(), "top", "interval", "0.2"], stdin=theirs, stdout=theirs, env=environment)
    os.close(theirs)
    seen = b""
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not re.search(rb"busy", seen):
            if select.select([ours], [], [], 0.5)[0]:
                seen += os.read(ours, 65536)
        assert b"CALLS/S" in seen
        os.write(ours, b"n")
        time.sleep(0.3)
        os.write(ours, b"q")
        while time.monotonic() < deadline and process.poll() is None:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    seen += os.read(ours, 65536)
                except OSError:
                    break
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        os.close(ours)
