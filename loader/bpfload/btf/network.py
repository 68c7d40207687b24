"""Values in network byte order: which types and members are addresses and ports, and addresses as text.

A type says it by a typedef of the kernel's (`__be16`, `__be32`, `__be64`, `in_port_t`, `in_addr_t`) or by being `struct in_addr`
or `struct in6_addr`; a plain integer or array doesn't. For addresses its name will do, since an address is hardly ever kept in
another order; for ports it won't, since half of all programs keep them in the machine's order. What neither says can be asked for
by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bpfload.btf import types as t

if TYPE_CHECKING:
    from collections.abc import Collection

    from bpfload.btf.index import Btf

NUMBER = "number"
IPV4 = "ipv4"
IPV6 = "ipv6"
MAC = "mac"

_TYPEDEFS = frozenset(("__be16", "__be32", "__be64", "in_port_t", "in_addr_t"))
_STRUCTS = {"in_addr": 4, "in6_addr": 16}
_BY_SIZE = {4: IPV4, 6: MAC, 16: IPV6}
_ADDRESS_NAME = re.compile(
    r"(?:^|_)(?:[sd]|src_?|dst_?|remote_?|local_?|user_?|peer_?|nexthop_?)?(?:ip|addr|ipaddr|ip_addr)_?v?[46]?$|^v[46]addr$",
    re.IGNORECASE,
)
_MAC_NAME = re.compile(r"(?:^|_)(?:[sd]|src_?|dst_?|eth_?|h_)?(?:mac|hwaddr|lladdr|ether|source|dest)(?:_addr)?$", re.IGNORECASE)
_MAC = re.compile(r"[0-9a-f]{1,2}([:-])[0-9a-f]{1,2}(?:\1[0-9a-f]{1,2}){4}", re.IGNORECASE)


class Network:
    """How values in network byte order are read and written.

    `addresses`: as text, where type or name says that it is one. `names`: of members (also "key" and "value", for the whole) that
    are in network order, whatever else they say.
    """

    __slots__ = ("addresses", "names")

    def __init__(self, *, addresses: bool = False, names: Collection[str] = ()) -> None:
        self.addresses = addresses
        self.names = frozenset(names)

    def kind(self, btf: Btf, type_id: int, name: str = "") -> str:
        """Return what a value of a type, and of that name, is: NUMBER, IPV4, IPV6, MAC, or "" for an ordinary one."""
        asked = name in self.names
        typed = asked
        found = btf.type(type_id)
        while type_id and (found.kind == t.KIND_TYPEDEF or found.kind in t.MODIFIER_KINDS):
            typed = typed or (found.kind == t.KIND_TYPEDEF and found.name in _TYPEDEFS)
            type_id = found.type_id
            found = btf.type(type_id)
        if found.kind == t.KIND_INT:
            return self._of_int(found, name, typed, asked)
        if not (asked or self.addresses):
            return ""
        if found.kind == t.KIND_STRUCT:
            return _BY_SIZE[found.size] if _STRUCTS.get(found.name) == found.size else ""
        if found.kind == t.KIND_ARRAY and not is_text(btf, found.elem):
            kind = _BY_SIZE.get(btf.size_of(found.id), "")
            named = _MAC_NAME if kind == MAC else _ADDRESS_NAME
            return kind if kind and (asked or named.search(name)) else ""
        return ""

    def _of_int(self, found: t.Type, name: str, typed: bool, asked: bool) -> str:
        kind = _BY_SIZE.get(found.size, "") if "port" not in name else ""
        if kind and ((typed and (self.addresses or asked)) or (self.addresses and _ADDRESS_NAME.search(name))):
            return kind
        return NUMBER if typed and found.size > 1 else ""


def is_text(btf: Btf, type_id: int) -> bool:
    """Whether an array of these holds text: of char, by that name or by its encoding."""
    found = btf.type(btf.resolve(type_id))
    return found.kind == t.KIND_INT and found.size == 1 and (found.encoding == t.INT_CHAR or found.name == "char")


def address_bytes(text: str, size: int) -> bytes | None:
    """Return the bytes, in network order, of an IPv4 (4), MAC (6) or IPv6 (16) address; None if the text is none of that size."""
    if size == 6:
        return bytes(int(part, 16) for part in re.split("[:-]", text)) if _MAC.fullmatch(text) else None
    if (size == 4 and "." in text) or (size == 16 and ":" in text):
        import ipaddress

        try:
            return (ipaddress.IPv4Address if size == 4 else ipaddress.IPv6Address)(text).packed
        except ValueError:
            pass
    return None


def address_text(data: bytes) -> str:
    """Return the text of an address of 4, 6 or 16 bytes."""
    if len(data) == 4:
        return ".".join(map(str, data))
    if len(data) == 6:
        return data.hex(":")
    import ipaddress

    return str(ipaddress.IPv6Address(bytes(data)))


def prefix_bytes(text: str, size: int, order: str) -> bytes | None:
    """Return an LPM trie's key for `ADDRESS/LENGTH`, None if the text is no such. `size`: of the key, the length's 4 bytes
    included; `order`: of the machine's bytes."""
    address, slash, length = text.rpartition("/")
    raw = address_bytes(address, size - 4) if slash and length.isdecimal() else None
    if raw is None or int(length) > len(raw) * 8:
        return None
    return int(length).to_bytes(4, order) + raw  # type: ignore[arg-type] # "little" or "big"


def prefix_text(key: bytes, order: str) -> str | None:
    """Return an LPM trie's key as `ADDRESS/LENGTH`, None if it is none of an address."""
    if len(key) - 4 not in (4, 16):
        return None
    return f"{address_text(key[4:])}/{int.from_bytes(key[:4], order)}"  # type: ignore[arg-type] # "little" or "big"
