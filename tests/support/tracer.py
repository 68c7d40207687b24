"""Watch a command's system calls with strace, or kill it at any one of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.process import Argument, Result, find_tool, run

# The calls that change what others see; between two of them a kill makes no difference.
CHANGING = (
    *("bpf", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat"),
    *("mount", "umount2", "perf_event_open", "sendto", "sendmsg", "symlink", "symlinkat", "flock"),
)

_LINE = re.compile(r"^(?:\d+ +)?(?P<name>[a-z_0-9]+)\((?P<args>.*)")


@dataclass(frozen=True)
class Call:
    """One system call as strace printed it: `name`, and everything after the parenthesis."""

    name: str
    text: str

    @property
    def command(self) -> str:
        """The first argument: for bpf(2) the command's name, `BPF_PROG_LOAD`."""
        return self.text.partition(",")[0].strip()

    @property
    def failed(self) -> bool:
        return " = -1 " in self.text


def available() -> bool:
    return find_tool("strace") is not None


def _strace() -> str:
    path = find_tool("strace")
    assert path, "no strace: the fixture `tracer` skips such a test"
    return path


def trace(args: Sequence[Argument], calls: Sequence[str] = ("bpf",), *, check: bool = True) -> tuple[list[Call], Result]:
    """Run a command and return the system calls of the given names that it and its children made, in order."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "strace"
        # A `?` before the name: not every architecture has every call.
        chosen = ",".join(f"?{name}" for name in calls)
        result = run(_strace(), "-f", "-qq", "-e", "signal=none", "-e", f"trace={chosen}", "-o", log, *args, check=check)
        return list(_parse(log.read_text())), result


def _parse(text: str) -> Iterator[Call]:
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:  # "<... bpf resumed>" and "+++ exited" are no calls
            yield Call(match["name"], match["args"])


def bpf_commands(args: Sequence[Argument], *, check: bool = True) -> list[str]:
    """Return the commands of the bpf(2) calls that a command line makes: `["BPF_BTF_LOAD", "BPF_MAP_CREATE", ...]`."""
    return [call.command for call in trace(args, check=check)[0]]


@dataclass(frozen=True)
class KillPoint:
    """The `number`-th call (from 1) of `name`, which in a whole run was `call`."""

    name: str
    number: int
    call: Call

    def __str__(self) -> str:
        return f"{self.name}#{self.number}({self.call.text[:60]}"


def kill_points(args: Sequence[Argument], calls: Sequence[str] = CHANGING) -> list[KillPoint]:
    """Run a command once, whole; return every moment at which `run_killed` can end it. Clean up after it as after a run."""
    points: list[KillPoint] = []
    counts: dict[str, int] = {}
    for call in trace(args, calls)[0]:
        counts[call.name] = counts.get(call.name, 0) + 1
        points.append(KillPoint(call.name, counts[call.name], call))
    return points


def run_killed(args: Sequence[Argument], point: KillPoint) -> Result:
    """Run a command and kill it (SIGKILL) as it enters that call: the call isn't made, all before it were."""
    inject = f"inject={point.name}:signal=KILL:when={point.number}"
    return run(
        *(_strace(), "-f", "-qq", "-e", "signal=none", "-e", f"trace={point.name}", "-e", inject, "-o", "/dev/null"),
        *args,
        check=False,
    )


def run_failing(args: Sequence[Argument], point: KillPoint, error: str = "EPERM") -> Result:
    """Run a command in which that one call fails with `error` instead of being made."""
    inject = f"inject={point.name}:error={error}:when={point.number}"
    return run(
        *(_strace(), "-f", "-qq", "-e", "signal=none", "-e", f"trace={point.name}", "-e", inject, "-o", "/dev/null"),
        *args,
        check=False,
    )
