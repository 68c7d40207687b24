"""`bpfload batch file FILE`: many commands in one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import IO

from bpfload.errors import BpfError, UsageError
from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.output import json_text
from bpfload_cli.session import Session

_BLANKS = " \t\r\n"
_QUOTES = "'\""
#: How deep the output of a command stands in the JSON of a batch: an array of objects.
_DEPTH = 2
#: A batch may run others; one that runs itself would do so for ever.
_MOST_NESTED = 16 * _DEPTH

_running: list[str] = []


def batch(session: Session, words: Words) -> None:
    """Run the commands of a file, up to the first that fails."""
    words.keyword(("file",), "the word 'file'")
    name = words.take("the file with the commands, - for standard input")
    words.end()
    if len(_running) * _DEPTH >= _MOST_NESTED:
        raise UsageError(f"{name}: batches run one another without an end")
    _running.append(name)
    try:
        with _opened(name) as file:
            session.status = _run_all(session, name, file)
    finally:
        _running.pop()


def _opened(name: str) -> AbstractContextManager[IO[str]]:
    """Open the file. Raises BpfError."""
    if name == "-":
        return nullcontext(sys.stdin)
    try:
        return open(name, encoding="utf-8", errors="surrogateescape", newline="\n")
    except OSError as error:
        raise BpfError(f"{name}: can't be read: {error.strerror}", errno_code=error.errno or 5) from None


def _run_all(session: Session, name: str, file: IO[str]) -> int:
    """Run the commands; return the exit status of the last."""
    from bpfload_cli.main import report

    printed = status = 0
    outer = session.nested
    _json(session, "[")
    try:
        for number, line in commands(file, name):
            status = _run(session, line, first=not printed)
            printed += 1
            if status:
                if not session.json:
                    session.warn(f"{name}, line {number}: stopped at this command: {' '.join(line)}")
                break
        else:
            if not session.json:
                session.line(f"processed {printed} commands")
    except BpfError as error:
        _json(session, "," if printed else "")
        printed += 1
        session.nested = outer + 1
        status = report(session, error)
        session.nested = outer
    _json(session, (_break(session, 0) if printed else "") + ("]" if outer else "]\n"))
    return status


def _run(session: Session, line: list[str], *, first: bool) -> int:
    """Run one command, in JSON as one element of the array; return its exit status."""
    from bpfload_cli.main import execute

    blank = " " if session.pretty else ""
    given = json_text(line, pretty=session.pretty, depth=session.nested + _DEPTH)
    member = _break(session, _DEPTH)
    _json(session, f'{"" if first else ","}{{{member}"command":{blank}{given},{member}"output":{blank}')
    session.nested += _DEPTH
    try:
        return execute(session, line)
    finally:
        session.nested -= _DEPTH
        _json(session, _break(session, 1) + "}")


def _json(session: Session, text: str) -> None:
    """Print a part of the JSON; nothing where text is printed."""
    if session.json:
        session.write(text)


def _break(session: Session, depth: int) -> str:
    """Return the beginning of a new line of pretty JSON."""
    return "\n" + "    " * (session.nested + depth) if session.pretty else ""


# --- the file -------------------------------------------------------------------------------------------------------


def commands(lines: IO[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each command and the number of the line that it begins in.

    From ``#`` on a line is a comment; a backslash at its end joins the next line to it. Raises UsageError.

    Source: do_batch() and make_args() in tools/bpf/bpftool/main.c.
    """
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        text = line.partition("#")[0]
        while text.endswith("\\\n"):
            _, following = next(numbered, (0, ""))
            if not following:
                raise UsageError(f"{name}, line {number}: the line that was to continue this command is missing")
            text = text[:-2] + following.partition("#")[0]
        found = _words(text, f"{name}, line {number}")
        if found:
            yield number, found


def _words(text: str, where: str) -> list[str]:
    """Split a line at blanks; what begins with a quotation mark goes up to the next of its kind. Raises UsageError."""
    found = []
    rest = text.lstrip(_BLANKS)
    while rest:
        if rest[0] in _QUOTES:
            word, closing, rest = rest[1:].partition(rest[0])
            if not closing:
                raise UsageError(f"{where}: a quotation mark has no counterpart")
        else:
            end = next((position for position, letter in enumerate(rest) if letter in _BLANKS), len(rest))
            word, rest = rest[:end], rest[end:]
        found.append(word)
        rest = rest.lstrip(_BLANKS)
    return found


command = WordCommand("batch", batch)
