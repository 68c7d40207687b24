"""`prog load`, `run`, `attach`, `profile` through the command: messages, and what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload.inspect.profile import METRICS, Reading
from bpfload_cli.commands.prog_profile import text_of
from bpfload_cli.commands.prog_run import hex_dump
from support.paths import DATA, HELLO
from support.process import Argument, Result

TWO = DATA / "two-programs.bpf.o"
Command = Callable[..., Result]


def refused(bpfload: Command, *words: Argument, status: int = 1) -> str:
    done = bpfload(*words, check=False)
    assert done.status == status, done
    assert "Traceback" not in done.stderr
    return done.stderr


# --- without a kernel -----------------------------------------------------------------------------------------------


def test_hex_dump() -> None:
    assert hex_dump(b"") == ""
    assert hex_dump(bytes(range(48, 65))) == (
        "0000000\t3031 3233 3435 3637 3839 3a3b 3c3d 3e3f | 01234567 89:;<=>?\n"
        "0000010\t40                                      | @\n"
    )


def test_readings_as_text() -> None:
    """bpftool's columns: the value, its name, its ratio to another metric, the share of the time that it was counted."""
    chosen = [metric for metric in METRICS if metric.name in ("cycles", "instructions", "llc_misses")]
    readings = [
        Reading("cycles", 4228, 3403310, 100, 100),
        Reading("instructions", 4228, 3525733, 100, 100),
        Reading("llc_misses", 4228, 13, 200, 100),
    ]
    assert text_of(readings, chosen) == (
        "\n"
        "              4228 run_cnt             \n"
        "           3403310 cycles                                                       \n"
        "           3525733 instructions        #     1.04 insns per cycle               \n"
        "                13 llc_misses          #     3.69 LLC misses per million insns  (50.00%)\n"
    )
    alone = text_of([Reading("instructions", 1, 7, 1, 1)], [METRICS[1]])
    assert alone.splitlines()[2] == f"{7:18} {'instructions':<20}{'':41}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("prog load", "the object file is missing"),
        ("prog load x.o", "the path to pin to is missing"),
        ("prog load x.o /sys/fs/bpf/x bogus", "'bogus' is not an option of prog load\nIt takes: type, map, dev"),
        ("prog load x.o /sys/fs/bpf/x type xdp type tc", "the program type is given twice"),
        ("prog load x.o /sys/fs/bpf/x map idx one id 1", "'one' is not a whole number"),
        ("prog run", "a way to name a program is missing"),
        ("prog profile", "a way to name a program is missing"),
        ("prog attach", "a way to name a program is missing"),
    ],
)
def test_words(bpfload: Command, line: str, message: str) -> None:
    assert message in refused(bpfload, *line.split(), status=2)


# --- with one -------------------------------------------------------------------------------------------------------


@pytest.mark.needs_root
def test_messages_of_load(bpfload: Command, bpffs: Path) -> None:
    assert "no program type 'xdb'" in refused(bpfload, "prog", "load", TWO, bpffs / "it", "type", "xdb")
    said = refused(bpfload, "prog", "load", TWO, bpffs / "it", "offload_dev", "nosuch0")
    assert "no network device 'nosuch0'" in said
    bpfload("prog", "loadall", TWO, bpffs / "all", "pinmaps", bpffs / "maps")
    given = ("pinned", bpffs / "maps" / "two_prog_bss")
    said = refused(bpfload, "prog", "load", TWO, bpffs / "it", "map", "idx", 7, *given)
    assert "no map with the index 7" in said
    assert "Its maps are, from index 0: .bss." in said
    said = refused(bpfload, "prog", "load", TWO, bpffs / "it", "map", "name", "x", *given)
    assert "the object has no map 'x'" in said
    said = refused(bpfload, "prog", "load", TWO, bpffs / "it", "map", "idx", 0, *given, "map", "name", ".bss", *given, status=2)
    assert "map '.bss' (index 0) is replaced more than once" in said
    assert "exists" in refused(bpfload, "prog", "loadall", TWO, bpffs / "all")
    assert not (bpffs / "it").exists()


@pytest.mark.needs_root
def test_what_is_not_attached_is_said(bpfload: Command, bpffs: Path) -> None:
    done = bpfload("prog", "loadall", TWO, bpffs / "all", "autoattach")
    assert done.stderr == "Program packets does not support autoattach, falling back to pinning\n"
    assert bpfload("-j", "link", "show", "pinned", bpffs / "all" / "syscalls").json()["tp_name"] == "sys_enter"
    bpfload("prog", "load", HELLO, bpffs / "json")
    done = bpfload("-j", "prog", "loadall", TWO, bpffs / "quiet", "autoattach")
    assert (done.json(), done.stderr) == (None, "")


@pytest.mark.needs_root
def test_messages_of_run(bpfload: Command, bpffs: Path, tmp_path: Path) -> None:
    bpfload("prog", "load", TWO, bpffs / "it")
    program = ("prog", "run", "pinned", bpffs / "it")
    (tmp_path / "short").write_bytes(b"abc")
    said = refused(bpfload, *program, "data_in", tmp_path / "short")
    assert "data_in has to be a packet with its Ethernet header (14 bytes at least); it has 3 bytes." in said
    (tmp_path / "packet").write_bytes(bytes(64))
    said = refused(bpfload, *program, "data_in", tmp_path / "packet", "data_size_out", 10)
    assert "data_size_out and ctx_size_out say how much there is" in said
    assert "could be each of these" in refused(bpfload, *program, "data", tmp_path / "packet", status=2)
    assert "standard input" in refused(bpfload, *program, "data_in", "-", "ctx_in", "-", status=2)
    assert f"{tmp_path}: can't be read" in refused(bpfload, *program, "data_in", tmp_path)
    done = bpfload("-j", *program, "data_in", tmp_path / "packet", "data_out", tmp_path, check=False)
    assert done.status == 1
    assert done.json()["retval"] == 2
    assert "can't be written" in done.json()["error"]


@pytest.mark.needs_root
def test_messages_of_attach(bpfload: Command, bpffs: Path) -> None:
    bpfload("prog", "loadall", TWO, bpffs / "all", "pinmaps", bpffs / "maps")
    program, array = ("pinned", bpffs / "all" / "packets"), ("pinned", bpffs / "maps" / "two_prog_bss")
    said = refused(bpfload, "prog", "attach", *program, "sk_msg_verdict", *array)
    assert "attaching program" in said
    assert "the map is no sockmap or sockhash" in said
    said = refused(bpfload, "prog", "attach", *program, "xdp", status=2)
    assert "'xdp' is not what a program can be attached as\nIt takes: sk_skb_stream_parser" in said
