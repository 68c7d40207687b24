"""`bpfload iter`: iterators: programs that write a text about everything of a kind in the kernel."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from bpfload.errors import BpfError, UsageError
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session

if TYPE_CHECKING:
    from bpfload.links.target import Target
    from bpfload.objects.iterator import IteratorLink

_OPTIONS = ("map", "pid", "tid", "cgroup", "program")
_CHUNK = 1 << 16


@dataclass(slots=True)
class _Wish:
    """What the words ask for: the program's name ("": the object's first), and what the iterator is to be bound to."""

    program: str
    target: Target


def pin(session: Session, words: Words) -> None:
    """Load an object and pin its iterator: reading the pin runs it."""
    from bpfload.objects import paths

    obj = words.take("the object file")
    path = words.take("the path to pin to")
    with ExitStack() as stack:
        wish = _wish(words, stack)
        paths.check_name(path)
        place = os.path.abspath(path)
        paths.check_new(place, mount=not session.nomount)
        paths.pin(_attached(obj, wish, stack).fd, place)
    session.done()


def cat(session: Session, words: Words) -> None:
    """Print what an iterator writes: one that is pinned, or that of an object, which is loaded for as long as that takes."""
    path = words.take("an object file, or a pinned iterator")
    with ExitStack() as stack:
        if _is_pin(path):
            words.end()
            file = stack.enter_context(_opened(path))
        else:
            wish = _wish(words, stack)
            file = stack.enter_context(_attached(path, wish, stack).open())
        _copy(session, file)


def _wish(words: Words, stack: ExitStack) -> _Wish:
    """Read ``[program NAME] [map MAP | pid N | tid N | cgroup CGROUP [ORDER]]``."""
    from bpfload.links.target import Target
    from bpfload_cli.selecting import one_map

    wish = _Wish("", Target())
    while words:
        option = words.keyword(_OPTIONS, "an option of this command")
        if option == "program":
            wish.program = words.take("the program's name")
        elif option == "map":
            wish.target.map_fd = one_map(words, stack).fd
        elif option == "cgroup":
            from bpfload.links.iterator import CGROUP_ORDERS

            wish.target.cgroup = words.take("the cgroup's directory or id")
            if words and words.peek() in CGROUP_ORDERS:
                wish.target.cgroup_order = words.take("the order")
        else:
            number = words.number(f"the {option}")
            if not number:
                raise UsageError(f"{option} 0 is no {'thread' if option == 'tid' else 'process'}")
            setattr(wish.target, option, number)
    return wish


def _attached(path: str, wish: _Wish, stack: ExitStack) -> IteratorLink:
    """Load an object and attach its iterator, for as long as `stack` lasts."""
    from bpfload.elf import read
    from bpfload.links import hook_of
    from bpfload.links.iterator import attach
    from bpfload.load import LoadOptions, load

    spec = read(path)
    options = LoadOptions(programs=frozenset((wish.program,))) if wish.program else LoadOptions()
    live = stack.enter_context(load(spec, options))
    program = live.program(wish.program or next(iter(live.programs), ""))
    if hook_of(program.spec) != "iterator":
        names = [other.name for other in spec.entry_programs if hook_of(other) == "iterator"]
        hint = f"Name one of its iterators: program {names[0]}." if names else "It has no iterator."
        raise UsageError(f'{path}: program {program.spec.name!r} is no iterator: SEC("{program.spec.section}")', hint=hint)
    return stack.enter_context(attach(program, program.spec, wish.target))


def _is_pin(path: str) -> bool:
    from bpfload.kernel import mounts

    return os.path.lexists(path) and mounts.is_bpffs(path)


def _opened(path: str) -> BinaryIO:
    """Open a pinned iterator. Raises PinError for a pin of something else."""
    from bpfload.objects.iterator import IteratorLink

    with IteratorLink.from_pin(path) as link:
        from bpfload.abi import consts
        from bpfload.errors import PinError

        if link.info().type != consts.BPF_LINK_TYPE_ITER:
            raise PinError(f"{path} holds a link that is no iterator", path=path)
        return link.open()


def _copy(session: Session, file: BinaryIO) -> None:
    """Print all that an iterator writes: as it comes, or as JSON a list of its lines."""
    try:
        if session.json:
            session.data([line.decode(errors="surrogateescape").removesuffix("\n") for line in file])
            return
        while part := file.read(_CHUNK):
            session.write(part.decode(errors="surrogateescape"))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise BpfError(f"the iterator failed: {error.strerror}", errno_code=error.errno or 0) from None


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "iter")


command = CommandTable(
    "iter",
    (
        ("help", usage),
        ("pin", pin),
        ("cat", cat),
    ),
)
