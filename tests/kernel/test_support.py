"""The fixtures themselves, on the real kernel: what other tests rely on."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from support import leaks, system, tracer
from support.namespaces import VethPair, run_in_cgroup
from support.paths import HELLO
from support.process import Result, bpftool_command, run


def _array_map() -> int:
    return system.bpf(0, bytearray(struct.pack("=IIII56x", 2, 4, 4, 1)))


def test_bpffs_is_fresh_and_private(bpffs: Path, bpftool: Callable[..., Result]) -> None:
    bpftool("prog", "load", HELLO, bpffs / "hello")
    assert os.listdir(bpffs) == ["hello"]
    assert str(bpffs) not in Path("/proc/1/mounts").read_text()


@pytest.mark.needs_feature("veth", "xdp_link")
def test_packets_arrive(bpffs: Path, veth: VethPair, bpftool: Callable[..., Result]) -> None:
    bpftool("prog", "load", HELLO, bpffs / "hello", "pinmaps", bpffs)
    run("ip", "link", "set", "dev", veth.device, "xdpgeneric", "pinned", bpffs / "hello")
    veth.send(3)
    counter = bpftool("-j", "map", "dump", "pinned", bpffs / "hello_bss", check=False)
    if counter.status:  # libbpf pins hello.bss with its own idea of a name
        ids = bpftool("-j", "prog", "show", "pinned", bpffs / "hello").json()["map_ids"]
        dumps = [bpftool("-j", "map", "dump", "id", number).stdout for number in ids]
        assert any('"counter":3' in dump for dump in dumps), dumps


def test_cgroup_holds_a_process(cgroup: Path) -> None:
    result = run_in_cgroup(cgroup, ["cat", "/proc/self/cgroup"])
    assert f"0::/{cgroup.name}" in result.stdout


@pytest.mark.may_leave_fds
def test_a_leaked_fd_is_seen() -> None:
    before = leaks.open_fds()
    fd = _array_map()
    try:
        assert leaks.open_fds() - before == {"anon_inode:bpf-map": 1}
    finally:
        os.close(fd)
    assert not leaks.open_fds() - before


def test_a_left_map_is_seen() -> None:
    before = leaks.kernel_ids()
    fd = _array_map()
    try:
        remaining = leaks.left_behind(before, patience=0)
        assert len(remaining["map"]) == 1
    finally:
        os.close(fd)
    assert not leaks.left_behind(before)


def test_the_peer_leaves_nothing(nothing_left_behind: None, bpffs: Path, bpftool: Callable[..., Result]) -> None:
    bpftool("prog", "load", HELLO, bpffs / "hello")


@pytest.mark.usefixtures("strace", "bpftool")
def test_calls_are_counted_and_killed(bpffs: Path) -> None:
    command = [bpftool_command() or "", "prog", "load", HELLO, bpffs / "hello"]
    names = tracer.bpf_commands(command)
    assert names.count("BPF_OBJ_PIN") == 1
    assert "BPF_PROG_LOAD" in names
    os.unlink(bpffs / "hello")

    points = tracer.kill_points(command, ["bpf"])
    os.unlink(bpffs / "hello")
    pin = next(point for point in points if point.call.command == "BPF_OBJ_PIN")
    assert pin.number == len(names) - names[::-1].index("BPF_OBJ_PIN")
    killed = tracer.run_killed(command, pin)
    assert killed.status == -9
    assert os.listdir(bpffs) == []
    failed = tracer.run_failing(command, pin, "ENOSPC")
    assert failed.status > 0
    assert "failed to pin" in failed.stderr
    assert os.listdir(bpffs) == []
