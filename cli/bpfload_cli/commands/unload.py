"""`bpfload unload PATH…`: detach and unpin what a load pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bpfload.dispatcher.unloading import unload as unload_path
from bpfload.errors import BpfError
from bpfload.objects.bpffs import Pin
from bpfload.pins.holding import Holder
from bpfload.pins.removal import Unloaded

if TYPE_CHECKING:
    from bpfload_cli.session import Session


def unload(
    context: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="What a load pinned: a program, or a directory of them.")],
) -> None:
    """Detach and unpin what a load pinned at PATH; say what is gone, and what still holds its programs."""
    session: Session = context.obj
    done: list[Unloaded] = []
    errors: list[BpfError] = []
    for path in paths:
        try:
            done.append(unload_path(path))
        except BpfError as error:
            errors.append(error)
    if session.json and (done or len(errors) > 1):
        _as_json(session, done, errors)
        return
    _as_text(session, done)
    for failed in errors[:-1]:
        session.warn(f"Error: {failed}")
    if errors:
        raise errors[-1]


def _as_text(session: Session, done: list[Unloaded]) -> None:
    for each in done:
        for pin in each.leftovers:
            session.line(f"removed what a killed load left: {pin.path}  ({words(pin)})")
        for pin in each.removed:
            session.line(f"{'detached and removed' if pin.kind == 'link' else 'removed'} {pin.path}  ({words(pin)})")
        for directory in each.directories:
            session.line(f"removed {directory}/")
        for device, program in each.chains:
            session.line(f"took program {program} out of the chain of {device}")
        for pin in each.kept:
            session.line(f"kept {pin.path}  ({words(pin)}): not pinned by this load")
        for holder in each.holders:
            session.line(f"program {holder.program} is still {holder}")


def words(pin: Pin) -> str:
    """Say what is pinned: ``program 12``, ``link 3 of program 12``."""
    return f"link {pin.id} of program {pin.prog_id}" if pin.kind == "link" else f"{pin.kind} {pin.id}"


def _as_json(session: Session, done: list[Unloaded], errors: list[BpfError]) -> None:
    """Print a list with an object for each path that was unloaded, then one with an "error" for each that wasn't."""
    found: list[dict[str, object]] = [
        {
            "path": each.path,
            "removed": [_pin(pin) for pin in each.removed],
            "directories": list(each.directories),
            "leftovers": [_pin(pin) for pin in each.leftovers],
            "kept": [_pin(pin) for pin in each.kept],
            "holders": [_holder(holder) for holder in each.holders],
            **({"chains": [{"devname": dev, "prog_id": program} for dev, program in each.chains]} if each.chains else {}),
        }
        for each in done
    ]
    found += [{"error": str(error)} for error in errors]
    session.data(found)
    if errors:
        session.status = 1


def _pin(pin: Pin) -> dict[str, object]:
    shown: dict[str, object] = {"path": pin.path, "type": pin.kind, "id": pin.id}
    if pin.kind == "link":
        shown["prog_id"] = pin.prog_id
    return shown


def _holder(holder: Holder) -> dict[str, object]:
    shown: dict[str, object] = {"prog_id": holder.program, "type": holder.kind}
    if holder.id:
        shown["id"] = holder.id
    if holder.name:
        shown["name"] = holder.name
    return shown
