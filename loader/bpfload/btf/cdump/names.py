"""Names for C: one that is taken already in its name space gets a number, ``name___2``.

Source: btf_dump_resolve_name() in tools/lib/bpf/btf_dump.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfload.btf import types as t

if TYPE_CHECKING:
    from bpfload.btf.flat import FlatTypes

MAX_NUMBERED = 255  # characters of a name with a number


class CNames:
    """C's two name spaces: tags of structs, unions and enums; and identifiers, of typedefs and of the values of enums.

    A type gets its name when it is first asked for, so the numbers depend on the order of the output.
    """

    def __init__(self, flat: FlatTypes) -> None:
        self._flat = flat
        self._tags: dict[str, int] = {}
        self.identifiers: dict[str, int] = {}  # how often each was used
        self._known: dict[int, str] = {}

    def tag(self, type_id: int) -> str:
        """Return the tag of a struct, union, enum or forward declaration, "" if it has none."""
        return self._known.get(type_id) or self._resolve(type_id, self._tags)

    def identifier(self, type_id: int) -> str:
        """Return the name of a typedef."""
        return self._known.get(type_id) or self._resolve(type_id, self.identifiers)

    def _resolve(self, type_id: int, space: dict[str, int]) -> str:
        name = self._flat.name(type_id)
        if not name:
            return ""
        kind = self._flat.kinds[type_id]
        declared_only = kind == t.KIND_FWD or (kind == t.KIND_ENUM and not self._flat.rows(type_id, 2))
        if not declared_only:
            count = space[name] = space.get(name, 0) + 1
            if count > 1:
                name = f"{name}___{count}"[:MAX_NUMBERED]
        self._known[type_id] = name
        return name
