"""Text of very many elements of a map: made for a whole batch at once, not for one element after another.

A million elements make a hundred megabytes of text, and a function call for each would take longer than the kernel takes to hand
them out. But the bytes of keys and values stand at the same places of each element's text, in hexadecimal: so the text of a batch
is one template repeated, into which each byte's column of digits is written by a single slice assignment. What the types of a map
make of it has no fixed width; there one format string takes the columns of all numbers of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from bpfload_cli.commands.typed_columns import TypedColumns, interleave

if TYPE_CHECKING:
    from bpfload.btf.values import Decoder
    from bpfload.objects.map import Batch, Map

_HIGH = bytes(b"0123456789abcdef"[byte >> 4] for byte in range(256))
_LOW = bytes(b"0123456789abcdef"[byte & 15] for byte in range(256))


class Shape(NamedTuple):
    """What the elements of a map look like. Sizes in bytes; `stride`: from one CPU's value to the next; `cpus`: 0 for a map
    without per-CPU values."""

    key_size: int
    value_size: int
    stride: int
    cpus: int

    @classmethod
    def of(cls, item: Map) -> Shape:
        """Return the shape of a map's elements."""
        info = item.info()
        return cls(info.key_size, info.value_size, item.stride, item.lookup_size // item.stride if item.per_cpu else 0)


class _Run(NamedTuple):
    """Bytes whose two digits stand at equal distances in the template."""

    place: int
    distance: int
    source: int  # 0: the key, 1: the value
    offset: int
    length: int


class Template:
    """The text of one element, with places for the digits of the key's and the value's bytes."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._runs: list[_Run] = []

    def add(self, text: str) -> None:
        """Append text as it stands."""
        self._text += text.encode()

    def add_list(self, source: int, offset: int, length: int, end: str) -> None:
        """Append bytes as a JSON list: ``["0x00","0x01"]``. `end`: what stands before the bracket."""
        self.add("[")
        self._add_run(source, offset, length, '"0x', '"', ",")
        self.add(f"{end}]" if length else "]")

    def add_lines(self, source: int, offset: int, length: int) -> None:
        """Append bytes as text: 16 to a line, in two groups of 8."""
        for start in range(0, length, 8):
            if start:
                self.add("  " if start % 16 else "\n")
            self._add_run(source, offset + start, min(8, length - start), "", "", " ")

    def _add_run(self, source: int, offset: int, length: int, before: str, after: str, between: str) -> None:
        if not length:
            return
        distance = len(before) + 2 + len(after) + len(between)
        self._runs.append(_Run(len(self._text) + len(before), distance, source, offset, length))
        self.add(between.join([f"{before}..{after}"] * length))

    def __len__(self) -> int:
        return len(self._text)

    def fill(self, batch: Batch) -> bytearray:
        """Return the text of all elements of a batch, one after another."""
        count, size = batch.count, len(self._text)
        text = self._text * count
        digits = [
            (data.translate(_HIGH), data.translate(_LOW), len(data) // count if count else 0)
            for data in (batch.keys, batch.values)
        ]
        for place, distance, source, offset, length in self._runs:
            high, low, width = digits[source]
            # Along the shorter of the two: a wide value in few elements, or a narrow one in many.
            if length <= count:
                for number in range(length):
                    at = place + number * distance
                    text[at::size] = high[offset + number :: width]
                    text[at + 1 :: size] = low[offset + number :: width]
                continue
            reach = (length - 1) * distance + 1
            for element in range(count):
                at, start = place + element * size, offset + element * width
                text[at : at + reach : distance] = high[start : start + length]
                text[at + 1 : at + 1 + reach : distance] = low[start : start + length]
        return text


def plain_template(shape: Shape, wide: int, one_line: int) -> Template:
    """Return the text of an element in hexadecimal. `wide`, `one_line`: the sizes that decide on its lines."""
    text = Template()
    if shape.cpus:
        _plain_cpus(text, shape, wide)
        return text
    broken = shape.key_size > wide or shape.value_size > wide
    gap = "\n" if broken else " "
    if shape.key_size:
        text.add(f"key:{gap}")
        text.add_lines(0, 0, shape.key_size)
        text.add("  " if shape.key_size + shape.value_size <= one_line and not broken else "\n")
    if shape.value_size:
        text.add(f"value:{gap}")
        text.add_lines(1, 0, shape.value_size)
    text.add("\n")
    return text


def _plain_cpus(text: Template, shape: Shape, wide: int) -> None:
    if shape.key_size:
        text.add("key:\n")
        text.add_lines(0, 0, shape.key_size)
        text.add("\n")
    for cpu in range(shape.cpus):
        text.add(f"value (CPU {cpu:02}):" + ("\n" if shape.value_size > wide else " "))
        text.add_lines(1, cpu * shape.stride, shape.value_size)
        text.add("\n")


def json_template(shape: Shape, *, pretty: bool, depth: int, closed: bool) -> Template:
    """Return the JSON of an element, a comma in front. `depth`: of its braces. `closed`: whether nothing follows the bytes."""
    text = Template()
    line, space = ("\n" + "    " * (depth + 1), " ") if pretty else ("", "")
    text.add(f',{{{line}"key":{space}')
    text.add_list(0, 0, shape.key_size, line)
    if not shape.cpus:
        text.add(f',{line}"value":{space}')
        text.add_list(1, 0, shape.value_size, line)
    else:
        inner, deepest = (line + "    ", line + "        ") if pretty else ("", "")
        text.add(f',{line}"values":{space}[')
        for cpu in range(shape.cpus):
            text.add(("," if cpu else "") + f'{{{deepest}"cpu":{space}{cpu},{deepest}"value":{space}')
            text.add_list(1, cpu * shape.stride, shape.value_size, deepest)
            text.add(f"{inner}}}")
        text.add(f"{line}]")
    if closed:
        text.add(f"{line[:-4]}}}")
    return text


class TypedTemplate(NamedTuple):
    """The text of an element by its types: the key's, and the value's, or all CPUs' values'."""

    key: TypedColumns | None
    value: TypedColumns
    shape: Shape
    pretty: bool
    depth: int

    @classmethod
    def of(cls, decoder: Decoder, key_type: int, value_type: int, shape: Shape, *, pretty: bool, depth: int) -> TypedTemplate:
        """Return the text of an element with values of those types. `key_type`: 0 where the key has none. Raises FormatError."""
        key = TypedColumns(decoder, key_type, lines=pretty, depth=depth + 1) if key_type else None
        inner = depth + 3 if shape.cpus else depth + 1
        return cls(key, TypedColumns(decoder, value_type, lines=pretty, depth=inner), shape, pretty, depth)

    def format(self) -> str:
        """Return the format of one element."""
        line, space = ("\n" + "    " * (self.depth + 1), " ") if self.pretty else ("", "")
        key = f'{line}"key":{space}{self.key.format},' if self.key else ""
        if not self.shape.cpus:
            return f'{{{key}{line}"value":{space}{self.value.format}{line[:-4]}}}'
        inner, deepest = (line + "    ", line + "        ") if self.pretty else ("", "")
        parts = [
            f'{{{deepest}"cpu":{space}{cpu},{deepest}"value":{space}{self.value.format}{inner}}}'
            for cpu in range(self.shape.cpus)
        ]
        return f'{{{key}{line}"values":{space}[{",".join(parts)}{line}]{line[:-4]}}}'

    def columns(self, batch: Batch) -> list[list[object]]:
        """Return the arguments of the format, a list with a batch's for each."""
        found = self.key.columns(batch.keys, 0, self.shape.key_size) if self.key else []
        shape = self.shape
        width = shape.stride * shape.cpus if shape.cpus else shape.value_size
        for cpu in range(max(shape.cpus, 1)):
            found += self.value.columns(batch.values, cpu * shape.stride, width)
        return found


def typed_texts(before: Template | None, typed: TypedTemplate, depth: int) -> Callable[[Batch], str]:
    """Return what makes the text of a batch with values by their types.

    `before`: each element's bytes as JSON, which the types follow. `depth`: of the element's braces.
    """
    line, space = ("\n" + "    " * (depth + 1), " ") if typed.pretty else ("", "")
    form = f",{typed.format()}" if before is None else f'%s,{line}"formatted":{space}{typed.format()}{line[:-4]}}}'
    size = 0 if before is None else len(before)

    def texts(batch: Batch) -> str:
        columns = typed.columns(batch)
        if before is not None:
            whole = before.fill(batch).decode()
            columns.insert(0, [whole[start : start + size] for start in range(0, len(whole), size)])
        return interleave(form, columns, batch.count)

    return texts
