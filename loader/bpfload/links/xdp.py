"""XDP on a network device: by BPF link (Linux 5.9), else by netlink.

Source: bpf_xdp_link_attach() and dev_xdp_attach() in net/core/dev.c.
"""

from __future__ import annotations

import errno
import socket
from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, UsageError
from bpfload.objects.link import Link
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links import Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

MODES = {
    "auto": 0,
    "native": consts.XDP_FLAGS_DRV_MODE,
    "generic": consts.XDP_FLAGS_SKB_MODE,
    "offload": consts.XDP_FLAGS_HW_MODE,
}

# A packet in native mode without fragments has to fit a page, with XDP_PACKET_HEADROOM before and skb_shared_info behind.
_USUAL_LARGEST_MTU = 3498

_SIOCGIFMTU = 0x8921  # linux/sockios.h


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment:
    """Attach to the network device `target.device` in `target.mode`.

    By netlink where `target.link` is False, and where the kernel has no such links or won't have this program by one.
    """
    if not target.device:
        raise UsageError(f"program {spec.name!r}: no device to attach to", hint="Name one with --dev, for example --dev eth0.")
    if target.mode not in MODES:
        raise UsageError(f"no XDP mode {target.mode!r}", hint=f"Modes are {', '.join(MODES)}.")
    index = device_index(target.device)
    try:
        if target.link:
            return Link(bpf.link_create(program.fd, index, consts.BPF_XDP, MODES[target.mode]))
    except KernelError as error:
        # EINVAL: before Linux 5.9 for any program; later among others for one that was loaded without an attach type.
        if error.errno != errno.EINVAL:
            raise _explain(error, spec, target, index) from None
    try:
        return _attach_by_netlink(program, index, MODES[target.mode])
    except KernelError as error:
        raise _explain(error, spec, target, index) from None


def find(program: KernelObject, spec: ProgramSpec, target: Target) -> Attachment | None:
    """Return the attachment without link that has this program on `target.device`, None if it isn't there like that."""
    from bpfload.links.xdp_netlink import XdpAttachment

    found = XdpAttachment(program, device_index(target.device), MODES[target.mode])
    return found.if_there()


def _attach_by_netlink(program: KernelObject, index: int, flags: int) -> Attachment:
    from bpfload.links.xdp_netlink import XdpAttachment
    from bpfload.syscall import netlink

    netlink.xdp_set(index, program.fd, flags | consts.XDP_FLAGS_UPDATE_IF_NOEXIST)
    return XdpAttachment(program, index, flags)


def device_index(name: str) -> int:
    """Return a network device's index in the namespace of this process. Raises NotFoundError with near matches."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        from bpfload.errors import near

        known = [device for _, device in socket.if_nameindex()]
        close = near(name, known)
        hint = "" if close else f"Devices here: {', '.join(known[:10])}{', …' if len(known) > 10 else ''}."
        raise NotFoundError(f"no network device {name!r}", candidates=close, hint=hint, errno_code=errno.ENODEV) from None


def _explain(error: KernelError, spec: ProgramSpec, target: Target, index: int) -> KernelError:
    from bpfload.abi.consts import CAP_NET_ADMIN
    from bpfload.links.refusal import refused

    what = f"attaching program {spec.name!r} to {target.device}"
    if error.errno in (errno.EBUSY, errno.EEXIST):
        present = attached_to(index)
        message = f"device {target.device} has an XDP program already"
        if present:
            message += ": " + ", ".join(present)
        return KernelError(error.call, error.errno or 0, message, hint=_how_to_free(target.device, index))
    hint = ""
    if target.mode == "offload":
        hint = (
            f"The card of {target.device} takes no such program: it has to be loaded for that very device, which few cards can."
        )
    elif error.errno == errno.EOPNOTSUPP and target.mode == "native":
        hint = f"The driver of {target.device} has no native XDP (or none for a program like this): use --mode generic."
    elif error.errno in (errno.EINVAL, errno.ERANGE, errno.EOPNOTSUPP, errno.E2BIG):
        hint = _settings_hint(spec, target)
    return refused(error, what, CAP_NET_ADMIN, hint=hint)


def _settings_hint(spec: ProgramSpec, target: Target) -> str:
    """Say which settings of a device make its driver refuse XDP in native mode."""
    size = mtu(target.device)
    hints = []
    if size > _USUAL_LARGEST_MTU and not spec.flags & consts.BPF_F_XDP_HAS_FRAGS:
        hints.append(
            f"its MTU of {size} is too large for native XDP (usually at most {_USUAL_LARGEST_MTU}): lower it "
            f'(ip link set {target.device} mtu 1500), or write SEC("xdp.frags")'
        )
    if target.mode != "generic":
        hints.append(f"the driver may want large receive offload off (ethtool -K {target.device} lro off)")
        hints.append("--mode generic needs no support of the driver")
    return f"Likely reasons: {'; '.join(hints)}." if hints else ""


def mtu(device: str) -> int:
    """Return a device's MTU in bytes, 0 if it can't be told."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFMTU, device.encode()[:15].ljust(32, b"\0"))
        except OSError:
            return 0
    return int(unpack_from("=i", answer, 16)[0])


def attached_to(index: int) -> list[str]:
    """Name the XDP programs on a device: ``id 12 (hello), by link 3``; empty where none can be found."""
    links = {program: link for link, program in links_on(index)}
    programs = _programs_on(index)
    return [_program_words(program) + (f", by link {links[program]}" if program in links else "") for program in programs]


def _program_words(ident: int) -> str:
    from bpfload.errors import BpfError
    from bpfload.objects.program import Program

    try:
        with Program.from_id(ident) as program:
            return f"id {ident} ({program.info().name})"
    except BpfError:
        return f"id {ident}"


def _programs_on(index: int) -> list[int]:
    """Return the ids of the XDP programs on a device, as netlink tells them."""
    from bpfload.syscall import netlink

    return [program for attachment in netlink.xdp_attachments(index) for _, program in attachment.programs]


def modes_on(index: int) -> list[str]:
    """Return the modes in which a device runs programs: names of `MODES`, as netlink tells them."""
    from bpfload.syscall import netlink

    names = {"driver": "native"}
    return [names.get(mode, mode) for attachment in netlink.xdp_attachments(index) for mode, _ in attachment.programs]


def links_on(index: int) -> list[tuple[int, int]]:
    """Return (link id, program id) of the XDP links on a device."""
    from bpfload.errors import BpfError

    # A link tells the device's index, but not in which network namespace: another device may have the same.
    programs = _programs_on(index)
    found = []
    ident: int | None = 0
    try:
        while (ident := bpf.link_get_next_id(ident or 0)) is not None:
            try:
                with Link.from_id(ident) as link:
                    info = link.info()
            except NotFoundError:
                continue
            if info.type == consts.BPF_LINK_TYPE_XDP and info.number("ifindex") == index and info.prog_id in programs:
                found.append((ident, info.prog_id))
    except BpfError:  # not allowed to look at links: what netlink says has to do
        pass
    return found


def _how_to_free(device: str, index: int) -> str:
    """Say how to get rid of what is attached: by its link, or by netlink."""
    if any(present.partition(",")[0].endswith("(xdp_dispatcher)") for present in attached_to(index)):
        return f"It runs several programs: bpfload net attach xdp object FILE dev {device} chain puts another among them."
    links = links_on(index)
    if links:
        return f"Detach it first: bpfload link detach id {links[0][0]}, or unload the pin that it came with."
    return f"Detach it first: bpfload net detach xdp dev {device}."
