"""The maps by which programs learn of the static probes that they are attached to.

``__bpf_usdt_specs`` describes arguments by a number that the program gets as its cookie, or on kernels without cookies (before
5.15) from ``__bpf_usdt_ip_to_spec_id`` by the address that was hit. They belong to the object: all its programs share them.

Source: tools/lib/bpf/usdt.bpf.h, usdt.c.
"""

from __future__ import annotations

import errno
import os
from struct import pack
from typing import TYPE_CHECKING

from bpfload.errors import KernelError, UsageError
from bpfload.objects.map import Map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bpfload.objects.base import KernelObject
    from bpfload.spec import ProgramSpec

SPECS, IP_TO_SPEC_ID = "__bpf_usdt_specs", "__bpf_usdt_ip_to_spec_id"
_KERNEL_NAME = 15  # characters of a name that the kernel keeps

# By the id of a map: the numbers that attachments of this process use. Another process's are told by the map itself, as
# far as their descriptions aren't all zeros; a pinned attachment marks its descriptions so that they never are.
_used: dict[int, set[int]] = {}
_MARK = b"\1"


class UsdtMaps:
    """The two maps of an object, by fds of their own. Descriptions are given out and taken back by number."""

    def __init__(self, specs: int, addresses: int) -> None:
        self._specs = Map(os.dup(specs))
        self._addresses = Map(os.dup(addresses)) if addresses >= 0 else None
        info = self._specs.info()
        self.value_size, self._count = info.value_size, info.max_entries
        self._taken = _used.setdefault(info.id, set())
        self._mine: list[int] = []
        self._hit: list[bytes] = []

    def add(self, description: bytes) -> int:
        """Store a description and return its number. Raises KernelError, UsageError where there is room for no more."""
        for number in range(self._count):
            if number in self._taken:
                continue
            if any(self._specs.lookup(pack("=I", number))):
                continue
            self._specs.update(pack("=I", number), description)
            self._taken.add(number)
            self._mine.append(number)
            return number
        raise UsageError(
            f"the map {SPECS} has room for {self._count} descriptions of probes, and all are in use",
            hint="Compile with a larger BPF_USDT_MAX_SPEC_CNT.",
            errno_code=errno.E2BIG,
        )

    def map_address(self, address: int, number: int) -> None:
        """Say which description belongs to a place, for kernels without cookies. `address`: in memory. Raises KernelError."""
        if self._addresses is None:
            raise UsageError(f"the object has no map {IP_TO_SPEC_ID}, which kernels before 5.15 need")
        key = pack("=Q", address)
        try:
            self._addresses.update(key, pack("=I", number), 1)  # BPF_NOEXIST
        except KernelError as error:
            if error.errno == errno.EEXIST:
                hint = "On kernels before 5.15 only one program of an object can be attached to a place."
                raise KernelError(error.call, errno.EEXIST, f"address {address:#x} is probed already", hint=hint) from None
            raise
        self._hit.append(key)

    def mark(self) -> None:
        """Make sure that no other process takes our descriptions for unused ones: the attachment outlives this process."""
        for number in self._mine:
            value = self._specs.lookup(pack("=I", number))
            self._specs.update(pack("=I", number), value[:-1] + _MARK)

    def close(self, *, leave: bool = False) -> None:
        """Take back what this has stored, unless it is to be left; a second call does nothing."""
        if self._specs.closed:
            return
        if not leave:
            for number in self._mine:
                self._specs.update(pack("=I", number), bytes(self.value_size))
                self._taken.discard(number)
            for key in self._hit:
                assert self._addresses is not None
                self._addresses.delete(key)
        self._specs.close()
        if self._addresses is not None:
            self._addresses.close()


def of_program(program: KernelObject, spec: ProgramSpec, given: Mapping[str, int]) -> UsdtMaps:
    """Return the maps of a program's object: those `given` (fds by name), those that it was loaded with, or those it uses.

    Raises UsageError for a program that doesn't use them.
    """
    if SPECS in given:
        return UsdtMaps(given[SPECS], given.get(IP_TO_SPEC_ID, -1))
    loaded: Mapping[str, Map] = getattr(program, "object_maps", {})
    if SPECS in loaded and not loaded[SPECS].closed:
        addresses = loaded.get(IP_TO_SPEC_ID)
        return UsdtMaps(loaded[SPECS].fd, addresses.fd if addresses is not None and not addresses.closed else -1)
    found = _used_maps(program)
    try:
        specs, addresses = found.get(SPECS[:_KERNEL_NAME]), found.get(IP_TO_SPEC_ID[:_KERNEL_NAME])
        if specs is None:
            raise UsageError(
                f"program {spec.name!r} has no map {SPECS}, where the probe's arguments are described",
                hint="A USDT program includes <bpf/usdt.bpf.h>, and is written with BPF_USDT().",
            )
        return UsdtMaps(specs.fd, addresses.fd if addresses is not None else -1)
    finally:
        for each in found.values():
            each.close()


def _used_maps(program: KernelObject) -> dict[str, Map]:
    """Open the maps that a program uses, by the names that the kernel knows."""
    from bpfload.objects.info import prog_info

    found: dict[str, Map] = {}
    for ident in prog_info(program.fd, ("map_ids",)).map_ids:
        entry = Map.from_id(ident)
        replaced = found.get(entry.info().name)
        if replaced is not None:
            replaced.close()
        found[entry.info().name] = entry
    return found
