"""The types of objects that are linked, in one BTF; the records of .BTF.ext moved along.

Source: linker_append_btf(), linker_append_btf_ext(), finalize_btf(), finalize_btf_ext() in tools/lib/bpf/linker.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bpfload.btf import types as t
from bpfload.btf.dedup import deduplicate
from bpfload.btf.rows import INFO, REST, WORD, TypeTable, kind_of, references_in, vlen_of
from bpfload.errors import LinkError
from bpfload.gen.source import SourceObject, is_shared

if TYPE_CHECKING:
    from bpfload.gen.object import SharedSymbol
    from bpfload.spec import SectionInfo

_EXT_MAGIC = 0xEB9F
_EXT_HEADER = 32
_UINT32 = 0xFFFFFFFF

#: By part of .BTF.ext: the words of a record that hold type ids, and those that hold strings.
_PARTS = {"func_info": ((1,), ()), "line_info": ((), (1, 2)), "core_relos": ((1,), (2,))}


class _Variables:
    """The variables of a section so far: [type id, offset, size], and by name the row of those that files share."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.shared: dict[str, list[int]] = {}


class _Records:
    """Records of one part of .BTF.ext for one section, as lists of words; `size`: bytes of each."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: list[list[int]] = []


class MergedTypes:
    """The types of the objects so far."""

    def __init__(self) -> None:
        self.table = TypeTable()
        self._shared: dict[str, int] = {}
        self._sections: dict[str, _Variables] = {}
        self._records: dict[str, dict[str, _Records]] = {part: {} for part in _PARTS}

    def add(
        self, source: SourceObject, starts: Mapping[str, int], shared: Mapping[str, SharedSymbol], redefined: set[str]
    ) -> None:
        """Add the types of an object.

        `starts`: where its sections begin in the outcome, by name. `shared`: the symbols that files share. `redefined`: those of
        them that this object defines and an earlier one knew.
        """
        if source.btf is None:
            return
        ids = self._append(source, shared)
        for name in redefined:
            self._define(source, name, ids)
        for name, datasec in source.datasecs.items():
            is_left_out = source.elf.find(name) is not None and name not in starts
            if not is_left_out:
                self._add_variables(source, datasec, starts.get(name, 0), ids, redefined)
        for part, sections in self._parts(source):
            for name, info in sections.items():
                if name in starts:
                    self._add_records(source, part, info, starts[name], ids)

    def _parts(self, source: SourceObject) -> Iterator[tuple[str, dict[str, SectionInfo]]]:
        for part in _PARTS:
            yield part, getattr(source.btf_ext, part)

    def _append(self, source: SourceObject, shared: Mapping[str, SharedSymbol]) -> list[int]:
        """Append all types but sections; return the new ids by old id."""
        btf = source.btf
        assert btf is not None
        table, ids = self.table, [0] * len(btf)
        first = len(table)
        for found in btf.types():
            if found.kind == t.KIND_DATASEC:
                continue
            if is_shared(found):
                if found.name not in shared:
                    continue  # of a section that is left out: a second licence
                if found.name in self._shared:
                    ids[found.id] = self._shared[found.name]
                    continue
            ids[found.id] = table.add(table.row_of(btf, found.id))
            if is_shared(found):
                self._shared[found.name] = ids[found.id]
        for row in table.rows[first:]:
            for place in references_in(row):
                if row[place] >= len(ids):
                    source.fail(f"a type refers to type {row[place]}, which doesn't exist", section=".BTF")
                if row[place] and not ids[row[place]]:
                    source.fail(f"a type refers to {btf.type(row[place]).name!r}, which is left out", section=".BTF")
                row[place] = ids[row[place]]
        return ids

    def _define(self, source: SourceObject, name: str, ids: list[int]) -> None:
        """Let a VAR or FUNC that was an extern's, or a weak one's, be what its definition says."""
        btf = source.btf
        assert btf is not None
        found = btf.type(source.type_of(name)[1])
        row = self.table.rows[self._shared[name]]
        if kind_of(row) == t.KIND_VAR:
            row[REST] = t.LINKAGE_GLOBAL
        else:
            row[INFO] = t.KIND_FUNC << 24 | t.LINKAGE_GLOBAL
            # An extern's parameters have no names; with the same names both prototypes turn out to be one.
            old, new = self.table.rows[row[WORD]], self.table.rows[ids[found.type_id]]
            for place in range(REST, REST + 2 * min(vlen_of(old), vlen_of(new)), 2):
                old[place] = new[place] or old[place]
        row[WORD] = ids[found.type_id]

    def _add_variables(self, source: SourceObject, datasec: int, start: int, ids: list[int], redefined: set[str]) -> None:
        btf = source.btf
        assert btf is not None
        variables = self._sections.setdefault(btf.type(datasec).name, _Variables())
        for type_id, offset, size in source.variables_at(datasec):
            found = btf.type(type_id)
            row = [ids[type_id], start + offset, size]
            if start + offset > _UINT32:
                source.fail(f"variable {found.name!r} is too far from the start of its section", section=".BTF")
            known = variables.shared.get(found.name) if is_shared(found) else None
            if known is None:
                variables.rows.append(row)
                if is_shared(found):
                    variables.shared[found.name] = row
            elif found.name in redefined:
                known[1:] = row[1:]

    def _add_records(self, source: SourceObject, part: str, info: SectionInfo, start: int, ids: list[int]) -> None:
        btf, table = source.btf, self.table
        assert btf is not None
        records = self._records[part].setdefault(info.section, _Records(info.record_size))
        for others in self._records[part].values():
            if others.size != info.record_size:
                source.fail(f"records of {info.record_size} bytes, in other objects of {others.size}", section=".BTF.ext")
        types, strings = _PARTS[part]
        for words in struct.iter_unpack(f"<{info.record_size // 4}I", info.data):
            row = list(words)
            row[0] += start
            if row[0] > _UINT32:
                source.fail("a record is of an instruction that doesn't exist", section=".BTF.ext")
            for place in types:
                row[place] = ids[row[place]]
            for place in strings:
                row[place] = table.string(btf.string_bytes(row[place]))
            records.rows.append(row)

    # The outcome

    def finish(self, sizes: Mapping[str, int]) -> list[tuple[str, bytes]]:
        """Return the sections .BTF and .BTF.ext with their content; nothing where no object has types.

        `sizes`: of the sections of the outcome, by name, in their order.
        """
        table = self.table
        if len(table) == 1:
            return []
        for name in (*sizes, *(name for name in self._sections if name not in sizes)):
            if name not in self._sections:
                continue
            rows = sorted(self._sections[name].rows, key=lambda row: row[1])
            if len(rows) > 0xFFFF:
                raise LinkError(f"section {name} has too many variables: {len(rows)}")
            if sizes.get(name, 0) > _UINT32:
                raise LinkError(f"section {name} is too large: {sizes[name]} bytes")
            words = [word for row in rows for word in row]
            table.add([table.string(name.encode()), t.KIND_DATASEC << 24 | len(rows), sizes.get(name, 0), *words])
        merged, ids = deduplicate(table)
        extension = self._extension(merged, ids)
        result = [(".BTF", merged.bytes())]
        if extension:
            result.append((".BTF.ext", extension))
        return result

    def _extension(self, merged: TypeTable, ids: list[int]) -> bytes:
        """Return .BTF.ext. Its strings are added to the types'."""
        parts = []
        for part, (types, strings) in _PARTS.items():
            data = b""
            for name, records in self._records[part].items():
                if not data:
                    data = struct.pack("<I", records.size)
                data += struct.pack("<II", merged.string(name.encode("utf-8", "surrogateescape")), len(records.rows))
                for row in records.rows:
                    for place in types:
                        row[place] = ids[row[place]]
                    for place in strings:
                        row[place] = merged.string(self.table.text(row[place]))
                data += struct.pack(f"<{len(records.rows) * records.size // 4}I", *[word for row in records.rows for word in row])
            parts.append(data)
        if not any(parts):
            return b""
        offsets, at = [], 0
        for data in parts:
            offsets += [at, len(data)]
            at += len(data)
        return struct.pack("<HBBI6I", _EXT_MAGIC, 1, 0, _EXT_HEADER, *offsets) + b"".join(parts)
