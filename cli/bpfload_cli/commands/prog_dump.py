"""`bpfload prog dump`: a program's instructions as the kernel runs them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from bpfload.errors import BpfError
from bpfload.inspect import instructions, xlated
from bpfload.inspect.programs import ProgramView
from bpfload.objects.program import Program
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import find_programs
from bpfload_cli.session import Session

_FORMS = ("xlated",)


@dataclass(slots=True, eq=False)
class Options:
    """What follows the program: a file to write the bytes to, or what to show with the instructions."""

    file: str = ""
    opcodes: bool = False
    visual: bool = False
    linum: bool = False


def dump(session: Session, words: Words) -> None:
    """Show the instructions of the programs selected, or write them to a file."""
    words.keyword(_FORMS, "a form that can be dumped")
    with ExitStack() as stack:
        found = find_programs(words, stack)
        options = _options(words)
        _check(session, words, options, found)
        if options.file:
            _write(session, found[0], options.file)
        elif session.json:
            _print_json(session, found, options)
        else:
            _print_text(session, found, options)


def _options(words: Words) -> Options:
    options = Options()
    while words:
        if words.accept("file"):
            options.file = words.take("the file to write to")
            continue
        setattr(options, words.keyword(("opcodes", "visual", "linum"), "an option of prog dump"), True)
    return options


def _check(session: Session, words: Words, options: Options, found: list[Program]) -> None:
    """Complain of what doesn't go together."""
    if options.file and (options.opcodes or options.visual or options.linum):
        raise words.error("'file' can't be combined with 'opcodes', 'visual' or 'linum'")
    if session.json and options.visual:
        raise words.error("'visual' is a graph in DOT, it has no JSON form")
    if len(found) > 1 and (options.file or options.visual):
        raise words.error(f"{len(found)} programs match; 'file' and 'visual' take one")


def _write(session: Session, program: Program, path: str) -> None:
    """Write the instructions' bytes to a file."""
    import os

    data = instructions.raw(program)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    session.done()


def _print_json(session: Session, found: list[Program], options: Options) -> None:
    values = []
    for program in found:
        listing = xlated.json_value(instructions.view(program), opcodes=options.opcodes, linum=options.linum)
        values.append(listing if len(found) == 1 else {**_header(program), "insns": listing})
    session.data(values[0] if len(values) == 1 else values)


def _header(program: Program) -> dict[str, object]:
    """What is shown of each of several programs."""
    from bpfload.inspect.view import to_data

    data: dict[str, object] = to_data(_view(program))
    keys = ("id", "type", "name", "tag", "gpl_compatible", "run_time_ns", "run_cnt", "recursion_misses")
    return {key: data[key] for key in keys if key in data}


def _view(program: Program) -> ProgramView:
    from bpfload.inspect import programs
    from bpfload.inspect.owners import Holders

    return programs.view(program, Holders({}, None))


def _print_text(session: Session, found: list[Program], options: Options) -> None:
    from bpfload_cli.layouts import PROGRAM_HEADER
    from bpfload_cli.output import render

    for position, program in enumerate(found):
        try:
            view = instructions.view(program)
        except BpfError as error:
            raise error.within(f"program {program.info().id}") from None
        if len(found) > 1:
            session.write(render(_view(program), PROGRAM_HEADER, colour=session.colour))
        if options.visual:
            from bpfload.inspect.xlated_graph import dot_lines

            lines = dot_lines(view, opcodes=options.opcodes, linum=options.linum)
        else:
            lines = xlated.plain_lines(view, opcodes=options.opcodes, linum=options.linum)
        session.write("".join(f"{line}\n" for line in lines))
        if position != len(found) - 1:
            session.line()
