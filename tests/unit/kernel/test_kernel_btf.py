"""BTF from files and from the kernel: raw, in ELF files of either class and byte order, of modules."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from bpfload.btf import Btf
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import BpfError, FormatError, KernelError, NotFoundError, NotSupportedError
from bpfload.kernel import btf as kernel_btf
from bpfload.kernel.image import read_section

LIBBPF_FORMAT = 4001


def blob(name: str = "only", *, little: bool = True) -> bytes:
    builder = BtfBuilder(little_endian=little)
    builder.add_struct(name, 4)
    return builder.bytes()


def elf(sections: dict[str, bytes], *, wide: bool = True, little: bool = True, flags: int = 0) -> bytes:
    """A minimal ELF file: header, contents, section of names, section header table."""
    order = "<" if little else ">"
    header_form = order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
    row_form = order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII")
    start = 16 + struct.calcsize(header_form)
    names, body, rows = b"\0", b"", [struct.pack(row_form, *[0] * 10)]
    for name, data in {**sections, ".shstrtab": None}.items():
        place = len(names)
        names += name.encode() + b"\0"
        data = names if data is None else data
        rows.append(struct.pack(row_form, place, 1, flags, 0, start + len(body), len(data), 0, 0, 1, 0))
        body += data
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if little else 2, 1]) + bytes(9)
    size = struct.calcsize(row_form)
    header = struct.pack(header_form, 1, 247, 1, 0, 0, start + len(body), 0, start, 0, 0, size, len(rows), len(rows) - 1)
    return ident + header + body + b"".join(rows)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("little", [True, False])
def test_elf_file(tmp_path: Path, wide: bool, little: bool) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(elf({".text": b"code", ".BTF": blob(little=little)}, wide=wide, little=little))
    found = kernel_btf.load_file(path)
    assert found.type(1).name == "only"
    assert found.name == "vmlinux"


def test_raw_file_is_read_again_only_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "types"
    path.write_bytes(blob())
    first = kernel_btf.load_file(path)
    assert kernel_btf.load_file(str(path)) is first
    path.write_bytes(blob("other"))
    os.utime(path, ns=(1, 1))
    assert kernel_btf.load_file(path).type(1).name == "other"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", LIBBPF_FORMAT),
        (b"\x7fELF", LIBBPF_FORMAT),
        (b"some text that is longer than a header", LIBBPF_FORMAT),
        (elf({".text": b"code"}), errno.ENODATA),
        (elf({".BTF": blob()})[:-70], LIBBPF_FORMAT),
        (elf({".BTF": blob()}, flags=1 << 11), LIBBPF_FORMAT),
        (elf({".BTF": b"\x9f\xeb"}), errno.EINVAL),
        (b"\x9f\xeb\1", errno.EINVAL),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, code: int) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="bad") as caught:
        kernel_btf.load_file(path)
    assert caught.value.errno_code == code


def test_section_past_the_end(tmp_path: Path) -> None:
    data = bytearray(elf({".BTF": blob()}))
    struct.pack_into("<Q", data, len(data) - 2 * 64 + 32, 1 << 40)  # size of .BTF in its row
    (tmp_path / "bad").write_bytes(data)
    with pytest.raises(FormatError, match="malformed"):
        read_section(str(tmp_path / "bad"), ".BTF")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        kernel_btf.load_file(tmp_path / "none")
    assert caught.value.errno_code == errno.ENOENT
    with pytest.raises(BpfError, match="can't be read"):
        kernel_btf.load_file(tmp_path)


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty /sys/kernel/btf, and no kernel images."""
    monkeypatch.setattr(kernel_btf, "DIRECTORY", str(tmp_path))
    monkeypatch.setattr(kernel_btf, "_IMAGES", (str(tmp_path / "image-{0}"),))
    monkeypatch.setattr(kernel_btf, "vmlinux", kernel_btf.vmlinux.__wrapped__)
    monkeypatch.setattr(kernel_btf.version, "release", lambda: "1.2.3")
    return tmp_path


def test_vmlinux(directory: Path) -> None:
    with pytest.raises(NotSupportedError, match=r"since 5\.4") as caught:
        kernel_btf.vmlinux()
    assert caught.value.errno_code == errno.ESRCH
    (directory / "image-1.2.3").write_bytes(elf({".BTF": blob("from_image")}))
    assert kernel_btf.vmlinux().type(1).name == "from_image"
    (directory / "vmlinux").write_bytes(blob("from_kernel"))
    assert kernel_btf.vmlinux().type(1).name == "from_kernel"
    (directory / "vmlinux").write_bytes(b"garbage")
    with pytest.raises(FormatError):
        kernel_btf.vmlinux()


class Kernel:
    """Stands in for bpf(2): BTF objects by id, each (name, of the kernel, content); fds are real ones, of /dev/null."""

    def __init__(self, objects: dict[int, tuple[str, bool, bytes]]) -> None:
        self.objects = objects
        self.ids: dict[int, int] = {}
        self.opened: list[int] = []

    def btf_get_next_id(self, start: int) -> int | None:
        return min((ident for ident in self.objects if ident > start), default=None)

    def btf_get_fd_by_id(self, ident: int) -> int:
        if ident not in self.objects or self.objects[ident][0] == "gone":
            raise KernelError("BPF_BTF_GET_FD_BY_ID", errno.ENOENT)
        self.opened.append(ident)
        fd = os.open("/dev/null", os.O_RDONLY)
        self.ids[fd] = ident
        return fd


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    base = Btf.parse(blob("in_kernel"), name="vmlinux")
    first = BtfBuilder(base=base)
    first.add_struct("in_module", 8)
    fake = Kernel(
        {
            1: ("vmlinux", True, base.raw),
            3: ("first_module", True, first.bytes()),
            5: ("a_program", False, b""),
            6: ("gone", True, b""),
            8: ("other_module", True, b"broken"),
        }
    )
    monkeypatch.setattr(kernel_btf.bpf, "btf_get_next_id", fake.btf_get_next_id)
    monkeypatch.setattr(kernel_btf.bpf, "btf_get_fd_by_id", fake.btf_get_fd_by_id)
    monkeypatch.setattr(kernel_btf, "_identity", lambda fd: fake.objects[fake.ids[fd]][:2])
    monkeypatch.setattr(kernel_btf, "_content", lambda fd: fake.objects[fake.ids[fd]][2])
    monkeypatch.setattr(kernel_btf, "_may_have_modules", lambda: True)
    monkeypatch.setattr(kernel_btf, "vmlinux", lambda: base)
    return fake


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_modules(kernel: Kernel) -> None:
    before = open_fds()
    found = kernel_btf.modules()
    assert [(module.id, module.name) for module in found] == [(3, "first_module"), (8, "other_module")]
    assert open_fds() == before
    assert found[0].btf.type(found[0].btf.find("in_module")).size == 8
    assert found[0].btf.find("in_kernel") == 1
    with pytest.raises(FormatError):
        found[1].btf  # noqa: B018
    assert open_fds() == before
    fd = found[0].open()
    assert open_fds() == before + 1
    os.close(fd)
    assert kernel_btf.modules()[0] is found[0]
    assert kernel.opened.count(5) == 1
    del kernel.objects[3]
    assert [module.id for module in kernel_btf.modules()] == [8]
    assert open_fds() == before


def test_modules_are_not_for_everybody(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(start: int) -> int | None:
        raise KernelError("BPF_BTF_GET_NEXT_ID", errno.EPERM)

    monkeypatch.setattr(kernel_btf.bpf, "btf_get_next_id", refuse)
    assert kernel_btf.modules() == []


def test_no_calls_where_no_module_has_btf(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "vmlinux").touch()
    monkeypatch.setattr(kernel_btf.bpf, "btf_get_next_id", None)
    assert kernel_btf.modules() == []
