"""Bringing the machine to what a file declares."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfload.errors import BpfError, KernelError
from bpfload.state.planning import CREATE, NONE, REMOVE, REPLACE, Change, plan

if TYPE_CHECKING:
    from bpfload.pins.deployment import Deployed
    from bpfload.state.bringing import Prepared
    from bpfload.state.declaration import Declaration

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of one change. `done`: whether it was made; `error`: why not, None also where nothing was tried.

    `deployed`: what the load did.
    """

    change: Change
    done: bool = False
    error: BpfError | None = None
    deployed: Deployed | None = None


def apply(declaration: Declaration, *, adopt: bool = False, mount: bool = True) -> Iterator[Outcome]:
    """Bring the machine to what `declaration` says, object by object, and yield what has become of each, as it is done.

    `adopt`: see `bpfload.state.plan`. Where something is wrong with the file or an object file nothing is touched: the outcomes
    say what. What the kernel refuses is an outcome of that object alone. Raises BpfError where another process applies the same
    file.
    """
    with _locked(declaration.path):
        changes = plan(declaration, adopt=adopt)
        work = [change for change in changes if change.action in (CREATE, REPLACE)]
        prepared, errors = _prepare(work) if work else ({}, {})
        if errors:
            for change in changes:
                yield Outcome(change, error=errors.get(change.path))
            return
        for change in changes:
            yield _carry_out(change, prepared.get(change.path), declaration, mount)


def check(declaration: Declaration, *, adopt: bool = False) -> list[Outcome]:
    """Return what `apply` would do, without doing it: outcomes that aren't done, with what is wrong with object files."""
    changes = plan(declaration, adopt=adopt)
    work = [change for change in changes if change.action in (CREATE, REPLACE)]
    _, errors = _prepare(work) if work else ({}, {})
    return [Outcome(change, error=errors.get(change.path)) for change in changes]


def _prepare(changes: list[Change]) -> tuple[dict[str, Prepared], dict[str, BpfError]]:
    """Read and check the objects that are to be brought in, by PATH."""
    from bpfload.state import bringing

    prepared: dict[str, Prepared] = {}
    errors: dict[str, BpfError] = {}
    for change in changes:
        try:
            if change.error is not None:
                raise change.error
            assert change.declared is not None
            prepared[change.path] = bringing.prepare(change.declared)
        except BpfError as error:
            errors[change.path] = error
    return prepared, errors


def _carry_out(change: Change, prepared: Prepared | None, declaration: Declaration, mount: bool) -> Outcome:
    if change.action == NONE:
        return Outcome(change)
    from bpfload.state import bringing

    try:
        if change.action == REMOVE:
            assert change.record is not None
            bringing.take_away(change.record)
            return Outcome(change, True)
        assert prepared is not None
        return Outcome(change, True, None, bringing.bring(prepared, change, declaration.name, mount=mount))
    except BpfError as error:
        where = change.declared.where if change.declared is not None else declaration.path
        return Outcome(change, error=error.within(where))
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        return Outcome(change, error=KernelError(f"system call on{name or ' a file'}", error.errno or errno.EIO))


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the file's lock: one process applies it at a time. The kernel drops it with the process. Raises BpfError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # read from elsewhere
        yield
        return
    try:
        waited = 0.0
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited >= _PATIENCE_SECONDS:
                    message = f"{path}: another process has been applying it for {_PATIENCE_SECONDS:.0f} seconds"
                    raise BpfError(message, errno_code=errno.EBUSY) from None
            except OSError:
                break  # a file system without locks
            import time

            time.sleep(0.02)
            waited += 0.02
        yield
    finally:
        os.close(fd)
