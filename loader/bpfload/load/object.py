"""A loaded object: its programs and maps, live."""

from __future__ import annotations

import errno
from struct import pack_into
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bpfload.errors import NotFoundError, UsageError
from bpfload.links.program import AttachableProgram
from bpfload.objects.map import Map
from bpfload.spec import ObjectSpec, decode_variable, encode_variable

if TYPE_CHECKING:
    from bpfload.load.struct_ops import StructOps
    from bpfload.objects.attachment import Attachment

_ONLY_KEY = bytes(4)


class Object:
    """A loaded object. Owns its programs and maps until it is closed.

    `programs`, `maps`: by name in the object, in its order. `spec`: what it was made from. `insn_counts`: by program
    name, slots as loaded, subprograms included. `struct_ops`: by map name, what a struct_ops map will be registered
    with. `notes`: what the load had to do without. `new_pins`: where the load itself pinned maps (LIBBPF_PIN_BY_NAME).
    `logs`: by program name, the verifier's log, where a log level was asked for.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        programs: dict[str, AttachableProgram],
        maps: dict[str, Map],
        insn_counts: dict[str, int],
        struct_ops: dict[str, StructOps],
        notes: list[str],
        new_pins: list[str] | None = None,
        logs: dict[str, str] | None = None,
    ) -> None:
        self.spec = spec
        self.programs = programs
        self.maps = maps
        self.insn_counts = insn_counts
        self.struct_ops = struct_ops
        self.notes = notes
        self.logs = logs or {}
        self.new_pins = new_pins or []

    def program(self, name: str = "") -> AttachableProgram:
        """Return the program of that name; without a name the only one. Raises NotFoundError."""
        if name in self.programs:
            return self.programs[name]
        if not name and len(self.programs) == 1:
            return next(iter(self.programs.values()))
        names = ", ".join(self.programs) or "none"
        skipped = name in (program.name for program in self.spec.programs)
        hint = "It is in the object, but wasn't chosen: name it in LoadOptions(programs=…)." if skipped else ""
        raise NotFoundError(f"no program {name!r} is loaded; there are: {names}", hint=hint)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name!r}: programs {list(self.programs)}, maps {list(self.maps)}>"

    def map(self, name: str) -> Map:
        """Return the map of that name. Raises NotFoundError."""
        if name in self.maps:
            return self.maps[name]
        raise NotFoundError(f"no map {name!r}; there are: {', '.join(self.maps) or 'none'}")

    def value(self, name: str) -> Any:
        """Return a global variable's present value, by its type (bytes without BTF). Raises NotFoundError, KernelError."""
        variable = self.spec.variable(name)
        return decode_variable(self.spec, variable, self.map(variable.map_name).lookup(_ONLY_KEY))

    def set_value(self, name: str, value: Any) -> None:
        """Change a global variable while programs run. Raises NotFoundError, UsageError, KernelError for a constant.

        The whole section's value is read, changed and written back: what a program changes in the same moment may be lost.
        """
        variable = self.spec.variable(name)
        holder = self.map(variable.map_name)
        if self.spec.maps[variable.map_name].read_only:
            raise UsageError(f"{name!r} is a constant: set it in the ObjectSpec before the load", errno_code=errno.EPERM)
        data = bytearray(holder.lookup(_ONLY_KEY))
        data[variable.offset : variable.offset + variable.size] = encode_variable(self.spec, variable, value, bytes(data))
        holder.update(_ONLY_KEY, bytes(data))

    def attach_struct_ops(self, name: str = "") -> Attachment:
        """Register a struct_ops map: its functions with the part of the kernel that calls them.

        `name`: of the map; without a name the only one. Returns a `Link` for a map of .struct_ops.link, else what unregisters
        the map when it is closed (unless it is kept). Raises NotFoundError, KernelError.
        """
        from bpfload.links import struct_ops

        table, value = self._struct_ops_value(name)
        return struct_ops.attach(table, value)

    def struct_ops_map(self, name: str = "") -> Map:
        """Return a map of .struct_ops.link ready for `Link.update` of another's link. Raises NotFoundError, UsageError."""
        from bpfload.links import struct_ops

        table, value = self._struct_ops_value(name)
        if not struct_ops.is_linked(table):
            raise UsageError(f"map {name!r} is registered without a link", hint='Define it in SEC(".struct_ops.link").')
        struct_ops.fill(table, value)
        return table

    def _struct_ops_value(self, name: str) -> tuple[Map, bytes]:
        """Return a struct_ops map and its element: the data, with the programs' fds at the function pointers."""
        if not name and len(self.struct_ops) == 1:
            name = next(iter(self.struct_ops))
        if name not in self.struct_ops:
            raise NotFoundError(f"no struct_ops map {name!r} is loaded; there are: {', '.join(self.struct_ops) or 'none'}")
        table = self.struct_ops[name]
        value = bytearray(table.data)
        for offset, program in table.functions:
            pack_into("=Q", value, offset, self.program(program).fd)
        return self.maps[name], bytes(value)

    def close(self) -> None:
        """Close every program and map; what is pinned or attached lives on."""
        for program in self.programs.values():
            program.close()
        for entry in self.maps.values():
            entry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
