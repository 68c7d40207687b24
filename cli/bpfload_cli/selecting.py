"""Opening what selectors on the command line mean."""

from __future__ import annotations

from contextlib import ExitStack

from bpfload.errors import UsageError
from bpfload.objects.link import Link
from bpfload.objects.map import Map
from bpfload.objects.program import Program
from bpfload_cli.grammar import LINK_SELECTORS, MAP_SELECTORS, PROGRAM_SELECTORS, Words

_BY_ID = "Name one of them by its id."


def find_programs(words: Words, stack: ExitStack) -> list[Program]:
    """Read a selector and open the programs that it means, for as long as `stack` lasts."""
    from bpfload.inspect import programs

    return [stack.enter_context(program) for program in programs.find(*words.selector(PROGRAM_SELECTORS, "a program"))]


def one_program(words: Words, stack: ExitStack) -> Program:
    """Read a selector that must mean one program, and open it."""
    found = find_programs(words, stack)
    if len(found) > 1:
        ids = ", ".join(str(program.info().id) for program in found)
        raise UsageError(f"{len(found)} programs match: ids {ids}", hint=_BY_ID)
    return found[0]


def find_maps(words: Words, stack: ExitStack) -> list[Map]:
    """Read a selector and open the maps that it means, for as long as `stack` lasts."""
    from bpfload.inspect import maps

    return [stack.enter_context(item) for item in maps.find(*words.selector(MAP_SELECTORS, "a map"))]


def one_map(words: Words, stack: ExitStack) -> Map:
    """Read a selector that must mean one map, and open it."""
    found = find_maps(words, stack)
    if len(found) > 1:
        ids = ", ".join(str(item.info().id) for item in found)
        raise UsageError(f"{len(found)} maps match: ids {ids}", hint=_BY_ID)
    return found[0]


def one_link(words: Words, stack: ExitStack) -> Link:
    """Read a selector and open the link that it means."""
    from bpfload.inspect import links

    return stack.enter_context(links.find(*words.selector(LINK_SELECTORS, "a link"))[0])
