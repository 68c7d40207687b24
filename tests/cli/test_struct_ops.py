"""`bpfload struct_ops`: registered for good or by a pinned link, taken out; all of an object's tables or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import DATA, HELLO
from support.process import Result

pytestmark = [pytest.mark.needs_root, pytest.mark.usefixtures("nothing_left_behind")]

REGISTERED, CONGESTION = DATA / "registered.bpf.o", DATA / "congestion.bpf.o"
Command = Callable[..., Result]
registering = pytest.mark.needs_feature("struct_ops", "struct_ops_link")


def available() -> set[str]:
    return set(Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split())


@registering
def test_a_link_is_pinned_in_the_directory(bpfload: Command, bpffs: Path) -> None:
    done = bpfload("struct_ops", "register", CONGESTION, bpffs / "links")
    assert done.stderr.startswith("Registered tcp_congestion_ops lookable map id ")
    assert "lookable" in available()
    (row,) = bpfload("-j", "struct_ops", "show", "name", "lookable").json()[-1:]
    link = bpfload("-j", "link", "show", "pinned", bpffs / "links" / "lookable").json()
    assert (link["type"], link["map_id"]) == ("struct_ops", row["id"])
    refused = bpfload("struct_ops", "unregister", "id", row["id"], check=False)
    assert refused.status == 1
    assert "bpfload link detach ends it" in refused.stderr
    bpfload("link", "detach", "id", link["id"])
    assert "lookable" not in available()
    (bpffs / "links" / "lookable").unlink()
    assert bpfload("-j", "struct_ops", "register", CONGESTION, bpffs / "links").json() is None
    (bpffs / "links" / "lookable").unlink()


@registering
def test_without_a_directory_a_link_does_not_last(bpfload: Command) -> None:
    done = bpfload("struct_ops", "register", CONGESTION)
    assert "Note: that link ends with this command" in done.stderr


@registering
def test_all_or_nothing(bpfload: Command, bpffs: Path) -> None:
    """Two tables of one name: the second is refused, and neither it nor what came before stays."""
    done = bpfload("struct_ops", "register", REGISTERED, bpffs / "links", check=False)
    assert done.status == 1
    assert "has one of that name already" in done.stderr
    assert not {"alone", "linked"} & available()
    assert list((bpffs / "links").iterdir()) == []


def test_mistakes(bpfload: Command, bpffs: Path) -> None:
    for words, said in (
        (("register", HELLO), "there is no struct_ops map in it"),
        (("register",), "the object file is missing"),
        (("register", CONGESTION, "/tmp"), "/tmp is not on a BPF file system"),
        (("show", "name", "nope"), "no struct_ops map has the name 'nope'"),
        (("show", "id", "x"), "'x' is not an id"),
        (("unregister",), "a way to name a struct_ops map"),
    ):
        done = bpfload("struct_ops", *words, check=False)
        assert done.status
        assert said in done.stderr
        assert "Traceback" not in done.stderr
