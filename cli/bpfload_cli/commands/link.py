"""`bpfload link`: the links in the kernel."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from bpfload.errors import KernelError
from bpfload.inspect import links
from bpfload.inspect.owners import holders
from bpfload.objects.base import KernelObject
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import one_link, one_map, one_program
from bpfload_cli.session import Session


def show(session: Session, words: Words) -> None:
    """Show links: the one selected, or all."""
    from bpfload_cli.layouts import LINK

    if not words:
        held = holders("link", pins=session.bpffs)
        session.show((links.view(link, held) for link in links.every()), LINK)
        return
    with ExitStack() as stack:
        link = one_link(words, stack, last=True)
        session.show([links.view(link, holders("link", pins=session.bpffs))], LINK, as_list=False)


def pin(session: Session, words: Words) -> None:
    """Pin a link."""
    from bpfload_cli.commands.pinning import pin_object

    with ExitStack() as stack:
        link = one_link(words, stack)
        path = words.take("the path to pin to")
        words.end()
        pin_object(session, link, path)


def detach(session: Session, words: Words) -> None:
    """Detach a link from its hook, whoever else holds it."""
    with ExitStack() as stack:
        link = one_link(words, stack, last=True)
        try:
            link.detach()
        except KernelError as error:
            raise _explain(error) from None
    session.done()


def update(session: Session, words: Words) -> None:
    """Put another program (of a struct_ops link: another map) in the place of what a link has, in one step."""
    with ExitStack() as stack:
        link = one_link(words, stack)
        new = _replacement(words, stack)
        old = _replacement(words, stack) if words and words.keyword(("old",), "the word 'old'") else None
        words.end()
        link.update(new, old=old)
    session.done()


def _replacement(words: Words, stack: ExitStack) -> KernelObject:
    """Read a program, or the word "map" and a map."""
    if words.peek() == "map":
        words.take("the word 'map'")
        return one_map(words, stack)
    return one_program(words, stack)


def _explain(error: KernelError) -> KernelError:
    """Say what to do about a link that can't be detached."""
    if error.errno == errno.EOPNOTSUPP:
        error.hint = (
            "Links of this type can't be detached: they end with their last holder, so remove their pins (-f shows them)."
        )
    elif error.errno == errno.EPERM:
        from bpfload.abi.consts import CAP_SYS_ADMIN
        from bpfload.kernel.capabilities import permission_hint

        error.hint = permission_hint(CAP_SYS_ADMIN)
    return error


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "link")


command = CommandTable(
    "link",
    (
        ("show", show),
        ("list", show),
        ("help", usage),
        ("pin", pin),
        ("detach", detach),
        ("update", update),
    ),
)
