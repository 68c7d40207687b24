"""A corner of the machine for one test: a bpffs, two network namespaces joined by veth, a cgroup. All gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import system
from support.process import Argument, Result, run

_numbers = itertools.count()


def enter_private_mounts() -> None:
    """Move this process to a mount namespace of its own: what is mounted from now on ends with it."""
    system.unshare(system.CLONE_NEWNS)
    system.mount("none", "/", "", system.MS_REC | system.MS_PRIVATE)


@contextlib.contextmanager
def mounted_bpffs(path: Path) -> Iterator[Path]:
    """Mount a fresh, empty bpffs at `path`; unmounting drops every pin in it.

    A kernel with CONFIG_BPF_PRELOAD pins two iterators of its own in each new bpffs, `maps.debug` and `progs.debug`, whose
    dots keep them from being removed: what is mounted at `path` is a folder beside them.
    """
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bpffs-") as whole:
        system.mount("bpf", whole, "bpf")
        folder = Path(whole, "own")
        folder.mkdir(mode=0o700)
        system.mount(str(folder), path, "", system.MS_BIND)
        system.umount(whole)
    try:
        yield path
    finally:
        system.umount(path)


class NetworkNamespace:
    """A network namespace, kept alive by a process that sleeps in it and dies with us."""

    def __init__(self) -> None:
        def start() -> None:
            system.die_with_parent()
            system.unshare(system.CLONE_NEWNET)

        self._sleeper = subprocess.Popen(["sleep", "infinity"], preexec_fn=start, stdin=subprocess.DEVNULL)
        self.pid = self._sleeper.pid
        self.path = Path(f"/proc/{self.pid}/ns/net")
        self.run("ip", "link", "set", "lo", "up")

    def close(self) -> None:
        self._sleeper.kill()
        self._sleeper.wait()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and the processes it starts, in the namespace."""
        with open("/proc/thread-self/ns/net", "rb") as before, open(self.path, "rb") as there:
            system.setns(there.fileno(), system.CLONE_NEWNET)
            try:
                yield
            finally:
                system.setns(before.fileno(), system.CLONE_NEWNET)

    def run(self, *args: Argument, check: bool = True) -> Result:
        """Run a command in the namespace."""
        with self.entered():
            return run(*args, check=check)


@dataclass(frozen=True)
class VethPair:
    """`device` in the namespace of the test, `peer_device` in the one at the other end of the cable."""

    here: NetworkNamespace
    there: NetworkNamespace
    device: str = "veth0"
    peer_device: str = "veth1"
    address: str = "10.11.12.1"
    peer_address: str = "10.11.12.2"

    @property
    def ifindex(self) -> int:
        with self.here.entered():
            return socket.if_nametoindex(self.device)

    def send(self, count: int = 1, *, size: int = 32, port: int = 9, pause: float = 0.0) -> None:
        """Send UDP datagrams from the other end: each is one packet that `device` receives."""
        with self.there.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(count):
                # The port is closed: an ICMP answer may surface as an error of the next send.
                with contextlib.suppress(ConnectionRefusedError):
                    sender.sendto(bytes(size), (self.address, port))
                time.sleep(pause)


@contextlib.contextmanager
def veth_pair() -> Iterator[VethPair]:
    """Two fresh network namespaces, a veth in each, addresses set, neighbours known, IPv6 (and its chatter) off."""
    here = NetworkNamespace()
    try:
        there = NetworkNamespace()
    except BaseException:
        here.close()
        raise
    try:
        pair = VethPair(here, there)
        for namespace in (here, there):
            # /proc/sys/net shows the namespace of whoever looks; a kernel without IPv6 has nothing to turn off.
            with namespace.entered(), contextlib.suppress(FileNotFoundError):
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        here.run(
            *("ip", "link", "add", pair.device, "type", "veth"),
            *("peer", "name", pair.peer_device, "netns", there.pid),
        )
        here.run("ip", "addr", "add", f"{pair.address}/24", "dev", pair.device)
        there.run("ip", "addr", "add", f"{pair.peer_address}/24", "dev", pair.peer_device)
        here.run("ip", "link", "set", pair.device, "up")
        there.run("ip", "link", "set", pair.peer_device, "up")
        # Without these, ARP would be packets that no test has sent.
        mac, peer_mac = _mac(here, pair.device), _mac(there, pair.peer_device)
        there.run("ip", "neigh", "replace", pair.address, "lladdr", mac, "dev", pair.peer_device)
        here.run("ip", "neigh", "replace", pair.peer_address, "lladdr", peer_mac, "dev", pair.device)
        yield pair
    finally:
        here.close()
        there.close()


def _mac(namespace: NetworkNamespace, device: str) -> str:
    words = namespace.run("ip", "-o", "link", "show", "dev", device).stdout.split()
    return words[words.index("link/ether") + 1]


def cgroup2_root() -> Path | None:
    """Return where the cgroup2 hierarchy is mounted, or None."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(target)
    return None


@contextlib.contextmanager
def private_cgroup(root: Path) -> Iterator[Path]:
    """Make a cgroup of our own; removing it detaches what was attached."""
    path = root / f"bpfload-test-{os.getpid()}-{next(_numbers)}"
    path.mkdir()
    try:
        yield path
    finally:
        _remove_cgroup(path)


def _remove_cgroup(path: Path) -> None:
    for child in sorted(path.rglob("*"), reverse=True):
        if child.is_dir():
            child.rmdir()
    for attempt in range(50):
        try:
            path.rmdir()
        except OSError:  # a process that was killed is still leaving
            if attempt == 49:
                raise
            time.sleep(0.02)
        else:
            return


def run_in_cgroup(path: Path, args: Sequence[Argument], *, check: bool = True) -> Result:
    """Run a command as a member of a cgroup."""
    return run("sh", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', path, *args, check=check)
