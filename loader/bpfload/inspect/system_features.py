"""What the running kernel can do with BPF: settings, program and map types, helpers, instructions."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bpfload.abi.helpers import HELPER_NAMES
from bpfload.abi.names import LINK_TYPE_NAMES, MAP_TYPE_NAMES, PROG_TYPE_NAMES
from bpfload.errors import NotFoundError
from bpfload.features import helpers, instructions, map_types, program_types
from bpfload.syscall import bpf_call

#: Settings below /proc/sys that say how BPF may be used, by the names that bpftool has for them.
SYSCTLS = {
    "unprivileged_bpf_disabled": "kernel/unprivileged_bpf_disabled",
    "bpf_jit_enable": "net/core/bpf_jit_enable",
    "bpf_jit_harden": "net/core/bpf_jit_harden",
    "bpf_jit_kallsyms": "net/core/bpf_jit_kallsyms",
    "bpf_jit_limit": "net/core/bpf_jit_limit",
}

#: Options that a kernel is built with and that decide what BPF can do, in the order in which they are shown.
KERNEL_OPTIONS = (
    "CONFIG_BPF",
    "CONFIG_BPF_SYSCALL",
    "CONFIG_HAVE_EBPF_JIT",
    "CONFIG_BPF_JIT",
    "CONFIG_BPF_JIT_ALWAYS_ON",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_DEBUG_INFO_BTF_MODULES",
    "CONFIG_CGROUPS",
    "CONFIG_CGROUP_BPF",
    "CONFIG_CGROUP_NET_CLASSID",
    "CONFIG_SOCK_CGROUP_DATA",
    "CONFIG_BPF_EVENTS",
    "CONFIG_KPROBE_EVENTS",
    "CONFIG_UPROBE_EVENTS",
    "CONFIG_TRACING",
    "CONFIG_FTRACE_SYSCALLS",
    "CONFIG_FUNCTION_ERROR_INJECTION",
    "CONFIG_BPF_KPROBE_OVERRIDE",
    "CONFIG_NET",
    "CONFIG_XDP_SOCKETS",
    "CONFIG_LWTUNNEL_BPF",
    "CONFIG_NET_ACT_BPF",
    "CONFIG_NET_CLS_BPF",
    "CONFIG_NET_CLS_ACT",
    "CONFIG_NET_SCH_INGRESS",
    "CONFIG_XFRM",
    "CONFIG_IP_ROUTE_CLASSID",
    "CONFIG_IPV6_SEG6_BPF",
    "CONFIG_BPF_LIRC_MODE2",
    "CONFIG_BPF_STREAM_PARSER",
    "CONFIG_NETFILTER_XT_MATCH_BPF",
    "CONFIG_TEST_BPF",
    "CONFIG_HZ",
)

#: The sections beyond bpftool's, which are probed if asked for.
EXTRA_SECTIONS = ("link_types", "kfuncs")


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """What to find out.

    `ifindex`: of a network card, instead of the kernel. `full`: also the helpers whose mere use makes the kernel log a warning.
    `unprivileged`: for a process without capabilities, which this one is by now. `extra`: names of EXTRA_SECTIONS.
    """

    ifindex: int = 0
    full: bool = False
    unprivileged: bool = False
    extra: tuple[str, ...] = ()

    @property
    def helper_numbers(self) -> tuple[int, ...]:
        """The helpers that are asked for."""
        return tuple(number for number in range(1, len(HELPER_NAMES)) if self.full or number not in helpers.NOISY)

    def has_type(self, prog_type: int) -> bool:
        """Whether a program type is asked for: a network card runs only two."""
        return not self.ifindex or prog_type in program_types.OFFLOADED


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """What was found out.

    `sysctls`: settings by name, -1 for one that can't be read. `options`: of KERNEL_OPTIONS, those that are set; None if the
    kernel's configuration isn't known. Both are None for a network card. `syscall`: whether there is bpf(2); the rest is None
    without it. `program_types`, `map_types`, `misc`, `link_types`: by name; None where the kernel doesn't tell.
    `helpers`, `kfuncs`: what each program type may call; None where that can't be found out.
    """

    request: ProbeRequest
    sysctls: dict[str, int] | None
    options: dict[str, str] | None
    syscall: bool
    program_types: dict[str, bool | None]
    map_types: dict[str, bool | None]
    helpers: dict[str, tuple[str, ...] | None]
    misc: dict[str, bool | None]
    link_types: dict[str, bool | None] | None = None
    kfuncs: dict[str, tuple[str, ...] | None] | None = None

    def to_data(self) -> dict[str, object]:
        """Return it under bpftool's keys."""
        data: dict[str, object] = {}
        if self.sysctls is not None:
            config = {} if self.options is None else {name: self.options.get(name) for name in KERNEL_OPTIONS}
            data["system_config"] = {**self.sysctls, **config}
        data["syscall_config"] = {"have_bpf_syscall": self.syscall}
        if not self.syscall:
            return data
        data["program_types"] = {f"have_{name}_prog_type": bool(there) for name, there in self.program_types.items()}
        data["map_types"] = {f"have_{name}_map_type": bool(there) for name, there in self.map_types.items()}
        data["helpers"] = {f"{name}_available_helpers": list(found or ()) for name, found in self.helpers.items()}
        data["misc"] = {f"have_{name}": bool(there) for name, there in self.misc.items()}
        if self.link_types is not None:
            data["link_types"] = {f"have_{name}_link_type": there for name, there in self.link_types.items()}
        if self.kfuncs is not None:
            data["kfuncs"] = {f"{name}_available_kfuncs": found and list(found) for name, found in self.kfuncs.items()}
        return data


def probe(request: ProbeRequest) -> FeatureReport:
    """Find out what a request asks for. Takes some thousand program loads, a fifth of a second."""
    known = dict(_types(request))
    available = {number: _helpers(number, bool(there), request) for number, there in known.items()}
    return FeatureReport(
        request=request,
        sysctls=None if request.ifindex else {name: _sysctl(path) for name, path in SYSCTLS.items()},
        options=None if request.ifindex else _options(),
        syscall=_has_syscall(),
        program_types={PROG_TYPE_NAMES[number]: there for number, there in known.items()},
        map_types={
            name: map_types.supported(number, ifindex=request.ifindex)
            for number, name in enumerate(MAP_TYPE_NAMES)
            if number and (not request.ifindex or number in map_types.OFFLOADED)
        },
        helpers={PROG_TYPE_NAMES[number]: found for number, found in available.items()},
        misc={ability.name: instructions.supported(ability, ifindex=request.ifindex) for ability in instructions.ABILITIES},
        link_types=_link_types() if "link_types" in request.extra else None,
        kfuncs=_kfuncs(known) if "kfuncs" in request.extra else None,
    )


def _types(request: ProbeRequest) -> Iterator[tuple[int, bool | None]]:
    for number in range(1, len(PROG_TYPE_NAMES)):
        if request.has_type(number):
            yield number, program_types.supported(number, ifindex=request.ifindex)


def _helpers(number: int, there: bool, request: ProbeRequest) -> tuple[str, ...] | None:
    if not there:
        return None
    found = helpers.available(number, noisy=request.full, unprivileged=request.unprivileged, ifindex=request.ifindex)
    return None if found is None else tuple(f"bpf_{HELPER_NAMES[helper]}" for helper in found)


def _link_types() -> dict[str, bool | None]:
    from bpfload.features import link_types

    return {name: link_types.supported(number) for number, name in enumerate(LINK_TYPE_NAMES) if number}


def _kfuncs(known: dict[int, bool | None]) -> dict[str, tuple[str, ...] | None]:
    from bpfload.features import kfuncs

    there = kfuncs.every()
    return {
        PROG_TYPE_NAMES[number]: kfuncs.available(number, there) if known[number] and there is not None else None
        for number in known
    }


def _has_syscall() -> bool:
    return bpf_call.call_at(-1, 0, 0) != -errno.ENOSYS


def _sysctl(path: str) -> int:
    """Return a setting's number, -1 if it can't be read."""
    try:
        with open(f"/proc/sys/{path}", encoding="ascii") as file:
            return int(file.readline())
    except (OSError, ValueError):
        return -1


def _options() -> dict[str, str] | None:
    from bpfload.kernel import kconfig

    try:
        text = kconfig.read()
    except NotFoundError:
        return None
    values = {name: kconfig.find(text, name) for name in KERNEL_OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


# --- without privileges ---------------------------------------------------------------------------------------------


def lacking_privileges() -> list[str]:
    """Return the names of the capabilities that this process lacks to find out everything."""
    from bpfload.abi.consts import CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN
    from bpfload.kernel.capabilities import NAMES, effective

    mask = effective()
    return [NAMES[number] for number in (CAP_SYS_ADMIN, CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON) if not mask >> number & 1]


def in_unprivileged_child(work: Callable[[], int]) -> int:
    """Do `work` in a child process without the capabilities that BPF asks for; return what it returned.

    They are taken from a child since a process that gives one up, and isn't root, doesn't get it back.
    """
    from bpfload.kernel.capabilities import drop_for_bpf

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        drop_for_bpf()
        status = work()
    finally:
        os._exit(status)
