"""Elements of maps as typed values: `--typed`, `--readable`, and members by their path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError
from bpfload.inspect import elements, maps
from bpfload.inspect.elements import Unreadable
from bpfload.inspect.view import to_data
from bpfload.objects.map import Map
from bpfload.objects.typed_map import TypedMap, field_of
from bpfload_cli.commands.typed_values import View
from bpfload_cli.layouts import MAP_HEADER
from bpfload_cli.output import json_text, render
from bpfload_cli.session import Session

_OF_MAPS = (consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, consts.BPF_MAP_TYPE_HASH_OF_MAPS)


def dump(session: Session, found: list[Map], view: View) -> None:
    """Print all elements of maps, one after another: a map may be too big for holding them all."""
    for number, item in enumerate(found):
        if session.json:
            _dump_json(session, item, view, number, len(found))
        else:
            _dump_lines(session, item, view, several=len(found) > 1)


def _dump_json(session: Session, item: Map, view: View, number: int, count: int) -> None:
    several = count > 1
    if several:
        header = json_text(to_data(maps.header(item)), pretty=False)
        session.write(f'{"," if number else "["}{header[:-1]},"elements":')
    before = "["
    for data in _all(session, item, view):
        session.write(before + json_text(data, pretty=session.pretty, depth=1))
        before = ","
    session.write(("[]" if before == "[" else "\n]" if session.pretty else "]") + ("}" if several else ""))
    if number == count - 1:
        session.write("]\n" if several else "\n")


def _dump_lines(session: Session, item: Map, view: View, *, several: bool) -> None:
    if several:
        session.write(render(maps.header(item), MAP_HEADER, colour=session.colour))
    count = 0
    for data in _all(session, item, view):
        session.write(_lines(data))
        count += "error" not in data
    session.line(f"Found {count} element{'' if count == 1 else 's'}")


def _all(session: Session, item: Map, view: View) -> Iterator[dict[str, Any]]:
    typed = view.of(item)
    try:
        for element in elements.raw(item):
            if isinstance(element[1], Unreadable):
                yield {"key": typed.decode_key(element[0]), "error": element[1].error}
            else:
                yield _data(typed, element[0], element[1], view)
    except KernelError as error:
        session.status = 1
        kind = maps.type_name(item.info().type)
        session.warn(f"Error: map {item.info().id} ({kind}): its elements can't be listed: {error.strerror}")


def _data(typed: TypedMap, key: bytes, value: bytes, view: View) -> dict[str, Any]:
    """Return an element as plain data. A slot that holds a map has that map's elements, too."""
    item = typed.map
    data: dict[str, Any] = {"key": typed.decode_key(key)} if key else {}
    if item.info().type in _OF_MAPS:
        ident = int.from_bytes(value, "little" if typed.value.btf.little_endian else "big")
        data["inner_map_id"] = ident
        try:
            with Map.from_id(ident) as inner:
                data["elements"] = list(_inner(inner, view))
        except (NotFoundError, KernelError) as error:
            data["error"] = str(error)
    elif item.per_cpu:
        data["values"] = [{"cpu": cpu, "value": typed.value.decode(part)} for cpu, part in enumerate(item.split(value))]
    else:
        data["value"] = typed.value.decode(value)
    return {name: _plain(part) for name, part in data.items()}


def _inner(item: Map, view: View) -> Iterator[dict[str, Any]]:
    typed = view.of(item)
    for key, value in elements.raw(item):
        if not isinstance(value, Unreadable):
            yield _data(typed, key, value, view)


def _plain(value: Any) -> Any:
    """Return a decoded value with what isn't JSON's made so: bytes are a list of numbers."""
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


# --- one element ----------------------------------------------------------------------------------------------------


def show(session: Session, item: Map, key: bytes, value: bytes, view: View, fields: tuple[str, ...]) -> None:
    """Print one element, or the members of its value that the paths lead to, one a line."""
    data = _data(view.of(item), key, value, view)
    if not fields:
        if session.json:
            session.data(data)
        else:
            session.write(_lines(data))
        return
    found: list[Any]
    if "values" in data:
        found = [[{"cpu": part["cpu"], "value": field_of(part["value"], path)} for part in data["values"]] for path in fields]
    else:
        found = [field_of(data.get("value"), path) for path in fields]
    if session.json:
        session.data(found[0] if len(found) == 1 else dict(zip(fields, found, strict=True)))
        return
    for part in found:
        session.line(part if isinstance(part, str) else _compact(part))


def show_keys(session: Session, item: Map, key: bytes | None, following: bytes, view: View) -> None:
    """Print a key and the one after it."""
    typed = view.of(item)
    data = _plain({"key": None if key is None else typed.decode_key(key), "next_key": typed.decode_key(following)})
    if session.json:
        session.data(data)
    else:
        session.write(f"key: {_compact(data['key'])}\nnext key: {_compact(data['next_key'])}\n")


def _lines(data: dict[str, Any]) -> str:
    """Return an element as text: key and value on one line, a line for each CPU's value, a line for each inner element."""
    key = f"key: {_word(data['key'])}  " if "key" in data else ""
    if "values" in data:
        return f"{key.rstrip()}\n" + "".join(f"value (CPU {part['cpu']:02}): {_word(part['value'])}\n" for part in data["values"])
    if "inner_map_id" in data:
        inner = "".join(f"    {line}\n" for part in data.get("elements", ()) for line in _lines(part).splitlines())
        return f"{key}inner_map_id: {data['inner_map_id']}\n{inner}"
    return f"{key}error: {data['error']}\n" if "error" in data else f"{key}value: {_word(data['value'])}\n"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else _compact(value)


def _compact(value: Any) -> str:
    """Return JSON on one line, with blanks for the eye."""
    import json

    return json.dumps(value, ensure_ascii=False)
