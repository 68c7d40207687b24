"""`bpfload prog tracelog`: what programs print."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing

from bpfload.errors import UsageError
from bpfload.objects.program import Program
from bpfload_cli.grammar import PROGRAM_SELECTORS, Words, is_prefix
from bpfload_cli.output import json_text
from bpfload_cli.selecting import one_program
from bpfload_cli.session import Session
from bpfload_cli.stopping import until_stopped

_STREAMS = {"stdout": 1, "stderr": 2}
_PRINTK = ": bpf_trace_printk: "


def tracelog(session: Session, words: Words) -> None:
    """Print the trace pipe until interrupted, all of it or one program's lines; or what is in a program's own stream."""
    if not words:
        _trace_pipe(session)
        return
    if any(is_prefix(words.peek(), each) for each in PROGRAM_SELECTORS):
        with ExitStack() as stack:
            wanted = _wanted(session, one_program(words, stack, last=True))
        _trace_pipe(session, wanted)
        return
    name = words.keyword(tuple(_STREAMS), "a program's stream")
    if not words:
        raise words.error(f"{words.command}: whose {name}? A program is missing", PROGRAM_SELECTORS)
    with ExitStack() as stack:
        program = one_program(words, stack, last=True)
        output = bytearray()
        while part := program.read_stream(_STREAMS[name]):
            output += part
    text = output.decode(errors="surrogateescape")
    if session.json:
        session.data(text)
    else:
        session.write(text)


def _wanted(session: Session, program: Program) -> Callable[[str], bool]:
    """Return what tells whether a line is from a program: by what it can print. Raises UsageError where that can't be told."""
    import re

    from bpfload.inspect.printed import printed_by

    printed = printed_by(program)
    if not printed.formats:
        info = program.info()
        reason = "its formats are on the stack, not among its constants" if printed.unknown else "it doesn't call bpf_printk()"
        raise UsageError(f"program {info.id} ({info.name}) can't be told in the trace pipe: {reason}")
    if printed.unknown:
        session.warn(
            f"Note: {printed.unknown} of its calls of bpf_printk() have formats on the stack: what they print is left out."
        )
    last = False
    # COMM-PID, the CPU in brackets: what every tracer's line begins with. Source: print_trace_line() in kernel/trace/trace.c.
    is_head = re.compile(r".*-\d+ +(\([^)]*\) +)?\[\d+\] |CPU:\d+ \[LOST").match

    def is_from(line: str) -> bool:
        nonlocal last
        _, found, message = line.partition(_PRINTK)
        if found or is_head(line):  # a line of its own; else the rest of a message of several lines
            last = bool(found) and message.rstrip("\n") in printed
        return last

    return is_from


def _trace_pipe(session: Session, wanted: Callable[[str], bool] | None = None) -> None:
    from bpfload.streams.trace_pipe import open_trace_pipe

    lines = open_trace_pipe(mount=not session.nomount)
    if not lines.is_on():
        session.warn(f"Note: tracing is switched off, so nothing will come: echo 1 > {lines.switch} switches it on.")
    count = 0
    with closing(lines), until_stopped():
        if session.json:
            session.write("[")
        for line in lines:
            if wanted is not None and not wanted(line):
                continue
            if session.json:
                session.write(("," if count else "") + json_text(line))
            else:
                session.write(line)
            count += 1
    if session.json:
        session.write("]\n")
