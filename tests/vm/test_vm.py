"""The parts of the VM runner that need no VM; and, where BPFLOAD_VM is set, that every kernel boots and loads an object."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.paths import REPO
from vm.initramfs import Cpio, load_order
from vm.machine import guest_environment, quoted_script, run_in
from vm.packages import KERNELS, mirrors, prepare


@pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="no busybox to read the archive with")
def test_the_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = Cpio()
    archive.add("bin", 0o040755)
    archive.add("bin/tool", 0o100755, b"#!/bin/sh\n")
    archive.add("odd", 0o100644, b"123")
    data = archive.finish()
    assert len(data) % 4 == 0
    subprocess.run(["/bin/busybox", "cpio", "-i", "-d"], input=data, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "bin/tool").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "odd").read_bytes() == b"123"


def test_modules_are_loaded_after_what_they_need() -> None:
    dependencies = """\
kernel/fs/9p/9p.ko.xz: kernel/fs/netfs/netfs.ko.xz kernel/net/9p/9pnet.ko.xz
kernel/fs/netfs/netfs.ko.xz:
kernel/net/9p/9pnet.ko.xz:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz
"""
    assert load_order(dependencies, ("virtio_pci", "9pnet_virtio", "9p")) == [
        "kernel/net/9p/9pnet.ko.xz",
        "kernel/net/9p/9pnet_virtio.ko.xz",
        "kernel/fs/netfs/netfs.ko.xz",
        "kernel/fs/9p/9p.ko.xz",
    ]


def test_mirrors_are_those_of_the_machine() -> None:
    targets = "http://mirror.example/debian/ bookworm\nhttp://security.example/debian-security/ bookworm-security\n"
    assert mirrors(targets) == ("http://mirror.example/debian/", "http://security.example/debian-security/")
    assert mirrors("http://mirror.example/debian/ sid\n")[1] == "http://mirror.example/debian-security"
    with pytest.raises(SystemExit):
        mirrors("http://other.example/packages/ stable-thing\n")


def test_the_command_keeps_its_words_and_gets_its_environment(tmp_path: Path) -> None:
    script = quoted_script(["printf", "%s|", "a b", "it's", "$HOME"], tmp_path, {"WHERE": "x y"})
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == "a b|it's|$HOME|"
    assert "export WHERE='x y'" in script
    assert guest_environment({"A": "b"})["A"] == "b"


@pytest.mark.skipif(not os.environ.get("BPFLOAD_VM"), reason="takes minutes: set BPFLOAD_VM=1")
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_boots_and_loads_an_object(name: str) -> None:
    script = (
        "bpftool prog load samples/hello/hello.bpf.o /sys/fs/bpf/hello && bpftool -j prog show pinned /sys/fs/bpf/hello; exit 7"
    )
    outcome = run_in(prepare(name), ["/bin/sh", "-c", script], directory=REPO, seconds=180)
    assert outcome.status == 7
    # Its SHA-1 tag, or the SHA-256 tag of the kernels that changed to that.
    assert b"d35b94b4c0c10efb" in outcome.output or b"490c48c1179970a8" in outcome.output
