"""The processes of this machine and the files that they have open, as /proc tells.

Only root sees the files of every process. A process, or a file of one, may be gone at any moment: what can't be read is left out.

Source: proc(5); bpf_prog_show_fdinfo(), bpf_link_show_fdinfo() and others in kernel/bpf/syscall.c.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

# A page, which a file of /proc fills at most in one read.
_AT_ONCE = 4096


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
    readlink = os.readlink
    for number in numbers:
        try:
            target = readlink(f"{directory}/{number}")
        except OSError:
            continue
        yield int(number), target


def command_name(pid: int) -> str:
    """Return a process's name, at most 15 characters; "" for one that is gone."""
    return _read(f"/proc/{pid}/comm").decode(errors="surrogateescape").rstrip("\n")


def fdinfo(fd: int, pid: int | str = "self") -> str:
    """Return what the kernel says of a process's fd, "key:\\tvalue" a line; "" where it can't be read. `pid`: whose."""
    return _read(f"/proc/{pid}/fdinfo/{fd}").decode("ascii", errors="replace")


def _read(path: str) -> bytes:
    """Return what is in a small file of /proc, b"" where it can't be read: in three system calls, thousands being read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        text = os.read(file, _AT_ONCE)
        # A read that isn't full was the last of it, as such files are written in one go.
        while len(text) % _AT_ONCE == 0 and (more := os.read(file, _AT_ONCE)):
            text += more
        return text
    except OSError:
        return b""
    finally:
        os.close(file)


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
