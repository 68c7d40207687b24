"""Fixtures of all suites.

Markers: `needs_root` (root and a bpf(2) that works), `needs_feature("xdp_link")` (see support/features.py; for a feature that
isn't in the table: `needs_feature("name", since="6.1", config="CONFIG_X")`). Everything in tests/kernel needs root.

With BPFLOAD_REQUIRE_KERNEL=1, as in CI, whatever would be skipped for lack of root, of BPF or of a peer fails instead. Only a
named feature that this kernel is too old for, or was built without, still skips.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import leaks, namespaces, process, system, tracer
from support.features import FEATURES, why_missing
from support.namespaces import VethPair
from support.process import Result

REQUIRE_KERNEL = os.environ.get("BPFLOAD_REQUIRE_KERNEL", "") not in ("", "0")
_HERE = Path(__file__).parent
_ON_KERNEL = ("kernel",)

_private_mounts = False
_kernel_tests = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs_root: needs root and a kernel whose bpf(2) works")
    config.addinivalue_line("markers", "needs_feature(name, since='5.9', config='CONFIG_X'): needs this of the kernel")
    config.addinivalue_line("markers", "may_leave_fds: opens files on purpose that outlive the test")
    config.stash[_kernel_tests] = {"passed": 0, "skipped": 0, "selected": 0}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _suite(item) in _ON_KERNEL:
            item.add_marker(pytest.mark.needs_root)
            config.stash[_kernel_tests]["selected"] += 1


def _suite(item: pytest.Item) -> str:
    try:
        return item.path.relative_to(_HERE).parts[0]
    except ValueError:
        return ""


def lacking(reason: str) -> None:
    """Skip, since something that every test machine should have isn't here; where kernel tests are required, fail."""
    if REQUIRE_KERNEL:
        pytest.fail(f"{reason}, and BPFLOAD_REQUIRE_KERNEL is set", pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_feature"):
        for name in marker.args:
            if name not in FEATURES and "since" not in marker.kwargs:
                pytest.fail(f"needs_feature({name!r}): not in support/features.py, and no since= given", pytrace=False)
            reason = why_missing(name, **marker.kwargs)
            if reason:
                pytest.skip(f"feature: {reason}")
    if item.get_closest_marker("needs_root"):
        reason = system.why_no_kernel()
        if reason:
            lacking(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if _suite(item) in _ON_KERNEL:
        counts = item.config.stash[_kernel_tests]
        if report.when == "call" and report.passed:
            counts["passed"] += 1
        if report.skipped and not hasattr(report, "wasxfail"):
            counts["skipped"] += 1
            reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
            if REQUIRE_KERNEL and "feature: " not in reason:
                report.outcome = "failed"
                report.longrepr = f"a kernel test skipped without naming a feature that the kernel lacks: {reason}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    counts = session.config.stash[_kernel_tests]
    if REQUIRE_KERNEL and counts["selected"] and not counts["passed"] and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash[_kernel_tests]
    reason = system.why_no_kernel()
    if reason and counts["selected"]:
        terminalreporter.write_line(f"no kernel tests were run ({counts['selected']} of them): {reason}", yellow=True)


# Peers


@pytest.fixture(scope="session")
def bpftool() -> Callable[..., Result]:
    """The peer: `bpftool("prog", "show", "-j").json()`; see support.process.run for options."""
    if not process.bpftool_command():
        lacking("no bpftool (make peers)")
    return process.bpftool


@pytest.fixture(scope="session")
def bpfload() -> Callable[..., Result]:
    """The installed command: `bpfload("prog", "show", check=False)`; see support.process.run for options."""
    return process.bpfload


# Corners of the machine


@pytest.fixture(scope="session")
def private_mounts() -> None:
    """Put the test process into a mount namespace of its own, once: no mount of a test is seen by anybody else."""
    global _private_mounts
    reason = system.why_no_kernel()
    if reason:
        lacking(reason)
    if not _private_mounts:
        namespaces.enter_private_mounts()
        _private_mounts = True


@pytest.fixture
def bpffs(private_mounts: None, tmp_path: Path) -> Iterator[Path]:
    """A fresh bpffs at a path of its own; what is still pinned there after the test is dropped."""
    with namespaces.mounted_bpffs(tmp_path / "bpf") as path:
        yield path


@pytest.fixture
def sys_fs_bpf(private_mounts: None) -> Iterator[Path]:
    """A fresh bpffs at /sys/fs/bpf itself, seen by the test and the commands it runs only."""
    with namespaces.mounted_bpffs(Path("/sys/fs/bpf")) as path:
        yield path


@pytest.fixture
def veth(request: pytest.FixtureRequest) -> Iterator[VethPair]:
    """Two network namespaces joined by a cable: `veth.device` here, packets by `veth.send()`. The test runs in the first."""
    reason = system.why_no_kernel() or ("" if process.find_tool("ip") else "no ip(8) (make peers)")
    if reason:
        lacking(reason)
    with namespaces.veth_pair() as pair, pair.here.entered():
        yield pair


@pytest.fixture
def netns(veth: VethPair) -> VethPair:
    """The same as `veth`, by the name of what it is for: a network that only this test sees."""
    return veth


@pytest.fixture
def cgroup(private_mounts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cgroup (version 2) of the test's own; run something in it with support.namespaces.run_in_cgroup."""
    root = namespaces.cgroup2_root()
    if root is None:
        root = tmp_path_factory.mktemp("cgroup2")
        system.mount("none", root, "cgroup2")
    with namespaces.private_cgroup(root) as path:
        yield path


# Nothing left behind


@pytest.fixture
def no_fd_leak(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail if the test leaves more open files than it found, by kind."""
    before = leaks.open_fds()
    yield
    after = leaks.open_fds()
    more = after - before
    assert not more, f"file descriptors left open: {dict(more)}"


@pytest.fixture
def nothing_left_behind(private_mounts: None) -> Iterator[None]:
    """Fail if the test leaves programs, maps, links or BTF in the kernel. Ask for it first: before bpffs, veth, cgroup."""
    before = leaks.kernel_ids()
    yield
    remaining = leaks.left_behind(before)
    assert not remaining, f"left behind in the kernel: {remaining}"


@pytest.fixture
def strace() -> None:
    """Skip where support.tracer can't work."""
    if not tracer.available():
        lacking("no strace (make peers)")
