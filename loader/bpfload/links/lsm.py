"""LSM hooks: SEC("lsm/HOOK"), which the program was verified for. See `tracing` for the call."""

from __future__ import annotations

from bpfload.links.tracing import attach

__all__ = ["attach"]
