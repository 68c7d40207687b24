"""bpfload.pins.deploy: what the command does between the file and the pin, and takes back when a late step fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpfload import elf, pins
from bpfload.errors import KernelError, NotFoundError, PinError
from bpfload.links import Target
from bpfload.load import LoadOptions
from bpfload.objects import Map
from bpfload.spec import ObjectSpec
from support.namespaces import VethPair
from support.paths import HELLO, PACKET_COUNTER
from support.programs import small_map

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@pytest.fixture
def by_name() -> ObjectSpec:
    """An object whose map is pinned by its name, as `__uint(pinning, LIBBPF_PIN_BY_NAME)` asks for."""
    spec = elf.read(PACKET_COUNTER)
    spec.maps["protocols"].pinning = 1
    return spec


def test_a_map_pinned_by_name_goes_with_a_load_that_fails_later(bpffs: Path, veth: VethPair, by_name: ObjectSpec) -> None:
    options = LoadOptions(pin_root=str(bpffs))
    with pytest.raises(NotFoundError, match="no network device"):
        pins.deploy(by_name, bpffs / "p", target=Target(device="nope"), options=options)
    assert os.listdir(bpffs) == []


def test_a_map_pinned_by_name_earlier_stays(bpffs: Path, veth: VethPair, by_name: ObjectSpec) -> None:
    options = LoadOptions(pin_root=str(bpffs))
    pins.deploy(by_name, bpffs / "p", options=options)
    assert sorted(os.listdir(bpffs)) == ["p", "protocols"]
    with pytest.raises(NotFoundError):
        pins.deploy(by_name, bpffs / "q", target=Target(device="nope"), options=options)
    assert sorted(os.listdir(bpffs)) == ["p", "protocols"]
    pins.unload(bpffs / "p")
    assert os.listdir(bpffs) == ["protocols"]
    with Map.from_pin(bpffs / "protocols") as protocols:
        assert protocols.info().name == "protocols"


@pytest.mark.needs_feature("xdp_link")
def test_a_load_whose_attachment_fails_leaves_nothing(bpffs: Path, veth: VethPair) -> None:
    done = pins.deploy(HELLO, bpffs / "one", target=Target(device=veth.device))
    assert done.pins == (f"{bpffs}/one", f"{bpffs}/one_link")
    assert done.attached == ("hello",)
    with pytest.raises(KernelError, match="has an XDP program already"):
        pins.deploy(HELLO, bpffs / "two", target=Target(device=veth.device), maps_directory=bpffs / "maps")
    assert sorted(os.listdir(bpffs)) == ["one", "one_link"]
    assert pins.unload(bpffs / "one").holders == ()


def test_a_load_whose_last_pin_fails_is_not_attached(bpffs: Path, veth: VethPair) -> None:
    (bpffs / "maps").mkdir()
    with small_map() as in_the_way:
        pins.pin(in_the_way.fd, str(bpffs / "maps/hello_rodata"))
    for _ in range(2):  # the second time fails alike: the first left nothing attached
        with pytest.raises(PinError, match="hello_rodata exists already"):
            pins.deploy(HELLO, bpffs / "p", target=Target(device=veth.device), maps_directory=bpffs / "maps")
    assert os.listdir(bpffs) == ["maps"]
    assert os.listdir(bpffs / "maps") == ["hello_rodata"]
