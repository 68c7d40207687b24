"""What a listing says of each of thousands of programs, asked of the kernel in the same buffers again and again.

`bpfload.objects.info` has all that the kernel tells of one program; making that of 2,000 takes longer than asking the kernel.
"""

from __future__ import annotations

import errno
from struct import Struct, iter_unpack, pack_into
from typing import NamedTuple

from bpfload.abi import consts, layout
from bpfload.errors import KernelError
from bpfload.objects.text import text_of
from bpfload.syscall import bpf, bpf_call

# Most programs use few maps: with room for so many ids the first call brings them along.
_MAP_IDS = 64

_INFO = Struct(layout.PROG_INFO_FORMAT)
_INDEX = {name: index for index, name in enumerate(layout.PROG_INFO_FIELDS)}


class ListedProgram(NamedTuple):
    """What a listing needs of struct bpf_prog_info, by the kernel's names. `tag`: hex. `orphaned`: its device is gone."""

    type: int
    id: int
    tag: str
    jited_prog_len: int
    xlated_prog_len: int
    load_time: int
    created_by_uid: int
    map_ids: tuple[int, ...]
    name: str
    ifindex: int
    gpl_compatible: bool
    netns_dev: int
    netns_ino: int
    btf_id: int
    nr_func_info: int
    run_time_ns: int
    run_cnt: int
    recursion_misses: int
    orphaned: bool


class ProgramReader:
    """Asks about one program after the other."""

    def __init__(self) -> None:
        values: list[int | bytes] = [b"" if name in ("tag", "name") else 0 for name in layout.PROG_INFO_FIELDS]
        self._map_ids = bytearray(4 * _MAP_IDS)
        values[_INDEX["nr_map_ids"]] = _MAP_IDS
        values[_INDEX["map_ids"]] = bpf.address(self._map_ids)
        self._question = _INFO.pack(*values)
        self._info = bytearray(self._question)
        self._attr = bytearray(16)
        self._where, self._size = bpf.address(self._info), len(self._info)
        self._call = bpf.address(self._attr)

    def read(self, fd: int) -> ListedProgram:
        """Return what a listing says of the program behind an fd. Raises KernelError."""
        self._info[:] = self._question
        pack_into("=IIQ", self._attr, 0, fd, self._size, self._where)
        result = bpf_call.call_at(consts.BPF_OBJ_GET_INFO_BY_FD, self._call, 16)
        if result < 0 and result != -errno.ENODEV:  # the latter: it was offloaded to a device that is gone
            raise KernelError("BPF_OBJ_GET_INFO_BY_FD", -result)
        fields = _INFO.unpack(self._info)
        count = fields[_NR_MAP_IDS]
        return ListedProgram(
            fields[0],
            fields[1],
            fields[2].hex(),
            fields[3],
            fields[4],
            fields[_LOAD_TIME],
            fields[_UID],
            self._ids(fd, count) if count else (),
            text_of(fields[_NAME]),
            fields[_IFINDEX],
            bool(fields[_GPL] & 1),
            fields[_NETNS_DEV],
            fields[_NETNS_INO],
            fields[_BTF_ID],
            fields[_NR_FUNC_INFO],
            fields[_RUN_TIME],
            fields[_RUN_CNT],
            fields[_RECURSION],
            result == -errno.ENODEV,
        )

    def _ids(self, fd: int, count: int) -> tuple[int, ...]:
        """Return the ids of the maps that a program uses, of very many by a call of their own."""
        if count > _MAP_IDS:
            from bpfload.objects.info import prog_info

            return prog_info(fd, ("map_ids",)).map_ids
        return tuple(number for (number,) in iter_unpack("=I", self._map_ids[: 4 * count]))


_NR_MAP_IDS, _LOAD_TIME, _UID, _NAME = (_INDEX[name] for name in ("nr_map_ids", "load_time", "created_by_uid", "name"))
_IFINDEX, _GPL, _NETNS_DEV, _NETNS_INO = (_INDEX[name] for name in ("ifindex", "gpl_compatible", "netns_dev", "netns_ino"))
_BTF_ID, _NR_FUNC_INFO, _RUN_TIME = (_INDEX[name] for name in ("btf_id", "nr_func_info", "run_time_ns"))
_RUN_CNT, _RECURSION = _INDEX["run_cnt"], _INDEX["recursion_misses"]
