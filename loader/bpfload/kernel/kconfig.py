"""The configuration that a kernel was built with, and its values as BPF programs read them.

Source: bpf_object__process_kconfig_line() and set_kcfg_value_*() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import sys
from functools import lru_cache

from bpfload.errors import LinkError, NotFoundError
from bpfload.kernel import version

_PLACES = ("/boot/config-{0}", "/proc/config.gz")
_TRISTATE = {"n": 0, "y": 1, "m": 2}
_ERANGE = 34


@lru_cache(maxsize=1)
def read() -> bytes:
    """Return the running kernel's configuration, in the form of a .config. Raises NotFoundError."""
    paths = [pattern.format(version.release()) for pattern in _PLACES]
    for path in paths:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if data[:2] == b"\x1f\x8b":
            import zlib

            try:
                data = zlib.decompress(data, wbits=31)
            except zlib.error:
                continue
        return data
    raise NotFoundError(
        f"the kernel's configuration is not known: there is neither {' nor '.join(paths)}",
        hint="Give the values that the object needs as CONFIG_NAME=value lines.",
    )


def find(config: bytes, name: str) -> str | None:
    """Return the value of one option as it stands in a .config: ``y``, ``m``, ``"text"``, ``0x10``; None if it isn't set."""
    wanted = f"{name}=".encode()
    start = 0 if config.startswith(wanted) else config.find(b"\n" + wanted) + 1
    if not start and not config.startswith(wanted):
        return None
    end = config.find(b"\n", start)
    line = config[start : end if end >= 0 else len(config)]
    return line[len(wanted) :].decode("utf-8", "replace") or None


def value(name: str) -> str | None:
    """Return the value of one option of the running kernel, None if it isn't set. Raises NotFoundError."""
    return find(read(), name)


def parse(text: str) -> dict[str, str]:
    """Return the options of a text in the form of a .config; of two lines for one option, the first counts. Raises LinkError."""
    options: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.startswith("CONFIG_"):
            continue
        name, equals, setting = line.partition("=")
        if not equals or not setting:
            raise LinkError(f"{line!r} sets no option", symbol=name, hint="The form is CONFIG_NAME=value.")
        options.setdefault(name, setting)
    return options


def encode(name: str, text: str, kind: str, size: int, *, signed: bool = False) -> bytes:
    """Return an option's value as the bytes of a variable. Raises LinkError: it doesn't fit the variable's type.

    `text`: as it stands in a .config. `kind`: "bool", "tristate", "char", "int" or "string"; `size`: bytes.
    """
    if text[0] in "ynm":
        return _encode_letter(name, text[0], kind, size)
    if text[0] == '"':
        return _encode_string(name, text, kind, size)
    number = _number(text)
    if number is None:
        raise _misfit(name, text, "isn't a valid integer")
    if kind not in ("int", "char"):
        raise _misfit(name, text, f"needs an integer variable, and it is declared as {kind}")
    return encode_number(name, number, kind, size, signed=signed)


def encode_number(name: str, number: int, kind: str, size: int, *, signed: bool = False) -> bytes:
    """Return a number (unsigned, 64 bits) as the bytes of a variable. Raises LinkError, with ERANGE if it is too large."""
    if kind not in ("int", "char", "bool"):
        raise _misfit(name, str(number), f"needs an integer variable, and it is declared as {kind}")
    if kind == "bool" and number > 1:
        raise _misfit(name, str(number), "is neither 0 nor 1, and it is declared as bool")
    bits = size * 8
    # A signed variable's range, moved up by half of it, is an unsigned one's; sums wrap around as 64 bits.
    shifted = (number + (1 << (bits - 1))) % (1 << 64) if signed else number
    if shifted >> bits:
        raise _misfit(name, str(number), f"doesn't fit {size} bytes", _ERANGE)
    return (number & (1 << bits) - 1).to_bytes(size, sys.byteorder)


def _misfit(name: str, text: str, why: str, errno_code: int = 22) -> LinkError:
    return LinkError(f"extern {name!r}: the value {text} {why}", symbol=name, errno_code=errno_code)


def _encode_letter(name: str, letter: str, kind: str, size: int) -> bytes:
    if kind == "bool" and letter != "m":
        return bytes([letter == "y"])
    if kind == "tristate":
        return _TRISTATE[letter].to_bytes(4, sys.byteorder).ljust(size, b"\0")
    if kind == "char":
        return letter.encode()
    needed = "tristate or char" if kind == "bool" else "bool, tristate or char"
    raise _misfit(name, letter, f"needs a variable of type {needed}, and it is declared as {kind}")


def _encode_string(name: str, text: str, kind: str, size: int) -> bytes:
    if kind != "string":
        raise _misfit(name, text, f"needs an array of char, and it is declared as {kind}")
    if len(text) < 2 or not text.endswith('"'):
        raise _misfit(name, text, "is a string without an end")
    # Too long a string is cut, as libbpf does.
    return text[1:-1].encode("utf-8", "surrogateescape")[: size - 1].ljust(size, b"\0")


def _number(text: str) -> int | None:
    """Return what strtoull(3) with base 0 makes of a whole text, None if it isn't a number of 64 bits."""
    digits = text.lstrip(" \t\n\v\f\r")
    negative = digits.startswith("-")
    if digits[:1] in ("-", "+"):
        digits = digits[1:]
    lowered = digits.lower()
    base, digits = (16, digits[2:]) if lowered.startswith("0x") else (8 if lowered.startswith("0") else 10, digits)
    allowed = "0123456789abcdef"[:base]
    if not digits or any(digit not in allowed for digit in digits.lower()):
        return None
    number = int(digits, base)
    if number >> 64:
        return None
    return -number % (1 << 64) if negative else number
