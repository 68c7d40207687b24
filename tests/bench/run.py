"""bpfload beside its peers, measured in one run and printed as ratios: `make bench`.

Each `bench_NAME.py` here has a `main(*, quick)`; names as arguments choose some of them (`run.py load`), `--quick` leaves the
long ones out. Never fails on a time: the machine is whatever it is, which is why each comparison runs both sides alternately
and compares medians. What can't be measured here (no root, no peer) is named and left out.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support import namespaces, system  # noqa: E402
from support.process import bpftool_command, tool_version  # noqa: E402


def main() -> None:
    # With this set, modules would be compiled anew in every process that is measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    bpftool = bpftool_command()
    print(f"Linux {os.uname().release}, {os.cpu_count()} cpus, Python {sys.version.split()[0]}", end="")
    print(f", {tool_version([bpftool, 'version'])}" if bpftool else ", no bpftool")
    reason = system.why_no_kernel()
    if reason:
        print(f"nothing that needs a kernel is measured: {reason}")
    else:
        namespaces.enter_private_mounts()
    chosen = [word for word in sys.argv[1:] if not word.startswith("-")]
    for path in sorted(HERE.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if not chosen or name in chosen:
            import_module(f"bench.{path.stem}").main(quick="--quick" in sys.argv)


if __name__ == "__main__":
    main()
