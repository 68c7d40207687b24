"""What the README shows is what happens."""

from __future__ import annotations

import re

import pytest

import bpfload
from support.namespaces import VethPair
from support.paths import REPO, SAMPLES

_README = (REPO / "README.md").read_text()


def test_load_is_a_function_however_it_was_imported() -> None:
    from bpfload.load import load

    for _ in range(2):
        assert callable(bpfload.load)
    with pytest.raises(bpfload.BpfError):
        bpfload.load(SAMPLES / "no such file")
    with pytest.raises(bpfload.BpfError):
        load(SAMPLES / "no such file")


@pytest.mark.needs_root
@pytest.mark.needs_feature("xdp_link", "veth")
def test_the_library_in_ten_lines(veth: VethPair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)
    assert len(code.splitlines()) <= 12
    monkeypatch.chdir(REPO)
    exec(code.replace('"eth0"', f'"{veth.device}"').replace("time.sleep(1)", "send()"), {"send": lambda: veth.send(3)})
    assert capsys.readouterr().out == "counted up to 103\n"


def test_the_events_are_the_samples() -> None:
    _, code = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)
    sample = (SAMPLES / "exec-events" / "run.py").read_text()
    assert sample.endswith(code)
    body = [line for line in code.splitlines() if line and not line.startswith("import")]
    assert len(body) <= 10


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", _README)) <= targets
