"""Looking at what is loaded, through the installed command: bpftool's words, where they may stand, and what a miss says."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.objects import Map, Program
from bpfload.syscall import bpf
from support import system
from support.features import why_missing
from support.paths import HELLO, HELLO_FUNC
from support.process import Argument, Result, bpfload_command, find_tool, run
from support.programs import load_spec, program_spec, small_program

pytestmark = pytest.mark.needs_root

_TAG = "490c48c1179970a8" if not why_missing("sha256_tag") else "d35b94b4c0c10efb"


@pytest.fixture
def ident(hello_pin: Path) -> int:
    """The id of the sample `hello`, pinned in a bpffs of the test's own."""
    with Program.from_pin(hello_pin) as program:
        return program.info().id


def test_every_way_to_name_a_program(hello_pin: Path, ident: int, bpfload: Callable[..., Result]) -> None:
    for selector in (("id", ident), ("name", "hello"), ("tag", _TAG), ("pinned", hello_pin)):
        shown = bpfload("-j", "prog", "show", *selector).json()
        assert ident in [row["id"] for row in (shown if isinstance(shown, list) else [shown])]
    text = bpfload("prog", "show", "id", ident).lines
    assert text[0] == f"{ident}: xdp  name hello  tag {_TAG}  gpl"
    assert text[1].startswith("\tloaded_at 20")
    assert text[2].startswith("\txlated 96B  jited ")


@pytest.mark.parametrize(
    "words",
    [
        ["p", "s", "i", "{id}"],
        ["prog", "list", "id", "{id}"],
        ["pro", "sho", "pinned", "{pin}"],
        ["prog", "show", "id", "0x{id:x}"],
    ],
)
def test_beginnings_of_words_will_do(hello_pin: Path, ident: int, bpfload: Callable[..., Result], words: list[str]) -> None:
    asked = [word.format(id=ident, pin=hello_pin) for word in words]
    assert bpfload(*asked).stdout == bpfload("prog", "show", "id", ident).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["-j", "prog", "show", "id", "{id}"],
        ["prog", "-j", "show", "id", "{id}"],
        ["prog", "show", "id", "{id}", "--json"],
        ["prog", "show", "id", "{id}", "-nmj"],
        ["--mapcompat", "prog", "show", "--nomount", "id", "{id}", "--pretty"],
        ["prog", "show", "-dp", "id", "{id}"],
    ],
)
def test_flags_stand_anywhere(ident: int, bpfload: Callable[..., Result], words: list[str]) -> None:
    shown = bpfload(*[word.format(id=ident) for word in words]).json()
    assert (shown["id"], shown["name"], shown["bytes_xlated"]) == (ident, "hello", 96)


def test_pins_are_shown_when_asked_for(hello_pin: Path, ident: int, bpfload: Callable[..., Result]) -> None:
    assert "pinned" not in bpfload("-j", "prog", "show", "id", ident).json()
    assert bpfload("-jf", "prog", "show", "id", ident).json()["pinned"] == [str(hello_pin)]
    assert f"\tpinned {hello_pin}" in bpfload("prog", "show", "id", ident, "--bpffs").lines


def test_no_second_word_means_show(ident: int, bpfload: Callable[..., Result]) -> None:
    assert ident in [row["id"] for row in bpfload("-j", "prog").json()]
    for command in ("map", "link", "btf"):
        assert isinstance(bpfload("-j", command).json(), list)


def test_maps_of_a_load(ident: int, bpfload: Callable[..., Result]) -> None:
    shown = bpfload("-j", "prog", "show", "id", ident).json()
    maps = {row["name"]: row for row in bpfload("-j", "map", "list").json() if row["id"] in shown["map_ids"]}
    assert maps["hello.bss"]["flags"] == 0x400
    assert (maps["hello.rodata"]["flags"], maps["hello.rodata"]["frozen"]) == (0x80, 1)
    (row,) = bpfload("-j", "map", "dump", "id", maps["hello.rodata"]["id"]).json()
    assert row["formatted"] == {"value": {".rodata": [{"hello.____fmt": "Hello World %d"}]}}
    assert '"hello.____fmt": "Hello World %d"' in bpfload("map", "dump", "id", maps["hello.rodata"]["id"]).stdout


def test_instructions(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    bpfload(HELLO_FUNC, bpffs / "func", "--no-attach")
    text = bpfload("prog", "dump", "xlated", "pinned", bpffs / "func").lines
    assert text[0] == "int hello(struct bpf_raw_tracepoint_args * ctx):"
    assert any("call pc+7" in line and "get_opcode" in line for line in text)


# Misses


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prog", "show", "name", "nosuch"], "no program has the name 'nosuch'"),
        (["prog", "show", "id", "4294967294"], "no program has id 4294967294"),
        (["prog", "show", "tag", "0123456789abcdef"], "no program has the tag"),
        (["prog", "show", "pinned", "/sys/fs/bpf/no/such"], "nothing is pinned at /sys/fs/bpf/no/such"),
        (["prog", "dump", "xlated", "name", "nosuch"], "no program has the name 'nosuch'"),
        (["map", "show", "name", "nosuch"], "no map has the name 'nosuch'"),
        (["map", "dump", "id", "4294967294"], "no map has id"),
        (["link", "show", "id", "4294967294"], "no link has id"),
        (["link", "detach", "id", "4294967294"], "no link has id"),
        (["btf", "show", "id", "4294967294"], "no BTF object has id"),
        (["net", "list", "dev", "nosuch"], "no network device is called 'nosuch'"),
        (["inspect", "/no/such.o"], "/no/such.o"),
    ],
)
def test_what_is_not_there(bpfload: Callable[..., Result], words: list[str], said: str) -> None:
    done = bpfload(*words, check=False)
    assert (done.status, done.stdout) == (1, "")
    assert said in done.stderr
    as_json = bpfload("-j", *words, check=False)
    assert as_json.status == 1
    assert said in as_json.json()["error"]


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        ["prog", "nosuch"],
        ["prog", "show", "nosuch"],
        ["prog", "show", "id"],
        ["prog", "show", "id", "seven"],
        ["prog", "show", "id", "1", "2"],
        ["prog", "show", "tag", "xyz"],
        ["prog", "dump"],
        ["prog", "dump", "jumped", "id", "1"],
        ["prog", "tracelog", "stdin"],
        ["map", "dump"],
        ["link", "show", "name", "x"],
        ["net", "list", "lo"],
        ["net", "attach", "xdpx"],
        ["btf", "show", "name", "x"],
        ["inspect"],
        ["--nosuch", "prog"],
    ],
)
def test_words_that_make_no_sense(bpfload: Callable[..., Result], words: list[str]) -> None:
    done = bpfload(*words, check=False)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert set(bpfload("-j", *words, check=False).json()) == {"error"}


def test_a_near_name_is_named(ident: int, bpfload: Callable[..., Result]) -> None:
    assert "hello" in bpfload("prog", "show", "name", "helo", check=False).stderr


def test_a_pin_of_another_kind(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    with small_program() as program:
        bpf.obj_pin(program.fd, str(bpffs / "program"))
    done = bpfload("map", "show", "pinned", bpffs / "program", check=False)
    assert done.status == 1
    assert "holds a program, not a map" in done.stderr


@pytest.mark.needs_feature("capabilities", since="5.8")
@pytest.mark.parametrize("line", ["prog list", "map", "prog show id 1", "link", "btf", "net"])
def test_not_root(line: str) -> None:
    """Without the capability, its name is said."""
    tool = find_tool("setpriv")
    assert tool
    done = run(tool, "--bounding-set=-all", *bpfload_command(), *line.split(), check=False)
    assert (done.status, done.stdout) == (1, "")
    assert ("CAP_NET_ADMIN" if line == "net" else "CAP_SYS_ADMIN") + " is missing" in done.stderr
    assert "Traceback" not in done.stderr


# Changing things


@pytest.mark.parametrize("kind", ["prog", "map", "link"])
def test_pin(kind: str, bpffs: Path, bpfload: Callable[..., Result]) -> None:
    with load_spec(program_spec("pinned", consts.BPF_PROG_TYPE_RAW_TRACEPOINT)) as program:
        link = bpf.raw_tracepoint_open(program.fd, "task_rename")
        try:
            with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) as item:
                rows = {"prog": program.info().id, "map": item.info().id}
                rows["link"] = next(row["id"] for row in bpfload("-j", "link").json() if row["prog_id"] == rows["prog"])
                path = bpffs / kind
                assert bpfload("-j", kind, "pin", "id", rows[kind], path).json() is None
                assert bpfload("-j", kind, "show", "pinned", path).json()["id"] == rows[kind]
                again = bpfload(kind, "pin", "id", rows[kind], path, check=False)
                assert again.status == 1
                assert "exists already" in again.stderr
                dotted = bpfload(kind, "pin", "id", rows[kind], bpffs / "with.dot", check=False)
                assert dotted.status == 1
                assert "has a dot in it" in dotted.stderr
        finally:
            os.close(link)


def test_pin_outside_of_bpffs(tmp_path: Path, ident: int, bpfload: Callable[..., Result]) -> None:
    done = bpfload("prog", "pin", "id", ident, tmp_path / "pin", check=False)
    assert done.status == 1
    assert "not on a BPF file system" in done.stderr
    done = bpfload("prog", "pin", "id", ident, tmp_path / "no" / "pin", check=False)
    assert "no directory" in done.stderr


@pytest.mark.needs_feature("link_detach")
def test_link_detach(cgroup: Path, bpfload: Callable[..., Result]) -> None:
    with load_spec(program_spec("egress", consts.BPF_PROG_TYPE_CGROUP_SKB)) as program:
        folder = os.open(cgroup, os.O_RDONLY)
        link = bpf.link_create(program.fd, folder, consts.BPF_CGROUP_INET_INGRESS)
        try:
            found = next(row for row in bpfload("-j", "link").json() if row["prog_id"] == program.info().id)
            assert found["cgroup_id"] == cgroup.stat().st_ino
            assert bpfload("-j", "link", "detach", "id", found["id"]).json() is None
            assert bpf.prog_query(folder, consts.BPF_CGROUP_INET_INGRESS)[0] == []
        finally:
            os.close(link)
            os.close(folder)


# Where the output goes


def test_colour_on_a_terminal_only(ident: int, bpfload: Callable[..., Result]) -> None:
    words = [*bpfload_command(), "prog", "show", "id", str(ident)]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    subprocess.run(words, stdout=theirs, env=environment, check=True)
    assert b"\x1b[" in os.read(ours, 4096)
    subprocess.run(words, stdout=theirs, env={**environment, "NO_COLOR": "1"}, check=True)
    assert b"\x1b[" not in os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert "\x1b[" not in bpfload("prog", "show", "id", ident).stdout


def test_a_reader_that_goes_away(ident: int) -> None:
    command = " ".join([*bpfload_command(), "prog", "list"])
    done = run("sh", "-c", f"{command} | head -c 10 >/dev/null; {command} | true", check=False)
    assert done.stderr == ""


# tracelog


@pytest.mark.needs_feature("trace_pipe")
def test_tracelog(private_mounts: None, bpfload: Callable[..., Result]) -> None:
    mounted = Path("/sys/kernel/tracing/events").exists()
    process = subprocess.Popen([*bpfload_command(), "-j", "prog", "tracelog"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1)
        marker = Path("/sys/kernel/tracing/trace_marker")
        marker.write_text(f"written by {os.getpid()}\n")
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert any(f"written by {os.getpid()}" in line for line in json.loads(output))
    if not mounted:
        system.umount("/sys/kernel/tracing")


@pytest.mark.needs_feature("streams")
def test_the_streams_of_a_program(ident: int, bpfload: Callable[..., Result]) -> None:
    assert bpfload("prog", "tracelog", "stdout", "id", ident).stdout == ""
    assert bpfload("-j", "prog", "tracelog", "stderr", "id", ident).json() == ""


# Help


@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["prog", "help"], ["--help", "map"], ["help", "net"], ["link", "-h"]])
def test_help(bpfload: Callable[..., Result], words: list[Argument]) -> None:
    done = bpfload(*words)
    assert "bpfload" in done.stdout
    assert done.stderr == ""
    assert bpfload("-j", *words).json() is None


def test_version(bpfload: Callable[..., Result]) -> None:
    assert bpfload("version").lines[0] == bpfload("-V").lines[0]
    assert bpfload("-jV").json()["version"] in bpfload("version").lines[0]


# inspect


def test_inspect(bpfload: Callable[..., Result]) -> None:
    found = bpfload("-j", "inspect", HELLO).json()
    (program,) = found["programs"]
    assert (program["tag_sha1"], program["tag_sha256"]) == ("d35b94b4c0c10efb", "490c48c1179970a8")
    assert (program["insns"], program["section"], program["type"]) == (12, "xdp", "xdp")
    assert {row["name"]: row["kernel_name"] for row in found["maps"]} == {".bss": "hello.bss", ".rodata": "hello.rodata"}
    assert {row["name"]: row["value"] for row in found["variables"]} == {"counter": 0, "hello.____fmt": "Hello World %d"}
    assert [row["symbol"] for row in program["relocations"]] == ["counter", ".rodata"]
    assert found["license"] == "Dual BSD/GPL"
    text = bpfload("inspect", HELLO, HELLO_FUNC).stdout
    assert "tag d35b94b4c0c10efb (SHA-1)  490c48c1179970a8" in text
    assert "tag 3d9eb0c23d4ab186 (SHA-1)  7c6e9a45a39e6854" in text


# What it costs


def test_listing_imports_neither_elftools_nor_pyroute2(ident: int) -> None:
    code = (
        "import sys; from bpfload_cli.main import main; status = main(['prog', 'list']); "
        "sys.exit(status or any(name.split('.')[0] in ('elftools', 'pyroute2') for name in sys.modules))"
    )
    python = Path(bpfload_command()[0]).with_name("python")
    run(python, "-c", code)
