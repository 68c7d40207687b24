"""From the words of the command line to an exit status."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

from bpfload.errors import BpfError, UsageError, VerifierError
from bpfload_cli.session import FLAGS, LONG_FLAGS, LONG_VALUE_FLAGS, VALUE_FLAGS, Session

FAILED, USAGE, INTERRUPTED = 1, 2, 130
_ALLOCATIONS_BEFORE_COLLECTION = 100_000

# Beginnings of flags (here of --mapcompat) that are options of commands.
_OPTIONS_OF_COMMANDS = ("map",)


def run() -> NoReturn:
    """Run the command line and exit: the console script."""
    # Most commands are over before collecting cycles pays, and importing typer alone would set it off a dozen times; those
    # that go on (check, tracelog) shall not grow for ever.
    gc.set_threshold(_ALLOCATIONS_BEFORE_COLLECTION)
    _open_what_is_closed()
    status = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    # All output is out and nothing needs tearing down: skipping the interpreter's own saves some milliseconds.
    sys.stderr.flush()
    os._exit(status)


def main(arguments: list[str]) -> int:
    """Run a command line (without the program's name) and return the exit status."""
    try:
        session, words = read_flags(arguments)
    except UsageError as error:
        return report(Session(), error)
    return execute(session, words)


def execute(session: Session, words: list[str]) -> int:
    """Run one command and return its exit status; what is wrong with it is printed. `words`: without the flags."""
    session.status = 0
    try:
        from bpfload_cli.table import COMMANDS

        COMMANDS.main(args=route(session, words), prog_name="bpfload", standalone_mode=False, obj=session)
        return session.status
    except BpfError as error:
        return report(session, error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno == errno.EPIPE:
            _drop_stdout()
            return FAILED
        return _unexpected(session, error)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILED
    except Exception as error:
        return _unexpected(session, error)


def read_flags(arguments: list[str]) -> tuple[Session, list[str]]:
    """Take the flags that every command knows off a command line, wherever they stand; return the rest as it is.

    Raises UsageError if the value of one is missing.
    """
    session = Session()
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            words += rest
        elif argument.startswith("--"):
            if not _long_flag(session, argument, rest):
                words.append(argument)
        elif not argument.startswith("-") or not _letters(session, argument, rest):
            words.append(argument)
    return session, words


def _long_flag(session: Session, argument: str, rest: Iterator[str]) -> bool:
    """Set what a word such as --json means, or an unambiguous beginning of one, as getopt_long(3) has it; False: no flag."""
    given, equals, value = argument[2:].partition("=")
    if given in _OPTIONS_OF_COMMANDS:
        return False
    known = (*LONG_FLAGS, *LONG_VALUE_FLAGS)
    names = [given] if given in known else [name for name in known if given and name.startswith(given)]
    if len(names) != 1:
        return False
    (name,) = names
    if name in LONG_VALUE_FLAGS:
        setattr(session, LONG_VALUE_FLAGS[name], value if equals else _value(argument, rest))
    elif equals:
        return False
    else:
        session.set_flag(LONG_FLAGS[name])
    return True


def _letters(session: Session, argument: str, rest: Iterator[str]) -> bool:
    """Set what a word such as -jp or -jBFILE means; False: not all of it are flags, so none is set."""
    flags = argument[1:]
    taking = next((position for position, letter in enumerate(flags) if letter in VALUE_FLAGS), len(flags))
    if not flags or any(letter not in FLAGS for letter in flags[:taking]):
        return False
    for letter in flags[:taking]:
        session.set_flag(FLAGS[letter])
    if taking < len(flags):
        setattr(session, VALUE_FLAGS[flags[taking]], flags[taking + 1 :] or _value(argument, rest))
    return True


def _value(argument: str, rest: Iterator[str]) -> str:
    """Return the word behind a flag. Raises UsageError."""
    value = next(rest, None)
    if value is None:
        raise UsageError(f"the value of {argument} is missing")
    return value


def route(session: Session, words: list[str]) -> list[str]:
    """Return the words with what flags and a bare file name stand for written out."""
    if session.help:
        return ["help", *words]
    if session.version:
        return ["version"]
    from bpfload_cli.table import COMMANDS

    if words and COMMANDS.find(words[0]) is None and is_file_name(words[0]):
        return ["load", *words]
    return words


def is_file_name(word: str) -> bool:
    """Whether a first word that is no command means a file to load: one that is there, or looks like a path."""
    return "/" in word or "." in word or os.path.exists(word)


# --- errors ---------------------------------------------------------------------------------------------------------


def report(session: Session, error: BpfError) -> int:
    """Print an error, as JSON where that was asked for, and return the exit status."""
    status = USAGE if isinstance(error, UsageError) else FAILED
    log = error.log if isinstance(error, VerifierError) else ""
    if session.json:
        try:
            session.data({"error": str(error), "log": log} if log and session.debug else {"error": str(error)})
            return status
        except OSError:
            # stdout takes nothing, which may be what is to be reported.
            _drop_stdout()
    session.warn(f"Error: {error}")
    if log:
        session.warn(log if session.debug else "The same command with -d shows the verifier's whole log.")
    return status


def _unexpected(session: Session, error: Exception) -> int:
    """Report what isn't one of our errors: the command line's, the system's, or a mistake of ours."""
    describe = getattr(error, "format_message", None)
    if describe is not None:
        # What typer says of options and arguments.
        from bpfload_cli.grammar import CommandLineError

        context = getattr(error, "ctx", None)
        return report(session, CommandLineError(describe(), command=context.command_path if context else "bpfload"))
    if session.debug:
        import traceback

        traceback.print_exc()
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return report(session, BpfError(f"{where}{error.strerror}", errno_code=error.errno or 0))
    hint = "This is a mistake in bpfload. Please report it, with what -d adds to this message."
    return report(session, BpfError(f"unexpected {type(error).__name__}: {error}", hint=hint))


def _drop_stdout() -> None:
    """Send what is still unwritten nowhere: whoever was to read it has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_what_is_closed() -> None:
    """Put /dev/null where the caller closed stdin, stdout or stderr (`>&-`): another file of ours would get that number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
