"""One load: its passes in order, what each leaves for the next, and the roll-back.

Source of the order: bpf_object_load() in tools/lib/bpf/libbpf.c; a failure is the one that libbpf would meet first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import BpfError
from bpfload.linker import ExternValue, LinkedProgram, link
from bpfload.linker.layout import Subprograms
from bpfload.links.program import AttachableProgram
from bpfload.load import btf, maps, programs
from bpfload.load.options import LoadOptions
from bpfload.objects.map import Map
from bpfload.spec import MapSpec, ObjectSpec, ProgramSpec

if TYPE_CHECKING:
    from bpfload.kernel.btf import ModuleBtf
    from bpfload.load.object import Object
    from bpfload.load.struct_ops import StructOps


class Session:
    """The state of a load. Everything it opens is closed by `stack`, until `finish` hands it over."""

    def __init__(self, spec: ObjectSpec, options: LoadOptions, stack: ExitStack) -> None:
        self.spec = spec
        self.options = options
        self.stack = stack
        self.selected: list[ProgramSpec] = []
        self.btf_fd = 0
        self.token_fd = 0
        self.token_flag = 0
        self.with_records = True
        self.edited_btf = b""
        self.map_fds: dict[str, int] = {}
        self.program_fds: dict[str, int] = {}
        self.externs: dict[str, ExternValue] = {}
        self.kconfig_value: bytes | None = None
        self.struct_ops: dict[str, StructOps] = {}
        self.struct_ops_members: dict[str, tuple[int, int, int]] = {}
        self.code: dict[int, bytes] = {}
        self.core_notes: dict[int, dict[int, str]] = {}
        self.linked: list[LinkedProgram] = []
        self.fd_array: list[int] = []
        self._module_fds: dict[int, int] = {}
        self.notes: list[str] = list(spec.warnings)
        self.logs: dict[str, str] = {}
        self._maps: dict[str, Map] = {}
        self._programs: dict[str, AttachableProgram] = {}
        self._undo: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._at_end: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        stack.callback(self._roll_back)

    # --- what the passes ask ------------------------------------------------------------------------------------

    @property
    def needs_btf(self) -> bool:
        """Whether the object can't be loaded without its BTF."""
        return any(entry.kind == "struct_ops" for entry in self.spec.maps.values())

    def btf_bytes(self) -> bytes:
        """The object's BTF as it goes to the kernel."""
        assert self.spec.btf is not None
        return self.edited_btf or self.spec.btf.raw

    def initial_value(self, spec: MapSpec) -> bytes | bytearray:
        """The first value of a global-data map."""
        if spec.kind == "kconfig" and self.kconfig_value is not None:
            return self.kconfig_value
        return spec.data if spec.data is not None else bytes(spec.value_size)

    def notes_for(self, linked: LinkedProgram) -> dict[int, str]:
        """By slot in a linked program: what a poisoned CO-RE relocation failed to find."""
        return {
            start // 8 + slot: text
            for start, function in linked.functions
            for slot, text in self.core_notes.get(id(function), {}).items()
        }

    def module_fd(self, module: ModuleBtf) -> int:
        """An fd of a module's BTF, open for as long as the load lasts; programs and maps keep the BTF alive."""
        fd = self._module_fds.get(module.id)
        if fd is None:
            fd = self._module_fds[module.id] = module.open()
            self.stack.callback(os.close, fd)
        return fd

    # --- what the passes leave ----------------------------------------------------------------------------------

    def adopt_btf(self, fd: int) -> None:
        """Own the fd of the object's BTF for as long as the load lasts; maps and programs keep the BTF alive."""
        self.btf_fd = fd
        if self.options.cache is not None:
            self.options.cache.btf_fd = fd
        else:
            self.stack.callback(os.close, fd)

    def adopt_map(self, spec: MapSpec, fd: int) -> None:
        """Own a created or reused map."""
        self._maps[spec.name] = self.stack.enter_context(Map(fd))
        self.map_fds[spec.name] = fd

    def adopt_program(self, spec: ProgramSpec, fd: int) -> None:
        """Own a loaded program."""
        self._programs[spec.name] = self.stack.enter_context(AttachableProgram(fd, spec))
        self.program_fds[spec.name] = fd

    def undo(self, action: Callable[..., object], *arguments: object) -> None:
        """Do this if the load fails."""
        self._undo.append((action, arguments))

    def at_end(self, action: Callable[..., object], *arguments: object) -> None:
        """Do this once everything else has succeeded."""
        self._at_end.append((action, arguments))

    def _roll_back(self) -> None:
        while self._undo:
            action, arguments = self._undo.pop()
            with suppress(OSError):
                action(*arguments)

    def finish(self) -> Object:
        """Do what was put off, and hand everything that stays to an Object."""
        from bpfload.load.object import Object

        for action, arguments in self._at_end:
            action(*arguments)
        new_pins = [str(arguments[0]) for action, arguments in self._undo if action is os.unlink]
        self._undo.clear()
        live = {name: Map(entry.detach_fd()) for name, entry in self._maps.items()}
        return Object(
            self.spec,
            {name: AttachableProgram(program.detach_fd(), program.spec, live) for name, program in self._programs.items()},
            live,
            {linked.name: len(linked.insns) // 8 for linked in self.linked},
            self.struct_ops,
            self.notes,
            new_pins,
            self.logs,
        )


def load(source: ObjectSpec | str | os.PathLike[str], options: LoadOptions | None = None) -> Object:
    """Load an object file, or an ObjectSpec: all of it, or nothing.

    Raises FormatError, LinkError, VerifierError, KernelError, …: see bpfload.errors. After an error nothing of the load is
    left in the kernel. Attaching and pinning come after: bpfload.links, bpfload.pins.
    """
    if not isinstance(source, ObjectSpec):
        from bpfload import elf

        source = elf.read(source)
    with ExitStack() as stack:
        session = Session(source, options or LoadOptions(), stack)
        try:
            for step in PASSES:
                step(session)
        except BpfError as error:
            error.within(os.path.basename(source.path) or source.name)
            raise
        return session.finish()


def _select_programs(session: Session) -> None:
    """Choose the programs to load: those named, else those that SEC() doesn't switch off."""
    wanted = session.options.programs
    entries = session.spec.entry_programs
    if wanted is None:
        session.selected = [program for program in entries if program.autoload]
        return
    for name in wanted:
        session.spec.program(name)
    session.selected = [program for program in entries if program.name in wanted]


def _open_token(session: Session) -> None:
    """Take a BPF token from a delegating bpffs mount, where one is named or this user namespace can't do without."""
    from bpfload.load import token

    path = session.options.token_path or token.path_from_environment()
    if not path:
        return
    session.token_fd = token.create(path)
    session.token_flag = consts.BPF_F_TOKEN_FD
    session.stack.callback(os.close, session.token_fd)


def _resolve_externs(session: Session) -> None:
    """Find what the object's externs are in this kernel."""
    if session.spec.externs:
        from bpfload.load import externs

        externs.resolve(session)


def _prepare_struct_ops(session: Session) -> None:
    """Fit struct_ops variables to the kernel's structs."""
    if session.needs_btf:
        from bpfload.load import struct_ops

        struct_ops.prepare(session)


def _relocate_core(session: Session) -> None:
    """Apply CO-RE relocations to every function that may be loaded."""
    ext = session.spec.btf_ext
    if ext is not None and ext.core_relos:
        from bpfload.load import core

        core.relocate(session)


def _link(session: Session) -> None:
    """Append subprograms, patch calls, move func_info and line_info along."""
    spec = session.spec
    subprograms = Subprograms(spec)
    session.linked = [link(spec, program, code=session.code, subprograms=subprograms) for program in session.selected]


def _fix_context_arguments(session: Session) -> None:
    """Give global subprograms the context type that kernels without the tag arg:ctx want to see."""
    btf = session.spec.btf
    if btf is not None and session.spec.btf_ext is not None and btf.find("arg:ctx"):
        from bpfload.load import context_args

        context_args.fix(session)


PASSES: tuple[Callable[[Session], None], ...] = (
    _select_programs,
    _open_token,
    _resolve_externs,
    _prepare_struct_ops,
    _relocate_core,
    _link,
    _fix_context_arguments,
    btf.load_btf,
    maps.create_maps,
    programs.load_programs,
    maps.fill_program_slots,
)
