"""`bpfload unload PATH…`: detach and unpin what a load pinned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bpfload.dispatcher.unloading import unload as unload_path
from bpfload.dispatcher.unloading import unload_program
from bpfload.errors import BpfError, NotFoundError, UsageError
from bpfload.objects.bpffs import Pin
from bpfload.pins.attached import Detached
from bpfload.pins.holding import Holder
from bpfload.pins.removal import Unloaded

if TYPE_CHECKING:
    from bpfload_cli.session import Session


def unload(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="What a load pinned: a program, or a directory of them; * and ? for several."),
    ] = None,
    ids: Annotated[
        list[int] | None, typer.Option("--id", metavar="ID", help="The program with this id, wherever it is pinned and attached.")
    ] = None,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="The program of this name, if there is only one.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Detach and unpin what a load pinned at PATH; say what is gone, and what still holds its programs."""
    session: Session = context.obj
    done: list[Unloaded] = []
    errors: list[BpfError] = []
    for action in _actions(paths or [], ids or [], names or []):
        try:
            done.append(action(dry_run=dry_run))
        except BpfError as error:
            errors.append(error)
    if session.json and (done or len(errors) > 1):
        _as_json(session, done, errors)
        return
    for each in done:
        _as_text(session, each, dry_run)
    for failed in errors[:-1]:
        session.warn(f"Error: {failed}")
    if errors:
        raise errors[-1]


def _actions(paths: list[str], ids: list[int], names: list[str]) -> Iterator[Callable[..., Unloaded]]:
    """Yield what is to be done, each taking `dry_run`. Raises UsageError where nothing is asked for."""
    if not (paths or ids or names):
        raise UsageError("nothing is named to be unloaded", hint="Name a PATH, --id ID or --name NAME.")
    for path in paths:
        for place in _expanded(path):
            yield partial(unload_path, place)
    for name in names:
        yield partial(_unload_name, name)
    for ident in ids:
        yield partial(unload_program, ident)


def _expanded(path: str) -> list[str]:
    """Return the loads that a path with * and ? means; shells often can't see into a bpffs, so this does it as well.

    The link of a program goes with it, so it isn't one of them.
    """
    if not any(sign in path for sign in "*?[") or os.path.lexists(path):
        return [path]
    from glob import glob

    from bpfload.objects.paths import LINK

    found = sorted(glob(path))
    if not found:
        raise NotFoundError(f"nothing is pinned at {path}")
    return [place for place in found if not (place.endswith(LINK) and place.removesuffix(LINK) in found)]


def _unload_name(name: str, *, dry_run: bool) -> Unloaded:
    from bpfload.inspect import programs

    found = []
    for program in programs.find("name", name):
        with program:
            found.append(program.info().id)
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} programs have the name {name!r}: ids {', '.join(map(str, found))}", hint="Choose with --id."
        )
    return unload_program(found[0], dry_run=dry_run)


def _as_text(session: Session, each: Unloaded, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for pin in each.leftovers:
        session.line(f"removed what a killed load left: {pin.path}  ({words(pin)})")
    for attachment in each.detached:
        what = f"link {attachment.link} ({attachment.where})" if attachment.link else f"{attachment.where}"
        session.line(f"program {attachment.program} {would}detached: {what}")
    for pin in each.removed:
        verb = "detached and removed" if pin.kind == "link" else "removed"
        session.line(f"{would}{verb}{':' if would else ''} {pin.path}  ({words(pin)})")
    for directory in each.directories:
        session.line(f"{would}removed{':' if would else ''} {directory}/")
    for device, program in each.chains:
        session.line(f"took program {program} out of the chain of {device}")
    for pin in each.kept:
        session.line(f"kept {pin.path}  ({words(pin)}): not pinned by this load")
    for ident in each.gone:
        session.line(f"program {ident} is gone")
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
            "gone": list(each.gone),
            **({"detached": [_detached(one) for one in each.detached]} if each.detached else {}),
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


def _detached(each: Detached) -> dict[str, object]:
    return {"prog_id": each.program, "link_id": each.link, "where": each.where}


def _holder(holder: Holder) -> dict[str, object]:
    shown: dict[str, object] = {"prog_id": holder.program, "type": holder.kind}
    if holder.id:
        shown["id"] = holder.id
    if holder.name:
        shown["name"] = holder.name
    return shown
