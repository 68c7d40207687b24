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
  -B, --base-btf FILE
                  the types that a module's build on: those of its kernel, instead of the running one's
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
  bpfload apply FILE.toml                  do both until everything is as a file declares it
  bpfload attach | detach                  what is loaded already, on hooks and off
  bpfload apply FILE.toml                  bring the machine to the state that a file declares
  bpfload prog | map | link | btf | net    what is in the kernel
  bpfload cgroup | feature | token         what is attached to cgroups; what the kernel can do; what it delegates
  bpfload inspect OBJECT.bpf.o             what is in an object file
  bpfload check OBJECT.bpf.o…              would this kernel load each program?
  bpfload struct_ops | iter | perf         tables that the kernel calls; iterators; programs at probes without a link
  bpfload gen                              from object files: one of several, Python modules, the BTF that they need
  bpfload graph | top                      all of it as a picture; what is busy
  bpfload batch file FILE                  many commands at once
  bpfload completion bash | zsh | fish     for the shell's configuration
  bpfload version
  bpfload help [COMMAND]

Any beginning of a word will do (`bpfload p s` is `bpfload prog show`); without a second word, prog, map, link, btf and net show
everything.

""",
    "prog": f"""\
  bpfload prog [{{ show | list }} [PROG]]           programs, all or some
  bpfload prog dump xlated PROG [file FILE]       their instructions, written to a file
  bpfload prog dump xlated PROG [opcodes] [linum] … shown, with the bytes, with files and line numbers
  bpfload prog dump xlated PROG visual [svg]      … as a graph of the control flow, in DOT or as a picture
  bpfload prog dump jited PROG [file FILE]        the machine code made of them, written to a file
  bpfload prog dump jited PROG [opcodes] [linum]  … shown; takes the capstone package (pip install 'bpfload[jit]')
  bpfload prog pin PROG PATH                      pin one
  bpfload prog {{ load | loadall }} OBJECT.bpf.o PATH [type TYPE] [map {{ idx N | name NAME }} MAP] [pinmaps DIR] [autoattach]
                                  [{{ offload_dev | xdpmeta_dev }} IF] [kernel_btf FILE]
                                                  load an object file and pin its first program at PATH, or all in PATH
  bpfload prog {{ attach | detach }} PROG {{ sk_msg_verdict | sk_skb_verdict | sk_skb_stream_verdict | sk_skb_stream_parser }} MAP
                                                  a program that sees what the sockets in a map send or receive
  bpfload prog {{ attach | detach }} PROG flow_dissector
                                                  … that takes packets of this network namespace apart
  bpfload prog run PROG [data_in FILE] [data_out FILE] [data_size_out BYTES] [ctx_in FILE] [ctx_out FILE] [ctx_size_out BYTES]
                        [repeat N]                run one on a packet, a context (-: standard input, output)
  bpfload prog profile PROG [duration SECONDS] METRIC…
                                                  count what the processor does in it, up to 4 metrics; until interrupted
  bpfload prog tracelog [PROG]                    what bpf_printk() prints, until interrupted: all, or one program's
  bpfload prog tracelog {{ stdout | stderr }} PROG  what one program has printed to its own streams (Linux 6.17)

  {_PROGRAM}
  {_MAP}
  METRIC := {{ cycles | instructions | l1d_loads | llc_misses | itlb_misses | dtlb_misses }}

load and loadall are bpftool's: one pin for each program, or with autoattach for the link of each that attaches by what SEC()
says. type: what all programs are, instead of what SEC() says. map: use a map that is there instead of a new one; idx counts the
object's maps from 0. `bpfload OBJECT.bpf.o PATH` does more: it attaches, sets globals, replaces what is there.

""",
    "map": f"""\
  bpfload map [{{ show | list }} [MAP]]             maps, all or some
  bpfload map dump MAP [TYPED]                    what is in them, by type where they have BTF
  bpfload map lookup MAP [key DATA] [.MEMBER…] [TYPED]
                                                  one element, or members of its value
  bpfload map update MAP [key DATA] [value VALUE] [any | exist | noexist] [TYPED]
                                                  store one: any way, only over one, only as a new one
  bpfload map delete MAP key DATA [TYPED]         delete one
  bpfload map getnext MAP [key DATA] [TYPED]      the key after that one, or the first
  bpfload map peek | pop | dequeue MAP [TYPED]    what is next in a queue or stack, left there or taken out
  bpfload map push | enqueue MAP value VALUE      put something on a queue or stack
  bpfload map create PATH type TYPE key BYTES value BYTES entries N name NAME [flags N] [inner_map MAP] [offload_dev IF]
                                                  make a map and pin it
  bpfload map pin MAP PATH                        pin one
  bpfload map freeze MAP                          make it read-only for user space, for good
  bpfload map event_pipe MAP [cpu N index M]      the events of a perf_event_array
  bpfload map watch MAP [type STRUCT] [btf FILE] [count N] [seconds S] [quiet]
                                                  events of a ring or perf buffer as they come, by their type
  bpfload map watch MAP [interval S] [count N] [seconds S]
                                                  what is in any other map, as it changes, with rates

  {_MAP}
  {_PROGRAM}
  VALUE := {{ DATA | MAP | PROG }}, the latter in maps of maps and arrays of programs
  DATA  := {{ BYTE… | hex BYTE… | WORD | typed WORD | json JSON }}

As many BYTEs as the key or value has always mean those bytes. One WORD that isn't that goes by the type: a number, an enum's
name, an address (10.0.0.1, fe80::1, a MAC; 10.0.0.0/8 in an lpm_trie), text for an array of char, or JSON in quotes:
'{{"packets": 5}}'. What JSON leaves out of a struct is 0. `typed` before WORD removes all doubt (a WORD such as `any`).

  TYPED := {{ --typed | --readable | --network NAME,… }}

  --typed         values by their types, in -j as JSON that `value` takes back; numbers of __be types are what they mean
  --readable      the same, and addresses as text where the type or the member's name says that it is one
  --network NAME  members (key, value: the whole) that are in network byte order though no type says so

""",
    "link": f"""\
  bpfload link [{{ show | list }} [LINK]]           links, all or one
  bpfload link pin LINK PATH                      pin it
  bpfload link detach LINK                        detach it from its hook, whoever else holds it
  bpfload link update LINK NEW [old NEW]          put another program in its place, in one step; only if it has `old` now

  NEW  := {{ PROG | map MAP }}, the latter for struct_ops
  {_LINK}
  {_PROGRAM}
  {_MAP}

""",
    "btf": f"""\
  bpfload btf [{{ show | list }} [id ID]]           BTF objects: who uses them
  bpfload btf dump SOURCE [format raw]            types as they stand there
  bpfload btf dump SOURCE format c [unsorted]     … as a C header, sorted by kind and name

  SOURCE := {{ id ID | prog PROG | map MAP [{{ key | value | kv | all }}] | file FILE }}
  {_PROGRAM}
  {_MAP}

  Words after the format: root_id ID … shows that type alone (in C with all that it needs); -j … format c gives {{"c": "…"}}.

""",
    "gen": """\
  bpfload gen object OUTPUT OBJECT.bpf.o…          link object files into one
  bpfload gen skeleton OBJECT.bpf.o [name NAME]    a Python module with the object in it: its programs, maps and variables by name
                                                  and type
  bpfload gen subskeleton OBJECT.bpf.o [name NAME]
                                                  the same for an object that somebody else has loaded
  bpfload gen min_core_btf KERNEL OUTPUT OBJECT.bpf.o…
                                                  the few types of a kernel's BTF that these objects' CO-RE relocations need

KERNEL is a BTF file, such as /sys/kernel/btf/vmlinux, or a kernel image with a .BTF section. NAME is what the classes are named
after, if not the file.

""",
    "net": f"""\
  bpfload net [{{ show | list }} [dev IF]]                        what is attached to network devices
  bpfload net attach MODE PROG dev IF [overwrite]               attach an XDP program
  bpfload net detach MODE dev IF                                detach it
  bpfload net attach TCX PROG dev IF [prepend]                  attach a tc program behind those that are there, or before them
  bpfload net detach TCX dev IF                                 detach the last of them

Several XDP programs on one device, which run one after the other:
  bpfload net attach MODE object FILE [program NAME] dev IF chain [priority N] [actions A,B]
                                                                load a program and put it among them
  bpfload net attach MODE PROG dev IF chain [priority N] [actions A,B]
                                                                the same with one that is in a chain elsewhere
  bpfload net detach MODE PROG dev IF chain                     take one away
  bpfload net detach MODE dev IF chain                          take all of them away

  MODE := {{ xdp | xdpgeneric | xdpdrv | xdpoffload }}
  TCX  := {{ tcx_ingress | tcx_egress }}
  {_PROGRAM}

Low priorities run first; the next program runs if one returns one of its actions (aborted, drop, pass, tx, redirect; or none).
Without these words the object's XDP_RUN_CONFIG() says both, as for xdp-loader; or else it is 50 and pass.

An XDP program that was attached by `bpfload OBJECT PATH --dev IF` hangs on a link: see `bpfload link`, or unload PATH.

""",
    "cgroup": f"""\
  bpfload cgroup {{ show | list }} CGROUP [effective]             what is attached to a cgroup; effective: from above too
  bpfload cgroup tree [CGROUP] [effective]                      … and to all below it; without CGROUP, to all
  bpfload cgroup attach CGROUP HOOK PROG [multi | override]     attach a program, without a link
                               [before PROG | after PROG | first | last] [preorder] [replace PROG]
  bpfload cgroup detach CGROUP HOOK PROG                        detach it

  HOOK   := ingress, egress, sock_create, sock_release, sock_ops, device, sysctl, getsockopt, setsockopt, {{bind|post_bind|
            connect|sendmsg|recvmsg|getpeername|getsockname}}{{4|6}}, or a full name as `bpfload feature list attach` has it
  {_PROGRAM}

Putting a program before or after others takes Linux 6.17, and implies multi.

""",
    "feature": """\
  bpfload feature probe [kernel | dev IF] [full] [unprivileged] [macros [prefix PREFIX]] [link_types] [kfuncs]
  bpfload feature list_builtins { prog_types | map_types | attach_types | link_types | helpers }

probe asks the running kernel, or a network card, for program types, map types, helpers and more, by trying. full: also for
helpers that make the kernel log a warning. unprivileged: as a process without capabilities. macros: print what a C program can
include. link_types, kfuncs: ask for these too, which bpftool doesn't.

""",
    "token": """\
  bpfload token [show | list]                     what mounted bpffs delegate: the rights of BPF tokens made from them

""",
    "perf": """\
  bpfload perf [{ show | list }]                  programs that processes hold at tracepoints and probes, by file descriptor

What is attached by a link, as `bpfload` itself does it, is in `bpfload link`.

""",
    "struct_ops": """\
  bpfload struct_ops [{ show | list } [TABLE]]    tables of functions that the kernel calls (struct_ops), all or some
  bpfload struct_ops dump [TABLE]                 their functions and values
  bpfload struct_ops register OBJECT.bpf.o [DIR]  register all that are in an object file; pin links in DIR
  bpfload struct_ops unregister TABLE             take out what is registered without a link

  TABLE := { id ID | name NAME }

What is in SEC(".struct_ops") stays registered until it is unregistered; what is in SEC(".struct_ops.link"), as long as its
link is pinned in DIR.

""",
    "iter": f"""\
  bpfload iter pin OBJECT.bpf.o PATH [OVER]       load an iterator and pin it: reading PATH runs it
  bpfload iter cat OBJECT.bpf.o [OVER]            print what an iterator writes, and leave nothing in the kernel
  bpfload iter cat PATH                           print what a pinned iterator writes

  OVER  := [program NAME] [map MAP | pid PID | tid TID | cgroup DIRECTORY-OR-ID [ORDER]]
  ORDER := {{ self | descendants | descendants_post | ancestors | children }}
  {_MAP}

Without NAME it is the object's first program.

""",
    "batch": """\
  bpfload batch file FILE                         run the commands in FILE (-: standard input), up to the first that fails

One command a line, without the word bpfload; "#" begins a comment, a backslash at its end continues a line, quotation marks keep
blanks in a word. The options stand on bpfload's own command line.

""",
    "graph": f"""\
  bpfload graph [dot | svg | mermaid]             programs, maps, links, pins, devices, cgroups, processes: who holds what
  bpfload graph [dot | svg | mermaid] THING…      what belongs together with these

  THING := {{ prog PROG | map MAP | link LINK | dev IF }}
  {_PROGRAM}
  {_MAP}
  {_LINK}

svg takes graphviz; -j gives nodes and edges.

""",
    "top": """\
  bpfload top [sort COLUMN] [interval S] [count N] [rows N]
                                                  programs by run time and calls, live (pip install 'bpfload[top]')

  COLUMN := { cpu | rate | each | time | calls | name | id }

On a terminal c r e t a n i choose the column, q ends it. Through a pipe it prints a table each interval, with -j a line of JSON.

""",
    "completion": """\
  bpfload completion { bash | zsh | fish }        print what makes the shell complete bpfload's command lines

  bash: source <(bpfload completion bash)         in ~/.bashrc
  zsh:  source <(bpfload completion zsh)          in ~/.zshrc, behind compinit
  fish: bpfload completion fish | source          in ~/.config/fish/config.fish

Ids, names, tags, pins and network devices are those of the running kernel.

""",
    "load": """\
  bpfload OBJECT.bpf.o PATH [OPTIONS]             load an object file and pin its programs at PATH
  bpfload load …                                  the same

PATH is on a BPF file system, usually below /sys/fs/bpf. An object with several programs makes PATH a directory with a pin for
each. The link that keeps a program attached is pinned at PATH_link.

--attach attaches what SEC() says all of; --dev, --cgroup, --netns, --map, --netfilter, --event, --pid each attach all programs
that they fit; --target says what SEC() leaves open, in SEC()'s own words: sched/sched_switch, /bin/bash:readline, do_unlinkat+4.
Of two words behind --attach that could be NAME and PATH the last is PATH.

--replace loads beside what is pinned at PATH, goes exactly where that is attached, keeps what is in the maps, and then takes its
place in one step: no packet or call goes without a program. A hook that can't be given another program in place (tracepoints,
probes, fentry, lsm) has both for a moment. Maps that don't fit any more make it fail, and say in what, unless --fresh-maps (or
--fresh-map MAP) starts them anew; --keep-maps also fails where a map is no longer in the object. If anything fails the old one
stays as it is.

--set NAME=VALUE goes by the variable's type: -1, 0x10, true, an enum's name, text for an array of char, JSON for structs and
arrays; NAME may be a part of it: limits.burst, ports[2].

Instead of root it takes CAP_BPF, with CAP_NET_ADMIN for programs of the network and CAP_PERFMON for those that trace; in a user
namespace, a BPF token: from the mount that --token names, else LIBBPF_BPF_TOKEN_PATH, else /sys/fs/bpf. --pin-mode, --pin-owner
and --pin-group are set before PATH appears, on pins and on directories that are made; --replace keeps those of what it replaces.

""",
    "unload": """\
  bpfload unload PATH…                            detach what is attached there, remove the pins, say what remains

""",
    "attach": f"""\
  bpfload attach PATH… [OPTIONS]                  attach programs that are pinned there, or in that directory
  bpfload attach PROG… [OPTIONS]                  attach programs that are loaded

The link is pinned at PATH_link, where `bpfload unload PATH` finds it, or where --pin says.

  {_PROGRAM}

""",
    "detach": f"""\
  bpfload detach PATH… [--dry-run]                take programs off wherever they are attached; they stay loaded
  bpfload detach PROG… [--dry-run]

  {_PROGRAM}

""",
    "apply": """\
  bpfload apply FILE                              load, replace and unload until everything is as FILE says
  bpfload apply FILE --diff                       only show what would be done, and why

FILE is TOML: a name, by which it finds again what it once brought, and a table for each object.

  name = "lab"
  [object.hello]
  file = "hello.bpf.o"            # relative to FILE
  pin = "/sys/fs/bpf/hello"       # without it: /sys/fs/bpf/ and the object's name
  dev = "eth0"
  [object.hello.set]
  limit = 5
  [object.hello.program.on_exit]  # where to attach just this program
  target = "sched/sched_process_exit"

Keys are the words of the load command's options: programs, attach (true: all that SEC() says where; false: nothing), dev, mode,
direction, cgroup, netns, pid, map, netfilter, event, frequency, period, cpu, before, after, priority, defragment, target, chain,
actions, set, pin-maps, pin-mode, pin-owner, pin-group, kconfig, kernel-btf, attach-to, token. maps says what becomes of maps in a
replacement: "keep" (one that doesn't fit makes it fail), "keep-all", "fit" (such a map starts anew), "fresh"; fresh-maps: some.

What is in place is left alone; a changed object file, value or attachment is a replacement as --replace makes it; a pin or
link that is gone, or a device that is another one, is repaired; what FILE no longer names, of what it once brought, goes. If
something is wrong with FILE or an object file nothing is done; what the kernel refuses stays as it was, and the other objects
go on. Directories that are missing on the BPF file system are made. What FILE has brought is remembered there, in links that
end in _bpfload_applied.

The exit status is 1 if an object failed; with --diff 0 for nothing to do, 1 for something, 2 for trouble.

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


def text_of(command: str) -> str:
    """Return the forms of a command, "" for one that has none."""
    return _TEXTS.get(command, "")


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
