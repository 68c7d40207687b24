"""Attaching the programs of a loaded object where they are wanted, for good."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from bpfload.errors import NotFoundError, NotSupportedError, near
from bpfload.links import Target, attach_to
from bpfload.objects.link import Link

if TYPE_CHECKING:
    from bpfload.load import Object
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.map import Map
    from bpfload.pins.choosing import Wish


def attach_wish(wish: Wish, loaded: Object, undo: ExitStack, kept: Mapping[str, Map] | None = None) -> Attachment:
    """Attach one program of a loaded object. `undo`: gets what takes back an attachment that is no link and was kept.

    `kept`: maps of an earlier version of the object that this one uses, by name; they aren't among the maps of `loaded`.
    """
    maps = {**loaded.maps, **(kept or {})}
    with ExitStack() as stack:
        target = _with_maps(wish.target, maps, wish, stack)
        attachment = _attach(wish, loaded, target)
    if not isinstance(attachment, Link):
        undo.callback(attachment.detach)
    return attachment


def _attach(wish: Wish, loaded: Object, target: Target) -> Attachment:
    program = loaded.programs[wish.name]
    if wish.hook == "tc" and target.link and not target.priority and not target.handle:
        # By link where the kernel has tcx; SEC("tc") programs fit both.
        try:
            return attach_to("tcx", program, wish.spec, target)
        except NotSupportedError:
            pass
    return attach_to(wish.hook, program, wish.spec, target)


def _with_maps(target: Target, maps: Mapping[str, Map], wish: Wish, stack: ExitStack) -> Target:
    """Give a target the fds of the maps that it needs: one that is named, USDT's own two."""
    if wish.hook == "usdt":
        target = replace(target, maps={name: each.fd for name, each in maps.items()})
    if not target.map:
        return target
    if target.map in maps:
        return replace(target, map_fd=maps[target.map].fd)
    if "/" in target.map or os.path.lexists(target.map):
        from bpfload.objects.map import Map

        return replace(target, map_fd=stack.enter_context(Map.from_pin(target.map)).fd)
    raise NotFoundError(
        f"program {wish.name!r}: the object has no map {target.map!r}",
        candidates=near(target.map, maps),
        hint="" if near(target.map, maps) else f"Its maps are {', '.join(maps) or 'none'}; a pinned one is named by its path.",
    )
