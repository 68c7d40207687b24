"""Programs and shared libraries of user space: where their functions and static probes are in the file.

Unlike an object for BPF such a file can be of any class and byte order, and hundreds of megabytes long; only the tables that
are asked for are read. Addresses are virtual ones as linked; offsets are bytes from the start of the file, which is what uprobes
take. As hostile as any file: every offset and size is checked, all work is bounded by the file's size.

Source: elf(5); the note of a static probe: <https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation>.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct, unpack_from
from typing import TYPE_CHECKING, Self

from bpfload.elf.pattern import glob
from bpfload.elf.usersymbols import SHT_DYNSYM, SHT_SYMTAB, Function, SymbolTable, text_at
from bpfload.errors import FormatError, NotFoundError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

ET_EXEC, ET_DYN = 2, 3
_PT_LOAD, _PF_X = 1, 1
_SHT_NOTE = 7

_MAX_SECTIONS = 0xFF00
_MAX_SEGMENTS = 0xFFFF
_MAX_TABLE = 1 << 30  # bytes of one table; those of the largest browsers are below 2^28
_MAX_NOTES = 1 << 20

_NOTE_SECTION, _BASE_SECTION = ".note.stapsdt", ".stapsdt.base"
_NOTE_NAME, _NOTE_TYPE = b"stapsdt\0", 3


@dataclass(frozen=True, slots=True)
class _Class:
    """The layouts of one ELF class. `symbol_order`: of (info, section, value) in an unpacked symbol."""

    header: str
    section: str
    segment: str
    symbol: str
    symbol_order: tuple[int, int, int]
    address: str


_CLASSES = {
    1: _Class("HHIIIIIHHHHHH", "10I", "8I", "IIIBBH", (3, 5, 1), "I"),
    2: _Class("HHIQQQIHHHHHH", "IIQQQQIIQQ", "IIQQQQQQ", "IBBHQQ", (1, 3, 4), "Q"),
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A PT_LOAD segment: `size` bytes in memory from `address`, `file_size` of them from `offset` in the file."""

    address: int
    size: int
    offset: int
    file_size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class StaticProbe:
    """One place of a statically defined probe (USDT).

    `arguments`: where they are, as the compiler wrote it. `address`: virtual, adjusted for prelinking; `offset`: of the place
    in the file. `semaphore`: offset in the file of the counter that says whether anybody listens, 0 for none.
    """

    provider: str
    name: str
    arguments: str
    address: int
    offset: int
    semaphore: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """One row of the section header table."""

    name: str
    type: int
    address: int
    offset: int
    size: int
    link: int


class UserBinary:
    """An executable or shared library, open for reading; to be closed, or used in `with`.

    Raises NotFoundError where the file isn't there, FormatError where it is no ELF file or a broken one.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise NotFoundError(f"can't open {path}: {reason}", errno_code=error.errno or 2) from None
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def fail(self, message: str, *, section: str = "", offset: int | None = None, hint: str = "") -> NoReturn:
        """Raise FormatError for this file."""
        raise FormatError(message, file=self.path, section=section, offset=offset, hint=hint)

    # --- the container ------------------------------------------------------------------------------------------------

    def _read(self, offset: int, size: int, what: str) -> bytes:
        if offset < 0 or size < 0 or offset + size > self.size or size > _MAX_TABLE:
            self.fail(f"{what} ({size} bytes at {offset:#x}) is not in the file, which has {self.size} bytes")
        try:
            data = os.pread(self._fd, size, offset)
        except OSError as error:
            self.fail(f"can't read {what}: {os.strerror(error.errno or 0)}")
        if len(data) != size:
            self.fail(f"{what} ends at {offset + len(data):#x}: the file was cut meanwhile")
        return data

    def _read_header(self) -> None:
        self.size = os.fstat(self._fd).st_size
        try:
            ident = os.pread(self._fd, 16, 0)
        except OSError as error:
            self.fail(f"can't read it: {os.strerror(error.errno or 0)}")
        if ident[:4] != b"\x7fELF":
            self.fail("not an ELF file", hint="A uprobe needs the program or library itself, not a script that starts it.")
        layout = _CLASSES.get(ident[4]) if len(ident) == 16 else None
        if layout is None or ident[5] not in (1, 2):
            self.fail("malformed ELF header")
        self.layout = layout
        self.little = ident[5] == 1
        self.order = "<" if self.little else ">"
        header = Struct(self.order + layout.header)
        row = header.unpack(self._read(16, header.size, "the ELF header"))
        self.type, self.machine = row[0], row[1]
        self._phoff, self._shoff = row[4:6]
        self._phentsize, self._phnum, self._shentsize, self._shnum, self._shstrndx = row[8:13]
        if self.type not in (ET_EXEC, ET_DYN):
            self.fail("neither a program nor a shared library", hint="An object file (.o) isn't run, so nothing in it is hit.")
        self._sections: list[Section] | None = None
        self._segments: list[Segment] | None = None
        self.names_read = 0

    @property
    def is_shared(self) -> bool:
        """Whether it is loaded at an address that each run chooses: a shared library, or a position-independent program."""
        return bool(self.type == ET_DYN)

    @property
    def segments(self) -> list[Segment]:
        """The PT_LOAD segments, in the order of their addresses."""
        if self._segments is None:
            form = Struct(self.order + self.layout.segment)
            if self._phnum and self._phentsize != form.size:
                self.fail(f"program headers of {self._phentsize} bytes")
            data = self._read(self._phoff, min(self._phnum, _MAX_SEGMENTS) * form.size, "the program header table")
            rows = []
            for row in form.iter_unpack(data):
                if self.layout.address == "Q":
                    kind, flags, offset, address, _, file_size, size, _ = row
                else:
                    kind, offset, address, _, file_size, size, flags, _ = row
                if kind == _PT_LOAD:
                    rows.append(Segment(address, size, offset, file_size, bool(flags & _PF_X)))
            self._segments = sorted(rows, key=lambda segment: segment.address)
        return self._segments

    def segment_of_address(self, address: int) -> Segment | None:
        """Return the segment that a virtual address is in."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                return segment
        return None

    def offset_of(self, address: int) -> int | None:
        """Return the offset in the file of a virtual address, None where the file has none for it."""
        segment = self.segment_of_address(address)
        return None if segment is None else address - segment.address + segment.offset

    def is_code(self, offset: int) -> bool:
        """Whether an offset in the file is in a segment that is mapped executable."""
        return any(
            segment.executable and segment.offset <= offset < segment.offset + segment.file_size for segment in self.segments
        )

    @property
    def sections(self) -> list[Section]:
        """The sections; none where the table was stripped."""
        if self._sections is None:
            self._sections = self._read_sections()
        return self._sections

    def _read_sections(self) -> list[Section]:
        form = Struct(self.order + self.layout.section)
        if not self._shoff:
            return []
        if self._shentsize != form.size:
            self.fail(f"section headers of {self._shentsize} bytes")
        first = form.unpack(self._read(self._shoff, form.size, "the section header table"))
        # More sections than 16 bits count: the numbers are in the null section (elf(5)).
        count = self._shnum or first[5]
        names_index = first[6] if self._shstrndx == 0xFFFF else self._shstrndx
        if count > _MAX_SECTIONS:
            self.fail(f"{count} sections are too many")
        rows = list(form.iter_unpack(self._read(self._shoff, count * form.size, "the section header table")))
        names = b""
        if 0 < names_index < len(rows):
            names = self._read(rows[names_index][4], rows[names_index][5], "the section names")
        return [Section(text_at(names, row[0]), row[1], row[3], row[4], row[5], row[6]) for row in rows]

    def _find(self, name: str) -> Section | None:
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section) -> bytes:
        """Return a section's bytes. Raises FormatError where they are not in the file."""
        return self._read(section.offset, section.size, f"section {section.name or '?'}")

    # --- functions ----------------------------------------------------------------------------------------------------

    def function(self, name: str) -> Function:
        """Return the function of that name: of what the dynamic linker knows, else of the full symbol table.

        ``name@VERSION`` and ``name@@VERSION`` choose one of several versions; without, the default version is meant. Of a weak
        and a strong symbol the strong one counts. Raises NotFoundError with near matches, FormatError for a name that two
        different functions have.
        """
        wanted, _, version = name.partition("@")
        for kind in (SHT_DYNSYM, SHT_SYMTAB):
            found = [entry for table in self._tables(kind) for entry in table.named(wanted, version.lstrip("@"))]
            if found:
                return self._one(name, found)
        raise self._no_function(wanted, name)

    def functions(self, names: Iterable[str]) -> list[Function]:
        """Return a function for each name, in order. Raises as `function`."""
        return [self.function(name) for name in names]

    def matching(self, pattern: str) -> list[Function]:
        """Return the functions whose names match a pattern with "*" and "?", one for each offset, in the order of the table.

        Of the full symbol table, or where it was stripped of what the dynamic linker knows. Raises NotFoundError for none.
        """
        matches = glob(pattern)
        for kind in (SHT_SYMTAB, SHT_DYNSYM):
            found: dict[int, Function] = {}
            for table in self._tables(kind):
                for entry in table.all():
                    if matches(entry.name):
                        found.setdefault(entry.offset, entry)
            if found:
                return list(found.values())
        raise NotFoundError(f"no function of {self.path} matches {pattern!r}", hint=self._what_is_there())

    def function_names(self) -> set[str]:
        """Return the names of all functions."""
        return {entry.name for kind in (SHT_SYMTAB, SHT_DYNSYM) for table in self._tables(kind) for entry in table.all()}

    def _one(self, name: str, found: list[Function]) -> Function:
        strong = [entry for entry in found if not entry.weak] or found[:1]
        if len({entry.offset for entry in strong}) > 1:
            places = ", ".join(f"{entry.offset:#x}" for entry in strong[:5])
            self.fail(
                f"{len(strong)} different functions are called {name!r}, at the offsets {places}",
                hint="Name one by its offset in the file.",
            )
        return strong[0]

    def _no_function(self, wanted: str, name: str) -> NotFoundError:
        from bpfload.errors import near

        known = self.function_names()
        message = f"{self.path} has no function {name!r}"
        kinds = {kind for table in self._all_tables() for kind in table.kinds(wanted)}
        if kinds:
            reason = "only calls it: it is in another library (ldd lists them)"
            if "ifunc" in kinds:
                reason = "chooses it among several at run time (an IFUNC): probe the one that this machine uses"
            elif "data" in kinds:
                reason = "has a variable of that name"
            return NotFoundError(message, hint=f"The file {reason}.")
        # The compiler's clones: name.isra.0, name.part.0, name.constprop.0, name.cold
        clones = tuple(sorted(entry for entry in known if entry.startswith(f"{wanted}.")))[:3]
        candidates = clones or near(wanted, known)
        return NotFoundError(message, candidates=candidates, hint="" if candidates else self._what_is_there())

    def _what_is_there(self) -> str:
        count = len(self.function_names())
        if not count:
            return "It was stripped: it has no symbols. Name an offset in the file instead, or install it with its symbols."
        stripped = not any(section.type == SHT_SYMTAB for section in self.sections)
        what = "that it exports (it was stripped of the others)" if stripped else "that it has symbols for"
        return f"The compiler may have inlined it. {count} functions are there {what}."

    def _all_tables(self) -> Iterator[SymbolTable]:
        for kind in (SHT_SYMTAB, SHT_DYNSYM):
            yield from self._tables(kind)

    def _tables(self, kind: int) -> Iterator[SymbolTable]:
        for section in self.sections:
            if section.type == kind and section.link < len(self.sections):
                yield SymbolTable(self, section)

    # --- static probes ------------------------------------------------------------------------------------------------

    def static_probes(self) -> list[StaticProbe]:
        """Return every place of every statically defined probe. Raises FormatError for notes that are malformed."""
        section = self._find(_NOTE_SECTION)
        if section is None or section.type != _SHT_NOTE:
            return []
        base = self._find(_BASE_SECTION)
        return [self._probe(*note, base.address if base else 0) for note in self._notes(section)]

    def _notes(self, section: Section) -> Iterator[tuple[bytes, int]]:
        """Yield (description, offset of the note) of a section of notes."""
        data, at, count = self.content(section), 0, 0
        while at + 12 <= len(data):
            name_size, size, kind = unpack_from(self.order + "III", data, at)
            start = at + 12 + (name_size + 3 & ~3)
            if start + size > len(data):
                self.fail("a note is longer than its section", section=section.name, offset=at)
            if kind != _NOTE_TYPE or data[at + 12 : at + 12 + name_size] != _NOTE_NAME:
                self.fail("a note that is none of a static probe", section=section.name, offset=at)
            yield data[start : start + size], at
            at = start + (size + 3 & ~3)
            count += 1
            if count > _MAX_NOTES:
                self.fail("too many notes", section=section.name)

    def _probe(self, description: bytes, at: int, base: int) -> StaticProbe:
        form = Struct(f"{self.order}3{self.layout.address}")
        texts = description[form.size :].split(b"\0")
        if len(description) < form.size + 3 or len(texts) < 4 or not texts[1]:
            self.fail("a static probe's note is incomplete", section=_NOTE_SECTION, offset=at)
        address, noted_base, semaphore = form.unpack_from(description)
        provider, name, arguments = (text.decode(errors="replace") for text in texts[:3])
        # Prelinking moves the code but not the notes: the section .stapsdt.base tells by how much.
        moved = base - noted_base if base and noted_base else 0
        address += moved
        place = self.segment_of_address(address)
        if place is None or not place.executable:
            self.fail(f"static probe {provider}:{name} at {address:#x} is in no code", section=_NOTE_SECTION, offset=at)
        counter = 0
        if semaphore:
            semaphore += moved
            holder = self.segment_of_address(semaphore)
            if holder is None or holder.executable:
                self.fail(f"the semaphore of {provider}:{name} at {semaphore:#x} is in no data", section=_NOTE_SECTION, offset=at)
            counter = semaphore - holder.address + holder.offset
        # ":" stands for no arguments in what some compilers write.
        arguments = "" if arguments.startswith(":") else arguments
        return StaticProbe(provider, name, arguments, address, address - place.address + place.offset, counter)
