"""System calls as functions of the kernel."""

from __future__ import annotations

import os
from functools import lru_cache

from bpfload.errors import NotFoundError
from bpfload.kernel import kallsyms, kconfig

# What os.uname().machine is called in names like __x64_sys_bpf; source: arch_specific_syscall_pfx() in tools/lib/bpf/libbpf.c.
_PREFIXES = {
    "x86_64": "x64",
    "i386": "ia32",
    "i686": "ia32",
    "s390x": "s390x",
    "s390": "s390",
    "aarch64": "arm64",
    "mips": "mips",
    "mips64": "mips",
    "riscv64": "riscv",
    "riscv32": "riscv",
    "ppc": "powerpc",
    "ppc64": "powerpc",
    "ppc64le": "powerpc",
}


def prefix() -> str:
    """Return the architecture's part of a wrapper's name, ``x64`` of ``__x64_sys_bpf``; "" if it isn't known."""
    machine = os.uname().machine
    return "arm" if machine.startswith("arm") else _PREFIXES.get(machine, "")


@lru_cache(maxsize=1)
def has_wrapper() -> bool:
    """Return whether system calls take their arguments from a struct pt_regs (CONFIG_ARCH_HAS_SYSCALL_WRAPPER).

    Told by the configuration or, where that isn't known, by the symbols, whose file takes a tenth of a second to read.
    libbpf tries to attach a kprobe, and so says no where there are no kprobes.
    """
    try:
        return kconfig.value("CONFIG_ARCH_HAS_SYSCALL_WRAPPER") == "y"
    except NotFoundError:
        pass
    machine = prefix()
    return bool(machine and kallsyms.load().entries(f"__{machine}_sys_bpf"))


def function(name: str) -> str:
    """Return the name of the kernel function of a system call, to attach a kprobe to, such as ``__x64_sys_openat``."""
    return f"__{prefix()}_sys_{name}" if has_wrapper() else f"__se_sys_{name}"
