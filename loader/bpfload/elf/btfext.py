"""The object's BTF, and .BTF.ext, which ties it to instructions.

Source: bpf_object__init_btf() in tools/lib/bpf/libbpf.c; btf_ext__new(), btf_ext_setup_info() in tools/lib/bpf/btf.c;
Documentation/bpf/btf.rst.
"""

from __future__ import annotations

from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.errors import FormatError
from bpfload.spec import BtfExt, SectionInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from bpfload.elf.draft import Draft

EINVAL = 22
E2BIG = 7
ENOENT = 2
ENOTSUP = 95
MAGIC = 0xEB9F
#: Bytes up to the end of line_info_len, and of core_relo_len.
_HEADER_WITHOUT_CORE = 24
_HEADER_WITH_CORE = 32
#: The smallest record of func_info, line_info and CO-RE relocations.
_FUNC_INFO = 8
_LINE_INFO = 16
_CORE_RELO = 16

#: Words of a row in the tables whose rows have names: members, values of enums, parameters.
_NAMED_ROWS = {t.KIND_STRUCT: 3, t.KIND_UNION: 3, t.KIND_ENUM: 2, t.KIND_FUNC_PROTO: 2, t.KIND_ENUM64: 3}

MAX_NAMES = 64 << 20
MAX_BTF_SIZE = 16 << 20  # BTF_MAX_SIZE in kernel/bpf/btf.c

MISSING_HINT = "Compile with -g."


def read_btf(draft: Draft) -> None:
    """Read .BTF and .BTF.ext. What is malformed there is an error only if the object can't do without."""
    section = draft.btf_section
    if section is None:
        if draft.needs_btf:
            what = "maps in .maps are" if draft.maps is not None else "struct_ops variables are"
            draft.fail(f"{what} described by BTF, and there is no .BTF section", ENOENT, hint=MISSING_HINT)
        return
    spec = draft.spec
    try:
        if section.size > MAX_BTF_SIZE:
            draft.fail(f"{section.size} bytes are more than the kernel takes", E2BIG, section=section.label)
        btf = Btf.parse(draft.elf.content(section), name=draft.elf.name)
        btf.validate()
        check_names(btf)
        btf.pointer_size_override = 8
        spec.btf = btf
        index_types(draft, btf)
        if draft.btf_ext_section is not None:
            spec.btf_ext = parse_btf_ext(draft.elf.content(draft.btf_ext_section), btf, draft.elf.name)
    except FormatError as error:
        if draft.needs_btf:
            raise
        spec.warnings.append(f"ignored: {error}")


def check_names(btf: Btf) -> None:
    """Raise FormatError if the names of all types and members are too long together, since two may share the same bytes.

    Most BTF can't have too long ones, which is quickly seen.
    """
    strings = btf.own_strings.split(b"\0")
    longest = max(map(len, strings))
    slots = len(btf.words) // 2
    if longest * slots <= MAX_NAMES:
        return
    from bisect import bisect_left
    from itertools import accumulate

    ends = list(accumulate([len(text) + 1 for text in strings[:-1]], initial=-1))
    total = 0
    for offset in _name_offsets(btf):
        total += ends[bisect_left(ends, offset)] - offset
        if total > MAX_NAMES:
            raise FormatError("the names of the types are too long", file=btf.name, section=".BTF", errno_code=E2BIG)


def _name_offsets(btf: Btf) -> Iterator[int]:
    """Yield the string offsets of the names of all types and members."""
    words = btf.words
    for at in btf.starts:
        yield words[at - 1]
        info = words[at]
        width = _NAMED_ROWS.get(info >> 24 & 31)
        if width:
            start = at + 2
            yield from words[start : start + width * (info & 0xFFFF)][::width]


def index_types(draft: Draft, btf: Btf) -> None:
    """Note the ids of types by kind, once for all passes."""
    words = btf.words
    types: dict[int, list[int]] = {}
    for type_id, at in enumerate(btf.starts, 1):
        kind = words[at] >> 24 & 31
        found = types.get(kind)
        if found is None:
            types[kind] = [type_id]
        else:
            found.append(type_id)
    draft.types = types


def parse_btf_ext(data: bytes, btf: Btf, file: str = "") -> BtfExt:
    """Split .BTF.ext into the records of each section. Raises FormatError."""
    size = len(data)
    if size < 8:
        _fail(file, "no header")
    magic, version, flags, header_size = unpack_from("<HBBI", data)
    if header_size > size:
        _fail(file, f"a header of {header_size} bytes in {size}")
    if magic != MAGIC:
        _fail(file, f"magic {magic:#x} instead of {MAGIC:#x}", ENOTSUP if magic == 0x9FEB else EINVAL)
    if version != 1 or flags:
        _fail(file, f"version {version} with flags {flags:#x} is not supported", ENOTSUP)
    if header_size == size:
        _fail(file, "nothing but a header")
    if header_size < _HEADER_WITHOUT_CORE:
        _fail(file, f"a header of {header_size} bytes")
    found = BtfExt()
    parts = [(8, _FUNC_INFO, found.func_info), (16, _LINE_INFO, found.line_info)]
    if header_size >= _HEADER_WITH_CORE:
        parts.append((24, _CORE_RELO, found.core_relos))
    for at, smallest, sections in parts:
        offset, length = unpack_from("<II", data, at)
        if length:
            if offset % 4:
                _fail(file, "a part is not aligned to 4 bytes", offset=at)
            _split(data, header_size + offset, length, smallest, sections, btf, file)
    return found


def _split(data: bytes, start: int, length: int, smallest: int, sections: dict[str, SectionInfo], btf: Btf, file: str) -> None:
    """Fill `sections` from one part of .BTF.ext: record size, then for each section its name, a count, and the records."""
    end = start + length
    if end > len(data) or length < 4:
        _fail(file, f"a part of {length} bytes runs over the end", offset=start)
    record_size = unpack_from("<I", data, start)[0]
    if record_size < smallest or record_size % 4:
        _fail(file, f"records of {record_size} bytes", offset=start)
    parts: dict[int, list[bytes]] = {}
    at = start + 4
    if at == end:
        _fail(file, "a part without records", offset=start)
    while at < end:
        if end - at < 8:
            _fail(file, "half a section header", offset=at)
        name_offset, count = unpack_from("<II", data, at)
        first = at + 8
        at = first + count * record_size
        if not count or at > end:
            _fail(file, f"{count} records of {record_size} bytes", offset=first - 8)
        parts.setdefault(name_offset, []).append(data[first:at])
    for name_offset, records in parts.items():
        if 0 < name_offset < len(btf.own_strings):  # libbpf takes no notice of the others either
            name = btf.string(name_offset)
            sections[name] = SectionInfo(name, record_size, b"".join(records))


def _fail(file: str, message: str, errno_code: int = EINVAL, *, offset: int | None = None) -> NoReturn:
    raise FormatError(f"malformed: {message}", file=file, section=".BTF.ext", offset=offset, errno_code=errno_code)
