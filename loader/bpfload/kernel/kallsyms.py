"""The kernel's symbols: from /proc/kallsyms to names and addresses.

The file has some 200,000 lines ("address type name\\t[module]"); it is read once, and searched as it stands: no table is built
for the few symbols that are ever asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

PATH = "/proc/kallsyms"


class Kallsyms:
    """The text of /proc/kallsyms, searched by name and by address.

    `text`: its bytes, lines of a 16-digit (on 32-bit kernels 8-digit) address, a blank, the type, a blank, and the name.
    """

    def __init__(self, text: bytes) -> None:
        self._text = b"\n" + text
        self._width = max(self._text.find(b" "), 1) - 1
        self._sorted: list[bytes] | None = None
        self._variables: dict[str, tuple[int, ...]] = {}

    @property
    def empty(self) -> bool:
        """Whether there are no symbols at all: the file can't be read, or the kernel was built without them."""
        return len(self._text) < 2

    @property
    def hidden(self) -> bool:
        """Whether the kernel hides the addresses (kernel.kptr_restrict, or a missing CAP_SYSLOG): all of them are 0 then."""
        return not self.address("__bpf_call_base")

    def address(self, name: str) -> int:
        """Return the address of a symbol, the first of that name; 0 if there is none, or addresses are hidden."""
        found = self.entries(name)
        return found[0][1] if found else 0

    def entries(self, name: str) -> list[tuple[str, int, str]]:
        """Return every (type, address, module) of a name, in file order; the module is "" for vmlinux."""
        text, wanted = self._text, name.encode()
        found = []
        for end in (b"\n", b"\t"):
            start = 0
            while (start := text.find(b" " + wanted + end, start)) >= 0:
                line = text.rfind(b"\n", 0, start) + 1
                if start == line + self._width + 2:
                    found.append((line, self._module(start + 1 + len(wanted))))
                start += 1
        return [
            (chr(text[line + self._width + 1]), int(text[line : line + self._width], 16), module)
            for line, module in sorted(found)
        ]

    def variable_addresses(self, name: str) -> tuple[int, ...]:
        """Return the different addresses of a symbol that a BPF program refers to by name, in file order.

        Variables that clang's link-time optimisation has renamed (``name.llvm.1234``) count as well. Source: kallsyms_cb() in
        tools/lib/bpf/libbpf.c.
        """
        found = self._variables.get(name)
        if found is None:
            addresses = [address for _, address, _ in self.entries(name)] + self._renamed(name)
            found = self._variables[name] = tuple(dict.fromkeys(addresses))
        return found

    def _renamed(self, name: str) -> list[int]:
        text, wanted = self._text, b" d %s.llvm." % name.encode()
        found, start = [], 0
        while (start := text.find(wanted, start)) >= 0:
            found.append(int(text[start - self._width : start], 16))
            start += 1
        return found

    def _module(self, start: int) -> str:
        """Return the module named after the tab at `start`, or ""."""
        text = self._text
        end = text.find(b"\n", start)
        return text[start : end if end >= 0 else len(text)].decode(errors="replace").strip().strip("[]")

    def function_names(self) -> set[str]:
        """Return the names of all functions, modules' included (types t, T, w, W)."""
        import re

        found = re.findall(rb"^[0-9a-f]+ [tTwW] (\S+)", self._text, re.MULTILINE)
        return {name.decode(errors="replace") for name in found}

    def function_addresses(self, names: Iterable[str]) -> list[int]:
        """Return the addresses of all functions with those names, in file order; a name that several have gives several."""
        import re

        wanted = {name.encode() for name in names}
        found = re.findall(rb"^([0-9a-f]+) [tTwW] (\S+)", self._text, re.MULTILINE)
        return [int(address, 16) for address, name in found if name in wanted]

    def size(self, address: int) -> int:
        """Return how many bytes there are from a symbol's address to that of the next one; 0 where that can't be told."""
        from bisect import bisect_right

        addresses = self._addresses()
        index = bisect_right(addresses, b"%0*x" % (self._width, address))
        return int(addresses[index], 16) - address if address and index < len(addresses) else 0

    def names(self, address: int) -> list[tuple[str, str]]:
        """Return the (name, module) of every symbol at exactly that address, in file order."""
        text = self._text
        prefix = b"\n%0*x " % (self._width, address)
        found, start = [], 0
        while (start := text.find(prefix, start)) >= 0:
            begin = start + self._width + 4
            line_end = text.find(b"\n", begin)
            name, _, module = text[begin : line_end if line_end >= 0 else len(text)].partition(b"\t")
            found.append((name.decode(errors="replace"), module.decode(errors="replace").strip("[]")))
            start += 1
        return found

    def find(self, address: int) -> tuple[str, str] | None:
        """Return the (name, module) at an address, or None.

        Of several symbols at one address, the one that a binary search over all symbols in the order of their addresses
        meets first: the one that bpftool shows.
        """
        found = self.names(address) if address else []
        if len(found) < 2:
            return found[0] if found else None
        return found[_bsearch(self._addresses(), b"%0*x" % (self._width, address), len(found))]

    def _addresses(self) -> list[bytes]:
        """Return the addresses of all symbols, as they are written, in their order; none that are hidden."""
        if self._sorted is None:
            zero = b"0" * self._width
            self._sorted = sorted(line[: self._width] for line in self._text.split(b"\n") if line and line[: self._width] != zero)
        return self._sorted


def _bsearch(ordered: list[bytes], key: bytes, count: int) -> int:
    """Return which of the `count` equal elements bsearch(3) of glibc ends at: 0 for the first of them."""
    from bisect import bisect_left

    first = bisect_left(ordered, key)
    low, high = 0, len(ordered)
    while low < high:
        middle = (low + high) // 2
        if first <= middle < first + count:
            return middle - first
        if middle < first:
            low = middle + 1
        else:
            high = middle
    return 0


@lru_cache(maxsize=1)
def load() -> Kallsyms:
    """Return the running kernel's symbols as they were when first asked for. Empty where the file can't be read."""
    return read()


def read() -> Kallsyms:
    """Return the running kernel's symbols as they are now: programs and modules come and go."""
    try:
        with open(PATH, "rb") as file:
            return Kallsyms(file.read())
    except OSError:
        return Kallsyms(b"")


def addresses(names: Iterable[str]) -> dict[str, int]:
    """Return the addresses of those of `names` that the kernel has."""
    table = load()
    found = {name: table.address(name) for name in names}
    return {name: address for name, address in found.items() if address}
