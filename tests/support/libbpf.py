"""libbpf in this process, by ctypes: the other opinion on an object file.

It is the one built into the cache by `make peers` (libbpf.so beside bpftool, see build-bpftool.sh), or the distribution's.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass, field

from support import system
from support.paths import cache_directory

_OBJ_GET_INFO_BY_FD = 15
_TAG_AT, _PROG_NAME_AT = 8, 64  # struct bpf_prog_info


class _OpenOpts(ctypes.Structure):
    """The start of struct bpf_object_open_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
    )


@dataclass(frozen=True)
class ProgramSeen:
    """A program as libbpf opened and, if `tag` isn't "", loaded it."""

    type: int
    attach_type: int
    autoload: bool
    tag: str = ""
    insns: int = 0


@dataclass(frozen=True)
class MapSeen:
    """A map as the kernel describes the one that libbpf made. `info`: the start of struct bpf_map_info without the id."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str
    key_type_id: int
    value_type_id: int
    extra: int


@dataclass(frozen=True)
class Outcome:
    """What libbpf made of an object. `errno`: 0, or the positive number that opening or loading gave."""

    errno: int
    opened: bool
    programs: dict[str, ProgramSeen] = field(default_factory=dict)
    maps: dict[str, MapSeen] = field(default_factory=dict)


def path() -> str | None:
    """Return the newest libbpf there is, None without any."""
    cache = cache_directory()
    for found in sorted(cache.glob("peers/bpftool-*/libbpf.so"), reverse=True):
        return str(found)
    try:
        ctypes.CDLL("libbpf.so.1")
    except OSError:
        return None
    return "libbpf.so.1"


def describe_map(fd: int) -> MapSeen:
    """Ask the kernel about a map."""
    words = _info(fd, 104)
    kind, _, key, value, entries, flags, name = struct.unpack_from("=6I16s", words)
    key_type, value_type = struct.unpack_from("=II", words, 68)
    (extra,) = struct.unpack_from("=Q", words, 80)
    return MapSeen(kind, key, value, entries, flags, name.rstrip(b"\0").decode(), key_type, value_type, extra)


def _info(fd: int, size: int) -> bytearray:
    buffer = bytearray(size)
    holder = (ctypes.c_char * size).from_buffer(buffer)
    attribute = bytearray(struct.pack("=IIQ", fd, size, ctypes.addressof(holder)))
    system.bpf(_OBJ_GET_INFO_BY_FD, attribute)
    return buffer


def _tag(fd: int) -> tuple[str, int]:
    words = _info(fd, 128)
    return bytes(words[_TAG_AT : _TAG_AT + 8]).hex(), struct.unpack_from("=I", words, 20)[0] // 8


class Libbpf:
    """The library. Its messages are turned off."""

    def __init__(self, name: str) -> None:
        self._lib = lib = ctypes.CDLL(name, use_errno=True)
        for function, result, arguments in (
            ("libbpf_major_version", c_uint32, ()),
            ("libbpf_minor_version", c_uint32, ()),
            ("libbpf_prog_type_by_name", c_int, (c_char_p, POINTER(c_int), POINTER(c_int))),
            ("libbpf_set_print", c_void_p, (c_void_p,)),
            ("bpf_object__open_mem", c_void_p, (c_void_p, c_size_t, POINTER(_OpenOpts))),
            ("bpf_object__load", c_int, (c_void_p,)),
            ("bpf_object__close", None, (c_void_p,)),
            ("bpf_object__next_program", c_void_p, (c_void_p, c_void_p)),
            ("bpf_object__next_map", c_void_p, (c_void_p, c_void_p)),
            ("bpf_program__name", c_char_p, (c_void_p,)),
            ("bpf_program__type", c_int, (c_void_p,)),
            ("bpf_program__expected_attach_type", c_int, (c_void_p,)),
            ("bpf_program__autoload", c_bool, (c_void_p,)),
            ("bpf_program__set_autoload", c_int, (c_void_p, c_bool)),
            ("bpf_program__set_attach_target", c_int, (c_void_p, c_int, c_char_p)),
            ("bpf_program__fd", c_int, (c_void_p,)),
            ("bpf_map__name", c_char_p, (c_void_p,)),
            ("bpf_map__fd", c_int, (c_void_p,)),
        ):
            call = getattr(lib, function)
            call.restype, call.argtypes = result, arguments
        lib.libbpf_set_print(None)

    @property
    def version(self) -> tuple[int, int]:
        return int(self._lib.libbpf_major_version()), int(self._lib.libbpf_minor_version())

    def type_by_name(self, section: str) -> tuple[int, int] | None:
        """Return (program type, expected attach type) of a SEC() name, None if this libbpf doesn't know it."""
        kind, attach = c_int(), c_int()
        if self._lib.libbpf_prog_type_by_name(section.encode(), kind, attach):
            return None
        return kind.value, attach.value

    def load(
        self,
        data: bytes,
        *,
        name: str = "object",
        programs: frozenset[str] | None = None,
        pin_root: str = "",
        kconfig: str = "",
        kernel_btf: str = "",
        attach_to: tuple[int, str] | None = None,
    ) -> Outcome:
        """Open and load an object file from memory, describe what came of it, and close it.

        `programs`: those to load, None: those that SEC() switches on. `attach_to`: fd of a program and the function in it.
        """
        options = _OpenOpts(
            sz=ctypes.sizeof(_OpenOpts),
            object_name=name.encode(),
            pin_root_path=pin_root.encode() or None,
            kconfig=kconfig.encode() or None,
            btf_custom_path=kernel_btf.encode() or None,
        )
        buffer = ctypes.create_string_buffer(data, len(data))  # aligned, unlike what bytes hold
        with self._opened(buffer, options) as (handle, code):
            if not handle:
                return Outcome(code, opened=False)
            entries = list(self._each("bpf_object__next_program", handle))
            for entry in entries:
                if programs is not None:
                    self._lib.bpf_program__set_autoload(entry, self._name(entry) in programs)
                if attach_to is not None and self._lib.bpf_program__autoload(entry):
                    self._lib.bpf_program__set_attach_target(entry, attach_to[0], attach_to[1].encode())
            code = -self._lib.bpf_object__load(handle)
            return Outcome(
                code,
                opened=True,
                programs={self._name(entry): self._program(entry, loaded=not code) for entry in entries},
                maps={} if code else dict(self._maps(handle)),
            )

    @contextmanager
    def _opened(self, buffer: ctypes.Array[ctypes.c_char], options: _OpenOpts) -> Iterator[tuple[int | None, int]]:
        handle = self._lib.bpf_object__open_mem(buffer, len(buffer), options)
        code = ctypes.get_errno()
        try:
            yield handle, code
        finally:
            if handle:
                self._lib.bpf_object__close(handle)

    def _each(self, function: str, handle: int) -> Iterator[int]:
        entry = None
        while entry := getattr(self._lib, function)(handle, entry):
            yield entry

    def _name(self, entry: int) -> str:
        name: bytes = self._lib.bpf_program__name(entry)
        return name.decode()

    def _program(self, entry: int, *, loaded: bool) -> ProgramSeen:
        lib = self._lib
        kind, attach = lib.bpf_program__type(entry), lib.bpf_program__expected_attach_type(entry)
        autoload = lib.bpf_program__autoload(entry)
        fd = lib.bpf_program__fd(entry) if loaded and autoload else -1
        tag, insns = _tag(fd) if fd >= 0 else ("", 0)
        return ProgramSeen(kind, attach, autoload, tag, insns)

    def _maps(self, handle: int) -> Iterator[tuple[str, MapSeen]]:
        for entry in self._each("bpf_object__next_map", handle):
            fd = self._lib.bpf_map__fd(entry)
            # The fd of a map that wasn't created is that of a placeholder.
            if fd >= 0 and os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:bpf-map":
                yield self._lib.bpf_map__name(entry).decode(), describe_map(fd)


@functools.cache
def library() -> Libbpf | None:
    """Return libbpf, None where there is none."""
    found = path()
    return Libbpf(found) if found else None
