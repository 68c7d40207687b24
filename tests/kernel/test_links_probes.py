"""bpfload.links: probes of the kernel and of programs, static probes, perf events; each counts what really happens."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bpfload
from bpfload.abi import consts
from bpfload.elf.userbinary import UserBinary
from bpfload.errors import FormatError, KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.kernel import syscalls
from bpfload.links import Target, usdt
from bpfload.links.composite import Composite
from bpfload.load import LoadOptions, Object
from bpfload.objects import Link
from support import traced as program_to_probe
from support.features import why_missing
from support.libbpf import Libbpf
from support.traced import DATA, Traced

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

_OBJECT = DATA / "probes.bpf.o"
_NEWER_OBJECT = DATA / "indexed.bpf.o"  # the same, of a usdt.bpf.h that knows index registers


@pytest.fixture
def traced() -> Iterator[Traced]:
    path = program_to_probe.compiled()
    if path is None:
        pytest.skip("feature: no C compiler (make peers)")
    with program_to_probe.running(path) as process:
        yield process


@pytest.fixture
def programs(nothing_left_behind: None) -> Iterator[Callable[..., Object]]:
    """Load the object with the named programs only."""
    loaded: list[Object] = []

    def load(*names: str, path: Path = _OBJECT) -> Object:
        loaded.append(bpfload.load(bpfload.read(path), LoadOptions(programs=names)))
        return loaded[-1]

    yield load
    for each in loaded:
        each.close()


def _hits(live: Object) -> int:
    """How often a program was run since this was asked last."""
    count: int = live.value("hits")
    live.set_value("hits", 0)
    return count


# Tracepoints


@pytest.mark.needs_feature("syscall_tracepoints", "perf_link", "bpf_cookie")
def test_a_tracepoint_counts_system_calls(programs: Callable[..., Object], traced: Traced, bpffs: Path) -> None:
    live = programs("on_tracepoint")
    live.set_value("only_pid", traced.pid)
    with live.program().attach(Target(cookie=7)) as link:
        info = link.info(arrays=True)
        if not why_missing("perf_event_info", since="6.6"):
            assert info.fields["tp_name"] == "sys_enter_getpgid"
        traced.round()
        assert (_hits(live), live.value("cookie")) == (1, 7)
        link.pin(bpffs / "link")
    traced.round()
    assert _hits(live) == 1  # the pin holds it
    with Link.from_pin(bpffs / "link") as again:
        assert again.info().id == info.id
        (bpffs / "link").unlink()
    traced.round()
    assert _hits(live) == 0


@pytest.mark.needs_feature("syscall_tracepoints")
def test_a_tracepoint_without_a_link(programs: Callable[..., Object], traced: Traced, bpffs: Path) -> None:
    live = programs("plain_tracepoint")
    live.set_value("only_pid", traced.pid)
    with live.program().attach(Target(link=False)) as attachment:
        info = attachment.info(arrays=True)
        assert (info.type, info.id, info.prog_id) == (0, 0, live.program().info().id)
        assert info.fields["tp_name"] == "sys_enter_getpgid"
        traced.round()
        assert _hits(live) == 1
        for refused in (lambda: attachment.pin(bpffs / "pin"), attachment.keep, lambda: attachment.update(live.program())):
            with pytest.raises(NotSupportedError) as caught:
                refused()
            assert caught.value.hint
        attachment.detach()
        traced.round()
        assert _hits(live) == 0
    with pytest.raises(NotSupportedError, match="cookies"):
        live.program().attach(Target(link=False, cookie=1))


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("syscalls/sys_enter_getpgidd", NotFoundError, "Did you mean syscalls/sys_enter_getpgid"),
        ("getpgid", UsageError, "The form is tp/CATEGORY/NAME"),
        ("sched/../../x", UsageError, "The form is tp/CATEGORY/NAME"),
    ],
)
@pytest.mark.needs_feature("syscall_tracepoints")
def test_a_tracepoint_that_is_not_there(programs: Callable[..., Object], name: str, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        programs("plain_tracepoint").program().attach_tracepoint(name)
    assert words in str(caught.value)


# uprobes


@pytest.mark.needs_feature("uprobe", "perf_link", "bpf_cookie")
def test_a_uprobe_and_a_uretprobe(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_uprobe", "on_return")
    with live.program("on_uprobe").attach_uprobe(traced.path, "traced_add", pid=traced.pid, cookie=9) as link:
        with UserBinary(str(traced.path)) as binary:
            offset = binary.function("traced_add").offset
        info = link.info(arrays=True)
        if info.fields.get("event_type"):  # Linux 6.6 tells of what perf events are
            assert (info.fields["file_name"], info.number("offset")) == (str(traced.path), offset)
        traced.round()
        assert (_hits(live), live.value("cookie")) == (1, 9)
        assert live.value("arguments")[:2] == [0, 1]
    with live.program("on_return").attach_uprobe(f"{traced.path}", "traced_multiply", pid=traced.pid):
        traced.round()
        assert _hits(live) == 1
        assert live.value("arguments")[0] % 2 == 0
    traced.round()
    assert _hits(live) == 0


@pytest.mark.needs_feature("uprobe")
@pytest.mark.parametrize("link", [True, False])
def test_a_uprobe_at_an_offset_of_the_file_and_of_every_process(
    programs: Callable[..., Object], traced: Traced, link: bool
) -> None:
    live = programs("plain_uprobe")
    live.set_value("only_pid", traced.pid)
    with UserBinary(str(traced.path)) as binary:
        offset = binary.function("traced_hidden").offset
    target = Target(binary=str(traced.path), offset=offset, link=link)
    with live.program().attach(target) as attachment:
        info = attachment.info(arrays=True)
        assert bool(info.id) == (link and not why_missing("perf_link"))
        traced.round()
        traced.round()
        assert _hits(live) == 2
    traced.round()
    assert _hits(live) == 0


@pytest.mark.needs_feature("uprobe")
def test_a_uprobe_as_a_trace_event_leaves_none_behind(
    programs: Callable[..., Object], traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form of kernels whose perf knows no uprobes (before 4.17)."""
    from bpfload.kernel import tracefs
    from bpfload.links import perf

    monkeypatch.setattr(perf, "device_type", lambda name: None)
    events = Path(tracefs.ensure()) / "uprobe_events"
    before = events.read_text()
    live = programs("plain_uprobe")
    with live.program().attach_uprobe(traced.path, "traced_add", pid=traced.pid):
        assert str(traced.path) in events.read_text()
        traced.round()
        assert _hits(live) == 1
    assert events.read_text() == before
    with pytest.raises(NotFoundError):
        live.program().attach_uprobe(traced.path, "traced_add", pid=4_000_000)
    assert events.read_text() == before


@pytest.mark.needs_feature("uprobe")
def test_a_bare_name_of_a_program_or_library(
    programs: Callable[..., Object], traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = programs("plain_uprobe")
    monkeypatch.setenv("PATH", f"/nowhere:{traced.path.parent}")
    with live.program().attach_uprobe("traced", "traced_add", pid=traced.pid):
        traced.round()
        assert _hits(live) == 1
    with live.program().attach_uprobe("libc.so.6", "getpgid", pid=traced.pid):
        traced.round()
        assert _hits(live) == 1
    with pytest.raises(NotFoundError) as caught:
        live.program().attach_uprobe("tracedd", "traced_add")
    assert f"Did you mean {traced.path}" in str(caught.value)
    assert "/nowhere" in str(caught.value)


@pytest.mark.needs_feature("uprobe")
def test_sec_names_the_place_of_a_uprobe(programs: Callable[..., Object], traced: Traced) -> None:
    spec = bpfload.read(_OBJECT)
    spec.program("plain_uprobe").attach_target = f"{traced.path}:traced_add"
    with bpfload.load(spec, LoadOptions(programs=("plain_uprobe",))) as live:
        with live.program().attach():
            traced.round()
            assert _hits(live) == 1
        with live.program().attach(Target(pid=1)):
            traced.round()
            assert _hits(live) == 0
        # The same function of another file, then another function of the same file.
        with pytest.raises(NotFoundError, match="has no function 'traced_add'"):
            live.program().attach(Target(binary="libc.so.6"))
        with live.program().attach(Target(name="traced_hidden")):
            traced.round()
            assert _hits(live) == 1


@pytest.mark.needs_feature("uprobe")
def test_a_uprobe_that_makes_no_sense(programs: Callable[..., Object], traced: Traced, tmp_path: Path) -> None:
    program = programs("plain_uprobe").program()
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    for attach, error, words in (
        (lambda: program.attach_uprobe(traced.path, "traced_ad"), NotFoundError, "Did you mean traced_add"),
        (lambda: program.attach_uprobe(traced.path, "memcpi"), NotFoundError, "may have inlined it"),
        (lambda: program.attach_uprobe(traced.path, "fgets"), NotFoundError, "only calls it"),
        (lambda: program.attach_uprobe("libc.so.6", "memcpy"), NotFoundError, "IFUNC"),
        (lambda: program.attach_uprobe(traced.path, offset=4), UsageError, "is no code"),
        (lambda: program.attach_uprobe(traced.path, offset=1 << 30), UsageError, "behind the end"),
        (lambda: program.attach_uprobe(script, "main"), FormatError, "not an ELF file"),
        (lambda: program.attach_uprobe(tmp_path / "scrpt", "main"), NotFoundError, f"Did you mean {script}"),
        (lambda: program.attach_uprobe(traced.path, "main", pid=4_000_000), NotFoundError, "no process 4000000"),
        (lambda: program.attach(), UsageError, "uprobe/PATH:FUNCTION+OFFSET"),
        (lambda: program.attach(Target(name=f"{traced.path}:main+x")), UsageError, "no function with an offset"),
        (lambda: program.attach_uprobe(traced.path, "main", offset=4, is_return=True), UsageError, "has no offset"),
    ):
        with pytest.raises(error) as caught:  # type: ignore[call-overload]
            attach()
        assert words in str(caught.value), str(caught.value)


@pytest.mark.needs_feature("uprobe", "syscall_tracepoints")
def test_a_process_without_rights_is_told_which(programs: Callable[..., Object]) -> None:
    live = programs("plain_uprobe", "plain_event")
    for attach in (
        lambda: live.program("plain_uprobe").attach_uprobe("libc.so.6", "getpgid"),
        lambda: live.program("plain_event").attach_perf_event("software", "cpu-clock", sample_period=1000, cpu=0),
    ):
        message = _without_capabilities(attach)
        assert "CAP_PERFMON is missing. Run it as root, or with that capability." in message
        level = Path("/proc/sys/kernel/perf_event_paranoid").read_text().strip()
        assert f"kernel.perf_event_paranoid is {level}" in message


def _without_capabilities(attach: Callable[[], object]) -> str:
    """Attach in a process that has no capabilities; return what it is told."""
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        try:
            version_3 = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
            assert ctypes.CDLL(None).capset(version_3, bytes(24)) == 0
            attach()
        except BaseException as error:
            os.write(sending, str(error).encode())
        os._exit(0)
    os.close(sending)
    os.waitpid(child, 0)
    with open(receiving, encoding="utf-8") as file:
        return file.read()


# uprobe.multi


@pytest.mark.needs_feature("uprobe_multi")
def test_many_uprobes_by_a_pattern_by_names_and_by_offsets(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_uprobes", "on_uretprobes")
    program = live.program("on_uprobes")
    with UserBinary(str(traced.path)) as binary:
        add, multiply, hidden = (each.offset for each in binary.functions(("traced_add", "traced_multiply", "traced_hidden")))
    with program.attach_uprobe_multi(traced.path, "traced_*", pid=traced.pid) as link:
        info = link.info(arrays=True)
        assert (info.text("path"), sorted(info.numbers("offsets"))) == (str(traced.path), sorted((add, multiply, hidden)))
        assert info.number("pid") == traced.pid
        traced.round()
        assert _hits(live) == 3
    names = ("traced_hidden", "traced_add")
    live.set_value("cookies_seen", 0)
    with program.attach_uprobe_multi(traced.path, symbols=names, cookies=(3, 5), pid=traced.pid) as link:
        info = link.info(arrays=True)
        assert info.numbers("offsets") == (hidden, add)
        assert info.numbers("cookies") == (3, 5)
        traced.round()
        assert (_hits(live), live.value("cookies_seen")) == (2, 1 << 3 | 1 << 5)
    with program.attach_uprobe_multi(traced.path, offsets=(multiply,), cookies=(6,), pid=traced.pid):
        traced.round()
        assert (_hits(live), live.value("cookie")) == (1, 6)
    with live.program("on_uretprobes").attach(Target(binary=str(traced.path), pattern="traced_?*", pid=traced.pid)) as link:
        assert link.info().number("flags") == consts.BPF_F_UPROBE_MULTI_RETURN
        traced.round()
        assert _hits(live) == 3
    traced.round()
    assert _hits(live) == 0


@pytest.mark.needs_feature("uprobe_multi")
def test_many_uprobes_that_make_no_sense(programs: Callable[..., Object], traced: Traced) -> None:
    program = programs("on_uprobes").program()
    path = traced.path
    for attach, error, words in (
        (lambda: program.attach_uprobe_multi(path, "zork*"), NotFoundError, "no function of"),
        (lambda: program.attach_uprobe_multi(path), UsageError, "uprobe.multi/PATH:PATTERN"),
        (lambda: program.attach_uprobe_multi(path, "traced_*", cookies=(1,)), UsageError, "which place is which"),
        (lambda: program.attach_uprobe_multi(path, symbols=("main",), cookies=(1, 2)), UsageError, "2 cookies for 1 places"),
        (lambda: program.attach_uprobe_multi(path, symbols=("main",), offsets=(1,)), UsageError, "either by symbols or"),
        (lambda: program.attach_uprobe_multi(path, "traced_*", pid=4_000_000), NotFoundError, "no process 4000000"),
        (
            lambda: program.attach(Target(binary=str(path), pattern="traced_*", link=False)),
            UsageError,
            "can't be attached without",
        ),
        (lambda: program.attach_uprobe(path, "main", pid=1).close(), KernelError, "was refused"),
    ):
        with pytest.raises(error) as caught:  # type: ignore[call-overload]
            attach()
        assert words in str(caught.value), str(caught.value)


@pytest.mark.needs_feature("uprobe", "perf_link", "bpf_cookie")
def test_many_uprobes_singly_where_the_kernel_has_no_link_of_them(
    programs: Callable[..., Object], traced: Traced, bpffs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that wasn't loaded for the link stands in for a kernel without it."""
    from bpfload.links import attach_to, uprobe_multi

    live = programs("on_uprobe")
    monkeypatch.setattr(uprobe_multi, "lacks_links", lambda error: error.errno in (errno.EINVAL, errno.EOPNOTSUPP))
    target = Target(binary=str(traced.path), symbols=("traced_add", "traced_hidden"), cookies=(1, 2), pid=traced.pid)
    with attach_to("uprobe_multi", live.program(), live.program().spec, target) as attachment:
        assert isinstance(attachment, Composite)
        assert len({part.info().id for part in attachment.parts}) == 2
        traced.round()
        assert (_hits(live), live.value("cookies_seen")) == (2, 0b110)
        attachment.pin(bpffs / "links")
        assert sorted(os.listdir(bpffs / "links")) == ["0", "1"]
    traced.round()
    assert _hits(live) == 2
    for pin in (bpffs / "links").iterdir():
        pin.unlink()
    (bpffs / "links").rmdir()
    # The kernel lets go of a pinned link a moment after its pin.
    end = time.monotonic() + 5
    while live.value("hits") and time.monotonic() < end:
        time.sleep(0.05)
        live.set_value("hits", 0)
        traced.round()
    assert _hits(live) == 0


@pytest.mark.needs_feature("uprobe_session")
def test_a_session_is_run_at_the_entry_and_at_the_return(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_session")
    target = Target(binary=str(traced.path), symbols=("traced_add", "traced_multiply"), cookies=(1, 2), pid=traced.pid)
    with live.program().attach(target):
        traced.round()
        assert (_hits(live), live.value("returns"), live.value("cookies_seen")) == (4, 2, 0b110)
    with bpfload.Program.from_id(live.program().info().id) as opened:
        with opened.attach_uprobe_multi(traced.path, "traced_add", pid=traced.pid):
            traced.round()
        assert _hits(live) == 2


# Static probes


@pytest.mark.needs_feature("uprobe")
def test_the_arguments_of_a_static_probe(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_usdt")
    with live.program().attach_usdt(traced.path, "traced", "mixed", pid=traced.pid, cookie=1 << 40) as attachment:
        traced.round()
        traced.round()
        assert (_hits(live), live.value("argument_count")) == (2, 4)
        assert live.value("arguments") == [-2, 2 << 32, -7, -2]
        assert live.value("cookie") == 1 << 40
        assert bool(attachment.info().id) != bool(why_missing("perf_link"))
    traced.round()
    assert _hits(live) == 0
    assert not any(any(value) for value in _descriptions(live))


def _descriptions(live: Object) -> list[bytes]:
    return [value for _, value in live.map("__bpf_usdt_specs").items()]


@pytest.mark.needs_feature("uprobe")
def test_a_static_probe_at_many_places_and_its_semaphore(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_usdt")
    program = live.program()
    assert traced.round() == 0
    with (
        program.attach_usdt(traced.path, "traced", "busy", pid=traced.pid),
        program.attach_usdt(traced.path, "traced", "bare", pid=traced.pid),
        program.attach(Target(name=f"{traced.path}:traced:many", pid=traced.pid)),
    ):
        # One description for each wording of the arguments: busy's, bare's (all zeros), and two for the three places of many.
        assert [bool(any(value)) for value in _descriptions(live)[:5]] == [True, False, True, True, False]
        assert traced.round() == 1
        assert _hits(live) == 5
    assert traced.round() == 0
    assert _hits(live) == 0


@pytest.mark.needs_feature("uprobe", "perf_link", "bpf_cookie")
def test_a_pinned_static_probe_keeps_its_description(programs: Callable[..., Object], traced: Traced, bpffs: Path) -> None:
    live = programs("on_usdt")
    with live.program().attach_usdt(traced.path, "traced", "mixed", pid=traced.pid) as attachment:
        attachment.pin(bpffs / "probe")
    traced.round()
    assert (_hits(live), live.value("argument_count")) == (1, 4)
    # Another attachment, also of another process, takes another description.
    from bpfload.links import usdt_maps

    usdt_maps._used.clear()
    with live.program().attach_usdt(traced.path, "traced", "busy", pid=traced.pid):
        assert [bool(any(value)) for value in _descriptions(live)[:3]] == [True, True, False]
    (bpffs / "probe").unlink()


@pytest.mark.needs_feature("uprobe")
def test_a_program_that_was_opened_finds_its_maps(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_usdt")
    with bpfload.Program.from_id(live.program().info().id) as opened:
        assert opened.spec.sec is None
        with opened.attach_usdt(traced.path, "traced", "mixed", pid=traced.pid):
            traced.round()
            assert (_hits(live), live.value("argument_count")) == (1, 4)


@pytest.mark.needs_feature("uprobe")
def test_a_static_probe_on_a_kernel_without_cookies(
    programs: Callable[..., Object], traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attaching says where the places are in memory; the program, loaded on a kernel with cookies, doesn't look there."""
    monkeypatch.setattr(usdt, "_has_cookies", lambda: False)
    live = programs("on_usdt")
    places = live.map("__bpf_usdt_ip_to_spec_id")
    base = next(
        int(line.split("-")[0], 16)
        for line in Path(f"/proc/{traced.pid}/maps").read_text().splitlines()
        if str(traced.path) in line
    )
    with UserBinary(str(traced.path)) as binary:
        wanted = {base + each.address for each in binary.static_probes() if each.name == "many"}
    with live.program().attach_usdt(traced.path, "traced", "many", pid=traced.pid):
        assert {struct.unpack("=Q", key)[0] for key, _ in places.items()} == wanted
        with pytest.raises(KernelError, match="is probed already"):
            live.program().attach_usdt(traced.path, "traced", "many", pid=traced.pid)
        traced.round()
        assert _hits(live) == 3
    assert not list(places.items())
    with pytest.raises(NotSupportedError, match="cookies") as caught:
        live.program().attach_usdt(traced.path, "traced", "many")
    assert "pid" in caught.value.hint
    with pytest.raises(NotFoundError, match="runs no code of"):
        live.program().attach_usdt(traced.path, "traced", "many", pid=os.getpid())


@pytest.mark.needs_feature("uprobe")
def test_a_static_probe_that_is_not_there(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_usdt", "plain_uprobe")
    program = live.program("on_usdt")
    for attach, error, words in (
        (lambda: program.attach_usdt(traced.path, "traced", "mixd"), NotFoundError, "Did you mean traced:mixed"),
        (
            lambda: program.attach_usdt(traced.path, "zz", "qq"),
            NotFoundError,
            "traced:bare, traced:busy, traced:indexed, traced:many, traced:mixed.",
        ),
        (lambda: program.attach_usdt("/bin/true", "zz", "qq"), NotFoundError, "no static probes at all"),
        (lambda: program.attach_usdt(traced.path, "traced", "mixed", pid=4_000_000), NotFoundError, "no process 4000000"),
        (lambda: program.attach(), UsageError, "usdt/PATH:PROVIDER:NAME"),
        (lambda: program.attach(Target(name="python")), UsageError, "usdt/PATH:PROVIDER:NAME"),
    ):
        with pytest.raises(error) as caught:  # type: ignore[call-overload]
            attach()
        assert words in str(caught.value), str(caught.value)
    with (
        bpfload.Program.from_id(live.program("plain_uprobe").info().id) as other,
        pytest.raises(UsageError, match="has no map __bpf_usdt_specs"),
    ):
        other.attach_usdt(traced.path, "traced", "mixed")


@pytest.mark.needs_feature("uprobe")
def test_an_argument_at_an_index(programs: Callable[..., Object], traced: Traced) -> None:
    newer, older = programs("on_usdt", path=_NEWER_OBJECT), programs("on_usdt")
    with newer.program().attach_usdt(traced.path, "traced", "indexed", pid=traced.pid):
        traced.round()
        traced.round()
        assert newer.value("arguments")[0] == 40
    with newer.program().attach_usdt(traced.path, "traced", "mixed", pid=traced.pid):
        traced.round()
        assert newer.value("arguments") == [-3, 3 << 32, -7, -3]
    with pytest.raises(FormatError, match="a register plus an index") as caught:
        older.program().attach_usdt(traced.path, "traced", "indexed", pid=traced.pid)
    assert "libbpf 1.7" in caught.value.hint
    assert "static probe traced:indexed" in str(caught.value)


@pytest.mark.needs_feature("uprobe", "perf_link", "bpf_cookie")
@pytest.mark.parametrize("name", ["mixed", "many", "bare", "busy", "indexed"])
def test_static_probes_are_described_as_libbpf_does(
    programs: Callable[..., Object], traced: Traced, libbpf: Libbpf, name: str
) -> None:
    # A libbpf knows one of the two layouts, whatever the object was compiled for: in the older one the register is at 12.
    (first, *_), _ = _by_libbpf(libbpf, traced, "busy", _OBJECT)
    is_older = any(first[12:14])
    if is_older and name == "indexed":
        pytest.skip("feature: this libbpf knows no index registers")
    path = _OBJECT if is_older else _NEWER_OBJECT
    live = programs("on_usdt", path=path)
    with live.program().attach_usdt(traced.path, "traced", name, pid=traced.pid, cookie=77) as attachment:
        ours, info = _descriptions(live), attachment.info(arrays=True)
    theirs, their_info = _by_libbpf(libbpf, traced, name, path)
    assert [value.hex() for value in ours if any(value)] == [value.hex() for value in theirs if any(value)]
    if info.type == consts.BPF_LINK_TYPE_UPROBE_MULTI:
        assert info.fields == their_info


class _UsdtOpts(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("usdt_cookie", ctypes.c_uint64))


def _by_libbpf(libbpf: Libbpf, traced: Traced, name: str, path: Path) -> tuple[list[bytes], object]:
    """Let libbpf attach the same program; return the descriptions that it made, and what its link is."""
    from bpfload.objects import Map

    lib = libbpf._lib
    pointer = ctypes.c_void_p
    lib.bpf_object__find_map_by_name.restype = lib.bpf_object__find_program_by_name.restype = pointer
    lib.bpf_object__find_map_by_name.argtypes = lib.bpf_object__find_program_by_name.argtypes = (pointer, ctypes.c_char_p)
    lib.bpf_program__attach_usdt.restype = pointer
    texts = (ctypes.c_char_p,) * 3
    lib.bpf_program__attach_usdt.argtypes = (pointer, ctypes.c_int, *texts, ctypes.POINTER(_UsdtOpts))
    lib.bpf_link__destroy.argtypes = (pointer,)
    data = path.read_bytes()
    buffer = ctypes.create_string_buffer(data, len(data))
    handle = lib.bpf_object__open_mem(buffer, len(buffer), None)
    try:
        for entry in libbpf._each("bpf_object__next_program", handle):
            lib.bpf_program__set_autoload(entry, libbpf._name(entry) == "on_usdt")
        assert lib.bpf_object__load(handle) == 0
        program = lib.bpf_object__find_program_by_name(handle, b"on_usdt")
        options = _UsdtOpts(ctypes.sizeof(_UsdtOpts), 77)
        link = lib.bpf_program__attach_usdt(
            program, traced.pid, str(traced.path).encode(), b"traced", name.encode(), ctypes.byref(options)
        )
        assert link
        try:
            specs = lib.bpf_object__find_map_by_name(handle, b"__bpf_usdt_specs")
            with Map(os.dup(lib.bpf_map__fd(specs))) as holder:
                descriptions = [value for _, value in holder.items()]
            with bpfload.Program(os.dup(lib.bpf_program__fd(program))) as theirs:
                return descriptions, _fields_of_link(theirs.info().id)
        finally:
            lib.bpf_link__destroy(link)
    finally:
        lib.bpf_object__close(handle)


def _fields_of_link(program_id: int) -> object:
    """What the kernel says of the link of a program."""
    from bpfload.syscall import bpf

    ident = 0
    while (following := bpf.link_get_next_id(ident)) is not None:
        ident = following
        with contextlib.suppress(NotFoundError), Link.from_id(ident) as link:
            if link.info().prog_id == program_id:
                return link.info(arrays=True).fields
    return None


# Perf events


@pytest.mark.needs_feature("perf_link")
def test_a_perf_event_on_every_cpu(programs: Callable[..., Object]) -> None:
    live = programs("on_event")
    program = live.program()
    with program.attach_perf_event("software", "cpu-clock", sample_frequency=500) as attachment:
        parts = attachment.parts if isinstance(attachment, Composite) else (attachment,)
        from bpfload.kernel import cpus

        assert len(parts) == len(cpus.online())
        _work(live, 20)
        assert _hits(live) >= 20
    _hits(live)
    _work(live, 1)
    assert _hits(live) == 0
    with program.attach_perf_event("", "page-faults", sample_period=1, pid=0, cookie=4) as link:
        info = link.info(arrays=True)
        if info.fields.get("event_type"):
            assert (info.fields["type"], info.fields["config"]) == (1, 2)
        with mmap.mmap(-1, 1 << 20) as memory:
            for page in range(0, len(memory), mmap.PAGESIZE):
                memory[page] = 1
            assert live.value("hits") >= len(memory) // mmap.PAGESIZE // 2
        assert live.value("cookie") == 4


def _work(live: Object, hits: int) -> None:
    """Keep a processor busy until the program was run so often, or should have been long ago, by no clock: a guest's may jump."""
    for _ in range(200):
        sum(range(50_000))
        if live.value("hits") >= hits:
            break


def test_a_perf_event_that_makes_no_sense(programs: Callable[..., Object]) -> None:
    program = programs("plain_event").program()
    for attach, error, words in (
        (lambda: program.attach_perf_event("software", "cpu-clok", sample_period=1), NotFoundError, "Did you mean cpu-clock"),
        (lambda: program.attach_perf_event("sofware", "cpu-clock", sample_period=1), NotFoundError, "Did you mean software"),
        (lambda: program.attach_perf_event("software", "cpu-clock"), UsageError, "how often"),
        (lambda: program.attach_perf_event("software", 0, sample_period=1, sample_frequency=1), UsageError, "not both"),
        (lambda: program.attach_perf_event("", 3, sample_period=1), UsageError, "without its type"),
        (lambda: program.attach_perf_event("software", 0, sample_period=1, pid=4_000_000), NotFoundError, "no process"),
        (lambda: program.attach_perf_event("software", 0, sample_frequency=10**9), KernelError, "perf_event_max_sample_rate"),
        (lambda: program.attach_perf_event("software", 99, sample_period=1), KernelError, "no such event"),
        (lambda: program.attach(), UsageError, "no perf event is named"),
    ):
        with pytest.raises(error) as caught:  # type: ignore[call-overload]
            attach()
        assert words in str(caught.value), str(caught.value)


# Functions of the kernel


@pytest.mark.needs_feature("kprobe", "perf_link", "bpf_cookie")
@pytest.mark.parametrize(
    ("name", "form"), [("on_kprobe", "kprobe"), ("on_kretprobe", "kprobe"), ("on_ksyscall", ""), ("on_kretsyscall", "")]
)
def test_functions_of_the_kernel(programs: Callable[..., Object], traced: Traced, name: str, form: str) -> None:
    live = programs(name)
    live.set_value("only_pid", traced.pid)
    target = Target(name=syscalls.function("getpgid") if form else "", cookie=5)
    with live.program().attach(target) as link:
        info = link.info(arrays=True)
        if info.fields.get("func_name"):
            assert info.fields["func_name"] == syscalls.function("getpgid")
        traced.round()
        assert (_hits(live), live.value("cookie")) == (1, 5)
    traced.round()
    assert _hits(live) == 0


@pytest.mark.needs_feature("kprobe")
@pytest.mark.parametrize("legacy", [False, True])
def test_a_kprobe_without_a_link(
    programs: Callable[..., Object], traced: Traced, legacy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bpfload.kernel import tracefs
    from bpfload.links import perf

    if legacy:
        monkeypatch.setattr(perf, "device_type", lambda name: None)
    events = Path(tracefs.ensure()) / "kprobe_events"
    before = events.read_text()
    live = programs("plain_kprobe")
    live.set_value("only_pid", traced.pid)
    with live.program().attach(Target(name=syscalls.function("getpgid"), link=False)):
        assert (events.read_text() != before) == legacy
        traced.round()
        assert _hits(live) == 1
    assert events.read_text() == before
    traced.round()
    assert _hits(live) == 0


@pytest.mark.needs_feature("kprobe")
def test_a_function_of_the_kernel_that_is_not_there(programs: Callable[..., Object]) -> None:
    program = programs("plain_kprobe").program()
    for attach, error, words in (
        (lambda: program.attach_kprobe("vfs_reed"), NotFoundError, "Did you mean vfs_read"),
        (lambda: program.attach_kprobe("vfs_read", offset=1 << 20), UsageError, "is behind the end of vfs_read, which has "),
        (lambda: program.attach_kprobe("vfs_read", offset=1), KernelError, "first byte"),
        (lambda: program.attach(), UsageError, "kprobe/FUNCTION+OFFSET"),
        (lambda: program.attach_kprobe("vfs_read", offset=4, is_return=True), UsageError, "has no offset"),
        (lambda: program.attach_kprobe("vfs read"), UsageError, "no name of a function"),
        (lambda: program.attach_ksyscall("getpgidd"), NotFoundError, "Did you mean getpgid"),
    ):
        with pytest.raises(error) as caught:  # type: ignore[call-overload]
            attach()
        assert words in str(caught.value), str(caught.value)


@pytest.mark.needs_feature("kprobe_multi")
def test_many_functions_of_the_kernel(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_kprobes", "on_kretprobes")
    live.set_value("only_pid", traced.pid)
    program, function = live.program("on_kprobes"), syscalls.function("getpgid")
    with program.attach_kprobe_multi(syscalls.function("getp*i*")) as link:
        if not why_missing("kprobe_multi_info", since="6.6"):
            assert link.info().number("count") >= 2  # getpgid, getpriority
        traced.round()
        assert _hits(live) == 1
    with program.attach_kprobe_multi(symbols=(syscalls.function("getpriority"), function), cookies=(1, 2)):
        traced.round()
        assert (_hits(live), live.value("cookie")) == (1, 2)
    from bpfload.kernel import kallsyms

    with live.program("on_kretprobes").attach_kprobe_multi(addresses=(kallsyms.load().address(function),)) as link:
        if not why_missing("kprobe_multi_info", since="6.6"):
            assert link.info().number("flags") == consts.BPF_F_KPROBE_MULTI_RETURN
        traced.round()
        assert _hits(live) == 1
    for pattern, symbols, words in (
        ("zork_zork*", (), "no function of this kernel that can be probed matches"),
        ("", ("vfs_reed",), "Did you mean vfs_read"),
    ):
        with pytest.raises(NotFoundError) as caught:
            program.attach_kprobe_multi(pattern, symbols=symbols)
        assert words in str(caught.value)
    with pytest.raises(UsageError, match="no cookies"):
        program.attach_kprobe_multi("vfs_*", cookies=(1,))


@pytest.mark.needs_feature("kprobe_session")
def test_a_session_in_the_kernel(programs: Callable[..., Object], traced: Traced) -> None:
    live = programs("on_kprobe_session")
    live.set_value("only_pid", traced.pid)
    with live.program().attach(Target(pattern=syscalls.function("getpgid"))):
        traced.round()
        assert _hits(live) == 2
        assert live.value("returns") >= 1


@pytest.mark.skipif(not why_missing("kprobe"), reason="feature: this kernel has kprobes")
def test_a_kernel_without_kprobes_says_so(programs: Callable[..., Object]) -> None:
    live = programs("plain_kprobe", "on_kprobes", "on_ksyscall")
    for attach in (
        lambda: live.program("plain_kprobe").attach_kprobe("vfs_read"),
        lambda: live.program("on_ksyscall").attach(),
    ):
        with pytest.raises(NotSupportedError, match="this kernel has no kprobes") as caught:
            attach()
        assert caught.value.hint == "This kernel was built without CONFIG_KPROBE_EVENTS."
    with pytest.raises(NotSupportedError, match=r"no kprobe\.multi links") as caught:
        live.program("on_kprobes").attach_kprobe_multi("vfs_*")
    assert caught.value.hint == "This kernel was built without CONFIG_FPROBE."
