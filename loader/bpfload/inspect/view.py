"""Views: frozen dataclasses that say what is in the kernel, and their plain data.

A view's fields have bpftool's JSON keys as names and stand in its order; a field that is None isn't shown. So one view is both
what a Python program reads and what is printed, as JSON or as text.
"""

from __future__ import annotations

from typing import Any, cast

#: Metadata of a dataclass field whose own fields are shown in its place: the part of a view that depends on its type.
INLINE = {"inline": True}


# Types of values that are their own plain data.
_PLAIN = frozenset((str, int, bool, float, type(None)))
#: By type of view: its fields, and whether their own fields are shown in their place.
_fields: dict[type, tuple[tuple[str, bool], ...]] = {}


def to_data(value: object) -> Any:
    """Return a view as dicts, lists, strings and numbers, ready for JSON.

    Bytes become a list of "0x01" each. What isn't a view is returned as it is.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    known = _fields.get(kind)
    if known is None:
        if hasattr(value, "to_data"):
            return value.to_data()
        fields = getattr(value, "__dataclass_fields__", None)
        if fields is None:
            return _plain_data(value)
        known = _fields[kind] = tuple((name, "inline" in definition.metadata) for name, definition in fields.items())
    data: dict[str, Any] = {}
    for name, inline in known:
        item = getattr(value, name)
        if item is None:
            continue
        if type(item) in _PLAIN:
            data[name] = item
        elif inline:
            data.update(to_data(item))
        else:
            data[name] = to_data(item)
    return data


def _plain_data(value: object) -> Any:
    """Return the data of what is no view."""
    if isinstance(value, bytes):
        return [f"0x{byte:02x}" for byte in value]
    if isinstance(value, dict):
        return {name: to_data(item) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [to_data(item) for item in cast("list[object]", value)]
    return value
