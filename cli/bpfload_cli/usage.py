"""What can be said on the command line, for people."""

from __future__ import annotations

from bpfload_cli.session import Session

_OPTIONS = """\
OPTIONS, anywhere on the line:
  -j, --json      print JSON
  -p, --pretty    print JSON over several lines
  -f, --bpffs     show where objects are pinned
  -d, --debug     whole verifier logs; tracebacks of bpfload's own mistakes
  -n, --nomount   mount nothing
  -m, --mapcompat accepted, and not needed
  -V, --version   the same as `bpfload version`
  -h, --help      help for the command on the line
"""

_PROGRAM = "PROG := { id ID | tag TAG | name NAME | pinned PATH }"
_MAP = "MAP  := { id ID | name NAME | pinned PATH }"
_LINK = "LINK := { id ID | pinned PATH }"

_TEXTS = {
    "": """\
bpfload loads BPF objects, pins them, and shows what is in the kernel.

  bpfload OBJECT.bpf.o PATH [--dev IF] …   load an object file, attach it, pin it at PATH
  bpfload unload PATH…                     take it away again
  bpfload prog | map | link | btf | net    what is in the kernel
  bpfload inspect OBJECT.bpf.o             what is in an object file
  bpfload check OBJECT.bpf.o…              would this kernel load each program?
  bpfload version
  bpfload help [COMMAND]

Any beginning of a word will do (`bpfload p s` is `bpfload prog show`); without a second word, prog, map, link, btf and net show
everything.

""",
    "prog": f"""\
  bpfload prog [{{ show | list }} [PROG]]           programs, all or some
  bpfload prog dump xlated PROG [file FILE]       their instructions, written to a file
  bpfload prog dump xlated PROG [opcodes] [linum] … shown, with the bytes, with files and line numbers
  bpfload prog dump xlated PROG visual            … as a graph of the control flow, in DOT
  bpfload prog pin PROG PATH                      pin one
  bpfload prog tracelog                           what bpf_printk() prints, until interrupted
  bpfload prog tracelog {{ stdout | stderr }} PROG  what one program has printed to its own streams (Linux 6.17)

  {_PROGRAM}

""",
    "map": f"""\
  bpfload map [{{ show | list }} [MAP]]             maps, all or some
  bpfload map dump MAP                            what is in them, by type where they have BTF
  bpfload map pin MAP PATH                        pin one

  {_MAP}

""",
    "link": f"""\
  bpfload link [{{ show | list }} [LINK]]           links, all or one
  bpfload link pin LINK PATH                      pin it
  bpfload link detach LINK                        detach it from its hook, whoever else holds it

  {_LINK}

""",
    "btf": """\
  bpfload btf [{ show | list } [id ID]]           BTF objects: who uses them

""",
    "net": f"""\
  bpfload net [{{ show | list }} [dev IF]]                        what is attached to network devices
  bpfload net attach MODE PROG dev IF [overwrite]               attach an XDP program
  bpfload net detach MODE dev IF                                detach it

  MODE := {{ xdp | xdpgeneric | xdpdrv | xdpoffload }}
  {_PROGRAM}

An XDP program that was attached by `bpfload OBJECT PATH --dev IF` hangs on a link: see `bpfload link`, or unload PATH.

""",
    "load": """\
  bpfload OBJECT.bpf.o PATH [OPTIONS]             load an object file and pin its programs at PATH
  bpfload load …                                  the same

PATH is on a BPF file system, usually below /sys/fs/bpf. An object with several programs makes PATH a directory with a pin for
each. The link that keeps a program attached is pinned at PATH_link.

""",
    "unload": """\
  bpfload unload PATH…                            detach what is attached there, remove the pins, say what remains

""",
    "inspect": """\
  bpfload inspect OBJECT.bpf.o…                   programs, maps, globals, relocations; needs no root and no kernel
  bpfload inspect OBJECT.bpf.o… --kernel-btf FILE…
                                                  how its CO-RE relocations come out on the kernels with that BTF

""",
    "check": """\
  bpfload check OBJECT.bpf.o… [OPTIONS]           would this kernel load each program? Nothing is pinned or attached

The exit status is 1 if any program is refused.

""",
    "version": """\
  bpfload version                                 versions of bpfload and of what it runs on

""",
    "help": """\
  bpfload help [COMMAND]                          this, or the forms of one command

""",
}


def show_usage(session: Session, command: str) -> None:
    """Print the forms of a command ("": all commands); null as JSON, as bpftool does."""
    if session.json:
        session.data(None)
        return
    session.write(_TEXTS.get(command, _TEXTS[""]) + _own_options(command) + _OPTIONS)


def _own_options(command: str) -> str:
    """Return what a command says of its own options, "" for one that has only words."""
    if not command:
        return ""
    from bpfload_cli.table import COMMANDS

    rows = []
    for parameter in getattr(COMMANDS.get_command(None, command), "params", ()):
        names = [name for name in parameter.opts if name.startswith("-")]
        if names:
            value = "" if getattr(parameter, "is_flag", False) else f" {parameter.metavar or 'VALUE'}"
            rows.append((", ".join(names) + value, getattr(parameter, "help", None) or ""))
    width = max((len(name) for name, _ in rows), default=0)
    lines = "".join(f"  {name:<{width}}  {text}\n" for name, text in rows)
    return f"Its own options:\n{lines}\n" if lines else ""
