"""What the modules that `bpfload gen skeleton` writes are made of.

A generated module has classes derived from `Skeleton` and `Part`, whose attributes are descriptors: `Program`, `Link`,
`Variable`, `KernelConfig`, and for maps `TypedEntries`, `Queue`, `Events`, `RawMap`. Their types are spelled out there, so that
a type checker knows what an attribute holds.

::

    values   dataclasses of structs, enums
    maps     maps with such keys and values, ring buffers
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from bpfload.errors import BpfError, NotFoundError, UsageError
from bpfload.links import Target, attaches_by_itself
from bpfload.links.program import AttachableProgram
from bpfload.load import LoadOptions, Object, load
from bpfload.objects.attachment import Attachment
from bpfload.objects.map import Map
from bpfload.objects.typed_map import Typed, TypedMap, key_and_value
from bpfload.skeleton.maps import EventsOf, MapOf, QueueOf
from bpfload.skeleton.values import Struct, from_plain, to_plain
from bpfload.spec import ObjectSpec

__all__ = [
    "Events", "EventsOf", "KernelConfig", "Link", "MapOf", "Part", "Program", "Queue", "QueueOf", "RawMap", "Skeleton", "Struct",
    "Subskeleton", "TypedEntries", "Variable",
]  # fmt: skip

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Owner:
    """An object, read or loaded. `spec`: as it was read, to be changed before it is loaded. `live`: loaded, or None."""

    spec: ObjectSpec
    live: Object | None

    def loaded(self, what: str) -> Object:
        """Return the loaded object. Raises UsageError, naming what was asked for, if it isn't loaded yet."""
        if self.live is None:
            raise UsageError(f"{what}: the object isn't loaded", hint="Call load() first.")
        return self.live


class Part:
    """The programs, maps, links or variables of an object, as attributes."""

    def __init__(self, owner: Owner) -> None:
        self.__dict__["of owner"] = owner
        self.__dict__["of maps"] = {}

    def __setattr__(self, name: str, value: object) -> None:
        """Raise AttributeError for what isn't there or can't be set, instead of adding it."""
        if not hasattr(vars(type(self)).get(name), "__set__"):
            raise AttributeError(f"{type(self).__name__} has no {name!r} that could be set")
        super().__setattr__(name, value)


def _owner(part: Part) -> Owner:
    return cast(Owner, part.__dict__["of owner"])


class Program:
    """A program, once it is loaded."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, part: Part, kind: type[Part] | None = None) -> AttachableProgram:
        return _owner(part).loaded(f"program {self._name!r}").program(self._name)


class Link:
    """What a program, or a struct_ops map, is attached by: None if it isn't. Closed with the skeleton, whoever set it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, part: Part, kind: type[Part] | None = None) -> Attachment | None:
        return cast(Skeleton, _owner(part)).attachments.get(self._name)

    def __set__(self, part: Part, link: Attachment | None) -> None:
        attachments = cast(Skeleton, _owner(part)).attachments
        old = attachments.pop(self._name, None)
        if old is not None and old is not link:
            old.close()
        if link is not None:
            attachments[self._name] = link


class Variable(Generic[T]):
    """A global variable: its initial value before the load, its present one after it."""

    def __init__(self, name: str, shape: Any = None) -> None:
        self._name = name
        self._shape = shape

    def __get__(self, part: Part, kind: type[Part] | None = None) -> T:
        owner = _owner(part)
        plain = owner.spec.value(self._name) if owner.live is None else owner.live.value(self._name)
        value: T = from_plain(self._shape, plain)
        return value

    def __set__(self, part: Part, value: T) -> None:
        """Raise UsageError for what doesn't fit, and for a constant once the object is loaded."""
        owner = _owner(part)
        if owner.live is None:
            owner.spec.set_value(self._name, to_plain(value))
        else:
            owner.live.set_value(self._name, to_plain(value))


class KernelConfig(Generic[T]):
    """A value of the kernel's configuration, as the programs see it; known once the object is loaded."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, part: Part, kind: type[Part] | None = None) -> T:
        live = _owner(part).loaded(self._name)
        extern = live.spec.externs[self._name]
        raw = live.map(".kconfig").lookup(bytes(4))[extern.offset : extern.offset + extern.size]
        value: Any = int.from_bytes(raw, "little", signed=extern.is_signed)
        if extern.value_kind == "bool":
            value = bool(value)
        elif extern.value_kind == "string":
            value = raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")
        return cast(T, value)


class RawMap:
    """A map whose elements have no types, or are none that can be said."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, part: Part, kind: type[Part] | None = None) -> Map:
        return _map(part, self._name)


class TypedEntries(Generic[K, V]):
    """A map with keys and values."""

    def __init__(self, name: str, key: Any = None, value: Any = None) -> None:
        self._name = name
        self._key = key
        self._value = value

    def __get__(self, part: Part, kind: type[Part] | None = None) -> MapOf[K, V]:
        found = part.__dict__["of maps"]
        if self._name not in found:
            found[self._name] = MapOf(_typed_map(part, self._name), self._key, self._value)
        return cast(MapOf[K, V], found[self._name])


class Queue(Generic[V]):
    """A queue or stack."""

    def __init__(self, name: str, value: Any = None) -> None:
        self._name = name
        self._value = value

    def __get__(self, part: Part, kind: type[Part] | None = None) -> QueueOf[V]:
        return QueueOf(_typed_map(part, self._name), self._value)


class Events:
    """A ring buffer, or an array of perf events."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, part: Part, kind: type[Part] | None = None) -> EventsOf:
        spec = _owner(part).spec
        if spec.btf is None:
            raise UsageError(f"the records of map {self._name!r} have no types", hint="Compile with -g.")
        return EventsOf(_map(part, self._name), spec.btf)


def _map(part: Part, name: str) -> Map:
    return _owner(part).loaded(f"map {name!r}").map(name)


def _typed_map(part: Part, name: str) -> TypedMap:
    """Return a map with the types that the object gives its keys and values; a number for what has none."""
    item, spec = _map(part, name), _owner(part).spec
    defined = spec.maps[name]
    key, value = key_and_value(item)
    if spec.btf is not None and defined.key_type_id:
        key = Typed(spec.btf, defined.key_type_id, "key")
    if spec.btf is not None and defined.value_type_id:
        value = Typed(spec.btf, defined.value_type_id, "value")
    return TypedMap(item, types=(key, value))


class Skeleton(Owner):
    """An object that comes with its module: read when this is made, loaded by `load`, attached by `attach`, ended by `close`.

    ::

        with Hello() as skeleton:
            skeleton.rodata.limit = 100
            skeleton.load()
            skeleton.attach()
    """

    __bpf_file__: ClassVar[str] = ""
    __bpf_object__: ClassVar[str] = ""  # base64 of zlib's form

    def __init__(self) -> None:
        data = zlib.decompress(base64.b64decode(self.__bpf_object__))
        from bpfload.elf import read

        self.spec = read(self.__bpf_file__, data=data)
        self.live = None
        #: By the name of the program (or struct_ops map), what it is attached by.
        self.attachments: dict[str, Attachment] = {}

    @classmethod
    def open(cls) -> Self:
        """Return the object, read: variables may be set, `spec` changed."""
        return cls()

    @classmethod
    def open_and_load(cls, options: LoadOptions | None = None) -> Self:
        """Return the object, loaded."""
        return cls().load(options)

    def load(self, options: LoadOptions | None = None) -> Self:
        """Load programs and maps into the kernel, all or nothing. Raises what `bpfload.load` raises."""
        if self.live is not None:
            raise UsageError("the object is loaded already")
        self.live = load(self.spec, options)
        return self

    def attach_all(self, targets: Mapping[str, Target | None]) -> None:
        """Attach every program that isn't attached: where `targets` says, by its name, or where its SEC() says.

        A program that neither says anything of is left alone. If one can't be attached, none is. Generated modules have an
        `attach` with a parameter for each program.
        """
        live = self.loaded("attach")
        unknown = [name for name, target in targets.items() if target is not None and name not in live.programs]
        if unknown:
            raise NotFoundError(f"program {unknown[0]!r} isn't loaded, so it can't be attached")
        new: dict[str, Attachment] = {}
        try:
            for name, program in live.programs.items():
                target = targets.get(name)
                if name in self.attachments or (target is None and not attaches_by_itself(program.spec)):
                    continue
                try:
                    new[name] = program.attach(target)
                except BpfError as error:
                    raise error.within(f"program {name!r}") from None
            for name in live.struct_ops:
                if name not in self.attachments:
                    new[name] = live.attach_struct_ops(name)
        except BaseException:
            for link in new.values():
                link.close()
            raise
        self.attachments.update(new)

    def detach(self) -> None:
        """Give up all attachments; those that are pinned live on."""
        while self.attachments:
            self.attachments.popitem()[1].close()

    def close(self) -> None:
        """Detach and unload; what is pinned lives on. A second call does nothing."""
        self.detach()
        if self.live is not None:
            self.live.close()
            self.live = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Subskeleton(Owner):
    """A part of an object that somebody else has loaded and will close: for a library that is linked into many objects.

    Raises NotFoundError for a program, map or variable that the object lacks.
    """

    __bpf_programs__: ClassVar[tuple[str, ...]] = ()
    __bpf_maps__: ClassVar[tuple[str, ...]] = ()
    __bpf_variables__: ClassVar[tuple[str, ...]] = ()

    def __init__(self, live: Object) -> None:
        self.live = live
        self.spec = live.spec
        for name in self.__bpf_programs__:
            live.program(name)
        for name in self.__bpf_maps__:
            live.map(name)
        for name in self.__bpf_variables__:
            live.spec.variable(name)
