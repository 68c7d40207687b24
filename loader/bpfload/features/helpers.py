"""Which helper functions programs of a type may call: a program with just that call is loaded for each.

Source: libbpf_probe_bpf_helper() in tools/lib/bpf/libbpf_probes.c, whose answers these are.
"""

from __future__ import annotations

import errno

from bpfload.abi.helpers import HELPER_NAMES
from bpfload.features import program_types
from bpfload.insn.assemble import assemble, call, exit_

#: Helpers that make the kernel log a warning when a program with them is merely loaded.
NOISY = frozenset(HELPER_NAMES.index(name) for name in ("trace_printk", "trace_vprintk", "probe_write_user"))

# What the verifier says of a helper that it doesn't know, or not for this type of program; anything else it says is about the
# arguments, so it knows the helper.
_REFUSALS = (b"invalid func ", b"unknown func ", b"program of this type cannot use helper ")


def available(prog_type: int, *, noisy: bool = False, unprivileged: bool = False, ifindex: int = 0) -> tuple[int, ...] | None:
    """Return the helpers that programs of a type may call, by number; None where that can't be found out by loading some.

    `noisy`: ask for those of NOISY too. `unprivileged`: EPERM means no. `ifindex`: for programs run by that network card.
    """
    if prog_type in program_types.UNLOADABLE and not ifindex:
        return None
    prober = program_types.prober(prog_type, assemble(call(0), exit_()), ifindex=ifindex)
    unknown, of_no_type, not_of_this = _REFUSALS
    found = []
    for number in range(1, len(HELPER_NAMES)):
        if number in NOISY and not noisy:
            continue
        prober.set_immediate(0, number)
        code, log = prober.try_load()
        if code and (not_of_this in log or of_no_type in log or unknown in log or (unprivileged and code == errno.EPERM)):
            continue
        found.append(number)
    return tuple(found)
