# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Show what bpfload does, on this machine's kernel, without touching this machine: `make demo`.

The process moves to a mount namespace and a network namespace of its own before it does anything. There it has its own
/sys/fs/bpf, and a pair of virtual network devices to send packets through. All of it ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).with_name("bpfload")
BPFFS = "/sys/fs/bpf"
CLONE_NEWNS, CLONE_NEWNET = 0x0002_0000, 0x4000_0000
MS_PRIVATE_RECURSIVE, MS_BIND, MNT_DETACH = 0x40000 | 0x4000, 0x1000, 2
PR_SET_PDEATHSIG = 1
MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"
NUD_PERMANENT = 0x80

libc = ctypes.CDLL(None, use_errno=True)


def call(result: int, what: str) -> None:
    """Raise the error of a failed call to the C library."""
    if result < 0:
        number = ctypes.get_errno()
        raise SystemExit(f"demo: {what}: {os.strerror(number)}")


def enter_namespaces() -> None:
    """Leave the machine's mounts and network for private ones, with a fresh bpffs at /sys/fs/bpf."""
    call(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    call(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_PRIVATE_RECURSIVE), None), "mount --make-rprivate /")
    os.makedirs(BPFFS, exist_ok=True)
    # Some kernels (CONFIG_BPF_PRELOAD) put two iterators of their own into each new bpffs: a folder beside them is empty.
    with tempfile.TemporaryDirectory() as whole:
        folder = os.path.join(whole, "demo")
        call(libc.mount(b"bpf", whole.encode(), b"bpf", ctypes.c_ulong(0), None), "mount bpffs")
        os.mkdir(folder)
        call(libc.mount(folder.encode(), BPFFS.encode(), None, ctypes.c_ulong(MS_BIND), None), f"mount {BPFFS}")
        call(libc.umount2(whole.encode(), MNT_DETACH), "umount")


def die_with_parent() -> None:
    """For a child: end when the demo ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_other_end() -> subprocess.Popen[bytes]:
    """Start a process that keeps a second network namespace: the other end of the cable."""

    def prepare() -> None:
        die_with_parent()
        libc.unshare(CLONE_NEWNET)
        be_quiet()

    return subprocess.Popen(["sleep", "infinity"], preexec_fn=prepare)


def connect(other_end: int) -> None:
    """Join the two network namespaces by a veth pair: veth0 with 10.0.0.1 here, veth1 with 10.0.0.2 there."""
    from pyroute2 import IPRoute

    with IPRoute() as here:
        peer = {"ifname": "veth1", "net_ns_pid": other_end, "address": MACS[1]}
        here.link("add", ifname="veth0", kind="veth", address=MACS[0], peer=peer)
        index = here.link_lookup(ifname="veth0")[0]
        here.addr("add", index=index, address="10.0.0.1", prefixlen=24)
        here.link("set", index=index, state="up")
        here.neigh("add", ifindex=index, dst="10.0.0.2", lladdr=MACS[1], state=NUD_PERMANENT)
        here.link("set", index=here.link_lookup(ifname="lo")[0], state="up")

    child = os.fork()
    if not child:
        enter_network_of(other_end)
        with IPRoute() as there:
            index = there.link_lookup(ifname="veth1")[0]
            there.addr("add", index=index, address="10.0.0.2", prefixlen=24)
            there.link("set", index=index, state="up")
            there.neigh("add", ifindex=index, dst="10.0.0.1", lladdr=MACS[0], state=NUD_PERMANENT)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("demo: cannot set up the other end")


def be_quiet() -> None:
    """Turn IPv6 off for devices to come in this network namespace: its discovery would be packets that nobody sent."""
    with contextlib.suppress(OSError):
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")


def enter_network_of(pid: int) -> None:
    """Move this process to the network namespace of another."""
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:
        call(libc.setns(namespace.fileno(), CLONE_NEWNET), "setns")


def send_packets(other_end: int, count: int) -> None:
    """Send UDP datagrams from the other end to 10.0.0.1."""
    say(f"{count} datagrams, from 10.0.0.2 to 10.0.0.1")
    child = os.fork()
    if not child:
        enter_network_of(other_end)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(count):
                # Nobody listens, and the answer that says so comes back as an error of the next send.
                with contextlib.suppress(ConnectionRefusedError):
                    sender.sendto(b"hello", ("10.0.0.1", 9))
                time.sleep(0.02)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.1)


def say(text: str) -> None:
    """Print a line of explanation."""
    print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)


def bpfload(*words: str, may_fail: bool = False) -> None:
    """Show a command as it would be typed, and run it."""
    print(f"$ bpfload {shlex.join(words)}", flush=True)
    status = subprocess.run([COMMAND, *words], cwd=SAMPLES, check=False).returncode
    if status and not may_fail:
        raise SystemExit(f"demo: bpfload ended with status {status}")


def shell(line: str) -> None:
    """Show a shell command and run it."""
    print(f"$ {line}", flush=True)
    subprocess.run(line, shell=True, check=True)


def asked(*words: str) -> dict[str, Any]:
    """Run a command that prints one JSON object, silently, and return it."""
    answer: dict[str, Any] = json.loads(subprocess.run([COMMAND, "-j", *words], check=True, capture_output=True).stdout)
    return answer


def trace(text: str, lines: int, meanwhile: Callable[[], None]) -> None:
    """Show the lines of the trace pipe that contain a text, until there are enough of them or a while has passed."""
    print(f"$ bpfload prog tracelog | grep {shlex.quote(text)}", flush=True)
    reader = subprocess.Popen([COMMAND, "prog", "tracelog"], stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    assert reader.stdout
    os.set_blocking(reader.stdout.fileno(), False)
    time.sleep(1)
    meanwhile()
    deadline = time.monotonic() + 5
    seen = b""
    found: list[str] = []
    while time.monotonic() < deadline and len(found) < lines:
        time.sleep(0.05)
        seen += reader.stdout.read() or b""
        found = [line for line in seen.decode(errors="replace").splitlines() if text in line]
    reader.send_signal(signal.SIGINT)
    reader.wait()
    reader.stdout.close()
    print("\n".join(found[:lines]), "^C", sep="\n", flush=True)


def show_hello(other_end: int) -> None:
    """An XDP program, from its object to its end."""
    say("hello: an XDP program. Look into the object: no root, no kernel needed for that")
    bpfload("inspect", "hello/hello.bpf.o")
    say("Load it, attach it to veth0, pin it")
    bpfload("hello/hello.bpf.o", f"{BPFFS}/hello", "--dev", "veth0")
    shell(f"ls {BPFFS}")
    program = asked("prog", "show", "pinned", f"{BPFFS}/hello")
    number = str(program["id"])
    bpfload("prog", "show", "id", number, "--pretty")
    bpfload("prog", "dump", "xlated", "id", number)
    bpfload("net", "list")
    say("Each packet makes it print a line")
    trace("Hello World", 3, lambda: send_packets(other_end, 3))
    say("Its global variable counted along; the other map holds the format string")
    for map_id in sorted(program["map_ids"]):
        bpfload("map", "show", "id", str(map_id))
        bpfload("map", "dump", "id", str(map_id))
    say("One command takes it all away")
    bpfload("unload", f"{BPFFS}/hello")
    bpfload("prog", "show", "id", number, may_fail=True)


def show_packet_counter(other_end: int) -> None:
    """A hash map with typed keys and values."""
    say("packet-counter: counts packets by IP protocol (17 is UDP) in a hash map, shown with the names from its BTF")
    bpfload("packet-counter/packet-counter.bpf.o", f"{BPFFS}/packet-counter", "--dev", "veth0")
    send_packets(other_end, 5)
    (map_id,) = asked("prog", "show", "pinned", f"{BPFFS}/packet-counter")["map_ids"]
    bpfload("map", "dump", "id", str(map_id))
    say("Another version in its place, while packets come in: the counts go on")
    bpfload("packet-counter/packet-counter.bpf.o", f"{BPFFS}/packet-counter", "--replace")
    send_packets(other_end, 5)
    bpfload("map", "lookup", "id", str(map_id), "key", "17", ".packets")
    say("Values go in by their types, too")
    bpfload("map", "update", "id", str(map_id), "key", "17", "value", '{"packets": 0, "bytes": 0}')
    bpfload("map", "lookup", "id", str(map_id), "key", "17", "--typed")
    bpfload("unload", f"{BPFFS}/packet-counter")


def show_exec_events() -> None:
    """A ring buffer, read by the type of its events."""
    say("exec-events: a ring buffer of the programs that start, shown by the type of its events")
    bpfload("exec-events/exec-events.bpf.o", f"{BPFFS}/exec-events")
    starting = subprocess.Popen(["sh", "-c", "sleep 1; for name in ls date id; do $name; done"], stdout=subprocess.DEVNULL)
    bpfload("map", "watch", "name", "events", "type", "event", "count", "4")
    starting.wait()
    bpfload("unload", f"{BPFFS}/exec-events")


def show_hello_func() -> None:
    """A raw tracepoint and a call from one BPF function to another."""
    say("hello-func: prints the number of each system call; the call to its own function shows in the disassembly")
    bpfload("hello-func/hello-func.bpf.o", f"{BPFFS}/hello-func", "--attach", "sys_enter")
    bpfload("prog", "dump", "xlated", "pinned", f"{BPFFS}/hello-func")
    bpfload("link", "show", "pinned", f"{BPFFS}/hello-func_link")
    trace("Syscall:", 3, lambda: None)
    bpfload("unload", f"{BPFFS}/hello-func")


def main() -> None:
    """Run the demo."""
    if os.geteuid() != 0:
        raise SystemExit("demo: needs root: sudo make demo")
    enter_namespaces()
    be_quiet()
    other_end = start_other_end()
    try:
        time.sleep(0.2)
        connect(other_end.pid)
        show_hello(other_end.pid)
        show_packet_counter(other_end.pid)
        show_hello_func()
        show_exec_events()
        say("Nothing is left")
        shell(f"ls -l {BPFFS}")
    finally:
        other_end.kill()
        other_end.wait()


if __name__ == "__main__":
    main()
