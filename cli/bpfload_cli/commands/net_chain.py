"""`bpfload net attach … chain`, `net detach … chain`: several XDP programs on one device.

Beyond bpftool's grammar::

    net attach MODE object FILE [program NAME] dev IF chain [priority N] [actions A,B,…]
    net attach MODE PROG dev IF chain [priority N] [actions A,B,…]
    net detach MODE PROG dev IF [chain]
    net detach MODE dev IF chain
"""

from __future__ import annotations

import errno
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bpfload.errors import UsageError
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import find_programs
from bpfload_cli.session import Session

if TYPE_CHECKING:
    from bpfload.objects.program import Program

# bpftool's words for a mode: the library's.
_MODES = {"xdp": "auto", "xdpgeneric": "generic", "xdpdrv": "native"}
# … and how netlink calls what is attached in that mode.
_ATTACHED = {"xdp": ("driver", "generic"), "xdpgeneric": ("generic",), "xdpdrv": ("driver",)}


def attach_object(session: Session, words: Words, hook: str) -> None:
    """Load a program of an object file and put it into a device's chain."""
    from bpfload import dispatcher

    file = words.take("the object file")
    program = words.take("the program's name") if words.accept("program") else ""
    device = _device(words)
    if not words:
        raise words.error(
            f"{words.command}: a program that comes from an object file joins a chain: 'chain' is missing behind the device"
        )
    words.keyword(("chain",), "the word 'chain'")
    priority, actions = _place(words)
    mode, mount = _mode(hook), not session.nomount
    dispatcher.attach(file, device, program=program, priority=priority, actions=actions, mode=mode, mount=mount).close()
    session.done()


def attach_program(session: Session, words: Words, hook: str, program: Program, device: str) -> None:
    """Put a program that was loaded for a chain into a device's."""
    from bpfload import dispatcher

    priority, actions = _place(words)
    mode, mount = _mode(hook), not session.nomount
    dispatcher.attach_program(program, device, priority=priority, actions=actions, mode=mode, mount=mount)
    session.done()


def detach_programs(session: Session, words: Words) -> None:
    """Take what a selector names out of a device's chain."""
    from bpfload import dispatcher

    with ExitStack() as stack:
        wanted = [program.info().id for program in find_programs(words, stack)]
        device = _device(words)
        words.accept("chain")
        words.end()
    dispatcher.detach(device, _those_in_chain(device, wanted))
    session.done()


def detach_all(session: Session, device: str) -> None:
    """Take a device's whole chain away."""
    from bpfload import dispatcher

    dispatcher.detach(device)
    session.done()


def spare(device: str, index: int, hook: str, command: str) -> None:
    """Complain if what is to be attached or detached alone would break a chain."""
    from bpfload.dispatcher import chain_on

    if hook not in _ATTACHED:
        return
    chain = chain_on(index)
    if chain is None or chain.mode not in _ATTACHED[hook]:
        return
    names = ", ".join(f"{one.name} (id {one.id})" if one.id is not None else "one unknown" for one in chain.programs)
    if command == "net attach":
        hint = f"To attach another beside them: bpfload net attach {hook} object FILE dev {device} chain."
    else:
        one, all_ = f"net detach {hook} id ID dev {device} chain", f"net detach {hook} dev {device} chain"
        hint = f"To take one away: bpfload {one}; all: bpfload {all_}."
    raise UsageError(
        f"{device} runs several programs by a dispatcher (id {chain.id}), which has to stay: {names or 'none'}",
        hint=hint,
        errno_code=errno.EBUSY,
    )


def _those_in_chain(device: str, wanted: list[int]) -> list[int]:
    """Return those of several programs, of one name or tag, that are in the chain; the only one whether it is or not."""
    if len(wanted) == 1:
        return wanted
    from bpfload.dispatcher import chain_on
    from bpfload.inspect.net import index_of

    chain = chain_on(index_of(device))
    members = {one.id for one in chain.programs} if chain is not None else set()
    return [ident for ident in wanted if ident in members] or wanted[:1]


def _device(words: Words) -> str:
    words.keyword(("dev",), "the word 'dev'")
    return words.take("the device")


def _mode(hook: str) -> str:
    if hook not in _MODES:
        raise UsageError(f"{hook}: the programs of a chain can't be offloaded", hint="Attach one alone, without 'chain'.")
    return _MODES[hook]


def _place(words: Words) -> tuple[int | None, list[str] | None]:
    """Read ``[priority N] [actions A,B,…]``, in any order. "none" is no action."""
    priority: int | None = None
    actions: list[str] | None = None
    while words:
        if words.keyword(("priority", "actions"), "an option of a chain") == "priority":
            text = words.take("the priority")
            try:
                priority = int(text, 0)
            except ValueError:
                raise words.error(
                    f"{words.command}: {text!r} is no priority: a number is needed, the lowest runs first"
                ) from None
        else:
            text = words.take("the actions")
            actions = [] if text == "none" else [name for name in text.split(",") if name]
    return priority, actions
