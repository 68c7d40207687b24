"""Tracing by BTF, freplace and iterators: that the programs are called, with their cookies, and what is said where they aren't.

The rows of test_every_link say that each can be attached and taken away; here something happens.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfload.abi import consts
from bpfload.elf import read
from bpfload.errors import KernelError, NotFoundError, NotSupportedError, UsageError
from bpfload.links import Target
from bpfload.load import LoadOptions, Object, load
from bpfload.objects.iterator import IteratorLink
from bpfload.objects.map import Map
from bpfload.syscall import bpf
from support.features import why_missing
from support.paths import DATA

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

COOKIE = 0x1122334455667788


@contextlib.contextmanager
def loaded(name: str, program: str, options: LoadOptions | None = None) -> Iterator[Object]:
    """Load one program of an object of tests/data; skip where a policy of the machine refuses its kind.

    Guests of tests/vm have no such policy, and say so: there it is a failure.
    """
    options = options or LoadOptions()
    options.programs = frozenset((program,))
    try:
        live = load(read(str(DATA / f"{name}.bpf.o")), options)
    except KernelError as error:
        if error.errno == errno.EPERM and "BPFLOAD_NO_POLICY" not in os.environ:
            pytest.skip(f"feature: {name}, {program}: a policy of this machine lets not even root load such programs")
        raise
    with live:
        yield live


def run_test_functions(live: Object, program: str) -> None:
    """Have the kernel call its functions bpf_fentry_test1 to 10, or bpf_modify_return_test."""
    bpf.prog_test_run(live.program(program).fd)


# Cookies, and being called


@pytest.mark.needs_feature("tracing_cookie")
@pytest.mark.parametrize(
    ("program", "calls"),
    [("entered", 1), ("left", 1), pytest.param("modified", 1, marks=pytest.mark.needs_feature("modify_return_test"))],
)
@pytest.mark.parametrize("cookie", [0, COOKIE])
def test_a_traced_function_calls_the_program(program: str, calls: int, cookie: int) -> None:
    with loaded("traced", program) as live:
        with live.program(program).attach(Target(cookie=cookie)) as link:
            run_test_functions(live, program)
            assert live.value(f"{program}_calls") == calls
            assert live.value(f"{program}_cookie") == cookie
            if not why_missing("told_cookie", since="6.17"):
                assert link.info().number("cookie") == cookie
            with pytest.raises(KernelError) as again:
                live.program(program).attach()
            assert again.value.errno == errno.EBUSY
            assert "attached there already" in again.value.hint
        run_test_functions(live, program)
        assert live.value(f"{program}_calls") == calls
        with live.program(program).attach():
            run_test_functions(live, program)
        assert live.value(f"{program}_calls") == 2 * calls


@pytest.mark.needs_feature("fsession")
def test_a_session_is_called_at_both_ends() -> None:
    with loaded("traced", "both") as live, live.program("both").attach(Target(cookie=COOKIE)):
        run_test_functions(live, "both")
        assert (live.value("both_calls"), live.value("both_cookie")) == (2, COOKIE)


@pytest.mark.needs_feature("tp_btf_cookie")
@pytest.mark.parametrize("program", ["at_tracepoint", "at_raw_tracepoint"])
def test_tracepoints_call_the_program(program: str) -> None:
    with loaded("traced", program) as live, live.program(program).attach(Target(cookie=COOKIE)) as link:
        os.getppid()
        assert live.value(f"{program}_calls") > 0
        assert live.value(f"{program}_cookie") == COOKIE
        assert link.info(arrays=True).text("tp_name") == "sys_enter"


@pytest.mark.needs_feature("tracing_cookie", "lsm")
@pytest.mark.parametrize("program", ["opening", "opening_asleep"])
def test_security_hooks_call_the_program(program: str) -> None:
    with loaded("traced", program) as live, live.program(program).attach(Target(cookie=COOKIE)):
        Path("/proc/self/stat").read_text()
        called = live.value(f"{program}_calls") > 0
        active = Path("/sys/kernel/security/lsm")
        assert called or (active.exists() and "bpf" not in active.read_text().split(","))


# Many functions by one link


@pytest.mark.needs_feature("tracing_multi")
@pytest.mark.parametrize(("program", "each"), [("entered_many", 1), ("left_many", 1), ("both_many", 2)])
def test_a_pattern_of_functions(program: str, each: int) -> None:
    with loaded("traced", program) as live:
        with live.program(program).attach() as link:
            info = link.info(arrays=True)
            assert info.type == consts.BPF_LINK_TYPE_TRACING_MULTI
            count = info.number("count")
            assert count >= 8
            assert len(set(info.numbers("ids"))) == count
            assert len(info.numbers("addrs")) == count
            run_test_functions(live, program)
            assert live.value(f"{program}_calls") >= 8 * each
        calls = live.value(f"{program}_calls")
        run_test_functions(live, program)
        assert live.value(f"{program}_calls") == calls


@pytest.mark.needs_feature("tracing_multi")
def test_named_functions_with_cookies() -> None:
    with loaded("traced", "entered_named") as live:
        program = live.program("entered_named")
        with pytest.raises(UsageError, match="names no functions"):
            program.attach()
        with pytest.raises(UsageError, match="1 cookies for 2 named functions"):
            program.attach_tracing_multi(symbols=["bpf_fentry_test1", "bpf_fentry_test2"], cookies=[1])
        with pytest.raises(NotFoundError) as unknown:
            program.attach_tracing_multi(symbols=["bpf_fentry_tst1"])
        assert "bpf_fentry_test1" in unknown.value.candidates
        with pytest.raises(NotFoundError, match="no function 'nothing_like_this_\\*'"):
            program.attach_tracing_multi("nothing_like_this_*")
        with program.attach_tracing_multi(symbols=["bpf_fentry_test3"], cookies=[COOKIE]) as link:
            run_test_functions(live, "entered_named")
            assert (live.value("entered_named_calls"), live.value("entered_named_cookie")) == (1, COOKIE)
            assert link.info(arrays=True).numbers("cookies") == (COOKIE,)


# freplace


@pytest.fixture
def whole() -> Iterator[Object]:
    with load(read(str(DATA / "replaced.bpf.o"))) as live:
        yield live


def result(live: Object) -> int:
    """Run the program that is replaced in part: 1 + 10, as it was written."""
    return bpf.prog_test_run(live.program("whole").fd, bytes(64))[0]


@pytest.mark.needs_feature("freplace_onto_others")
def test_a_function_is_replaced_where_it_was_loaded_for_and_elsewhere(whole: Object) -> None:
    whole_program = whole.program("whole")
    with loaded("replaced", "seven", LoadOptions(attach_to=whole_program.fd)) as live:
        seven = live.program("seven")
        assert result(whole) == 11
        with seven.attach() as link:
            assert result(whole) == 17
            if not why_missing("tracing_target_info"):
                assert link.info().number("target_obj_id") == whole_program.info().id
        assert result(whole) == 11
        with pytest.raises(KernelError) as forgotten:
            seven.attach()
        assert "must be told which program's function" in forgotten.value.hint
        with seven.attach_freplace(whole_program, "tens"):
            assert result(whole) == 8
        with load(read(str(DATA / "replaced.bpf.o"))) as another:
            with seven.attach_freplace(another.program("whole"), "ones"):
                assert (result(another), result(whole)) == (17, 11)
            assert result(another) == 11


@pytest.mark.needs_feature("freplace_onto_others")
def test_what_can_not_be_replaced(whole: Object) -> None:
    with loaded("replaced", "seven", LoadOptions(attach_to=whole.program("whole").fd)) as live:
        seven = live.program("seven")
        with pytest.raises(NotFoundError) as unknown:
            seven.attach_freplace(whole.program("whole"), "tenz")
        assert unknown.value.candidates == ("tens",)
        with pytest.raises(UsageError, match="of which program"):
            seven.attach(Target(function="tens"))
        with seven.attach_freplace(whole.program("whole"), "ones") as link:
            with pytest.raises(KernelError) as twice:
                seven.attach_freplace(whole.program("whole"), "ones")
            assert twice.value.errno in (errno.EBUSY, errno.EINVAL)
            assert twice.value.hint
            with pytest.raises(NotSupportedError, match="update"):
                link.update(seven)


# Iterators


@pytest.fixture
def walking() -> Iterator[Object]:
    spec = read(str(DATA / "iterators.bpf.o"))
    if not why_missing("iter_cgroup"):
        next(program for program in spec.programs if program.name == "cgroups").autoload = True
    with load(spec) as live:
        yield live


def lines(link: IteratorLink) -> list[str]:
    return list(link.lines())


@pytest.mark.needs_feature("iter", "sleepable")
def test_an_iterator_is_read_as_often_as_one_likes(walking: Object) -> None:
    with walking.program("tasks").attach_iterator() as link:
        mine = f"{os.getpid()} {os.getpid()} {Path('/proc/self/comm').read_text().strip()}"
        assert mine in lines(link)
        assert mine.encode() + b"\n" in link.read()
        with link.open() as file:
            assert isinstance(file, io.BufferedReader)
            first = file.readline()
            assert first.endswith(b"\n")
        assert lines(link)[0].encode() + b"\n" == first
    with walking.program("sleepable").attach_iterator() as asleep:
        assert str(os.getpid()) in lines(asleep)
    with walking.program("maps").attach_iterator() as maps:
        spec_map = Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1, name="walked_over"))
        with spec_map:
            assert f"{spec_map.info().id} walked_over" in lines(maps)


@pytest.mark.needs_feature("iter_task")
def test_an_iterator_over_one_task_or_process(walking: Object) -> None:
    program, me = walking.program("tasks"), os.getpid()
    release, ready = threading.Event(), threading.Event()

    def wait() -> None:
        ready.set()
        release.wait(30)

    other = threading.Thread(target=wait)
    other.start()
    ready.wait(30)
    try:
        with program.attach_iterator(tid=other.native_id or 0) as link:
            assert [row.split()[:2] for row in lines(link)] == [[str(me), str(other.native_id)]]
        for pid in (me, 0):
            with program.attach_iterator(pid=pid) as link:
                found = [row.split()[:2] for row in lines(link)]
                assert {row[0] for row in found} == {str(me)}
                assert [str(me), str(other.native_id)] in found
    finally:
        release.set()
        other.join()
    with pytest.raises(UsageError, match="to a thread or to a process, not to both"):
        program.attach_iterator(tid=1, pid=1)
    with pytest.raises(UsageError, match="can't be bound to a cgroup; it takes a task"):
        program.attach_iterator(cgroup="/sys/fs/cgroup")
    with pytest.raises(UsageError, match="walks over everything there is"):
        walking.program("maps").attach_iterator(pid=me)


@pytest.mark.needs_feature("iter_cgroup")
def test_an_iterator_over_cgroups(walking: Object, cgroup: Path, tmp_path: Path) -> None:
    program = walking.program("cgroups")
    child = cgroup / "child"
    child.mkdir()
    try:
        parent, below = str(cgroup.stat().st_ino), str(child.stat().st_ino)
        for order, wanted in (("self", [parent]), ("descendants", [parent, below]), ("descendants_post", [below, parent])):
            with program.attach_iterator(cgroup=cgroup, cgroup_order=order) as link:
                assert lines(link) == wanted
            with program.attach_iterator(cgroup=int(parent), cgroup_order=order) as link:
                assert lines(link) == wanted
        with program.attach_iterator(cgroup=child, cgroup_order="ancestors") as link:
            assert lines(link)[:2] == [below, parent]
        with program.attach_iterator() as everything:
            assert {parent, below} <= set(lines(everything))
    finally:
        child.rmdir()
    with pytest.raises(UsageError, match="no order 'up' of cgroups"):
        program.attach_iterator(cgroup=cgroup, cgroup_order="up")
    with pytest.raises(NotFoundError, match="no cgroup /nope"):
        program.attach_iterator(cgroup="/nope")
    with pytest.raises(KernelError) as elsewhere:
        program.attach_iterator(cgroup=tmp_path)
    assert "is no cgroup" in elsewhere.value.hint


@pytest.mark.needs_feature("iter")
def test_an_iterator_over_a_map(bpffs: Path) -> None:
    with (
        load(read(str(DATA / "elements.bpf.o"))) as live,
        Map(bpf.map_create(consts.BPF_MAP_TYPE_HASH, 4, 8, 4, flags=consts.BPF_F_NO_PREALLOC)) as counts,
        Map(bpf.map_create(consts.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096)) as unwalkable,
    ):
        counts.update((7).to_bytes(4, "little"), (700).to_bytes(8, "little"))
        program = live.program("elements")
        with program.attach_iterator(over=counts) as link:
            assert lines(link) == ["7: 700"]
            link.pin(bpffs / "elements")
            # Whoever reads the pin runs the iterator.
            assert subprocess.run(["cat", bpffs / "elements"], check=True, capture_output=True).stdout == b"7: 700\n"
            link.update(program)
            with IteratorLink.from_pin(bpffs / "elements") as again:
                counts.update((8).to_bytes(4, "little"), (800).to_bytes(8, "little"))
                assert sorted(lines(again)) == ["7: 700", "8: 800"]
        (bpffs / "elements").unlink()
        with pytest.raises(KernelError) as unbound:
            program.attach()
        assert "needs the map" in unbound.value.hint
        with pytest.raises(KernelError) as unfit:
            program.attach_iterator(over=unwalkable)
        assert "can't be walked" in unfit.value.hint
        with Map(bpf.map_create(consts.BPF_MAP_TYPE_ARRAY, 4, 4, 1)) as narrow:
            with pytest.raises(KernelError) as short:
                program.attach_iterator(over=narrow)
            assert "reads more of a key or value" in short.value.hint
