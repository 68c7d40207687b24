"""The tag that the kernel computes of a program's instructions."""

from __future__ import annotations

from bpfload.abi.consts import BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
from bpfload.insn.codec import HOST, LD_IMM64, SLOT_SIZE, Codec

#: How many bytes of the digest the tag is (BPF_TAG_SIZE).
TAG_SIZE = 8


def program_tag(insns: bytes | bytearray, *, algorithm: str, codec: Codec = HOST) -> str:
    """Return the tag that the kernel shows for a program, 16 hex digits.

    `insns`: the relocated instructions, 8 bytes each, subprograms included; map references are blanked here, so the tag
    doesn't depend on file descriptors. `algorithm`: "sha1", or "sha256" on the kernels that changed to it (6.18). `codec`: the
    byte order of `insns`.

    Source: bpf_prog_calc_tag() in kernel/bpf/core.c.
    """
    return program_digest(insns, algorithm=algorithm, codec=codec)[:TAG_SIZE].hex()


def program_digest(insns: bytes | bytearray, *, algorithm: str, codec: Codec = HOST) -> bytes:
    """Return the whole digest that the tag is the start of. Arguments as for `program_tag`."""
    import hashlib  # only where a tag is asked for: it loads OpenSSL

    if algorithm not in ("sha1", "sha256"):
        raise ValueError(f"a program's tag is made with sha1 or sha256, not {algorithm!r}")
    return hashlib.new(algorithm, _without_maps(insns, codec), usedforsecurity=False).digest()


def _without_maps(insns: bytes | bytearray, codec: Codec) -> bytearray:
    """Return a copy with the immediates of map references set to 0.

    References by index into fd_array keep theirs: the kernel blanks only the two kinds that hold a file descriptor.
    """
    blanked = bytearray(insns)
    codes = bytes(insns[::SLOT_SIZE])
    index = codes.find(LD_IMM64)
    while index >= 0:
        step = 1
        if codec.src_reg(blanked, index) in (BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE):
            place = index * SLOT_SIZE
            blanked[place + 4 : place + 8] = bytes(4)
            if blanked[place + 8 : place + 12] == bytes(4):  # a well-formed second slot
                blanked[place + 12 : place + 16] = bytes(4)
            step = 2
        index = codes.find(LD_IMM64, index + step)
    return blanked
