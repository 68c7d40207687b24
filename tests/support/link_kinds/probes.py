"""Rows of the table of attachments: probes, tracepoints and perf events."""

from __future__ import annotations

from bpfload.abi import consts
from bpfload.links import Target
from support.link_kinds.kind import Kind
from support.programs import raw_tracepoint_spec

KINDS: tuple[Kind, ...] = (
    Kind(
        "raw_tracepoint",
        raw_tracepoint_spec,
        lambda place: Target(),
        consts.BPF_LINK_TYPE_RAW_TRACEPOINT,
        ("raw_tracepoint_link",),
        fields=lambda place, target: {"tp_name": "sys_enter"},
        update=False,
        detach=False,
    ),
)
