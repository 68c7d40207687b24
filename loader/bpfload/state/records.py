"""What a file has brought, kept on bpffs itself: the text of a symbolic link beside each load.

A bpffs has neither regular files nor extended attributes, but symbolic links, whose text is free: up to PATH_MAX bytes, all the
kernel keeps of it. The text is JSON; if that is too long it is compressed, and if it still is, what was declared gives way to its
hash. Nothing follows the link: what is pinned is looked for among regular files only.

Source: bpf_symlink() in kernel/bpf/inode.c (Linux 4.9).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from bpfload.errors import PinError
from bpfload.kernel import mounts
from bpfload.objects.paths import APPLIED, APPLYING, pin_error

_LONGEST = 4000  # PATH_MAX, with some room
_PACKED = "bpfload:"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Record:
    """What was applied at one PATH. `name`: of the file, as it calls itself; `object`: in it.

    `digest`: of the object file. `declared`: flat, as `DeclaredObject.declared` has it, None where that was too long.
    `declared_digest`: a hash of the same. `pins`: by path, (kind, id, number of the device, cgroup, … or 0); below PATH without
    PATH in front. `places`: inode or interface numbers of what attachments were declared to be on. `unlinked`: number of
    attachments that are no links. `made`: directories that were made for it. `pending`: it is being brought in, or that was
    interrupted.
    """

    path: str
    name: str
    object: str
    digest: str = ""
    declared: dict[str, Any] | None = None
    declared_digest: str = ""
    pins: dict[str, list[Any]] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    unlinked: int = 0
    made: list[str] = field(default_factory=list)
    pending: bool = False


def digest_of(declared: dict[str, Any]) -> str:
    """Return a hash of what was declared."""
    import hashlib

    return hashlib.sha256(json.dumps(declared, sort_keys=True, default=str).encode()).hexdigest()


def text_of(record: Record) -> str:
    """Return a record as the text of its link. Raises PinError for one that can't be made short enough."""
    for shorter in (record, replace(record, declared=None)):
        data = {"bpfload": _VERSION, **asdict(shorter)}
        del data["path"]
        text = json.dumps(data, separators=(",", ":"), default=str)
        if len(text) <= _LONGEST:
            return text
        import base64
        import zlib

        text = _PACKED + base64.b85encode(zlib.compress(text.encode(), 9)).decode()
        if len(text) <= _LONGEST:
            return text
    raise PinError(
        f"what was brought to {record.path} is too much for a record: {len(record.pins)} pins",
        path=record.path,
        hint="Declare its programs as several objects (programs = […]).",
    )


def from_text(text: str, path: str) -> Record | None:
    """Return the record that stands in a text; None for a text that is none, or of a later version."""
    try:
        if text.startswith(_PACKED):
            import base64
            import zlib

            # A text is at most 4 KiB; what it unpacks to is bounded, too.
            text = zlib.decompressobj().decompress(base64.b85decode(text[len(_PACKED) :]), 1 << 20).decode()
        data = json.loads(text)
        if data.pop("bpfload") != _VERSION:
            return None
        known = {each.name for each in fields(Record)}
        return Record(path, **{key: value for key, value in data.items() if key in known})
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, RecursionError):
        return None
    except Exception as error:  # zlib.error, which is an Exception of its own
        if type(error).__name__ != "error":
            raise
        return None


def read(path: str) -> Record | None:
    """Return the record of the load at `path`; None where there is none."""
    try:
        return from_text(os.readlink(path + APPLIED), path)
    except OSError:
        return None


def write(record: Record) -> None:
    """Put a record beside its load, in one step in the place of an earlier one. Raises PinError."""
    text, new = text_of(record), record.path + APPLYING
    try:
        with suppress(FileNotFoundError):
            os.unlink(new)
        os.symlink(text, new)
        os.rename(new, record.path + APPLIED)
    except OSError as error:
        raise pin_error(error, record.path + APPLIED) from None


def remove(path: str) -> None:
    """Take the record of the load at `path` away."""
    for suffix in (APPLYING, APPLIED):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


def every(name: str) -> list[Record]:
    """Return all records of the file that calls itself `name`, of every bpffs that is mounted, by path."""
    found: dict[str, Record] = {}
    for root in mounts.mount_points("bpf"):
        for path in _links(root):
            record = read(path)
            if record is not None and record.name == name:
                found[path] = record
    return [found[path] for path in sorted(found)]


def _links(directory: str) -> Iterator[str]:
    """Yield each path, in a directory and below, that a record stands beside."""
    try:
        with os.scandir(directory) as entries:
            present = list(entries)
    except OSError:
        return
    for entry in present:
        if entry.is_symlink():
            if entry.name.endswith(APPLIED):
                yield entry.path.removesuffix(APPLIED)
        elif entry.is_dir(follow_symlinks=False):
            yield from _links(entry.path)
