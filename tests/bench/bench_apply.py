"""`bpfload apply` of a hundred objects: brought in, and in place already; the latter beside starting the command at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.measure import alternately, process_times, row, section
from support import namespaces, system
from support.paths import DATA
from support.process import bpfload_command

_OBJECTS = 100


def _declare(directory: Path, bpffs: Path) -> Path:
    """Write a file that declares so many loads, each attached to a tracepoint, with maps and a constant."""
    text = 'name = "bench"\n'
    for number in range(_OBJECTS):
        text += f'[object.o{number}]\nfile = "{DATA}/versions.bpf.o"\npin = "{bpffs}/o{number}"\nprograms = ["on_rename"]\n'
        text += f"[object.o{number}.set]\nversion = {number % 4}\n"
    path = directory / "bench.toml"
    path.write_text(text)
    return path


def main(*, quick: bool) -> None:
    """Measure, and print."""
    if system.why_no_kernel():
        return
    with section(f"apply of {_OBJECTS} objects"), tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with namespaces.mounted_bpffs(directory / "bpf") as bpffs:
            file = _declare(directory, bpffs)
            row("brought in", process_times([*bpfload_command(), "apply", str(file)]))
            in_place, start = alternately(
                3 if quick else 10,
                lambda: process_times([*bpfload_command(), "apply", str(file)]),
                lambda: process_times([*bpfload_command(), "version"]),
            )
            row("in place already", in_place, start, "of bpfload version; wanted: below 1 s")
            file.write_text('name = "bench"\n')
            row("taken away", process_times([*bpfload_command(), "apply", str(file)]))
