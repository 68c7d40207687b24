"""Compare two lists of verdicts, program by program. Pure: the lists come from `bpfload check -j` and from reference.c."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Row = Mapping[str, Any]
Key = tuple[str, str | None]

#: Compared for every program, and where both loaded it.
ALWAYS = ("verdict", "errno")
LOADED = ("type", "tag", "maps", "func_infos", "line_infos", "insns", "verified_insns")


@dataclass(frozen=True)
class Exception_:
    """A named exception: programs in which the difference is known, and why bpfload is right there."""

    object: str
    program: str
    reason: str
    fields: tuple[str, ...] = ()

    def covers(self, difference: Difference) -> bool:
        """Tell whether this is the explanation: patterns as in the shell; no fields means all of them."""
        name, program = difference.key
        if not (fnmatchcase(name, self.object) and fnmatchcase(program or "", self.program)):
            return False
        return not self.fields or set(difference.fields) <= set(self.fields)


@dataclass(frozen=True)
class Difference:
    """One program on which the two disagree: field -> (libbpf's value, bpfload's value)."""

    key: Key
    fields: Mapping[str, tuple[Any, Any]]
    reference_message: str
    message: str
    reason: str = ""

    def line(self) -> str:
        """Return the difference in one line."""
        name, program = self.key
        parts = [f"{name}:{program or '-'}"]
        for title, (theirs, ours) in self.fields.items():
            if title == "errno":
                theirs, ours = errno_name(theirs), errno_name(ours)
            parts.append(f"{title} libbpf={theirs} bpfload={ours}")
        said = [f"libbpf says: {shorten(self.reference_message)}"] if self.reference_message else []
        said += [f"bpfload says: {shorten(self.message)}"] if self.message else []
        said += [f"explained: {self.reason}"] if self.reason else []
        return " | ".join([", ".join(parts), *said])


@dataclass
class Result:
    """What a comparison found."""

    programs: int = 0
    equal: int = 0
    ok_on_both: int = 0
    ok_reference: int = 0
    ok: int = 0
    not_compared: list[Key] = field(default_factory=list)
    explained: list[Difference] = field(default_factory=list)
    unexplained: list[Difference] = field(default_factory=list)
    unused: list[Exception_] = field(default_factory=list)


def errno_name(number: Any) -> str:
    """Return -22 as "-EINVAL"; libbpf's own numbers and 0 as they are."""
    if isinstance(number, int) and -number in errno.errorcode:
        return f"-{errno.errorcode[-number]}"
    return str(number)


def shorten(text: str, limit: int = 200) -> str:
    """Return the text in one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def differing(theirs: Row | None, ours: Row | None) -> dict[str, tuple[Any, Any]]:
    """Return the fields on which two rows disagree; a row that isn't there has the verdict "missing"."""
    if theirs is None or ours is None:
        return {"verdict": (theirs["verdict"] if theirs else "missing", ours["verdict"] if ours else "missing")}
    loaded = theirs["verdict"] == ours["verdict"] == "ok"
    titles = ALWAYS + LOADED if loaded else ALWAYS
    return {title: (theirs.get(title), ours.get(title)) for title in titles if theirs.get(title) != ours.get(title)}


def by_key(rows: Iterable[Row]) -> dict[Key, Row]:
    return {(row["object"], row["program"]): row for row in rows}


def compare(reference: Iterable[Row], measured: Iterable[Row], exceptions: Iterable[Exception_] = ()) -> Result:
    """Compare `reference` (libbpf's rows) with `measured` (bpfload's)."""
    theirs, ours = by_key(reference), by_key(measured)
    known = list(exceptions)
    used: set[Exception_] = set()
    result = Result()
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        left, right = theirs.get(key), ours.get(key)
        result.programs += 1
        result.ok_reference += bool(left and left["verdict"] == "ok")
        result.ok += bool(right and right["verdict"] == "ok")
        if left and left["errno"] == -errno.ETIMEDOUT:
            result.not_compared.append(key)
            continue
        fields = differing(left, right)
        if not fields:
            result.equal += 1
            result.ok_on_both += bool(left and left["verdict"] == "ok")
            continue
        found = Difference(key, fields, (left or {}).get("message") or "", (right or {}).get("message") or "")
        why = next((entry for entry in known if entry.covers(found)), None)
        if why:
            used.add(why)
            result.explained.append(Difference(key, fields, found.reference_message, found.message, why.reason))
        else:
            result.unexplained.append(found)
    result.unused = [entry for entry in known if entry not in used]
    return result
