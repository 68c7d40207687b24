"""Thousands of BPF_PROG_LOAD calls that differ in one instruction, as cheaply as Python can make them."""

from __future__ import annotations

import ctypes
import errno
import os
from struct import pack_into

from bpfload.abi import consts
from bpfload.syscall import bpf_call

_LOG_SIZE = 4096
# What of the attributes of BPF_PROG_LOAD is used; the offsets below are those of union bpf_attr in include/uapi/linux/bpf.h.
_ATTR_SIZE = 116
# The kernel gives up verification with EAGAIN when a signal is pending; libbpf tries as often.
_ATTEMPTS = 5


class Prober:
    """Loads small programs of one kind, one after another, from the same buffers.

    `try_load` tells the kernel's answer; a program that it accepts is closed at once.
    """

    def __init__(
        self,
        prog_type: int,
        insns: bytes,
        *,
        expected_attach_type: int = 0,
        flags: int = 0,
        kern_version: int = 0,
        ifindex: int = 0,
        attach_btf_id: int = 0,
        log: bool = True,
    ) -> None:
        self._insns = bytearray(insns)
        self._licence = ctypes.create_string_buffer(b"GPL")
        self._log = ctypes.create_string_buffer(_LOG_SIZE if log else 1)
        self._view = ctypes.c_char.from_buffer(self._insns)
        attr = bytearray(_ATTR_SIZE)
        pack_into("=IIQQ", attr, 0, prog_type, len(insns) // 8, ctypes.addressof(self._view), ctypes.addressof(self._licence))
        if log:
            pack_into("=IIQ", attr, 24, 1, _LOG_SIZE, ctypes.addressof(self._log))
        pack_into("=II", attr, 40, kern_version, flags)
        pack_into("=II", attr, 64, ifindex, expected_attach_type)
        pack_into("=I", attr, 108, attach_btf_id)
        self._attr = (ctypes.c_char * _ATTR_SIZE).from_buffer_copy(attr)
        self._where = ctypes.addressof(self._attr)

    def set_immediate(self, index: int, value: int) -> None:
        """Change the 32-bit immediate of one instruction."""
        pack_into("=I", self._insns, 8 * index + 4, value)

    def try_load(self) -> tuple[int, bytes]:
        """Load the program and close it; return (0 or the errno, the verifier's log)."""
        result = 0
        for _ in range(_ATTEMPTS):
            self._log[0] = b"\0"
            result = bpf_call.call_at(consts.BPF_PROG_LOAD, self._where, _ATTR_SIZE)
            if result != -errno.EAGAIN:
                break
        if result >= 0:
            os.close(result)
            return 0, self._log.value
        return -result, self._log.value
