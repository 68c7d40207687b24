"""`bpfload apply`: what it prints and exits with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import HELLO
from support.process import Result

pytestmark = [pytest.mark.usefixtures("nothing_left_behind"), pytest.mark.needs_feature("global_data")]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return tmp_path / "lab.toml"


def test_diff_then_apply_then_nothing(bpfload: Callable[..., Result], bpffs: Path, lab: Path) -> None:
    table = (
        f'name = "lab"\n[object.hello]\nfile = "{HELLO}"\npin = "{bpffs}/hello"\nmaps = "fresh"\n[object.hello.set]\ncounter = '
    )
    lab.write_text(table + "5\n")
    planned = bpfload("apply", lab, "--diff", check=False)
    assert (planned.status, planned.stdout) == (1, f"create   hello  {bpffs}/hello: nothing is pinned there\n")
    assert not (bpffs / "hello").exists()
    assert bpfload("apply", lab).stdout == f"created  hello  {bpffs}/hello: nothing is pinned there\n"
    assert bpfload("apply", lab).stdout == "nothing to do: 1 object is in place\n"
    assert bpfload("apply", "--diff", lab).stdout == "nothing to do: 1 object is in place\n"
    lab.write_text(table + "7\n")
    planned = bpfload("apply", lab, "--diff", "-j", check=False)
    assert planned.status == 1
    change = {"object": "hello", "path": f"{bpffs}/hello", "action": "replace", "reasons": ["counter: 5 → 7"], "done": False}
    assert planned.json() == [change]
    (done,) = bpfload("apply", lab, "-j").json()
    assert done == {**change, "done": True, "pins": [f"{bpffs}/hello"], "kept_maps": [], "notes": []}
    lab.write_text('name = "lab"\n')
    assert bpfload("apply", lab, "--diff", check=False).stdout == f"remove   hello  {bpffs}/hello: no longer declared\n"
    assert bpfload("apply", lab).stdout == f"removed  hello  {bpffs}/hello: no longer declared\n"
    assert bpfload("apply", lab).stdout == "nothing to do: 0 objects are in place\n"


def test_trouble(bpfload: Callable[..., Result], bpffs: Path, lab: Path) -> None:
    lab.write_text(f'name = "lab"\n[object.hello]\nfile = "{HELLO}"\npin = "{bpffs}/hello"\ndevv = "eth0"\n')
    said = f"Error: {lab}, [object.hello]: unknown key 'devv'\nDid you mean dev?\n"
    for words, status in (((lab,), 2), ((lab, "--diff"), 2)):
        result = bpfload("apply", *words, check=False)
        assert (result.status, result.stderr) == (status, said)
    lab.write_text(f'name = "lab"\n[object.hello]\nfile = "{HELLO}"\npin = "{bpffs}/hello"\ndev = "nope"\n')
    failed = bpfload("apply", lab, check=False)
    assert failed.status == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith(f"Error: {lab}, [object.hello]")
    assert "no network device 'nope'" in failed.stderr
    (outcome,) = bpfload("apply", lab, "-j", check=False).json()
    assert "no network device 'nope'" in outcome["error"]
    assert list(bpffs.iterdir()) == []
    lab.write_text('name = "lab"\n[object.hello]\nfile = "nothing.o"\n')
    for words, status in (((lab,), 1), ((lab, "--diff"), 2)):
        result = bpfload("apply", *words, check=False)
        assert result.status == status
        assert "nothing.o: can't be read" in result.stderr
