"""`bpfload prog tracelog`: what programs print."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from types import FrameType

from bpfload_cli.grammar import PROGRAM_SELECTORS, Words
from bpfload_cli.output import json_text
from bpfload_cli.selecting import one_program
from bpfload_cli.session import Session

_STREAMS = {"stdout": 1, "stderr": 2}


def tracelog(session: Session, words: Words) -> None:
    """Print the trace pipe until interrupted, or what is in a program's own stream."""
    if not words:
        _trace_pipe(session)
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


def _trace_pipe(session: Session) -> None:
    from bpfload.streams.trace_pipe import open_trace_pipe

    lines = open_trace_pipe(mount=not session.nomount)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    count = 0
    try:
        if session.json:
            session.write("[")
        for line in lines:
            if session.json:
                session.write(("," if count else "") + json_text(line))
            else:
                session.write(line)
            count += 1
    except KeyboardInterrupt:
        pass
    finally:
        lines.close()
    if session.json:
        session.write("]\n")


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
