"""How busy programs are: calls and time between two looks."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass

from bpfload.errors import BpfError, KernelError
from bpfload.inspect import programs
from bpfload.syscall import bpf

_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ProgramActivity:
    """One program between two looks.

    `calls`, `seconds`: how often it ran, and how long in all, since the kernel counts. `calls_per_second`; `ns_per_call`: of the
    calls between the looks, 0 for none; `cpu`: percent of one CPU that it took.
    """

    id: int
    type: str | int
    name: str
    tag: str
    calls: int
    seconds: float
    calls_per_second: float
    ns_per_call: float
    cpu: float


class Activity:
    """Watches all programs. While it is open the kernel counts and times every run, which costs some 20 ns each.

    Source: BPF_ENABLE_STATS in include/uapi/linux/bpf.h (Linux 5.8); kernel.bpf_stats_enabled does the same for good.
    """

    def __init__(self) -> None:
        """Start counting. Raises KernelError where that isn't allowed."""
        try:
            self._fd = bpf.enable_stats()
        except KernelError as error:
            from bpfload.abi.consts import CAP_SYS_ADMIN
            from bpfload.kernel.capabilities import permission_hint

            hint = permission_hint(CAP_SYS_ADMIN) or "Linux before 5.8: sysctl kernel.bpf_stats_enabled=1 does it."
            raise KernelError(error.call, error.errno or 0, "counting runs of programs was refused", hint=hint) from None
        self._before: dict[int, tuple[int, int]] = {}
        self._when = 0.0

    def look(self) -> list[ProgramActivity]:
        """Return all programs, those that took most time since the last look first; rates are 0 at the first one."""
        now = time.monotonic()
        elapsed = now - self._when if self._when else 0.0
        seen: dict[int, tuple[int, int]] = {}
        found = []
        for program in programs.every():
            with suppress(BpfError):
                info = program.info()
                seen[info.id] = info.run_cnt, info.run_time_ns
                calls, spent = self._before.get(info.id, (0, 0) if elapsed else seen[info.id])
                calls, spent = info.run_cnt - calls, info.run_time_ns - spent
                found.append(
                    ProgramActivity(
                        id=info.id,
                        type=programs.type_name(info.type),
                        name=info.name,
                        tag=info.tag.hex() if isinstance(info.tag, bytes) else str(info.tag),
                        calls=info.run_cnt,
                        seconds=info.run_time_ns / _NANO,
                        calls_per_second=calls / elapsed if elapsed else 0.0,
                        ns_per_call=spent / calls if calls else 0.0,
                        cpu=spent / _NANO / elapsed * 100 if elapsed else 0.0,
                    )
                )
        self._before, self._when = seen, now
        return sorted(found, key=lambda each: (-each.cpu, -each.seconds, each.id))

    def close(self) -> None:
        """Stop counting, unless somebody else wants it too; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Activity:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
