"""bpfload.links: what SEC() and people name to be probed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfload.abi import perf
from bpfload.errors import NotFoundError, UsageError
from bpfload.links import Target, probe_target, tracepoint
from bpfload.links.perf_event import event
from bpfload.links.user_paths import resolve
from bpfload.spec import ProgramSpec


def _spec(section: str) -> ProgramSpec:
    return ProgramSpec("hello", section, 0, b"", attach_target=section.partition("/")[2])


@pytest.mark.parametrize(
    ("section", "target", "wanted"),
    [
        ("kprobe/vfs_read", Target(), ("vfs_read", 0)),
        ("kprobe/vfs_read+16", Target(), ("vfs_read", 16)),
        ("kprobe/vfs_read+0x10", Target(offset=4), ("vfs_read", 20)),
        ("kprobe/vfs_read+010", Target(), ("vfs_read", 8)),
        ("kprobe", Target(name="foo.isra.0"), ("foo.isra.0", 0)),
        ("kprobe/vfs_read", Target(name="vfs_write+1"), ("vfs_write", 1)),
    ],
)
def test_functions_of_the_kernel(section: str, target: Target, wanted: tuple[str, int]) -> None:
    assert probe_target.kernel_function(_spec(section), target) == wanted


@pytest.mark.parametrize(
    ("section", "target", "wanted"),
    [
        ("uprobe//bin/sh:main", Target(), ("/bin/sh", "main", 0)),
        ("uprobe//bin/sh:main+0x4", Target(offset=1), ("/bin/sh", "main", 5)),
        ("uprobe/libc.so.6:f@@V_1", Target(), ("libc.so.6", "f@@V_1", 0)),
        ("uprobe//bin/sh:0x1234", Target(), ("/bin/sh", "", 0x1234)),
        ("uprobe//bin/sh:main", Target(binary="/bin/ls"), ("/bin/ls", "main", 0)),
        ("uprobe//bin/sh:main", Target(binary="/bin/ls", offset=8), ("/bin/ls", "", 8)),
        ("uprobe//bin/sh:main", Target(name="other"), ("/bin/sh", "other", 0)),
        ("uprobe", Target(name="/bin/ls:other+2"), ("/bin/ls", "other", 2)),
        ("uprobe", Target(binary="/bin/ls", name="other"), ("/bin/ls", "other", 0)),
    ],
)
def test_functions_of_programs(section: str, target: Target, wanted: tuple[str, str, int]) -> None:
    assert probe_target.binary_function(_spec(section), target) == wanted


@pytest.mark.parametrize(
    ("section", "target", "wanted"),
    [
        ("usdt//bin/sh:app:start", Target(), ("/bin/sh", "app", "start")),
        ("usdt//bin/sh:app:start", Target(binary="ls"), ("ls", "app", "start")),
        ("usdt//bin/sh:app:start", Target(name="app:stop"), ("/bin/sh", "app", "stop")),
        ("usdt", Target(name="libc.so.6:libc:setjmp"), ("libc.so.6", "libc", "setjmp")),
        ("usdt", Target(binary="ls", name="app:stop"), ("ls", "app", "stop")),
    ],
)
def test_static_probes(section: str, target: Target, wanted: tuple[str, str, str]) -> None:
    assert probe_target.static_probe(_spec(section), target) == wanted


@pytest.mark.parametrize(
    ("section", "parse", "words"),
    [
        ("kprobe", probe_target.kernel_function, "kprobe/FUNCTION or kprobe/FUNCTION+OFFSET"),
        ("kprobe/a b", probe_target.kernel_function, "'a b' is no name of a function"),
        ("kprobe/read+x", probe_target.kernel_function, "'read+x' is no function with an offset"),
        ("kprobe/read+-1", probe_target.kernel_function, "'read+-1' is no function with an offset"),
        ("kretprobe/read+1", probe_target.kernel_function, "the return of read has no offset"),
        ("uprobe", probe_target.binary_function, "uprobe/PATH:FUNCTION"),
        ("uprobe//bin/sh", probe_target.binary_function, "names no function of /bin/sh"),
        ("uprobe//bin/sh:", probe_target.binary_function, "names no function of /bin/sh"),
        ("uprobe/:main", probe_target.binary_function, "no program or library"),
        ("uretprobe//bin/sh:main+1", probe_target.binary_function, "the return of main has no offset"),
        ("usdt", probe_target.static_probe, "usdt/PATH:PROVIDER:NAME"),
        ("usdt//bin/sh:app", probe_target.static_probe, "'/bin/sh:app' is no static probe"),
        ("usdt//bin/sh:app:", probe_target.static_probe, "is no static probe"),
        ("usdt//bin/sh:app:a:b", probe_target.static_probe, "is no static probe"),
    ],
)
def test_what_is_not_understood(section: str, parse: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(_spec(section), Target())  # type: ignore[operator]
    assert words in str(caught.value)
    assert "The form is" in caught.value.hint


@pytest.mark.parametrize(
    ("section", "target", "wanted"),
    [
        ("kprobe/f", Target(), False),
        ("?kretprobe/f", Target(), True),
        ("uretprobe.multi//bin/sh:f", Target(), True),
        ("kretsyscall/f", Target(), True),
        ("kprobe/f", Target(is_return=True), True),
        ("kretprobe/f", Target(is_return=False), False),
    ],
)
def test_entry_or_return(section: str, target: Target, wanted: bool) -> None:
    assert probe_target.is_return(_spec(section), target) == wanted


@pytest.mark.parametrize("text", ["sched:sched_switch", "sched/sched_switch"])
def test_a_tracepoint_as_perf_or_as_tracefs_write_it(text: str) -> None:
    assert tracepoint._event(_spec("tp"), Target(name=text)) == ("sched", "sched_switch")


# Perf events


@pytest.mark.parametrize(
    ("kind", "config", "wanted"),
    [
        ("software", "cpu-clock", (1, 0)),
        ("", "cpu-clock", (1, 0)),
        ("", "cycles", (0, 0)),
        ("hardware", "instructions", (0, 1)),
        ("hw-cache", "LLC-load-misses", (3, 0x10002)),
        ("", "L1-dcache-loads", (3, 0)),
        ("", "branch-load-refs", (3, 5)),
        ("", "dTLB-prefetches", (3, 0x203)),
        ("raw", "0x1a2", (4, 0x1A2)),
        (1, 3, (1, 3)),
        ("1", "3", (1, 3)),
    ],
)
def test_perf_events(kind: str | int, config: str | int, wanted: tuple[int, int]) -> None:
    assert event(kind, config) == wanted


def test_every_perf_event_that_is_shown_can_be_named() -> None:
    for number, names in ((perf.TYPE_HARDWARE, perf.HARDWARE), (perf.TYPE_SOFTWARE, perf.SOFTWARE)):
        assert [event(perf.TYPES[number], name) for name in names] == [(number, config) for config in range(len(names))]


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("", "cpu-clok", "Did you mean cpu-clock"),
        ("breakpoint", "x", "Such events are numbers"),
        ("software", "zzzz", "Events are cpu-clock"),
        ("zzzz", "cpu-clock", "Types are hardware, software"),
    ],
)
def test_perf_events_that_are_not_there(kind: str, config: str, words: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        event(kind, config)
    assert words in str(caught.value)


# Paths


def test_paths_of_programs_and_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tool", "libtool.so.1", "notes"):
        (tmp_path / name).write_text("")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", f":{tmp_path}")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}:/nowhere")
    assert resolve("tool") == f"{tmp_path}/tool"
    assert resolve("libtool.so.1") == f"{tmp_path}/libtool.so.1"
    assert resolve(f"{tmp_path}/notes") == f"{tmp_path}/notes"
    with pytest.raises(NotFoundError, match="no program 'notes' in"):
        resolve("notes")
    with pytest.raises(NotFoundError, match="/nowhere") as caught:
        resolve("libtool.so.2")
    assert caught.value.candidates[0] == f"{tmp_path}/libtool.so.1"
    with pytest.raises(NotFoundError) as caught:
        resolve(f"{tmp_path}/tol")
    assert caught.value.candidates == (f"{tmp_path}/tool", f"{tmp_path}/libtool.so.1")[: len(caught.value.candidates)]
