"""Values of variables from text: every kind of type, paths into a variable, and what is said of what doesn't fit."""

from __future__ import annotations

from typing import Any

import pytest

from bpfload import elf
from bpfload.errors import NotFoundError, UsageError
from bpfload.load.settings import set_values
from bpfload.spec import ObjectSpec
from support.paths import DATA


@pytest.fixture
def spec() -> ObjectSpec:
    return elf.read(DATA / "many-hooks.bpf.o")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("small", "255", 255),
        ("small", "0x10", 16),
        ("number", "-2147483648", -(1 << 31)),
        ("large", "18446744073709551615", (1 << 64) - 1),
        ("flag", "true", True),
        ("flag", "1", True),
        ("action", "LOG", "LOG"),
        ("action", "7", "DROP"),
        ("variable", "9", 9),
        ("text", "hi", "hi"),
        ("text", '"1"', "1"),
        ("text", "", ""),
        ("ports", "[80, 443]", [80, 443, 3]),
        ("ports[2]", "8080", [1, 2, 8080]),
        ("ports[0x1]", "5", [1, 5, 3]),
        ("rule.port", "443", {"port": 443}),
        ("rule.strict", "0", {"strict": 0}),
        ("rule.range.high", "9", {"range": {"low": 1, "high": 9}}),
        ("rule.range", '{"low": 7}', {"range": {"low": 7, "high": 2}}),
        ("rule", '{"action": "PASS", "port": 1}', {"action": "PASS", "port": 1, "strict": 1}),
        ("rules[1].action", "LOG", None),
    ],
)
def test_text_is_read_by_type(spec: ObjectSpec, name: str, text: str, value: Any) -> None:
    set_values(spec, {name: text})
    variable = name.split(".")[0].split("[")[0]
    found = plain(spec.value(variable))
    if value is None:
        assert [plain(each)["action"] for each in found] == ["PASS", "LOG"]
    elif isinstance(value, dict):
        assert {member: found[member] for member in value} == value
        untouched = {"action": "DROP", "port": 80, "strict": 1, "range": {"low": 1, "high": 2}}
        assert all(found[member] == was for member, was in untouched.items() if member not in value)
    else:
        assert found == value


def plain(value: Any) -> Any:
    """Return a value as the test says it: text without what is behind its end, enums as numbers."""
    if isinstance(value, bytes):
        return value.split(b"\0")[0].decode()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


def test_values_that_are_no_text(spec: ObjectSpec) -> None:
    set_values(spec, {"number": -5, "ports": [4, 5, 6], "rule.port": 21, "rules[0]": {"port": 3}})
    assert spec.value("number") == -5
    assert spec.value("ports") == [4, 5, 6]
    assert spec.value("rule")["port"] == 21
    assert spec.value("rules")[0]["port"] == 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("small", "256", "256 is out of range, 0 to 255"),
        ("small", "-1", "-1 is out of range"),
        ("number", "2147483648", "out of range, -2147483648 to 2147483647"),
        ("number", "many", "a number (int) is needed, not 'many'"),
        ("flag", "2", "out of range, 0 to 1"),
        ("action", "FLY", "PASS, DROP, LOG"),
        ("text", "12345678", "text of up to 7 bytes fits, not 8"),
        ("ports", "80", "a list of up to 3 elements"),
        ("ports", "80,443", "a JSON array, such as [1, 2] is needed"),
        ("ports[3]", "1", "the array has 3 elements"),
        ("ports.first", "1", "only structs and unions have members"),
        ("number[0]", "1", "it is no array"),
        ("rule", "80", "mapping of members"),
        ("rule", "port=80", 'a JSON object, such as {"action": 1} is needed'),
        ("rule.port.low", "1", "a bit field"),
        ("rule.port", "4096", "out of range, 0 to 4095"),
        ("rule!", "1", "no global variable"),
    ],
)
def test_what_does_not_fit(spec: ObjectSpec, name: str, text: str, words: str) -> None:
    with pytest.raises((UsageError, NotFoundError)) as caught:
        set_values(spec, {name: text})
    assert words in str(caught.value)


def test_names_that_come_near(spec: ObjectSpec) -> None:
    with pytest.raises(NotFoundError, match="no global variable 'nubmer'") as caught:
        set_values(spec, {"nubmer": "1"})
    assert caught.value.candidates == ("number",)
    with pytest.raises(NotFoundError, match="has no member 'prot'") as member:
        set_values(spec, {"rule.prot": "1"})
    assert member.value.candidates == ("port",)


def test_an_object_without_types() -> None:
    spec = elf.read(DATA / "many-hooks.bpf.o")
    spec.btf = None
    with pytest.raises(UsageError, match="Compile with -g"):
        set_values(spec, {"number": "1"})
