"""Where bpffs, tracefs and cgroup2 are mounted; mounting what is missing."""

from __future__ import annotations

from bpfload.syscall import fs

BPFFS = "/sys/fs/bpf"

# include/uapi/linux/magic.h
BPF_FS_MAGIC = 0xCAFE4A11
TRACEFS_MAGIC = 0x74726163

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8


def is_bpffs(path: str) -> bool:
    """Whether `path` is on a bpffs; False as well where it doesn't exist."""
    return _is(path, BPF_FS_MAGIC)


def is_tracefs(path: str) -> bool:
    """Whether `path` is on a tracefs; False as well where it doesn't exist."""
    return _is(path, TRACEFS_MAGIC)


def _is(path: str, magic: int) -> bool:
    try:
        return fs.filesystem_magic(path) == magic
    except OSError:
        return False


def mount_points(kind: str) -> list[str]:
    """Return where file systems of type `kind` ("bpf", "tracefs", "cgroup2") are mounted, in the order of mounting.

    A mount over another hides it: only the last one at a path counts.
    """
    found: dict[str, str] = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            target = _unescape(left.split(" ")[4])
            found.pop(target, None)
            found[target] = right.split(" ", 1)[0]
    return [target for target, its_kind in found.items() if its_kind == kind]


def mount_options(kind: str) -> list[tuple[str, str]]:
    """Return where file systems of type `kind` are mounted, with the options of each, in the order of mounting."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _, target, its_kind, options, *_ = line.split(" ")
            if its_kind == kind:
                found.append((_unescape(target), options))
    return found


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo: blank, tab, newline and backslash."""
    if "\\" not in text:
        return text
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def mount_bpffs(target: str = BPFFS) -> None:
    """Mount a bpffs, for root alone to look into. Raises OSError."""
    fs.mount("bpf", target, "bpf", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=0700")


def mount_tracefs(target: str) -> None:
    """Mount a tracefs. Raises OSError."""
    fs.mount("tracefs", target, "tracefs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def cgroup2_root() -> str | None:
    """Return where the cgroup2 hierarchy is mounted, or None."""
    found = mount_points("cgroup2")
    return found[0] if found else None
