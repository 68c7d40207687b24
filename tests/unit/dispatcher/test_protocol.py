"""bpfload.dispatcher.protocol: the configuration as it stands in a dispatcher's map, names of actions, paths."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from bpfload.dispatcher import chain, protocol
from bpfload.dispatcher.protocol import Config, Slot
from bpfload.errors import PinError, UsageError

SLOTS = (Slot(10, 0b110, 32), Slot(4_000_000_000, 0))


def test_the_configuration_has_libxdps_layout() -> None:
    value = Config(SLOTS, 2, frags=True).pack()
    assert len(value) == 124
    assert tuple(value[:4]) == (ord("X") + ord("D") + ord("P"), 2, 2, 1)
    words = struct.unpack_from("=30I", value, 4)
    assert words[:3] == (1 << 31 | 0b110, 1 << 31, 0)
    assert words[10:13] == (10, 4_000_000_000, 0)
    assert words[20:23] == (32, 0, 0)
    third = Config(SLOTS, 3, device_bound=True).pack()
    assert (len(third), third[1], third[124]) == (128, 3, 1)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("count", [0, 1, 10])
def test_what_is_packed_can_be_read(version: int, count: int) -> None:
    config = Config(tuple(Slot(number, 1 << number % 5, number) for number in range(count)), version, frags=True)
    assert Config.unpack(config.pack()) == config


def test_version_1_has_no_magic_number() -> None:
    value = struct.pack("=B3x10I10I", 2, *[1 << 31 | 4] * 2, *[0] * 8, *[50, 60], *[0] * 8)
    assert Config.unpack(value) == Config((Slot(50), Slot(60)), 1)


@pytest.mark.parametrize(
    "value",
    [b"", b"\xec", bytes(124), bytes(200), struct.pack("=4B120x", 236, 2, 11, 0), b"\x0b" + bytes(83)],
    ids=["empty", "short", "zero", "other", "eleven", "old-eleven"],
)
def test_another_maps_value_is_no_configuration(value: bytes) -> None:
    assert Config.unpack(value) is None


@pytest.mark.parametrize("value", [struct.pack("=4B", 236, 9, 1, 0), struct.pack("=4B", 236, 2, 1, 0), bytes((236, 0, 1, 0))])
def test_an_unknown_version_has_no_slots(value: bytes) -> None:
    found = Config.unpack(value)
    assert found is not None
    assert (found.version, found.slots) == (value[1], ())


def test_frags_need_every_program() -> None:
    able = Slot(flags=32)
    assert protocol.all_have_frags((able, able))
    assert not protocol.all_have_frags((able, Slot()))
    assert not protocol.all_have_frags(())


def test_actions_by_name() -> None:
    assert protocol.action_bits(["pass", "XDP_DROP", "Tx"]) == 0b1110
    assert protocol.action_names(0b11111) == ("aborted", "drop", "pass", "tx", "redirect")
    assert protocol.action_names(1 << 31 | 1 << 7 | 4) == ("pass", "7")
    assert protocol.action_bits([]) == 0
    with pytest.raises(UsageError, match="no XDP action is called 'ok'") as caught:
        protocol.action_bits(["pass", "ok"])
    assert caught.value.hint == "Actions are aborted, drop, pass, tx, redirect."


def test_paths_are_those_of_libxdp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIBXDP_BPFFS", raising=False)
    directory = protocol.pin_directory(3, 42)
    assert directory == "/sys/fs/bpf/xdp/dispatch-3-42"
    assert protocol.program_pin(directory, 0) == f"{directory}/prog0-prog"
    assert protocol.link_pin(directory, 9) == f"{directory}/prog9-link"
    monkeypatch.setenv("LIBXDP_BPFFS", "/mnt/bpf")
    assert protocol.state_directory() == "/mnt/bpf/xdp"


def test_directories_of_dispatchers_are_found_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBXDP_BPFFS", str(tmp_path))
    assert chain.pinned_dispatchers() == []
    for name in ("dispatch-2-30", "dispatch-1-4", "dispatch-1", "dispatch-a-1", "dispatch-1-2-3", "bpfload-1-2-3-4"):
        os.makedirs(tmp_path / "xdp" / name)
    assert [(row[0], row[1]) for row in chain.pinned_dispatchers()] == [(1, 4), (2, 30)]


def test_no_lock_without_its_directory(tmp_path: Path) -> None:
    with pytest.raises(PinError, match="can't be opened: No such file"), protocol.locked(str(tmp_path / "xdp")):
        pass
