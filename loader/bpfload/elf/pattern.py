"""Patterns of names, as SEC() has them: "*" stands for any characters, "?" for one; nothing else is special.

Source: glob_match() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from collections.abc import Callable


def is_pattern(text: str) -> bool:
    """Whether a text stands for several names."""
    return "*" in text or "?" in text


def glob(pattern: str) -> Callable[[str], bool]:
    """Return a function that says whether a name matches."""
    import re

    pieces = ["".join("." if sign == "?" else re.escape(sign) for sign in piece) for piece in pattern.split("*")]
    if len(pieces) == 1:
        expression = pieces[0]
    else:
        # The first place where a piece fits is as good as any later one; not to try those keeps the time linear.
        middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
        expression = f"{pieces[0]}{middle}.*{pieces[-1]}"
    matcher = re.compile(expression, re.DOTALL)
    return lambda name: matcher.fullmatch(name) is not None
