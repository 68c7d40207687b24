"""Why the kernel said EPERM: which capability or setting stands in the way."""

from __future__ import annotations

from bpfload.abi import consts


def missing_privilege(action: str) -> str:
    """Return a sentence that says what the process lacks in order to do `action` ("load a program"), or "".

    Source: bpf_capable() and friends in include/linux/capability.h; __sys_bpf() in kernel/bpf/syscall.c.
    """
    effective = _effective_capabilities()
    if effective is None:
        return ""
    has_admin = bool(effective >> consts.CAP_SYS_ADMIN & 1)
    if has_admin:
        return _locked_down(action)
    names = {
        consts.CAP_BPF: "CAP_BPF",
        consts.CAP_PERFMON: "CAP_PERFMON (for tracing programs)",
        consts.CAP_NET_ADMIN: "CAP_NET_ADMIN (for networking programs)",
    }
    lacking = [name for number, name in names.items() if not effective >> number & 1]
    what = ", ".join(lacking) if lacking else "CAP_SYS_ADMIN"
    return f"To {action}, run as root (sudo): this process lacks {what}."


def _effective_capabilities() -> int | None:
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return int(line.split()[1], 16)
    except OSError:
        pass
    return None


def _locked_down(action: str) -> str:
    try:
        with open("/sys/kernel/security/lockdown") as lockdown:
            state = lockdown.read()
        if "[confidentiality]" in state:
            return f"The kernel is locked down (confidentiality): it lets nobody {action}."
    except OSError:
        pass
    return (
        "On kernels before 5.11 this means RLIMIT_MEMLOCK is too small: run 'ulimit -l unlimited'. "
        "In a container, its seccomp profile may forbid bpf(2)."
    )
