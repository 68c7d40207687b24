"""Several attachments that are one: every call site of a static probe, an event on every CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.objects.link_info import LinkInfo


class Composite:
    """One program at several places, attached and taken off together. `parts`: an attachment each, at least one."""

    def __init__(self, parts: Sequence[Attachment]) -> None:
        self.parts = tuple(parts)

    def info(self, *, arrays: bool = False) -> LinkInfo:
        """Return what the first of them is attached to; `parts` has the others."""
        return self.parts[0].info(arrays=arrays)

    def update(self, program: KernelObject, *, old: KernelObject | None = None) -> None:
        """Put another program in the place of the present one, at one place after the other."""
        for part in self.parts:
            part.update(program, old=old)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Make a directory at `path` on a bpffs, with a pin for each part, "0" and up; all of them or none."""
        place = os.path.abspath(os.fspath(path))
        from bpfload.objects import paths

        paths.check_new(place, mount=False)
        with ExitStack() as undo:
            os.mkdir(place, 0o700)
            undo.callback(os.rmdir, place)
            for number, part in enumerate(self.parts):
                pin = f"{place}/{number}"
                part.pin(pin)
                undo.callback(os.unlink, pin)
            undo.pop_all()

    def keep(self) -> None:
        """Leave all of them in place."""
        for part in self.parts:
            part.keep()

    def detach(self) -> None:
        """Take the program off every place; off all others as well where one can't be detached."""
        self._each([part.detach for part in self.parts])

    def close(self) -> None:
        """Give all of them up; a second call does nothing."""
        self._each([part.close for part in self.parts])

    @staticmethod
    def _each(actions: list[Callable[[], None]]) -> None:
        with ExitStack() as stack:
            for action in actions:
                stack.callback(action)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def attach_all(attach: Callable[[int], Attachment], count: int) -> Attachment:
    """Attach at `count` places, by number: all of them or none. A single one is returned as it is."""
    with ExitStack() as stack:
        parts = [stack.enter_context(attach(number)) for number in range(count)]
        stack.pop_all()
    return parts[0] if count == 1 else Composite(parts)
