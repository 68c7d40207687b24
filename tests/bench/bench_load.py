"""Loading, listing, the kernel's BTF, `check`: beside bpftool and libbpf."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Times, alternately, process_times, row, section
from support import namespaces, system
from support.paths import HELLO, cache_directory
from support.process import bpfload_command, bpftool_command, find_tool, run

HERE = Path(__file__).resolve().parent
CORE = HERE / "core.bpf.o"
IMPORTS = "import typer, elftools.elf.elffile"
VMLINUX = Path("/sys/kernel/btf/vmlinux")


def whole_processes(bpffs: Path, bpftool: str | None) -> None:
    """The commands, from start to end."""
    ours = bpfload_command()
    pin = bpffs / "bench"

    def loads(command: Sequence[str]) -> Times:
        elapsed = process_times([*command, str(HELLO), str(pin)])
        os.unlink(pin)
        return elapsed

    with section("whole process: load and pin hello.bpf.o"):
        sides = [
            lambda: process_times([sys.executable, "-c", IMPORTS]),
            lambda: process_times([sys.executable, "-c", "pass"]),
            lambda: loads(ours),
        ]
        if bpftool:
            sides.append(lambda: loads([bpftool, "prog", "load"]))
        imports, nothing, load, *peer = alternately(25, *sides)
        row("python -c 'pass'", nothing)
        row(f"python -c '{IMPORTS}'", imports)
        row("bpfload hello.bpf.o PATH", load, imports, "of the import alone; wanted: at most 1.25")
        if peer:
            row("bpftool prog load hello.bpf.o PATH", peer[0])
            row("bpfload hello.bpf.o PATH", load, peer[0], "of bpftool")

    with section("whole process: list the programs"):
        loads(ours)  # says early what is wrong
        sides = [lambda: process_times([*ours, "prog", "list"]), lambda: loads(ours)]
        if bpftool:
            sides.append(lambda: process_times([bpftool, "prog", "list"]))
        listing, load, *peer = alternately(15, *sides)
        row("bpfload prog list", listing, load, "of the load; wanted: below 1")
        if peer:
            row("bpftool prog list", peer[0])


def libbpf_program(directory: Path, name: str = "libbpf_times") -> list[str] | None:
    """Compile libbpf's side, NAME.c here, against the newest libbpf that is there."""
    if not find_tool("gcc"):
        return None
    output = directory / name
    source = HERE / f"{name}.c"
    cache = cache_directory()
    for libbpf in sorted(cache.glob("conformance/source-*/libbpf"), reverse=True):
        words: list[str | os.PathLike[str]] = [
            "-I",
            libbpf / "include",
            source,
            libbpf / "libbpf.a",
            "-lelf",
            "-lz",
            "-o",
            output,
        ]
        if run("gcc", "-O2", *words, check=False).status == 0:
            return [str(output)]
    if run("gcc", "-O2", source, "-lbpf", "-o", output, check=False).status == 0:
        return [str(output)]
    return None


def peer_times(program: list[str], path: Path, count: int) -> Times:
    return Times(statistics.median(float(line) for line in run(*program, path, count).lines))


def own_times(path: Path, count: int) -> Times:
    """Open, load and close an object in a process of its own, several times: the median."""
    code = (
        "import sys, time\n"
        "from bpfload.load import load\n"
        "for _ in range(int(sys.argv[2])):\n"
        "    start = time.perf_counter()\n"
        "    load(sys.argv[1]).close()\n"
        "    print(time.perf_counter() - start)\n"
    )
    lines = run(sys.executable, "-c", code, path, count).lines
    return Times(statistics.median(float(line) for line in lines[1:]))  # the first imports and indexes


def in_one_process(program: list[str] | None) -> None:
    """Open, load, close, many times in one process."""
    for text, path, count, wanted in (
        ("in one process: open, load, close hello.bpf.o", HELLO, 300, "wanted: at most 2 ms"),
        ("in one process: an object with CO-RE relocations, loaded again", CORE, 40, "wanted: at most libbpf's time"),
    ):
        with section(text):
            sides = [lambda path=path, count=count: own_times(path, count)]
            if program:
                sides.append(lambda path=path, count=count: peer_times(program, path, count))
            ours, *peer = alternately(3, *sides)
            row("bpfload", ours, peer[0] if peer else None, f"{'of libbpf; ' if peer else ''}{wanted}")
            if peer:
                row("libbpf", peer[0])


def kernel_btf() -> None:
    """The kernel's BTF in a fresh process: index, look-ups."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from bpfload.btf import Btf\n"
        "start = time.perf_counter()\n"
        "btf = Btf.parse(Path('/sys/kernel/btf/vmlinux').read_bytes())\n"
        "indexed = time.perf_counter()\n"
        "number = btf.find('task_struct', 4)\n"
        "first = time.perf_counter()\n"
        "btf.names.make_tables()\n"
        "tables = time.perf_counter()\n"
        "for name in names: btf.find(name, 4)\n"
        "again = time.perf_counter()\n"
        "print(len(btf), indexed - start, first - indexed, tables - first, (again - tables) / len(names), number)\n"
    )
    names = ["sk_buff", "net_device", "file", "dentry", "inode", "mm_struct", "bpf_prog", "bpf_map", "sock", "cgroup"]
    with section("the kernel's BTF, in a fresh process"):
        runs = [run(sys.executable, "-c", f"names = {names}\n{code}").stdout.split() for _ in range(7)]
        count = int(runs[0][0])
        medians = (Times(statistics.median(float(words[column]) for words in runs)) for column in (1, 2, 3, 4))
        index, first, tables, lookup = medians
        row(f"read and index {count} types", index, None, "wanted: at most 60 ms")
        row("first look-up by name", first)
        row("tables of all names, made once many are looked up", tables)
        row("a look-up then", lookup, None, "wanted: microseconds")


def selftests() -> None:
    """`bpfload check` over the kernel's selftests, beside libbpf: only where `make conformance` has prepared them."""
    cache = cache_directory() / "conformance"
    with section("bpfload check over the kernel's selftests"):
        references = [path for path in sorted(cache.glob("reference-*")) if os.access(path, os.X_OK)]
        objects = sorted(cache.glob("objects-*/*.bpf.o"))
        if not references or not objects:
            print("  not measured: make conformance prepares the objects and the reference")
            return
        from conformance.prepare import Prepared
        from conformance.run import run_bpfload, run_reference

        with tempfile.TemporaryDirectory() as directory:
            output = Path(directory) / "output"
            theirs = run_reference(Prepared(objects, references[-1], {}), objects, output)
            ours = run_bpfload(bpfload_command(), objects, output)
        cost, base = Times(ours.cost.seconds, ours.cost.processor), Times(theirs.cost.seconds, theirs.cost.processor)
        row(f"libbpf, {len(theirs.rows)} programs", base)
        row(f"bpfload check, {len(ours.rows)} programs", cost, base, "of libbpf; wanted: at most 1")
        print(f"  peak memory: libbpf {theirs.cost.peak:.0f} MiB, bpfload {ours.cost.peak:.0f} MiB (wanted: below 300)")


def main(*, quick: bool) -> None:
    """Measure, and print."""
    if not system.why_no_kernel():
        with tempfile.TemporaryDirectory() as directory:
            with namespaces.mounted_bpffs(Path(directory) / "bpf") as bpffs:
                whole_processes(bpffs, bpftool_command())
            in_one_process(libbpf_program(Path(directory)))
    if VMLINUX.exists():
        kernel_btf()
    if not quick and not system.why_no_kernel():
        selftests()
