"""Attachments without a link: whom they belong to, on a kernel that is made up here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from bpfload.abi import consts
from bpfload.errors import KernelError, NotSupportedError
from bpfload.links import fallback, xdp_netlink
from bpfload.objects.base import KernelObject
from bpfload.syscall import netlink
from bpfload.syscall.netlink import XdpAttachment


class Device:
    """A device that runs one XDP program, named by the inode of the file that stands for it."""

    def __init__(self, *, compares: bool) -> None:
        self.program: int | None = None
        self.compares = compares
        self.flags: list[int] = []

    def set(self, ifindex: int, prog_fd: int, flags: int, *, expected_fd: int | None = None) -> None:
        if expected_fd is not None:
            if not self.compares:
                raise KernelError("RTM_SETLINK", errno.EINVAL)
            if inode(expected_fd) != self.program:
                raise KernelError("RTM_SETLINK", errno.EEXIST)
        self.program = inode(prog_fd) if prog_fd >= 0 else None
        self.flags.append(flags)

    def attachments(self, ifindex: int) -> list[XdpAttachment]:
        programs = (("driver", self.program),) if self.program else ()
        return [XdpAttachment(ifindex, "eth0", False, programs)]


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


@pytest.fixture
def programs() -> Iterator[list[KernelObject]]:
    made = [KernelObject(os.memfd_create(name)) for name in ("ours", "another", "theirs")]
    yield made
    for each in made:
        each.close()


@pytest.fixture(params=[True, False])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Of a kernel that compares (Linux 5.7), and of one that doesn't."""
    made = Device(compares=request.param)
    monkeypatch.setattr(netlink, "xdp_set", made.set)
    monkeypatch.setattr(netlink, "xdp_attachments", made.attachments)
    monkeypatch.setattr(fallback, "program_id", lambda program: inode(program.fd))
    return made


def attached(device: Device, program: KernelObject) -> xdp_netlink.XdpAttachment:
    device.set(1, program.fd, 0)
    return xdp_netlink.XdpAttachment(program, 1, consts.XDP_FLAGS_DRV_MODE)


def test_update_and_detach(device: Device, programs: list[KernelObject]) -> None:
    ours, another, _ = programs
    attachment = attached(device, ours)
    assert attachment.info().prog_id == inode(ours.fd)
    attachment.update(another, old=ours)
    assert device.program == inode(another.fd)
    with pytest.raises(KernelError, match="EPERM"):
        attachment.update(ours, old=ours)
    attachment.detach()
    assert device.program is None
    attachment.detach()
    attachment.close()
    replaces = [bool(flags & consts.XDP_FLAGS_REPLACE) for flags in device.flags]
    assert replaces == [False, device.compares, device.compares]


def test_what_somebody_else_has_put_there_stays(device: Device, programs: list[KernelObject]) -> None:
    ours, another, theirs = programs
    attachment = attached(device, ours)
    device.set(1, theirs.fd, 0)
    with pytest.raises(KernelError, match="not there any more"):
        attachment.update(another)
    with pytest.raises(KernelError, match="not there any more"):
        attachment.detach()
    attachment.close()
    assert device.program == inode(theirs.fd)


def test_the_end_of_with_takes_it_off_unless_it_is_kept(device: Device, programs: list[KernelObject]) -> None:
    with attached(device, programs[0]):
        pass
    assert device.program is None
    with attached(device, programs[0]) as kept:
        kept.keep()
    assert device.program == inode(programs[0].fd)
    assert kept.closed


def test_it_can_not_be_pinned(device: Device, programs: list[KernelObject]) -> None:
    with attached(device, programs[0]) as attachment:
        with pytest.raises(NotSupportedError, match="only links can be pinned") as caught:
            attachment.pin("/sys/fs/bpf/x")
        assert "keep()" in caught.value.hint
        assert "bpfload net detach xdp dev" in caught.value.hint
