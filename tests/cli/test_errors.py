"""What bad input gets: a message that says what, where and what to do; status 1, or 2 for usage; nothing left behind."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.namespaces import VethPair
from support.paths import DATA, HELLO, HELLO_FUNC, PACKET_COUNTER, SYS_ENTER
from support.process import Argument, Result, bpfload_command, find_tool, run

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("private_mounts")]

Fails = Callable[..., str]

# The verifier's log has addresses of maps in it, which differ from load to load.
_ADDRESS = re.compile("0x[0-9a-f]{16}")


@pytest.fixture
def fails(bpfload: Callable[..., Result], bpffs: Path) -> Fails:
    """`fails(OBJ, PATH, …)`: the load fails with one message, the same as text and as JSON, and leaves nothing; return it."""

    def check(*args: Argument, status: int = 1) -> str:
        before = _contents(bpffs)
        as_text = bpfload(*args, check=False)
        assert as_text.status == status, as_text
        assert as_text.stdout == "", as_text
        assert as_text.stderr.startswith("Error: "), as_text
        as_json = bpfload("-j", *args, check=False)
        assert as_json.status == status, as_json
        assert as_json.stderr == "", as_json
        message = as_json.json()["error"]
        assert _ADDRESS.sub("0x", as_text.stderr).startswith(_ADDRESS.sub("0x", f"Error: {message}\n"))
        assert "Traceback" not in as_text.stderr
        assert "mistake in bpfload" not in message
        assert _contents(bpffs) == before
        return str(message)

    return check


def _contents(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


def assert_words(message: str, *words: str) -> None:
    for word in words:
        assert word in message, message


# The file


def test_no_such_file(fails: Fails, bpffs: Path) -> None:
    assert_words(fails("nope.bpf.o", bpffs / "x"), "nope.bpf.o", "no such file")


@pytest.mark.parametrize("content", [b"", b"#include <linux/bpf.h>\n", b"\x7fEL"])
def test_not_elf(fails: Fails, bpffs: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.bpf.o"
    path.write_bytes(content)
    assert_words(fails(path, bpffs / "x"), "some.bpf.o", "clang")


def test_a_directory(fails: Fails, bpffs: Path, tmp_path: Path) -> None:
    assert_words(fails(tmp_path, bpffs / "x"), str(tmp_path), "directory")


def test_truncated_anywhere(bpffs: Path, tmp_path: Path, load_here: Callable[[Path, Path], tuple[int, str]]) -> None:
    whole = HELLO.read_bytes()
    path = tmp_path / "cut.bpf.o"
    for size in [*range(0, 128, 8), *range(128, len(whole), 61)]:
        path.write_bytes(whole[:size])
        status, message = load_here(path, bpffs / "x")
        assert status == 1, (size, message)
        assert_words(message, "cut.bpf.o")
        assert "mistake in bpfload" not in message, (size, message)
        assert os.listdir(bpffs) == []


@pytest.fixture
def load_here(capsys: pytest.CaptureFixture[str]) -> Callable[[Path, Path], tuple[int, str]]:
    """Run the command's `main` in this process: hundreds of times is too often for a process each."""
    from bpfload_cli.main import main

    def load(obj: Path, path: Path) -> tuple[int, str]:
        status = main([str(obj), str(path)])
        return status, capsys.readouterr().err

    return load


def test_another_machines_elf(fails: Fails, bpffs: Path) -> None:
    program = find_tool("true")
    assert program
    assert_words(fails(program, bpffs / "x"), "not for BPF", "-target bpf")


def test_no_program_in_it(fails: Fails, bpffs: Path) -> None:
    assert_words(fails(DATA / "no-program.bpf.o", bpffs / "x"), "no-program.bpf.o", "no program")


def test_no_btf_where_btf_is_needed(fails: Fails, bpffs: Path) -> None:
    assert_words(fails(DATA / "no-btf.bpf.o", bpffs / "x"), "no-btf.bpf.o", ".maps", "BTF", "-g")


# The verifier


def test_a_helper_for_gpl_programs_only(fails: Fails, bpffs: Path) -> None:
    message = fails(DATA / "proprietary.bpf.o", bpffs / "x")
    assert_words(message, "proprietary.bpf.o", "'secret'", "GPL", "proprietary.bpf.c:9", 'SEC("license")')


def test_the_verifiers_no(fails: Fails, bpfload: Callable[..., Result], bpffs: Path) -> None:
    message = fails(DATA / "rejected.bpf.o", bpffs / "x")
    assert_words(message, "'careless'", "outside of the packet", "rejected.bpf.c:11: return data[12] == 8", "EACCES")
    assert_words(message, "last steps", "r1 = *(u8 *)(r1 +12)", "data_end")
    short = bpfload(DATA / "rejected.bpf.o", bpffs / "x", check=False)
    assert "-d" in short.stderr
    assert "processed 2 insns" not in short.stderr
    whole = bpfload("-d", DATA / "rejected.bpf.o", bpffs / "x", check=False)
    assert whole.status == 1
    assert_words(whole.stderr, message, "processed 2 insns")
    assert "processed 2 insns" in bpfload("-j", "-d", DATA / "rejected.bpf.o", bpffs / "x", check=False).json()["log"]


# The path


def test_a_path_that_exists(fails: Fails, bpfload: Callable[..., Result], bpffs: Path) -> None:
    bpfload(HELLO, bpffs / "x")
    assert_words(fails(SYS_ENTER, bpffs / "x"), f"{bpffs}/x exists already: program ", "bpfload unload")


def test_a_path_that_is_not_on_bpffs(fails: Fails, tmp_path: Path) -> None:
    assert_words(fails(HELLO, tmp_path / "x"), f"{tmp_path} is not on a BPF file system", "/sys/fs/bpf")
    assert list(tmp_path.glob("x*")) == []


def test_a_path_that_is_something_else(fails: Fails, bpffs: Path, tmp_path: Path) -> None:
    assert_words(fails(HELLO, bpffs), f"{bpffs} exists already: a directory", f"as in {bpffs}/hello")
    assert_words(fails(HELLO, tmp_path), f"{tmp_path} exists already: a directory", "/sys/fs/bpf/hello")
    (tmp_path / "file").touch()
    assert_words(fails(HELLO, tmp_path / "file"), "no pin", "/sys/fs/bpf")
    assert_words(fails(HELLO, f"{bpffs}/x/"), "slash", f"Try {bpffs}/x.")
    assert_words(fails(HELLO, ""), "empty", "/sys/fs/bpf/hello")


def test_a_pin_that_is_none(fails: Fails, bpffs: Path) -> None:
    assert_words(fails("prog", "show", "pinned", bpffs / "x"), f"nothing is pinned at {bpffs}/x")
    assert_words(fails("prog", "show", "pinned", bpffs), "is a directory, not a pin")
    assert_words(fails("prog", "show", "pinned", __file__), f"{__file__} is not on a BPF file system")


def test_a_path_with_a_dot(fails: Fails, bpffs: Path) -> None:
    assert_words(fails(HELLO, bpffs / "hello.bpf"), "'hello.bpf' has a dot in it", "hello_bpf")
    assert_words(fails(HELLO, bpffs / "v1.0/hello"), "dot", "v1_0")


def test_a_path_whose_directory_does_not_exist(fails: Fails, bpffs: Path) -> None:
    assert_words(fails(HELLO, bpffs / "lab/hello"), f"no directory {bpffs}/lab", f"mkdir {bpffs}/lab")
    assert_words(fails(HELLO, "/nowhere/at/all"), "no directory /nowhere/at", "/sys/fs/bpf")


def test_a_path_that_is_too_long(fails: Fails, bpffs: Path) -> None:
    assert_words(fails(HELLO, bpffs / ("x" * 300)), "too long")


def test_a_directory_for_maps_that_can_not_be(fails: Fails, bpffs: Path, tmp_path: Path) -> None:
    assert_words(fails(HELLO, bpffs / "x", "--pin-maps", tmp_path / "maps"), "not on a BPF file system")
    assert_words(fails(HELLO, bpffs / "x", "--pin-maps", bpffs / "a.b"), "dot")
    assert_words(fails(HELLO, bpffs / "x", "--pin-maps", bpffs / "x/maps", status=2), "a program, not a directory")


# Rights

_DROPPED = {
    "CAP_BPF and CAP_NET_ADMIN are": ("-all", HELLO, []),
    "CAP_NET_ADMIN is": ("-net_admin,-sys_admin", HELLO, []),
    "CAP_BPF is": ("-bpf,-sys_admin", HELLO, []),
    "CAP_PERFMON is": ("-perfmon,-sys_admin", HELLO_FUNC, ["--attach", "sys_enter"]),
}


@pytest.mark.needs_feature("capabilities", since="5.8")
@pytest.mark.parametrize("words", _DROPPED)
def test_a_capability_that_is_missing(bpffs: Path, words: str) -> None:
    dropped, obj, options = _DROPPED[words]
    tool = find_tool("setpriv")
    assert tool
    done = run(tool, f"--bounding-set={dropped}", *bpfload_command(), obj, bpffs / "x", *options, check=False)
    assert done.status == 1, done
    assert_words(done.stderr, "EPERM", f"{words} missing", "as root")
    assert os.listdir(bpffs) == []


@pytest.mark.needs_feature("capabilities", since="5.8")
def test_a_capability_that_a_helper_needs(bpffs: Path) -> None:
    """The kernel doesn't say EPERM here: it offers bpf_trace_printk() to nobody without CAP_PERFMON."""
    tool = find_tool("setpriv")
    assert tool
    done = run(tool, "--bounding-set=-perfmon,-sys_admin", *bpfload_command(), HELLO, bpffs / "x", check=False)
    assert done.status == 1, done
    assert_words(done.stderr, "bpf_trace_printk", "CAP_PERFMON is missing", "as root")
    assert os.listdir(bpffs) == []


@pytest.mark.needs_feature("capabilities", since="5.8")
def test_not_root(bpffs: Path) -> None:
    """Nobody, who may read all files, since the installed command may be where only root can read it."""
    tool = find_tool("setpriv")
    assert tool
    only = "-all,+dac_read_search"
    done = run(
        *(tool, "--reuid=65534", "--regid=65534", "--clear-groups"),
        *(f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"),
        *(*bpfload_command(), HELLO, bpffs / "x"),
        check=False,
    )
    assert done.status == 1, done
    assert_words(done.stderr, "EPERM", "CAP_BPF and CAP_NET_ADMIN are missing (this process isn't root)", "as root")
    assert os.listdir(bpffs) == []


# Devices and tracepoints


def test_a_device_that_is_not_there(fails: Fails, bpffs: Path, veth: VethPair) -> None:
    assert_words(fails(HELLO, bpffs / "x", "--dev", "vet0"), "no network device 'vet0'", f"Did you mean {veth.device}")


@pytest.mark.needs_feature("xdp_link")
def test_a_device_that_has_a_program_already(fails: Fails, bpfload: Callable[..., Result], bpffs: Path, veth: VethPair) -> None:
    bpfload(PACKET_COUNTER, bpffs / "first", "--dev", veth.device)
    first = bpfload("-j", "prog", "show", "pinned", bpffs / "first").json()["id"]
    message = fails(HELLO, bpffs / "second", "--dev", veth.device)
    assert_words(message, f"device {veth.device} has an XDP program already", f"id {first} (count_packets)", "Detach it first")
    bpfload("unload", bpffs / "first")


@pytest.mark.needs_feature("vmlinux_btf")
def test_a_tracepoint_that_is_not_there(fails: Fails, bpffs: Path) -> None:
    message = fails(HELLO_FUNC, bpffs / "x", "--attach", "sys_entr")
    assert_words(message, "no raw tracepoint 'sys_entr'", "Did you mean sys_enter")


# Usage


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([HELLO], ["PATH", "bpfload help load"]),
        ([HELLO, "PIN", "--dev"], ["--dev"]),
        ([HELLO, "PIN", "--bogus"], ["--bogus", "bpfload help load"]),
        (["porg", "list"], ["no command 'porg'", "prog", "bpfload help"]),
        (["help", "porg"], ["no command 'porg'", "prog"]),
        (["--bogus"], ["no option '--bogus'"]),
        (["prog", "show", "id", "1", "-x"], ["bpfload prog show has no option '-x'", "bpfload help prog"]),
        (["prog", "show", "5"], ["'5'", "id, tag, name, pinned"]),
        (["prog", "dump", "jitted"], ["'jitted'", "xlated"]),
        (["net", "show", "eth0"], ["'eth0' is not the word 'dev'"]),
        ([HELLO, "PIN", "more"], ["more"]),
        ([HELLO, "PIN", "--mode", "native"], ["--mode", "--dev"]),
        ([HELLO, "PIN", "--dev", "lo", "--mode", "fast"], ["'fast'", "auto, native, generic"]),
        ([HELLO, "PIN", "--attach", "sys_enter"], ["--attach", "hello.bpf.o", 'SEC("xdp")']),
        ([SYS_ENTER, "PIN", "--dev", "lo"], ["--dev", "no XDP, tc or netkit program", 'SEC("raw_tp/sys_enter")']),
        ([HELLO, "PIN", "--reuse-maps", "--replace-maps"], ["exclude"]),
    ],
)
def test_usage(fails: Fails, bpffs: Path, args: list[Argument], words: list[str]) -> None:
    assert_words(fails(*(bpffs / "x" if arg == "PIN" else arg for arg in args), status=2), *words)


def test_a_program_that_is_not_in_it(fails: Fails, bpffs: Path) -> None:
    assert_words(fails(HELLO, bpffs / "x", "--program", "helo"), "no program 'helo'", "hello")
