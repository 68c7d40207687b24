"""A Python module for an object: its programs, maps, variables and links as attributes, with their types.

What bpftool makes as a C header (`tools/bpf/bpftool/gen.c`): a skeleton holds the object file itself, a subskeleton works on an
object that somebody else has loaded.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpfload.abi import consts as c
from bpfload.btf import types as t
from bpfload.elf import read
from bpfload.gen.identifiers import Scope, class_name, harmless, identifier, quoted
from bpfload.gen.pytypes import PythonTypes, Spelled, wrapped

if TYPE_CHECKING:
    from bpfload.spec import MapSpec, ObjectSpec, VariableSpec

_WIDTH = 76
_EVENTS = (c.BPF_MAP_TYPE_RINGBUF, c.BPF_MAP_TYPE_PERF_EVENT_ARRAY)
_QUEUES = (c.BPF_MAP_TYPE_QUEUE, c.BPF_MAP_TYPE_STACK)
_OF_MAPS = (c.BPF_MAP_TYPE_ARRAY_OF_MAPS, c.BPF_MAP_TYPE_HASH_OF_MAPS)
_PER_CPU = (c.BPF_MAP_TYPE_PERCPU_HASH, c.BPF_MAP_TYPE_PERCPU_ARRAY, c.BPF_MAP_TYPE_LRU_PERCPU_HASH)
_TABLES = (
    c.BPF_MAP_TYPE_HASH, c.BPF_MAP_TYPE_ARRAY, c.BPF_MAP_TYPE_LRU_HASH, c.BPF_MAP_TYPE_LPM_TRIE, c.BPF_MAP_TYPE_DEVMAP,
    c.BPF_MAP_TYPE_DEVMAP_HASH, c.BPF_MAP_TYPE_CPUMAP, c.BPF_MAP_TYPE_STACK_TRACE, *_PER_CPU, *_OF_MAPS,
)  # fmt: skip
#: What the descriptors' own names, and those in annotations, would be hidden by.
_TAKEN = frozenset(("skeleton", "bpfload", "int", "bool", "float", "str", "bytes", "list", "self"))
_KCONFIG_TYPES = {"bool": "bool", "string": "str"}


def skeleton(path: str | os.PathLike[str], name: str = "") -> str:
    """Return the source of a module with the object in it. `name`: of its classes, "" for the file's. Raises FormatError."""
    with open(path, "rb") as file:
        data = file.read()
    return _Module(read(path, data=data), os.path.basename(path), name, data).text()


def subskeleton(path: str | os.PathLike[str], name: str = "") -> str:
    """Return the source of a module for an object that is loaded elsewhere, of which this file is a part."""
    return _Module(read(path), os.path.basename(path), name, None).text()


class _Module:
    """A module that is written. `data`: the object file, None for a subskeleton."""

    def __init__(self, spec: ObjectSpec, file: str, name: str, data: bytes | None) -> None:
        self.spec = spec
        self.file = file
        self.data = data
        self.types = PythonTypes(spec.btf) if spec.btf is not None else None
        names = self.types.names if self.types else Scope()
        # The classes' own names go first: a struct of the same name gets another.
        self.name = names.add(class_name(name or file.partition(".")[0]))
        self._names = names
        self.attributes: list[tuple[str, str]] = []
        self.parts: list[str] = []

    def text(self) -> str:
        """Return the source."""
        globals_ = self._variables()
        self._part("Programs", "programs", "The programs, once they are loaded.", self._programs())
        self._part("Maps", "maps", "The maps, once they are loaded.", self._maps())
        for section, lines in globals_.items():
            self._part(class_name(section), section, f"Variables of {section}.", lines)
        self._part("Kconfig", "kconfig", "Values of the kernel's configuration, once it is loaded.", self._kconfig())
        if self.data is not None:
            self._part("Links", "links", "What programs are attached by; None for those that aren't.", self._links())
        self._event_types()
        blocks = [self._head(), *(self.types.blocks if self.types else []), *self.parts, self._main()]
        return "\n\n\n".join(blocks) + "\n"

    def _part(self, suffix: str, attribute: str, words: str, lines: list[str]) -> None:
        if not lines:
            return
        name = self._names.add(f"{self.name}{suffix}")
        self.parts.append(
            "\n".join(
                [f"class {name}(skeleton.Part):", f'    """{words}"""', "", *(part for line in lines for part in wrapped(line))]
            )
        )
        self.attributes.append((attribute, name))

    def _spell(self, type_id: int, hint: str) -> Spelled | None:
        return self.types.spell(type_id, hint) if self.types is not None and type_id else None

    # Parts

    def _programs(self) -> list[str]:
        scope = Scope(_TAKEN)
        return [
            f"    {scope.add(identifier(each.name))} = skeleton.Program({quoted(each.name)})" for each in self.spec.entry_programs
        ]

    def _links(self) -> list[str]:
        scope = Scope(_TAKEN)
        names = [each.name for each in self.spec.entry_programs]
        names += [name for name, each in self.spec.maps.items() if each.kind == "struct_ops"]
        return [f"    {scope.add(identifier(name))} = skeleton.Link({quoted(name)})" for name in names]

    def _maps(self) -> list[str]:
        scope = Scope(_TAKEN)
        shown = [(name, each) for name, each in self.spec.maps.items() if each.kind not in ("data", "kconfig", "jumptable")]
        return [f"    {scope.add(identifier(name))} = {self._map(name, each)}" for name, each in shown]

    def _map(self, name: str, spec: MapSpec) -> str:
        if spec.type in _EVENTS and self.types is not None:
            return f"skeleton.Events({quoted(name)})"
        value = self._side(spec.value_type_id, spec.value_size, f"{name}_value")
        if spec.type in _QUEUES:
            shape = "" if value.shape == "None" else f", {value.shape}"
            return f"skeleton.Queue[{value.annotation}]({quoted(name)}{shape})"
        if spec.kind == "struct_ops" or spec.type not in _TABLES:
            return f"skeleton.RawMap({quoted(name)})"
        key = self._side(spec.key_type_id, spec.key_size, f"{name}_key")
        if spec.type in _OF_MAPS:
            value = Spelled("bpfload.Map")
        elif spec.type in _PER_CPU:
            shape = "None" if value.shape == "None" else f"({value.shape},)"
            value = Spelled(f"list[{value.annotation}]", shape)
        kinds = f"[{key.annotation}, {value.annotation}]"
        shapes = [quoted(name), key.shape, value.shape]
        while shapes[-1] == "None":
            shapes.pop()
        return f"skeleton.TypedEntries{kinds}({', '.join(shapes)})"

    def _side(self, type_id: int, size: int, hint: str) -> Spelled:
        """Return the type of a key or value; a number or bytes for what has none."""
        return self._spell(type_id, hint) or Spelled("int" if size in (1, 2, 4, 8) else "list[int]")

    def _variables(self) -> dict[str, list[str]]:
        """Return by attribute the lines of global variables; static ones can't be told apart by their names."""
        parts: dict[str, list[str]] = {}
        scopes: dict[str, Scope] = {}
        for variable in self._shared_variables():
            holder = self.spec.maps[variable.map_name]
            section = identifier(variable.map_name.lstrip("."))
            lines = parts.setdefault(section, [])
            name = scopes.setdefault(section, Scope(_TAKEN)).add(identifier(variable.name))
            spelled = self._spell(variable.type_id, variable.name) or Spelled("bytes")
            shape = "" if spelled.shape == "None" else f", {spelled.shape}"
            lines.append(f"    {name} = skeleton.Variable[{spelled.annotation}]({quoted(variable.name)}{shape})")
            if holder.read_only and len(lines) == 1:
                lines.insert(0, "    # Constants: they can be set up to the load.")
        return parts

    def _shared_variables(self) -> list[VariableSpec]:
        return [each for each in self.spec.variables if not each.is_static and self.spec.maps[each.map_name].kind == "data"]

    def _kconfig(self) -> list[str]:
        scope = Scope(_TAKEN)
        lines = []
        for name, each in self.spec.externs.items():
            if each.kind == "kconfig":
                kind = _KCONFIG_TYPES.get(each.value_kind, "int")
                lines.append(f"    {scope.add(identifier(name))} = skeleton.KernelConfig[{kind}]({quoted(name)})")
        return lines

    def _event_types(self) -> None:
        """Define the structs that records of ring and perf buffers may be: the object's own, not the kernel's."""
        if self.types is None or not any(each.type in _EVENTS for each in self.spec.maps.values()):
            return
        btf = self.types.btf
        foreign = self._kernel_types()
        for found in list(btf.types()):
            if found.kind == t.KIND_STRUCT and found.name and found.id not in foreign and found.vlen:
                self.types.spell(found.id, found.name)

    def _kernel_types(self) -> set[int]:
        """Return types of the kernel, of what programs are called with, and of maps' definitions: no record is of them."""
        btf, spec = self.spec.btf, self.spec
        assert btf is not None
        names = {each.name for each in spec.entry_programs}
        functions = [found for found in btf.types() if found.kind == t.KIND_FUNC and found.name in names]
        contexts = [param.type_id for function in functions for param in btf.type(function.type_id).params]
        pending = [found.type_id for found in btf.types() if found.kind == t.KIND_VAR]
        pending = [type_id for type_id in pending if self._is_definition(type_id)]
        pending += [btf.type(btf.resolve(type_id)).type_id for type_id in contexts]
        if spec.btf_ext is not None:
            pending += [row[1] for info in spec.btf_ext.core_relos.values() for row in info.core_relocations()]
        found_ones: set[int] = set()
        pending = [btf.resolve(type_id) for type_id in pending]
        while pending:
            type_id = pending.pop()
            if type_id in found_ones:
                continue
            found_ones.add(type_id)
            found = btf.type(type_id)
            pending += [btf.resolve(member.type_id) for member in found.members]
            if found.kind == t.KIND_ARRAY:
                pending.append(btf.resolve(found.elem))
        return found_ones

    def _is_definition(self, type_id: int) -> bool:
        """Return whether a variable's type defines a map."""
        assert self.spec.btf is not None
        found = self.spec.btf.type(self.spec.btf.resolve(type_id))
        return found.kind == t.KIND_STRUCT and found.vlen > 0 and found.members[0].name == "type" and not found.name

    # The module

    def _head(self) -> str:
        kind = "subskeleton" if self.data is None else "skeleton"
        lines = [
            f'"""The BPF object {harmless(self.file)}, with types.',
            "",
            f"Made by `bpfload gen {kind}`: what is changed here is lost when it is made again.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
        ]
        types = self.types
        if types is not None and types.uses_dataclasses:
            lines.append(f"from dataclasses import dataclass{', field' if types.uses_factories else ''}")
        if types is not None and types.uses_enums:
            lines.append("from enum import IntEnum")
        if lines[-1]:
            lines.append("")
        body = "\n".join(self.parts)
        if self.data is None or "bpfload.Map" in body or self.spec.entry_programs:
            lines.append("import bpfload")
        lines.append("from bpfload import skeleton")
        names = sorted([*(types.classes if types else []), *(name for _, name in self.attributes), self.name])
        return "\n".join([*lines, "", "__all__ = [", *(f'    "{name}",' for name in names), "]"])

    def _main(self) -> str:
        base = "Subskeleton" if self.data is None else "Skeleton"
        words = (
            "a part of an object that is loaded elsewhere" if self.data is None else "read when this is made, loaded by load()"
        )
        lines = [f"class {self.name}(skeleton.{base}):", f'    """{harmless(self.file)}: {words}."""', ""]
        if self.data is None:
            lines += self._needs()
        else:
            lines += [f"    __bpf_file__ = {quoted(self.file)}", "    __bpf_object__ = _OBJECT"]
        lines += ["", f"    def __init__(self{', live: bpfload.Object' if self.data is None else ''}) -> None:"]
        lines.append(f"        super().__init__({'live' if self.data is None else ''})")
        lines += [f"        self.{attribute} = {name}(self)" for attribute, name in self.attributes]
        if self.data is not None and self.spec.entry_programs:
            lines += ["", *self._attach()]
        text = "\n".join(lines)
        return f"{_embedded(self.data)}\n\n\n{text}" if self.data is not None else text

    def _needs(self) -> list[str]:
        programs = [each.name for each in self.spec.entry_programs]
        maps = [name for name, each in self.spec.maps.items() if each.kind not in ("data", "kconfig", "jumptable")]
        variables = [each.name for each in self._shared_variables()]
        return [
            line
            for word, names in (("programs", programs), ("maps", maps), ("variables", variables))
            for line in _names(f"__bpf_{word}__", names)
        ]

    def _attach(self) -> list[str]:
        """Return the lines of attach(), with a parameter for each program."""
        scope = Scope(_TAKEN)
        names = [(scope.add(identifier(each.name)), each.name) for each in self.spec.entry_programs]
        return [
            "    def attach(",
            "        self,",
            "        *,",
            *(f"        {name}: bpfload.Target | None = None," for name, _ in names),
            "    ) -> None:",
            '        """Attach where a target says, or where SEC() says; see `attach_all`."""',
            "        self.attach_all(",
            "            {",
            *(f"                {quoted(program)}: {name}," for name, program in names),
            "            }",
            "        )",
        ]


def _names(attribute: str, names: Iterable[str]) -> list[str]:
    rows = [f"        {quoted(name)}," for name in names]
    return [f"    {attribute} = (", *rows, "    )"] if rows else []


def _embedded(data: bytes) -> str:
    """Return the object file as text."""
    text = base64.b64encode(zlib.compress(data, 9)).decode()
    rows = [f'    "{text[at : at + _WIDTH]}"' for at in range(0, len(text), _WIDTH)]
    return "\n".join(["_OBJECT = (", *rows, ")"])
