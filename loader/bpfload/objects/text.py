"""Names that the kernel hands out."""

from __future__ import annotations


def text_of(raw: bytes | bytearray) -> str:
    """Return a C string's text: up to the NUL, what isn't UTF-8 kept as surrogates."""
    return bytes(raw).split(b"\0", 1)[0].decode(errors="surrogateescape")
