"""Attaching what is loaded and pinned already, and taking programs off wherever they are attached."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from struct import unpack_from
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.abi.names import LINK_TYPE_NAMES, name_of
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.links import Target, attach_to, hook_of
from bpfload.objects import paths
from bpfload.objects.bpffs import Pin, pins
from bpfload.objects.link import Link
from bpfload.pins import staging, unlinked
from bpfload.pins.publication import Publication, links_of
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.links.program import AttachableProgram
    from bpfload.objects.attachment import Attachment
    from bpfload.spec import ProgramSpec

# What a program that was opened by its id or pin is attached to, where its type alone doesn't say: the kernel tells no more.
_HOOKS = {consts.BPF_PROG_TYPE_TRACING: "tracing", consts.BPF_PROG_TYPE_LSM: "lsm"}
_CANNOT_DETACH = (errno.EOPNOTSUPP, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Attached:
    """What `attach_loaded` did. `pins`: of the links; empty for an attachment that is none. `hook`: module of bpfload.links."""

    program: int
    hook: str
    link_ids: tuple[int, ...]
    pins: tuple[str, ...]


def attach_loaded(program: AttachableProgram, target: Target, link_path: str, *, hook: str = "") -> Attached:
    """Attach a program that is in the kernel already, and pin its link at `link_path`: under PATH_link, `unload PATH` finds it.

    `hook`: a module of `bpfload.links`, "" for the one of its type. Several links that are one attachment become a directory.
    What has no link is left in place; without a `link_path`, only that is possible. Raises what attaching and pinning raise;
    nothing is left attached then. A process killed on the way leaves no `link_path`; the next attach or unload there takes away
    what it left.
    """
    spec = program.spec
    hook = hook or _hook(program, target)
    if target.name and hook not in ("tracepoint", "raw_tracepoint") and not target.binary:
        spec, target = replace(spec, attach_target=target.name), replace(target, name="")
    if link_path:
        link_path = os.path.abspath(link_path)
        paths.check_new(link_path, mount=False)
        staging.clean_up(link_path)
    with ExitStack() as undo:
        attachment = _attach(hook, program, target, spec)
        undo.callback(attachment.close)
        links = links_of(attachment)
        if links and not link_path:
            raise UsageError(
                f"program {spec.name!r} would be attached by a link, which ends with this process",
                hint="Say where to pin it: --pin PATH.",
            )
        pinned: list[str] = []
        if links:
            with staging.locked(link_path):
                pinned = _pin(undo, spec.name, attachment, link_path, several=len(links) > 1)
        else:
            attachment.keep()
        idents = tuple(link.info().id for link in links)
        undo.pop_all()
    for link in links:
        link.close()
    if not links:
        attachment.close()
    return Attached(program.info().id, hook, idents, tuple(pinned))


def _pin(undo: ExitStack, name: str, attachment: Attachment, link_path: str, *, several: bool) -> list[str]:
    """Pin an attachment; several links appear at once, as a directory."""
    work = Publication(link_path, several)
    if not several:
        work.pin_attachment(undo, name, attachment, link_path, link_path)
        return work.pinned
    paths.check_free(link_path)
    work.pin_attachment(undo, name, attachment, work.staged, link_path)
    work.finish()
    return work.pinned


def _hook(program: AttachableProgram, target: Target) -> str:
    spec = program.spec
    found = hook_of(spec)
    if found == "kprobe" and ("/" in target.name or ".so" in target.name):
        return "uprobe"  # functions of the kernel have no such names
    found = found or _HOOKS.get(spec.type, "")
    if not found:
        raise UsageError(f"program {spec.name!r} has no hook to be attached to", hint="It is run by whatever uses it.")
    return found


def _attach(hook: str, program: AttachableProgram, target: Target, spec: ProgramSpec) -> Attachment:
    if hook == "tc":
        if target.parent not in ("ingress", "egress"):
            raise UsageError(
                f"program {spec.name!r}: nothing says in which direction packets go",
                hint="Say --direction ingress or --direction egress.",
            )
        if not target.priority and not target.handle:
            with suppress(NotSupportedError):
                return attach_to("tcx", program, spec, target)
    return attach_to(hook, program, spec, target)


# --- detaching ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Detached:
    """One attachment that is gone. `link`: its id, 0 for one that was no link. `where`: its type, or the form without link.

    `pins`: of the link, gone with it. `remains`: it is a link that only its holders can end, and has others than those pins.
    """

    program: int
    link: int
    where: str
    pins: tuple[Pin, ...] = ()
    remains: bool = False


def detach_programs(programs: Collection[int], *, dry_run: bool = False) -> list[Detached]:
    """Take these programs, by id, off wherever they are attached: by links, pinned or not, and without one (`unlinked`).

    `dry_run`: only say what would be done. The programs stay loaded. Raises KernelError where the kernel refuses.
    """
    linked: dict[int, list[Pin]] = {}
    for pin in pins():
        if pin.kind == "link" and pin.prog_id in programs:
            linked.setdefault(pin.id, []).append(pin)
    done = [_detach_link(ident, program, kind, linked.get(ident, []), dry_run) for ident, program, kind in _links_of(programs)]
    for program in programs:
        done += detach_unlinked(program, dry_run)
    return done


def _links_of(programs: Collection[int]) -> list[tuple[int, int, int]]:
    """Return (link id, program id, link type) of all links of these programs."""
    found = []
    ident: int | None = 0
    while (ident := bpf.link_get_next_id(ident or 0)) is not None:
        try:
            fd = bpf.link_get_fd_by_id(ident)
        except KernelError:
            continue
        try:
            info = bytearray(16)
            bpf.obj_get_info_by_fd(fd, info)
        finally:
            os.close(fd)
        kind, link, program = unpack_from("=III", info)
        if program in programs:
            found.append((link, program, kind))
    return found


def _detach_link(ident: int, program: int, kind: int, its_pins: list[Pin], dry_run: bool) -> Detached:
    where = str(name_of(LINK_TYPE_NAMES, kind) or kind)
    if dry_run:
        return Detached(program, ident, where, tuple(its_pins))
    ended = True
    try:
        with Link.from_id(ident) as link:
            link.detach()
    except NotFoundError:
        pass  # it has just ended by itself
    except KernelError as error:
        if error.errno not in _CANNOT_DETACH:
            raise
        ended = False
    for pin in its_pins:
        with suppress(FileNotFoundError):
            os.unlink(pin.path)
    return Detached(program, ident, where, tuple(its_pins), remains=not ended and _is_there(ident))


def _is_there(ident: int) -> bool:
    """Whether a link is there after a moment: the last reference of a pin goes with its inode, a little later."""
    import time

    deadline = time.monotonic() + 1.0
    while True:
        try:
            os.close(bpf.link_get_fd_by_id(ident))
        except KernelError:
            return False
        if time.monotonic() > deadline:
            return True
        time.sleep(0.002)


def detach_unlinked(ident: int, dry_run: bool) -> list[Detached]:
    """Take a program off where it is attached without a link. `dry_run`: only say where it is."""
    from bpfload.objects.program import Program

    found = []
    with Program.from_id(ident) as program:
        for each in unlinked.attachments_of(program):
            with each:
                if not dry_run:
                    each.detach()
                found.append(Detached(ident, 0, each.form))
    return found
