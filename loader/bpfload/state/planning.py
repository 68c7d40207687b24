"""What differs between the file and the machine, and why: nothing is done here, and no object file is taken apart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bpfload.errors import BpfError, PinError
from bpfload.objects.paths import SET_ASIDE, describe
from bpfload.state import drift, records
from bpfload.state.declaration import PLACES, Declaration, DeclaredObject
from bpfload.state.records import Record

NONE, CREATE, REPLACE, REMOVE = "none", "create", "replace", "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done about one object. `action`: "none", "create", "replace" or "remove"; `reasons`: why, a line each.

    `declared`: None where the file doesn't name it; `record`: None where there is none. `moved`: keys of what was said of its
    attachments and is otherwise now. `error`: why it can't be brought in.
    """

    object: str
    path: str
    action: str
    reasons: tuple[str, ...] = ()
    declared: DeclaredObject | None = None
    record: Record | None = None
    moved: tuple[str, ...] = ()
    error: BpfError | None = None


def plan(declaration: Declaration, *, adopt: bool = False) -> list[Change]:
    """Compare a file with the machine: what goes first, then its objects in its order.

    `adopt`: take over what is pinned at an object's PATH though the file hasn't brought it.
    """
    wanted = {each.pin for each in declaration.objects}
    gone = [record for record in records.every(declaration.name) if record.path not in wanted]
    changes = [Change(each.object, each.path, REMOVE, ("no longer declared",), record=each) for each in gone]
    for each in declaration.objects:
        try:
            changes.append(_change(each, declaration, adopt))
        except BpfError as error:
            changes.append(Change(each.name, each.pin, CREATE, declared=each, error=error))
    return changes


def _change(declared: DeclaredObject, declaration: Declaration, adopt: bool) -> Change:
    record = records.read(declared.pin)
    present = os.path.lexists(declared.pin) or os.path.lexists(declared.pin + SET_ASIDE)
    said, digest = declared.declared(), declared.digest()  # also where it isn't needed: the files have to be there
    if record is not None and record.name != declaration.name and not adopt:
        raise _of_another(declared, f"the file that calls itself {record.name!r} has brought it there")
    if not present:
        reasons = ("nothing is pinned there",) if record is None or record.pending else tuple(drift.faults(record, said))
        return Change(declared.name, declared.pin, CREATE, reasons or ("it is gone",), declared, record)
    if record is None:
        if not adopt:
            raise _of_another(declared, f"{describe(declared.pin)} is there, which no file has brought")
        return Change(declared.name, declared.pin, REPLACE, (f"{describe(declared.pin)} is taken over",), declared, None)
    if record.name != declaration.name:
        reason = f"what the file {record.name!r} has brought is taken over"
        return Change(declared.name, declared.pin, REPLACE, (reason,), declared, record)
    different, moved = _differences(record, said, digest)
    different += drift.faults(record, said)
    action = REPLACE if different else NONE
    return Change(declared.name, declared.pin, action, tuple(different), declared, record, tuple(moved))


def _of_another(declared: DeclaredObject, reason: str) -> PinError:
    return PinError(
        f"{declared.pin}: {reason}",
        path=declared.pin,
        hint=f"--adopt takes it over; or unload it first (bpfload unload {declared.pin}), or choose another pin.",
    ).within(declared.where)


def _differences(record: Record, said: Mapping[str, Any], digest: str) -> tuple[list[str], list[str]]:
    """Return in words in what the file differs from what was applied, and which keys about attachments differ."""
    reasons = ["object changed"] if digest != record.digest else []
    if record.declared is None:
        if records.digest_of(dict(said)) != record.declared_digest:
            reasons.append("what is declared of it changed")
            return reasons, list(PLACES)
        return reasons, []
    changed = [key for key in {**record.declared, **said} if _plain(record.declared.get(key)) != _plain(said.get(key))]
    for key in changed:
        label = key.partition(".")[2] if key.startswith("set.") else key.removeprefix("program.")
        reasons.append(f"{label}: {_shown(record.declared.get(key))} → {_shown(said.get(key))}")
    return reasons, [
        key for key in changed if not key.startswith("set.") and key.rpartition(".")[2] in (*PLACES, "attach", "chain")
    ]


def _plain(value: Any) -> Any:
    """Return a value as a record gives it back: a date of TOML, for one, is text there."""
    import json

    return json.loads(json.dumps(value, default=str))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
