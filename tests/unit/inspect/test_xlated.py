"""A loaded program's dump: functions, source lines, names, in text and as a JSON value."""

from struct import pack

import pytest

from bpfload.btf import Btf
from bpfload.btf.writer import BtfBuilder
from bpfload.insn.assemble import assemble, call, exit_, ld_imm64, ld_map_value, load, mov64_imm, mov64_reg
from bpfload.insn.codec import BPF_DW, CALL, HOST
from bpfload.insn.disasm import Symbols
from bpfload.inspect.xlated import Pieces, json_value, plain_lines, view

BASE = 0xFFFFFFFF81200000
ENTRIES = (0xFFFFFFFFC0001000, 0xFFFFFFFFC0001040)
SYMBOLS = Symbols(BASE, {BASE - 61360: "bpf_trace_printk", ENTRIES[1]: "bpf_prog_5cad_get_opcode"}, ENTRIES)
FILE = "hello-func.bpf.c"


class Source:
    """The types and lines of samples/hello-func."""

    def __init__(self) -> None:
        builder = BtfBuilder()
        number = builder.add_int("int", 4, 1)
        context = builder.add_pointer(builder.add_fwd("bpf_raw_tracepoint_args"))
        proto = builder.add_func_proto(number, [("ctx", context)])
        self.hello = builder.add_func("hello", proto)
        self.get_opcode = builder.add_func("get_opcode", proto, 0)
        self.tagged = builder.add_func("tagged", builder.add_func_proto(number, [("p", builder.add_type_tag("x", context))]))
        self.file = builder.add_string(FILE)
        texts = ("\t int opcode = get_opcode(ctx);", '\tbpf_printk("%d", opcode);', "\treturn 0;", "\treturn ctx->args[1];")
        self.texts = [builder.add_string(text) for text in texts]
        self.btf: Btf = builder.build()

    def line(self, slot: int, text: int, number: int, column: int = 2) -> bytes:
        return pack("=IIII", slot, self.file, self.texts[text], number << 10 | column)


SOURCE = Source()
INSNS = assemble(
    HOST.encode(CALL, 0, 1, 7, 1),
    ld_map_value(1, 7319),
    mov64_imm(2, 12),
    mov64_reg(3, 0),
    call(-61360),
    mov64_imm(0, 0),
    exit_(),
    load(BPF_DW, 0, 1, 8),
    exit_(),
)
PIECES = Pieces(
    INSNS,
    func_info=pack("=IIII", 0, SOURCE.hello, 8, SOURCE.get_opcode),
    line_info=SOURCE.line(0, 0, 15, 15) + SOURCE.line(1, 1, 17) + SOURCE.line(6, 2, 18) + SOURCE.line(8, 3, 8, 9),
    jited_ksyms=ENTRIES,
    btf=SOURCE.btf,
)


def plain(pieces: Pieces, *, opcodes: bool = False, linum: bool = False) -> list[str]:
    return list(plain_lines(view(pieces, SYMBOLS), opcodes=opcodes, linum=linum))


def test_plain() -> None:
    assert plain(PIECES) == [
        "int hello(struct bpf_raw_tracepoint_args * ctx):",
        "; int opcode = get_opcode(ctx);",
        "   0: (85) call pc+7#bpf_prog_5cad_get_opcode",
        '; bpf_printk("%d", opcode);',
        "   1: (18) r1 = map[id:7319][0]+0",
        "   3: (b7) r2 = 12",
        "   4: (bf) r3 = r0",
        "   5: (85) call bpf_trace_printk#-61360",
        "; return 0;",
        "   6: (b7) r0 = 0",
        "   7: (95) exit",
        "int get_opcode(struct bpf_raw_tracepoint_args * ctx):",
        "; return ctx->args[1];",
        "   8: (79) r0 = *(u64 *)(r1 +8)",
        "   9: (95) exit",
    ]


def test_plain_with_opcodes_and_line_numbers() -> None:
    lines = plain(PIECES, opcodes=True, linum=True)
    assert lines[1] == f"; int opcode = get_opcode(ctx); [file:{FILE} line_num:15 line_col:15]"
    if HOST.little:
        assert lines[3] == "       85 10 07 00 01 00 00 00"
        assert lines[6] == "       18 21 00 00 97 1c 00 00 00 00 00 00 00 00 00 00"


def test_json_value() -> None:
    values = json_value(view(PIECES, SYMBOLS))
    assert values[0] == {
        "proto": "int hello(struct bpf_raw_tracepoint_args * ctx)",
        "src": "int opcode = get_opcode(ctx);",
        "disasm": "(85) call pc+7#bpf_prog_5cad_get_opcode",
    }
    assert values[2] == {"disasm": "(b7) r2 = 12"}
    assert len(values) == 9


def test_json_value_with_everything() -> None:
    values = json_value(view(PIECES, SYMBOLS), opcodes=True, linum=True)
    assert list(values[0]) == ["proto", "src", "file", "line_num", "line_col", "disasm", "opcodes"]
    assert (values[0]["file"], values[0]["line_num"], values[0]["line_col"]) == (FILE, 15, 15)
    if HOST.little:
        assert values[1]["opcodes"] == {
            "code": "0x18",
            "src_reg": "0x2",
            "dst_reg": "0x1",
            "off": ["0x00", "0x00"],
            "imm": ["0x97", "0x1c", *["0x00"] * 10],
        }


def test_without_types() -> None:
    bare = Pieces(INSNS, func_info=PIECES.func_info, line_info=PIECES.line_info)
    lines = list(plain_lines(view(bare)))
    assert lines[0] == "   0: (85) call pc+7"
    assert lines[-1] == "   9: (95) exit"
    assert len(lines) == 9


def test_a_prototype_without_words_is_left_out() -> None:
    pieces = Pieces(exit_(), func_info=pack("=II", 0, SOURCE.tagged), btf=SOURCE.btf)
    assert plain(pieces) == ["   0: (95) exit"]


def test_longer_records_of_newer_kernels() -> None:
    pieces = Pieces(
        exit_(),
        func_info=pack("=III", 0, SOURCE.hello, 99),
        func_info_rec_size=12,
        line_info=SOURCE.line(0, 2, 18) + bytes(8),
        line_info_rec_size=24,
        btf=SOURCE.btf,
    )
    assert plain(pieces)[:2] == ["int hello(struct bpf_raw_tracepoint_args * ctx):", "; return 0;"]


def test_two_lines_of_one_instruction() -> None:
    lines = SOURCE.line(0, 0, 15) + SOURCE.line(1, 1, 17) + SOURCE.line(1, 2, 18)
    pieces = Pieces(ld_imm64(1, 5) + exit_(), line_info=lines, btf=SOURCE.btf)
    assert plain(pieces) == ["; int opcode = get_opcode(ctx);", "   0: (18) r1 = 0x5", "; return 0;", "   2: (95) exit"]


def test_offsets_outside_the_strings() -> None:
    pieces = Pieces(exit_(), line_info=pack("=IIII", 0, 1 << 20, 1 << 20, 0), btf=SOURCE.btf)
    assert plain(pieces, linum=True) == ["   0: (95) exit"]
    assert json_value(view(pieces), linum=True) == [{"disasm": "(95) exit"}]


def test_a_line_without_text_or_number() -> None:
    pieces = Pieces(exit_(), line_info=pack("=IIII", 0, 0, 0, 0), btf=SOURCE.btf)
    assert plain(pieces, linum=True) == [";  [file: line_num:0 line_col:0]", "   0: (95) exit"]
    assert json_value(view(pieces), linum=True) == [{"src": "", "file": "", "disasm": "(95) exit"}]


JITED_LINES = (ENTRIES[0], ENTRIES[0] + 5, ENTRIES[0] + 40, ENTRIES[1])


@pytest.mark.parametrize(
    ("addresses", "sizes", "shown"),
    [
        (JITED_LINES, (64, 16), True),
        (JITED_LINES[:3], (64, 16), True),  # not one for each line: nothing to compare
        (JITED_LINES, (64,), True),
        ((ENTRIES[0] + 1, *JITED_LINES[1:]), (64, 16), False),  # the first line isn't the first function's
        ((*JITED_LINES[:3], ENTRIES[1] + 1), (64, 16), False),  # no line where the second function starts
        ((*JITED_LINES[:2], JITED_LINES[1], ENTRIES[1]), (64, 16), False),  # not growing
        (JITED_LINES, (40, 16), False),  # a line after the function's end
    ],
)
def test_lines_that_libbpf_gives_up_on(addresses: tuple[int, ...], sizes: tuple[int, ...], shown: bool) -> None:
    pieces = Pieces(
        INSNS, line_info=PIECES.line_info, jited_ksyms=ENTRIES, jited_func_lens=sizes, jited_line_info=addresses, btf=SOURCE.btf
    )
    assert any(line.startswith(";") for line in plain(pieces)) is shown
