"""Against the running kernel's own BTF, and against bpftool's reading of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.errors import FormatError

VMLINUX = Path("/sys/kernel/btf/vmlinux")
EVERY = 29  # one type in so many is compared: enough of each kind, and fast

pytestmark = pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return Btf.parse(VMLINUX.read_bytes(), name="vmlinux")


def test_it_validates(vmlinux: Btf) -> None:
    vmlinux.validate()


def test_parsing_alone_is_fast() -> None:
    """In a fresh process, reading included. The limit has room for a slow machine; make bench shows the real time."""
    code = (
        "import time; start = time.perf_counter()\n"
        "from bpfload.btf import Btf\n"
        f"Btf.parse(open({str(VMLINUX)!r}, 'rb', 0).read())\n"
        "print(time.perf_counter() - start)"
    )
    times = [float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(3)]
    assert min(times) < 0.25


def test_every_name_leads_back_to_its_type(vmlinux: Btf) -> None:
    for type_id in range(1, len(vmlinux), 97):
        name = vmlinux.type(type_id).name
        if name:
            assert type_id in vmlinux.find_all(name)


def test_sizes_and_alignments_agree(vmlinux: Btf) -> None:
    for type_id in range(1, len(vmlinux), 13):
        found = vmlinux.type(type_id)
        if found.kind not in (t.KIND_STRUCT, t.KIND_UNION):
            continue
        assert vmlinux.size_of(type_id) == found.size
        try:
            align = vmlinux.align_of(type_id)
        except FormatError:
            continue  # a member is declared and not defined
        assert found.size % align == 0


def test_bpftool_reads_the_same(vmlinux: Btf, bpftool: Callable[..., Any]) -> None:
    types = bpftool("-j", "btf", "dump", "file", str(VMLINUX)).json()["types"]
    assert len(types) == len(vmlinux) - 1
    for theirs in types[::EVERY]:
        found = vmlinux.type(theirs["id"])
        assert (t.KIND_NAMES[found.kind], found.name or "(anon)") == (theirs["kind"], theirs["name"])
        assert _described(found, theirs) == {key: value for key, value in theirs.items() if key in _described(found, theirs)}


def _described(found: t.Type, theirs: dict[str, Any]) -> dict[str, Any]:
    """What bpftool says of a type of that kind, in its words."""
    rows = theirs.get("members") or theirs.get("values") or theirs.get("params") or theirs.get("vars") or []
    words: dict[str, Any] = {"vlen": found.vlen} if "vlen" in theirs else {}
    if "size" in theirs:
        words["size"] = found.size
    if found.kind == t.KIND_ARRAY:
        words |= {"type_id": found.elem, "index_type_id": found.index, "nr_elems": found.nelems}
    elif "type_id" in theirs or "ret_type_id" in theirs:
        words["ret_type_id" if "ret_type_id" in theirs else "type_id"] = found.type_id
    if found.kind == t.KIND_INT:
        words |= {"bits_offset": found.bit_offset, "nr_bits": found.bits}
    if found.kind in (t.KIND_STRUCT, t.KIND_UNION):
        words["members"] = [
            {"name": m.name or "(anon)", "type_id": m.type_id, "bits_offset": m.offset_bits}
            | ({"bitfield_size": m.bitfield_size} if m.bitfield_size else {})
            for m in found.members
        ]
    elif found.kind in (t.KIND_ENUM, t.KIND_ENUM64):
        # bpftool extends the sign of a 32-bit value even where the enum is unsigned.
        mask = (1 << 32) - 1 if found.kind == t.KIND_ENUM else (1 << 64) - 1
        theirs["values"] = [{"name": row["name"], "val": row["val"] & mask} for row in rows]
        words["values"] = [{"name": v.name, "val": v.value & mask} for v in found.values]
    elif found.kind == t.KIND_FUNC_PROTO:
        words["params"] = [{"name": p.name or "(anon)", "type_id": p.type_id} for p in found.params]
    elif found.kind == t.KIND_DATASEC:
        words["vars"] = [{"type_id": v.type_id, "offset": v.offset, "size": v.size} for v in found.variables]
    return words
