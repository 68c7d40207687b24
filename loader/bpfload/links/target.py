"""Where to attach, as far as a program's SEC() doesn't say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: A `Target.pid` for what is to be for every process, said on purpose: a replacement tells it from a pid that was forgotten.
EVERY_PROCESS = -2


@dataclass(frozen=True, slots=True)
class Order:
    """A place among the programs at one hook, for hooks that keep them in order (tcx, netkit, cgroup since Linux 6.17).

    `before`, `after`: what to stand next to, ``"first"`` / ``"last"`` for the ends, or ``"program:ID"`` / ``"link:ID"``.
    `replace`: fd of the program whose place to take (cgroup, tcx without link). `revision`: attach only if the hook's list
    still is that one, 0: any. `preorder`: of a cgroup, to be run before the programs of the cgroups below (Linux 6.15).

    Source: BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID, BPF_F_LINK, BPF_F_PREORDER in include/uapi/linux/bpf.h.
    """

    before: str = ""
    after: str = ""
    replace: int = -1
    revision: int = 0
    preorder: bool = False


@dataclass(slots=True, eq=False)
class Target:
    """Where to attach. Each hook reads what it needs, and complains of what is missing.

    `attach_type`: instead of the one in SEC() (enum bpf_attach_type, -1: that of SEC()). `device`: name of a network device (xdp,
    tc, tcx, netkit). `mode`: of XDP: "auto" (the driver's choice), "native", "generic", "offload". `name`: tracepoint
    ("category/name"), raw tracepoint, kernel function, syscall, or USDT ("provider:name"). `offset`: bytes from the function's
    start. `pattern`: with "*" and "?", for the multi kinds; `symbols`, `addresses`, `offsets`, `cookies`: the same as lists.
    `ref_ctr_offset`, `ref_ctr_offsets`: of a uprobe, where in the file a counter is that is 1 more while it is attached.
    `is_return`: probe the return (None: as SEC() says). `binary`: path of a program or library, or a bare library name. `pid`:
    of one process, 0 for this one, -1 or `EVERY_PROCESS` for all. `cgroup`: path of a cgroup directory. `override`, `multi`: how
    a cgroup's program without link shares with those below. `netns`: path of a network namespace, "" for the own one. `map_fd`: a
    sockmap, or the map that an iterator walks. `tid`: an iterator over one task. `cgroup_order`: of a cgroup iterator: "self",
    "descendants", "descendants_post", "ancestors", "children". `socket_fd`: a socket (socket filter, sk_reuseport).
    `program_fd`, `function`: what freplace replaces, if not what it was loaded for. `cookie`: a number that the program can ask
    for. `order`: the place among others. `family`, `hook`, `priority`, `defragment`: of netfilter, as in
    `bpfload.links.netfilter`; `priority`, `handle`, `parent` of a tc filter. `event_type`, `event_config`, `sample_period`,
    `sample_frequency`, `cpu`: of a perf event. `link`: False to use the older form without a link on purpose. `maps`: fds by
    name of maps that attaching fills (USDT's __bpf_usdt_specs and __bpf_usdt_ip_to_spec_id). `map`: instead of `map_fd`, for
    `bpfload.deploy`: the name of a map of the same object, or the path of a pinned one.
    """

    attach_type: int = -1
    device: str = ""
    mode: str = "auto"
    name: str = ""
    offset: int = 0
    pattern: str = ""
    symbols: tuple[str, ...] = ()
    addresses: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()
    ref_ctr_offset: int = 0
    ref_ctr_offsets: tuple[int, ...] = ()
    cookies: tuple[int, ...] = ()
    is_return: bool | None = None
    binary: str = ""
    pid: int = -1
    cgroup: str = ""
    override: bool = False
    multi: bool = False
    netns: str = ""
    map_fd: int = -1
    tid: int = 0
    cgroup_order: str = ""
    socket_fd: int = -1
    program_fd: int = -1
    function: str = ""
    cookie: int = 0
    order: Order = field(default_factory=Order)
    family: str = ""
    hook: str = ""
    priority: int = 0
    defragment: bool = False
    handle: int = 0
    parent: str = ""
    event_type: str | int = ""
    event_config: str | int = ""
    sample_period: int = 0
    sample_frequency: int = 0
    cpu: int = -1
    link: bool = True
    maps: Mapping[str, int] = field(default_factory=dict)
    map: str = ""
