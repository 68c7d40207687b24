"""What programs agree on that put several XDP programs on one device: libxdp's protocol, version 2 and 3.

A dispatcher is an XDP program that calls one function for each program of the chain; each of those functions is replaced by
one program (freplace). Its only map, read-only and frozen, holds the configuration. Programs and links are pinned in a
directory that is named after device and dispatcher; who reads or writes there holds a lock on the directory above.

Source: lib/libxdp/protocol.org and headers/xdp/prog_dispatcher.h of https://github.com/xdp-project/xdp-tools.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import calcsize, pack, unpack_from

from bpfload.abi.consts import BPF_F_XDP_HAS_FRAGS
from bpfload.errors import PinError
from bpfload.kernel import mounts

NAME = "xdp_dispatcher"
MAX_PROGRAMS = 10
#: What a function returns that no program replaces; the chain always goes on behind it.
NOT_REPLACED = 31
DEFAULT_PRIORITY = 50
#: Names of the actions that a program can return, by number (enum xdp_action).
ACTIONS = ("aborted", "drop", "pass", "tx", "redirect")
DEFAULT_ACTIONS = ("pass",)
#: libxdp 1.3 to 1.5 know version 2 and refuse newer ones; 1.6 shows it, but changes only version 3.
DEFAULT_VERSION = 2
CHANGEABLE_VERSIONS = (2, 3)

_MAGIC = 236
_FORMATS = {2: "=4B10I10I10I", 3: "=4B10I10I10IB3x"}
_FORMAT_1 = "=B3x10I10I"


@dataclass(frozen=True, slots=True)
class Slot:
    """How one program of a chain is run. `actions`: bits of the actions behind which the chain goes on. `flags`: BPF_F_*."""

    priority: int = DEFAULT_PRIORITY
    actions: int = 1 << ACTIONS.index("pass")
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of a dispatcher, struct xdp_dispatcher_config. `device_bound`: only version 3 has it."""

    slots: tuple[Slot, ...]
    version: int = DEFAULT_VERSION
    frags: bool = False
    device_bound: bool = False

    def pack(self) -> bytes:
        """Return it as it stands in the map."""
        fill = [0] * (MAX_PROGRAMS - len(self.slots))
        fields = [_MAGIC, self.version, len(self.slots), int(self.frags)]
        fields += [slot.actions | 1 << NOT_REPLACED for slot in self.slots] + fill
        fields += [slot.priority for slot in self.slots] + fill
        fields += [slot.flags for slot in self.slots] + fill
        if self.version >= 3:
            fields.append(int(self.device_bound))
        return pack(_FORMATS[self.version], *fields)

    @classmethod
    def unpack(cls, value: bytes) -> Config | None:
        """Return what a map's value says, None for one that is no dispatcher's.

        A version that isn't known comes without slots. Version 1 has no magic number, and is known by its size alone.
        """
        if len(value) == calcsize(_FORMAT_1) and value[0] <= MAX_PROGRAMS:
            _, *words = unpack_from(_FORMAT_1, value)
            return cls(_slots(value[0], words + [0] * MAX_PROGRAMS), 1)
        if len(value) < 4 or value[0] != _MAGIC:
            return None
        version, count = value[1], value[2]
        if version not in _FORMATS or len(value) < calcsize(_FORMATS[version]):
            return cls((), version)
        if count > MAX_PROGRAMS:
            return None
        _, _, _, frags, *words = unpack_from(_FORMATS[version], value)
        return cls(_slots(count, words), version, bool(frags), bool(words[3 * MAX_PROGRAMS]) if version >= 3 else False)


def _slots(count: int, words: list[int]) -> tuple[Slot, ...]:
    actions, priorities, flags = (words[start : start + MAX_PROGRAMS] for start in range(0, 3 * MAX_PROGRAMS, MAX_PROGRAMS))
    return tuple(Slot(priorities[i], actions[i] & ~(1 << NOT_REPLACED), flags[i]) for i in range(count))


def all_have_frags(slots: tuple[Slot, ...]) -> bool:
    """Whether each program can do with packets in several fragments, so that the dispatcher may be given such."""
    return bool(slots) and all(slot.flags & BPF_F_XDP_HAS_FRAGS for slot in slots)


def action_bits(names: tuple[str, ...] | list[str]) -> int:
    """Return the bits of actions by name ("pass", "XDP_PASS"). Raises UsageError."""
    from bpfload.errors import UsageError

    bits = 0
    for name in names:
        plain = name.lower().removeprefix("xdp_")
        if plain not in ACTIONS:
            raise UsageError(f"no XDP action is called {name!r}", hint=f"Actions are {', '.join(ACTIONS)}.")
        bits |= 1 << ACTIONS.index(plain)
    return bits


def action_names(bits: int) -> tuple[str, ...]:
    """Return the names of actions by their bits; one without a name by its number."""
    return tuple(ACTIONS[bit] if bit < len(ACTIONS) else str(bit) for bit in range(NOT_REPLACED) if bits >> bit & 1)


# --- where it is kept -----------------------------------------------------------------------------------------------


def state_directory() -> str:
    """Return the directory of all dispatchers: "xdp" on the bpffs that LIBXDP_BPFFS names, or the usual one."""
    return os.path.join(os.environ.get("LIBXDP_BPFFS") or mounts.BPFFS, "xdp")


def pin_directory(ifindex: int, dispatcher: int) -> str:
    """Return where the programs of a dispatcher are pinned. `dispatcher`: its program id."""
    return os.path.join(state_directory(), f"dispatch-{ifindex}-{dispatcher}")


def program_pin(directory: str, slot: int) -> str:
    """Return the pin of a slot's program."""
    return os.path.join(directory, f"prog{slot}-prog")


def link_pin(directory: str, slot: int) -> str:
    """Return the pin of the link by which a slot's program replaces its function."""
    return os.path.join(directory, f"prog{slot}-link")


def make_state_directory(*, mount: bool = True) -> str:
    """Make the directory of all dispatchers if there is none. Raises PinError where there is no bpffs for it."""
    from bpfload.objects import paths

    directory = state_directory()
    paths.require_bpffs(directory, mount=mount)
    make_directory(directory)
    return directory


def make_directory(path: str) -> None:
    """Make a directory for root alone, unless it is there already. Raises PinError."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        hint = "Run it as root." if error.errno in (errno.EPERM, errno.EACCES) else ""
        raise PinError(f"{path} can't be made: {error.strerror}", path=path, hint=hint, errno_code=error.errno or 1) from None


@contextmanager
def locked(directory: str) -> Iterator[None]:
    """Hold the lock that libxdp takes to read or change what is pinned; wait for it if need be."""
    import fcntl

    try:
        held = os.open(directory, os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PinError(f"{directory} can't be opened: {error.strerror}", path=directory, errno_code=error.errno or 1) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
