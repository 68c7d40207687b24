"""`bpfload completion`: the shells' scripts, run by the shells themselves, with what is in the kernel."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import lacking
from support.process import Result, bpfload_command, find_tool, run
from support.programs import load_spec, program_spec, small_map

pytestmark = pytest.mark.needs_root

Complete = Callable[..., list[str]]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A $PATH on which `bpfload` is the one under test."""
    script = tmp_path / "bin" / "bpfload"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join(bpfload_command())} "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}:{os.environ['PATH']}"


def _tool(name: str) -> str:
    found = find_tool(name)
    if found is None:
        lacking(f"no {name} (make peers)")
    assert found
    return found


@pytest.fixture
def bash(path: str) -> Complete:
    """`bash("prog", "sh")`: what bash completes the last word to, as its own variables have it."""

    def complete(*words: str) -> list[str]:
        line = shlex.join(("bpfload", *words))
        script = (
            f"source <(bpfload completion bash); COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
            'complete -p bpfload >/dev/null && _bpfload && printf "%s\\n" "${COMPREPLY[@]}"'
        )
        return [word for word in run(_tool("bash"), "-c", script, env={"PATH": path}).lines if word]

    return complete


@pytest.fixture
def zsh(path: str) -> Complete:
    """The same by zsh, whose own functions that show the words are replaced by printing."""

    def complete(*words: str) -> list[str]:
        line = shlex.join(("bpfload", *words))
        script = (
            'compdef() { : }; _describe() { print -l -- "${(@P)3}" }; _files() { print -- files $* }; '
            f"source <(bpfload completion zsh); words=({line}); CURRENT={len(words) + 1}; _bpfload"
        )
        return run(_tool("zsh"), "-f", "-c", script, env={"PATH": path}).lines

    return complete


@pytest.fixture
def fish(path: str, tmp_path: Path) -> Complete:
    """The same by fish."""

    def complete(*words: str) -> list[str]:
        line = shlex.quote(" ".join(("bpfload", *words)))
        script = f"bpfload completion fish | source; complete --do-complete {line}"
        return run(_tool("fish"), "--no-config", "-c", script, env={"PATH": path, "HOME": str(tmp_path)}).lines

    return complete


def test_keywords(bash: Complete) -> None:
    assert bash("pr") == ["prog"]
    assert {"show", "list", "dump", "pin"} <= set(bash("prog", ""))
    assert bash("-j", "p", "s", "pi") == ["pinned"]
    assert bash("cgroup", "attach", "/x", "egr") == ["egress"]
    assert bash("feature", "probe", "macros", "pre") == ["prefix"]
    assert bash("help", "cg") == ["cgroup"]
    assert bash("nonsense", "") == []
    assert "words" not in bash("completion", "")


def test_flags_and_options(bash: Complete) -> None:
    assert bash("prog", "--js") == ["--json"]
    assert "--dev" in bash("load", "x.o", "--de")
    assert "--dev" in bash("./x.o", "--de")
    assert bash("load", "--dev", "l") == ["lo"]


def test_objects_in_the_kernel(bash: Complete, bpffs: Path) -> None:
    from bpfload.syscall import bpf

    with load_spec(program_spec("completed_prog")) as program, small_map("completed_map") as item:
        bpf.obj_pin(program.fd, str(bpffs / "a program"))
        bpf.obj_pin(item.fd, str(bpffs / "map"))
        info = program.info()
        assert bash("prog", "show", "name", "completed") == ["completed_prog"]
        assert bash("prog", "dump", "xlated", "tag", info.tag[:12]) == [info.tag]
        assert str(info.id) in bash("p", "s", "id", str(info.id)[:-1])
        assert bash("map", "dump", "name", "completed") == ["completed_map"]
        assert str(item.info().id) in bash("map", "show", "id", "")
        # What may need quoting comes quoted.
        assert bash("prog", "show", "pinned", str(bpffs)) == [str(bpffs / "a program").replace(" ", "\\ ")]
        assert bash("map", "show", "pinned", str(bpffs)) == [str(bpffs / "map")]
        assert set(bash("unload", str(bpffs / "m"))) == {str(bpffs / "map")}


def test_devices_and_cgroups(bash: Complete, cgroup: Path) -> None:
    assert bash("net", "show", "dev", "l") == ["lo"]
    assert str(cgroup) in bash("cgroup", "show", str(cgroup)[:-1])


def test_files(bash: Complete, tmp_path: Path) -> None:
    (tmp_path / "commands").write_text("")
    (tmp_path / "directory").mkdir()
    assert bash("batch", "file", str(tmp_path / "com")) == [str(tmp_path / "commands")]
    assert bash("-B", str(tmp_path / "com")) == [str(tmp_path / "commands")]
    assert str(tmp_path / "directory") in bash("load", str(tmp_path / "d"))


def test_zsh(zsh: Complete) -> None:
    assert "show:" in zsh("prog", "")
    assert zsh("batch", "file", "") == ["files"]
    with load_spec(program_spec("completed_prog")) as program:
        assert zsh("prog", "show", "name", "completed") == [f"completed_prog:xdp {program.info().id}"]


def test_fish(fish: Complete, tmp_path: Path) -> None:
    (tmp_path / "commands").write_text("")
    assert fish("prog", "li") == ["list"]
    assert fish("batch", "file", str(tmp_path / "com")) == [str(tmp_path / "commands")]
    with load_spec(program_spec("completed_prog")) as program:
        assert fish("prog", "show", "name", "completed") == [f"completed_prog\txdp {program.info().id}"]


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_the_scripts_are_scripts(bpfload: Callable[..., Result], tmp_path: Path, shell: str, check: str) -> None:
    script = tmp_path / "script"
    script.write_text(bpfload("completion", shell).stdout)
    assert run(_tool(shell), check, script).stderr == ""
    assert bpfload("-j", "completion", shell).json() == script.read_text()


@pytest.mark.parametrize(
    "words", [(), ("x",), ("99", "bpfload", "prog"), ("2", "bpfload", "-B", "/no/such", "prog"), ("1", "bpfload")]
)
def test_questions_that_make_no_sense(bpfload: Callable[..., Result], words: tuple[str, ...]) -> None:
    """A shell that asks nonsense gets no complaint in the middle of a line."""
    assert bpfload("completion", "words", "--", *words).stderr == ""
