"""A BTF object of the kernel: vmlinux's, a module's, or what a loader loaded along with programs and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bpfload.objects.base import KernelObject
from bpfload.syscall import bpf

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.objects.btf_info import BtfInfo


class BtfObject(KernelObject):
    """A BTF object in the kernel, held by an fd."""

    __slots__ = ()

    @classmethod
    def from_id(cls, ident: int) -> Self:
        """Open the BTF object with that id. Raises NotFoundError, KernelError."""
        from bpfload.objects import opening

        return cls(opening.by_id(bpf.btf_get_fd_by_id, "BTF object", ident))

    def info(self, *, data: bool = False) -> BtfInfo:
        """Return what the kernel says of it; `data`: with the BTF itself."""
        from bpfload.objects.btf_info import btf_info

        return btf_info(self.fd, data=data)

    def btf(self, *, base: Btf | None = None) -> Btf:
        """Return the types.

        `base`: for a module's split BTF, the vmlinux BTF that it builds on. Raises FormatError.
        """
        from bpfload.btf import Btf

        info = self.info(data=True)
        split = info.kernel_btf and info.name != "vmlinux"
        return Btf.parse(info.data, base=base if split else None, name=info.name)
