"""Run as a program: load an object in a user namespace of its own, where nothing is allowed but by a BPF token.

    token_child.py SOCKET OBJECT PROGRAM DIRECTORY

The parent, who is root of the machine, is at the other end of SOCKET: it writes the uid map and delegates to the bpffs whose
file system context it is sent (see tests/kernel/test_rows_programs.py). Prints JSON: what was loaded, and what came of a load
without the token.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys

from bpfload.errors import BpfError
from bpfload.load import LoadOptions, load
from support import system

CLONE_NEWUSER = 0x1000_0000
# The same on every machine that has them (Linux 5.2).
SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 429, 430, 431, 432
FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 6
MOVE_MOUNT_F_EMPTY_PATH = 4
AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: int | bytes | None) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)} (system call {number})")
    return result


def delegate(context: int) -> None:
    """Root's part: allow everything to the bpffs that the context is for, and make it."""
    for name in (b"delegate_cmds", b"delegate_maps", b"delegate_progs", b"delegate_attachs"):
        syscall(SYS_FSCONFIG, context, FSCONFIG_SET_STRING, name, b"any", 0)
    syscall(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0)


def attempt(path: str, program: str, token_path: str) -> dict[str, object]:
    options = LoadOptions(programs=frozenset((program,)), pin_root=None, token_path=token_path)
    try:
        with load(path, options) as live:
            return {"tag": live.program(program).info().tag, "maps": sorted(live.maps)}
    except BpfError as error:
        return {"errno": error.errno_code, "message": str(error)}


def main(number: str, path: str, program: str, directory: str) -> None:
    peer = socket.socket(fileno=int(number))
    system.unshare(CLONE_NEWUSER | system.CLONE_NEWNS)
    peer.send(b"made")
    assert peer.recv(16) == b"mapped"
    system.mount("none", "/", "", system.MS_REC | system.MS_PRIVATE)
    context = syscall(SYS_FSOPEN, b"bpf", 0)
    socket.send_fds(peer, [b"context"], [context])
    assert peer.recv(16) == b"delegated"
    mount = syscall(SYS_FSMOUNT, context, 0, 0)
    syscall(SYS_MOVE_MOUNT, mount, b"", AT_FDCWD, directory.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    seen = {"without": attempt(path, program, ""), "with": attempt(path, program, directory)}
    os.environ["LIBBPF_BPF_TOKEN_PATH"] = directory
    print(json.dumps({**seen, "by environment": attempt(path, program, "")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
