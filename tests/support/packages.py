"""Commands and Debian packages that a preparation needs, with its name before whatever it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Preparation:
    """What prepares something, by the `name` that its messages begin with."""

    def __init__(self, name: str) -> None:
        self.name = name

    def say(self, text: str) -> None:
        """Print a line to stderr."""
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def run(self, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
        """Run a command and return its output; what it said last is shown if it fails."""
        full = {**os.environ, **(environment or {})}
        done = subprocess.run(command, env=full, cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode:
            shown = " ".join(map(str, command))
            said = (done.stdout + done.stderr)[-3000:]
            raise SystemExit(f"{self.name}: {shown}: exit status {done.returncode}\n{said}")
        return done.stdout

    def install(self, needed: Mapping[str, str]) -> None:
        """Install the packages (values of `needed`) whose files (its keys) are not there."""
        missing = [package for path, package in needed.items() if not Path(path).exists()]
        if not missing:
            return
        if os.geteuid() != 0:
            raise SystemExit(f"{self.name}: not installed, and this is not root: {' '.join(missing)}")
        self.say(f"installing {' '.join(missing)}")
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        self.run(["apt-get", "-q", "update"], environment=environment)
        self.run(["apt-get", "-q", "install", "-y", "--no-install-recommends", *missing], environment=environment)
