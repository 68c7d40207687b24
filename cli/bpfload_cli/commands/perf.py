"""`bpfload perf`: programs that processes hold at tracepoints and probes."""

from __future__ import annotations

from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session


def show(session: Session, words: Words) -> None:
    """Show the file descriptors of all processes that have a program attached."""
    words.end()
    from bpfload.inspect import perf_events
    from bpfload_cli.tracing_layouts import PERF_EVENT

    session.show(perf_events.every(), PERF_EVENT)


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "perf")


command = CommandTable(
    "perf",
    (
        ("show", show),
        ("list", show),
        ("help", usage),
    ),
)
