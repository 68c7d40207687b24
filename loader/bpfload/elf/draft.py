"""What the passes over a file hand on to each other."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from bpfload.btf.types import KIND_DATASEC, KIND_TYPEDEF, MODIFIER_KINDS
from bpfload.spec import ObjectSpec

EINVAL = 22
EMFILE = 24  # each map is a file descriptor
MAX_MAPS = 1 << 14
MAX_CHAIN = 64  # the kernel goes down to 32
TRANSPARENT_KINDS = MODIFIER_KINDS | {KIND_TYPEDEF}

if TYPE_CHECKING:
    from typing import NoReturn

    from bpfload.btf import Btf
    from bpfload.btf.writer import BtfEditor
    from bpfload.elf.file import ElfFile, Section, Symbol
    from bpfload.spec import ExternSpec, MapSpec, ProgramSpec


class Draft:
    """An object that is being read: `spec` grows from pass to pass, the rest is known to the passes only.

    `symbols`: by index. `text`: index of .text, 0 if there is none. `data_sections`: those whose content becomes a map, in
    file order. `types`: the ids of types by kind. `placed`: (section index, start, end, program), sorted; in bytes.
    `maps_by_place`: (section index, offset) to map. `externs_by_symbol`: symbol index to extern.
    """

    def __init__(self, elf: ElfFile, spec: ObjectSpec) -> None:
        self.elf = elf
        self.spec = spec
        self.symbols: list[Symbol] = []
        self.symbol_table: Section | None = None
        self.text = 0
        self.maps: Section | None = None
        self.legacy_maps: list[Section] = []
        self.data_sections: list[Section] = []
        self.struct_ops: list[Section] = []
        self.relocations: list[Section] = []
        self.arena: Section | None = None
        self.arena_map: MapSpec | None = None
        self.jumptables: Section | None = None
        self.btf_section: Section | None = None
        self.btf_ext_section: Section | None = None
        self.types: dict[int, list[int]] = {}
        self.maps_datasec = 0
        self.functions: dict[int, list[Symbol]] = {}
        self.placed: list[tuple[int, int, int, ProgramSpec]] = []
        self.places: list[tuple[int, int]] = []
        self.maps_by_place: dict[tuple[int, int], MapSpec] = {}
        self.data_maps: dict[int, MapSpec] = {}
        self.externs_by_symbol: dict[int, ExternSpec] = {}
        self.editor: BtfEditor | None = None
        self.code_size = 0
        self.member_count = 0
        self.has_global_variable: dict[int, bool] = {}
        self._datasecs: dict[str, int] | None = None
        self.struct_ops_maps: dict[int, list[MapSpec]] = {}

    @property
    def btf(self) -> Btf | None:
        """The object's BTF, as far as it is fixed up."""
        return self.spec.btf

    @property
    def needs_btf(self) -> bool:
        """Whether the object makes no sense without BTF; externs, known later, need it too."""
        return self.maps is not None or bool(self.struct_ops)

    def fail(self, message: str, errno_code: int, *, section: str = "", offset: int | None = None, hint: str = "") -> NoReturn:
        """Raise FormatError for the file."""
        self.elf.fail(message, section=section, offset=offset, hint=hint, errno_code=errno_code)

    def resolve(self, type_id: int) -> int:
        """Return what remains of a type of the object's BTF without qualifiers, type tags and typedefs: its id.

        Chains are followed only so far: a file may have a long one, and refer to it from everywhere.
        """
        btf = self.spec.btf
        assert btf is not None
        left = MAX_CHAIN
        while (found := btf.type(type_id)).kind in TRANSPARENT_KINDS:
            left -= 1
            if not left:
                self.fail(f"BTF type {type_id}: a chain of over {MAX_CHAIN} types", EINVAL, section=".BTF")
            type_id = found.type_id
        return type_id

    def datasec(self, name: str) -> int:
        """Return the id of the first DATASEC of a name in the object's BTF, 0 if there is none."""
        if self._datasecs is None:
            btf = self.spec.btf
            ids = reversed(self.types.get(KIND_DATASEC, ()))
            self._datasecs = {btf.type(type_id).name: type_id for type_id in ids} if btf is not None else {}
        return self._datasecs.get(name, 0)

    def symbol_label(self, symbol: Symbol) -> str:
        """Return a symbol's name for messages; relocations against static things have a nameless section symbol."""
        name = self.elf.symbol_name(symbol)
        if not name and symbol.section < len(self.elf.sections):
            return self.elf.sections[symbol.section].label
        return name or "?"

    def add_map(self, spec: MapSpec, section_index: int) -> None:
        """Append a map. A name that another map has already, which no compiler makes, gets a number added."""
        maps = self.spec.maps
        if len(maps) == MAX_MAPS:
            self.fail(f"more than {MAX_MAPS} maps", EMFILE)
        if spec.name in maps:
            spec.name = f"{spec.name}#{len(maps)}"
        maps[spec.name] = spec
        self.maps_by_place.setdefault((section_index, spec.offset), spec)

    def program_at(self, section_index: int, offset: int) -> tuple[int, ProgramSpec] | None:
        """Return the function that covers an offset of a section, and where it starts."""
        at = bisect_right(self.places, (section_index, offset)) - 1
        if at < 0:
            return None
        section, start, end, program = self.placed[at]
        return (start, program) if section == section_index and offset < end else None
