"""Which maps of an earlier load the next version uses on, with what is in them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from bpfload.abi import consts
from bpfload.errors import LinkError, NotFoundError, UsageError, near
from bpfload.objects.compat import differences
from bpfload.objects.map import Map
from bpfload.pins.publication import pin_name
from bpfload.spec import MapSpec, ObjectSpec

if TYPE_CHECKING:
    from bpfload.btf import Btf
    from bpfload.pins.earlier import Earlier

_NAME_LENGTH = 15  # BPF_OBJ_NAME_LEN without the NUL

# Kinds of maps whose content is of the object itself: constants, values of the kernel's configuration, tables of code.
_OF_THE_OBJECT = ("kconfig", "struct_ops", "jumptable")


def kept_maps(
    spec: ObjectSpec,
    earlier: Earlier,
    *,
    keep_maps: bool | None,
    fresh_maps: Collection[str],
    pinned_by_name: bool,
    changed: Collection[str] = (),
) -> dict[str, Map]:
    """Return, by name in the new object, the earlier maps that its programs are to use: the same maps, not copies.

    Constants and what else belongs to the object itself are always new. `keep_maps`: None: whatever the object still has, and
    it has to fit; True: nothing may be given up, either; False: keep none. `fresh_maps`: names of maps that are to be new.
    `pinned_by_name`: leave those with LIBBPF_PIN_BY_NAME to the load, which finds them by their pins. `changed`: names of
    variables that the caller has set.

    Raises LinkError where a map doesn't fit, saying in what, UsageError and NotFoundError for wrong names.
    """
    for name in fresh_maps:
        if name not in spec.maps:
            raise NotFoundError(f"--fresh-map {name}: {spec.name} has no such map", candidates=near(name, spec.maps))
    if keep_maps is False:
        return {}
    wanted = [each for each in spec.maps.values() if each.autocreate and _keepable(each, pinned_by_name)]
    matches = _match(wanted, earlier)
    if keep_maps:
        _refuse_loss(matches, earlier)
    _refuse_changes(spec, {name for name in matches if name not in fresh_maps}, changed)
    types = _Types()
    kept: dict[str, Map] = {}
    wrong: list[str] = []
    unfit: list[str] = []
    for each in wanted:
        if each.name not in matches or each.name in fresh_maps:
            continue
        found = matches[each.name]
        info = found.info()
        from bpfload.load.maps import actual_max_entries

        different = differences(each, spec.btf, actual_max_entries(each), info, types.of(info.btf_id))
        if different:
            unfit.append(each.name)
            wrong.append(f"map {each.name!r} doesn't fit: {'; '.join(different)}")
        kept[each.name] = found
    if wrong:
        raise LinkError(
            f"what is in the maps can't be kept: {'. '.join(wrong)}",
            symbol=",".join(unfit),
            hint="--fresh-map NAME (or --fresh-maps, for all) starts it anew, empty; or change the object back.",
        ).within(os.path.basename(spec.path) or spec.name)
    return kept


def _keepable(spec: MapSpec, pinned_by_name: bool) -> bool:
    if spec.kind in _OF_THE_OBJECT or (spec.kind == "data" and spec.read_only):
        return False
    if spec.type == consts.BPF_MAP_TYPE_PROG_ARRAY and spec.slots:
        return False  # holds programs of the object itself
    return not (spec.pinning and pinned_by_name)


def _match(wanted: list[MapSpec], earlier: Earlier) -> dict[str, Map]:
    """Find the earlier map of each new one by name: that of its pin, of its section, or as far as the kernel keeps names."""
    matches: dict[str, Map] = {}
    pins = {os.path.basename(pin.path): pin.id for pin in earlier.map_pins}
    rest = dict(earlier.maps)
    by_name: dict[str, list[MapSpec]] = {}
    types = _Types()
    for spec in wanted:
        ident = pins.get(pin_name(spec))
        if spec.kind == "data":
            ident = next((number for number, each in rest.items() if _section_of(each, types) == spec.name), ident)
        if ident is not None and ident in rest:
            matches[spec.name] = rest.pop(ident)
        elif spec.kind != "data":
            by_name.setdefault(spec.name[:_NAME_LENGTH], []).append(spec)
    for name, specs in by_name.items():
        # Longer names are cut: maps of one such name are in the order in which they were made, which is the object's.
        found = [rest[ident] for ident in sorted(rest) if rest[ident].info().name == name]
        if len(found) != len(specs) and len(found) > 1:
            names = ", ".join(spec.name for spec in specs)
            raise LinkError(
                f"{len(found)} maps are called {name!r} in the kernel, which cuts names: which of them are {names}?",
                hint="Pin the maps (--pin-maps DIR), or start anew with --fresh-maps.",
            )
        matches |= {spec.name: each for spec, each in zip(specs, found, strict=False)}
    return matches


def _section_of(each: Map, types: _Types) -> str:
    """Return the name of the section whose variables a map holds (".bss"), "" where it isn't one of global data."""
    from bpfload.btf.types import KIND_DATASEC

    info = each.info()
    if info.type != consts.BPF_MAP_TYPE_ARRAY or info.max_entries != 1:
        return ""
    btf = types.of(info.btf_id)
    if btf is None or not info.btf_value_type_id:
        return "." + info.name.partition(".")[2] if "." in info.name else ""
    found = btf.type(info.btf_value_type_id)
    return found.name if found.kind == KIND_DATASEC else ""


class _Types:
    """BTF objects of the kernel by id, each read once."""

    def __init__(self) -> None:
        self._found: dict[int, Btf | None] = {}

    def of(self, ident: int) -> Btf | None:
        """Return the BTF with that id; None for 0."""
        if not ident:
            return None
        if ident not in self._found:
            from bpfload.objects.btf import BtfObject

            with BtfObject.from_id(ident) as found:
                self._found[ident] = found.btf()
        return self._found[ident]


def _refuse_loss(matches: Mapping[str, Map], earlier: Earlier) -> None:
    """Complain of earlier maps that the new object doesn't have: their content would go. Constants may."""
    kept = {each.info().id for each in matches.values()}
    lost = [each.info().name for ident, each in earlier.maps.items() if ident not in kept and not _is_constant(each) and ident]
    if lost:
        raise LinkError(
            f"the object has no map for {', '.join(sorted(lost))}, whose content would be lost",
            hint="Without --keep-maps what the object no longer has goes.",
        )


def _is_constant(each: Map) -> bool:
    """Whether programs can only read a map: constants, which come from the object."""
    return bool(each.info().map_flags & consts.BPF_F_RDONLY_PROG) or each.info().type == consts.BPF_MAP_TYPE_STRUCT_OPS


def _refuse_changes(spec: ObjectSpec, kept: Collection[str], changed: Collection[str]) -> None:
    """Complain of values for variables that keep their content: a version that is refused later mustn't have changed it."""
    from bpfload.load.settings import find_variable

    for name in changed:
        holder = find_variable(spec, name)[0].map_name
        if holder in kept:
            raise UsageError(
                f"--set {name}: the variable is in {holder}, which is kept with what is in it",
                hint=f"--fresh-map {holder} starts it anew; a constant (const volatile) can always be set.",
            )
