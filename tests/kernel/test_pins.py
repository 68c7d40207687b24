"""bpfload.pins on a real bpffs: what is pinned where, checks of a path, publishing all or nothing."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from bpfload import pins
from bpfload.errors import BpfError, PinError, UsageError
from bpfload.objects import Link, Program
from bpfload.objects.paths import STAGED, STAGED_MAPS
from bpfload.pins import staging
from bpfload.syscall import bpf
from support import system
from support.programs import small_map, small_program


def names(directory: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(place, name), directory) for place, _, found in os.walk(directory) for name in found
    )


def program_id(path: Path) -> int:
    with Program.from_pin(path) as program:
        return program.info().id


# Paths


@pytest.mark.parametrize(
    ("name", "words", "hint", "code"),
    [
        ("he.llo", "dot", "he_llo", 1),
        ("a.b/hello", "dot", "a_b/hello", 1),
        ("missing/hello", "no directory", "mkdir ", 2),
        ("x" * 250, "too long", "", 36),
        ("taken", "exists already: program", "bpfload unload ", 17),
        ("folder", "exists already: a directory", "", 17),
        ("taken/below", "is not a directory", "", 20),
        ("x" + STAGED, "can't be a pin's name", "isn't finished", 22),
    ],
)
def test_what_is_wrong_with_a_path(bpffs: Path, name: str, words: str, hint: str, code: int) -> None:
    with small_program() as program:
        pins.pin(program.fd, str(bpffs / "taken"))
    (bpffs / "folder").mkdir()
    with pytest.raises(PinError) as caught:
        pins.check_new(str(bpffs / name))
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.errno_code == code


def test_a_path_outside_of_any_bpffs(tmp_path: Path) -> None:
    with pytest.raises(PinError, match="is not on a BPF file system") as caught:
        pins.check_new(str(tmp_path / "hello"))
    assert "/sys/fs/bpf" in caught.value.hint


def test_pinning_says_why_it_failed(bpffs: Path, tmp_path: Path) -> None:
    with small_program() as program:
        pins.pin(program.fd, str(bpffs / "one"))
        with pytest.raises(PinError, match="exists already"):
            pins.pin(program.fd, str(bpffs / "one"))
        with pytest.raises(PinError, match="dot"):
            pins.pin(program.fd, str(bpffs / "o.ne"))
        with pytest.raises(PinError, match="not on a BPF file system"):
            pins.pin(program.fd, str(tmp_path / "one"))


def test_bpffs_is_mounted_where_it_is_missing(private_mounts: None) -> None:
    system.mount("tmpfs", "/sys/fs", "tmpfs")
    try:
        Path("/sys/fs/bpf").mkdir()
        with pytest.raises(PinError, match="-n forbids mounting"):
            pins.check_new("/sys/fs/bpf/hello", mount=False)
        pins.check_new("/sys/fs/bpf/hello")
        with small_program() as program:
            pins.pin(program.fd, "/sys/fs/bpf/hello")
        assert os.stat("/sys/fs/bpf").st_mode & 0o777 == 0o700
        pins.check_new("/sys/fs/bpf/hello2", mount=False)
    finally:
        with contextlib.suppress(OSError):
            system.umount("/sys/fs/bpf")
        system.umount("/sys/fs")


# Looking


def test_walk_finds_every_pin(bpffs: Path) -> None:
    (bpffs / "below").mkdir()
    (bpffs / "elsewhere").symlink_to(bpffs / "below")
    with small_program() as program, small_map() as a_map:
        for name in ("one", "below/two"):
            bpf.obj_pin(program.fd, str(bpffs / name))
        bpf.obj_pin(a_map.fd, str(bpffs / "below/map"))
        expected = {
            ("program", program.info().id): [str(bpffs / "below/two"), str(bpffs / "one")],
            ("map", a_map.info().id): [str(bpffs / "below/map")],
        }
    assert pins.walk(str(bpffs)) == expected
    everywhere = pins.walk()
    assert {key: everywhere[key] for key in expected} == expected


# Publishing


def test_one_program_is_pinned_at_the_path_itself(bpffs: Path) -> None:
    with small_program() as program:
        assert pins.publish(str(bpffs / "hello"), {"small": program}) == [str(bpffs / "hello")]
        assert names(bpffs) == ["hello"]
        assert program_id(bpffs / "hello") == program.info().id


def test_several_programs_make_a_directory(bpffs: Path) -> None:
    with small_program("a") as a, small_program("b") as b, small_map() as a_map:
        pins.publish(str(bpffs / "two"), {"a": a, "b": b}, maps={"m": a_map}, maps_directory=str(bpffs / "two/maps"))
    assert names(bpffs) == ["two/a", "two/b", "two/maps/m"]


@pytest.mark.parametrize("there", [False, True])
def test_maps_go_to_their_directory(bpffs: Path, there: bool) -> None:
    if there:
        (bpffs / "maps").mkdir()
    with small_program() as program, small_map("m") as m, small_map("n") as n:
        pins.publish(str(bpffs / "p"), {"small": program}, maps={"m": m, "n": n}, maps_directory=str(bpffs / "maps"))
    assert names(bpffs) == ["maps/m", "maps/n", "p"]
    assert sorted(os.listdir(bpffs)) == ["maps", "p"]


def test_a_pin_that_is_in_the_way_is_left_alone_and_nothing_else_appears(bpffs: Path) -> None:
    (bpffs / "maps").mkdir()
    with small_program() as program, small_map("m") as m, small_map("n") as n:
        pins.pin(n.fd, str(bpffs / "maps/n"))
        with pytest.raises(PinError, match=r"maps/n exists already"):
            pins.publish(str(bpffs / "p"), {"small": program}, maps={"m": m, "n": n}, maps_directory=str(bpffs / "maps"))
        assert names(bpffs) == ["maps/n"]
        pins.pin(program.fd, str(bpffs / "p_link"))
        with pytest.raises(PinError, match=r"p_link exists already"):
            pins.publish(str(bpffs / "p"), {"small": program}, {"small": Link(os.dup(program.fd))})
        assert names(bpffs) == ["maps/n", "p_link"]
        pins.pin(program.fd, str(bpffs / "p"))
        with pytest.raises(PinError, match=r"/p exists already"):
            pins.publish(str(bpffs / "p"), {"small": program})
    assert names(bpffs) == ["maps/n", "p", "p_link"]
    assert sorted(os.listdir(bpffs)) == ["maps", "p", "p_link"]


def test_maps_cannot_be_pinned_in_a_program(bpffs: Path) -> None:
    with small_program() as program, small_map() as m, pytest.raises(UsageError, match="not a directory"):
        pins.publish(str(bpffs / "p"), {"small": program}, maps={"m": m}, maps_directory=str(bpffs / "p/maps"))
    assert os.listdir(bpffs) == []


def test_maps_on_another_mount_are_refused(bpffs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    system.mount("bpf", other, "bpf")
    try:
        with small_program() as program, small_map() as m, pytest.raises(PinError, match="another BPF file system"):
            pins.publish(str(bpffs / "p"), {"small": program}, maps={"m": m}, maps_directory=str(other / "maps"))
        assert os.listdir(bpffs) == []
        assert "maps" not in os.listdir(other)
    finally:
        system.umount(other)


def test_of_two_loads_at_one_path_one_wins(bpffs: Path) -> None:
    """Each of many threads publishes a program of its own at one path; a loser leaves nothing and breaks nothing."""
    won: list[int] = []
    lost: list[BpfError] = []

    def publish() -> None:
        with small_program() as program:
            try:
                pins.publish(str(bpffs / "p"), {"small": program})
                won.append(program.info().id)
            except BpfError as error:
                lost.append(error)

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert all("exists already" in error.message for error in lost), lost
    assert program_id(bpffs / "p") == won[0]
    assert os.listdir(bpffs) == ["p"]


def test_a_load_waits_for_one_that_is_under_way(bpffs: Path) -> None:
    done = threading.Event()

    def publish() -> None:
        with small_program() as program:
            pins.publish(str(bpffs / "p"), {"small": program})
        done.set()

    with staging.locked(str(bpffs / "other")):
        thread = threading.Thread(target=publish)
        thread.start()
        assert not done.wait(0.1)
        assert os.listdir(bpffs) == []
    thread.join()
    assert os.listdir(bpffs) == ["p"]


def test_a_lock_that_is_never_released_is_an_error(bpffs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_PATIENCE_SECONDS", 0.05)
    with small_program() as program, staging.locked(str(bpffs / "p")), pytest.raises(PinError, match="lock"):
        pins.publish(str(bpffs / "p"), {"small": program})
    assert os.listdir(bpffs) == []


def test_leftovers_are_taken_away_and_strangers_are_not(bpffs: Path) -> None:
    """Staging names without a lock are left over; a link or map beside them that isn't of that load stays."""
    with small_program() as program, small_map() as m:
        pins.pin(program.fd, str(bpffs / f"p{STAGED}"))
        pins.pin(program.fd, str(bpffs / "p_link"))
        (bpffs / f"p{STAGED_MAPS}").mkdir()
        pins.pin(m.fd, str(bpffs / f"p{STAGED_MAPS}/m"))
        pins.pin(m.fd, str(bpffs / "m"))
        pins.publish(str(bpffs / "p"), {"small": program})
    assert names(bpffs) == ["m", "p", "p_link"]
    assert sorted(os.listdir(bpffs)) == ["m", "p", "p_link"]
