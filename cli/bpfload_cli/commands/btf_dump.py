"""`bpfload btf dump`: types, as they stand in BTF or as a C header."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bpfload.errors import FormatError, NotFoundError
from bpfload.inspect import btf, ids
from bpfload_cli.grammar import Words
from bpfload_cli.selecting import one_map, one_program
from bpfload_cli.session import Session

if TYPE_CHECKING:
    from bpfload.btf import Btf

SOURCES = ("id", "map", "prog", "file")  # in the order in which bpftool looks for a prefix
_PARTS = ("key", "value", "all", "kv")
FORMATS = ("raw", "c")
VMLINUX = "vmlinux"


def dump(session: Session, words: Words) -> None:
    """Print types: those of one source, all of them or `root_id`s."""
    source = words.keyword(SOURCES, "a source of types")
    with ExitStack() as stack:
        types, roots = _READERS[source](session, words, stack)
    text_format, sort = "raw", True
    named: list[int] = []
    while words:
        if words.accept("format"):
            text_format = words.keyword(FORMATS, "a format")
        elif words.accept("unsorted"):
            sort = False
        elif words.accept("root_id"):
            named.append(_root(types, words))
        else:
            words.end()
    if text_format == "c":
        _print_c(session, types, named or roots, sort=sort)
    else:
        _print_raw(session, types, named or roots)


def _root(types: Btf, words: Words) -> int:
    ident = ids.number(words.take("the id of a type"))
    types.kind(ident)  # raises FormatError where there is none
    return ident


# --- sources --------------------------------------------------------------------------------------------------------


def _of_id(session: Session, words: Words, stack: ExitStack) -> tuple[Btf, list[int]]:
    return _types(session, ids.number(words.take("the id of a BTF object"))), []


def _of_program(session: Session, words: Words, stack: ExitStack) -> tuple[Btf, list[int]]:
    info = one_program(words, stack).info()
    return _types(session, info.btf_id, f"program {info.id}"), []


def _of_map(session: Session, words: Words, stack: ExitStack) -> tuple[Btf, list[int]]:
    """Read a map's types: those of its keys and values unless others are asked for."""
    info = one_map(words, stack).info()
    part = next((part for part in _PARTS if words.accept(part)), "kv")
    roots = {"key": [info.btf_key_type_id], "value": [info.btf_value_type_id], "all": []}
    types = _types(session, info.btf_id, f"map {info.id}")
    return types, roots.get(part, [info.btf_key_type_id, info.btf_value_type_id])


def _of_file(session: Session, words: Words, stack: ExitStack) -> tuple[Btf, list[int]]:
    from bpfload.kernel.btf import load_file

    types = load_file(words.take("the file with the types"), base=_base(session))
    if types.base is None and types.name != VMLINUX and max(types.name_offsets(), default=0) >= types.string_end:
        raise FormatError(
            "these types build on others, which aren't in the file",
            file=types.name,
            section=".BTF",
            hint="-B FILE names those: for a module, its kernel's.",
        )
    return types, []


_READERS = {"id": _of_id, "prog": _of_program, "map": _of_map, "file": _of_file}


def _types(session: Session, ident: int, owner: str = "") -> Btf:
    """Return the types of a BTF object in the kernel. `owner`: whose it is, where it wasn't named itself."""
    if owner and not ident:
        raise NotFoundError(f"{owner} was loaded without BTF", hint="Compile it with -g.")
    return btf.types(ident, _base(session))


def _base(session: Session) -> Btf | None:
    """Return the types that were named with -B."""
    if not session.base_btf:
        return None
    from bpfload.kernel.btf import load_file

    return load_file(session.base_btf)


# --- printing -------------------------------------------------------------------------------------------------------


def _print_c(session: Session, types: Btf, roots: list[int], *, sort: bool) -> None:
    from bpfload.btf.cdump import c_header

    text = c_header(types, roots, sort=sort)
    if session.json:
        session.data({"c": text})
    else:
        session.write(text)


def _print_raw(session: Session, types: Btf, roots: list[int]) -> None:
    from bpfload.btf.rawdump import raw_json, raw_text

    pieces = raw_json(types, roots, indented=session.pretty) if session.json else raw_text(types, roots)
    for piece in pieces:
        session.write(piece)
    if session.json and not session.nested:
        session.line()
