"""`bpfload prog dump`: a program's instructions as the kernel runs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bpfload.errors import BpfError
from bpfload.inspect import instructions, xlated
from bpfload.inspect.programs import ProgramView
from bpfload.objects.program import Program
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import find_programs
from bpfload_cli.session import Session

_FORMS = ("xlated", "jited")


@dataclass(slots=True, eq=False)
class Options:
    """`jited`: machine code is wanted. What follows the program: a file to write the bytes to, or what to show besides."""

    jited: bool = False
    file: str = ""
    opcodes: bool = False
    visual: bool = False
    linum: bool = False
    svg: bool = False


def dump(session: Session, words: Words) -> None:
    """Show the instructions of the programs selected, or write them to a file."""
    form = words.keyword(_FORMS, "a form that can be dumped")
    with ExitStack() as stack:
        found = find_programs(words, stack)
        options = _options(words)
        options.jited = form == "jited"
        _check(session, words, options, found)
        if options.file:
            _write(session, found[0], options)
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
        word = words.keyword(("opcodes", "visual", "linum"), "an option of prog dump")
        setattr(options, word, True)
        if word == "visual" and words.peek() == "svg":
            options.svg = words.accept("svg")
    return options


def _check(session: Session, words: Words, options: Options, found: list[Program]) -> None:
    """Complain of what doesn't go together."""
    if options.file and (options.opcodes or options.visual or options.linum):
        raise words.error("'file' can't be combined with 'opcodes', 'visual' or 'linum'")
    if options.visual and options.jited:
        raise words.error("'visual' draws the graph of the instructions before they became machine code: prog dump xlated")
    if options.svg and session.json:
        raise words.error("'visual svg' is a picture, it has no JSON form: 'visual' alone has")
    if len(found) > 1 and (options.file or options.visual):
        raise words.error(f"{len(found)} programs match; 'file' and 'visual' take one")


def _write(session: Session, program: Program, options: Options) -> None:
    """Write the instructions' bytes to a file."""
    import os

    if options.jited:
        from bpfload.inspect import jited

        data = jited.raw(program)
    else:
        data = instructions.raw(program)
    with open(os.open(options.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    session.done()


def _print_json(session: Session, found: list[Program], options: Options) -> None:
    values = []
    for program in found:
        listing = _listing(program, options)
        values.append(listing if len(found) == 1 else {**_header(program), "insns": listing})
    session.data(values[0] if len(values) == 1 else values)


def _listing(program: Program, options: Options) -> object:
    """Return a program's dump as JSON."""
    if options.jited:
        from bpfload.inspect import jited

        return jited.json_value(jited.view(program), opcodes=options.opcodes, linum=options.linum)
    view = instructions.view(program)
    if options.visual:
        from bpfload.inspect.xlated_graph import json_graph

        return json_graph(view, opcodes=options.opcodes, linum=options.linum)
    return xlated.json_value(view, opcodes=options.opcodes, linum=options.linum)


def _lines(program: Program, options: Options) -> Iterator[str]:
    """Yield the lines of a program's dump."""
    if options.jited:
        from bpfload.inspect import jited

        return jited.plain_lines(jited.view(program), opcodes=options.opcodes, linum=options.linum)
    view = instructions.view(program)
    if options.visual:
        from bpfload.inspect.xlated_graph import dot_lines

        lines = dot_lines(view, opcodes=options.opcodes, linum=options.linum)
        if not options.svg:
            return lines
        from bpfload_cli.pictures import svg

        return iter(svg("\n".join(lines) + "\n").splitlines())
    return xlated.plain_lines(view, opcodes=options.opcodes, linum=options.linum)


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
            lines = _lines(program, options)
        except BpfError as error:
            raise error.within(f"program {program.info().id}") from None
        if len(found) > 1:
            session.write(render(_view(program), PROGRAM_HEADER, colour=session.colour))
        session.write("".join(f"{line}\n" for line in lines))
        if position != len(found) - 1:
            session.line()
