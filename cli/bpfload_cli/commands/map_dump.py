"""`bpfload map dump`: what is in a map."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain

from bpfload.abi import consts
from bpfload.btf.values import JSON, PLAIN
from bpfload.errors import KernelError
from bpfload.inspect import elements, maps
from bpfload.inspect.elements import CpuValue, Element, Formatted, Unreadable
from bpfload.inspect.typed import TypedValue
from bpfload.inspect.view import to_data
from bpfload.objects.map import Batch, Map
from bpfload_cli.layouts import MAP_HEADER
from bpfload_cli.output import hex_lines, json_text, render
from bpfload_cli.session import Session

TextOf = Callable[[Batch], bytearray | str]

# Wider keys and values, in bytes, stand on a line of their own; narrow ones share a line if both take no more than this.
_WIDE, _ONE_LINE = 16, 24


def dump(session: Session, found: list[Map]) -> None:
    """Print the elements of maps: by their types if all have BTF, else in hexadecimal."""
    typed = session.json or all(item.info().btf_id for item in found)
    for item in found:
        _warn_of_sockets(session, item)
    if typed:
        _dump_data(session, found)
    else:
        _dump_bytes(session, found)


def _warn_of_sockets(session: Session, item: Map) -> None:
    info = item.info()
    if info.type == consts.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY and info.value_size != 8:
        session.warn("Warning: the values of a reuseport_sockarray whose value_size is not 8 can't be read")


# --- JSON, and the text of maps with BTF ----------------------------------------------------------------------------


def _dump_data(session: Session, found: list[Map]) -> None:
    """Print the elements as JSON, one after another: a map may be too big for holding them all."""
    several = len(found) > 1
    pretty = session.pretty or not session.json
    depth = 2 if several else 0
    outer, inner = ("\n", "\n" + "    " * depth) if pretty else ("", "")
    session.write("[" if several else "")
    for position, item in enumerate(found):
        if several:
            header = json_text(to_data(maps.header(item)), pretty=pretty, depth=1)
            close = "\n    }" if pretty else "}"
            name = '\n        "elements": ' if pretty else '"elements":'
            session.write(("," if position else "") + header[: -len(close)] + f",{name}")
        _write_elements(session, item, depth, inner)
        if several:
            session.write(close)
    session.write((outer + "]" if several else "") + "\n")


def _write_elements(session: Session, item: Map, depth: int, end: str) -> None:
    count = 0
    try:
        fast = _data_batches(session, item, depth + 1)
        if fast is not None:
            batches, text_of = fast
            count = _write_batches(batches, text_of, "[")
            session.write(f"{end}]" if count else "[]")
            return
        for element in elements.elements(item):
            session.write(("," if count else "[") + element_text(session, element, depth + 1))
            count += 1
    except KernelError as error:
        _report(session, item, error)
    session.write(f"{end}]" if count else "[]")


def _batches(item: Map) -> Iterator[Batch] | None:
    """Return the map's batches, or None where its elements must be looked at one by one."""
    batches = item.batches()
    try:
        first = next(batches, None)
    except KernelError:
        return None  # what is wrong is said of each element
    return iter(()) if first is None else chain((first,), batches)


def _data_batches(session: Session, item: Map, depth: int) -> tuple[Iterator[Batch], TextOf] | None:
    """Return the map's batches, and what makes the JSON, or the text by types, of one; a comma stands before each element."""
    batches = _batches(item)
    if batches is None:
        return None
    from bpfload_cli.commands import map_bulk

    pretty = session.pretty or not session.json
    shape = map_bulk.Shape.of(item)
    type_id, decoders = elements.value_type(item.info())
    before = None
    if session.json or decoders is None:
        before = map_bulk.json_template(shape, pretty=pretty, depth=depth, closed=decoders is None)
        if decoders is None:
            return batches, before.fill
    style = JSON if session.json else PLAIN
    inner = depth + 1 if session.json else depth
    typed = map_bulk.TypedTemplate.of(decoders.of(style), item.info().btf_key_type_id, type_id, shape, pretty=pretty, depth=inner)
    return batches, map_bulk.typed_texts(before, typed, depth)


def _write_batches(batches: Iterator[Batch], text_of: TextOf, start: str) -> int:
    """Write the text of all batches and return how many elements there were. `start`: in place of the first one's comma."""
    count = 0
    sys.stdout.flush()
    out = sys.stdout.buffer
    for batch in batches:
        text = text_of(batch)
        data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        if start and not count:
            out.write(start.encode())
            out.write(memoryview(data)[1:])
        else:
            out.write(data)
        count += batch.count
    return count


def element_text(session: Session, element: Element, depth: int) -> str:
    """Return an element as JSON, or by its types as text."""
    if session.json:
        return json_text(to_data(element), pretty=session.pretty, depth=depth)
    from bpfload.btf.values import pretty

    return pretty(_plain(element.formatted), depth) if element.formatted else pretty(_plain_bytes(element), depth)


def _plain(formatted: Formatted) -> dict[str, object]:
    """An element by its types, for the text."""
    data: dict[str, object] = {}
    if formatted.key is not None:
        data["key"] = formatted.key.plain()
    if formatted.value is not None:
        data["value"] = formatted.value.plain()
    if formatted.values is not None:
        data["values"] = [{"cpu": part.cpu, "value": _plain_cpu(part)} for part in formatted.values]
    return data


def _plain_cpu(part: CpuValue) -> object:
    return part.value.plain() if isinstance(part.value, TypedValue) else to_data(part.value)


def _plain_bytes(element: Element) -> object:
    return to_data(element)


def _report(session: Session, item: Map, error: KernelError) -> None:
    """Say that the keys can't be walked: what could be printed stays, the exit status tells."""
    info = item.info()
    kind = maps.type_name(info.type)
    session.status = 1
    session.warn(f"Error: the elements of map {info.id} can't be listed, which no {kind} map allows: {error.strerror}")


# --- hexadecimal ----------------------------------------------------------------------------------------------------


def _dump_bytes(session: Session, found: list[Map]) -> None:
    for position, item in enumerate(found):
        if len(found) > 1:
            session.write(render(maps.header(item), MAP_HEADER, colour=session.colour))
        count = 0
        try:
            batches = _batches(item)
            if batches is not None:
                from bpfload_cli.commands import map_bulk

                template = map_bulk.plain_template(map_bulk.Shape.of(item), _WIDE, _ONE_LINE)
                count = _write_batches(batches, template.fill, "")
            for element in elements.elements(item) if batches is None else ():
                session.write(element_lines(item, element))
                count += not isinstance(element.value, Unreadable)
        except KernelError as error:
            _report(session, item, error)
        session.line(f"Found {count} element{'' if count == 1 else 's'}")
        if position != len(found) - 1:
            session.line()


def element_lines(item: Map, element: Element) -> str:
    """Return an element in hexadecimal."""
    info = item.info()
    if element.values is not None:
        return _cpu_lines(element, element.values, info.key_size, info.value_size)
    if isinstance(element.value, Unreadable):
        return _unreadable_lines(element, element.value.error, info.type)
    assert element.value is not None
    wide = info.key_size > _WIDE or info.value_size > _WIDE
    between = "  " if info.key_size + info.value_size <= _ONE_LINE and not wide else "\n"
    gap = "\n" if wide else " "
    text = f"key:{gap}{hex_lines(element.key)}{between}" if info.key_size else ""
    if element.inner_map_id is not None:
        return f"{text}inner_map_id:{gap}{element.inner_map_id} \n"
    return f"{text}value:{gap}{hex_lines(element.value)}\n" if info.value_size else f"{text}\n"


def _cpu_lines(element: Element, values: tuple[CpuValue, ...], key_size: int, value_size: int) -> str:
    text = f"key:\n{hex_lines(element.key)}\n" if key_size else ""
    gap = "\n" if value_size > _WIDE else " "
    for part in values:
        assert isinstance(part.value, bytes)
        text += f"value (CPU {part.cpu:02}):{gap}{hex_lines(part.value)}\n"
    return text


def _unreadable_lines(element: Element, error: str, map_type: int) -> str:
    if error == "No such file or directory":
        error = "<no entry>"
    elif error == "No space left on device" and map_type == consts.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
        error = "<cannot read>"
    wide = len(element.key) > _WIDE or len(error) > _WIDE
    between = "  " if len(element.key) + len(error) <= _ONE_LINE and not wide else "\n"
    gap = "\n" if wide else " "
    return f"key:{gap}{hex_lines(element.key)}{between}value:{gap}{error}\n"
