"""`bpfload map update`, `lookup`, `getnext`, `delete`, `push`, `pop`, `freeze`: one element of a map, or the map itself."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from bpfload.abi import consts
from bpfload.errors import KernelError, UsageError
from bpfload.inspect import elements
from bpfload.inspect.view import to_data
from bpfload.objects.map import Map
from bpfload.syscall import bpf
from bpfload_cli.app import WordCommand
from bpfload_cli.commands import map_dump, map_typed
from bpfload_cli.commands.typed_values import View, read_element, take_options
from bpfload_cli.grammar import Words
from bpfload_cli.output import hex_lines
from bpfload_cli.selecting import one_map
from bpfload_cli.session import Session


def update(session: Session, words: Words) -> None:
    """Store a value at a key, or push it on a queue or stack."""
    words, view = take_options(words)
    with ExitStack() as stack:
        item = one_map(words, stack)
        given = read_element(session, words, item, stack, view, value=True)
        try:
            item.update(given.key, given.value or b"", given.flags)
        except KernelError as error:
            raise _explained(error, item, "store that", given.flags) from None
    session.done()


def lookup(session: Session, words: Words) -> None:
    """Show the value at a key, or what is next in a queue or stack."""
    words, view = take_options(words)
    with ExitStack() as stack:
        item = one_map(words, stack)
        given = read_element(session, words, item, stack, view, fields=True)
        try:
            value = item.lookup(given.key)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise _explained(error, item, "read that") from None
            _not_found(session, given.key or b"")
            return
        _show(session, item, given.key or b"", value, view, given.fields)


def _not_found(session: Session, key: bytes) -> None:
    session.status = 1
    if session.json:
        session.data(None)
    else:
        session.write(f"key:\n{hex_lines(key)}\n\nNot found\n")


def _show(session: Session, item: Map, key: bytes, value: bytes, view: View, fields: tuple[str, ...] = ()) -> None:
    """Print one element: in hexadecimal, by its types as bpftool does, or as typed values."""
    if view.typed or fields:
        map_typed.show(session, item, key, value, view, fields)
        return
    element = elements.element(item, key, value)
    if session.json:
        session.data(to_data(element))
    elif element.formatted is None:
        session.write(map_dump.element_lines(item, element))
    else:
        session.write(map_dump.element_text(session, element, 0) + "\n")


def getnext(session: Session, words: Words) -> None:
    """Show the key after a key, or the first."""
    words, view = take_options(words)
    with ExitStack() as stack:
        item = one_map(words, stack)
        key = read_element(session, words, item, stack, view).key if words else None
        try:
            following = bpf.map_get_next_key(item.fd, key, item.info().key_size)
        except KernelError as error:
            raise _explained(error, item, "list the keys") from None
        if following is None:
            what = "no key follows this one" if key is not None else "it has no keys"
            raise KernelError("BPF_MAP_GET_NEXT_KEY", errno.ENOENT, f"map {item.info().id}: {what}")
        if view.typed:
            map_typed.show_keys(session, item, key, following, view)
        elif session.json:
            session.data({"key": None if key is None else to_data(key), "next_key": to_data(following)})
        else:
            shown = "None" if key is None else f"\n{hex_lines(key)}"
            session.write(f"key:{'' if key else ' '}{shown}\nnext key:\n{hex_lines(following)}\n")


def delete(session: Session, words: Words) -> None:
    """Delete the element at a key."""
    words, view = take_options(words)
    with ExitStack() as stack:
        item = one_map(words, stack)
        given = read_element(session, words, item, stack, view)
        try:
            item.delete(given.key or b"")
        except KernelError as error:
            raise _explained(error, item, "delete that") from None
    session.done()


def pop(session: Session, words: Words) -> None:
    """Take the next element out of a queue or stack, and show it."""
    words, view = take_options(words)
    with ExitStack() as stack:
        item = one_map(words, stack)
        words.end()
        if item.info().key_size:
            raise UsageError(f"map {item.info().id} has keys: only a queue or stack has a next element to take out")
        try:
            value = item.pop()
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise _explained(error, item, "take something out") from None
            session.status = 1
            if session.json:
                session.data(None)
            else:
                session.line("Error: empty map")
            return
        _show(session, item, b"", value, view)


def freeze(session: Session, words: Words) -> None:
    """Make a map read-only for user space, for good."""
    with ExitStack() as stack:
        item = one_map(words, stack)
        words.end()
        try:
            item.freeze()
        except KernelError as error:
            raise _explained(error, item, "freeze it") from None
    session.done()


def _explained(error: KernelError, item: Map, doing: str, flags: int = 0) -> KernelError:
    """Return an error that says which map it was, what was asked of it, and why the kernel refuses."""
    from bpfload.inspect import maps

    info = item.info()
    kind = maps.type_name(info.type)
    message = f"map {info.id} ({kind}{f' {info.name}' if info.name else ''}): can't {doing}"
    return KernelError(error.call, error.errno or 0, message, hint=_hint(error.errno or 0, item, doing, flags))


def _hint(code: int, item: Map, doing: str, flags: int) -> str:
    from bpfload.kernel.processes import fdinfo, fdinfo_number

    info = item.info()
    if code == errno.EPERM:
        if fdinfo_number(fdinfo(item.fd), "frozen"):
            return "The map is frozen: user space can't write to it any more."
        return ""
    if code == errno.E2BIG:
        array = "there is no such index" if info.key_size == 4 and "array" in _kind(info.type) else "it is full"
        return f"The map has {info.max_entries} entries at most: {array}."
    if code == errno.EEXIST:
        return "The key is there already: leave out noexist, or say exist, to replace its value."
    if code == errno.ENOENT and flags == consts.BPF_EXIST:
        return "There is no such key: leave out exist to add it."
    if code == errno.ENOENT and doing.startswith("delete"):
        return "There is no such key."
    if code == errno.EINVAL and doing.startswith("delete") and "array" in _kind(info.type):
        return "The elements of an array can't be deleted, only updated."
    if code == errno.EBUSY and doing.startswith("freeze"):
        return "A process has it mapped for writing."
    return ""


def _kind(number: int) -> str:
    from bpfload.inspect import maps

    return str(maps.type_name(number))


update_command = WordCommand("update", update)
lookup_command = WordCommand("lookup", lookup)
getnext_command = WordCommand("getnext", getnext)
delete_command = WordCommand("delete", delete)
pop_command = WordCommand("pop", pop)
freeze_command = WordCommand("freeze", freeze)
