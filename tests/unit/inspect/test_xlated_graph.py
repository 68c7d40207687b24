"""The control-flow graph of a loaded program."""

from struct import pack

from bpfload.btf.writer import BtfBuilder
from bpfload.insn.assemble import assemble, call, exit_, goto, gotol, jump_imm, ld_imm64, mov64_imm
from bpfload.insn.codec import BPF_JEQ, BPF_JSET, CALL, HOST
from bpfload.inspect.xlated import Pieces, view
from bpfload.inspect.xlated_graph import Function, control_flow, dot_lines

EDGE = '[style="solid,bold", color=black, weight=10, constraint=true];'


def shape(function: Function) -> list[tuple[int, int, int, list[int]]]:
    return [(block.number, block.head, block.tail, block.successors) for block in function.blocks]


def test_branches() -> None:
    (function,) = control_flow(assemble(jump_imm(BPF_JEQ, 1, 0, 2), mov64_imm(0, 1), goto(1), mov64_imm(0, 2), exit_()))
    assert shape(function) == [(2, 0, 0, [3, 4]), (3, 1, 2, [5]), (4, 3, 3, [5]), (5, 4, 4, [1])]


def test_a_loop_that_ends_in_a_wide_instruction() -> None:
    insns = assemble(mov64_imm(0, 0), ld_imm64(1, 0x95 << 32), jump_imm(BPF_JSET, 0, 1, -3), exit_())
    (function,) = control_flow(insns)
    assert shape(function) == [(2, 0, 0, [3]), (3, 1, 3, [4, 3]), (4, 4, 4, [1])]


def test_long_jumps_lead_where_they_jump_to() -> None:
    (function,) = control_flow(assemble(gotol(1), mov64_imm(0, 1), exit_()))
    assert shape(function) == [(2, 0, 1, [3]), (3, 2, 2, [1])]


def test_jumps_out_of_the_function_and_calls_at_the_end_of_a_block() -> None:
    (function,) = control_flow(assemble(jump_imm(BPF_JEQ, 1, 0, 1), call(6), exit_(), goto(20)))
    assert shape(function) == [(2, 0, 0, [3, 4]), (3, 1, 1, [4, 4]), (4, 2, 3, [])]


def test_functions_are_numbered_as_they_are_called() -> None:
    insns = assemble(HOST.encode(CALL, 0, 1, 3), HOST.encode(CALL, 0, 1, 1), exit_(), exit_(), exit_())
    functions = control_flow(insns)
    assert [(function.number, function.start, function.end) for function in functions] == [(0, 0, 2), (2, 3, 3), (1, 4, 4)]


def test_calls_that_lead_nowhere() -> None:
    functions = control_flow(assemble(HOST.encode(CALL, 0, 1, 1000), HOST.encode(CALL, 0, 1, -9), exit_()))
    assert [(function.number, function.start, function.end) for function in functions] == [(0, 0, 2)]


def test_dot() -> None:
    builder = BtfBuilder()
    number = builder.add_int("int", 4, 1)
    func = builder.add_func("f", builder.add_func_proto(number))
    text = builder.add_string(' if (a < b | c) { puts("\\x"); }')
    file = builder.add_string("/a/long/way/down/to/the/directory/that/holds/f.bpf.c")
    pieces = Pieces(
        assemble(HOST.encode(CALL, 0, 1, 1), exit_(), jump_imm(BPF_JSET, 1, 1, 2), ld_imm64(0, 3), exit_()),
        func_info=pack("=IIII", 0, func, 2, func),
        line_info=pack("=IIII", 0, file, text, 7 << 10 | 3),
        btf=builder.build(),
    )
    source = '; if\\ (a\\ \\<\\ b\\ \\|\\ c)\\ \\{\\ puts(\\"\\\\x\\");\\ \\}\\l\\'
    place = "; [.../directory/that/holds/f.bpf.c line:7 col:3]\\l\\"
    assert list(dot_lines(view(pieces), linum=True)) == [
        'digraph "DOT graph for eBPF program" {',
        'subgraph "cluster_0" {',
        '\tstyle="dashed";',
        '\tcolor="black";',
        '\tlabel="func_0 ()";',
        '\tfn_0_bb_0 [shape=Mdiamond,style=filled,label="ENTRY"];',
        "",
        '\tfn_0_bb_2 [shape=record,style=filled,label="{\\',
        "; int f():\\l\\",
        place,
        source,
        "0: (85) call pc+1\\l\\",
        "| 1: (95) exit\\l\\",
        '}"];',
        "",
        '\tfn_0_bb_1 [shape=Mdiamond,style=filled,label="EXIT"];',
        "",
        f"\tfn_0_bb_0:s -> fn_0_bb_2:n {EDGE}",
        f"\tfn_0_bb_2:s -> fn_0_bb_1:n {EDGE}",
        '\tfn_0_bb_0:s -> fn_0_bb_1:n [style="invis", constraint=true];',
        "}",
        'subgraph "cluster_1" {',
        '\tstyle="dashed";',
        '\tcolor="black";',
        '\tlabel="func_1 ()";',
        '\tfn_1_bb_0 [shape=Mdiamond,style=filled,label="ENTRY"];',
        "",
        '\tfn_1_bb_2 [shape=record,style=filled,label="{\\',
        "; int f():\\l\\",
        place,
        source,
        "0: (45) if r1 \\& 0x1 goto pc+2\\l\\",
        '}"];',
        "",
        '\tfn_1_bb_3 [shape=record,style=filled,label="{\\',
        place,
        source,
        "1: (18) r0 = 0x3\\l\\",
        '| }"];',
        "",
        '\tfn_1_bb_4 [shape=record,style=filled,label="{\\',
        place,
        source,
        "3: (95) exit\\l\\",
        '}"];',
        "",
        '\tfn_1_bb_1 [shape=Mdiamond,style=filled,label="EXIT"];',
        "",
        f"\tfn_1_bb_0:s -> fn_1_bb_2:n {EDGE}",
        f"\tfn_1_bb_2:s -> fn_1_bb_3:n {EDGE}",
        f"\tfn_1_bb_2:s -> fn_1_bb_4:n {EDGE}",
        f"\tfn_1_bb_3:s -> fn_1_bb_4:n {EDGE}",
        f"\tfn_1_bb_4:s -> fn_1_bb_1:n {EDGE}",
        '\tfn_1_bb_0:s -> fn_1_bb_1:n [style="invis", constraint=true];',
        "}",
        "}",
    ]


def test_dot_with_opcodes() -> None:
    if HOST.little:
        assert "\\ \\ \\ \\ 95 00 00 00 00 00 00 00\\l\\" in list(dot_lines(view(Pieces(exit_())), opcodes=True))
