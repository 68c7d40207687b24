"""The types of the running kernel and of its modules, and BTF files of other kernels.

The kernel's BTF is read once in a process; a module's when something is first looked up in it.
"""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from struct import calcsize, pack_into, unpack_from

from bpfload.abi import layout
from bpfload.btf import Btf
from bpfload.errors import BpfError, FormatError, KernelError, NotFoundError, NotSupportedError
from bpfload.kernel import version
from bpfload.syscall import bpf

DIRECTORY = "/sys/kernel/btf"
VMLINUX = "vmlinux"
#: Where a kernel image with BTF may be, on kernels that don't show theirs; as libbpf looks for it.
_IMAGES = (
    "/boot/vmlinux-{0}",
    "/lib/modules/{0}/vmlinux-{0}",
    "/lib/modules/{0}/build/vmlinux",
    "/usr/lib/modules/{0}/kernel/vmlinux",
    "/usr/lib/debug/boot/vmlinux-{0}",
    "/usr/lib/debug/boot/vmlinux-{0}.debug",
    "/usr/lib/debug/lib/modules/{0}/vmlinux",
)
_MAGICS = (b"\x9f\xeb", b"\xeb\x9f")
_NAME_SIZE = 64


@lru_cache(maxsize=1)
def vmlinux() -> Btf:
    """Return the types of the running kernel. Raises NotSupportedError (ESRCH) if it has none, FormatError.

    Source: btf__load_vmlinux_btf() in tools/lib/bpf/btf.c.
    """
    path = f"{DIRECTORY}/{VMLINUX}"
    try:
        with open(path, "rb") as file:
            return Btf.parse(file.read(), name=VMLINUX)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BpfError(f"{path} can't be read: {error.strerror}", errno_code=error.errno or errno.EIO) from None
    for pattern in _IMAGES:
        try:
            return _read_file(pattern.format(version.release()), VMLINUX)
        except BpfError:
            continue
    raise NotSupportedError(
        "BTF of its own types",
        since="5.4",
        call="open",
        errno=errno.ESRCH,
        hint="It needs CONFIG_DEBUG_INFO_BTF; for CO-RE relocations alone, a BTF file of the same kernel does as well.",
    )


def load_file(path: str | os.PathLike[str], *, base: Btf | None = None) -> Btf:
    """Return the types in a file: BTF as it stands in /sys/kernel/btf, or an ELF file with a .BTF section.

    `base`: what split BTF, of a module, builds on; without, for the modules in /sys/kernel/btf, it is the running kernel's. Read
    again only if the file has changed. Raises NotFoundError, FormatError, BpfError.
    """
    name = os.fspath(path)
    if base is None and name.startswith(f"{DIRECTORY}/") and name != f"{DIRECTORY}/{VMLINUX}":
        base = vmlinux()
    try:
        status = os.stat(name)
    except OSError as error:
        raise _unreadable(name, error) from None
    return _load_file(name, base, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _load_file(path: str, base: Btf | None, *identity: int) -> Btf:
    return _read_file(path, os.path.basename(path), base)


def _read_file(path: str, name: str, base: Btf | None = None) -> Btf:
    try:
        with open(path, "rb") as file:
            magic = file.read(2)
            if magic in _MAGICS:
                return Btf.parse(magic + file.read(), base=base, name=name)
        from bpfload.kernel.image import read_section

        return Btf.parse(read_section(path, ".BTF"), base=base, name=name)
    except FormatError as error:
        error.file = path
        raise
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> BpfError:
    if error.errno == errno.ENOENT:
        return NotFoundError(f"there is no file {path}")
    return BpfError(f"{path} can't be read: {error.strerror}", errno_code=error.errno or errno.EIO)


class ModuleBtf:
    """The BTF of one module. `id`: of the BTF object. `name`: the module's."""

    def __init__(self, ident: int, name: str) -> None:
        self.id = ident
        self.name = name
        self._btf: Btf | None = None

    def open(self) -> int:
        """Return a new fd of the BTF object, which is the caller's to close. Raises KernelError."""
        return bpf.btf_get_fd_by_id(self.id)

    @property
    def btf(self) -> Btf:
        """The module's types, on top of the kernel's. Raises KernelError, FormatError."""
        if self._btf is None:
            fd = self.open()
            try:
                content = _content(fd)
            finally:
                os.close(fd)
            self._btf = Btf.parse(content, base=vmlinux(), name=self.name)
        return self._btf


_modules: dict[int, ModuleBtf] = {}
_others: set[int] = set()


def modules() -> list[ModuleBtf]:
    """Return the modules that are loaded now and have BTF, in the order of their ids.

    The same objects are returned every time. Nothing is returned to whom the kernel doesn't show them. Raises KernelError.

    Source: load_module_btfs() in tools/lib/bpf/libbpf.c.
    """
    seen: dict[int, ModuleBtf] = {}
    others = set()
    ident: int | None = 0
    if not _may_have_modules():
        ident = None
    while ident is not None and (ident := _next_id(ident)) is not None:
        if ident in _others:
            others.add(ident)
            continue
        module = _modules.get(ident) or _look_at(ident)
        if module is None:
            others.add(ident)
        else:
            seen[ident] = module
    _modules.clear()
    _modules.update(seen)
    _others.clear()
    _others.update(others)
    return list(seen.values())


def _may_have_modules() -> bool:
    """Return False where the kernel shows that no module has BTF, which saves a call for each BTF object that there is."""
    try:
        names = os.listdir(DIRECTORY)
    except OSError:
        return True
    return names != [VMLINUX]


def _next_id(ident: int) -> int | None:
    try:
        return bpf.btf_get_next_id(ident)
    except KernelError as error:
        if error.errno == errno.EPERM:
            return None
        raise


def _look_at(ident: int) -> ModuleBtf | None:
    """Return the module whose BTF object has that id, None if it isn't a module's or is gone."""
    try:
        fd = bpf.btf_get_fd_by_id(ident)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    try:
        name, of_kernel = _identity(fd)
    finally:
        os.close(fd)
    return ModuleBtf(ident, name) if of_kernel and name != VMLINUX else None


def _identity(fd: int) -> tuple[str, bool]:
    """Return a BTF object's name and whether it is the kernel's or a module's."""
    name = bytearray(_NAME_SIZE)
    info = bytearray(calcsize(layout.BTF_INFO_FORMAT))
    pack_into(layout.BTF_INFO_FORMAT, info, 0, 0, 0, 0, bpf.address(name), len(name), 0)
    try:
        bpf.obj_get_info_by_fd(fd, info)
    except KernelError as error:
        # Kernels before 5.11 know no names here, and have no BTF of modules either.
        if error.errno in (errno.E2BIG, errno.EINVAL):
            return "", False
        raise
    return name.split(b"\0", 1)[0].decode(errors="replace"), bool(unpack_from(layout.BTF_INFO_FORMAT, info)[5])


def _content(fd: int) -> bytes:
    info = bytearray(calcsize(layout.BTF_INFO_FORMAT))
    bpf.obj_get_info_by_fd(fd, info)
    content = bytearray(unpack_from(layout.BTF_INFO_FORMAT, info)[1])
    pack_into(layout.BTF_INFO_FORMAT, info, 0, bpf.address(content), len(content), 0, 0, 0, 0)
    bpf.obj_get_info_by_fd(fd, info)
    return bytes(content)
