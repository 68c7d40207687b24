"""Forms read off help texts: which words may come next."""

from __future__ import annotations

import pytest

from bpfload_cli.forms import Forms
from bpfload_cli.table import COMMANDS
from bpfload_cli.usage import text_of

_TEXT = """\
  bpfload thing [{ show | list } [PROG]]       what there is
  bpfload thing dump {xlated|jited} PROG [file FILE]  … to a file
  bpfload thing probe [kernel | dev IF] [full]
                      [macros [prefix PREFIX]]  all about it
  bpfload thing drop PATH…                     as many as you like
  bpfload thing put KEY                        a value

  PROG := { id ID | name NAME |
            pinned PATH }
  KEY  := some words, which are no form
"""


def after(line: str, text: str = _TEXT) -> list[str]:
    return [item.keyword or f"<{item.value}>" for item in Forms(text).next(line.split())]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ["show", "list", "dump", "probe", "drop", "put"]),
        ("show", ["id", "name", "pinned"]),
        ("s", ["id", "name", "pinned"]),
        ("show id", ["<PROG.ID>"]),
        ("show id 5", []),
        ("dump", ["xlated", "jited"]),
        ("d x p /here", ["file"]),
        ("dump jited name hello file", ["<FILE>"]),
        ("probe", ["kernel", "dev", "full", "macros"]),
        ("probe full", ["kernel", "dev", "macros"]),
        ("probe full dev", ["<IF>"]),
        ("probe macros", ["kernel", "dev", "full", "prefix"]),
        ("drop", ["<PATH>"]),
        ("drop a b c", ["<PATH>"]),
        ("put", ["<KEY>"]),
        ("nonsense", []),
    ],
)
def test_what_comes_next(line: str, expected: list[str]) -> None:
    assert sorted(after(line)) == sorted(expected)


@pytest.mark.parametrize("form", ["[a", "{ a | b", "a ]", "{ a ]"])
def test_a_form_with_a_bracket_missing(form: str) -> None:
    with pytest.raises(ValueError, match=r"missing|no form"):
        Forms(f"  bpfload thing {form}\n")


def test_an_object_is_loaded_without_a_command() -> None:
    text = "  bpfload OBJECT.bpf.o PATH [OPTIONS]   load\n  bpfload load …    the same\n"
    assert after("", text) == ["<OBJECT.bpf.o>"]
    assert after("x.bpf.o", text) == ["<PATH>"]


@pytest.mark.parametrize("command", COMMANDS.names)
def test_the_help_of_every_command_can_be_read(command: str) -> None:
    assert Forms(text_of(command)) is not None
