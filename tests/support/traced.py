"""A process to be probed: tests/data/probes/traced.c, compiled here, running, and obeying."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.process import find_tool

DATA = Path(__file__).parent.parent / "data" / "probes"


@functools.cache
def compiled(*options: str) -> Path | None:
    """Compile the program once for each set of options; None where there is no compiler."""
    compiler = find_tool("gcc") or find_tool("clang")
    if not compiler:
        return None
    # Not in a test's own directory: kept for all of them. Removed at exit.
    folder = _folder()
    path = Path(folder) / f"traced{'-'.join(('', *options)).replace('/', '_')}"
    subprocess.run([compiler, "-O1", *options, "-o", path, DATA / "traced.c"], check=True, stdin=subprocess.DEVNULL)
    return path


@functools.cache
def _folder() -> str:
    import atexit
    import shutil

    folder = tempfile.mkdtemp(prefix="bpfload-traced-")
    os.chmod(folder, 0o755)  # also for tests that have given up their rights
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


class Traced:
    """The running program."""

    def __init__(self, process: subprocess.Popen[str], path: Path) -> None:
        assert process.stdout is not None
        self._process = process
        self.path = path
        self.pid = int(process.stdout.readline())
        self.rounds = 0

    def round(self) -> int:
        """Let it go through all its functions and probes once; return its semaphore's value."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        number, semaphore = map(int, self._process.stdout.readline().split())
        self.rounds = number
        return semaphore


@contextmanager
def running(path: Path) -> Iterator[Traced]:
    """Start the program, and end it."""
    process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield Traced(process, path)
        finally:
            assert process.stdin is not None
            process.stdin.close()
