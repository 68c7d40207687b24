"""What a caller can choose about a load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bpfload.spec import Record

if TYPE_CHECKING:
    from bpfload.btf.core import CoreResolver

REUSE, REPLACE, FAIL = "reuse", "replace", "fail"


class LoadCache:
    """What stays the same over several loads of one ObjectSpec: the fd of its BTF in the kernel, its CO-RE resolver."""

    __slots__ = ("btf_fd", "resolver")

    def __init__(self) -> None:
        self.btf_fd = 0
        self.resolver: CoreResolver | None = None

    def close(self) -> None:
        """Close the fd; the cache can be used on."""
        if self.btf_fd > 0:
            os.close(self.btf_fd)
            self.btf_fd = 0


@dataclass(slots=True, eq=False, repr=False)
class LoadOptions(Record):
    """Options of `load`.

    `programs`: names of the programs to load, whatever their "?" says; None: those with `autoload`. `kernel_btf`: path of
    a BTF file (raw, or an ELF file with .BTF) that CO-RE relocations are resolved against instead of the running
    kernel's. `kconfig`: text in the form of a kernel .config that goes before the running kernel's. `attach_to`: fd of
    the program that freplace (or fentry, fexit of a program) targets, with `attach_function`: its function, "" for what
    SEC() names. `attach_targets`: by program name, what to use instead of the target in SEC(). `log_level`: of the
    verifier's log (1, 2; + 4: statistics), kept whole for every program; 0: a log only of what is refused. `maps`: fds of
    maps to use instead of creating one, by map name; the caller keeps owning them. `pin_root`: directory on bpffs for
    maps with LIBBPF_PIN_BY_NAME; None: they aren't pinned. `existing_maps`: what to do where such a pin exists already:
    REUSE (after a compatibility check), REPLACE it, or FAIL. `exclusive_maps`: by map name, the only program that may use
    that map (Linux 6.18). `token_path`: bpffs mount to take a BPF token from. `ifindex`: device to offload to. `cache`:
    shared by several loads of the same ObjectSpec, for callers that load one object many times.
    """

    programs: frozenset[str] | None = None
    kernel_btf: str | None = None
    kconfig: str = ""
    attach_to: int = 0
    attach_function: str = ""
    attach_targets: Mapping[str, str] = field(default_factory=dict)
    log_level: int = 0
    maps: Mapping[str, int] = field(default_factory=dict)
    pin_root: str | None = "/sys/fs/bpf"
    existing_maps: str = REUSE
    exclusive_maps: Mapping[str, str] = field(default_factory=dict)
    token_path: str = ""
    ifindex: int = 0
    cache: LoadCache | None = None
