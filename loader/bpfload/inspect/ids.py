"""Walking over all objects of a kind, and finding some of them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.objects import opening
from bpfload.objects.base import KernelObject
from bpfload.syscall import bpf

Object = TypeVar("Object", bound=KernelObject)

_NEXT = {
    "program": bpf.prog_get_next_id,
    "map": bpf.map_get_next_id,
    "link": bpf.link_get_next_id,
    "BTF object": bpf.btf_get_next_id,
}


def every_id(kind: str) -> Iterator[int]:
    """Yield the ids of all objects of a kind, ascending. Raises KernelError, naming the capability that is missing."""
    following, ident = _NEXT[kind], 0
    while True:
        try:
            found = following(ident)
        except KernelError as error:
            if error.errno == errno.EINVAL:
                raise KernelError(error.call, error.errno, f"this kernel is too old for listing {kind}s") from None
            raise opening.with_capability(error, f"listing all {kind}s") from None
        if found is None:
            return
        yield found
        ident = found


def every(from_id: Callable[[int], Object], kind: str) -> Iterator[Object]:
    """Yield every object of a kind, each closed when the next is asked for; those that go meanwhile are left out."""
    for ident in every_id(kind):
        try:
            item = from_id(ident)
        except NotFoundError:
            continue
        except KernelError as error:
            # A link has its id a moment before it is complete.
            if error.errno == errno.EAGAIN:
                continue
            raise
        with item:
            yield item


def matching(items: Iterable[Object], wanted: Callable[[Object], bool]) -> list[Object]:
    """Return those that are wanted, each with an fd of its own that outlives the walk."""
    return [type(item)(item.detach_fd()) for item in items if wanted(item)]


def number(text: str) -> int:
    """Return an id as it is written on the command line: decimal, 0x hexadecimal or 0 octal. Raises UsageError."""
    octal = len(text) > 1 and text[0] == "0" and text.isdigit()
    try:
        value = int(text, 8 if octal else 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 32:
        raise UsageError(f"{text!r} is not an id")
    return value
