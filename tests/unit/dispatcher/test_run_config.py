"""bpfload.dispatcher.run_config: what XDP_RUN_CONFIG() leaves in an object's BTF."""

from __future__ import annotations

import pytest

from bpfload.btf import Btf
from bpfload.btf.writer import BtfBuilder
from bpfload.dispatcher.protocol import Slot
from bpfload.dispatcher.run_config import run_config
from bpfload.elf import read
from bpfload.errors import FormatError
from support.paths import DATA, HELLO


def built(members: dict[str, int], *, plain: bool = False) -> Btf:
    builder = BtfBuilder()
    number = builder.add_int("int", 4, 1)
    rows = []
    for place, (name, value) in enumerate(members.items()):
        member = number if plain else builder.add_pointer(builder.add_array(number, value, number))
        rows.append((name, member, 64 * place))
    size = 8 * len(rows)
    variable = builder.add_var("_hello", builder.add_struct("", size, rows))
    builder.add_datasec(".xdp_run_config", size, [(variable, 0, size)])
    return builder.build("hello.bpf.o")


@pytest.mark.parametrize(
    ("program", "slot"),
    [("early_program_with_a_long_name", Slot(10, 0b110)), ("late", Slot(90, 0)), ("plain", Slot(50, 0b100))],
)
def test_what_a_compiler_made(program: str, slot: Slot) -> None:
    assert run_config(read(DATA / "chained.bpf.o").btf, program) == slot


def test_an_object_that_says_nothing() -> None:
    assert run_config(read(HELLO).btf, "hello") == Slot(50, 0b100)
    assert run_config(None, "hello") == Slot()


def test_a_member_alone_leaves_the_rest_as_it_is() -> None:
    assert run_config(built({"priority": 7}), "hello") == Slot(7, 0b100)
    assert run_config(built({"XDP_TX": 1}), "hello") == Slot(50, 0b1100)
    assert run_config(built({"XDP_PASS": 0}), "hello") == Slot(50, 0)
    assert run_config(built({"XDP_PASS": 0}), "other") == Slot()


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(FormatError, match="has a member 'XDP_PAST'; there can be priority, XDP_ABORTED"):
        run_config(built({"XDP_PAST": 1}), "hello")
    with pytest.raises(FormatError, match=r"hello.priority is no number") as caught:
        run_config(built({"priority": 1}, plain=True), "hello")
    assert "__uint(priority, 10)" in caught.value.hint
    builder = BtfBuilder()
    variable = builder.add_var("_hello", builder.add_int("int", 4, 1))
    builder.add_datasec(".xdp_run_config", 4, [(variable, 0, 4)])
    with pytest.raises(FormatError, match="the run configuration of 'hello' is no struct"):
        run_config(builder.build(), "hello")
