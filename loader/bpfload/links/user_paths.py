"""Which file a probe's program or library is: by its path, or by its bare name.

Source: resolve_full_path() in tools/lib/bpf/libbpf.c; ld.so(8) for where libraries are looked for.
"""

from __future__ import annotations

import os

from bpfload.errors import NotFoundError, near

# The directories that Debian's multiarch names for each machine; others have theirs among the usual ones.
_MULTIARCH = {
    "x86_64": "x86_64-linux-gnu",
    "i686": "i386-linux-gnu",
    "i386": "i386-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "armv7l": "arm-linux-gnueabihf",
    "ppc64le": "powerpc64le-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
    "s390x": "s390x-linux-gnu",
    "mips64": "mips64el-linux-gnuabi64",
    "sparc64": "sparc64-linux-gnu",
}


def resolve(name: str) -> str:
    """Return the path of a program or library.

    What has a "/" is a path already. "libc.so.6" is looked for where the dynamic linker looks, any other name in $PATH. Raises
    NotFoundError that says where it was looked for.
    """
    if "/" in name:
        if os.path.exists(name):
            return name
        folder, base = os.path.split(name)
        raise NotFoundError(f"no file {name}", candidates=_near(base, folder))
    library = name.endswith(".so") or ".so." in name
    folders = _library_folders() if library else _program_folders()
    for folder in folders:
        path = f"{folder}/{name}"
        if os.access(path, os.R_OK if library else os.R_OK | os.X_OK) and os.path.isfile(path):
            return path
    kind = "library" if library else "program"
    candidates = tuple(dict.fromkeys(match for folder in folders for match in _near(name, folder)))[:3]
    raise NotFoundError(
        f"no {kind} {name!r} in {', '.join(folders)}",
        candidates=candidates,
        hint="" if candidates else f"Name it by its path, such as /opt/{name}.",
    )


def _near(name: str, folder: str) -> tuple[str, ...]:
    try:
        return tuple(os.path.join(folder, entry) for entry in near(name, os.listdir(folder or ".")))
    except OSError:
        return ()


def _library_folders() -> list[str]:
    multiarch = _MULTIARCH.get(os.uname().machine, "")
    usual = ["/usr/lib64", "/usr/lib"]
    usual += [f"/lib/{multiarch}", f"/usr/lib/{multiarch}"] if multiarch else []
    return _folders("LD_LIBRARY_PATH", [*usual, "/lib64", "/lib", "/usr/local/lib"])


def _program_folders() -> list[str]:
    return _folders("PATH", ["/usr/bin", "/usr/sbin"])


def _folders(variable: str, usual: list[str]) -> list[str]:
    given = [folder for folder in os.environ.get(variable, "").split(":") if folder]
    return list(dict.fromkeys([*given, *usual]))
