"""Which types and members are in network byte order, and addresses as text."""

from __future__ import annotations

import pytest

from bpfload.btf.encode import encode
from bpfload.btf.network import IPV4, IPV6, MAC, NUMBER, Network, address_bytes, address_text, prefix_bytes, prefix_text
from bpfload.btf.values import Decoder
from bpfload.btf.writer import BtfBuilder

builder = BtfBuilder(little_endian=True)
U8, U16, U32 = (builder.add_int(name, size) for name, size in (("unsigned char", 1), ("u16", 2), ("u32", 4)))
BE16, BE32 = builder.add_typedef("__be16", U16), builder.add_const(builder.add_typedef("__be32", U32))
IN_ADDR = builder.add_struct("in_addr", 4, [("s_addr", BE32, 0)])
BYTES = {size: builder.add_array(U8, size, U32) for size in (4, 6, 16)}
CHARS = builder.add_array(builder.add_int("char", 1, 1), 16, U32)
FLOW = builder.add_struct("flow", 12, [("saddr", U32, 0), ("sport", U16, 32), ("dport", BE16, 48), ("mac", BYTES[4], 64)])
BTF = builder.build()


@pytest.mark.parametrize(
    ("type_id", "name", "plain", "readable", "asked"),
    [
        (BE16, "x", NUMBER, NUMBER, NUMBER),
        (BE32, "x", NUMBER, IPV4, IPV4),
        (BE32, "local_port", NUMBER, NUMBER, NUMBER),
        (U32, "x", "", "", IPV4),
        (U32, "saddr", "", IPV4, IPV4),
        (U32, "remote_ip4", "", IPV4, IPV4),
        (U32, "chip", "", "", IPV4),
        (U32, "addresses", "", "", IPV4),
        (U16, "sport", "", "", NUMBER),
        (U8, "ip", "", "", ""),
        (IN_ADDR, "x", "", IPV4, IPV4),
        (BYTES[6], "h_source", "", MAC, MAC),
        (BYTES[6], "x", "", "", MAC),
        (BYTES[16], "daddr", "", IPV6, IPV6),
        (CHARS, "addr", "", "", ""),
        (FLOW, "ip", "", "", ""),
    ],
)
def test_kinds(type_id: int, name: str, plain: str, readable: str, asked: str) -> None:
    assert Network().kind(BTF, type_id, name) == plain
    assert Network(addresses=True).kind(BTF, type_id, name) == readable
    assert Network(names=[name]).kind(BTF, type_id, name) == asked


def test_there_and_back() -> None:
    network = Network(addresses=True)
    value = {"saddr": "192.0.2.1", "sport": 0x1234, "dport": 443, "mac": [1, 2, 3, 4]}
    raw = encode(BTF, FLOW, value, network=network)
    assert raw == bytes((192, 0, 2, 1, 0x34, 0x12, 1, 187, 1, 2, 3, 4))
    assert Decoder(BTF, network=network).decode(FLOW, raw) == value
    # Without, numbers are the machine's, and the text of an address does all the same.
    assert Decoder(BTF).decode(FLOW, raw)["dport"] == 0xBB01
    assert encode(BTF, FLOW, {"saddr": "192.0.2.1", "dport": 443}) == bytes((192, 0, 2, 1, 0, 0, 0xBB, 1, 0, 0, 0, 0))


def test_text_that_looks_like_an_address_stays_text() -> None:
    assert encode(BTF, CHARS, "10.0.0.1") == b"10.0.0.1".ljust(16, b"\0")


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("10.0.0.1", bytes((10, 0, 0, 1))),
        ("fe80::1", bytes.fromhex("fe80" + "00" * 13 + "01")),
        ("00:1b:21:0a:0b:0c", bytes.fromhex("001b210a0b0c")),
    ],
)
def test_addresses(text: str, raw: bytes) -> None:
    assert address_bytes(text, len(raw)) == raw
    assert address_text(raw) == text


@pytest.mark.parametrize(
    ("text", "size"), [("10.0.0", 4), ("10.0.0.256", 4), ("10.0.0.1", 8), ("1:2", 16), ("1.5", 4), ("aa:bb", 6)]
)
def test_no_addresses(text: str, size: int) -> None:
    assert address_bytes(text, size) is None


def test_prefixes() -> None:
    assert prefix_bytes("10.0.0.0/8", 8, "little") == bytes((8, 0, 0, 0, 10, 0, 0, 0))
    assert prefix_text(bytes((8, 0, 0, 0, 10, 0, 0, 0)), "little") == "10.0.0.0/8"
    for text in ("10.0.0.0/33", "10.0.0.0", "x/8", "10.0.0.0/x"):
        assert prefix_bytes(text, 8, "little") is None
    assert prefix_text(bytes(9), "little") is None
