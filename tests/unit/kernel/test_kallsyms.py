"""The kernel's symbols, from made-up lines."""

from __future__ import annotations

from bpfload.kernel.kallsyms import Kallsyms

TEXT = b"""\
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000010 t twice
ffffffff81000020 T __bpf_call_base
ffffffff81000030 D data
ffffffffc0000000 t twice\t[module]
ffffffffc0000010 t bpf_prog_1234_x\t[bpf]
"""


def test_by_name() -> None:
    symbols = Kallsyms(TEXT)
    assert symbols.address("data") == 0xFFFFFFFF81000030
    assert symbols.address("dat") == 0
    assert symbols.address("ata") == 0
    assert symbols.entries("twice") == [("t", 0xFFFFFFFF81000010, ""), ("t", 0xFFFFFFFFC0000000, "module")]
    assert not symbols.hidden


def test_by_address() -> None:
    symbols = Kallsyms(TEXT)
    assert symbols.find(0xFFFFFFFFC0000010) == ("bpf_prog_1234_x", "bpf")
    assert symbols.find(0xFFFFFFFF81000030) == ("data", "")
    assert symbols.find(0xFFFFFFFF81000031) is None
    assert symbols.find(0) is None
    assert symbols.names(0xFFFFFFFF81000000) == [("_stext", ""), ("_text", "")]


def test_of_several_the_one_a_binary_search_meets() -> None:
    assert Kallsyms(TEXT).find(0xFFFFFFFF81000000) == ("_text", "")


def test_hidden_addresses_and_no_symbols_at_all() -> None:
    hidden = Kallsyms(b"0000000000000000 T __bpf_call_base\n0000000000000000 T x\n")
    assert hidden.hidden
    assert hidden.find(0) is None
    assert Kallsyms(b"").find(5) is None
    assert Kallsyms(b"").hidden


def test_32_bit_addresses() -> None:
    assert Kallsyms(b"c0008000 T _stext\nc0008010 T next\n").find(0xC0008010) == ("next", "")
