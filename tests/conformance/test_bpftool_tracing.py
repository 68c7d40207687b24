"""`struct_ops`, `iter`, `perf`: what bpftool prints of the same things, and what each command leaves in the kernel."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from bpfload.abi import consts
from bpfload.elf import read
from bpfload.kernel import tracefs
from bpfload.load import Object, load
from bpfload.objects import Map
from bpfload.syscall import bpf
from support.attachments import perf_event_open
from support.paths import DATA
from support.peer import bpfload, bpftool, keys, recent_peer, same
from support.programs import load_spec, program_spec

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_SET_BPF = 0x40042408
_TYPE_TRACEPOINT = 2


# struct_ops


@pytest.fixture
def live() -> Iterator[Object]:
    """Struct_ops maps that are loaded, not registered; `first` has its functions."""
    with load(read(str(DATA / "registered.bpf.o"))) as loaded:
        loaded.struct_ops_map("first")
        yield loaded


@pytest.mark.needs_feature("linked_struct_ops", since="6.4", config="CONFIG_DEBUG_INFO_BTF")
def test_struct_ops_maps(live: Object) -> None:
    ident = live.map("first").info().id
    assert same("struct_ops", "show", "id", ident) == [{"id": ident, "name": "first", "kernel_struct_ops": "tcp_congestion_ops"}]
    assert len(same("struct_ops", "list", "name", "second")) == 1
    wanted = {each.info().id for each in live.maps.values()}
    for command in (bpfload, bpftool):
        assert wanted <= {row["id"] for row in command("-j", "struct_ops").json()}
    info, value = same("struct_ops", "dump", "id", ident)
    assert info["bpf_map_info"]["name"] == "first"
    (table,) = value.values()
    assert f"threshold/prog_id:{live.program('threshold').info().id}" in table["data"]["ssthresh"]
    same("struct_ops", "dump", "name", "alone")


@pytest.mark.needs_feature("linked_struct_ops", since="6.4", config="CONFIG_DEBUG_INFO_BTF")
def test_struct_ops_that_are_not_there(live: Object) -> None:
    for words in (
        ("show", "name", "nope"),
        ("dump", "name", "nope"),
        ("show", "id", "4000000000"),
        ("unregister", "name", "nope"),
    ):
        ours, theirs = bpfload("struct_ops", *words), bpftool("struct_ops", *words, check=False)
        assert (bool(ours.status), bool(theirs.status)) == (True, True)
        assert ours.stderr
        # An empty list, where bpftool says no more than that.
        if words[:2] == ("show", "name"):
            assert bpfload("-j", "struct_ops", *words).json() == bpftool("-j", "struct_ops", *words, check=False).json() == []
    refused = bpfload("struct_ops", "unregister", "name", "first")
    assert refused.status == 1
    assert "bpfload link detach" in refused.stderr


@pytest.mark.needs_feature("struct_ops", "struct_ops_link")
def test_registering_and_taking_out(bpffs: Path) -> None:
    """What one registers, the other takes out; both say the same, but for numbers."""
    said = []
    for register, unregister in ((bpfload, bpftool), (bpftool, bpfload)):
        # Two maps of one name can't be registered both: an object with one of each.
        folder = bpffs / register.__name__
        done = register("struct_ops", "register", DATA / "congestion.bpf.o", folder)
        said.append(" ".join(word for word in done.stderr.split() if not word.isdigit()))
        assert [path.name for path in folder.iterdir()] == ["lookable"]
        assert "lookable" in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text()
        refused = unregister(
            "struct_ops", "unregister", "name", "lookable", **({} if unregister is bpfload else {"check": False})
        )
        assert refused.status
        (folder / "lookable").unlink()
        _wait_until_gone("lookable")
    assert said[0] == said[1] == "Registered tcp_congestion_ops lookable map id link id"


def _wait_until_gone(name: str) -> None:
    import time

    for _ in range(200):
        if name not in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split():
            return
        time.sleep(0.02)
    raise AssertionError(f"{name} is still registered")


# Iterators


def rows_of(path: Path) -> list[str]:
    return subprocess.run(["cat", path], check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.needs_feature("iter", "sleepable")
def test_pinned_iterators(bpffs: Path) -> None:
    assert bpfload("iter", "pin", DATA / "iterators.bpf.o", bpffs / "ours").stdout == ""
    # bpftool prints nothing as JSON either; every other command of its kind prints null, and so does ours.
    assert bpfload("-j", "iter", "pin", DATA / "iterators.bpf.o", bpffs / "json").json() is None
    bpftool("iter", "pin", DATA / "iterators.bpf.o", bpffs / "theirs")
    me = f"{os.getpid()} {os.getpid()} "
    shown = []
    for name in ("ours", "theirs"):
        assert [row for row in rows_of(bpffs / name) if row.startswith(me)]
        row = bpftool("-j", "link", "show", "pinned", bpffs / name, check=False).json()
        shown.append({key: value for key, value in row.items() if key not in ("id", "prog_id", "pids")})
    assert shown[0] == shown[1] == {"type": "iter", "target_name": "task"}


@pytest.mark.needs_feature("iter")
def test_an_iterator_over_a_map(bpffs: Path) -> None:
    with Map(bpf.map_create(consts.BPF_MAP_TYPE_HASH, 4, 8, 4, name="walked")) as walked:
        walked.update(pack("=I", 3), pack("=Q", 300))
        of_map = ("map", "id", walked.info().id)
        bpfload("iter", "pin", DATA / "elements.bpf.o", bpffs / "ours", *of_map)
        bpftool("iter", "pin", DATA / "elements.bpf.o", bpffs / "theirs", *of_map)
        assert rows_of(bpffs / "ours") == rows_of(bpffs / "theirs") == ["3: 300"]
        shown = [same("link", "show", "pinned", bpffs / name)["map_id"] for name in ("ours", "theirs")]
        assert shown == [walked.info().id] * 2
        for command in (bpfload, lambda *words: bpftool(*words, check=False)):
            assert command("iter", "pin", DATA / "elements.bpf.o", bpffs / "without").status
            assert not (bpffs / "without").exists()


# perf events


def _held(stack: ExitStack, event: int, type_: int) -> int:
    """Attach a program to a perf event by its fd, as was done before there were links; return the program's id."""
    stack.callback(os.close, event)
    program = stack.enter_context(load_spec(program_spec("held", type_)))
    fcntl.ioctl(event, _SET_BPF, program.fd)
    return program.info().id


def _uprobe(flags: int) -> int:
    """Open a perf event of /bin/true. `flags`: 1 at the function's return."""
    kind = int(Path("/sys/bus/event_source/devices/uprobe/type").read_text())
    path = ctypes.create_string_buffer(b"/bin/true")
    attributes = pack("=IIQQQQQIIQQ", kind, 112, flags, 0, 0, 0, 0, 0, 0, ctypes.addressof(path), 0x40).ljust(112, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    event = int(libc.syscall(_PERF_EVENT_OPEN[platform.machine()], attributes, -1, 0, -1, 8))
    if event < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open")
    return event


@pytest.mark.needs_feature("uprobe", "raw_tracepoint_link")
def test_perf_events(private_mounts: None) -> None:
    with ExitStack() as stack:
        event = perf_event_open(_TYPE_TRACEPOINT, tracefs.event_id("sched", "sched_switch"))
        wanted: dict[int, dict[str, Any]] = {
            _held(stack, event, consts.BPF_PROG_TYPE_TRACEPOINT): {"fd_type": "tracepoint", "tracepoint": "sched_switch"}
        }
        for flags, name in ((0, "uprobe"), (1, "uretprobe")):
            ident = _held(stack, _uprobe(flags), consts.BPF_PROG_TYPE_KPROBE)
            wanted[ident] = {"fd_type": name, "filename": "/bin/true", "offset": 0x40}
        program = stack.enter_context(load_spec(program_spec("raw", consts.BPF_PROG_TYPE_RAW_TRACEPOINT)))
        stack.callback(os.close, bpf.raw_tracepoint_open(program.fd, "task_rename"))
        wanted[program.info().id] = {"fd_type": "raw_tracepoint", "tracepoint": "task_rename"}
        ours, theirs = (
            [row for row in command("-j", "perf").json() if row["pid"] == os.getpid()] for command in (bpfload, bpftool)
        )
        assert ours == theirs
        assert keys(ours) == keys(theirs)
        assert {row["prog_id"]: {key: row[key] for key in list(row)[3:]} for row in ours} == wanted
        start = f"pid {os.getpid()} "
        lines = [
            [line for line in command("perf", "list").stdout.splitlines() if line.startswith(start)]
            for command in (bpfload, bpftool)
        ]
        assert lines[0] == lines[1]
        assert len(lines[0]) == 4
