"""Loading on the real kernel: what is created, what is left after a failure, what the errors say."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from struct import pack

import pytest

from bpfload import elf
from bpfload.abi import consts
from bpfload.errors import BpfError, KernelError, LinkError, NotFoundError, PinError, VerifierError
from bpfload.insn.assemble import assemble, call, exit_, ld_imm64, mov64_imm
from bpfload.insn.assemble import load as load_insn
from bpfload.insn.codec import BPF_W
from bpfload.load import FAIL, REPLACE, LoadOptions, load
from bpfload.spec import RELOC_DATA, RELOC_MAP, MapSlot, MapSpec, ObjectSpec, ProgramSpec, Relocation

SAMPLES = Path(__file__).parents[2] / "samples"
HELLO = SAMPLES / "hello/hello.bpf.o"
RETURN_2 = assemble(mov64_imm(0, 2), exit_())

pytestmark = pytest.mark.usefixtures("no_fd_leak")


def xdp(insns: bytes = RETURN_2, *relocations: Relocation, name: str = "prog") -> ProgramSpec:
    return ProgramSpec(name, "xdp", 0, insns, relocations=relocations, type=consts.BPF_PROG_TYPE_XDP, attach_type=consts.BPF_XDP)


def array(name: str, **fields: object) -> MapSpec:
    values: dict[str, object] = {"type": consts.BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": 4, "max_entries": 1}
    return MapSpec(name, **(values | fields))  # type: ignore[arg-type]


def objects(*programs: ProgramSpec, maps: tuple[MapSpec, ...] = ()) -> ObjectSpec:
    return ObjectSpec("test", license="GPL", programs=list(programs), maps={entry.name: entry for entry in maps})


def test_hello_has_the_tag_and_the_maps_that_libbpf_gives_it() -> None:
    with load(HELLO) as live:
        info = live.program("hello").info("map_ids")
        assert info.tag in ("490c48c1179970a8", "d35b94b4c0c10efb")
        assert (info.name, info.xlated_prog_len, info.nr_map_ids) == ("hello", 96, 2)
        bss, rodata = live.map(".bss").info(), live.map(".rodata").info()
        assert (bss.name, bss.value_size, bss.map_flags) == ("hello.bss", 4, 0x400)
        assert (rodata.name, rodata.value_size, rodata.map_flags) == ("hello.rodata", 15, 0x80)


def test_hello_func_has_the_tag_that_libbpf_gives_it() -> None:
    with load(SAMPLES / "hello-func/hello-func.bpf.o") as live:
        info = live.program().info()
        assert info.tag in ("7c6e9a45a39e6854", "3d9eb0c23d4ab186")
        assert (info.xlated_prog_len, info.nr_func_info) == (80, 2)


def test_read_only_data_is_filled_and_frozen() -> None:
    with load(HELLO) as live:
        rodata = live.map(".rodata")
        assert rodata.lookup(bytes(4)) == b"Hello World %d\0"
        with pytest.raises(KernelError) as caught:
            rodata.update(bytes(4), bytes(15))
        assert caught.value.errno == errno.EPERM


def test_a_variable_edited_before_the_load_has_its_new_value() -> None:
    spec = elf.read(HELLO)
    counter = spec.variable("counter")
    data = spec.maps[counter.map_name].data
    assert data is not None
    data[counter.offset : counter.offset + counter.size] = pack("<i", 41)
    with load(spec) as live:
        assert live.map(".bss").lookup(bytes(4)) == pack("<i", 41)


def test_one_program_of_several_is_loaded_when_named() -> None:
    spec = objects(xdp(name="one"), xdp(name="two"))
    with load(spec, LoadOptions(programs=frozenset({"two"}))) as live:
        assert list(live.programs) == ["two"]


def test_a_program_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="no program 'three' in test; its programs are: one, two"):
        load(objects(xdp(name="one"), xdp(name="two")), LoadOptions(programs=frozenset({"three"})))


def test_autoload_off_is_not_loaded() -> None:
    skipped = xdp(name="skipped")
    skipped.autoload = False
    with load(objects(xdp(name="one"), skipped)) as live:
        assert list(live.programs) == ["one"]


def test_a_failure_leaves_nothing(nothing_left_behind: None) -> None:
    bad = xdp(assemble(exit_()), name="bad")
    with pytest.raises(VerifierError, match=r"program 'bad': the verifier rejected it: R0 !read_ok"):
        load(objects(xdp(name="good"), bad, maps=(array("m"),)))


def test_given_maps_are_used_and_stay_the_callers() -> None:
    with load(objects(maps=(array("m"),))) as first:
        fd = first.map("m").fd
        reader = xdp(assemble(ld_imm64(1, 0), mov64_imm(0, 2), exit_()), Relocation(0, RELOC_MAP, "m", "m"))
        spec = objects(reader, maps=(array("m"),))
        with load(spec, LoadOptions(maps={"m": fd})) as second:
            assert second.program().info("map_ids").map_ids == (first.map("m").info().id,)
        os.fstat(fd)


def test_perf_event_array_without_a_size_gets_an_entry_for_each_cpu() -> None:
    events = array("events", type=consts.BPF_MAP_TYPE_PERF_EVENT_ARRAY, max_entries=0)
    with load(objects(maps=(events,))) as live:
        assert live.map("events").info().max_entries == os.cpu_count() or live.map("events").info().max_entries > 0


@pytest.mark.parametrize(("wanted", "pages"), [(1, 1), (4096, 1), (4097, 2), (3 * 4096, 4), (5 * 4096, 8), (8 * 4096, 8)])
def test_ring_buffers_are_rounded_up(wanted: int, pages: int) -> None:
    ring = array("ring", type=consts.BPF_MAP_TYPE_RINGBUF, key_size=0, value_size=0, max_entries=wanted)
    with load(objects(maps=(ring,))) as live:
        assert live.map("ring").info().max_entries == pages * os.sysconf("SC_PAGE_SIZE")


def test_map_in_map_with_static_slots() -> None:
    inner = array("inner")
    outer = array(
        "outer",
        type=consts.BPF_MAP_TYPE_ARRAY_OF_MAPS,
        max_entries=3,
        inner=array("template"),
        slots=[MapSlot(2, "inner", "map")],
    )
    with load(objects(maps=(inner, outer))) as live:
        stored = live.map("outer").lookup(pack("=I", 2))
        assert stored == pack("=I", live.map("inner").info().id)
        with pytest.raises(KernelError):
            live.map("outer").lookup(pack("=I", 0))


def test_prog_array_with_static_slots() -> None:
    jumps = array("jumps", type=consts.BPF_MAP_TYPE_PROG_ARRAY, max_entries=2, slots=[MapSlot(1, "prog", "prog")])
    with load(objects(xdp(), maps=(jumps,))) as live:
        assert live.map("jumps").lookup(pack("=I", 1)) == pack("=I", live.program().info().id)


def test_slot_of_a_program_that_is_not_loaded() -> None:
    jumps = array("jumps", type=consts.BPF_MAP_TYPE_PROG_ARRAY, max_entries=2, slots=[MapSlot(1, "other", "prog")])
    with pytest.raises(BpfError, match="slot 1 wants program 'other', which isn't loaded") as caught:
        load(objects(xdp(), maps=(jumps,)))
    assert caught.value.errno_code == errno.EBADF


def test_map_that_is_switched_off_is_not_created_and_its_use_is_named() -> None:
    off = array("off", autocreate=False)
    reader = xdp(assemble(ld_imm64(1, 0), mov64_imm(0, 2), exit_()), Relocation(0, RELOC_MAP, "off", "off"))
    with pytest.raises(VerifierError, match="map 'off' is referenced but wasn't created"):
        load(objects(reader, maps=(off,)))


def test_rodata_that_no_instruction_mentions_is_bound_to_the_program() -> None:
    rodata = array(".rodata", kind="data", value_size=8, data=bytearray(b"metadata"), read_only=True, flags=0x80)
    with load(objects(xdp(), maps=(rodata,))) as live:
        assert live.program().info("map_ids").map_ids == (live.map(".rodata").info().id,)


def test_variables_are_read_through_the_maps_value() -> None:
    data = array(".data", kind="data", value_size=8, data=bytearray(pack("=II", 7, 3)))
    reader = xdp(assemble(ld_imm64(1, 0), load_insn(BPF_W, 0, 1), exit_()), Relocation(0, RELOC_DATA, "three", ".data", 4))
    from bpfload.syscall import bpf

    with load(objects(reader, maps=(data,))) as live:
        assert bpf.prog_test_run(live.program().fd, bytes(14))[0] == 3


def test_a_map_the_kernel_refuses_is_described() -> None:
    with pytest.raises(KernelError, match=r"map 'm': can't create it \(array, key 3B, value 4B, max_entries 1") as caught:
        load(objects(maps=(array("m", key_size=3),)))
    assert caught.value.errno_code == errno.EINVAL


def test_a_gpl_only_helper_without_a_gpl_licence_says_what_to_declare() -> None:
    tracer = ProgramSpec(
        "prog",
        "raw_tp/sys_enter",
        0,
        assemble(call(14), call(113), mov64_imm(0, 0), exit_()),
        type=consts.BPF_PROG_TYPE_RAW_TRACEPOINT,
    )
    spec = objects(tracer)
    spec.license = "Proprietary"
    with pytest.raises(VerifierError) as caught:
        load(spec)
    assert 'SEC("license") = "GPL"' in str(caught.value)


def test_a_program_without_a_type_says_what_sections_are_called() -> None:
    unknown = ProgramSpec("prog", "xpd", 0, RETURN_2)
    with pytest.raises(LinkError, match=r"section 'xpd' names no program type.*\n.*SEC\(\"xdp\"\)"):
        load(objects(unknown))


def test_rejected_program_has_reason_source_line_and_last_instructions() -> None:
    spec = elf.read(SAMPLES / "packet-counter/packet-counter.bpf.o")
    program = spec.entry_programs[0]
    # A kernel function that is not there for XDP: the verifier stops at the first instruction.
    program.insns = call(9999) + program.insns[8:]
    program.relocations = tuple(entry for entry in program.relocations if entry.offset)
    with pytest.raises(VerifierError) as caught:
        load(spec)
    error = caught.value
    assert "9999" in error.reason
    assert error.source.split(":")[0].endswith("packet-counter.bpf.c")
    assert "9999" in error.tail[-1]
    assert "processed" in error.log


class TestPinByName:
    """LIBBPF_PIN_BY_NAME: shared by name, compared before reuse."""

    @staticmethod
    def spec(**fields: object) -> ObjectSpec:
        return objects(maps=(array("shared", pinning=1, **fields),))

    def test_the_second_load_uses_the_first_ones_map(self, bpffs: Path) -> None:
        options = LoadOptions(pin_root=str(bpffs))
        with load(self.spec(), options) as first, load(self.spec(), options) as second:
            assert first.map("shared").info().id == second.map("shared").info().id
        assert os.listdir(bpffs) == ["shared"]

    def test_each_field_that_differs_is_named(self, bpffs: Path) -> None:
        options = LoadOptions(pin_root=str(bpffs))
        load(self.spec(), options).close()
        with pytest.raises(LinkError) as caught:
            load(self.spec(value_size=8, max_entries=5), options)
        message = str(caught.value)
        assert "value_size is 4, the object wants 8" in message
        assert "max_entries is 1, the object wants 5" in message
        assert "key_size" not in message
        assert "--replace-maps" in message

    def test_replace_makes_a_new_map_under_the_name(self, bpffs: Path) -> None:
        options = LoadOptions(pin_root=str(bpffs))
        with load(self.spec(), options) as first:
            options.existing_maps = REPLACE
            with load(self.spec(value_size=8), options) as second:
                assert first.map("shared").info().id != second.map("shared").info().id
        assert os.listdir(bpffs) == ["shared"]

    def test_fail_names_the_pin(self, bpffs: Path) -> None:
        options = LoadOptions(pin_root=str(bpffs), existing_maps=FAIL)
        load(self.spec(), options).close()
        with pytest.raises(PinError, match="shared exists already"):
            load(self.spec(), options)

    def test_a_failed_load_takes_its_pin_away_again(self, bpffs: Path) -> None:
        spec = self.spec()
        spec.programs.append(xdp(assemble(exit_())))
        with pytest.raises(VerifierError):
            load(spec, LoadOptions(pin_root=str(bpffs)))
        assert os.listdir(bpffs) == []

    def test_a_failed_load_leaves_the_pin_it_found(self, bpffs: Path) -> None:
        options = LoadOptions(pin_root=str(bpffs), existing_maps=REPLACE)
        with load(self.spec(), options) as first:
            spec = self.spec(value_size=8)
            spec.programs.append(xdp(assemble(exit_())))
            with pytest.raises(VerifierError):
                load(spec, options)
            options.existing_maps = "reuse"
            with load(self.spec(), options) as again:
                assert again.map("shared").info().id == first.map("shared").info().id


def test_the_log_of_a_program_that_loads() -> None:
    with load(HELLO) as live:
        assert live.logs == {}
    with load(HELLO, LoadOptions(log_level=2)) as live:
        assert "processed 10 insns" in live.logs["hello"]


def test_a_log_larger_than_the_first_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    from bpfload.load import programs

    monkeypatch.setattr(programs, "_FIRST_LOG", 128)
    with load(HELLO, LoadOptions(log_level=2)) as live:
        assert live.logs["hello"].startswith("func#0")
        assert "processed 10 insns" in live.logs["hello"]
