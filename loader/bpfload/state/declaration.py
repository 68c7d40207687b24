"""The file: TOML tables that declare objects, read and checked before anything else is done.

::

    name = "lab"                          # whose loads these are: what the file brought is found again by it

    [object.hello]
    file = "hello.bpf.o"                  # relative to this file
    pin = "/sys/fs/bpf/hello"             # without it: /sys/fs/bpf/ and the object's name
    dev = "eth0"

    [object.hello.set]
    limit = 5

    [object.hello.program.on_exit]        # for one of its programs: the same keys that say where to attach
    target = "sched/sched_process_exit"

Keys are the words of the load command's options.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bpfload.errors import BpfError, UsageError, near
from bpfload.objects import paths

_TEXT, _WHOLE, _YES_NO, _TEXTS, _TABLE, _ID = "text", "a whole number", "true or false", "a list of texts", "a table", "id"
_WORDS = {
    _TEXT: "text in quotes",
    _WHOLE: "a whole number",
    _YES_NO: "true or false",
    _TEXTS: "a list of texts",
    _TABLE: "a table",
    _ID: "a number or a name",
}

#: Keys that say where to attach: of an object for whatever they fit, of one of its programs for just that.
PLACES = {
    "dev": _TEXT,
    "mode": _TEXT,
    "direction": _TEXT,
    "cgroup": _TEXT,
    "netns": _TEXT,
    "pid": _WHOLE,
    "map": _TEXT,
    "netfilter": _TEXT,
    "event": _TEXT,
    "frequency": _WHOLE,
    "period": _WHOLE,
    "cpu": _WHOLE,
    "before": _TEXT,
    "after": _TEXT,
    "priority": _WHOLE,
    "defragment": _YES_NO,
    "target": _TEXT,
}
#: All keys of an object.
KEYS = {
    "file": _TEXT,
    "pin": _TEXT,
    "programs": _TEXTS,
    "attach": _YES_NO,
    **PLACES,
    "chain": _YES_NO,
    "actions": _TEXTS,
    "set": _TABLE,
    "program": _TABLE,
    "maps": _TEXT,
    "fresh-maps": _TEXTS,
    "pin-maps": _TEXT,
    "pin-mode": _ID,
    "pin-owner": _ID,
    "pin-group": _ID,
    "kconfig": _TEXT,
    "kernel-btf": _TEXT,
    "attach-to": _TEXT,
    "token": _TEXT,
}
_TOP = {"name": _TEXT, "object": _TABLE}
#: What becomes of maps when a load is replaced (`maps`).
MAP_POLICIES = ("keep", "keep-all", "fit", "fresh")

# A key that makes no sense without one of those behind it.
_NEEDS = {
    "mode": ("dev",),
    "direction": ("dev",),
    "before": ("dev", "cgroup"),
    "after": ("dev", "cgroup"),
    "priority": ("dev", "netfilter"),
    "defragment": ("netfilter",),
    "frequency": ("event",),
    "period": ("event",),
    "cpu": ("event",),
    "chain": ("dev",),
    "actions": ("chain",),
}
# Of these the content counts, not the name.
_FILES = ("kconfig", "kernel-btf")


@dataclass(frozen=True, slots=True)
class DeclaredObject:
    """One object. `file`: its path, absolute; `pin`: PATH; `keys`: all else that was said, by key; `source`: of the file."""

    name: str
    file: str
    pin: str
    keys: Mapping[str, Any]
    where: str
    directory: str
    _digests: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def get(self, key: str, default: Any = None) -> Any:
        """Return what was said under a key."""
        return self.keys.get(key, default)

    def path(self, key: str) -> str:
        """Return a path that was given under a key, absolute; "" where none was."""
        given = self.keys.get(key, "")
        return os.path.join(self.directory, given) if given else ""

    def digest(self) -> str:
        """Return a hash of the object file. Raises BpfError where it can't be read."""
        return self._digest(self.file)

    def _digest(self, path: str) -> str:
        if path not in self._digests:
            try:
                with open(path, "rb") as file:
                    self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                message = f"{path}: can't be read: {os.strerror(error.errno or 0)}"
                raise BpfError(message, errno_code=error.errno or 5).within(self.where) from None
        return self._digests[path]

    def declared(self) -> dict[str, Any]:
        """Return all that was said, flat ("set.limit": 5), files as hashes: what a later run compares. Raises BpfError."""
        flat: dict[str, Any] = {}
        for key, value in self.keys.items():
            if key in _FILES:
                flat[key] = self._digest(self.path(key))[:16]
            elif KEYS[key] == _TABLE:
                for name, inner in value.items():
                    if key == "program":
                        flat |= {f"program.{name}.{each}": word for each, word in inner.items()}
                    else:
                        flat[f"{key}.{name}"] = inner
            else:
                flat[key] = value
        return flat


@dataclass(frozen=True, slots=True)
class Declaration:
    """One file, read. `path`: its path; `name`: what it calls itself; `objects`: in its order."""

    path: str
    name: str
    objects: tuple[DeclaredObject, ...]


def read(path: str | os.PathLike[str]) -> Declaration:
    """Read and check a file. Raises UsageError that names the table and key, BpfError where it can't be read."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except OSError as error:
        raise BpfError(f"{file}: can't be read: {os.strerror(error.errno or 0)}", errno_code=error.errno or 5) from None
    return parse(data, file)


def parse(data: bytes, path: str) -> Declaration:
    """Check the content of the file at `path`, and return what it declares. Raises UsageError."""
    try:
        content = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text, at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: not TOML: nested too deeply") from None
    _check_keys(content, _TOP, path)
    name = content.get("name", "")
    if not name:
        raise UsageError(f"{path}: it has no name", hint='Begin it with name = "…": by that it finds again what it once brought.')
    if len(name) > 64 or not name.isprintable():
        raise UsageError(f"{path}: {name!r} is no name: at most 64 characters, on one line")
    tables = content.get("object", {})
    for each, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: [object] holds tables, as in [object.{each}]; {each!r} is {_kind(table)}")
    objects = tuple(_object(each, table, path) for each, table in tables.items())
    _check_pins(objects)
    return Declaration(path, name, objects)


def _object(name: str, table: dict[str, Any], path: str) -> DeclaredObject:
    where = f"{path}, [object.{name}]"
    _check_keys(table, KEYS, where)
    if "file" not in table:
        raise UsageError(f"{where}: file is missing", hint='It names the object file: file = "hello.bpf.o".')
    _check_place(table, where)
    for program, inner in table.get("program", {}).items():
        place = f"{path}, [object.{name}.program.{program}]"
        if not isinstance(inner, dict):
            raise UsageError(
                f"{where}: program.{program} is {_kind(inner)}", hint=f"It is a table: [object.{name}.program.{program}]."
            )
        _check_keys(inner, PLACES, place)
        _check_place(inner, place, {key for key in table if key in PLACES})
    _check_choices(table, where)
    directory = os.path.dirname(os.path.abspath(path))
    pin = table.get("pin", f"/sys/fs/bpf/{name.replace('.', '_')}")
    if not os.path.isabs(pin):
        raise UsageError(f"{where}: pin {pin!r} is no absolute path", hint=f"Pins live on a bpffs: /sys/fs/bpf/{pin}.")
    try:
        paths.check_name(pin)
    except BpfError as error:
        error.within(where)
        raise
    keys = {key: value for key, value in table.items() if key not in ("file", "pin")}
    return DeclaredObject(name, os.path.join(directory, table["file"]), os.path.normpath(pin), keys, where, directory)


def _check_keys(table: Mapping[str, Any], known: Mapping[str, str], where: str) -> None:
    """Check that a table has only keys that are known, and values of their kinds."""
    for key, value in table.items():
        if key not in known:
            close = near(key.replace("_", "-"), known)
            hint = f"Did you mean {', '.join(close)}?" if close else f"It takes {', '.join(known)}."
            raise UsageError(f"{where}: unknown key {key!r}", hint=hint)
        if not _fits(value, known[key]):
            raise UsageError(f"{where}: {key} is {_kind(value)}", hint=f"It takes {_WORDS[known[key]]}.")


def _fits(value: Any, kind: str) -> bool:
    if kind == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind == _ID:
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    if kind == _WHOLE:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {_TEXT: str, _YES_NO: bool, _TABLE: dict}[kind])


def _kind(value: Any) -> str:
    """Say what a value is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def _check_place(table: Mapping[str, Any], where: str, inherited: set[str] | None = None) -> None:
    """Check keys that need others, and words that can only be one of a few."""
    given = {*table, *(inherited or ())}
    for key, needed in _NEEDS.items():
        if key in table and table[key] is not False and not given & {*needed}:
            raise UsageError(f"{where}: {key} makes no sense without {' or '.join(needed)}")
    for key, words in (("direction", ("ingress", "egress")), ("mode", ("auto", "native", "generic", "offload"))):
        if key in table and table[key] not in words:
            raise UsageError(f"{where}: no {key} {table[key]!r}", hint=f"It is {', '.join(words[:-1])} or {words[-1]}.")
    for key, example in (("netfilter", "ip/input"), ("event", "software/cpu-clock")):
        if key in table and not all(_two(table[key])):
            raise UsageError(f"{where}: {key} {table[key]!r} has two parts", hint=f"For example {example}.")


def _check_choices(table: Mapping[str, Any], where: str) -> None:
    policy = table.get("maps", "keep")
    if policy not in MAP_POLICIES:
        raise UsageError(f"{where}: no maps {policy!r}", hint=f"It is {', '.join(MAP_POLICIES[:-1])} or {MAP_POLICIES[-1]}.")
    if policy == "keep-all" and "fresh-maps" in table:
        raise UsageError(f'{where}: maps = "keep-all" and fresh-maps exclude each other')
    if table.get("chain"):
        excluded = [key for key in ("direction", "cgroup", "netns", "before", "after", "program", "attach") if key in table]
        if excluded:
            raise UsageError(f"{where}: {excluded[0]} doesn't go with chain")


def _two(words: str) -> tuple[str, str]:
    """Take "A/B" (or "A:B") apart."""
    first, _, second = words.partition("/" if "/" in words else ":")
    return first, second


def _check_pins(objects: tuple[DeclaredObject, ...]) -> None:
    """Check that no two objects have one PATH, and none is inside another's."""
    seen: dict[str, DeclaredObject] = {}
    for each in objects:
        other = seen.get(each.pin)
        if other is not None:
            raise UsageError(f"{each.where}: pin {each.pin} is that of [object.{other.name}], too")
        seen[each.pin] = each
    for each in objects:
        outer = os.path.dirname(each.pin)
        while outer not in ("/", ""):
            if outer in seen:
                raise UsageError(f"{each.where}: pin {each.pin} is inside that of [object.{seen[outer].name}]")
            outer = os.path.dirname(outer)
