"""What an object file says, as plain data: nothing here has seen a kernel.

An `ObjectSpec` is what `bpfload.elf.read` makes of an object file. It may be edited before it is loaded: a map's
`max_entries`, a variable's value, a program's `autoload`. Offsets and sizes are bytes, instructions are packed 8-byte slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import iter_unpack
from typing import TYPE_CHECKING, Any

from bpfload.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfload.btf import Btf

# Relocation kinds: what the instruction refers to, and so how it is patched.
RELOC_MAP = "map"  # ld_imm64 of a map: the fd
RELOC_DATA = "data"  # ld_imm64 of a global variable: map fd + offset in its value
RELOC_CALL = "call"  # call of a subprogram
RELOC_SUBPROG_ADDR = "subprog_addr"  # ld_imm64 of a subprogram's address (callback)
RELOC_EXTERN_LD64 = "extern_ld64"  # ld_imm64 of a kconfig value or a ksym
RELOC_EXTERN_CALL = "extern_call"  # call of a kfunc
RELOC_INSN_ARRAY = "insn_array"  # ld_imm64 of a jump table


class Record:
    """Base of the data classes that every load imports: one __repr__ for all, since generating one for each takes longer."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({', '.join(fields)})"


@dataclass(slots=True, eq=False, repr=False)
class Relocation(Record):
    """One reference from an instruction to a symbol.

    `offset`: of the instruction in its function. `kind`: a RELOC_* constant. `symbol`: the symbol's name as a message would
    say it. `target`: name of the map (map, data, insn_array), of the extern (extern_*), or of the target's section (call,
    subprog_addr). `value`: the symbol's own offset in the map's value or in the section. `size`: of the
    symbol, for insn_array.
    """

    offset: int
    kind: str
    symbol: str
    target: str
    value: int = 0
    size: int = 0


@dataclass(slots=True, eq=False, repr=False)
class ProgramSpec(Record):
    """One function of the object: an entry program, or a subprogram (`is_subprog`).

    `section`: the ELF section's name as it stands in the file (with a leading "?"). `offset`: of the function in its section.
    `sec`: the row of the SEC() table that its section matches, or None. `type`, `attach_type`: numbers (enum bpf_prog_type,
    bpf_attach_type). `attach_target`: what SEC() or the caller names to attach to ("sys_enter", "bpf_prog_load", "") .
    `autoload`: False for "?" sections. `is_global`: global symbol (a global subprogram is verified on its own); `hidden`: ELF
    visibility hidden or internal, which makes it static for the verifier. `flags`: BPF_F_* for BPF_PROG_LOAD. `ifindex`: of the
    network card that it runs on, or is bound to.
    """

    name: str
    section: str
    offset: int
    insns: bytes
    is_subprog: bool = False
    is_global: bool = True
    hidden: bool = False
    weak: bool = False
    relocations: tuple[Relocation, ...] = ()
    sec: SectionDefinition | None = None
    type: int = 0
    attach_type: int = 0
    attach_target: str = ""
    autoload: bool = True
    flags: int = 0
    ifindex: int = 0
    exception_callback: str = ""

    @property
    def insn_count(self) -> int:
        """Number of 8-byte instruction slots."""
        return len(self.insns) // 8


@dataclass(slots=True, eq=False, repr=False)
class SectionDefinition(Record):
    """One row of libbpf's SEC() table (tools/lib/bpf/libbpf.c, section_defs[]).

    `name`: the SEC() prefix. `exact`: the section's name must be equal to `name`; else `name` alone or `name` + "/" + extras.
    `needs_btf_id`: the attach target is a BTF id of the kernel. `attachable`: it attaches by itself from what SEC() says.
    `optional_attach_type`: expected_attach_type is dropped on kernels that don't know it. `sleepable`, `frags`: flags set.
    `attach_btf_prefix`: what the target's type name starts with in the kernel's BTF ("bpf_lsm_", "btf_trace_", "bpf_iter_").
    """

    name: str
    type: int
    attach_type: int = 0
    exact: bool = True
    needs_btf_id: bool = False
    attachable: bool = False
    optional_attach_type: bool = False
    sleepable: bool = False
    frags: bool = False
    hook: str = ""


@dataclass(slots=True, eq=False, repr=False)
class MapSlot(Record):
    """A statically initialised slot of a map-in-map or prog_array: `index`, and the `symbol` whose fd goes in.

    `kind`: "map" or "prog".
    """

    index: int
    symbol: str
    kind: str


@dataclass(slots=True, eq=False, repr=False)
class MapSpec(Record):
    """One map.

    `name`: the name in the object (for a global-data map: the ELF section's name); `kernel_name`: as the kernel will be told,
    not yet cut for old kernels. `kind`: "btf" (.maps), "legacy" (maps), "data", "kconfig", "struct_ops", "arena" or
    "jumptable". `type`: enum bpf_map_type. `key_type_id`, `value_type_id`: into the object's BTF, 0 if none. `pinning`: 0, or
    1 for LIBBPF_PIN_BY_NAME. `inner`: template of a map-in-map's inner map. `slots`: static initial values.
    `data`: initial value of a data map's single element. `read_only`: frozen after it is filled (BPF_F_MMAPABLE is in `flags`).
    `autocreate`: False for "?" forms. `section`, `offset`: where it is defined.
    """

    name: str
    kind: str = "btf"
    type: int = 0
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    extra: int = 0
    numa_node: int = 0
    pinning: int = 0
    key_type_id: int = 0
    value_type_id: int = 0
    ifindex: int = 0
    kernel_name: str = ""
    inner: MapSpec | None = None
    slots: list[MapSlot] = field(default_factory=list)
    data: bytearray | None = None
    read_only: bool = False
    autocreate: bool = True
    section: str = ""
    offset: int = 0
    struct_ops: StructOpsSpec | None = None


@dataclass(slots=True, eq=False, repr=False)
class StructOpsSpec(Record):
    """A struct_ops variable. `type_name`: the struct's name in the object's BTF (flavour suffix included), `type_id`: its id.

    `link`: defined in .struct_ops.link. `programs`: (byte offset of the function pointer in the value, function symbol).
    """

    type_name: str
    type_id: int
    link: bool
    programs: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True, eq=False, repr=False)
class VariableSpec(Record):
    """One global variable.

    `map_name`: of the data map that holds it. `offset`, `size`: bytes, in that map's value. `type_id`: 0 without BTF.
    """

    name: str
    map_name: str
    offset: int
    size: int
    type_id: int = 0
    is_static: bool = False


@dataclass(slots=True, eq=False, repr=False)
class ExternSpec(Record):
    """One extern.

    `kind`: "kconfig" (value in the .kconfig map at `offset`, `size` bytes), "ksym" (a kernel symbol's address: typed if
    `type_id`), or "kfunc". `weak`: may stay unresolved. `type_id`: the VAR's type or the FUNC's id in the object's BTF, 0 for a
    typeless ksym. `essential_name`: the name without the ___flavour suffix. `is_signed`: of a kconfig integer. `value_kind`: for
    kconfig: "bool", "tristate", "char", "int", "string".
    """

    name: str
    kind: str
    weak: bool = False
    type_id: int = 0
    offset: int = 0
    size: int = 0
    align: int = 0
    is_signed: bool = False
    value_kind: str = ""
    essential_name: str = ""


@dataclass(slots=True, eq=False, repr=False)
class SectionInfo(Record):
    """Records of .BTF.ext for one ELF section: `data` packed records of `record_size` bytes, instruction offsets in bytes."""

    section: str
    record_size: int
    data: bytes

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.data) // self.record_size

    def core_relocations(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield the CO-RE relocations: instruction offset (bytes), type id, offset of the access string, kind.

        Source: struct bpf_core_relo in include/uapi/linux/bpf.h.
        """
        return iter_unpack(f"<4I{self.record_size - 16}x", self.data)


@dataclass(slots=True, eq=False, repr=False)
class BtfExt(Record):
    """.BTF.ext: per ELF section name, func_info, line_info and CO-RE relocation records as they stand in the file."""

    func_info: dict[str, SectionInfo] = field(default_factory=dict)
    line_info: dict[str, SectionInfo] = field(default_factory=dict)
    core_relos: dict[str, SectionInfo] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class ObjectSpec(Record):
    """One object file, read.

    `name`: libbpf's object name (base name up to the first dot), which data maps are named after. `license`: without the NUL.
    `version`: of the "version" section, 0 if none. `programs`: every function in file order, subprograms included. `maps`: in
    libbpf's order. `btf`: None without .BTF; fixed up, ready for the kernel but for what depends on it. `jumptables`: content
    of .jumptables. `warnings`: what was found wrong and ignored.
    """

    name: str
    path: str = ""
    license: str = ""
    version: int = 0
    programs: list[ProgramSpec] = field(default_factory=list)
    maps: dict[str, MapSpec] = field(default_factory=dict)
    variables: list[VariableSpec] = field(default_factory=list)
    externs: dict[str, ExternSpec] = field(default_factory=dict)
    btf: Btf | None = None
    btf_ext: BtfExt | None = None
    little_endian: bool = True
    jumptables: bytes = b""
    warnings: list[str] = field(default_factory=list)

    @property
    def entry_programs(self) -> list[ProgramSpec]:
        """The programs that can be loaded: all functions that aren't subprograms."""
        return [program for program in self.programs if not program.is_subprog]

    def program(self, name: str) -> ProgramSpec:
        """Return the entry program of that name. Raises NotFoundError, naming those that there are."""
        entries = self.entry_programs
        for program in entries:
            if program.name == name:
                return program
        names = ", ".join(program.name for program in entries) or "none"
        raise NotFoundError(f"no program {name!r} in {self.name}; its programs are: {names}")

    def variable(self, name: str) -> VariableSpec:
        """Return the global variable of that name. Raises NotFoundError."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        names = tuple(entry.name for entry in self.variables)
        raise NotFoundError(f"no global variable {name!r} in {self.name}; there are: {', '.join(names) or 'none'}")

    def value(self, name: str) -> Any:
        """Return a global variable's initial value: a Python value by its type, bytes without BTF. Raises NotFoundError."""
        variable = self.variable(name)
        return decode_variable(self, variable, bytes(self._holder(variable)))

    def set_value(self, name: str, value: Any) -> None:
        """Change a global variable's initial value, constants included. Raises NotFoundError, UsageError for what doesn't fit."""
        variable = self.variable(name)
        data = self._holder(variable)
        data[variable.offset : variable.offset + variable.size] = encode_variable(self, variable, value, bytes(data))

    def _holder(self, variable: VariableSpec) -> bytearray:
        data = self.maps[variable.map_name].data
        if data is None:
            raise NotFoundError(f"variable {variable.name!r} has no initial value")
        return data


def decode_variable(spec: ObjectSpec, variable: VariableSpec, data: bytes) -> Any:
    """Return a variable out of its map's value: by its type, or as bytes without BTF."""
    raw = data[variable.offset : variable.offset + variable.size]
    if spec.btf is None or not variable.type_id:
        return raw
    from bpfload.btf.values import decode

    return decode(spec.btf, variable.type_id, raw)


def encode_variable(spec: ObjectSpec, variable: VariableSpec, value: Any, data: bytes) -> bytes:
    """Return the bytes of a variable with a new value; what `value` leaves out stays as it is in `data`. Raises UsageError."""
    if isinstance(value, bytes | bytearray) and len(value) == variable.size:
        return bytes(value)
    if spec.btf is None or not variable.type_id:
        raise UsageError(f"variable {variable.name!r} has no type: give its {variable.size} bytes", hint="Compile with -g.")
    from bpfload.btf.encode import encode

    initial = data[variable.offset : variable.offset + variable.size]
    return encode(spec.btf, variable.type_id, value, initial=initial, name=variable.name)
