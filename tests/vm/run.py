#!/usr/bin/env python3
"""Run the kernel tests, or another command, under Debian's 5.10, 6.1, 6.12 and newest kernels, one after the other.

    run.py [--kernel KERNEL]… [--seconds N] [-- COMMAND]

Fails if the command fails under one of them. A test of something that an old kernel lacks skips itself by naming it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.paths import REPO
from vm.machine import run_in
from vm.packages import KERNELS, prepare, say

#: What is written to the root file system is lost. A load killed at each system call takes hundreds of processes, each of
#: which costs seconds under emulation; nothing in it depends on the kernel's version.
PYTEST = (
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-p",
    "no:cacheprovider",
    "tests/kernel",
    "--ignore=tests/kernel/test_crash.py",
    "-k",
    "not killed_at_any",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run under each kernel. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="vm", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kernel", action="append", choices=list(KERNELS), help="only this one; may be repeated")
    parser.add_argument("--seconds", type=float, default=1800, help="for each kernel")
    parser.add_argument("--memory", type=int, default=3072, help="of the guest, in MiB")
    parser.add_argument("command", nargs="*", help="after -- (default: the kernel tests)")
    options = parser.parse_args(arguments)
    command = options.command or list(PYTEST)
    results = []
    for name in options.kernel or list(KERNELS):
        kernel = prepare(name)
        say(f"{name} (Linux {kernel.release}): {shlex.join(command)}")
        environment = {"BPFLOAD_REQUIRE_KERNEL": "1", "BPFLOAD_NO_POLICY": "1"}
        outcome = run_in(
            kernel,
            command,
            directory=REPO,
            environment=environment,
            seconds=options.seconds,
            memory=options.memory,
            to=sys.stdout.buffer,
        )
        results.append((name, kernel.release, outcome))
    print(f"{'kernel':<8} {'release':<24} {'seconds':>7}  status")
    for name, release, outcome in results:
        print(f"{name:<8} {release:<24} {outcome.seconds:>7.0f}  {outcome.status or 'ok'}")
    return 1 if any(outcome.status for _, _, outcome in results) else 0


if __name__ == "__main__":
    sys.exit(main())
