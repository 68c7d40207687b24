"""Keywords, selectors and flags."""

from __future__ import annotations

import pytest

from bpfload.errors import UsageError
from bpfload_cli.grammar import MAP_SELECTORS, PROGRAM_SELECTORS, CommandLineError, Words, is_prefix
from bpfload_cli.main import is_file_name, read_flags, route
from bpfload_cli.table import COMMANDS


def words(text: str) -> Words:
    return Words(text.split(), "bpfload prog show")


def test_a_beginning_will_do_but_not_an_empty_one() -> None:
    assert is_prefix("p", "prog")
    assert is_prefix("prog", "prog")
    assert not is_prefix("progs", "prog")
    assert not is_prefix("", "prog")


@pytest.mark.parametrize(
    ("text", "meant"),
    [("id 5", ("id", "5")), ("i 5", ("id", "5")), ("n x", ("name", "x")), ("p /a", ("pinned", "/a")), ("t ab", ("tag", "ab"))],
)
def test_selectors(text: str, meant: tuple[str, str]) -> None:
    read = words(text)
    assert read.selector(PROGRAM_SELECTORS, "a program") == meant
    read.end()


@pytest.mark.parametrize("text", ["", "tag x", "id", "x 5"])
def test_what_selects_no_map(text: str) -> None:
    with pytest.raises(CommandLineError, match="bpfload prog show"):
        words(text).selector(MAP_SELECTORS, "a map")


def test_words_that_are_left() -> None:
    read = words("id 5 more")
    read.selector(PROGRAM_SELECTORS, "a program")
    with pytest.raises(CommandLineError, match="'more' is one word too many"):
        read.end()
    assert len(read) == 1
    assert read.peek() == "more"
    assert read.accept("moreover")
    assert not read.accept("anything")


@pytest.mark.parametrize(
    ("line", "flags", "rest"),
    [
        ("prog -j show", {"json"}, "prog show"),
        ("-jf prog", {"json", "bpffs"}, "prog"),
        ("prog --pretty", {"json", "pretty"}, "prog"),
        ("-p", {"json", "pretty"}, ""),
        ("a.o /p --dev eth0", set(), "a.o /p --dev eth0"),
        ("a.o -x /p", set(), "a.o -x /p"),
        ("map dump - -d", {"debug"}, "map dump -"),
        ("-n -- -j", {"nomount"}, "-j"),
    ],
)
def test_flags_anywhere(line: str, flags: set[str], rest: str) -> None:
    session, left = read_flags(line.split())
    on = {name for name in ("json", "pretty", "bpffs", "debug", "nomount", "mapcompat") if getattr(session, name)}
    assert (on, left) == (flags, rest.split())


@pytest.mark.parametrize(
    ("line", "routed"),
    [
        ("hello.bpf.o /sys/fs/bpf/hello", "load hello.bpf.o /sys/fs/bpf/hello"),
        ("./hello /p", "load ./hello /p"),
        ("prog show", "prog show"),
        ("p", "p"),
        ("nosuch", "nosuch"),
        ("-V prog", "version"),
        ("prog -h", "help prog"),
        ("load x.o /p", "load x.o /p"),
    ],
)
def test_a_file_name_means_load(line: str, routed: str) -> None:
    assert route(*read_flags(line.split())) == routed.split()


def test_file_names(tmp_path: object) -> None:
    assert is_file_name("a.o")
    assert is_file_name("dir/a")
    assert is_file_name("/")
    assert not is_file_name("nosuchword")


@pytest.mark.parametrize(
    ("word", "command"),
    [("p", "prog"), ("m", "map"), ("l", "link"), ("lo", "load"), ("b", "batch"), ("n", "net"), ("u", "unload")],
)
def test_the_first_command_that_fits(word: str, command: str) -> None:
    assert COMMANDS.find(word) == command


def test_every_command_can_be_imported() -> None:
    for name in COMMANDS.names:
        assert COMMANDS.get_command(None, name) is not None


@pytest.mark.parametrize(
    ("line", "attributes", "words"),
    [
        ("--js prog", {"json": True}, "prog"),
        ("prog --vers", {"version": True}, "prog"),
        ("-jBfile btf", {"json": True, "base_btf": "file"}, "btf"),
        ("-B file btf", {"base_btf": "file"}, "btf"),
        ("--base=file btf", {"base_btf": "file"}, "btf"),
        ("btf --base-btf file", {"base_btf": "file"}, "btf"),
        ("--pretty=3 prog", {"pretty": False}, "--pretty=3 prog"),
        ("load x --dev eth0", {"debug": False}, "load x --dev eth0"),
        ("prog -jz", {"json": False}, "prog -jz"),
        ("prog -", {}, "prog -"),
    ],
)
def test_flags_as_getopt_long_has_them(line: str, attributes: dict[str, object], words: str) -> None:
    session, left = read_flags(line.split())
    assert left == words.split()
    assert {name: getattr(session, name) for name in attributes} == attributes


def test_a_flag_without_its_value() -> None:
    for line in ("btf -B", "btf -jB", "btf --base-btf"):
        with pytest.raises(UsageError, match="is missing"):
            read_flags(line.split())
