"""`prog show`, `prog list`, `prog dump xlated`: what bpftool prints of the same programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.abi.names import PROG_TYPE_NAMES
from bpfload.objects import Program
from bpfload.syscall import bpf
from support.paths import DATA, HELLO, SAMPLE_OBJECTS
from support.peer import bpfload, pids, recent_peer, same, same_rows
from support.process import Result
from support.programs import load_spec, program_spec

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("bpftool"), recent_peer]

# Types that load with nothing but "return": type, expected attach type.
_TYPES = {
    "socket_filter": 0,
    "sched_cls": 0,
    "sched_act": 0,
    "tracepoint": 0,
    "xdp": consts.BPF_XDP,
    "perf_event": 0,
    "cgroup_skb": consts.BPF_CGROUP_INET_EGRESS,
    "cgroup_sock": consts.BPF_CGROUP_INET_SOCK_CREATE,
    "lwt_in": 0,
    "sock_ops": consts.BPF_CGROUP_SOCK_OPS,
    "sk_skb": 0,
    "cgroup_device": consts.BPF_CGROUP_DEVICE,
    "sk_msg": consts.BPF_SK_MSG_VERDICT,
    "raw_tracepoint": 0,
    "sk_lookup": consts.BPF_SK_LOOKUP,
    "syscall": 0,
    "netfilter": consts.BPF_NETFILTER,
}


@contextmanager
def held_by_another(fd: int) -> Iterator[int]:
    """Have another process hold an fd too; yield its pid."""
    process = subprocess.Popen(["sleep", "60"], pass_fds=[fd], stdin=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=[*SAMPLE_OBJECTS, DATA / "looked-at.bpf.o"], ids=lambda path: path.name)
def loaded(request: pytest.FixtureRequest, bpffs: Path, bpftool: Callable[..., Result]) -> list[Path]:
    """The pins of an object's programs, loaded by the peer."""
    folder = bpffs / "loaded"
    bpftool("prog", "loadall", request.param, folder)
    return sorted(folder.iterdir())


def test_loaded_programs(loaded: list[Path]) -> None:
    for pin in loaded:
        shown = same("prog", "show", "pinned", pin, "-f")
        assert shown["pinned"] == [str(pin)]
        same("prog", "dump", "xlated", "id", shown["id"])
        same("prog", "dump", "xlated", "id", shown["id"], "opcodes", "linum")


def test_instructions_in_a_file(bpffs: Path, tmp_path: Path, bpftool: Callable[..., Result]) -> None:
    bpftool("prog", "load", HELLO, bpffs / "hello")
    words = ("prog", "dump", "xlated", "pinned", bpffs / "hello", "file")
    bpfload(*words, tmp_path / "ours")
    bpftool(*words, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes() != b""


def test_every_type() -> None:
    with ExitStack() as stack:
        idents = {}
        for name, attach_type in _TYPES.items():
            spec = program_spec(f"is_{name}"[:15], PROG_TYPE_NAMES.index(name), attach_type=attach_type)
            spec.flags = consts.BPF_F_SLEEPABLE if name == "syscall" else 0
            idents[stack.enter_context(load_spec(spec)).info().id] = name
        shown = same_rows("prog", idents)
        assert {ident: row["type"] for ident, row in shown.items()} == idents


def test_without_a_name_and_without_gpl() -> None:
    spec = program_spec("", consts.BPF_PROG_TYPE_SOCKET_FILTER)
    with Program(bpf.prog_load(spec.type, spec.insns, b"Proprietary")) as program:
        shown = same("prog", "show", "id", program.info().id)
        assert "name" not in shown
        assert shown["gpl_compatible"] is False


def test_several_of_one_tag() -> None:
    with ExitStack() as stack:
        several = [stack.enter_context(load_spec(program_spec(f"twin{os.getpid()}"[:15]))) for _ in range(3)]
        shown = same("prog", "show", "name", several[0].info().name)
        assert [row["id"] for row in shown] == [program.info().id for program in several]
        same("prog", "dump", "xlated", "name", several[0].info().name)


def test_a_program_that_ran() -> None:
    stats = bpf.enable_stats()
    try:
        with load_spec(program_spec("ran")) as program:
            for _ in range(3):
                bpf.prog_test_run(program.fd, bytes(64))
            shown = same("prog", "show", "id", program.info().id)
            assert shown["run_cnt"] == 3
            assert shown["run_time_ns"] > 0
    finally:
        os.close(stats)


def test_pins_and_owners(bpffs: Path) -> None:
    with load_spec(program_spec("held")) as program:
        ident = program.info().id
        for name in ("one", "two", "three"):
            bpf.obj_pin(program.fd, str(bpffs / name))
        (bpffs / "deep").mkdir()
        bpf.obj_pin(program.fd, str(bpffs / "deep" / "four"))
        assert len(same_rows("prog", [ident], "-f")[ident]["pinned"]) == 4


def test_owners(bpftool: Callable[..., Result]) -> None:
    """Ours runs in this very process, which it leaves out: the owner is another."""
    with load_spec(program_spec("held")) as program, held_by_another(program.fd) as owner:
        ours, theirs = pids("prog", program.info().id)
        mine = {"pid": owner, "comm": "sleep"}
        assert mine in ours["pids"]
        if "pids" in theirs:  # it needs to have been built with its skeletons
            assert mine in theirs["pids"]


def test_metadata(bpffs: Path, bpftool: Callable[..., Result]) -> None:
    bpftool("prog", "loadall", DATA / "looked-at.bpf.o", bpffs / "loaded")
    shown = same("prog", "show", "pinned", bpffs / "loaded" / "on_rename")
    assert shown["metadata"] == {
        "author": "somebody",
        "revision": 42,
        "flags": {"low": "0x1", "high": "0x2", "far": "0x3", "colour": "GREEN"},
        "wide": "0x11",
        "letter": 1,
    }


def test_a_long_name(bpffs: Path, bpftool: Callable[..., Result]) -> None:
    name = "a_name_that_is_longer_than_the_kernel_keeps"
    bpftool("prog", "loadall", DATA / "looked-at.bpf.o", bpffs / "loaded")
    shown = same("prog", "show", "pinned", bpffs / "loaded" / name)
    assert shown["name"] == name
    found = same("prog", "show", "name", name)
    assert shown["id"] in [row["id"] for row in (found if isinstance(found, list) else [found])]
