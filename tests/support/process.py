"""Running commands: ours, the peers', anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.paths import cache_directory

Argument = str | os.PathLike[str] | int


@dataclass(frozen=True)
class Result:
    """What a command left: exit status (negative: killed by that signal) and output."""

    args: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def __str__(self) -> str:
        return f"$ {' '.join(self.args)}\n{self.stdout}{self.stderr}[status {self.status}]"


def run(
    *args: Argument,
    check: bool = True,
    timeout: float = 60,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Result:
    """Run a command to its end; with `check`, a status other than 0 fails the test with everything it said."""
    words = tuple(os.fspath(arg) if not isinstance(arg, int) else str(arg) for arg in args)
    done = subprocess.run(
        words,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **env} if env else None,
        cwd=cwd,
        check=False,
    )
    result = Result(words, done.returncode, done.stdout, done.stderr)
    assert not check or result.status == 0, f"failed:\n{result}"
    return result


def bpfload_command() -> list[str]:
    """Return the installed console script of the Python that runs the tests."""
    script = Path(sys.executable).with_name("bpfload")
    return [str(script)] if script.exists() else [sys.executable, "-m", "bpfload_cli"]


def bpfload(*args: Argument, check: bool = True, **options: Any) -> Result:
    return run(*bpfload_command(), *args, check=check, **options)


def bpftool_command() -> str | None:
    """Find the newest bpftool: $BPFTOOL, one built into the cache, the distribution's."""
    named = os.environ.get("BPFTOOL")
    if named:
        return named
    cache = cache_directory()
    for path in sorted(cache.glob("peers/bpftool-*/bpftool"), reverse=True):
        return str(path)
    return shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def bpftool(*args: Argument, check: bool = True, **options: Any) -> Result:
    command = bpftool_command()
    assert command, "no bpftool: the fixture `bpftool` skips such a test"
    return run(command, *args, check=check, **options)


def find_tool(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def tool_version(command: Sequence[str]) -> str:
    """Return the first line of what a tool says of itself."""
    return run(*command, check=False).stdout.partition("\n")[0]
