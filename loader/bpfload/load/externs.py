"""Find what an object's externs are in the running kernel: kconfig values, kernel symbols, kernel functions.

Source: bpf_object__resolve_externs() in tools/lib/bpf/libbpf.c, in its order, so that of several failures it is the same.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from bpfload.btf.types import KIND_FUNC, KIND_FWD, KIND_PTR, KIND_VAR
from bpfload.errors import BpfError, FormatError, LinkError
from bpfload.linker import ExternValue
from bpfload.spec import ExternSpec

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.kernel.btf import ModuleBtf
    from bpfload.load.session import Session

_MAX_FD_INDEX = 0x7FFF


def resolve(session: Session) -> None:
    """Resolve the externs of the object.

    `session.externs` gets a value for each, in the order of the spec; `session.kconfig_value` the content of the .kconfig map;
    `session.fd_array` the BTF fds of modules whose functions are called. Raises LinkError, FormatError.
    """
    spec = session.spec
    externs = spec.externs.values()
    found = _resolve_kconfig(session, [extern for extern in externs if extern.kind == "kconfig"])
    symbols = [extern for extern in externs if extern.kind == "ksym"]
    if any(not extern.type_id for extern in symbols):
        found |= _resolve_addresses(symbols)
    typed = [extern for extern in externs if extern.kind != "kconfig" and extern.type_id]
    if typed:
        assert spec.btf is not None
        found |= _Typed(spec.btf, session).resolve(typed)
    for extern in externs:
        if extern.name not in found:
            if not extern.weak:
                raise _missing(extern)
            found[extern.name] = _DEFAULTS[extern.kind](extern)
    session.externs = {extern.name: found[extern.name] for extern in externs}


_DEFAULTS: Mapping[str, Callable[[ExternSpec], ExternValue]] = {
    "kconfig": lambda extern: ExternValue("kconfig", offset=extern.offset),
    "ksym": lambda extern: ExternValue("address"),
    "kfunc": lambda extern: ExternValue("missing"),
}


def _missing(extern: ExternSpec) -> LinkError:
    if extern.kind == "kconfig":
        message, hint = "this kernel's configuration doesn't set it", _WEAK_HINT
    else:
        message = "this kernel has no such symbol"
        hint = f"Variables are among the symbols only of kernels with CONFIG_KALLSYMS_ALL. {_WEAK_HINT}"
    return LinkError(f"extern {extern.name!r}: {message}", symbol=extern.name, hint=hint, errno_code=errno.ESRCH)


_WEAK_HINT = "Declared __weak, it is zero where the kernel hasn't got it."


# --- kconfig --------------------------------------------------------------------------------------------------------


def _resolve_kconfig(session: Session, externs: list[ExternSpec]) -> dict[str, ExternValue]:
    """Fill the .kconfig map's value; return those externs that have one."""
    if not externs:
        return {}
    from bpfload.kernel import kconfig

    values: dict[str, bytes] = {}
    for extern in externs:
        if not extern.name.startswith("CONFIG_"):
            number = _virtual(extern)
            values[extern.name] = kconfig.encode_number(
                extern.name, number, extern.value_kind, extern.size, signed=extern.is_signed
            )
    options = [extern for extern in externs if extern.name.startswith("CONFIG_")]
    if options:
        try:
            values |= _configured(options, session.options.kconfig)
        except BpfError as error:
            error.errno_code = errno.EINVAL
            raise
    content = bytearray(_kconfig_size(session))
    for extern in externs:
        value = values.get(extern.name, b"")
        content[extern.offset : extern.offset + len(value)] = value
    session.kconfig_value = bytes(content)
    return {extern.name: ExternValue("kconfig", offset=extern.offset) for extern in externs if extern.name in values}


def _kconfig_size(session: Session) -> int:
    return next(entry.value_size for entry in session.spec.maps.values() if entry.kind == "kconfig")


def _configured(externs: list[ExternSpec], overlay: str) -> dict[str, bytes]:
    """Return the values of those options that the overlay or the kernel sets. The kernel's are read only if need be."""
    from bpfload.kernel import kconfig

    settings = kconfig.parse(overlay) if overlay else {}
    texts = {extern.name: settings[extern.name] for extern in externs if extern.name in settings}
    rest = [extern for extern in externs if extern.name not in texts]
    if rest:
        config = kconfig.read()
        for extern in rest:
            text = kconfig.find(config, extern.name)
            if text is not None:
                texts[extern.name] = text
    return {
        extern.name: kconfig.encode(extern.name, texts[extern.name], extern.value_kind, extern.size, signed=extern.is_signed)
        for extern in externs
        if extern.name in texts
    }


def _virtual(extern: ExternSpec) -> int:
    """Return the value of an extern that no .config has. Raises LinkError if the name isn't known."""
    if extern.name == "LINUX_KERNEL_VERSION":
        from bpfload.kernel import version

        if not version.code():
            raise LinkError(f"extern {extern.name!r}: this kernel's version can't be told", symbol=extern.name)
        return version.code()
    if extern.name == "LINUX_HAS_BPF_COOKIE":
        from bpfload import features

        return int(features.supports("bpf_cookie") is True)
    if extern.name == "LINUX_HAS_SYSCALL_WRAPPER":
        from bpfload.kernel import syscalls

        return int(syscalls.has_wrapper())
    if extern.weak and extern.name.startswith("LINUX_"):
        return 0
    raise LinkError(
        f"extern {extern.name!r} is no kconfig value",
        symbol=extern.name,
        hint="Names begin with CONFIG_, or are LINUX_KERNEL_VERSION, LINUX_HAS_BPF_COOKIE or LINUX_HAS_SYSCALL_WRAPPER.",
    )


# --- kernel symbols by address --------------------------------------------------------------------------------------


def _resolve_addresses(externs: Iterable[ExternSpec]) -> dict[str, ExternValue]:
    """Return the addresses of those symbols that the kernel has. Raises LinkError if one name stands for several addresses."""
    from bpfload.kernel import kallsyms

    table = kallsyms.load()
    if table.empty:
        raise LinkError(f"extern symbols can't be found: {kallsyms.PATH} can't be read")
    found = {}
    for extern in externs:
        addresses = table.variable_addresses(extern.name)
        if len(addresses) > 1:
            several = " or ".join(f"{address:#x}" for address in addresses[:2])
            raise LinkError(f"extern {extern.name!r} is ambiguous in this kernel: {several}", symbol=extern.name)
        if addresses and not extern.type_id:
            found[extern.name] = ExternValue("address", address=addresses[0])
    return found


# --- kernel symbols by type -----------------------------------------------------------------------------------------


class _Typed:
    """Looks up variables and functions in the kernel's BTF, then in modules'. The session's `fd_array` gets the modules' fds."""

    def __init__(self, local: Btf, session: Session) -> None:
        from bpfload.kernel import btf as kernel_btf

        self.local = local
        self.session = session
        self.kernel = kernel_btf.vmlinux()
        self._modules: list[ModuleBtf] | None = None

    def resolve(self, externs: Iterable[ExternSpec]) -> dict[str, ExternValue]:
        """Return what those externs are that the kernel has, with types that fit."""
        found = {}
        for extern in externs:
            try:
                value = self._function(extern) if extern.kind == "kfunc" else self._variable(extern)
            except BpfError as error:
                error.errno_code = errno.EINVAL
                raise
            if value is not None:
                found[extern.name] = value
        return found

    def _modules_now(self) -> list[ModuleBtf]:
        if self._modules is None:
            from bpfload.kernel import btf as kernel_btf

            self._modules = kernel_btf.modules()
        return self._modules

    def _find(self, name: str, kind: int) -> tuple[Btf, int, ModuleBtf | None] | None:
        """Return where a symbol is described, and its id there."""
        type_id = self.kernel.find(name, kind)
        if type_id:
            return self.kernel, type_id, None
        for module in self._modules_now():
            type_id = module.btf.find(name, kind)
            if type_id >= module.btf.start_id:
                return module.btf, type_id, module
        return None

    def _variable(self, extern: ExternSpec) -> ExternValue | None:
        place = self._find(extern.name, KIND_VAR)
        if place is None:
            _may_be_missing(extern, "variable")
            return None
        btf, type_id, module = place
        target = btf.resolve(btf.type(type_id).type_id)
        if not _compatible(self.local, extern.type_id, btf, target):
            from bpfload.btf.names import c_type

            mine, other = c_type(self.local, extern.type_id), c_type(btf, target)
            raise LinkError(f"extern {extern.name!r} is declared as {mine}, and is {other} in {btf.name}", symbol=extern.name)
        return ExternValue("btf", btf_id=type_id, btf_fd=self._fd(module))

    def _function(self, extern: ExternSpec) -> ExternValue | None:
        place = self._find(extern.essential_name or extern.name, KIND_FUNC)
        if place is None:
            _may_be_missing(extern, "function")
            return None
        btf, type_id, module = place
        mine, other = self.local.type(extern.type_id).type_id, btf.type(type_id).type_id
        if not _compatible(self.local, mine, btf, other):
            if extern.weak:
                return None
            from bpfload.btf.names import declaration

            hint = "Take the declaration from the vmlinux.h of this kernel."
            if _undefined(self.local, mine):
                hint = "A struct that the object only declares matches none: give it members, whichever. " + hint
            raise LinkError(
                f"function {extern.name!r} is declared as {declaration(self.local, extern.type_id)!r}, "
                f"and is {declaration(btf, type_id)!r} in {btf.name}",
                symbol=extern.name,
                hint=hint,
            )
        return ExternValue("btf", btf_id=type_id, btf_fd=self._fd(module), fd_index=self._fd_index(extern, module))

    def _fd(self, module: ModuleBtf | None) -> int:
        """Return an fd of a module's BTF; 0 for vmlinux."""
        return self.session.module_fd(module) if module else 0

    def _fd_index(self, extern: ExternSpec, module: ModuleBtf | None) -> int:
        """Return the index of a module's BTF fd in the array that is given along with the program; 0 for vmlinux."""
        if module is None:
            return 0
        fds, fd = self.session.fd_array, self._fd(module)
        if not fds:
            fds.append(0)  # index 0 in an instruction means vmlinux
        if fd not in fds:
            if len(fds) == _MAX_FD_INDEX:
                raise LinkError(f"function {extern.name!r} is in one module too many", symbol=extern.name)
            fds.append(fd)
        return fds.index(fd)


def _may_be_missing(extern: ExternSpec, what: str) -> None:
    """Raise LinkError unless the extern is weak."""
    if not extern.weak:
        raise LinkError(
            f"{what} {extern.name!r}: this kernel has none of that name for BPF programs, nor has one of its modules",
            symbol=extern.name,
            hint=f"A newer kernel or a module may have it. {_WEAK_HINT}",
        )


def _undefined(btf: Btf, prototype: int) -> bool:
    """Whether a function prototype has a pointer to a struct or union that is declared without members."""
    entry = btf.type(prototype)
    pointers = [btf.type(btf.resolve(ident)) for ident in (entry.type_id, *(each.type_id for each in entry.params))]
    return any(each.kind == KIND_PTR and btf.type(btf.resolve(each.type_id)).kind == KIND_FWD for each in pointers)


def _compatible(local: Btf, mine: int, target: Btf, other: int) -> bool:
    from bpfload.btf.core import types_are_compatible

    try:
        return types_are_compatible(local, mine, target, other)
    except FormatError:
        return False  # nested too deeply to be compared
