"""bpfload.elf.userbinary: functions and static probes of programs and libraries."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload.elf.userbinary import StaticProbe, UserBinary
from bpfload.errors import BpfError, FormatError, NotFoundError
from support.userelf import CODE, DATA, IFUNC, LOCAL, OBJECT, WEAK, Note, Symbol, build

_AT = CODE[1]
_FILE = CODE[0]


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., UserBinary]:
    def write(data: bytes | None = None, **options: object) -> UserBinary:
        path = tmp_path / "program"
        path.write_bytes(build(**options) if data is None else data)  # type: ignore[arg-type]
        return UserBinary(str(path))

    return write


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("table", ["symbols", "dynamic"])
def test_functions_of_either_class_and_order(opened: Callable[..., UserBinary], bits: int, little: bool, table: str) -> None:
    entries = [
        Symbol("first", _AT + 0x10),
        Symbol("second", _AT + 0x20, bind=LOCAL),
        Symbol("datum", DATA[1], OBJECT),
        Symbol("elsewhere", 0, defined=False),
        Symbol("prefirst", _AT + 0x30),
    ]
    with opened(bits=bits, little=little, **{table: entries}) as binary:
        assert (binary.function("first").offset, binary.function("second").offset) == (_FILE + 0x10, _FILE + 0x20)
        assert [each.name for each in binary.matching("*first")] == ["first", "prefirst"]
        assert binary.function_names() == {"first", "second", "prefirst"}
        assert [each.offset for each in binary.functions(("second", "first"))] == [_FILE + 0x20, _FILE + 0x10]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("firts", "Did you mean first?"),
        ("datum", "has a variable of that name"),
        ("elsewhere", "only calls it"),
        ("chosen", "IFUNC"),
        ("cloned", "Did you mean cloned.part.0?"),
        ("zzzzzzzz", "The compiler may have inlined it. 2 functions are there that it has symbols for."),
    ],
)
def test_a_function_that_is_not_there(opened: Callable[..., UserBinary], name: str, words: str) -> None:
    entries = [
        Symbol("first", _AT + 0x10),
        Symbol("datum", DATA[1], OBJECT),
        Symbol("elsewhere", 0, defined=False),
        Symbol("chosen", _AT + 0x20, IFUNC),
        Symbol("cloned.part.0", _AT + 0x30),
    ]
    with opened(symbols=entries) as binary, pytest.raises(NotFoundError) as caught:
        binary.function(name)
    assert words in str(caught.value)
    assert f"has no function '{name}'" in str(caught.value)


def test_a_stripped_file_says_so(opened: Callable[..., UserBinary]) -> None:
    with opened() as binary, pytest.raises(NotFoundError, match="It was stripped"):
        binary.function("main")
    with opened(dynamic=[Symbol("exported", _AT)]) as binary, pytest.raises(NotFoundError, match="stripped of the others"):
        binary.function("zzzzzzzz")


def test_a_strong_function_is_meant_where_there_are_weak_ones(opened: Callable[..., UserBinary]) -> None:
    weak, strong, other = Symbol("f", _AT + 0x10, bind=WEAK), Symbol("f", _AT + 0x20), Symbol("f", _AT + 0x30)
    with opened(symbols=[weak, strong]) as binary:
        assert binary.function("f").offset == _FILE + 0x20
    with opened(symbols=[weak]) as binary:
        assert binary.function("f").offset == _FILE + 0x10
    with opened(symbols=[strong, other]) as binary, pytest.raises(FormatError, match="2 different functions are called 'f'"):
        binary.function("f")


def test_versions_of_a_function(opened: Callable[..., UserBinary]) -> None:
    old = Symbol("f", _AT + 0x10, version=2 | 0x8000)
    new = Symbol("f", _AT + 0x20, version=3)
    with opened(dynamic=[old, new], versions=("V_1", "V_2")) as binary:
        assert binary.function("f").offset == _FILE + 0x20
        assert binary.function("f@V_1").offset == _FILE + 0x10
        assert binary.function("f@@V_2").offset == _FILE + 0x20
        with pytest.raises(NotFoundError):
            binary.function("f@V_3")


def test_where_code_is(opened: Callable[..., UserBinary]) -> None:
    with opened() as binary:
        assert [binary.is_code(at) for at in (0, _FILE, _FILE + CODE[2] - 1, DATA[0])] == [False, True, True, False]
        assert (binary.offset_of(DATA[1] + 4), binary.offset_of(4)) == (DATA[0] + 4, None)
        assert binary.is_shared
    with opened(shared=False) as binary:
        assert not binary.is_shared


# Static probes


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("little", [True, False])
def test_static_probes(opened: Callable[..., UserBinary], bits: int, little: bool) -> None:
    notes = [
        Note("app", "start", "-4@%eax 8@$1", _AT + 0x10),
        Note("app", "start", "", _AT + 0x20, semaphore=DATA[1] + 8),
        Note("app", "colon", ":", _AT + 0x30),
    ]
    with opened(bits=bits, little=little, notes=notes) as binary:
        assert binary.static_probes() == [
            StaticProbe("app", "start", "-4@%eax 8@$1", _AT + 0x10, _FILE + 0x10),
            StaticProbe("app", "start", "", _AT + 0x20, _FILE + 0x20, DATA[0] + 8),
            StaticProbe("app", "colon", "", _AT + 0x30, _FILE + 0x30),
        ]
    with opened(bits=bits, little=little) as binary:
        assert binary.static_probes() == []


def test_prelinking_moves_what_the_notes_say(opened: Callable[..., UserBinary]) -> None:
    moved = 0x1000
    note = Note("app", "start", "", _AT + 0x10 - moved, base=0x500000, semaphore=DATA[1] + 8 - moved)
    with opened(notes=[note], base=0x500000 + moved) as binary:
        (probe,) = binary.static_probes()
        assert (probe.offset, probe.semaphore) == (_FILE + 0x10, DATA[0] + 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"notes": [Note("app", "start", "", DATA[1])]}, "is in no code"),
        ({"notes": [Note("app", "start", "", 4)]}, "is in no code"),
        ({"notes": [Note("app", "start", semaphore=CODE[1])]}, "is in no data"),
        ({"note_bytes": b"\x08\0\0\0\xff\xff\xff\xff\x03\0\0\0stapsdt\0"}, "longer than its section"),
        ({"note_bytes": b"\x04\0\0\0\0\0\0\0\x03\0\0\0GNU\0"}, "none of a static probe"),
        ({"note_bytes": b"\x08\0\0\0\x08\0\0\0\x03\0\0\0stapsdt\0" + bytes(8)}, "incomplete"),
        ({"notes": [Note("app", "")]}, "incomplete"),
    ],
)
def test_broken_notes(opened: Callable[..., UserBinary], options: dict[str, object], words: str) -> None:
    with opened(**options) as binary, pytest.raises(FormatError, match=words) as caught:
        binary.static_probes()
    assert caught.value.section == ".note.stapsdt"


# Files that are something else, or broken


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an ELF file"),
        (b"#!/bin/sh\n", "not a script|not an ELF file"),
        (b"\x7fELF", "malformed ELF header"),
        (b"\x7fELF" + bytes(60), "malformed ELF header"),
        (build()[:40], "is not in the file"),
        (build()[:16] + b"\1\0" + build()[18:], "neither a program nor a shared library"),
    ],
)
def test_what_is_no_program(opened: Callable[..., UserBinary], data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        opened(data)


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No such file"):
        UserBinary(str(tmp_path / "nothing"))
    with pytest.raises(FormatError, match="Is a directory"):
        UserBinary(str(tmp_path))


def test_any_damage_is_a_format_error_or_no_damage(opened: Callable[..., UserBinary]) -> None:
    entries = [Symbol("first", _AT + 0x10), Symbol("second", _AT + 0x20, version=2)]
    notes = [Note("app", "start", "-4@%eax", semaphore=DATA[1])]
    good = build(symbols=entries, dynamic=entries, versions=("V_1",), notes=notes, base=DATA[1])
    tables = [*range(176), *range(DATA[0] + DATA[2], len(good))]
    chance = random.Random(1)
    for _ in range(250):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            data[chance.choice(tables)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        for use in (
            lambda binary: binary.function("second@V_1"),
            lambda binary: binary.matching("*"),
            lambda binary: binary.function("zzz"),
            lambda binary: binary.static_probes(),
        ):
            try:
                with opened(bytes(data[: chance.choice((len(data), len(data), 3000))])) as binary:
                    use(binary)
            except BpfError:
                continue
