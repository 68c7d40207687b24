"""`bpfload version`: which one this is."""

from __future__ import annotations

import platform
from typing import Any

from bpfload_cli.app import WordCommand
from bpfload_cli.grammar import Words
from bpfload_cli.session import Session


def facts() -> dict[str, Any]:
    """Return the versions of this program and of what it runs on."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of
    from importlib.util import find_spec

    versions: dict[str, str | None] = {}
    for package in ("bpfload", "typer", "pyelftools", "pyroute2"):
        try:
            versions[package] = version_of(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "version": versions.pop("bpfload") or "unknown",
        # bpftool's keys: there is neither libbpf in this program nor what it disassembles with, but what its skeletons do.
        "libbpf_version": None,
        "features": {
            "libbfd": False,
            "llvm": False,
            "skeletons": True,
            "bootstrap": False,
            "capstone": find_spec("capstone") is not None,
        },
        "python": platform.python_version(),
        "kernel": platform.release(),
        "libraries": versions,
    }


def version(session: Session, words: Words) -> None:
    """Print the versions."""
    words.end()
    found = facts()
    if session.json:
        session.data(found)
        return
    session.line(f"bpfload v{found['version']}")
    session.line(f"using Python {found['python']} on Linux {found['kernel']}")
    session.line("features: " + ", ".join(name for name, there in found["features"].items() if there))
    session.line("libraries: " + ", ".join(f"{name} {number or 'missing'}" for name, number in found["libraries"].items()))


command = WordCommand("version", version)
