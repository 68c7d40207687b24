"""Keys and values as words of the command line: bpftool's bytes, or one word for the type.

After `key` and `value` stands, for n bytes:

- `hex` and n bytes in hexadecimal, or n bytes as numbers (decimal, 0x…, 0…), as bpftool has it;
- else one word: a number, an enum's name, true or false, an address (10.0.0.1, fe80::1, aa:bb:cc:dd:ee:ff; 10.0.0.0/8 as the key
  of an LPM trie), text for an array of char, or JSON where the word starts with {, [ or ";
- `typed` and one word: the same where the word would mean something else (one byte for a key of one byte, `hex`, `any`);
- `json` and one word: any JSON.

So whatever bpftool takes means what it means there, and what it refuses may mean something here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from bpfload.abi import consts
from bpfload.errors import UsageError
from bpfload.objects.map import Map
from bpfload_cli.grammar import Words, is_prefix
from bpfload_cli.session import Session

if TYPE_CHECKING:
    from bpfload.objects.typed_map import TypedMap

FLAGS = {"any": consts.BPF_ANY, "noexist": consts.BPF_NOEXIST, "exist": consts.BPF_EXIST}
_KEYWORDS = ("key", "value", *FLAGS)
_OF_MAPS = (consts.BPF_MAP_TYPE_ARRAY_OF_MAPS, consts.BPF_MAP_TYPE_HASH_OF_MAPS)
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


class View(NamedTuple):
    """How keys and values are to be shown and numbers understood: options of the map commands.

    `typed`: by type; `readable`: addresses as text; `network`: names of members that are in network byte order.
    """

    typed: bool
    readable: bool
    network: tuple[str, ...]

    def of(self, item: Map) -> TypedMap:
        """Return a map's elements by their types."""
        from bpfload.btf.network import Network
        from bpfload.objects.typed_map import TypedMap

        return TypedMap(item, Network(addresses=self.readable, names=self.network))


def take_options(words: Words) -> tuple[Words, View]:
    """Read the options of the map commands wherever they stand; return the other words and what the options say."""
    rest: list[str] = []
    typed = readable = False
    network: tuple[str, ...] = ()
    while words:
        word = words.take("")
        name, equals, value = word.partition("=")
        if word == "--typed":
            typed = True
        elif word == "--readable":
            typed = readable = True
        elif name == "--network":
            typed = True
            network += tuple((value if equals else words.take("the names of members after --network")).split(","))
        else:
            rest.append(word)
    return Words(rest, words.command), View(typed, readable, network)


class Given(NamedTuple):
    """What the words say of an element. `key`, `value`: bytes, None if not given. `fields`: paths of members to show."""

    key: bytes | None
    value: bytes | None
    flags: int
    fields: tuple[str, ...]


def read_element(
    session: Session,
    words: Words,
    item: Map,
    stack: ExitStack,
    view: View,
    *,
    value: bool = False,
    fields: bool = False,
) -> Given:
    """Read a key, and with `value` a value and how to store it, in any order; with `fields` paths such as ``.packets``.

    A map or program that is the value stays open as long as `stack` does. Raises UsageError.
    """
    reader = _Reader(session, words, item, stack, view)
    info = item.info()
    wanted = {"key": info.key_size > 0, "value": value and info.value_size > 0}
    found: dict[str, bytes] = {}
    flags: int | None = None
    paths: list[str] = []
    while words:
        word = words.peek()
        name = next((name for name in _KEYWORDS if is_prefix(word, name)), "")
        if name in wanted and (name == "key" or value):
            if not wanted[name]:
                raise words.error(f"{words.command}: this map has no {name}s, so {word!r} is one word too many")
            if name in found:
                raise words.error(f"{words.command}: the {name} is given twice")
            words.take(name)
            found[name] = reader.key() if name == "key" else reader.value()
        elif name in FLAGS and value:
            if flags is not None:
                raise words.error(f"{words.command}: flags are given twice: {word!r}")
            flags = FLAGS[name]
            words.take(name)
        elif fields and word.startswith((".", "[")):
            paths.append(words.take("a member"))
        else:
            raise words.error(f"{words.command}: {word!r} is neither key nor value", _expected(value=value))
    for name, needed in wanted.items():
        if needed and name not in found:
            raise words.error(f"{words.command}: the {name} is missing")
    return Given(found.get("key"), found.get("value"), flags or 0, tuple(paths))


def _expected(*, value: bool) -> Sequence[str]:
    return _KEYWORDS if value else ("key",)


class _Reader:
    """Reads the words behind `key` and `value`."""

    def __init__(self, session: Session, words: Words, item: Map, stack: ExitStack, view: View) -> None:
        self._session = session
        self._words = words
        self._map = item
        self._stack = stack
        self._view = view

    def key(self) -> bytes:
        """Read a key."""
        return self._data("key", self._map.info().key_size, lambda value: self._view.of(self._map).encode_key(value) or b"")

    def value(self) -> bytes:
        """Read a value, for all CPUs in a per-CPU map."""
        kind, size = self._map.info().type, self._map.info().value_size
        if kind in _OF_MAPS or kind == consts.BPF_MAP_TYPE_PROG_ARRAY:
            return self._object(of_maps=kind in _OF_MAPS)
        data = self._data("value", size, self._typed_value)
        if self._map.per_cpu and len(data) == size:
            return self._map.join([data] * (self._map.lookup_size // self._map.stride))
        return data

    def _object(self, *, of_maps: bool) -> bytes:
        """Read which map or program a slot is to hold, and return its fd as bytes."""
        from bpfload_cli.selecting import one_map, one_program

        by_id = is_prefix(self._words.peek(), "id")
        found = one_map(self._words, self._stack) if of_maps else one_program(self._words, self._stack)
        if by_id and not of_maps and not self._session.json:
            # The kernel empties an array of programs once no process and no pin holds it.
            self._session.warn(
                "Warning: what is stored in an array of programs is lost when nothing holds the array any more: see that it is "
                "pinned, or that a process has it open"
            )
        return found.fd.to_bytes(4, sys.byteorder)

    def _typed_value(self, value: Any) -> bytes:
        """Encode a value; in a per-CPU map, a list of {"cpu", "value"} changes those CPUs' and no other."""
        typed = self._view.of(self._map)
        if not (self._map.per_cpu and isinstance(value, list) and value and all(_is_cpu(part) for part in value)):
            return typed.value.encode(value)
        count = self._map.lookup_size // self._map.stride
        parts = [bytes(self._map.info().value_size)] * count
        for part in value:
            if not 0 <= part["cpu"] < count:
                raise UsageError(f"value: there is no CPU {part['cpu']}: they are 0 to {count - 1}")
            parts[part["cpu"]] = typed.value.encode(part["value"])
        return self._map.join(parts)

    def _data(self, name: str, size: int, encode: Callable[[Any], bytes]) -> bytes:
        words = self._words
        first = words.take(f"the {name}")
        if is_prefix(first, "hex"):
            return self._bytes(name, [], size, 16)
        if first in ("typed", "json"):
            word = words.take(f"the {name} after {first!r}")
            return self._encoded(name, size, parse_json(word, name) if first == "json" else parse_word(word, name), encode)
        if _is_byte(first) and (size == 1 or not self._at_end()):
            return self._bytes(name, [first], size, 0)
        if not self._at_end():
            raise self._wrong(name, size, f"{first!r} is no byte")
        return self._encoded(name, size, parse_word(first, name), encode)

    def _at_end(self) -> bool:
        """Whether no word follows that belongs to the same key or value."""
        word = self._words.peek()
        return not word or word[0] == "." or any(is_prefix(word, keyword) for keyword in _KEYWORDS)

    def _bytes(self, name: str, taken: list[str], size: int, base: int) -> bytes:
        """Read bytes, of which some are taken already, in bpftool's notation."""
        while len(taken) < size and self._words:
            taken.append(self._words.take("a byte"))
        numbers = [_byte(word, base) for word in taken]
        if None in numbers:
            raise self._wrong(name, size, f"{taken[numbers.index(None)]!r} is no byte")
        if len(taken) != size:
            raise self._wrong(name, size, f"there are {len(taken)} bytes, the {name} has {size}")
        return bytes(number & 0xFF for number in numbers if number is not None)

    def _encoded(self, name: str, size: int, value: Any, encode: Callable[[Any], bytes]) -> bytes:
        try:
            return encode(value)
        except UsageError as error:
            error.hint = " ".join(part for part in (error.hint, _rule(name, size)) if part)
            raise

    def _wrong(self, name: str, size: int, message: str) -> UsageError:
        return UsageError(f"{name}: {message}", hint=_rule(name, size))


def _rule(name: str, size: int) -> str:
    some = "1 byte" if size == 1 else f"{size} bytes"
    return (
        f"Give {some} (`{name} 1 2 …`, `{name} hex 0a ff …`), or one word for the type: a number, a name, an address, or JSON "
        f"in quotes; `{name} typed WORD` where both would do."
    )


def _is_cpu(part: object) -> bool:
    return isinstance(part, dict) and set(part) == {"cpu", "value"} and isinstance(part["cpu"], int)


def _byte(word: str, base: int) -> int | None:
    """Return the number of a word as strtoul() reads it, None if it isn't one or is more than a byte."""
    try:
        if base == 16:
            number = int(word, 16)
        elif _NUMBER.fullmatch(word):
            octal = word.lstrip("+-").startswith("0") and word.lstrip("+-0").isdecimal()
            number = int(word, 8 if octal else 0)
        else:
            return None
    except ValueError:
        return None
    return number if -128 <= number <= 255 else None


def _is_byte(word: str) -> bool:
    return _byte(word, 0) is not None


def parse_word(word: str, name: str) -> Any:
    """Return the value that a word is: JSON if it starts like an object, list or string, else text that the type explains."""
    if word == "null":
        return None
    return parse_json(word, name) if word[:1] in ("{", "[", '"') else word


def parse_json(word: str, name: str) -> Any:
    """Return the value of JSON. Raises UsageError saying where it breaks."""
    import json

    try:
        return json.loads(word)
    except ValueError as error:
        raise UsageError(f"{name}: {word!r} is no JSON: {error}", hint="In a shell, put it in single quotes.") from None
