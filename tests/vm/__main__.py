"""`python -m vm prepare [KERNEL…]` and `python -m vm run --kernel KERNEL [options] -- COMMAND`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vm.machine import run_in
from vm.packages import KERNELS, prepare, say


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="vm", description="Run a command under another kernel, with this root file system.")
    commands = parser.add_subparsers(dest="action", required=True)
    fetch = commands.add_parser("prepare", help="fetch and unpack kernels")
    fetch.add_argument("kernel", nargs="*", default=list(KERNELS), help=f"of {', '.join(KERNELS)}")
    fetch.add_argument("--update", action="store_true", help="look for newer versions")
    run = commands.add_parser("run", help="boot a kernel and run a command in it")
    run.add_argument("--kernel", required=True, help=f"one of {', '.join(KERNELS)}")
    run.add_argument("--seconds", type=float, default=600, help="for all of it, the boot included")
    run.add_argument("--memory", type=int, default=2048, help="in MiB")
    run.add_argument("--processors", type=int, default=2)
    run.add_argument("--accelerator", default="tcg", help="QEMU's -accel (tcg: software emulation)")
    run.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="set in the guest")
    run.add_argument("--console", action="store_true", help="show the kernel's messages at the end")
    run.add_argument("command", nargs="+", help="the command, after --")
    return parser.parse_args()


def main() -> int:
    """Do what the command line asks for. Returns the exit status."""
    options = parse()
    if options.action == "prepare":
        for name in options.kernel:
            say(f"{name}: Linux {prepare(name, update=options.update).release}")
        return 0
    outcome = run_in(
        prepare(options.kernel),
        options.command,
        directory=Path.cwd(),
        environment=dict(pair.split("=", 1) for pair in options.env),
        seconds=options.seconds,
        memory=options.memory,
        processors=options.processors,
        accelerator=options.accelerator,
        to=sys.stdout.buffer,
    )
    if options.console:
        sys.stderr.write(outcome.console)
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
