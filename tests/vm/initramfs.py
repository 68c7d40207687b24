"""The archive that a kernel boots from: busybox, init.sh and the modules for a root file system over 9p, in cpio's "newc" form.

Source: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import subprocess
from pathlib import Path

from vm.packages import Kernel

HERE = Path(__file__).resolve().parent
#: Needed before there is a root file system; one that a kernel doesn't have as a module is built in.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
DIRECTORIES = ("bin", "dev", "guest", "lower", "modules", "proc", "share", "sys", "upper")


class Cpio:
    """An archive that is written in memory."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.count = 0

    def add(self, name: str, mode: int, data: bytes = b"") -> None:
        """Add an entry; `mode` as in stat(2)."""
        self.count += 1
        encoded = name.encode() + b"\0"
        numbers = (self.count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded
        self.parts += [header, bytes(-len(header) % 4), data, bytes(-len(data) % 4)]

    def finish(self) -> bytes:
        """Return the whole archive."""
        self.add("TRAILER!!!", 0)
        return b"".join(self.parts)


def module_name(path: str) -> str:
    """Return the name that the kernel has for a module's file."""
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def load_order(dependencies: str, wanted: tuple[str, ...]) -> list[str]:
    """Return the modules' files in an order in which they can be loaded, from the text of modules.dep."""
    entries = {}
    for line in dependencies.splitlines():
        path, _, needs = line.partition(":")
        entries[module_name(path)] = [path, *needs.split()]
    order: list[str] = []
    for name in wanted:
        # depmod lists for each module all that it needs, the ones to be loaded first at the end.
        order += [path for path in reversed(entries.get(name, [])) if path not in order]
    return order


def read_module(path: Path) -> bytes:
    """Return a module as the kernel takes it: not compressed."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout
    return data


def build(kernel: Kernel) -> bytes:
    """Return the archive for a kernel."""
    archive = Cpio()
    for name in DIRECTORIES:
        archive.add(name, stat.S_IFDIR | 0o755)
    archive.add("bin/busybox", stat.S_IFREG | 0o755, Path("/bin/busybox").read_bytes())
    archive.add("init", stat.S_IFREG | 0o755, (HERE / "init.sh").read_bytes())
    order = load_order((kernel.modules / "modules.dep").read_text(), MODULES)
    for number, path in enumerate(order):
        # init.sh loads them in the order of their names.
        name = f"modules/{number:02}-{module_name(path)}.ko"
        archive.add(name, stat.S_IFREG | 0o644, read_module(kernel.modules / path))
    return archive.finish()
