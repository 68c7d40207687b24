"""Boot a kernel in QEMU and run one command in it, as root, with this machine's root file system."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vm.initramfs import HERE, build
from vm.packages import Kernel

#: Exit status for a command that was not done in time, as timeout(1) has it, and for a guest that never got to it.
TIMED_OUT = 124
NEVER_RAN = 125
#: Taken from this process's environment into the guest, besides what the caller gives.
INHERITED = ("BPFLOAD_CACHE", "HOME", "LANG", "TERM", "VIRTUAL_ENV")
#: No mitigations: they cost much under emulation. bpf among the security modules: LSM programs can be attached.
COMMAND_LINE = "console=ttyS0,115200 quiet loglevel=4 panic=-1 mitigations=off no_timer_check lsm=yama,bpf tsc=reliable"


@dataclass(frozen=True)
class Outcome:
    """What the command in the guest did. `console`: the kernel's messages."""

    status: int
    seconds: float
    output: bytes
    console: str


def quoted_script(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    """Return a shell script that runs the command there with this environment."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*exports, f"cd {shlex.quote(str(directory))}", f"exec {shlex.join(command)}", ""])


def guest_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the command's environment: the file system is slow and forgotten, so Python writes no bytecode there."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {"PATH": os.environ.get("PATH", ""), "TMPDIR": "/run/vm-tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**inherited, **own, **extra}


def read(path: Path) -> str:
    """Return what a file of the guest's says, "" if there is none."""
    return path.read_text(errors="replace") if path.exists() else ""


def qemu_command(kernel: Kernel, share: Path, *, memory: int, processors: int, accelerator: str) -> list[str]:
    """Return the emulator's command line: two serial ports, the second on its standard output, and the two 9p shares."""
    root = "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"
    writable = f"local,path={share},mount_tag=share,security_model=none"
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35"]
    # Paging with five levels only makes emulation slower.
    command += ["-accel", accelerator, "-cpu", "max,la57=off", "-smp", str(processors), "-m", str(memory)]
    command += ["-kernel", str(kernel.image), "-initrd", str(share / "initramfs"), "-append", COMMAND_LINE]
    command += ["-serial", f"file:{share}/console", "-serial", "stdio", "-virtfs", root, "-virtfs", writable]
    return [*command, "-device", "virtio-rng-pci"]


def follow(process: subprocess.Popen[bytes], seconds: float, to: BinaryIO | None) -> tuple[bytes, bool]:
    """Pass on what the process says until it ends. Returns all of it, and whether it was stopped for want of time."""
    assert process.stdout
    deadline = time.monotonic() + seconds
    os.set_blocking(process.stdout.fileno(), False)
    parts: list[bytes] = []
    while True:
        data = process.stdout.read()
        if data:
            parts.append(data)
            if to:
                to.write(data)
                to.flush()
        elif process.poll() is not None:
            return b"".join(parts), False
        elif time.monotonic() > deadline:
            process.kill()
            process.wait()
            return b"".join(parts), True
        else:
            time.sleep(0.05)


def run_in(
    kernel: Kernel,
    command: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = 600,
    memory: int = 2048,
    processors: int = 2,
    accelerator: str = "tcg",
    to: BinaryIO | None = None,
) -> Outcome:
    """Boot the kernel, run the command and return what it did; its output is passed to `to` while it comes.

    `seconds`: for all of it, the boot included (about 10). `memory`: in MiB; what the guest writes lies in it too.
    """
    share = Path(tempfile.mkdtemp(prefix="bpfload-vm-"))
    try:
        (share / "initramfs").write_bytes(build(kernel))
        (share / "modules").write_text(str(kernel.modules))
        (share / "config").write_text(str(kernel.directory / "config"))
        (share / "command").write_text(quoted_script(command, directory or Path.cwd(), guest_environment(environment or {})))
        shutil.copy(HERE / "guest.sh", share / "guest.sh")
        began = time.monotonic()
        line = qemu_command(kernel, share, memory=memory, processors=processors, accelerator=accelerator)
        with (
            (share / "qemu").open("wb") as errors,
            subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            try:
                output, late = follow(process, seconds, to)
            finally:
                process.kill()
        told, console = read(share / "status").strip(), read(share / "console")
        status = TIMED_OUT if late else int(told) if told else NEVER_RAN
        if late or not told:
            why = f"stopped after {seconds:.0f} s" if late else "the command never ran to its end"
            print(f"vm: {kernel.release}: {why}\n{read(share / 'qemu')}{console[-3000:]}", file=sys.stderr)
        return Outcome(status, time.monotonic() - began, output, console)
    finally:
        shutil.rmtree(share, ignore_errors=True)
