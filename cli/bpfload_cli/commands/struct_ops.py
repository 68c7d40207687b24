"""`bpfload struct_ops`: tables of functions that the kernel calls: what is there, registering, unregistering."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bpfload.errors import BpfError, NotFoundError
from bpfload.objects.link import Link
from bpfload_cli.app import CommandTable
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session

if TYPE_CHECKING:
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.map import Map

_SELECTORS = ("id", "name")


def show(session: Session, words: Words) -> None:
    """Show struct_ops maps: those selected, or all."""
    from bpfload.inspect import struct_ops
    from bpfload_cli.tracing_layouts import STRUCT_OPS

    with ExitStack() as stack:
        found = _find(session, words, stack) if words else struct_ops.every()
        session.show((struct_ops.view(table) for table in found), STRUCT_OPS)


def dump(session: Session, words: Words) -> None:
    """Show what the kernel says of struct_ops maps, and their functions and values."""
    from bpfload.btf.values import JSON, PLAIN, pretty
    from bpfload.inspect import struct_ops

    with ExitStack() as stack:
        found = _find(session, words, stack) if words else struct_ops.every()
        parts = [part for table in found for part in struct_ops.dump(table, JSON if session.json else PLAIN)]
    if session.json:
        session.data(parts)
    else:
        session.line(pretty(parts))


def _find(session: Session, words: Words, stack: ExitStack) -> list[Map]:
    """Read a selector and open the maps that it means. As JSON, no map of a name is an empty list and a status, as in bpftool."""
    kind, value = _selector(words)
    try:
        return _opened(kind, value, stack)
    except NotFoundError:
        if not session.json or kind == "id":
            raise
        session.status = 1
        return []


def _selector(words: Words) -> tuple[str, str]:
    kind, value = words.selector(_SELECTORS, "a struct_ops map")
    words.end()
    return kind, value


def _opened(kind: str, value: str, stack: ExitStack) -> list[Map]:
    from bpfload.inspect import struct_ops

    return [stack.enter_context(table) for table in struct_ops.find(kind, value)]


def register(session: Session, words: Words) -> None:
    """Load an object and register its struct_ops maps: all of them, or none."""
    path = words.take("the object file")
    directory = words.take("the directory for links") if words else ""
    words.end()
    from bpfload.elf import read
    from bpfload.load import load

    with ExitStack() as stack, ExitStack() as undo:
        live = stack.enter_context(load(read(path)))
        if not live.struct_ops:
            raise NotFoundError(f"{path}: there is no struct_ops map in it", hint='Define one in SEC(".struct_ops.link").')
        if directory:
            _make_directory(directory, mount=not session.nomount)
        attachments = [undo.enter_context(live.attach_struct_ops(name)) for name in live.struct_ops]
        notes = [
            _settled(live.maps[name], attachment, directory, undo)
            for name, attachment in zip(live.struct_ops, attachments, strict=True)
        ]
        # From here on everything stays: what is no link by itself, a link by its pin.
        undo.pop_all()
        for attachment in attachments:
            if not isinstance(attachment, Link):
                attachment.keep()
            attachment.close()
    if not session.json:
        for note in notes:
            session.warn(note)
    session.done()


def _settled(table: Map, attachment: Attachment, directory: str, undo: ExitStack) -> str:
    """Pin a registered map's link, if it has one and there is a directory; return what to say of it."""
    from bpfload.inspect import struct_ops

    shown = struct_ops.view(table)
    name = f"Registered {shown.kernel_struct_ops} {shown.name}"
    if not isinstance(attachment, Link):
        return f"{name} id {shown.id}"
    text = f"{name} map id {shown.id} link id {attachment.info().id}"
    if not directory:
        return f"{text}\nNote: that link ends with this command. Name a directory, where it is pinned, for it to stay."
    path = os.path.join(os.path.abspath(directory), shown.name.replace(".", "_"))
    attachment.pin(path)
    undo.callback(os.unlink, path)
    return text


def _make_directory(directory: str, *, mount: bool) -> None:
    """Make the directory for the links on a bpffs, unless it is there. Raises PinError."""
    from bpfload.objects import paths

    place = os.path.abspath(directory)
    if os.path.isdir(place):
        paths.require_bpffs(os.path.join(place, "link"), mount=mount)
        return
    paths.check_new(place, mount=mount)
    try:
        os.mkdir(place, 0o700)
    except OSError as error:
        raise paths.pin_error(error, place) from None


def unregister(session: Session, words: Words) -> None:
    """Take registered struct_ops maps out: those that no link has registered."""
    from bpfload.inspect import struct_ops
    from bpfload.links.struct_ops import unregister as take_out

    refused: list[BpfError] = []
    with ExitStack() as stack:
        for table in _opened(*_selector(words), stack):
            shown = struct_ops.view(table)
            try:
                take_out(table)
            except BpfError as error:
                refused.append(error)
                continue
            if not session.json:
                session.warn(f"Unregistered {shown.kernel_struct_ops} {shown.name} id {shown.id}")
    if refused:
        raise refused[0]
    session.done()


def usage(session: Session, words: Words) -> None:
    """Show the forms of these commands."""
    from bpfload_cli.usage import show_usage

    show_usage(session, "struct_ops")


command = CommandTable(
    "struct_ops",
    (
        ("show", show),
        ("list", show),
        ("register", register),
        ("unregister", unregister),
        ("dump", dump),
        ("help", usage),
    ),
)
