"""`bpfload map watch` and `map event_pipe`: events as lines, contents as they change, rates, what was lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import pytest

from bpfload.abi import consts
from bpfload.insn import assemble as asm
from bpfload.kernel import cpus
from bpfload.objects import Map, Program
from bpfload.syscall import bpf
from support.paths import EXEC_EVENTS, PACKET_COUNTER
from support.peer import recent_peer
from support.process import Result, bpfload_command, bpftool_command

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("nothing_left_behind")]

PACKET = bytes(64)


_running: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def none_goes_on() -> Iterator[None]:
    """Kill the commands that a failing test has left running."""
    yield
    while _running:
        process = _running.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


class Stream:
    """A command that prints on: its lines, until it is told to stop."""

    def __init__(self, *words: object, command: list[str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*(command or bpfload_command()), *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _running.append(self.process)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def repeatedly() -> Iterator[Callable[..., None]]:
    """`repeatedly(action)`: do that every 50 ms until the test ends."""
    stop = threading.Event()
    threads = []

    def start(action: Callable[[], object]) -> None:
        def work() -> None:
            while not stop.wait(0.05):
                action()

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def exec_events(bpffs: Path, bpfload: Callable[..., Result]) -> Path:
    bpfload(EXEC_EVENTS, bpffs / "exec", "--pin-maps", bpffs / "maps")
    return bpffs / "maps" / "events"


@pytest.mark.needs_feature("ringbuf")
def test_a_ring_buffer_by_its_type(exec_events: Path, repeatedly: Callable[..., None]) -> None:
    repeatedly(lambda: subprocess.run(["/bin/true"], check=True))
    status, out, err = Stream("map", "watch", "pinned", exec_events, "count", 3).end()
    assert status == 0
    lines = out.splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"time=\d+ pid=\d+ uid=\d+ comm=\S+", line) for line in lines), lines
    assert "events are taken for struct event" in err

    status, out, err = Stream("-j", "map", "watch", "pinned", exec_events, "type", "event", "count", 3).end()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [list(row) for row in rows] == [["time", "pid", "uid", "comm"]] * 3
    assert {row["uid"] for row in rows} == {os.getuid()}
    assert err == ""


@pytest.mark.needs_feature("ringbuf")
def test_a_type_that_is_not_there(exec_events: Path, bpfload: Callable[..., Result]) -> None:
    failed = bpfload("map", "watch", "pinned", exec_events, "type", "struct", "evnt", check=False)
    assert failed.status == 1
    assert "no struct 'evnt'" in failed.stderr
    assert "Did you mean event?" in failed.stderr


@pytest.mark.needs_feature("ringbuf")
def test_types_from_a_file_and_events_as_bytes(repeatedly: Callable[..., None]) -> None:
    with (
        Map(bpf.map_create(consts.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, name="raw")) as ring,
        writer(ring, pack("=QII16s", 5, 6, 7, b"ab")) as program,
    ):
        repeatedly(lambda: bpf.prog_test_run(program.fd, PACKET, repeat=1))
        ident = ring.info().id
        _, out, err = Stream("map", "watch", "id", ident, "count", 1).end()
        assert out == f"data={pack('=QII16s', 5, 6, 7, b'ab').hex(' ')}\n"
        assert "events are shown as bytes" in err
        _, out, err = Stream("map", "watch", "id", ident, "count", 1, "type", "event", "btf", EXEC_EVENTS).end()
        assert (out, err) == ("time=5 pid=6 uid=7 comm=ab\n", "")
        status, _, err = Stream("map", "watch", "id", ident, "type", "event").end()
        assert status == 1
        assert "no program with BTF uses the map" in err


def writer(ring: Map, record: bytes, *, helper: int = 130) -> Program:
    """Load a program that writes the record: to a ring buffer, or (helper 25) to a perf buffer."""
    size = (len(record) + 7) & ~7
    words = [int.from_bytes(record[at : at + 8].ljust(8, b"\0"), "little") for at in range(0, size, 8)]
    fill = [
        part
        for place, word in enumerate(words)
        for part in (asm.ld_imm64(7, word), asm.store(asm.BPF_DW, 10, 7, place * 8 - size))
    ]
    if helper == 130:
        arguments = [
            asm.ld_map_fd(1, ring.fd),
            asm.mov64_reg(2, 10),
            asm.alu64_imm(0, 2, -size),
            asm.mov64_imm(3, len(record)),
            asm.mov64_imm(4, 0),
        ]
    else:
        arguments = [
            asm.mov64_reg(1, 6),
            asm.ld_map_fd(2, ring.fd),
            asm.mov32_imm(3, -1),
            asm.mov64_reg(4, 10),
            asm.alu64_imm(0, 4, -size),
            asm.mov64_imm(5, len(record)),
        ]
    code = asm.assemble(asm.mov64_reg(6, 1), *fill, *arguments, asm.call(helper), asm.mov64_imm(0, 2), asm.exit_())
    return Program(bpf.prog_load(consts.BPF_PROG_TYPE_XDP, code, b"GPL", name="writes"))


@pytest.mark.needs_feature("ringbuf")
def test_a_buffer_that_overflows_says_so() -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, name="small")) as ring, writer(ring, b"12345678") as program:
        bpf.prog_test_run(program.fd, PACKET, repeat=1000)
        status, out, err = Stream("map", "watch", "id", ring.info().id, "seconds", 0.3).end()
        assert status == 0
        assert len(out.splitlines()) == 4096 // 16 - 1
        assert "the buffer was full 1 times: programs may have dropped events" in err


def test_a_perf_buffer(repeatedly: Callable[..., None]) -> None:
    with perf_map() as events, writer(events, pack("=QII16s", 5, 6, 7, b"ab"), helper=25) as program:
        repeatedly(lambda: bpf.prog_test_run(program.fd, PACKET, repeat=1))
        words = ("map", "watch", "id", events.info().id, "count", 2, "type", "event", "btf", EXEC_EVENTS)
        _, out, err = Stream(*words).end()
        assert all(re.fullmatch(r"time=\d+ cpu=\d+ time=5 pid=6 uid=7 comm=ab", line) for line in out.splitlines()), out
        assert err == ""


def perf_map() -> Map:
    return Map(bpf.map_create(consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, cpus.possible(), name="events"))


# event_pipe


@recent_peer
@pytest.mark.parametrize("flags", [[], ["-j"]])
@pytest.mark.usefixtures("bpftool")
def test_event_pipe_prints_what_bpftool_prints(flags: list[str], repeatedly: Callable[..., None]) -> None:
    peer = bpftool_command()
    assert peer
    found = []
    for command in (bpfload_command(), [peer]):
        with perf_map() as events, writer(events, b"0123456789abcdef!", helper=25) as program:
            stream = Stream(*flags, "map", "event_pipe", "id", events.info().id, command=command)
            time.sleep(1)
            bpf.prog_test_run(program.fd, PACKET, repeat=2)
            time.sleep(0.5)
            status, out, err = stream.stop()
            assert (status, err) == (0, "Stopping...\n")
            found.append(re.sub(r"@\d+\.\d{9}|\"timestamp\":\d+|(CPU: |index: |\"cpu\":|\"index\":)\d+", r"\1#", out))
    ours, theirs = found
    assert ours == theirs
    assert ours.count("#") == 6


def test_event_pipe_of_one_cpu_and_of_other_maps(bpfload: Callable[..., Result]) -> None:
    with perf_map() as events, Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) as other:
        ident = events.info().id
        lonely = bpfload("map", "event_pipe", "id", ident, "cpu", 0, check=False)
        assert "cpu and index must be specified together" in lonely.stderr
        nothing = bpfload("map", "event_pipe", "id", other.info().id, check=False)
        assert "map is not a perf event array" in nothing.stderr
        word = bpfload("map", "event_pipe", "id", ident, "cpu", "x", "index", 0, check=False)
        assert "'x' is not a whole number" in word.stderr
        stream = Stream("-j", "map", "event_pipe", "id", ident, "cpu", 0, "index", 0)
        time.sleep(0.7)
        assert stream.stop(signal.SIGTERM) == (0, "[]\n", "Stopping...\n")


# Contents


def test_contents_as_they_change(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    bpfload(PACKET_COUNTER, bpffs / "counter", "--pin-maps", bpffs / "maps")
    path = bpffs / "maps" / "protocols"
    with Map.from_pin(path) as protocols:
        protocols.update(pack("=I", 6), pack("=QQ", 10, 1000))
        protocols.update(pack("=I", 17), pack("=QQ", 1, 60))
        text = Stream("map", "watch", "pinned", path, "interval", 0.2)
        data = Stream("-j", "map", "watch", "pinned", path, "interval", 0.2)
        time.sleep(1.2)
        protocols.update(pack("=I", 6), pack("=QQ", 15, 1000))
        time.sleep(0.6)
        protocols.delete(pack("=I", 17))
        time.sleep(0.6)
        status, out, _ = text.stop()
        lines = out.splitlines()
        assert status == 0
        assert sorted(lines[:2]) == ["+ 17: {packets=1 bytes=60}", "+ 6: {packets=10 bytes=1000}"]
        assert re.fullmatch(r"  6: \{packets=15 bytes=1000\}  packets \+5 \(\d+\.\d/s\)", lines[2])
        assert lines[3] == "- 17: {packets=1 bytes=60}"
        rows = [json.loads(line) for line in data.stop()[1].splitlines()]
        assert [row["change"] for row in rows] == ["added", "added", "changed", "removed"]
        assert rows[2]["key"] == 6
        assert rows[2]["value"] == {"packets": 15, "bytes": 1000}
        (growth,) = rows[2]["growth"]
        assert (growth["path"], growth["value"], growth["difference"]) == ("packets", 15, 5)
        assert growth["per_second"] > 0


def test_wrong_words(bpfload: Callable[..., Result]) -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) as other:
        ident = other.info().id
        for words, expected in (
            (("type", "event"), "'type' is for ring and perf buffers"),
            (("seconds", "soon"), "seconds soon: that is no number of seconds"),
            (("interval", "-1"), "that is no number of seconds"),
            (("fast",), "an option of map watch"),
        ):
            failed = bpfload("map", "watch", "id", ident, *words, check=False)
            assert failed.status == 2
            assert expected in failed.stderr
