"""Run something in a process that has some capabilities and no others, whoever runs it.

    python -m support.limited CAPABILITY,… COMMAND…

CAPABILITY: a number, as in include/uapi/linux/capability.h.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

from support.paths import TESTS
from support.process import Argument, Result, run

_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_LAST = 63


def with_only(capabilities: Iterable[int], *command: Argument, check: bool = True, env: dict[str, str] | None = None) -> Result:
    """Run a command as root of no more than these capabilities."""
    wanted = ",".join(map(str, capabilities)) or "none"
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return run(sys.executable, "-m", "support.limited", wanted, *command, check=check, env={"PYTHONPATH": path, **(env or {})})


def main(wanted: str, *command: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    kept = {int(word) for word in wanted.split(",")} if wanted != "none" else set()
    for number in range(_LAST + 1):
        if (
            libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1
            and number not in kept
            and libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
        ):
            raise OSError(ctypes.get_errno(), f"capability {number} can't be dropped")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
