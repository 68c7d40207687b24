"""Types as they stand in the file, as text and JSON; what bpftool prints of whole files is in tests/conformance."""

from __future__ import annotations

import json

import pytest

from bpfload.btf import Btf
from bpfload.btf.rawdump import raw_json, raw_text
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError


def test_names_that_json_can_not_have_as_they_are() -> None:
    builder = BtfBuilder()
    builder.add_struct('a"b\\c\n', 0)
    builder.add_fwd("")
    for indented in (False, True):
        found = json.loads("".join(raw_json(builder.build(), indented=indented)))
        assert [row["name"] for row in found["types"]] == ['a"b\\c\n', "(anon)"]


def test_names_outside_the_strings_are_said_to_be_invalid() -> None:
    builder = BtfBuilder()
    builder.add_typedef("name", 0)
    raw = bytearray(builder.bytes())
    raw[24:28] = (4000).to_bytes(4, "little")
    assert "".join(raw_text(Btf.parse(bytes(raw)))) == "[1] TYPEDEF '(invalid)' type_id=0\n"


def test_a_name_may_be_the_end_of_another() -> None:
    builder = BtfBuilder()
    builder.add_typedef("size_t", 0)
    raw = bytearray(builder.bytes())
    raw[24] += 5
    assert "".join(raw_text(Btf.parse(bytes(raw)))) == "[1] TYPEDEF 't' type_id=0\n"


def test_numbers_keep_their_sign() -> None:
    builder = BtfBuilder()
    builder.add_enum("e", [("LOW", -1)])
    builder.add_enum("u", [("HIGH", 0xFFFFFFFF)])
    builder.add_enum64("w", [("FAR", -1)])
    builder.add_decl_tag("tag", 1)
    btf = builder.build()
    assert "".join(raw_text(btf)).splitlines() == [
        "[1] ENUM 'e' encoding=SIGNED size=4 vlen=1",
        "\t'LOW' val=-1",
        "[2] ENUM 'u' encoding=UNSIGNED size=4 vlen=1",
        "\t'HIGH' val=4294967295",
        "[3] ENUM64 'w' encoding=SIGNED size=8 vlen=1",
        "\t'FAR' val=-1LL",
        "[4] DECL_TAG 'tag' type_id=1 component_idx=-1",
    ]
    values = [row["values"][0]["val"] for row in json.loads("".join(raw_json(btf)))["types"][:3]]
    assert values == [-1, 0xFFFFFFFF, -1]


def test_variables_of_a_section_are_named_in_the_text() -> None:
    builder = BtfBuilder()
    variable = builder.add_var("counter", builder.add_int("int", 4, 1))
    builder.add_datasec(".bss", 4, [(variable, 0, 4), (99, 4, 4)])
    assert "".join(raw_text(builder.build(), [3])) == (
        "[3] DATASEC '.bss' size=0 vlen=2\n\ttype_id=2 offset=0 size=4 (VAR 'counter')\n\ttype_id=99 offset=4 size=4\n"
    ).replace("size=0", "size=4")


def test_void_and_roots_that_are_not_there() -> None:
    btf = BtfBuilder().build()
    assert "".join(raw_text(btf, [0])) == "[0] UNKNOWN '(anon)'\n"
    assert json.loads("".join(raw_json(btf))) == {"types": []}
    with pytest.raises(FormatError, match="type id 7 doesn't exist"):
        list(raw_text(btf, [7]))
