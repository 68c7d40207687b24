"""BTF type by type, as it stands in the file: the text and the JSON of `bpftool btf dump … format raw`.

A kind has one row in the tables below, and the text, the JSON and the indented JSON are made from it as templates, which are then
filled from the words of each type.

Source: dump_btf_type() in tools/bpf/bpftool/btf.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bpfload.btf import types as t
from bpfload.btf.flat import FlatTypes, Names, as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bpfload.btf.index import Btf

ANONYMOUS = "(anon)"
INVALID = "(invalid)"
_ENCODINGS = {0: "(none)", t.INT_SIGNED: "SIGNED", t.INT_CHAR: "CHAR", t.INT_BOOL: "BOOL"}
_LINKAGES = {t.LINKAGE_STATIC: "static", t.LINKAGE_GLOBAL: "global", t.LINKAGE_EXTERN: "extern"}
_UNKNOWN_LINKAGE = "(unknown)"
_SIGNEDNESS = ("UNSIGNED", "SIGNED")

#: By kind: the fields after id, kind and name; one that ends in "=" is a word, the others are numbers. Kinds that have rows have
#: the name of their list last.
_FIELDS: dict[int, tuple[str, ...]] = {
    t.KIND_VOID: (),
    t.KIND_INT: ("size", "bits_offset", "nr_bits", "encoding="),
    **dict.fromkeys(t.MODIFIER_KINDS | {t.KIND_PTR, t.KIND_TYPEDEF}, ("type_id",)),
    t.KIND_ARRAY: ("type_id", "index_type_id", "nr_elems"),
    t.KIND_STRUCT: ("size", "vlen"),
    t.KIND_UNION: ("size", "vlen"),
    t.KIND_ENUM: ("encoding=", "size", "vlen"),
    t.KIND_ENUM64: ("encoding=", "size", "vlen"),
    t.KIND_FWD: ("fwd_kind=",),
    t.KIND_FUNC: ("type_id", "linkage="),
    t.KIND_FUNC_PROTO: ("ret_type_id", "vlen"),
    t.KIND_VAR: ("type_id", "linkage="),
    t.KIND_DATASEC: ("size", "vlen"),
    t.KIND_FLOAT: ("size",),
    t.KIND_DECL_TAG: ("type_id", "component_idx"),
}
#: By kind: the name of the list, and the fields of its rows; of a struct the second form of a row is a bit field's.
_ROWS: dict[int, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    t.KIND_STRUCT: ("members", ("name=", "type_id", "bits_offset"), ("name=", "type_id", "bits_offset", "bitfield_size")),
    t.KIND_UNION: ("members", ("name=", "type_id", "bits_offset"), ("name=", "type_id", "bits_offset", "bitfield_size")),
    t.KIND_ENUM: ("values", ("name=", "val"), ()),
    t.KIND_ENUM64: ("values", ("name=", "val"), ()),
    t.KIND_FUNC_PROTO: ("params", ("name=", "type_id"), ()),
    t.KIND_DATASEC: ("vars", ("type_id", "offset", "size"), ()),
}


class _Template(NamedTuple):
    """How a kind is printed: `head`, rows with `between`, `end`. `second`: the row of a bit field, or signed 64-bit value."""

    head: str
    row: str
    second: str
    between: str
    end: str
    empty: str  # instead of rows


def raw_text(btf: Btf, roots: Sequence[int] = ()) -> Iterator[str]:
    """Yield the text of all own types, or of `roots`, in large pieces. Raises FormatError for a root that doesn't exist."""
    flat = FlatTypes(btf)
    pieces = _types(flat, roots, {kind: _text_template(kind) for kind in _FIELDS}, _section_variables(flat))
    for piece in pieces:
        yield as_text("\n".join(piece) + "\n")


def raw_json(btf: Btf, roots: Sequence[int] = (), *, indented: bool = False) -> Iterator[str]:
    """Yield the JSON ``{"types": [...]}`` of all own types, or of `roots`, in large pieces. Raises FormatError for a root."""
    flat = FlatTypes(btf)
    flat.names = _JsonNames(b"".join(_all_strings(btf)))
    templates = {kind: _json_template(kind, indented=indented) for kind in _FIELDS}
    yield '{\n    "types": [' if indented else '{"types":['
    comma = ""
    for piece in _types(flat, roots, templates, None):
        yield comma + as_text(",".join(piece))
        comma = ","
    yield "\n    ]\n}" if indented and comma else "]\n}" if indented else "]}"


def _all_strings(btf: Btf) -> list[bytes]:
    return [*(_all_strings(btf.base) if btf.base is not None else []), btf.own_strings]


#: Bytes of strings that JSON takes as they are, and the zeroes between them.
_PLAIN = bytes({0, *range(0x20, 0x100)} - set(b'"\\'))


class _JsonNames(Names):
    """Strings as JSON has them between its quotes."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        if raw.translate(None, _PLAIN):
            self.update({offset: _escape(name) for offset, name in self.items()})

    def __missing__(self, offset: int) -> str:
        name = self[offset] = _escape(super().__missing__(offset))
        return name


def _escape(name: str) -> str:
    import json

    return json.dumps(name, ensure_ascii=False)[1:-1]


# --- templates --------------------------------------------------------------------------------------------------------


def _text_template(kind: int) -> _Template:
    fields = [f"{name}%s" if name.endswith("=") else f"{name}=%d" for name in _FIELDS[kind]]
    comma = "," if kind == t.KIND_VAR else ""
    head = f"[%d] {t.KIND_NAMES[kind]} '%s' {f'{comma} '.join(fields)}".rstrip()
    _, row, second = _ROWS.get(kind, ("", (), ()))
    rows = [_text_row(row), _text_row(second)]
    if kind == t.KIND_ENUM64:
        rows = [f"{rows[0]}ULL", f"{rows[0]}LL"]
    if kind == t.KIND_DATASEC:
        rows[0] += "%s"
    return _Template(head, rows[0], rows[1], "", "", "")


def _text_row(fields: tuple[str, ...]) -> str:
    return "\n\t" + " ".join("'%s'" if name == "name=" else f"{name}=%d" for name in fields)


def _json_template(kind: int, *, indented: bool) -> _Template:
    fields = _json_fields(_FIELDS[kind], 3 if indented else 0)
    depth = 3 if indented else 0
    kind_line = _line(f'"kind":{" " if indented else ""}"{t.KIND_NAMES[kind]}"', depth)
    head = ",".join([*_json_fields(("id",), depth), kind_line, *_json_fields(("name=",), depth), *fields])
    close = _line("", 2) if indented else ""
    if kind not in _ROWS:
        return _Template(f"{{{head}{close}}}", "", "", "", "", "")
    name, row, second = _ROWS[kind]
    opening = _line(f'"{name}":{" " if indented else ""}[', depth)
    depth = 5 if indented else 0
    end = _line("", 4) if indented else ""
    rows = [f"{{{','.join(_json_fields(form, depth))}{end}}}" for form in (row, second or row)]
    bracket = _line("]", 3) if indented else "]"
    return _Template(f"{{{head},{opening}", rows[0], rows[1], ",", f"{bracket}{close}}}", f"]{close}}}")


def _json_fields(fields: tuple[str, ...], depth: int) -> list[str]:
    space = " " if depth else ""
    return [_line(f'"{name.rstrip("=")}":{space}' + ('"%s"' if name.endswith("=") else "%d"), depth) for name in fields]


def _line(text: str, depth: int) -> str:
    return "\n" + "    " * depth + text if depth else text


# --- filling them -----------------------------------------------------------------------------------------------------

_PIECE = 8192  # types


def _types(
    flat: FlatTypes, roots: Sequence[int], templates: dict[int, _Template], variables: dict[int, str] | None
) -> Iterator[list[str]]:
    """Yield lists of printed types."""
    for type_id in roots:
        flat.check(type_id)
    ids = roots or range(flat.first, len(flat))
    writer = _Writer(flat, templates, variables)
    for start in range(0, len(ids), _PIECE):
        yield writer.types(ids[start : start + _PIECE])


class _Writer:
    """Fills templates. `variables`: what is added to a DATASEC's row about the variable, by type id; None for nothing."""

    def __init__(self, flat: FlatTypes, templates: dict[int, _Template], variables: dict[int, str] | None) -> None:
        self._flat = flat
        self._templates = templates
        self._variables = variables
        flat.names[0] = ANONYMOUS

    def types(self, ids: Sequence[int]) -> list[str]:
        """Print types."""
        flat = self._flat
        words, at_of, kinds, name_of = flat.words, flat.at, flat.kinds, flat.names
        heads = {kind: template.head for kind, template in self._templates.items()}
        plain = {kind for kind, fields in _FIELDS.items() if fields == ("type_id",) or fields == ("size",)}
        func = heads[t.KIND_FUNC]
        linkages, other = _LINKAGES, self._other
        lines = []
        for type_id in ids:
            kind = kinds[type_id]
            at = at_of[type_id]
            try:
                if kind == t.KIND_FUNC:
                    word = linkages.get(words[at] & 0xFFFF, _UNKNOWN_LINKAGE)
                    lines.append(func % (type_id, name_of[words[at - 1]], words[at + 1], word))
                elif kind in plain:
                    lines.append(heads[kind] % (type_id, name_of[words[at - 1]], words[at + 1]))
                else:
                    lines.append(other(kind, type_id, at))
            except KeyError as error:
                name_of[error.args[0]] = INVALID
                lines += self.types([type_id])
        return lines

    def _other(self, kind: int, type_id: int, at: int) -> str:
        if not type_id:
            return self._templates[kind].head % (0, ANONYMOUS)
        words = self._flat.words
        template = self._templates[kind]
        name = self._flat.names[words[at - 1]]
        if kind == t.KIND_FUNC_PROTO:
            rows = self._named_rows(template.row, words[at + 2 : at + 2 + 2 * (words[at] & 0xFFFF)].tolist())
            return _close(template, template.head % (type_id, name, words[at + 1], words[at] & 0xFFFF), rows)
        if kind in _ROWS:
            return self._with_rows(kind, type_id, name, at)
        fields: tuple[object, ...]
        if kind == t.KIND_INT:
            word = words[at + 2]
            encoding = _ENCODINGS.get(word >> 24 & 15, "UNKN")
            fields = (words[at + 1], word >> 16 & 0xFF, word & 0xFF, encoding)
        elif kind == t.KIND_ARRAY:
            fields = tuple(words[at + 2 : at + 5])
        elif kind == t.KIND_FWD:
            fields = ("union" if words[at] >> 31 else "struct",)
        elif kind == t.KIND_VAR:
            fields = (words[at + 1], _LINKAGES.get(words[at + 2], _UNKNOWN_LINKAGE))
        else:
            fields = (words[at + 1], _signed(words[at + 2], 32))  # DECL_TAG
        return template.head % (type_id, name, *fields)

    def _named_rows(self, row: str, words: list[int]) -> list[str]:
        name_of = self._flat.names
        return [row % (name_of[name], value) for name, value in zip(words[::2], words[1::2], strict=True)]

    def _with_rows(self, kind: int, type_id: int, name: str, at: int) -> str:
        flat = self._flat
        template = self._templates[kind]
        info, size = flat.words[at], flat.words[at + 1]
        flag, vlen = info >> 31, info & 0xFFFF
        if kind == t.KIND_ENUM:
            words = flat.rows(type_id, 2).tolist()
            if flag:
                words[1::2] = [_signed(value, 32) for value in words[1::2]]
            rows = self._named_rows(template.row, words)
        elif kind == t.KIND_ENUM64:
            words = flat.rows(type_id, 3).tolist()
            values = [low | high << 32 for low, high in zip(words[1::3], words[2::3], strict=True)]
            pairs = zip(words[::3], [_signed(value, 64) if flag else value for value in values], strict=True)
            rows = self._named_rows(template.second if flag else template.row, [word for pair in pairs for word in pair])
        elif kind == t.KIND_DATASEC:
            rows = self._variable_rows(template.row, flat.rows(type_id, 3).tolist())
        else:
            rows = self._members(template, flat.rows(type_id, 3).tolist(), flag)
        fields = (_SIGNEDNESS[flag], size, vlen) if kind in (t.KIND_ENUM, t.KIND_ENUM64) else (size, vlen)
        return _close(template, template.head % (type_id, name, *fields), rows)

    def _members(self, template: _Template, words: list[int], flag: int) -> list[str]:
        name_of, row, second = self._flat.names, template.row, template.second
        columns = zip(words[::3], words[1::3], words[2::3], strict=True)
        if not flag:
            return [row % (name_of[name], type_id, offset) for name, type_id, offset in columns]
        return [
            second % (name_of[name], type_id, offset & 0xFFFFFF, offset >> 24)
            if offset >> 24
            else row % (name_of[name], type_id, offset)
            for name, type_id, offset in columns
        ]

    def _variable_rows(self, row: str, words: list[int]) -> list[str]:
        columns = zip(words[::3], words[1::3], words[2::3], strict=True)
        if self._variables is None:
            return [row % fields for fields in columns]
        return [row % (*fields, self._variables.get(fields[0], "")) for fields in columns]


def _close(template: _Template, head: str, rows: list[str]) -> str:
    if not rows:
        return head + template.empty
    return f"{head}{template.between.join(rows)}{template.end}"


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _section_variables(flat: FlatTypes) -> dict[int, str]:
    """Return what the text says of the variables in sections, by type id."""
    found = {}
    for section in flat.ids_of(t.KIND_DATASEC):
        for type_id in flat.rows(section, 3)[::3]:
            if type_id < len(flat):
                try:
                    name = flat.name(type_id) or ANONYMOUS
                except KeyError:
                    name = INVALID
                found[type_id] = f" ({t.KIND_NAMES[flat.kinds[type_id]]} '{name}')"
    return found
