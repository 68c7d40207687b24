"""Unloading what may be in a chain: a chain holds its programs by pins of its own, which no other pin's end touches."""

from __future__ import annotations

import os
from dataclasses import replace

from bpfload.dispatcher import protocol
from bpfload.errors import PinError
from bpfload.pins import removal
from bpfload.pins.holding import remaining_holders
from bpfload.pins.removal import Unloaded


def unload(path: str | os.PathLike[str], *, dry_run: bool = False) -> Unloaded:
    """Do what `bpfload.unload` does, and take the programs out of the chains of this network namespace.

    Raises what it raises, and PinError for a path that belongs to a dispatcher.
    """
    state = protocol.state_directory() + "/"
    place = os.path.abspath(os.fspath(path))
    if place.startswith(f"{state}dispatch-") and os.path.lexists(place):
        raise _belongs_to_a_dispatcher(place, place[len(state) :])
    return _out_of_chains(removal.unload(path, dry_run=dry_run))


def unload_program(ident: int, *, dry_run: bool = False) -> Unloaded:
    """Do what `bpfload.pins.removal.unload_program` does, and take the program out of the chains of this network namespace."""
    return _out_of_chains(removal.unload_program(ident, dry_run=dry_run))


def _out_of_chains(done: Unloaded) -> Unloaded:
    state = protocol.state_directory() + "/"
    chained = sorted({holder.program for holder in done.holders if holder.name.startswith(f"{state}dispatch-")})
    if not chained:
        return done
    from bpfload.dispatcher.change import leave

    left = tuple(leave(chained))
    programs = sorted({holder.program for holder in done.holders})
    # Links whose pins went just now are on their way out.
    ending = {holder.id for holder in done.holders if holder.kind == "link" and holder.name and not os.path.lexists(holder.name)}
    holders = tuple(remaining_holders(programs, ending))
    held = {holder.program for holder in holders}
    return replace(done, chains=left, holders=holders, gone=done.gone + tuple(each for each in programs if each not in held))


def _belongs_to_a_dispatcher(path: str, inner: str) -> PinError:
    import socket

    number = inner.split("-")[1]
    try:
        device = socket.if_indextoname(int(number))
    except (OSError, ValueError, OverflowError):
        message = f"{path} belongs to the dispatcher of a device that isn't in this network namespace"
        return PinError(message, path=path, hint="If the device is gone: xdp-loader clean, or rm -r the directory.")
    hint = f"To take a program away: bpfload net detach xdp id ID dev {device} chain; all of them: without 'id ID'."
    return PinError(f"{path} belongs to the dispatcher of {device}", path=path, hint=hint)
