"""The processes of this machine and the files that they have open, as /proc tells.

Only root sees the files of every process. A process, or a file of one, may be gone at any moment: what can't be read is left out.

Source: proc(5); bpf_prog_show_fdinfo(), bpf_link_show_fdinfo() and others in kernel/bpf/syscall.c.
"""

from __future__ import annotations

import os
from collections.abc import Iterator


def pids() -> list[int]:
    """Return the ids of all processes, ascending."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def open_files(pid: int) -> Iterator[tuple[int, str]]:
    """Yield (fd, what it points to: a path, or "anon_inode:…") of a process, in /proc's order; nothing for one that is gone."""
    directory = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(directory)
    except OSError:
        return
    for number in numbers:
        try:
            target = os.readlink(f"{directory}/{number}")
        except OSError:
            continue
        yield int(number), target


def command_name(pid: int) -> str:
    """Return a process's name, at most 15 characters; "" for one that is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="surrogateescape") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def fdinfo(fd: int, pid: int | str = "self") -> str:
    """Return what the kernel says of a process's fd, "key:\\tvalue" a line; "" where it can't be read. `pid`: whose."""
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def fdinfo_number(text: str, key: str) -> int | None:
    """Return the number at `key` in a text of fdinfo, or None."""
    start = text.find(f"{key}:\t")
    if start < 0:
        return None
    start += len(key) + 2
    end = text.find("\n", start)
    try:
        return int(text[start : end if end >= 0 else len(text)])
    except ValueError:
        return None
