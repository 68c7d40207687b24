"""Load-only verification: each program of an object loaded alone, nothing pinned, nothing attached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bpfload.abi.names import PROG_TYPE_NAMES, name_of
from bpfload.errors import BpfError, VerifierError
from bpfload.load.options import LoadCache, LoadOptions
from bpfload.load.session import load
from bpfload.spec import ObjectSpec, ProgramSpec


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the kernel says of one program.

    `object`: the file's name. `program`, `section`: None where the object couldn't be opened. `error`: None if the program was
    loaded. `errno`: 0, or the negative number that libbpf returns for the same failure. `type`: as bpftool names it. `tag`: 16
    hex digits, "" if it wasn't loaded. `insns`: slots as loaded, subprograms included; `verified_insns`: those that the verifier
    looked at. `maps`, `func_infos`, `line_infos`: how many the loaded program has.
    """

    object: str
    program: str | None
    section: str | None
    errno: int = 0
    type: str | None = None
    tag: str | None = None
    insns: int = 0
    verified_insns: int = 0
    maps: int = 0
    func_infos: int = 0
    line_infos: int = 0
    error: BpfError | None = None

    @property
    def ok(self) -> bool:
        """Whether the program was loaded."""
        return self.error is None

    @property
    def message(self) -> str:
        """Why it wasn't loaded, in one line; "" if it was."""
        if self.error is None:
            return ""
        source = f" at {self.error.source}" if isinstance(self.error, VerifierError) and self.error.source else ""
        return f"{self.error.message}{source}"


def check(path: str | os.PathLike[str], options: LoadOptions | None = None) -> Iterator[Verdict]:
    """Load each program of an object file alone, and yield a Verdict for each; one for the file if it can't be read.

    Nothing is pinned: maps with LIBBPF_PIN_BY_NAME are made anew for each program. `options`: as for `load`.
    """
    from bpfload import elf

    name = os.path.basename(os.fspath(path))
    try:
        spec = elf.read(path)
    except BpfError as error:
        yield Verdict(name, None, None, errno=-error.errno_code, error=error)
        return
    yield from check_spec(spec, options)


def check_spec(spec: ObjectSpec, options: LoadOptions | None = None) -> Iterator[Verdict]:
    """Load each program of an object alone, and yield a Verdict for each."""
    cache = LoadCache()
    try:
        for program in spec.entry_programs:
            alone = replace(options or LoadOptions(), programs=frozenset((program.name,)), pin_root=None, cache=cache)
            yield _check_program(spec, program, alone)
    finally:
        cache.close()


def _check_program(spec: ObjectSpec, program: ProgramSpec, options: LoadOptions) -> Verdict:
    section = program.section.removeprefix("?")
    name = os.path.basename(spec.path) or spec.name
    try:
        with load(spec, options) as live:
            loaded = live.program(program.name)
            info = loaded.info()
            return Verdict(
                name,
                program.name,
                section,
                type=name_of(PROG_TYPE_NAMES, info.type),
                tag=info.tag,
                insns=live.insn_counts[program.name],
                verified_insns=info.verified_insns,
                maps=info.nr_map_ids,
                func_infos=info.nr_func_info,
                line_infos=info.nr_line_info,
            )
    except BpfError as error:
        kind = name_of(PROG_TYPE_NAMES, program.type)
        return Verdict(name, program.name, section, errno=-error.errno_code, type=kind, error=error)
