"""Statically defined probes of programs and libraries: SEC("usdt/PATH:PROVIDER:NAME").

A probe is a place (or many) in the code that does nothing, with a note in the file of where its arguments are. A uprobe is put on
each, and what the note says goes to a map of the object. A probe may have a semaphore: a counter by which the program sees that
somebody listens, which the kernel counts up for as long as the uprobe is there.

Source: usdt_manager_attach_usdt() in tools/lib/bpf/usdt.c.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bpfload.errors import BpfError, KernelError, NotFoundError, NotSupportedError, near
from bpfload.links import probe_target, uprobe_multi, usdt_maps, usdt_spec

if TYPE_CHECKING:
    from bpfload.elf.userbinary import StaticProbe
    from bpfload.links.target import Target
    from bpfload.links.usdt_maps import UsdtMaps
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.base import KernelObject
    from bpfload.objects.link_info import LinkInfo
    from bpfload.spec import ProgramSpec


class UsdtAttachment:
    """A program at all places of a static probe, and the descriptions of its arguments, which go when it is closed.

    `attachment`: one link for all places (Linux 6.6), or an attachment for each.
    """

    def __init__(self, attachment: Attachment, maps: UsdtMaps) -> None:
        self.attachment = attachment
        self._maps = maps
        self._pinned = False

    def info(self, *, arrays: bool = False) -> LinkInfo:
        """Return what is attached and where. Raises KernelError."""
        return self.attachment.info(arrays=arrays)

    def update(self, program: KernelObject, *, old: KernelObject | None = None) -> None:
        """Put another program in the place of the present one. Raises NotSupportedError: the kernel can't."""
        self.attachment.update(program, old=old)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Make it live on at `path` on a bpffs (a directory, where there is a link for each place). Raises PinError."""
        self.attachment.pin(path)
        self._pinned = True
        self._maps.mark()

    def keep(self) -> None:
        """Leave it in place when it is closed. Raises NotSupportedError."""
        self.attachment.keep()

    def detach(self) -> None:
        """Take the program off every place. Raises KernelError, NotSupportedError."""
        self.attachment.detach()

    def close(self) -> None:
        """Give it up; a second call does nothing."""
        self.attachment.close()
        self._maps.close(leave=self._pinned)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def attach(program: KernelObject, spec: ProgramSpec, target: Target) -> UsdtAttachment:
    """Attach to the static probe `target.name`, "provider:name", of `target.binary`, else to the one that SEC() names.

    `target`: `pid`, `cookie` (what bpf_usdt_cookie() returns), `maps` (fds of the object's maps by name, for a program that
    wasn't loaded by this library).
    """
    from bpfload.links.user_paths import resolve

    path, provider, name = probe_target.static_probe(spec, target)
    path = resolve(path)
    pid = os.getpid() if target.pid == 0 else max(target.pid, -1)
    attaching = f"attaching program {spec.name!r} to static probe {provider}:{name} of {path}"
    probes, shared = find(path, provider, name)
    if not target.link and uprobe_multi.is_loaded_for_links(program):
        raise uprobe_multi.only_by_link(spec)
    maps = usdt_maps.of_program(program, spec, target.maps)
    try:
        numbers = _describe(maps, probes, target.cookie, attaching)
        with_cookies = _has_cookies()
        if not with_cookies:
            for probe, number in zip(probes, numbers, strict=True):
                maps.map_address(_address(probe, path, pid, shared), number)
        attachment = _attach(program, spec, attaching, path, probes, numbers if with_cookies else (), pid, target.link)
    except BaseException:
        maps.close()
        raise
    return UsdtAttachment(attachment, maps)


def find(path: str, provider: str, name: str) -> tuple[list[StaticProbe], bool]:
    """Return every place of a probe, and whether its file is loaded at an address of each run's choice.

    Raises NotFoundError that names near probes, or all if they are few.
    """
    from bpfload.elf.userbinary import UserBinary

    with UserBinary(path) as binary:
        every = binary.static_probes()
        found = [probe for probe in every if (probe.provider, probe.name) == (provider, name)]
        if found:
            return found, binary.is_shared
    known = sorted({f"{probe.provider}:{probe.name}" for probe in every})
    candidates = near(f"{provider}:{name}", known)
    hint = "" if candidates else f"Its static probes are {', '.join(known[:20])}{', …' if len(known) > 20 else ''}."
    if not known:
        hint = "It has no static probes at all (no section .note.stapsdt): it was built without, or a library has them."
    raise NotFoundError(f"{path} has no static probe {provider}:{name}", candidates=candidates, hint=hint)


def _describe(maps: UsdtMaps, probes: Sequence[StaticProbe], cookie: int, attaching: str) -> list[int]:
    """Store what the places' notes say; return the number of each place's description. Equal ones are stored once."""
    numbers: dict[str, int] = {}
    machine = os.uname().machine
    for probe in probes:
        if probe.arguments in numbers:
            continue
        try:
            description = usdt_spec.encode(usdt_spec.parse(probe.arguments, machine), cookie, maps.value_size)
        except BpfError as error:
            raise error.within(attaching) from None
        numbers[probe.arguments] = maps.add(description)
    return [numbers[probe.arguments] for probe in probes]


def _has_cookies() -> bool:
    from bpfload import features

    return features.supports("bpf_cookie") is not False


def _attach(
    program: KernelObject,
    spec: ProgramSpec,
    attaching: str,
    path: str,
    probes: Sequence[StaticProbe],
    cookies: Sequence[int],
    pid: int,
    link: bool,
) -> Attachment:
    offsets = [probe.offset for probe in probes]
    semaphores = [probe.semaphore for probe in probes]
    if uprobe_multi.is_loaded_for_links(program):
        try:
            return uprobe_multi.attach_link(program, spec, path, offsets, semaphores=semaphores, cookies=cookies, pid=max(pid, 0))
        except KernelError as error:
            raise uprobe_multi.explain(error, attaching, path, pid) from None
    return uprobe_multi.attach_singly(
        program, attaching, path, offsets, semaphores=semaphores, cookies=cookies, pid=pid, link=link
    )


def _address(probe: StaticProbe, path: str, pid: int, shared: bool) -> int:
    """Return where in memory a place is, by which a program on a kernel without cookies finds its description."""
    if not shared:
        return probe.address
    if pid < 0:
        raise NotSupportedError(
            "cookies, without which a library is probed in one process at a time",
            since="5.15",
            hint="Name the process by its pid.",
        )
    real = os.path.realpath(path)
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(maxsplit=5) for line in file]
    except OSError:
        raise NotFoundError(f"there is no process {pid}", errno_code=errno.ESRCH) from None
    for row in rows:
        if len(row) == 6 and "x" in row[1] and row[5].rstrip("\n") == real:
            first, last = (int(text, 16) for text in row[0].split("-"))
            start = int(row[2], 16)
            if start <= probe.offset < start + last - first:
                return first + probe.offset - start
    raise NotFoundError(f"process {pid} runs no code of {real}", errno_code=errno.ESRCH)
