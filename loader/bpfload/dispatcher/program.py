"""The dispatcher itself: instructions, BTF and configuration map, made without a compiler."""

from __future__ import annotations

from struct import pack

from bpfload.abi import consts
from bpfload.btf import types as t
from bpfload.btf.writer import BtfBuilder
from bpfload.dispatcher.protocol import ACTIONS, NAME, NOT_REPLACED, Config
from bpfload.insn.assemble import (
    alu32_reg,
    assemble,
    call,
    call_subprog,
    exit_,
    jump32_imm,
    ld_imm64,
    load,
    mov32_imm,
    mov64_imm,
    mov64_reg,
)
from bpfload.insn.codec import BPF_AND, BPF_JEQ, BPF_LSH, BPF_W
from bpfload.spec import RELOC_CALL, RELOC_DATA, BtfExt, MapSpec, ObjectSpec, ProgramSpec, Relocation, SectionInfo

_SECTION, _SUBPROGRAMS, _RODATA = "xdp", ".text", ".rodata"
_KERNEL_MAP_NAME = "xdp_disp.rodata"  # as libbpf calls the one of libxdp's xdp-dispatcher.o
_XDP_ADJUST_TAIL = 65  # enum bpf_func_id
_PASS = ACTIONS.index("pass")
_ACTIONS_OFFSET = 4  # of chain_call_actions in struct xdp_dispatcher_config
_SLOT_BYTES = 8

# struct xdp_md in include/uapi/linux/bpf.h. The kernel recognises a context by the struct's name.
_XDP_MD = ("data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex")


def slot_function(slot: int) -> str:
    """Return the name of the function that the program of a slot replaces."""
    return f"prog{slot}"


def dispatcher_spec(config: Config) -> ObjectSpec:
    """Return a dispatcher, ready to be loaded: one function for each slot of the configuration."""
    main, relocations = _main(len(config.slots))
    stub = _stub()
    functions = [
        ProgramSpec(slot_function(slot), _SUBPROGRAMS, slot * len(stub), stub, is_subprog=True)
        for slot in range(len(config.slots))
    ]
    flags = consts.BPF_F_XDP_HAS_FRAGS if config.frags else 0
    entry = ProgramSpec(NAME, _SECTION, 0, main, relocations=tuple(relocations), type=consts.BPF_PROG_TYPE_XDP, flags=flags)
    # A program moves only between dispatchers with the same attach type, and libxdp's have this one (bpf_check_attach_target()).
    entry.attach_type = consts.BPF_XDP
    builder, function_ids, rodata = _types(config)
    value = config.pack()
    settings = MapSpec(
        _RODATA,
        "data",
        consts.BPF_MAP_TYPE_ARRAY,
        4,
        len(value),
        1,
        flags=consts.BPF_F_RDONLY_PROG,
        value_type_id=rodata,
        kernel_name=_KERNEL_MAP_NAME,
        data=bytearray(value),
        read_only=True,
    )
    records = b"".join(pack("<II", function.offset, function_ids[function.name]) for function in functions)
    func_info = {
        _SECTION: SectionInfo(_SECTION, 8, pack("<II", 0, function_ids[NAME])),
        _SUBPROGRAMS: SectionInfo(_SUBPROGRAMS, 8, records),
    }
    return ObjectSpec(
        "xdp_dispatcher",
        license="Dual MIT/GPL",
        programs=[entry, *functions],
        maps={_RODATA: settings},
        btf=builder.build(NAME),
        btf_ext=BtfExt(func_info=func_info),
    )


def _main(count: int) -> tuple[bytes, list[Relocation]]:
    """Return the dispatcher's own function: call each program; end with what it returned unless that lets the chain go on."""
    code = assemble(mov64_reg(6, 1), ld_imm64(7, 0))
    relocations = [Relocation(_SLOT_BYTES, RELOC_DATA, "conf", _RODATA)]
    step_slots = 7
    for slot in range(count):
        to_the_end = (count - slot - 1) * step_slots + 1
        relocations.append(
            Relocation(len(code) + _SLOT_BYTES, RELOC_CALL, slot_function(slot), _SUBPROGRAMS, slot * len(_stub()))
        )
        code += assemble(
            mov64_reg(1, 6),
            call_subprog(-1),
            mov32_imm(2, 1),
            alu32_reg(BPF_LSH, 2, 0),
            load(BPF_W, 1, 7, _ACTIONS_OFFSET + 4 * slot),
            alu32_reg(BPF_AND, 2, 1),
            jump32_imm(BPF_JEQ, 2, 0, to_the_end),
        )
    return code + assemble(mov64_imm(0, _PASS), exit_()), relocations


def _stub() -> bytes:
    """Return what stands in a slot until a program replaces it.

    Moving the packet's tail by nothing tells the verifier that the function may move packet data, or it would let no program
    replace it that does (Linux 6.13).
    """
    return assemble(mov64_imm(2, 0), call(_XDP_ADJUST_TAIL), mov64_imm(0, NOT_REPLACED), exit_())


def _types(config: Config) -> tuple[BtfBuilder, dict[str, int], int]:
    """Return the types, the ids of functions by name, and that of the data section."""
    builder = BtfBuilder()
    u8 = builder.add_typedef("__u8", builder.add_int("unsigned char", 1))
    u32 = builder.add_typedef("__u32", builder.add_int("unsigned int", 4))
    signed = builder.add_int("int", 4, t.INT_SIGNED)
    context = builder.add_struct("xdp_md", 4 * len(_XDP_MD), [(name, u32, 32 * i) for i, name in enumerate(_XDP_MD)])
    proto = builder.add_func_proto(signed, [("ctx", builder.add_pointer(context))])
    names = [NAME, *(slot_function(slot) for slot in range(len(config.slots)))]
    functions = {name: builder.add_func(name, proto) for name in names}

    words = builder.add_array(u32, 10, u32)
    members = [("magic", u8, 0), ("dispatcher_version", u8, 8), ("num_progs_enabled", u8, 16), ("is_xdp_frags", u8, 24)]
    members += [("chain_call_actions", words, 32), ("run_prios", words, 352), ("program_flags", words, 672)]
    if config.version >= 3:
        members.append(("is_xdp_devbound", u8, 992))
    size = len(config.pack())
    struct = builder.add_struct("xdp_dispatcher_config", size, members)
    conf = builder.add_var("conf", builder.add_const(struct), t.LINKAGE_STATIC)
    rodata = builder.add_datasec(_RODATA, size, [(conf, 0, size)])

    # The version once more, as the length of an array that is pointed to: where version 1 had it.
    version = builder.add_pointer(builder.add_array(signed, config.version, u32))
    metadata = builder.add_var("dispatcher_version", version)
    builder.add_datasec("xdp_metadata", 8, [(metadata, 0, 8)])
    return builder, functions, rodata
