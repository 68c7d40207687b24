"""`bpfload gen object`, `gen skeleton`, `gen subskeleton` through the installed command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from support.paths import DATA, HELLO
from support.process import Result, run

ONE, TWO = DATA / "linked" / "one.bpf.o", DATA / "linked" / "two.bpf.o"


def test_objects_are_linked(bpfload: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "both.bpf.o"
    assert bpfload("gen", "object", out, ONE, TWO).stdout == ""
    text = bpfload("inspect", out).stdout
    assert "first" in text
    assert "second" in text
    assert bpfload("-j", "gen", "object", out, out).stdout == "null\n"


def test_what_can_not_be_linked(bpfload: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "both.bpf.o"
    for words, message in (
        (("gen", "object"), "the file to write is missing"),
        (("gen", "object", out), "an object file is missing"),
        (("gen", "object", out, ONE, ONE), "is defined in one.bpf.o and again in one.bpf.o"),
        (("gen", "object", out, tmp_path / "none.o"), "none.o: no such file"),
    ):
        done = bpfload(*words, check=False)
        assert done.status
        assert message in done.stderr, done
        assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_skeleton_is_printed(bpfload: Callable[..., Result], tmp_path: Path) -> None:
    text = bpfload("gen", "skeleton", HELLO, "name", "greeting").stdout
    (tmp_path / "made.py").write_text(text)
    shown = run(sys.executable, "-c", "import made; print(made.Greeting().spec.name)", cwd=tmp_path)
    assert shown.stdout == "hello\n"
    assert json.loads(bpfload("-j", "gen", "skeleton", HELLO, "name", "greeting").stdout) == {"python": text}
    part = bpfload("gen", "subskeleton", HELLO).stdout
    assert "class Hello(skeleton.Subskeleton):" in part
    assert "__bpf_object__" not in part


def test_what_has_no_skeleton(bpfload: Callable[..., Result], tmp_path: Path) -> None:
    text = tmp_path / "text.o"
    text.write_text("no object")
    for words, message in (
        (("gen", "skeleton"), "the object file is missing"),
        (("gen", "skeleton", HELLO, "called", "x"), "'called' is not what follows an object file"),
        (("gen", "skeleton", HELLO, "name", "3d!"), "'3d!' is no name that Python takes"),
        (("gen", "subskeleton", HELLO, "name", "x", "y"), "one word too many"),
        (("gen", "skeleton", tmp_path / "none.o"), "none.o: no such file"),
        (("gen", "skeleton", tmp_path), "can't be read: Is a directory"),
        (("gen", "skeleton", text), "not an ELF file"),
    ):
        done = bpfload(*words, check=False)
        assert done.status
        assert message in done.stderr, done
        assert not done.stdout
