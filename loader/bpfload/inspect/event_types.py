"""Which types the records of a buffer may have: those in the BTF of the programs that use the map."""

from __future__ import annotations

from collections.abc import Iterator

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.errors import NotFoundError
from bpfload.inspect import btf as btf_view
from bpfload.inspect import programs
from bpfload.objects.map import Map

# What a struct for records is usually called, if there is nothing better to go by.
_USUAL = ("event", "event_t", "data_t", "record", "sample")


def types_for(item: Map) -> list[Btf]:
    """Return the BTF of every program that uses a map, each once. The map itself has none: a buffer has no value type."""
    ident = item.info().id
    found: dict[int, Btf] = {}
    for program in programs.every():
        with program:
            info = program.info("map_ids")
            if ident in info.map_ids and info.btf_id and info.btf_id not in found:
                found[info.btf_id] = btf_view.types(info.btf_id)
    return list(found.values())


def guess(name: str, kinds: list[Btf]) -> tuple[Btf, int] | None:
    """Return the struct that the records of a map called `name` most likely are; None where nothing tells.

    A map "events" has records of struct event (or event_t); failing that, a struct with a usual name, if there is just one of
    those.
    """
    stem = name.lower()
    for ending in ("_ringbuf", "_rb", "_map", "_buffer", "_ring"):
        stem = stem.removesuffix(ending)
    wanted = [stem.removesuffix("s"), stem, f"{stem.removesuffix('s')}_t", f"{stem}_t"]
    for btf in kinds:
        for each in wanted:
            ident = struct_named(btf, each)
            if ident:
                return btf, ident
    usual = [(btf, ident) for btf in kinds for each in _USUAL if (ident := struct_named(btf, each))]
    return usual[0] if len(usual) == 1 else None


def struct_named(btf: Btf, name: str) -> int:
    """Return the id of a struct, or of a typedef of one, by its name; 0 for none."""
    for kind in (t.KIND_STRUCT, t.KIND_TYPEDEF):
        ident = btf.find(name, kind)
        if ident and btf.type(btf.resolve(ident)).kind == t.KIND_STRUCT:
            return ident
    return 0


def named(name: str, kinds: list[Btf]) -> tuple[Btf, int]:
    """Return the struct of that name in one of these. Raises NotFoundError with near matches."""
    from bpfload.streams.events import find_struct

    if not kinds:
        raise NotFoundError(
            f"there is no BTF to look up {name!r} in: no program with BTF uses the map",
            hint="Name a file that has it: btf FILE (an object file, or raw BTF).",
        )
    error: NotFoundError | None = None
    for btf in kinds:
        try:
            return btf, find_struct(btf, name)
        except NotFoundError as caught:
            error = error or caught
    assert error is not None
    raise error


def structs(kinds: list[Btf]) -> Iterator[str]:
    """Yield the names of the structs that could be records, for a message."""
    for btf in kinds:
        for each in btf.types():
            if each.kind == t.KIND_STRUCT and each.name and not each.name.startswith("bpf_"):
                yield each.name
