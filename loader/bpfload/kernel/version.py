"""The running kernel's version, as programs that were compiled against its headers know it."""

from __future__ import annotations

import os
from functools import lru_cache

_UBUNTU_SIGNATURE = "/proc/version_signature"


@lru_cache(maxsize=1)
def code() -> int:
    """Return the running kernel's LINUX_VERSION_CODE, 0 if it can't be told."""
    names = os.uname()
    return parse(names.release, names.version, _signature())


@lru_cache(maxsize=1)
def release() -> str:
    """Return the running kernel's release, such as ``6.12.0-1-amd64``, which its files in /boot and /lib/modules are named by."""
    return os.uname().release


def _signature() -> str:
    try:
        with open(_UBUNTU_SIGNATURE, encoding="utf-8", errors="replace") as file:
            return file.readline()
    except OSError:
        return ""


def parse(release: str, version: str, signature: str = "") -> int:
    """Return the LINUX_VERSION_CODE that belongs to what uname(2) says.

    `signature`: Ubuntu's /proc/version_signature, "" elsewhere. The last number of Ubuntu's and Debian's `release` is not that of
    the sources: Ubuntu gives it in the signature (``Ubuntu 5.4.0-12.15-generic 5.4.8``), Debian in `version`
    (``#1 SMP Debian 4.19.260-1 (2022-09-29)``).

    Source: get_kernel_version() in tools/lib/bpf/libbpf_probes.c.
    """
    words = signature.split()
    for text in (words[2] if len(words) > 2 else "", version.partition("Debian ")[2], release):
        numbers = _numbers(text)
        if numbers is not None:
            return encode(*numbers)
    return 0


def encode(major: int, minor: int, patch: int) -> int:
    """Return KERNEL_VERSION(major, minor, patch)."""
    return (major << 16) + (minor << 8) + min(patch, 255)


def _numbers(text: str) -> tuple[int, int, int] | None:
    """Return the three numbers that a text starts with, or None."""
    parts = text.split(".", 2)
    if len(parts) < 3:
        return None
    digits = len(parts[2]) - len(parts[2].lstrip("0123456789"))
    parts[2] = parts[2][:digits]
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])
