"""`bpfload prog tracelog PROG`: one program's lines among all that is in the trace pipe."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfload.inspect.printed import Printed, printed_by
from bpfload.objects import Program
from bpfload.syscall import bpf
from support import system
from support.process import Result, bpfload_command
from support.programs import small_program

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("nothing_left_behind"), pytest.mark.needs_feature("trace_pipe")]


@pytest.fixture
def hello(hello_pin: Path) -> Iterator[Program]:
    with Program.from_pin(hello_pin) as program:
        yield program


def test_the_formats_of_a_program(hello: Program) -> None:
    assert printed_by(hello) == Printed(("Hello World %d",), 0)
    with small_program() as silent:
        assert printed_by(silent) == Printed((), 0)


@pytest.mark.parametrize(
    ("form", "message", "fits"),
    [
        ("Hello World %d", "Hello World -12", True),
        ("Hello World %d", "Hello World", False),
        ("Hello World %d", "Hello World 1 more", False),
        ("%s: %x of 100%%", "name: beef of 100%", True),
        ("[%5d] %-8s|%c", "[   12] abc     |!", True),
        ("at %pI4, %pS\n", "at 10.0.0.1, do_exit+0x1/0x2", True),
        ("a.b", "axb", False),
    ],
)
def test_what_a_format_can_print(form: str, message: str, fits: bool) -> None:
    assert (message in Printed((form,), 0)) is fits


def test_only_the_lines_of_that_program(private_mounts: None, hello: Program) -> None:
    mounted = Path("/sys/kernel/tracing/events").exists()
    words = [*bpfload_command(), "prog", "tracelog", "id", str(hello.info().id)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(1)
        Path("/sys/kernel/tracing/trace_marker").write_text("Hello World 12\n")
        bpf.prog_test_run(hello.fd, bytes(64), repeat=2)
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    lines = output.splitlines()
    assert (process.returncode, errors) == (0, "")
    assert len(lines) >= 2  # others of this program may have waited in the pipe
    assert all("bpf_trace_printk: Hello World " in line for line in lines)
    numbers = [int(line.rpartition(" ")[2]) for line in lines[-2:]]
    assert numbers[1] == numbers[0] + 1
    if not mounted:
        system.umount("/sys/kernel/tracing")


def test_tracing_that_is_switched_off_is_said(private_mounts: None) -> None:
    switch = Path("/sys/kernel/tracing/tracing_on")
    mounted = switch.exists()
    if not mounted:
        system.mount("tracefs", "/sys/kernel/tracing", "tracefs")
    switch.write_text("0")
    try:
        process = subprocess.Popen(
            [*bpfload_command(), "prog", "tracelog"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert "tracing is switched off" in process.communicate(timeout=20)[1]
    finally:
        switch.write_text("1")
        if not mounted:
            system.umount("/sys/kernel/tracing")


def test_a_program_that_prints_nothing(bpfload: Callable[..., Result]) -> None:
    with small_program("silent") as program:
        failed = bpfload("prog", "tracelog", "id", program.info().id, check=False)
        assert failed.status == 2
        assert "(silent) can't be told in the trace pipe: it doesn't call bpf_printk()" in failed.stderr
