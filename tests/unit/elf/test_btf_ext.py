"""Records of .BTF.ext, and what is refused there."""

from __future__ import annotations

import struct

import pytest

from bpfload.btf.writer import BtfBuilder
from bpfload.elf.btfext import parse_btf_ext
from bpfload.errors import FormatError

BUILDER = BtfBuilder()
XDP = BUILDER.add_string("xdp")
BTF = BUILDER.build()


def part(record_size: int, *sections: tuple[int, int, bytes]) -> bytes:
    return struct.pack("<I", record_size) + b"".join(struct.pack("<II", name, count) + data for name, count, data in sections)


def ext(*parts: bytes, header: bytes = struct.pack("<HBB", 0xEB9F, 1, 0)) -> bytes:
    offsets = b""
    at = 0
    for data in parts:
        offsets += struct.pack("<II", at, len(data))
        at += len(data)
    return header + struct.pack("<I", 8 + len(offsets)) + offsets + b"".join(parts)


FUNC = part(8, (XDP, 2, bytes(range(16))))
LINE = part(16, (XDP, 1, bytes(16)))
CORE = part(16, (XDP, 1, bytes(16)))


def test_three_parts() -> None:
    found = parse_btf_ext(ext(FUNC, LINE, CORE), BTF)
    assert found.func_info["xdp"].data == bytes(range(16))
    assert [found.func_info["xdp"].count, found.line_info["xdp"].count, found.core_relos["xdp"].count] == [2, 1, 1]


def test_without_core_relocations() -> None:
    assert parse_btf_ext(ext(FUNC, LINE), BTF).core_relos == {}


def test_parts_may_be_absent() -> None:
    found = parse_btf_ext(ext(b"", LINE, b""), BTF)
    assert (found.func_info, found.core_relos) == ({}, {})
    assert found.line_info["xdp"].count == 1


def test_unknown_section_names_are_passed_over() -> None:
    assert parse_btf_ext(ext(part(8, (999, 1, bytes(8)), (XDP, 1, bytes(8))), LINE), BTF).func_info["xdp"].count == 1


def test_larger_records_and_a_section_in_two_pieces() -> None:
    found = parse_btf_ext(ext(part(12, (XDP, 1, b"a" * 12), (XDP, 1, b"b" * 12)), LINE), BTF)
    assert found.func_info["xdp"].record_size == 12
    assert found.func_info["xdp"].data == b"a" * 12 + b"b" * 12


@pytest.mark.parametrize(
    ("data", "words", "code"),
    [
        (b"", "no header", 22),
        (b"\x9f\xeb\1\0" + struct.pack("<I", 99), "header of 99", 22),
        (ext(FUNC, LINE, header=b"\xeb\x9f\1\0"), "magic", 95),
        (ext(FUNC, LINE, header=b"ab\1\0"), "magic", 22),
        (ext(FUNC, LINE, header=b"\x9f\xeb\2\0"), "version", 95),
        (ext(), "nothing but", 22),
        (ext(FUNC), "header of 16", 22),
        (ext(b"", part(8, (XDP, 1, bytes(8)))), "records of 8", 22),
        (ext(part(10, (XDP, 1, bytes(10))), LINE), "records of 10", 22),
        (ext(part(8), LINE), "without records", 22),
        (ext(part(8, (XDP, 0, b"")), LINE), "0 records", 22),
        (ext(part(8, (XDP, 3, bytes(16))), LINE), "3 records", 22),
        (ext(part(8, (XDP, 0xFFFFFFFF, bytes(16))), LINE), "4294967295 records", 22),
        (ext(FUNC + b"1234", LINE), "half a section", 22),
        (ext(FUNC, LINE)[:-4], "runs over the end", 22),
        (ext(FUNC + b"12", LINE), "half|aligned", 22),
    ],
)  # fmt: skip
def test_refused(data: bytes, words: str, code: int) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        parse_btf_ext(data, BTF)
    assert caught.value.errno_code == code
    assert caught.value.section == ".BTF.ext"
