"""The functions of a loaded program, by the numbers that its BTF gives them: what freplace, fentry and fexit on a program name.

Source: libbpf_find_prog_btf_id() in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

import errno

from bpfload.btf.types import KIND_FUNC
from bpfload.errors import LinkError, NotFoundError


def function_id(fd: int, name: str) -> int:
    """Return the BTF id of a program's function. `fd`: of the program; `name`: of the function.

    Raises LinkError for a program without BTF, NotFoundError with near matches for a function that it doesn't have.
    """
    from bpfload.objects.btf import BtfObject
    from bpfload.objects.info import prog_info

    info = prog_info(fd, ())
    if not info.btf_id:
        raise LinkError(f"program {info.name!r}, which it is to be attached to, has no BTF", hint="Compile it with -g.")
    with BtfObject.from_id(info.btf_id) as holder:
        btf = holder.btf()
    found: int = btf.find(name, KIND_FUNC)
    if found:
        return found
    names = [text.decode(errors="replace") for text in btf.own_strings.split(b"\0")]
    from difflib import get_close_matches

    close = tuple(match for match in get_close_matches(name, names, n=6, cutoff=0.75) if btf.find(match, KIND_FUNC))[:3]
    raise NotFoundError(
        f"program {info.name!r} has no function {name!r} (among those with BTF)",
        candidates=close,
        errno_code=errno.ENOENT,
    )
