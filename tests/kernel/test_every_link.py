"""One test over every kind of attachment: attach, info, update, pin, reopen, detach, gone. The table: support.link_kinds."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from bpfload.errors import BpfError, KernelError, NotFoundError, NotSupportedError, PinError
from bpfload.links import Target
from bpfload.objects import Link, Program
from bpfload.objects.attachment import Attachment
from bpfload.objects.link_info import LinkInfo
from bpfload.spec import ProgramSpec
from support import process
from support.features import FEATURES, why_missing
from support.link_kinds import KINDS, Kind, Place

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


def _rows() -> list[object]:
    return [pytest.param(kind, id=kind.name, marks=[pytest.mark.needs_feature(*kind.needs)]) for kind in KINDS]


@pytest.fixture
def place(request: pytest.FixtureRequest, nothing_left_behind: None) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(request, stack)


def test_the_table_names_each_kind_once_and_features_that_are_known() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names)
    assert {need for kind in KINDS for need in kind.needs} <= set(FEATURES)


@pytest.mark.parametrize("kind", _rows())
def test_every_kind_of_attachment(place: Place, kind: Kind, attached_kinds: list[str]) -> None:
    spec, other_spec = kind.spec("first"), kind.spec("second")
    program, other = kind.load(place, spec), kind.load(place, other_spec)
    with kind.attach(program, spec, kind.target(place)) as attachment:
        target = kind.target(place)
        _told(kind, place, target, attachment, program)
        _updated(kind, place, target, attachment, program, other)
        if kind.is_link:
            _pinned_and_opened(place, attachment)
        else:
            with pytest.raises(NotSupportedError) as refused:
                attachment.pin(place.bpffs / "pin")
            assert refused.value.hint
            assert not (place.bpffs / "pin").exists()
        _detached(kind, place, target, attachment)
    _gone_with_its_holder(kind, place, program, spec)
    if not kind.is_link:
        _kept(kind, place, program, spec)
    attached_kinds.append(kind.name)


def _told(kind: Kind, place: Place, target: Target, attachment: Attachment, program: Program) -> None:
    """What info() says, and what others see."""
    info = attachment.info(arrays=True)
    assert (info.type, info.prog_id) == (kind.link_type, program.info().id)
    assert bool(info.id) == kind.is_link
    wanted = kind.fields(place, target)
    assert {name: info.fields.get(name) for name in wanted} == wanted
    if kind.seen:
        assert kind.seen(place, target) == [program.info().id]
    if kind.is_link and process.bpftool_command():
        _as_bpftool_tells(info)


def _as_bpftool_tells(info: LinkInfo) -> None:
    """bpftool's view of the same link, as far as it has one: its words for types and hooks are compared elsewhere."""
    # Its exit status tells of other links too: of one that is half made, which can't be opened.
    told = process.bpftool("-j", "link", "show", "id", info.id, check=False).json()
    shared = {name: value for name, value in info.fields.items() if isinstance(value, int) and isinstance(told.get(name), int)}
    assert (told["id"], told["prog_id"]) == (info.id, info.prog_id)
    assert {name: told[name] for name in shared} == shared


def _updated(kind: Kind, place: Place, target: Target, attachment: Attachment, program: Program, other: Program) -> None:
    """Another program in its place, and back: unconditionally, and only instead of the right one."""
    present = program
    if kind.update:
        attachment.update(other)
        assert attachment.info().prog_id == other.info().id
        attachment.update(program, old=other)
        assert attachment.info().prog_id == program.info().id
        with pytest.raises(BpfError) as wrong:
            attachment.update(other, old=other)
        assert str(wrong.value)
    else:
        with pytest.raises(NotSupportedError) as refused:
            attachment.update(other)
        assert "updat" in refused.value.message
        assert refused.value.hint
    assert attachment.info().prog_id == present.info().id
    if kind.seen:
        assert kind.seen(place, target) == [present.info().id]


def _pinned_and_opened(place: Place, attachment: Attachment) -> None:
    path = place.bpffs / "pin"
    attachment.pin(path)
    with Link.from_pin(path) as again:
        assert again.info(arrays=True) == attachment.info(arrays=True)
    path.unlink()
    with pytest.raises(PinError):
        Link.from_pin(path)
    with pytest.raises(NotSupportedError) as refused:
        attachment.keep()
    assert "pin it" in refused.value.hint


def _detached(kind: Kind, place: Place, target: Target, attachment: Attachment) -> None:
    if kind.detach:
        attachment.detach()
        if kind.seen:
            assert kind.seen(place, target) == []
    else:
        with pytest.raises(NotSupportedError) as refused:
            attachment.detach()
        assert "detach" in refused.value.message
        assert refused.value.hint


def _gone_with_its_holder(kind: Kind, place: Place, program: Program, spec: ProgramSpec) -> None:
    """A place that is free again can be taken again; `with` gives it back, and a pin keeps a link."""
    target = kind.target(place)
    if kind.again and why_missing(kind.again):
        _only_once(kind, place, program, spec)
        program = kind.load(place, spec)
    with _attached_again(kind, place, program, spec) as attachment:
        ident = attachment.info().id
        if kind.seen:
            assert kind.seen(place, target) == [program.info().id]
    if kind.seen:
        assert kind.seen(place, target) == []
    if kind.is_link:
        with pytest.raises(NotFoundError):
            Link.from_id(ident)
        if kind.again and why_missing(kind.again):
            program = kind.load(place, spec)
        _held_by_a_pin(kind, place, program, spec)


def _attached_again(kind: Kind, place: Place, program: Program, spec: ProgramSpec) -> Attachment:
    """Attach where a link was that had been pinned: the kernel frees what a pin held a little later."""
    for _ in range(200):
        try:
            return kind.attach(program, spec, kind.target(place))
        except KernelError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY) or not kind.is_link:
                raise
        time.sleep(0.02)
    pytest.fail("the place isn't free again")


def _only_once(kind: Kind, place: Place, program: Program, spec: ProgramSpec) -> None:
    with pytest.raises(KernelError) as refused:
        kind.attach(program, spec, kind.target(place))
    assert "Load it again" in refused.value.hint


def _held_by_a_pin(kind: Kind, place: Place, program: Program, spec: ProgramSpec) -> None:
    """A link that is pinned outlives its holder, and ends with the pin."""
    path = place.bpffs / "holder"
    with kind.attach(program, spec, kind.target(place)) as attachment:
        ident = attachment.info().id
        attachment.pin(path)
    if kind.seen:
        assert kind.seen(place, kind.target(place)) == [program.info().id]
    path.unlink()
    # The kernel frees what a pin held a little later: first the id, then the place at the hook.
    _soon(lambda: not _exists(ident))
    if kind.seen:
        _soon(lambda: kind.seen is not None and kind.seen(place, kind.target(place)) == [])


def _exists(ident: int) -> bool:
    try:
        Link.from_id(ident).close()
    except NotFoundError:
        return False
    return True


def _soon(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.02)
    pytest.fail("the link is still there")


def _kept(kind: Kind, place: Place, program: Program, spec: ProgramSpec) -> None:
    """What is no link stays if it is told to, and can be found again to be taken off; a perf event ends with its holder."""
    attachment = kind.attach(program, spec, kind.target(place))
    if not kind.keep:
        with attachment, pytest.raises(NotSupportedError) as refused:
            attachment.keep()
        assert refused.value.hint
        return
    attachment.keep()
    attachment.close()
    if kind.seen:
        assert kind.seen(place, kind.target(place)) == [program.info().id]
    again = kind.find(program, spec, kind.target(place))
    assert again is not None
    assert again.info().prog_id == program.info().id
    again.close()
    if kind.seen:
        assert kind.seen(place, kind.target(place)) == []
