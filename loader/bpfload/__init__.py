"""bpfload: eBPF ELF object loader, pinning manager and inspector in pure Python."""

from __future__ import annotations

__version__ = "0.1.0"
