"""One view, two printers: text by a layout, and JSON in bpftool's form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

#: A part of the text of a view: (field, template), (field, template, style), or a function that makes text of the view. The
#: part is left out where the field is None, False or empty; in a template {v} is the field's value and {view} the view.
Piece = tuple[str, str] | tuple[str, str, str] | Callable[[Any], str]
Layout = Sequence[Piece]

_STYLES = {"id": "\x1b[1;36m", "name": "\x1b[1m", "faint": "\x1b[2m"}
_RESET = "\x1b[0m"


def render(view: object, layout: Layout, *, colour: bool = False) -> str:
    """Return the text of a view."""
    parts = []
    for piece in layout:
        if callable(piece):
            parts.append(piece(view))
            continue
        value = getattr(view, piece[0])
        if value is None or value is False or value == ():
            continue
        text = piece[1].format(v=value, view=view)
        if colour and len(piece) == 3:
            text = f"{_STYLES[piece[2]]}{text}{_RESET}"
        parts.append(text)
    return "".join(parts)


def hex_lines(data: bytes) -> str:
    """Return bytes in hexadecimal: 16 to a line, in two groups of 8."""
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        lines.append("  ".join(row[group : group + 8].hex(" ") for group in range(0, len(row), 8)))
    return "\n".join(lines)


# --- JSON -----------------------------------------------------------------------------------------------------------


def json_text(value: Any, *, pretty: bool = False, depth: int = 0) -> str:
    """Return plain data as JSON: compact, or `pretty` with members one a line and elements side by side."""
    from json.encoder import JSONEncoder, encode_basestring

    if isinstance(value, str):
        return encode_basestring(value)
    if not pretty and isinstance(value, (dict, list)):
        try:
            return JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(value)
        except ValueError:  # a number that is none, which JSON has no word for
            pass
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if value - value == 0 else "null"
    space, line, end = ("", "", "")
    if pretty:
        space, line, end = " ", "\n" + "    " * (depth + 1), "\n" + "    " * depth
    if isinstance(value, dict):
        members = [
            f"{line}{json_text(name)}:{space}{json_text(member, pretty=pretty, depth=depth + 1)}"
            for name, member in value.items()
        ]
        return f"{{{','.join(members)}{end}}}" if members else "{}"
    elements = [json_text(element, pretty=pretty, depth=depth + 1) for element in value]
    return f"[{','.join(elements)}{end}]" if elements else "[]"
