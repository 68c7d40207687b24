"""`bpfload check OBJ…`: would the kernel take each program of each object? Nothing is pinned or attached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bpfload.errors import BpfError, VerifierError, errno_name
from bpfload.load.check import Verdict
from bpfload.load.check import check as check_object
from bpfload_cli.commands.loading import AttachTo, Kconfig, KernelBtf, Token, load_options, opened, read_text

if TYPE_CHECKING:
    from bpfload_cli.session import Session

Row = dict[str, Any]
#: What a comparison with an earlier run looks at.
COMPARED = ("verdict", "errno", "type", "tag", "insns", "verified_insns", "maps", "func_infos", "line_infos")


def check(
    context: typer.Context,
    objects: Annotated[list[str], typer.Argument(metavar="OBJ", help="Object files.")],
    kernel_btf: KernelBtf = "",
    kconfig: Kconfig = "",
    attach_to: AttachTo = "",
    token: Token = "",
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="FILE", help="Compare with what check -j printed earlier; show what changed.")
    ] = "",
) -> None:
    """Load each program of each object alone and say what the kernel thinks of it."""
    session: Session = context.obj
    before = _read_baseline(baseline) if baseline else None
    with opened(attach_to) as target:
        options = load_options(kernel_btf, kconfig, target, token)
        verdicts = (verdict for path in objects for verdict in check_object(path, options))
        if session.json:
            rows = [as_row(verdict) for verdict in verdicts]
            failed = any(row["verdict"] == "error" for row in rows)
            session.data(rows if before is None else with_changes(rows, before))
        else:
            failed = _print(session, verdicts, before)
    session.status = 1 if failed else 0


def as_row(verdict: Verdict) -> Row:
    """Return a verdict as `check -j` prints it."""
    return {
        "object": verdict.object,
        "program": verdict.program,
        "section": verdict.section,
        "verdict": "ok" if verdict.ok else "error",
        "errno": verdict.errno,
        "type": verdict.type,
        "tag": verdict.tag,
        "insns": verdict.insns,
        "verified_insns": verdict.verified_insns,
        "maps": verdict.maps,
        "func_infos": verdict.func_infos,
        "line_infos": verdict.line_infos,
        "message": verdict.message,
    }


# --- text -----------------------------------------------------------------------------------------------------------


def _print(session: Session, verdicts: Iterator[Verdict], before: dict[tuple[str, str | None], Row] | None) -> bool:
    """Print a line for each verdict and a summary; return whether any program failed."""
    seen: set[tuple[str, str | None]] = set()
    objects: set[str] = set()
    ok = changed = 0
    for verdict in verdicts:
        row = as_row(verdict)
        key = (verdict.object, verdict.program)
        seen.add(key)
        objects.add(verdict.object)
        ok += verdict.ok
        session.line(line_of(verdict))
        if verdict.error is not None and verdict.error.hint:
            session.line(f"       {verdict.error.hint}")
        if not verdict.ok and session.debug and isinstance(verdict.error, VerifierError):
            session.line(verdict.error.log)
        if before is not None:
            changes = _changes(row, before.get(key))
            changed += bool(changes)
            for text in changes:
                session.line(f"       {text}")
    gone = [key for key in before or () if key not in seen and key[0] in objects]
    for name, program in gone:
        session.line(f"gone   {name}: {program or 'the object'}")
    unreadable = sum(program is None for _, program in seen)
    programs = len(seen) - unreadable
    summary = f"{_count(programs, 'program')} in {_count(len(objects), 'object')}: {ok} ok, {programs - ok} failed"
    if unreadable:
        summary += f"; {_count(unreadable, 'object')} couldn't be read"
    if before is not None:
        summary += f"; {changed + len(gone)} changed since the baseline"
    session.line(summary)
    return ok != len(seen)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def line_of(verdict: Verdict) -> str:
    """Return one line of text about a program."""
    name = f"{verdict.object}: {verdict.program}" if verdict.program else verdict.object
    if verdict.ok:
        return f"ok     {name}  {verdict.type}  tag {verdict.tag}  {verdict.insns} insns, {verdict.verified_insns} verified"
    code = errno_name(-verdict.errno)
    message = verdict.message if code.isdigit() or code in verdict.message else f"{verdict.message} ({code})"
    return f"error  {name}  {message}"


# --- baseline -------------------------------------------------------------------------------------------------------


def _read_baseline(path: str) -> dict[tuple[str, str | None], Row]:
    import json

    try:
        rows = json.loads(read_text(path))
        return {(row["object"], row["program"]): row for row in rows}
    except (ValueError, TypeError, KeyError):
        hint = "Make one with: bpfload check -j OBJ… > FILE"
        raise BpfError(f"{os.path.basename(path)} is not what check -j prints", hint=hint) from None


def _changes(row: Row, old: Row | None) -> list[str]:
    """Say in words what differs from the earlier run."""
    if old is None:
        return ["new since the baseline"]
    found = []
    for field in COMPARED:
        was, now = old.get(field), row[field]
        if was == now:
            continue
        percent = ""
        if isinstance(was, int) and isinstance(now, int) and was > 0 and field in ("insns", "verified_insns"):
            percent = f" ({(now - was) / was:+.1%})"
        found.append(f"{field}: {was} → {now}{percent}")
    return found


def with_changes(rows: list[Row], before: dict[tuple[str, str | None], Row]) -> list[Row]:
    """Return the rows, each that differs from the earlier run with "was": the earlier values (null: it is new).

    Programs that are gone follow, with verdict null.
    """
    result = []
    for row in rows:
        old = before.get((row["object"], row["program"]))
        if old is None:
            result.append({**row, "was": None})
            continue
        was = {field: old.get(field) for field in COMPARED if old.get(field) != row[field]}
        result.append({**row, "was": was} if was else row)
    seen = {(row["object"], row["program"]) for row in rows}
    objects = {row["object"] for row in rows}
    for (name, program), old in before.items():
        if (name, program) not in seen and name in objects:
            result.append({"object": name, "program": program, "section": old.get("section"), "verdict": None, "was": old})
    return result
