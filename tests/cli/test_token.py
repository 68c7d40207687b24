"""`bpfload token`: what mounted bpffs delegate, in bpftool's form (its command came with bpftool 7.6: no peer in Debian 12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import system
from support.process import Result

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_feature("token", since="6.9")]

_OPTIONS = "delegate_cmds=prog_load:map_create:btf_load:link_create:map_freeze,delegate_maps=any,delegate_progs=xdp:kprobe"


@pytest.fixture
def delegating(private_mounts: None, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "with a blank"
    path.mkdir()
    system.mount("bpf", path, "bpf", 0, _OPTIONS)
    yield path
    system.umount(path)


def test_a_bpffs_that_delegates(delegating: Path, bpfload: Callable[..., Result]) -> None:
    (shown,) = [row for row in bpfload("-j", "token", "list").json() if row["token_info"] == str(delegating)]
    assert sorted(shown["allowed_cmds"]) == ["btf_load", "link_create", "map_create", "map_freeze", "prog_load"]
    assert shown["allowed_maps"] == ["any"]
    assert sorted(shown["allowed_progs"]) == ["kprobe", "xdp"]
    assert shown["allowed_attachs"] == []
    text = bpfload("token", "show").stdout
    columns = "".join(f"{name:<20}" for name in shown["allowed_cmds"][:4])
    rest = f"{shown['allowed_cmds'][4]:<20}"
    assert f"token_info  {delegating}\n\tallowed_cmds:\n\t  {columns}\n\t  {rest}\n\tallowed_maps:\n\t  {'any':<20}\n" in text
    assert text.endswith("\n\tallowed_attachs:\n")


def test_a_bpffs_that_does_not(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    assert str(bpffs) not in bpfload("token").stdout
    assert bpfload("-j", "token", "help").json() is None
    assert bpfload("token", "show", "x", check=False).status == 2
