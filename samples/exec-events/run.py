# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Print the programs that start, until interrupted: `sudo python run.py [UID]`."""

import sys

import bpfload

spec = bpfload.read("exec-events.bpf.o")
if len(sys.argv) > 1:
    spec.set_value("only_uid", int(sys.argv[1]))
with (
    bpfload.load(spec) as live,
    live.program("exec_events").attach(),
    bpfload.RingBuffer(live.map("events")) as events,
):
    for event in bpfload.typed(events, spec.btf, "event"):
        print(event.pid, event.uid, event.comm, flush=True)
