"""What a report on the kernel's features looks like: bpftool's lines, and its macros for the C preprocessor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bpfload.abi.helpers import HELPER_NAMES
from bpfload.features.instructions import ABILITIES
from bpfload.inspect.system_features import KERNEL_OPTIONS

if TYPE_CHECKING:
    from bpfload.inspect.system_features import FeatureReport

# What a setting's number means; {v} is the number where it has no meaning here.
_SETTINGS = {
    "unprivileged_bpf_disabled": (
        {
            0: "bpf() syscall for unprivileged users is enabled",
            1: "bpf() syscall restricted to privileged users (without recovery)",
            2: "bpf() syscall restricted to privileged users (admin can change)",
            -1: "Unable to retrieve required privileges for bpf() syscall",
        },
        "bpf() syscall restriction has unknown value {v}",
    ),
    "bpf_jit_enable": (
        {
            0: "JIT compiler is disabled",
            1: "JIT compiler is enabled",
            2: "JIT compiler is enabled with debugging traces in kernel logs",
            -1: "Unable to retrieve JIT-compiler status",
        },
        "JIT-compiler status has unknown value {v}",
    ),
    "bpf_jit_harden": (
        {
            0: "JIT compiler hardening is disabled",
            1: "JIT compiler hardening is enabled for unprivileged users",
            2: "JIT compiler hardening is enabled for all users",
            -1: "Unable to retrieve JIT hardening status",
        },
        "JIT hardening status has unknown value {v}",
    ),
    "bpf_jit_kallsyms": (
        {
            0: "JIT compiler kallsyms exports are disabled",
            1: "JIT compiler kallsyms exports are enabled for root",
            -1: "Unable to retrieve JIT kallsyms export status",
        },
        "JIT kallsyms exports status has unknown value {v}",
    ),
    "bpf_jit_limit": (
        {-1: "Unable to retrieve global memory limit for JIT compiler for unprivileged users"},
        "Global memory limit for JIT compiler for unprivileged users is {v} bytes",
    ),
}


def _availability(there: bool | None) -> str:
    return f"is {'' if there else 'NOT '}available"


def _told(there: bool | None) -> str:
    return "is unknown: the kernel refuses to tell" if there is None else _availability(there)


# --- text -----------------------------------------------------------------------------------------------------------


def text(report: FeatureReport) -> str:
    """Return a report as lines for people."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: FeatureReport) -> Iterator[str]:
    if report.sysctls is not None:
        yield "Scanning system configuration..."
        for name, value in report.sysctls.items():
            meanings, otherwise = _SETTINGS[name]
            yield meanings.get(value, otherwise.format(v=value))
        if report.options is not None:
            for name in KERNEL_OPTIONS:
                yield f"{name} is set to {report.options[name]}" if name in report.options else f"{name} is not set"
        yield ""
    yield from ("Scanning system call availability...", f"bpf() syscall {_availability(report.syscall)}", "")
    if not report.syscall:
        return
    yield from _section("Scanning eBPF program types...", "eBPF program_type", report.program_types)
    yield from _section("Scanning eBPF map types...", "eBPF map_type", report.map_types)
    yield "Scanning eBPF helper functions..."
    for name, found in report.helpers.items():
        yield f"eBPF helpers supported for program type {name}:"
        yield from (f"\t- {helper}" for helper in found or ())
        if not found:
            known = report.program_types[name]
            yield "\tCould not determine which helpers are available" if known else "\tProgram type not supported"
    yield from ("", "Scanning miscellaneous eBPF features...")
    for ability in ABILITIES:
        yield f"{ability.description} {_availability(report.misc[ability.name])}"
    yield ""
    yield from _beyond(report)


def _section(title: str, kind: str, rows: Mapping[str, bool | None]) -> Iterator[str]:
    yield title
    for name, there in rows.items():
        yield f"{kind} {name} {_availability(there)}"
    yield ""


def _beyond(report: FeatureReport) -> Iterator[str]:
    """Yield the sections that bpftool doesn't have."""
    if report.link_types is not None:
        yield "Scanning eBPF link types..."
        for name, there in report.link_types.items():
            yield f"eBPF link_type {name} {_told(there)}"
        yield ""
    if report.kfuncs is not None:
        yield "Scanning kernel functions (kfuncs)..."
        for name, found in report.kfuncs.items():
            yield f"kfuncs that program type {name} may call:"
            yield from (f"\t- {kfunc}" for kfunc in found or ())
            if not found:
                yield "\tNone" if found is not None else "\tCould not determine which kfuncs are available"
        yield ""


# --- macros ---------------------------------------------------------------------------------------------------------


def macros(report: FeatureReport, prefix: str) -> str:
    """Return a report as lines for the C preprocessor, each macro's name after `prefix`."""
    return "".join(f"{line}\n" for line in _macro_lines(report, prefix))


def _macro_lines(report: FeatureReport, prefix: str) -> Iterator[str]:
    if report.sysctls is not None:
        yield "/*** Misc kernel config items ***/"
        if report.options is not None:
            value = report.options.get("CONFIG_HZ")
            yield f"/* {prefix}CONFIG_HZ is not set */" if value is None else f"#define {prefix}CONFIG_HZ {value}"
        yield ""
    yield from _macro_section("System call availability", prefix, {"BPF_SYSCALL": report.syscall})
    if not report.syscall:
        return
    types = {f"{name.upper()}_PROG_TYPE": there for name, there in report.program_types.items()}
    yield from _macro_section("eBPF program types", prefix, types)
    yield from _macro_section("eBPF map types", prefix, {f"{n.upper()}_MAP_TYPE": there for n, there in report.map_types.items()})
    yield from _helper_macros(report, prefix)
    yield from _macro_section("eBPF misc features", prefix, {name.upper(): there for name, there in report.misc.items()})
    if report.link_types is not None:
        links = {f"{name.upper()}_LINK_TYPE": there for name, there in report.link_types.items()}
        yield from _macro_section("eBPF link types", prefix, links)
    if report.kfuncs is not None:
        yield "/*** kfuncs ***/"
        everything = sorted({kfunc for found in report.kfuncs.values() for kfunc in found or ()})
        for name, found in report.kfuncs.items():
            may = frozenset(found or ())
            yield from (f"#define {prefix}BPF__PROG_TYPE_{name}__KFUNC_{kfunc} {int(kfunc in may)}" for kfunc in everything)
        yield ""


def _macro_section(title: str, prefix: str, rows: Mapping[str, bool | None]) -> Iterator[str]:
    yield f"/*** {title} ***/"
    for name, there in rows.items():
        yield f"#define {prefix}{'' if there else 'NO_'}HAVE_{name}"
    yield ""


def _helper_macros(report: FeatureReport, prefix: str) -> Iterator[str]:
    test, value = f"{prefix}HAVE_PROG_TYPE_HELPER", f"{prefix}BPF__PROG_TYPE_"
    yield from (
        "/*** eBPF helper functions ***/",
        "/*",
        f" * Use {test}(prog_type_name, helper_name)",
        " * to determine if <helper_name> is available for <prog_type_name>,",
        " * e.g.",
        f" *\t#if {test}(xdp, bpf_redirect)",
        " *\t\t// do stuff with this helper",
        " *\t#elif",
        " *\t\t// use a workaround",
        " *\t#endif",
        " */",
        f"#define {test}(prog_type, helper)\t\\",
        f"\t{value} ## prog_type ## __HELPER_ ## helper",
    )
    names = [f"bpf_{HELPER_NAMES[number]}" for number in report.request.helper_numbers]
    for name, found in report.helpers.items():
        may = frozenset(found or ())
        yield from (f"#define {value}{name}__HELPER_{helper} {int(helper in may)}" for helper in names)
    yield ""
