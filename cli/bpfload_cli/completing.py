"""What may come next on a command line, with the values that the running kernel has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bpfload.errors import BpfError
from bpfload_cli.forms import Expected, Forms
from bpfload_cli.session import FLAGS, LONG_FLAGS, LONG_VALUE_FLAGS

#: A candidate and what it is; or a directive to the shell, which completes paths by its own rules.
Candidate = tuple[str, str]
FILES, DIRECTORIES = (":files", ""), (":dirs", "")

# What the shells call, and nobody else.
_HIDDEN = ("completion", "words")


def candidates(words: list[str], partial: str) -> list[Candidate]:
    """Return what may stand in the place of `partial`, the beginning of a word, behind `words` (without the program's name)."""
    from bpfload_cli.main import is_file_name, read_flags
    from bpfload_cli.table import COMMANDS

    if words and words[-1] in (*LONG_VALUE_FLAGS, "-B", "--base-btf"):
        return [FILES]
    try:
        _, words = read_flags(words)
    except BpfError:
        return [FILES]
    if not words:
        found = [(name, "") for name in COMMANDS.names]
        return [*_flags(), *found, FILES] if partial[:1] in ("-", ".", "/", "~") else found
    name = COMMANDS.find(words[0])
    if name is None:
        name, words = ("load", ["load", *words]) if is_file_name(words[0]) else ("", words)
    return list(_of_command(name, words[1:], partial)) if name else []


def matching(found: Iterable[Candidate], partial: str) -> Iterator[Candidate]:
    """Yield the candidates that begin with `partial`, each word once, and the directives."""
    seen = set()
    for word, about in found:
        if word not in seen and ((word, about) in (FILES, DIRECTORIES) or word.startswith(partial)):
            seen.add(word)
            yield word, about


def _flags() -> list[Candidate]:
    return [(f"--{name}", "") for name in (*LONG_FLAGS, *LONG_VALUE_FLAGS)] + [(f"-{letter}", "") for letter in FLAGS]


def _of_command(name: str, words: list[str], partial: str) -> Iterator[Candidate]:
    """Yield what may follow a command."""
    from bpfload_cli.table import COMMANDS

    try:
        command = COMMANDS.get_command(None, name)
    except ImportError:
        command = None
    options = {word: parameter for parameter in getattr(command, "params", ()) for word in parameter.opts if word[:1] == "-"}
    left = []
    taking: Any = None
    for word in words:
        option = taking is None and options.get(word)
        if option:
            taking = None if getattr(option, "is_flag", False) else option
        elif taking is not None:
            taking = None
        else:
            left.append(word)
    if taking is not None:
        yield from values(f"{name}.{taking.metavar or ''}")
        return
    if partial.startswith("-"):
        yield from ((word, getattr(option, "help", None) or "") for word, option in options.items())
        yield from _flags()
    if not left and hasattr(command, "names"):
        yield from ((word, "") for word in command.names if (name, word) != _HIDDEN)
    yield from _expected(name, _forms(name).next(left))


def _forms(name: str) -> Forms:
    from bpfload_cli.usage import text_of

    return Forms(text_of(name))


def _expected(name: str, expected: Iterable[Expected]) -> Iterator[Candidate]:
    for item in expected:
        if item.keyword:
            yield (item.keyword, "")
        else:
            yield from values(item.value if "." in item.value.replace(".bpf.o", "") else f"{name}.{item.value}")


# --- values ---------------------------------------------------------------------------------------------------------


def values(kind: str) -> Iterator[Candidate]:
    """Yield the values there are of a kind: "PROG.ID", "cgroup.CGROUP", … Nothing where the kernel doesn't tell."""
    source = _SOURCES.get(kind) or _SOURCES.get(kind.partition(".")[2])
    if source is None:
        return
    try:
        yield from source()
    except (BpfError, OSError):
        return


def _programs(field: str) -> Iterator[Candidate]:
    from bpfload.inspect import programs

    for program in programs.every():
        info = program.info()
        name = programs.full_name(program, info)
        about = f"{programs.type_name(info.type)} {name}".strip()
        value = {"id": str(info.id), "tag": info.tag, "name": name}[field]
        if value:
            yield value, about if field != "name" else f"{programs.type_name(info.type)} {info.id}"


def _maps(field: str) -> Iterator[Candidate]:
    from bpfload.abi.names import MAP_TYPE_NAMES, name_of
    from bpfload.inspect import maps

    for item in maps.every():
        info = item.info()
        kind = name_of(MAP_TYPE_NAMES, info.type) or f"type {info.type}"
        if field == "id":
            yield str(info.id), f"{kind} {info.name}".strip()
        elif info.name:
            yield info.name, f"{kind} {info.id}"


def _links() -> Iterator[Candidate]:
    from bpfload.abi.names import LINK_TYPE_NAMES, name_of
    from bpfload.inspect import links

    for link in links.every():
        info = link.info()
        yield str(info.id), f"{name_of(LINK_TYPE_NAMES, info.type) or ''} of program {info.prog_id}".strip()


def _btf_objects() -> Iterator[Candidate]:
    from bpfload.inspect import ids

    for number in ids.every_id("BTF object"):
        yield str(number), ""


def _struct_ops(field: str) -> Iterator[Candidate]:
    from bpfload.inspect import struct_ops

    for item in struct_ops.every():
        info = item.info()
        yield (str(info.id), info.name) if field == "id" else (info.name, str(info.id))


def _pins(kind: str = "") -> Iterator[Candidate]:
    from bpfload.objects import bpffs

    for pin in bpffs.pins():
        if not kind or pin.kind == kind:
            yield pin.path, f"{pin.kind} {pin.id}"


def _unloadable() -> Iterator[Candidate]:
    yield from _pins()
    yield FILES


def _devices() -> Iterator[Candidate]:
    import socket

    for number, name in socket.if_nameindex():
        yield name, str(number)


def _cgroups() -> Iterator[Candidate]:
    from bpfload.kernel.mounts import cgroup2_root

    root = cgroup2_root()
    if root is not None:
        yield root, "the root of all"
        for directory, below, _ in os.walk(root):
            yield from ((os.path.join(directory, name), "") for name in sorted(below))
    yield DIRECTORIES


def _hooks() -> Iterator[Candidate]:
    from bpfload.inspect.cgroups import HOOK_NAMES

    return ((name, "") for name in HOOK_NAMES)


def _commands() -> Iterator[Candidate]:
    from bpfload_cli.table import COMMANDS

    return ((name, "") for name in COMMANDS.names)


def _processes() -> Iterator[Candidate]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                    yield name, file.read().strip()
            except OSError:
                continue


def _tracepoints() -> Iterator[Candidate]:
    from bpfload.kernel.mounts import mount_points

    for root in mount_points("tracefs")[:1]:
        with open(f"{root}/available_events", encoding="utf-8") as file:
            for line in file:
                yield line.strip().replace(":", "/"), ""


def _files() -> Iterator[Candidate]:
    yield FILES


def _directories() -> Iterator[Candidate]:
    yield DIRECTORIES


#: By kind of value; without what is before the dot where that doesn't matter.
_SOURCES: dict[str, Callable[[], Iterable[Candidate]]] = {
    "PROG.ID": lambda: _programs("id"),
    "PROG.TAG": lambda: _programs("tag"),
    "PROG.NAME": lambda: _programs("name"),
    "PROG.PATH": lambda: _pins("program"),
    "PROG.PIN": lambda: _pins("program"),
    "MAP.ID": lambda: _maps("id"),
    "MAP.NAME": lambda: _maps("name"),
    "MAP.PATH": lambda: _pins("map"),
    "LINK.ID": _links,
    "LINK.PATH": lambda: _pins("link"),
    "SOURCE.ID": _btf_objects,
    "btf.ID": _btf_objects,
    "TABLE.ID": lambda: _struct_ops("id"),
    "TABLE.NAME": lambda: _struct_ops("name"),
    "PIN": _pins,
    "unload.PATH": _unloadable,
    "IF": _devices,
    "CGROUP": _cgroups,
    "DIRECTORY-OR-ID": _cgroups,
    "HOOK": _hooks,
    "COMMAND": _commands,
    "PID": _processes,
    "TID": _processes,
    "load.NAME": _tracepoints,
    **dict.fromkeys(("FILE", "OBJ", "OBJECT", "OBJECT.bpf.o", "PATH", "KERNEL", "OUTPUT", "OUT", "IN"), _files),
    **dict.fromkeys(("DIR", "DIRECTORY"), _directories),
}
