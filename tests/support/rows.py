"""The rows of the table of capabilities: what a loader of BPF objects has to be able to do, each with a test that names it.

`@row("static map-in-map slots")` registers a test for a row and puts the row's name into the test's id:
`pytest -k "static map-in-map slots"` runs it. tests/kernel/test_rows.py sees to it that no row is without a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import pytest

ROWS = (
    # What an object consists of.
    "license",
    "version",
    ".text",
    ".maps",
    ".BTF and .BTF.ext",
    "legacy maps, bpf_map_def",
    "legacy maps, bpf_elf_map",
    ".data .rodata .bss",
    ".data.foo .rodata.foo .bss.foo",
    ".rodata.str1.1",
    ".addr_space.1",
    ".jumptables",
    ".struct_ops",
    ".struct_ops.link",
    "? forms of .struct_ops",
    "?SEC",
    # Maps.
    "BTF map fields",
    "inner map definition",
    "static map-in-map slots",
    "static prog_array slots",
    "LIBBPF_PIN_BY_NAME",
    "reuse of a pinned map",
    "compatibility check",
    "ring buffer size",
    "perf_event_array size",
    # Relocations.
    "map reference",
    "data reference",
    "subprogram call",
    "subprogram address",
    "CO-RE field byte_off",
    "CO-RE field byte_sz",
    "CO-RE field exists",
    "CO-RE field signed",
    "CO-RE field lshift_u64",
    "CO-RE field rshift_u64",
    "CO-RE type id local",
    "CO-RE type id target",
    "CO-RE type exists",
    "CO-RE type size",
    "CO-RE type matches",
    "CO-RE enumval exists",
    "CO-RE enumval value",
    "kernel BTF file",
    "module BTF",
    # Externs.
    "typeless ksym",
    "typed ksym",
    "weak ksym",
    "kfunc",
    "kfunc in a module",
    "unresolved weak kfunc",
    "kconfig bool",
    "kconfig tristate",
    "kconfig char",
    "kconfig int",
    "kconfig string",
    "kconfig overlay",
    "weak kconfig",
    "LINUX_KERNEL_VERSION",
    "LINUX_HAS_SYSCALL_WRAPPER",
    "LINUX_HAS_BPF_COOKIE",
    # Programs.
    "sleepable",
    "freplace",
    "xdp.frags",
    "exception callback",
    "__arg_ctx",
    "exclusive map",
    "automatic attach",
    "BPF token",
    # Older kernels.
    "VAR to INT",
    "DECL_TAG to INT",
    "DATASEC to STRUCT",
    "FUNC to TYPEDEF",
    "FUNC_PROTO to ENUM",
    "global to static FUNC",
    "FLOAT to STRUCT",
    "TYPE_TAG to CONST",
    "ENUM64 to UNION",
    "probe_read_kernel to probe_read",
    "long names dropped",
    "expected_attach_type dropped",
    "mmapable arrays dropped",
    "global data dropped",
    # Refusals.
    "verifier log",
    "diagnosis of a CO-RE relocation",
    "diagnosis of a map",
    "diagnosis of a kfunc",
)

#: row -> the tests that are for it, filled as modules of tests are imported.
TESTS_OF_ROWS: dict[str, list[str]] = {name: [] for name in ROWS}

Test = TypeVar("Test", bound=Callable[..., object])


def row(*names: str) -> Callable[[Test], Test]:
    """Make a test that of one row, or of several that one look answers together: its id names them."""

    def register(test: Test) -> Test:
        for name in names:
            TESTS_OF_ROWS[name].append(test.__qualname__)
        marked: Test = pytest.mark.parametrize("feature_row", [pytest.param(names, id=" | ".join(names))], indirect=True)(test)
        return marked

    return register


def rows_of_parameters(rows: Mapping[str, object]) -> list[object]:
    """Return parameters for a test that goes through several rows: row -> the parameter's values (a tuple, or one value)."""
    for name in rows:
        TESTS_OF_ROWS[name].append("parameter")
    return [pytest.param(*(values if isinstance(values, tuple) else (values,)), id=name) for name, values in rows.items()]
