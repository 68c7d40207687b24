"""One dispatcher in another's place: pinned beside it, swapped in by the kernel in one step, the old one taken apart.

A process that is killed on the way leaves the old chain running or the new one, and a directory that isn't needed any more. A
note beside it, an empty directory ``bpfload-IFINDEX-NEW-OLD-NETNS``, tells the next one which two it was about; what the device
runs then says which of them goes. libxdp doesn't look at these notes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from bpfload.abi import consts
from bpfload.dispatcher import protocol
from bpfload.dispatcher.chain import Chain
from bpfload.errors import KernelError
from bpfload.objects import paths
from bpfload.objects.base import KernelObject
from bpfload.objects.link import Link
from bpfload.objects.program import Program
from bpfload.syscall import netlink

#: XDP_FLAGS_* by the names that attaching takes and those that netlink tells.
MODE_FLAGS = {
    "auto": 0,
    "native": consts.XDP_FLAGS_DRV_MODE,
    "driver": consts.XDP_FLAGS_DRV_MODE,
    "generic": consts.XDP_FLAGS_SKB_MODE,
}


class Changed(Exception):
    """Somebody else attached, detached or replaced the device's program meanwhile: begin again."""


def swap_in(
    ifindex: int,
    mode: str,
    dispatcher: Program,
    links: Sequence[KernelObject],
    programs: Sequence[KernelObject],
    old: Chain | None,
) -> None:
    """Pin a new dispatcher's programs and links, attach it in the place of `old`, take `old` apart.

    All of it or nothing. Raises Changed where `old` isn't what the device runs, PinError, KernelError.
    """
    new = dispatcher.info().id
    directory = protocol.pin_directory(ifindex, new)
    with _noted(ifindex, new, old.id if old else 0):
        protocol.make_directory(directory)
        for slot, (link, program) in enumerate(zip(links, programs, strict=True)):
            paths.pin(link.fd, protocol.link_pin(directory, slot))
            paths.pin(program.fd, protocol.program_pin(directory, slot))
        _attach(ifindex, old.mode if old else mode, dispatcher, old)


def swap_out(ifindex: int, old: Chain) -> None:
    """Detach a dispatcher and take it apart. Raises Changed, KernelError."""
    with _noted(ifindex, 0, old.id):
        _attach(ifindex, old.mode, None, old)


def _attach(ifindex: int, mode: str, dispatcher: Program | None, old: Chain | None) -> None:
    """Put a dispatcher in the place of `old`, or of nothing; None detaches."""
    flags = MODE_FLAGS[mode]
    new_fd = dispatcher.fd if dispatcher is not None else -1
    if old is None:
        _set(ifindex, new_fd, flags | consts.XDP_FLAGS_UPDATE_IF_NOEXIST)
        return
    with Program.from_id(old.id) as replaced:
        link = _link_of(ifindex, old.id)
        if link is None:
            _set(ifindex, new_fd, flags | consts.XDP_FLAGS_REPLACE, expected_fd=replaced.fd)
            return
        with link:
            _move_link(link, dispatcher, replaced)


def _set(ifindex: int, new_fd: int, flags: int, *, expected_fd: int | None = None) -> None:
    try:
        netlink.xdp_set(ifindex, new_fd, flags, expected_fd=expected_fd)
    except KernelError as error:
        # EEXIST: it isn't the expected one; EBUSY: there is one although there should be none, or it hangs on a link now.
        if error.errno in (errno.EEXIST, errno.EBUSY):
            raise Changed from error
        raise


def _move_link(link: Link, dispatcher: Program | None, replaced: Program) -> None:
    if dispatcher is None:
        link.detach()
        return
    try:
        link.update(dispatcher, old=replaced)
    except KernelError as error:
        if error.errno == errno.EPERM:
            raise Changed from error
        raise


def _link_of(ifindex: int, prog_id: int) -> Link | None:
    """Return the XDP link by which a program is attached, None where it is attached without. libxdp makes none; others may."""
    from bpfload.links.xdp import links_on

    for ident, program in links_on(ifindex):
        if program == prog_id:
            return Link.from_id(ident)
    return None


# --- taking apart ---------------------------------------------------------------------------------------------------


@contextmanager
def _noted(ifindex: int, new: int, old: int) -> Iterator[None]:
    """Write down which dispatchers a swap is about; afterwards, however it ended, the one that the device doesn't run goes."""
    protocol.make_directory(os.path.join(protocol.state_directory(), f"bpfload-{ifindex}-{new}-{old}-{_namespace()}"))
    try:
        yield
    finally:
        clean_up(ifindex)


def clean_up(ifindex: int) -> None:
    """Take away the dispatchers that a device of this network namespace doesn't run, of those that notes are about.

    That is what a swap leaves, or a process that was killed. The lock must be held.
    """
    state = protocol.state_directory()
    own = _namespace()
    for name in os.listdir(state):
        kind, *parts = name.split("-")
        if kind != "bpfload" or len(parts) != 4 or not all(part.isdecimal() for part in parts):
            continue
        device, new, old, namespace = (int(part) for part in parts)
        if (device, namespace) != (ifindex, own):
            continue
        running = {program for each in netlink.xdp_attachments(ifindex) for _, program in each.programs}
        idle = [dispatcher for dispatcher in (new, old) if dispatcher and dispatcher not in running]
        gone = [take_apart(protocol.pin_directory(ifindex, dispatcher)) for dispatcher in idle]
        if all(gone):
            with suppress(FileNotFoundError):
                os.rmdir(os.path.join(state, name))


def take_apart(directory: str) -> bool:
    """Remove what is pinned for a dispatcher, and its directory; return whether it is gone."""
    with suppress(FileNotFoundError):
        # Programs first: without them, nobody takes what is left for a whole dispatcher.
        for name in sorted(os.listdir(directory), key=lambda name: not name.endswith("-prog")):
            with suppress(OSError):
                os.unlink(os.path.join(directory, name))
    with suppress(OSError):
        os.rmdir(directory)
    return not os.path.lexists(directory)


def _namespace() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino
