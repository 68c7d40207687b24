"""`bpfload apply FILE`: bring the machine to what a file declares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from bpfload import state

if TYPE_CHECKING:
    from bpfload.state import Outcome
    from bpfload_cli.session import Session

#: What a change is called once it is made.
_DONE = {"create": "created", "replace": "replaced", "remove": "removed"}
_TROUBLE = 2


def command(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The TOML file that says what there shall be.")],
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Only show what would be done; exit with 0 for nothing, 1 for something, 2 for trouble."),
    ] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over what is pinned in the place of an object already.")] = False,
) -> None:
    """Load, replace and unload until everything is as FILE says."""
    session: Session = context.obj
    if diff:
        _diff(session, file, adopt)
        return
    declaration = state.read(file)
    outcomes = state.apply(declaration, adopt=adopt, mount=not session.nomount)
    seen = _show(session, outcomes, done=True)
    session.status = 1 if any(each.error for each in seen) else 0


def _diff(session: Session, file: str, adopt: bool) -> None:
    from bpfload.errors import BpfError
    from bpfload.state.applying import check
    from bpfload_cli.main import report

    try:
        outcomes = check(state.read(file), adopt=adopt)
    except BpfError as error:
        report(session, error)
        session.status = _TROUBLE
        return
    _show(session, outcomes, done=False)
    if any(each.error for each in outcomes):
        session.status = _TROUBLE
    else:
        session.status = int(any(each.change.action != "none" for each in outcomes))


def _show(session: Session, outcomes: Iterable[Outcome], *, done: bool) -> list[Outcome]:
    """Print outcomes as they come, or all as JSON; return them. `done`: whether this is the real thing."""
    seen = []
    for each in outcomes:
        seen.append(each)
        if not session.json:
            _as_text(session, each, done)
    if session.json:
        session.data([_as_data(each) for each in seen])
    elif all(each.change.action == "none" and each.error is None for each in seen):
        number = len(seen)
        session.line(f"nothing to do: {number} object{' is' if number == 1 else 's are'} in place")
    return seen


def _as_text(session: Session, outcome: Outcome, done: bool) -> None:
    change = outcome.change
    if outcome.error is not None:
        session.warn(f"Error: {outcome.error}")
    elif change.action != "none" and (outcome.done or not done):
        first, *rest = change.reasons or ("",)
        head = f"{_DONE[change.action] if done else change.action:<8} {change.object}  {change.path}: "
        session.line(head + first)
        for reason in rest:
            session.line(f"{'':<9}{reason}")
    for note in outcome.deployed.notes if outcome.deployed is not None else ():
        session.warn(f"Note: {change.object}: {note}")


def _as_data(outcome: Outcome) -> dict[str, object]:
    """Return an outcome as -j prints it: "done" only where something was to be done."""
    change = outcome.change
    shown: dict[str, object] = {
        "object": change.object,
        "path": change.path,
        "action": change.action,
        "reasons": list(change.reasons),
        "done": outcome.done,
    }
    if outcome.deployed is not None:
        deployed = outcome.deployed
        shown |= {"pins": list(deployed.pins), "kept_maps": list(deployed.kept_maps), "notes": list(deployed.notes)}
    if outcome.error is not None:
        shown["error"] = str(outcome.error)
    return shown
