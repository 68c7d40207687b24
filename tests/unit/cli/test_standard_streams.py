"""stdin, stdout and stderr that are closed, full or gone: no traceback, no file of ours in their place."""

from __future__ import annotations

import json
import shlex

import pytest

from support.process import bpfload_command, run


def shell(line: str) -> tuple[int, str]:
    """Run a line of bash, in which `bpfload` is the command; return its status and what it wrote to stderr."""
    done = run("bash", "-c", f'bpfload() {{ {shlex.join(bpfload_command())} "$@"; }}; {line}', check=False)
    return done.status, done.stderr


@pytest.mark.parametrize("command", ["bpfload version", "bpfload -j version", "bpfload help prog"])
def test_closed_stdout(command: str) -> None:
    assert shell(f"{command} >&-") == (0, "")


@pytest.mark.parametrize("command", ["bpfload nosuch", "bpfload -j nosuch"])
def test_all_of_them_closed(command: str) -> None:
    assert shell(f"{command} <&- >&- 2>&-") == (2, "")


@pytest.mark.parametrize("flag", ["", "-j"])
def test_a_full_disk(flag: str) -> None:
    assert shell(f"bpfload {flag} version >/dev/full") == (1, "Error: No space left on device\n")


def test_a_reader_that_has_gone() -> None:
    status, errors = shell('bpfload help prog | true; exit "${PIPESTATUS[0]}"')
    assert status in (0, 1)
    assert errors == ""


def test_an_error_as_json_goes_to_stdout() -> None:
    done = run(*bpfload_command(), "-j", "porg", check=False)
    assert done.status == 2
    assert "did you mean 'prog'?" in json.loads(done.stdout)["error"]
