"""CO-RE against BTF built in memory: each kind of relocation, each way to fail, candidates and ambiguity."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from bpfload.btf import Btf
from bpfload.btf import types as t
from bpfload.btf.core import CoreResolver, CoreResult, types_are_compatible, types_match
from bpfload.btf.core import spec as s
from bpfload.btf.core.describe import describe
from bpfload.btf.core.spec import parse
from bpfload.btf.writer import BtfBuilder
from bpfload.errors import FormatError, LinkError

U64 = 1 << 64


class World:
    """A builder with the types that every test needs; ids differ between two worlds, as they do between object and kernel."""

    def __init__(self, skip: int = 0, long_size: int = 8) -> None:
        self.b = BtfBuilder()
        for number in range(skip):
            self.b.add_fwd(f"padding{number}")
        self.int = self.b.add_int("int", 4, t.INT_SIGNED)
        self.u8 = self.b.add_int("unsigned char", 1)
        self.u16 = self.b.add_int("unsigned short", 2)
        self.u32 = self.b.add_int("unsigned int", 4)
        self.u64 = self.b.add_int("unsigned long", long_size)
        self.pointer = self.b.add_pointer(0)

    def array(self, elem: int, nelems: int) -> int:
        return self.b.add_array(elem, nelems, self.u32)

    def build(self, name: str = "vmlinux") -> Btf:
        btf = self.b.build(name)
        btf.validate()
        return btf


def world(make: Callable[[World], int], skip: int = 0, long_size: int = 8) -> tuple[Btf, int]:
    built = World(skip, long_size)
    root = make(built)
    return built.build(), root


def relocate(local: Callable[[World], int], target: Callable[[World], int], access: str, kind: int) -> CoreResult:
    mine, root = world(local)
    kernel, _ = world(target, skip=7)
    return CoreResolver(mine, [kernel]).resolve(root, access, kind)


def pair(w: World) -> int:
    return w.b.add_struct("pair", 8, [("a", w.int, 0), ("b", w.int, 32)])


def pair_moved(w: World) -> int:
    inner = w.b.add_struct("", 12, [("x", w.u64, 0), ("b", w.int, 64)])
    return w.b.add_struct("pair", 32, [("pad", w.u64, 0), ("", inner, 64), ("a", w.int, 192)])


class TestFields:
    def test_offset_through_an_anonymous_member(self) -> None:
        result = relocate(pair, pair_moved, "0:1", s.FIELD_BYTE_OFFSET)
        assert (result.orig_val, result.new_val, result.poison, result.validate) == (4, 16, False, True)
        assert result.target is not None
        assert result.target.steps == [0, 1, 1]
        assert (result.orig_sz, result.new_sz) == (4, 4)

    def test_first_step_counts_in_whole_structs(self) -> None:
        result = relocate(pair, pair_moved, "2:1", s.FIELD_BYTE_OFFSET)
        assert (result.orig_val, result.new_val) == (20, 80)

    def test_size(self) -> None:
        def wide(w: World) -> int:
            return w.b.add_struct("pair", 16, [("a", w.u8, 0), ("b", w.u64, 64)])

        result = relocate(pair, wide, "0:1", s.FIELD_BYTE_SIZE)
        assert (result.orig_val, result.new_val) == (4, 8)
        assert not result.fail_memsz_adjust

    def test_existence(self) -> None:
        def only_b(w: World) -> int:
            return w.b.add_struct("pair", 4, [("b", w.int, 0)])

        assert relocate(pair, only_b, "0:1", s.FIELD_EXISTS).new_val == 1
        missing = relocate(pair, only_b, "0:0", s.FIELD_EXISTS)
        assert (missing.new_val, missing.poison) == (0, False)

    def test_signedness(self) -> None:
        def unsigned(w: World) -> int:
            return w.b.add_struct("pair", 8, [("a", w.u32, 0), ("b", w.u32, 32)])

        result = relocate(pair, unsigned, "0:0", s.FIELD_SIGNED)
        assert (result.orig_val, result.new_val, result.validate) == (1, 0, True)

    def test_signedness_of_enums(self) -> None:
        def of_enum(values: list[tuple[str, int]]) -> Callable[[World], int]:
            return lambda w: w.b.add_struct("holder", 4, [("e", w.b.add_enum("kinds", values), 0)])

        result = relocate(of_enum([("A", 1)]), of_enum([("A", -1)]), "0:0", s.FIELD_SIGNED)
        assert (result.orig_val, result.new_val) == (0, 1)

    def test_shifts_of_a_whole_field(self) -> None:
        left = relocate(pair, pair_moved, "0:1", s.FIELD_LSHIFT_U64)
        right = relocate(pair, pair_moved, "0:1", s.FIELD_RSHIFT_U64)
        assert (left.orig_val, left.new_val, left.validate) == (32, 32, True)
        assert (right.orig_val, right.new_val, right.validate) == (32, 32, True)

    def test_type_qualifiers_and_typedefs_are_seen_through(self) -> None:
        def dressed(w: World) -> int:
            number = w.b.add_typedef("number", w.b.add_volatile(w.b.add_const(w.int)))
            inner = w.b.add_typedef("pair_t", w.b.add_struct("", 8, [("b", number, 32)]))
            return w.b.add_struct("pair", 16, [("", inner, 64)])

        assert relocate(pair, dressed, "0:1", s.FIELD_BYTE_OFFSET).new_val == 12


def bits(w: World) -> int:
    return w.b.add_struct("bits", 8, [("a", w.u32, 0, 3), ("b", w.int, 3, 20), ("c", w.u32, 32, 0)])


class TestBitFields:
    @pytest.mark.parametrize(
        ("kind", "before", "after", "validate"),
        [
            (s.FIELD_BYTE_OFFSET, 0, 8, False),
            (s.FIELD_BYTE_SIZE, 4, 8, False),
            (s.FIELD_SIGNED, 1, 1, True),
            (s.FIELD_LSHIFT_U64, 64 - (3 + 20), 64 - (22 + 20), False),
            (s.FIELD_RSHIFT_U64, 64 - 20, 64 - 20, True),
        ],
    )
    def test_values(self, kind: int, before: int, after: int, validate: bool) -> None:
        def moved(w: World) -> int:
            # 20 bits from bit 22 of the second 8 bytes on: no aligned 4 bytes hold them.
            return w.b.add_struct("bits", 16, [("a", w.u32, 0, 1), ("b", w.int, 64 + 22, 20)])

        result = relocate(bits, moved, "0:1", kind)
        assert (result.orig_val, result.new_val, result.validate) == (before, after, validate)

    def test_a_bit_field_may_become_a_whole_field(self) -> None:
        def whole(w: World) -> int:
            return w.b.add_struct("bits", 8, [("a", w.u32, 0), ("b", w.int, 32)])

        result = relocate(bits, whole, "0:1", s.FIELD_BYTE_OFFSET)
        assert (result.new_val, result.validate, result.fail_memsz_adjust) == (4, False, True)
        assert "a bit field in the object and 4 bytes" in result.failure

    def test_too_wide_for_any_load(self) -> None:
        def far(w: World) -> int:
            return w.b.add_struct("bits", 24, [("b", w.u64, 60, 20)])

        with pytest.raises(LinkError) as caught:
            relocate(bits, far, "0:1", s.FIELD_BYTE_OFFSET)
        assert caught.value.errno_code == errno.E2BIG

    def test_big_endian_shift(self) -> None:
        builder = BtfBuilder(little_endian=False)
        number = builder.add_int("int", 4)
        root = builder.add_struct("bits", 4, [("a", number, 0, 3), ("b", number, 3, 20)])
        btf = builder.build()
        result = CoreResolver(btf, [btf]).resolve(root, "0:1", s.FIELD_LSHIFT_U64)
        assert result.new_val == (8 - 4) * 8 + 3


class TestArrays:
    @staticmethod
    def holder(nelems: int, *, last: bool = True, elem_size: int = 4) -> Callable[[World], int]:
        def make(w: World) -> int:
            elem = {1: w.u8, 4: w.u32, 8: w.u64}[elem_size]
            members = [("n", w.u64, 0), ("list", w.array(elem, nelems), 64)]
            return w.b.add_struct("holder", 64, members if last else [*members, ("end", w.u64, 448)])

        return make

    def test_element(self) -> None:
        result = relocate(self.holder(4), self.holder(9, elem_size=8), "0:1:3", s.FIELD_BYTE_OFFSET)
        assert (result.orig_val, result.new_val, result.orig_sz, result.new_sz) == (20, 32, 4, 8)
        assert not result.fail_memsz_adjust

    def test_element_size(self) -> None:
        result = relocate(self.holder(4), self.holder(9, elem_size=8), "0:1:3", s.FIELD_BYTE_SIZE)
        assert (result.orig_val, result.new_val) == (4, 8)

    def test_past_the_end(self) -> None:
        result = relocate(self.holder(4), self.holder(3), "0:1:3", s.FIELD_BYTE_OFFSET)
        assert result.poison
        assert result.failure == "struct holder.list has no element 3 in vmlinux"

    def test_flexible_array(self) -> None:
        assert relocate(self.holder(0), self.holder(0), "0:1:3", s.FIELD_BYTE_OFFSET).new_val == 20
        assert relocate(self.holder(4), self.holder(0, last=False), "0:1:3", s.FIELD_BYTE_OFFSET).poison
        with pytest.raises(LinkError, match="only 0 elements"):
            relocate(self.holder(0, last=False), self.holder(4), "0:1:3", s.FIELD_BYTE_OFFSET)

    def test_dimensions_are_counted(self) -> None:
        def grid(columns: int) -> Callable[[World], int]:
            return lambda w: w.b.add_struct("grid", 256, [("cells", w.array(w.array(w.u16, columns), 3), 0)])

        assert relocate(grid(4), grid(10), "0:0:2:3", s.FIELD_BYTE_OFFSET).new_val == 2 * 20 + 6

    def test_not_an_array(self) -> None:
        def number(w: World) -> int:
            return w.b.add_struct("holder", 16, [("list", w.u32, 0)])

        result = relocate(self.holder(4), number, "0:1:3", s.FIELD_BYTE_OFFSET)
        assert result.poison

    @pytest.mark.parametrize("kind", [s.FIELD_SIGNED, s.FIELD_LSHIFT_U64, s.FIELD_RSHIFT_U64])
    def test_no_shifts_of_elements(self, kind: int) -> None:
        with pytest.raises(LinkError, match="element of an array") as caught:
            relocate(self.holder(4), self.holder(4), "0:1:3", kind)
        assert caught.value.errno_code == errno.EINVAL

    def test_an_array_of_wide_structs_overflows_as_32_bits(self) -> None:
        def wide(w: World) -> int:
            return w.b.add_struct("wide", 0x10000000, [("a", w.int, 0)])

        assert relocate(wide, wide, "3:0", s.FIELD_BYTE_OFFSET).new_val == (3 * 0x10000000 * 8 % (1 << 32)) // 8


class TestFieldTypes:
    @staticmethod
    def holding(make: Callable[[World], int], size: int = 8) -> Callable[[World], int]:
        return lambda w: w.b.add_struct("holder", size, [("m", make(w), 0)])

    @pytest.mark.parametrize(
        ("local", "target", "compatible"),
        [
            (lambda w: w.int, lambda w: w.u64, True),
            (lambda w: w.int, lambda w: w.pointer, False),
            (lambda w: w.int, lambda w: w.b.add_enum("e", [("A", 1)]), False),
            (lambda w: w.int, lambda w: w.b.add_int("old", 4, bit_offset=3), False),
            (lambda w: w.pointer, lambda w: w.b.add_pointer(w.int), True),
            (lambda w: w.b.add_float("float", 4), lambda w: w.b.add_float("double", 8), True),
            (lambda w: w.b.add_struct("x", 4), lambda w: w.b.add_union("y", 4), True),
            (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum("e___2", [("B", 1)]), True),
            (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum64("e", [("A", 1)]), True),
            (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum("f", [("A", 1)]), False),
            (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum("", [("A", 1)]), True),
            (lambda w: w.array(w.int, 2), lambda w: w.array(w.u8, 9), True),
            (lambda w: w.array(w.int, 2), lambda w: w.array(w.pointer, 9), False),
            (lambda w: w.array(w.int, 2), lambda w: w.int, False),
        ],
    )
    def test_compatibility(self, local: Callable[[World], int], target: Callable[[World], int], compatible: bool) -> None:
        result = relocate(self.holding(local), self.holding(target), "0:0", s.FIELD_EXISTS)
        assert result.new_val == int(compatible)
        if not compatible:
            assert result.failure == "struct holder.m has an incompatible type in vmlinux"

    @pytest.mark.parametrize(
        ("local", "target", "fails"),
        [
            (lambda w: w.u32, lambda w: w.u64, False),
            (lambda w: w.int, lambda w: w.u64, True),
            (lambda w: w.u32, lambda w: w.b.add_int("long long", 8, t.INT_SIGNED), True),
            (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum64("e", [("A", 1)]), True),
        ],
    )
    def test_width_of_loads(self, local: Callable[[World], int], target: Callable[[World], int], fails: bool) -> None:
        result = relocate(self.holding(local), self.holding(target), "0:0", s.FIELD_BYTE_OFFSET)
        assert result.fail_memsz_adjust is fails
        assert bool(result.failure) is fails

    def test_pointers_of_a_32_bit_kernel(self) -> None:
        mine, root = world(self.holding(lambda w: w.pointer))
        kernel, _ = world(self.holding(lambda w: w.pointer, size=4), long_size=4)
        result = CoreResolver(mine, [kernel]).resolve(root, "0:0", s.FIELD_BYTE_OFFSET)
        assert (result.orig_sz, result.new_sz, result.fail_memsz_adjust) == (8, 4, False)


class TestTypes:
    def test_local_id(self) -> None:
        mine, root = world(pair)
        result = CoreResolver(mine, []).resolve(root, "0", s.TYPE_ID_LOCAL)
        assert (result.orig_val, result.new_val, result.validate, result.poison) == (root, root, False, False)
        assert result.failure == ""

    def test_local_id_of_an_anonymous_type(self) -> None:
        mine, root = world(lambda w: w.b.add_struct("", 4, [("a", w.int, 0)]))
        assert CoreResolver(mine, []).resolve(root, "0", s.TYPE_ID_LOCAL).new_val == root

    def test_a_local_id_leaves_the_candidates_alone(self) -> None:
        mine, root = world(pair)
        kernel, _ = world(pair_moved)
        resolver = CoreResolver(mine, [kernel])
        resolver.resolve(root, "0", s.TYPE_ID_LOCAL)
        assert resolver.resolve(root, "0:1", s.FIELD_BYTE_OFFSET).new_val == 16

    def test_target_id(self) -> None:
        kernel, there = world(pair_moved, skip=7)
        result = relocate(pair, pair_moved, "0", s.TYPE_ID_TARGET)
        assert (result.new_val, result.validate) == (there, False)
        assert kernel.type(there).name == "pair"

    @pytest.mark.parametrize("kind", [s.TYPE_ID_TARGET, s.TYPE_EXISTS, s.TYPE_SIZE, s.TYPE_MATCHES])
    def test_missing_type_is_zero(self, kind: int) -> None:
        result = relocate(pair, lambda w: w.int, "0", kind)
        assert (result.new_val, result.poison) == (0, False)
        assert result.failure == "there is no struct pair in the kernel's BTF"

    def test_size(self) -> None:
        result = relocate(pair, pair_moved, "0", s.TYPE_SIZE)
        assert (result.orig_val, result.new_val) == (8, 32)

    def test_existence_asks_for_the_same_kind(self) -> None:
        def as_union(w: World) -> int:
            return w.b.add_union("pair", 8, [("a", w.int, 0)])

        assert relocate(pair, pair_moved, "0", s.TYPE_EXISTS).new_val == 1
        assert relocate(pair, as_union, "0", s.TYPE_EXISTS).new_val == 0

    def test_matches_asks_for_the_members(self) -> None:
        assert relocate(pair, pair, "0", s.TYPE_MATCHES).new_val == 1
        assert relocate(pair, lambda w: w.b.add_struct("pair", 4, [("a", w.int, 0)]), "0", s.TYPE_MATCHES).new_val == 0

    def test_access_of_a_type(self) -> None:
        with pytest.raises(LinkError, match='accessed by "0"'):
            relocate(pair, pair, "0:1", s.TYPE_EXISTS)


class TestEnums:
    @staticmethod
    def enum(*values: tuple[str, int], name: str = "color") -> Callable[[World], int]:
        return lambda w: w.b.add_enum(name, values)

    @staticmethod
    def enum64(*values: tuple[str, int]) -> Callable[[World], int]:
        return lambda w: w.b.add_enum64("color", values)

    def test_value(self) -> None:
        result = relocate(self.enum(("RED", 1), ("BLUE", 2)), self.enum(("BLUE", 77), ("RED", 5)), "1", s.ENUMVAL_VALUE)
        assert (result.orig_val, result.new_val, result.validate) == (2, 77, True)

    def test_name_without_flavour(self) -> None:
        assert relocate(self.enum(("RED___mine", 1)), self.enum(("RED", 5)), "0", s.ENUMVAL_VALUE).new_val == 5

    def test_sign(self) -> None:
        assert relocate(self.enum(("RED", 1)), self.enum(("RED", -2)), "0", s.ENUMVAL_VALUE).new_val == U64 - 2
        # An unsigned 32-bit value with its top bit set is extended as a signed one, as libbpf does.
        unsigned = relocate(self.enum(("RED", 1)), lambda w: w.b.add_enum("color", [("RED", 0xFFFFFFFF)]), "0", s.ENUMVAL_VALUE)
        assert unsigned.new_val == U64 - 1

    def test_64_bits(self) -> None:
        result = relocate(self.enum(("RED", 1)), self.enum64(("RED", 1 << 40)), "0", s.ENUMVAL_VALUE)
        assert result.new_val == 1 << 40
        assert relocate(self.enum64(("RED", -1)), self.enum64(("RED", -(1 << 40))), "0", s.ENUMVAL_VALUE).new_val == U64 - (
            1 << 40
        )

    def test_existence(self) -> None:
        assert relocate(self.enum(("RED", 1)), self.enum(("RED", 3)), "0", s.ENUMVAL_EXISTS).new_val == 1
        missing = relocate(self.enum(("RED", 1)), self.enum(("BLUE", 1)), "0", s.ENUMVAL_EXISTS)
        assert (missing.new_val, missing.poison) == (0, False)

    def test_missing_value_poisons(self) -> None:
        result = relocate(self.enum(("RED", 1)), self.enum(("BLUE", 1)), "0", s.ENUMVAL_VALUE)
        assert result.poison
        assert result.failure == "enum color has no value RED in vmlinux"

    def test_typedef_of_something_else(self) -> None:
        def named(make: Callable[[World], int]) -> Callable[[World], int]:
            return lambda w: w.b.add_typedef("color_t", make(w))

        result = relocate(named(self.enum(("RED", 1))), named(lambda w: w.int), "0", s.ENUMVAL_VALUE)
        assert result.poison

    @pytest.mark.parametrize("access", ["1", "0:0"])
    def test_bad_access(self, access: str) -> None:
        with pytest.raises(LinkError, match="value of an enum"):
            relocate(self.enum(("RED", 1)), self.enum(("RED", 1)), access, s.ENUMVAL_VALUE)

    def test_not_an_enum(self) -> None:
        mine, root = world(pair)
        resolver = CoreResolver(mine, [mine])
        with pytest.raises(LinkError, match="value of an enum"):
            resolver.resolve(root, "0", s.ENUMVAL_VALUE)
        assert resolver.resolve(root, "0:1", s.FIELD_BYTE_OFFSET).new_val == 4


class TestAccessStrings:
    @pytest.mark.parametrize("access", ["", ":0", "0:", "0::1", "0:x", "-1", "0:-1", "0 1", "0:99999999999", "4294967295"])
    def test_malformed(self, access: str) -> None:
        with pytest.raises(LinkError, match="malformed") as caught:
            relocate(pair, pair, access, s.FIELD_EXISTS)
        assert caught.value.errno_code == errno.EINVAL

    def test_too_long(self) -> None:
        with pytest.raises(LinkError, match="64 steps"):
            relocate(pair, pair, ":".join(["0"] * 65), s.FIELD_EXISTS)

    def test_no_such_member(self) -> None:
        with pytest.raises(LinkError, match="only 2 members"):
            relocate(pair, pair, "0:2", s.FIELD_EXISTS)

    def test_member_of_a_number(self) -> None:
        with pytest.raises(LinkError, match="has no members"):
            relocate(pair, pair, "0:1:0", s.FIELD_EXISTS)

    def test_unknown_kind(self) -> None:
        with pytest.raises(LinkError, match="unknown"):
            relocate(pair, pair, "0:1", 13)

    def test_root_without_a_size(self) -> None:
        with pytest.raises(LinkError, match="malformed"):
            relocate(lambda w: w.b.add_fwd("pair"), pair, "0", s.FIELD_EXISTS)


class TestCandidates:
    def test_flavours_on_both_sides(self) -> None:
        def flavoured(name: str) -> Callable[[World], int]:
            return lambda w: w.b.add_struct(name, 16, [("b", w.int, 96)])

        assert relocate(flavoured("pair___old"), flavoured("pair"), "0:0", s.FIELD_BYTE_OFFSET).new_val == 12
        assert relocate(flavoured("pair"), flavoured("pair___2"), "0:0", s.FIELD_BYTE_OFFSET).new_val == 12
        assert relocate(flavoured("pair___old"), flavoured("pair___2"), "0:0", s.FIELD_BYTE_OFFSET).new_val == 12
        assert relocate(flavoured("pair____x"), flavoured("pair"), "0:0", s.FIELD_BYTE_OFFSET).poison

    def test_missing_member(self) -> None:
        result = relocate(pair, lambda w: w.b.add_struct("pair", 4, [("a", w.int, 0)]), "0:1", s.FIELD_BYTE_OFFSET)
        assert (result.poison, result.orig_val, result.new_val) == (True, 4, 0)
        assert result.failure == "struct pair has no member b in vmlinux"

    def test_missing_type(self) -> None:
        result = relocate(pair, lambda w: w.b.add_union("pair", 4, [("a", w.int, 0)]), "0:1", s.FIELD_BYTE_OFFSET)
        assert result.poison
        assert result.failure == "there is no struct pair in the kernel's BTF"

    def test_failure_in_an_inner_struct(self) -> None:
        def outer(*names: str) -> Callable[[World], int]:
            def make(w: World) -> int:
                inner = w.b.add_struct("inner", 8, [(name, w.int, 32 * number) for number, name in enumerate(names)])
                return w.b.add_struct("outer", 8, [("in", inner, 0)])

            return make

        result = relocate(outer("x", "y"), outer("x"), "0:0:1", s.FIELD_BYTE_OFFSET)
        assert result.failure == "struct inner has no member y in vmlinux"
        assert result.text == "struct outer.in.y (byte_off)"

    def test_a_member_of_a_number(self) -> None:
        def outer(w: World) -> int:
            return w.b.add_struct("outer", 8, [("in", w.b.add_struct("inner", 4, [("x", w.int, 0)]), 0)])

        result = relocate(outer, lambda w: w.b.add_struct("outer", 8, [("in", w.int, 0)]), "0:0:0", s.FIELD_BYTE_OFFSET)
        assert result.poison

    def test_two_types_that_agree(self) -> None:
        def twice(w: World) -> int:
            w.b.add_struct("pair", 8, [("b", w.u32, 32)])
            return w.b.add_struct("pair", 12, [("b", w.int, 32)])

        assert relocate(pair, twice, "0:1", s.FIELD_BYTE_OFFSET).new_val == 4

    def test_two_types_that_disagree(self) -> None:
        def twice(w: World) -> int:
            w.b.add_struct("pair", 8, [("b", w.int, 32)])
            return w.b.add_struct("pair", 12, [("b", w.int, 64)])

        with pytest.raises(LinkError, match="ambiguous") as caught:
            relocate(pair, twice, "0:1", s.FIELD_BYTE_OFFSET)
        assert caught.value.errno_code == errno.EINVAL
        with pytest.raises(LinkError, match="ambiguous"):
            relocate(pair, twice, "0:1", s.FIELD_EXISTS)  # the place counts even where the value is the same
        with pytest.raises(LinkError, match="ambiguous"):
            relocate(pair, twice, "0", s.TYPE_SIZE)

    def test_what_did_not_match_is_no_candidate_any_more(self) -> None:
        def twice(w: World) -> int:
            w.b.add_struct("pair", 8, [("a", w.int, 0), ("b", w.int, 32)])
            return w.b.add_struct("pair", 12, [("b", w.int, 64)])

        mine, root = world(pair)
        kernel, _ = world(twice)
        resolver = CoreResolver(mine, [kernel])
        assert resolver.resolve(root, "0:0", s.FIELD_BYTE_OFFSET).new_val == 0
        assert resolver.resolve(root, "0:1", s.FIELD_BYTE_OFFSET).new_val == 4
        resolver.restart()
        with pytest.raises(LinkError, match="ambiguous"):
            resolver.resolve(root, "0:1", s.FIELD_BYTE_OFFSET)

    def test_no_match_keeps_all_candidates(self) -> None:
        mine, root = world(pair)
        kernel, _ = world(lambda w: w.b.add_struct("pair", 8, [("b", w.int, 32)]))
        resolver = CoreResolver(mine, [kernel])
        assert resolver.resolve(root, "0:0", s.FIELD_BYTE_OFFSET).poison
        assert resolver.resolve(root, "0:1", s.FIELD_BYTE_OFFSET).new_val == 4

    @pytest.mark.parametrize("name", ["", "void"])
    def test_types_without_a_name(self, name: str) -> None:
        mine, root = world(lambda w: w.b.add_struct("", 4, [("a", w.int, 0)]))
        with pytest.raises(LinkError, match="no name") as caught:
            CoreResolver(mine, [mine]).resolve(0 if name else root, "0:0", s.FIELD_EXISTS)
        assert caught.value.errno_code == errno.EINVAL

    def test_modules_are_asked_only_if_the_kernel_has_nothing(self) -> None:
        mine, root = world(pair)
        kernel, _ = world(lambda w: w.int)
        module = World()
        module.b = BtfBuilder(base=kernel)
        module.b.add_struct("pair", 16, [("b", 1, 64)])
        split = module.b.build("some_module")
        asked = []

        def modules() -> list[Btf]:
            asked.append(1)
            return [split]

        result = CoreResolver(mine, [kernel], modules=modules).resolve(root, "0:1", s.FIELD_BYTE_OFFSET)
        assert (result.new_val, asked) == (8, [1])
        assert CoreResolver(mine, [kernel, split]).resolve(root, "0:1", s.FIELD_BYTE_OFFSET).new_val == 8
        full, _ = world(pair)
        assert CoreResolver(mine, [full], modules=modules).resolve(root, "0:1", s.FIELD_BYTE_OFFSET).new_val == 4
        assert asked == [1]

    def test_self_nesting_target_is_refused(self) -> None:
        def endless(w: World) -> int:
            me = len(w.b)
            return w.b.add_struct("pair", 8, [("", me, 0), ("", me, 0)])

        with pytest.raises(FormatError, match="nested too deeply") as caught:
            relocate(pair, endless, "0:1", s.FIELD_EXISTS)
        assert caught.value.errno_code == errno.E2BIG

    def test_wide_anonymous_nesting_takes_bounded_time(self) -> None:
        def wide(w: World) -> int:
            inner = w.b.add_struct("", 8, [("z", w.int, 0)])
            for _ in range(40):
                inner = w.b.add_struct("", 8, [("", inner, 0), ("", inner, 0)])
            return w.b.add_struct("pair", 8, [("", inner, 0), ("b", w.int, 0)])

        with pytest.raises(FormatError, match="nested too deeply"):
            relocate(pair, wide, "0:1", s.FIELD_EXISTS)


def compare(
    question: Callable[[Btf, int, Btf, int], bool], local: Callable[[World], int], target: Callable[[World], int]
) -> bool:
    mine, left = world(local)
    kernel, right = world(target, skip=3)
    return question(mine, left, kernel, right)


def proto(*params: Callable[[World], int], returns: Callable[[World], int] = lambda w: 0) -> Callable[[World], int]:
    return lambda w: w.b.add_func_proto(returns(w), [("p", param(w)) for param in params])


@pytest.mark.parametrize(
    ("local", "target", "compatible", "match"),
    [
        (lambda w: w.int, lambda w: w.int, True, True),
        (lambda w: w.int, lambda w: w.u64, True, False),
        (lambda w: w.int, lambda w: w.pointer, False, False),
        (lambda w: w.b.add_int("int", 4, t.INT_SIGNED), lambda w: w.b.add_int("int", 4), True, False),
        (lambda w: w.b.add_struct("x", 4), lambda w: w.b.add_struct("y", 8), True, False),
        (lambda w: w.b.add_struct("x___1", 4), lambda w: w.b.add_struct("x", 8), True, True),
        (lambda w: w.b.add_struct("x", 4), lambda w: w.b.add_union("x", 8), False, False),
        (lambda w: w.b.add_pointer(w.b.add_struct("x", 4)), lambda w: w.b.add_pointer(w.b.add_fwd("x")), False, True),
        (lambda w: w.b.add_pointer(w.b.add_union("x", 4)), lambda w: w.b.add_pointer(w.b.add_fwd("x")), False, False),
        (lambda w: w.b.add_pointer(w.b.add_fwd("x")), lambda w: w.b.add_pointer(w.b.add_struct("x", 4)), False, True),
        (lambda w: w.b.add_pointer(w.b.add_fwd("x", union=True)), lambda w: w.b.add_pointer(w.b.add_union("x", 4)), False, True),
        (lambda w: w.b.add_fwd("x"), lambda w: w.b.add_struct("x", 4), False, False),
        (lambda w: w.b.add_fwd("x"), lambda w: w.b.add_fwd("x", union=True), True, False),
        (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum("e", [("B", 1), ("A", 2)]), True, True),
        (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum64("e", [("A", 1)]), True, False),
        (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum64("e", [("A", 1)], size=4), True, True),
        (lambda w: w.b.add_enum("e", [("A", 1)]), lambda w: w.b.add_enum("e", [("B", 1)]), True, False),
        (lambda w: w.array(w.int, 3), lambda w: w.array(w.int, 4), True, False),
        (lambda w: w.array(w.int, 3), lambda w: w.array(w.int, 3), True, True),
        (lambda w: w.pointer, lambda w: w.b.add_pointer(w.int), False, False),
        (lambda w: w.b.add_float("float", 4), lambda w: w.b.add_float("float", 4), False, False),
        (proto(lambda w: w.int), proto(lambda w: w.int), True, True),
        (proto(lambda w: w.int), proto(lambda w: w.u32), True, False),
        (proto(lambda w: w.int), proto(), False, False),
        (proto(lambda w: w.int), proto(lambda w: w.pointer), False, False),
        (proto(returns=lambda w: w.int), proto(returns=lambda w: w.pointer), False, False),
        (proto(), proto(returns=lambda w: w.int), False, False),
    ],
)
def test_whole_types(local: Callable[[World], int], target: Callable[[World], int], compatible: bool, match: bool) -> None:
    assert compare(types_are_compatible, local, target) is compatible
    assert compare(types_match, local, target) is match


def test_a_typedef_is_no_struct() -> None:
    assert not compare(
        types_are_compatible, lambda w: w.b.add_typedef("x", w.b.add_struct("x", 4)), lambda w: w.b.add_struct("x", 4)
    )


def test_members_are_matched_by_name_and_type() -> None:
    def struct(*members: tuple[str, Callable[[World], int]]) -> Callable[[World], int]:
        return lambda w: w.b.add_struct("x", 64, [(name, make(w), 64 * n) for n, (name, make) in enumerate(members)])

    def number(w: World) -> int:
        return w.int

    def pointer(w: World) -> int:
        return w.b.add_pointer(w.b.add_struct("other", 4, [("q", w.int, 0)]))

    def empty_pointer(w: World) -> int:
        return w.b.add_pointer(w.b.add_struct("other", 4))

    assert compare(types_match, struct(("a", number)), struct(("z", pointer), ("a", number)))
    assert not compare(types_match, struct(("a", number)), struct(("a", pointer)))
    assert compare(types_match, struct(("p", pointer)), struct(("p", empty_pointer)))


def test_endless_types_are_refused() -> None:
    def endless(w: World) -> int:
        return w.b.add_pointer(len(w.b))

    for question in (types_are_compatible, types_match):
        with pytest.raises(FormatError, match="nested too deeply") as caught:
            compare(question, endless, endless)
        assert caught.value.errno_code == errno.EINVAL


def test_a_matching_tree_of_structs_takes_bounded_time() -> None:
    def tree(w: World) -> int:
        inner = w.b.add_struct("s", 4, [("a", w.int, 0)])
        for _ in range(20):
            inner = w.b.add_struct("s", 4, [("a", inner, 0), ("b", inner, 0)])
        return inner

    assert compare(types_match, tree, tree)


def test_description() -> None:
    mine, root = world(pair)
    assert describe(mine, root, "0:1", s.FIELD_BYTE_OFFSET) == "struct pair.b (byte_off)"
    assert describe(mine, root, "3:1", s.FIELD_EXISTS) == "struct pair[3].b (field_exists)"
    assert describe(mine, root, "0", s.TYPE_SIZE) == "struct pair (type_size)"
    values, enum = world(lambda w: w.b.add_enum64("color", [("RED", 1)]))
    assert describe(values, enum, "0", s.ENUMVAL_VALUE) == "enum color::RED (enumval_value)"
    assert parse(mine, root, "0:1", s.FIELD_BYTE_OFFSET).bit_offset == 32
