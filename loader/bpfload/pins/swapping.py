"""Exchanging two names on a bpffs: in one step where the kernel can."""

from __future__ import annotations

import errno
import os

from bpfload.syscall import fs


def exchange(new: str, old: str, aside: str) -> None:
    """Exchange what is at `new` and at `old`. `aside`: a third name on the same bpffs, where nothing is.

    Kernels before 5.17 can't do that in one step on a bpffs. Where neither is a directory, `old` is then replaced in one step,
    and `new` is gone; otherwise nothing is at `old` for a moment, and a process that is killed in it leaves the old at `aside`.
    """
    try:
        fs.rename_exchange(new, old)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        if not os.path.isdir(new) and not os.path.isdir(old):
            os.rename(new, old)
            return
        os.rename(old, aside)
        os.rename(new, old)
        os.rename(aside, new)
