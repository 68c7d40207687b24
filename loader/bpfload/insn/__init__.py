"""BPF instructions: fields of packed slots, small assembler helpers, the disassembler, the program tag."""
