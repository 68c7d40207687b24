"""A value that is bytes of a BTF type: decoded when someone wants to see it, and as they want to see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bpfload.btf import Btf
from bpfload.btf.values import JSON, PLAIN, PYTHON, Decoder


class Decoders:
    """The decoders of one BTF, one for each style, made when first used."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._made: dict[str, Decoder] = {}

    def of(self, style: str) -> Decoder:
        """Return the decoder of a style of `bpfload.btf.values`."""
        if style not in self._made:
            self._made[style] = Decoder(self._btf, style=style)
        return self._made[style]


@dataclass(frozen=True, slots=True, eq=False)
class TypedValue:
    """`data`: the bytes, the value at its start. `type_id`: of its type in the BTF of `decoders`. Decoding raises FormatError."""

    decoders: Decoders
    type_id: int
    data: bytes

    def python(self) -> Any:
        """Return it as Python values."""
        return self.decoders.of(PYTHON).decode(self.type_id, self.data)

    def to_data(self) -> Any:
        """Return it as bpftool's JSON has it."""
        return self.decoders.of(JSON).decode(self.type_id, self.data)

    def plain(self) -> Any:
        """Return it for `bpfload.btf.values.pretty`, as bpftool's text has it."""
        return self.decoders.of(PLAIN).decode(self.type_id, self.data)
