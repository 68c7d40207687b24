"""Names of C, of sections and of files as names that Python takes."""

from __future__ import annotations

import keyword

#: What a member of an enum, or a field, can't be called: Python's own use of such names.
_TAKEN = frozenset(("mro", "name", "value"))


def identifier(name: str) -> str:
    """Return a name that Python takes in the place of one of C, of a section or of a file.

    What can't be in a name becomes "_"; two of them at the front, which Python gives a meaning in a class, become one.
    """
    made = "".join(char if char.isascii() and (char.isalnum() or char == "_") else "_" for char in name) or "_"
    if made.startswith("__"):
        made = f"_{made.lstrip('_')}"
    if made.startswith("_") and made.endswith("_"):
        made = made.strip("_") or "_0"
    if made[0].isdigit():
        made = f"_{made}"
    return f"{made}_" if keyword.iskeyword(made) or made in _TAKEN else made


def class_name(name: str) -> str:
    """Return a name as one of a class: flow_key is FlowKey."""
    parts = [part for part in identifier(name).split("_") if part]
    made = "".join(part[0].upper() + part[1:] for part in parts)
    return f"_{made}" if made[0].isdigit() else made


def quoted(text: str) -> str:
    """Return a text as a literal of Python, whatever is in it."""
    made = "".join(char if " " <= char <= "~" and char not in '"\\' else f"\\U{ord(char):08x}" for char in text)
    return f'"{made}"'


def harmless(text: str) -> str:
    """Return a text as it may stand in a comment or docstring, whatever is in it."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "_-. ") else "_" for char in text)


class Scope:
    """Names that are used up. `taken`: those that are from the start."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._taken = set(taken)

    def add(self, name: str) -> str:
        """Use a name up and return it; one that is used up already gets "_" added."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
