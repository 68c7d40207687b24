"""struct_ops: a TCP congestion control registered with a link and without, updated, taken out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.elf import read
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.load import LoadOptions, Object, load
from bpfload.objects import Link
from support.paths import DATA

pytestmark = [pytest.mark.usefixtures("nothing_left_behind"), pytest.mark.needs_feature("struct_ops", "struct_ops_link")]

_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def available() -> set[str]:
    return set(_AVAILABLE.read_text().split())


@pytest.fixture
def live() -> Iterator[Object]:
    with load(read(str(DATA / "registered.bpf.o")), LoadOptions()) as loaded:
        yield loaded


def test_registered_by_a_link(live: Object, bpffs: Path, attached_kinds: list[str]) -> None:
    table = live.map("first")
    with live.attach_struct_ops("first") as link:
        info = link.info()
        assert (info.type, info.number("map_id"), info.prog_id) == (consts.BPF_LINK_TYPE_STRUCT_OPS, table.info().id, 0)
        assert "linked" in available()
        with pytest.raises(KernelError) as twice:
            live.attach_struct_ops("second")
        assert twice.value.errno == errno.EEXIST
        assert "has one of that name already" in twice.value.hint
        link.pin(bpffs / "link")
    assert "linked" in available()
    with Link.from_pin(bpffs / "link") as again:
        assert again.info() == info
        again.detach()
        assert "linked" not in available()
    (bpffs / "link").unlink()
    attached_kinds.append("struct_ops")


def test_a_link_is_updated_with_another_map(live: Object) -> None:
    with live.attach_struct_ops("first") as link:
        second = live.struct_ops_map("second")
        link.update(second)
        assert link.info().number("map_id") == second.info().id
        with pytest.raises(KernelError) as changed:
            link.update(live.map("first"), old=live.map("first"))
        assert changed.value.errno == errno.EPERM
        # The kernel would break its list of congestion controls: it isn't asked.
        link.update(second)
        link.update(second, old=second)
        with pytest.raises(KernelError, match="registered by this link already"):
            link.update(second, old=live.map("first"))
        link.update(live.map("first"), old=second)
        assert link.info().number("map_id") == live.map("first").info().id
        assert "linked" in available()
    assert "linked" not in available()


def test_registered_without_a_link(live: Object, tmp_path: Path, attached_kinds: list[str]) -> None:
    with live.attach_struct_ops("alone") as registration:
        assert "alone" in available()
        assert registration.info().number("map_id") == live.map("alone").info().id
        for refused in (registration.pin, registration.update):
            with pytest.raises(NotSupportedError) as caught:
                refused(tmp_path / "pin")  # type: ignore[arg-type]
            assert caught.value.hint
        registration.detach()
        assert "alone" not in available()
        with pytest.raises(KernelError) as gone:
            registration.detach()
        assert "isn't registered now" in gone.value.hint
    with pytest.raises(KernelError) as again:
        live.attach_struct_ops("alone")
    assert "load the object again" in again.value.hint
    attached_kinds.append("struct_ops without link")


def test_it_goes_with_its_registration_unless_it_is_kept(live: Object) -> None:
    from bpfload.links.struct_ops import unregister

    registration = live.attach_struct_ops("alone")
    registration.keep()
    registration.close()
    assert "alone" in available()
    unregister(live.map("alone"))
    assert "alone" not in available()
    with load(read(str(DATA / "registered.bpf.o"))) as other:
        with other.attach_struct_ops("alone"):
            assert "alone" in available()
        assert "alone" not in available()
        with other.attach_struct_ops("first"), pytest.raises(NotSupportedError, match="other than its link"):
            unregister(other.map("first"))


def test_what_is_asked_for_is_there(live: Object) -> None:
    with pytest.raises(NotFoundError, match="no struct_ops map 'frist' is loaded; there are: alone, first, second"):
        live.attach_struct_ops("frist")
    with pytest.raises(NotFoundError):
        live.attach_struct_ops()
    with pytest.raises(UsageError, match="'alone' is registered without a link"):
        live.struct_ops_map("alone")
