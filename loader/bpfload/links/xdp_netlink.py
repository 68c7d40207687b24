"""XDP on a network device without a link: imported for that alone, since it takes pyroute2.

Source: dev_change_xdp_fd() and dev_xdp_attach() in net/core/dev.c.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Self

from bpfload.abi import consts
from bpfload.errors import KernelError
from bpfload.links.fallback import Fallback
from bpfload.objects.base import KernelObject
from bpfload.syscall import netlink

_MODE_NAMES = {
    consts.XDP_FLAGS_DRV_MODE: "driver",
    consts.XDP_FLAGS_SKB_MODE: "generic",
    consts.XDP_FLAGS_HW_MODE: "offload",
}


class XdpAttachment(Fallback):
    """An XDP program that a device runs without a link. `flags`: the mode, XDP_FLAGS_*_MODE, or 0."""

    __slots__ = ("_flags", "_ifindex")

    form: ClassVar[str] = "XDP program"
    pin_hint: ClassVar[str] = "Call keep(): the device then runs the program until bpfload net detach xdp dev NAME takes it off."

    def __init__(self, program: KernelObject, ifindex: int, flags: int) -> None:
        super().__init__(program)
        self._ifindex, self._flags = ifindex, flags

    def if_there(self) -> Self | None:
        """Return this where its program is what the device runs now; else close it, and return None."""
        if self.program_id in self._present():
            return self
        self._there = False
        self.close()
        return None

    def _fields(self) -> dict[str, int | str | tuple[int, ...]]:
        return {"ifindex": self._ifindex}

    def _present(self) -> list[int]:
        mode = _MODE_NAMES.get(self._flags, "")
        found = netlink.xdp_attachments(self._ifindex)
        return [program for each in found for name, program in each.programs if mode in ("", name)]

    def _replace(self, program: KernelObject) -> None:
        self._set(program.fd)

    def _take_off(self) -> None:
        self._set(-1)

    def _set(self, prog_fd: int) -> None:
        """Change what the device runs, only if that is still our program."""
        try:
            netlink.xdp_set(self._ifindex, prog_fd, self._flags | consts.XDP_FLAGS_REPLACE, expected_fd=self.fd)
        except KernelError as error:
            if error.errno != errno.EINVAL or self.program_id not in self._present():
                raise
            # Linux before 5.7 doesn't compare; what is there was looked at a moment ago.
            netlink.xdp_set(self._ifindex, prog_fd, self._flags)
