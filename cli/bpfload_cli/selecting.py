"""Opening what selectors on the command line mean."""

from __future__ import annotations

from contextlib import ExitStack

from bpfload.errors import UsageError
from bpfload.objects.link import Link
from bpfload.objects.map import Map
from bpfload.objects.program import Program
from bpfload_cli.grammar import LINK_SELECTORS, MAP_SELECTORS, PROGRAM_SELECTORS, Words

_BY_ID = "Name one of them by its id."


def find_programs(words: Words, stack: ExitStack, *, last: bool = False) -> list[Program]:
    """Read a selector and open the programs that it means, for as long as `stack` lasts. `last`: no word may follow."""
    from bpfload.inspect import programs

    kind, value = words.selector(PROGRAM_SELECTORS, "a program")
    if last:
        words.end()
    return [stack.enter_context(program) for program in programs.find(kind, value)]


def one_program(words: Words, stack: ExitStack, *, last: bool = False) -> Program:
    """Read a selector that must mean one program, and open it. `last`: no word may follow."""
    found = find_programs(words, stack, last=last)
    if len(found) > 1:
        ids = ", ".join(str(program.info().id) for program in found)
        raise UsageError(f"{len(found)} programs match: ids {ids}", hint=_BY_ID)
    return found[0]


def find_maps(words: Words, stack: ExitStack, *, last: bool = False) -> list[Map]:
    """Read a selector and open the maps that it means, for as long as `stack` lasts. `last`: no word may follow."""
    from bpfload.inspect import maps

    kind, value = words.selector(MAP_SELECTORS, "a map")
    if last:
        words.end()
    return [stack.enter_context(item) for item in maps.find(kind, value)]


def one_map(words: Words, stack: ExitStack) -> Map:
    """Read a selector that must mean one map, and open it."""
    found = find_maps(words, stack)
    if len(found) > 1:
        ids = ", ".join(str(item.info().id) for item in found)
        raise UsageError(f"{len(found)} maps match: ids {ids}", hint=_BY_ID)
    return found[0]


def one_link(words: Words, stack: ExitStack, *, last: bool = False) -> Link:
    """Read a selector and open the link that it means. `last`: no word may follow."""
    from bpfload.inspect import links

    kind, value = words.selector(LINK_SELECTORS, "a link")
    if last:
        words.end()
    return stack.enter_context(links.find(kind, value)[0])
