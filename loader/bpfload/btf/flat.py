"""All types of a BTF, the base's included, for passes over everything: plain words by id, no object for a type."""

from __future__ import annotations

from itertools import accumulate, compress, count
from operator import add
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfload.btf.index import Btf


class Names(dict[int, str]):
    """Strings by their offset, decoded as Latin-1: a character stands for a byte, which sorts and comes out as it was.

    KeyError for an offset outside the strings.
    """

    def __init__(self, raw: bytes) -> None:
        self._text = raw.decode("latin-1")
        names = self._text.split("\0")
        # A string starts after the characters of all before it, and a zero for each.
        super().__init__(zip(map(add, accumulate(map(len, names), initial=0), count()), names, strict=False))
        del self[len(raw)]  # behind the last zero

    def __missing__(self, offset: int) -> str:
        end = self._text.find("\0", offset)
        if end < 0:
            raise KeyError(offset)
        name = self[offset] = self._text[offset:end]  # the end of another one
        return name


class FlatTypes:
    """The types by id.

    `words`: all words of all types; `at`: by id, the index of the type's second word, the one with the kind (0 for void, which
    has none); `kinds`: a byte for each id; `first`: id of the first type that isn't the base's.
    """

    __slots__ = ("_params", "at", "btf", "first", "kinds", "names", "words")

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.first = btf.start_id
        layers = [btf]
        while layers[0].base is not None:
            layers.insert(0, layers[0].base)
        if len(layers) == 1:
            self.words = btf.words
            self.at = [0, *btf.starts]
            strings = btf.own_strings
        else:
            self.words = memoryview(b"".join(layer.words for layer in layers)).cast("I")
            self.at = [0]
            start = 0
            for layer in layers:
                self.at += [start + at for at in layer.starts]
                start += len(layer.words)
            strings = b"".join(layer.own_strings for layer in layers)
        words = self.words
        kinds = [words[at] >> 24 & 31 for at in self.at] if len(self.at) > 1 else [0]
        kinds[0] = t.KIND_VOID
        self.kinds = bytes(kinds)
        self.names = Names(strings)
        self._params: memoryview[int] | None = None

    def __len__(self) -> int:
        """The number of types, void included: one more than the highest id."""
        return len(self.at)

    def ids_of(self, *kinds: int) -> Iterator[int]:
        """Yield the ids of all types of these kinds, in order."""
        table = bytes(kind in kinds for kind in range(256))
        return compress(range(len(self.at)), self.kinds.translate(table))

    def name(self, type_id: int) -> str:
        """Return the name of a type, "" if it has none."""
        return self.names[self.words[self.at[type_id] - 1]] if type_id else ""

    def target(self, type_id: int) -> int:
        """Return the third word: what a pointer, typedef or qualifier refers to, what a prototype returns; or the size."""
        return self.words[self.at[type_id] + 1]

    def rows(self, type_id: int, width: int) -> memoryview[int]:
        """Return the words of the table after a type, `width` to a row."""
        at = self.at[type_id]
        return self.words[at + 2 : at + 2 + width * (self.words[at] & 0xFFFF)]

    def params(self) -> memoryview[int]:
        """Return the type ids of all parameters of all prototypes."""
        if self._params is None:
            words = self.words
            starts = map(self.at.__getitem__, self.ids_of(t.KIND_FUNC_PROTO))
            tables = [words[at + 2 : at + 2 + 2 * (words[at] & 0xFFFF)] for at in starts]
            self._params = memoryview(b"".join(tables)).cast("I")[1::2]
        return self._params

    def check(self, type_id: int) -> None:
        """Raise FormatError for an id that doesn't exist."""
        if not 0 <= type_id < len(self.at):
            raise FormatError(f"BTF type id {type_id} doesn't exist: the highest is {len(self.at) - 1}", file=self.btf.name)


def as_text(latin: str) -> str:
    """Return text that was put together of `Names`, properly decoded: what isn't UTF-8 as surrogates, which print as it came."""
    return latin if latin.isascii() else latin.encode("latin-1").decode("utf-8", "surrogateescape")
