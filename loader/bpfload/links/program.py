"""A program, and the ways to attach it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from bpfload.objects.program import Program

if TYPE_CHECKING:
    from bpfload.links.target import Order, Target
    from bpfload.objects.attachment import Attachment
    from bpfload.objects.iterator import IteratorLink
    from bpfload.objects.map import Map
    from bpfload.spec import ProgramSpec


class AttachableProgram(Program):
    """A program in the kernel that knows how to attach itself: what `bpfload.load` returns, and `bpfload.Program`.

    Every `attach…` returns an `Attachment` that the caller owns: `info`, `update`, `pin`, `detach`, `close`, for use in `with`.
    All raise UsageError for a target that is incomplete or makes no sense, NotFoundError for one that isn't there, KernelError
    where the kernel refuses, with the reason as far as it can be found.
    """

    __slots__ = ("_spec", "object_maps")

    def __init__(self, fd: int, spec: ProgramSpec | None = None, maps: Mapping[str, Map] | None = None) -> None:
        super().__init__(fd)
        self._spec = spec
        #: The maps of the object that it was loaded with, by name; owned by that. USDT describes arguments there.
        self.object_maps = maps or {}

    @property
    def spec(self) -> ProgramSpec:
        """What it was loaded from; for one that was opened by id or pin, what the kernel tells of it: name and type."""
        if self._spec is None:
            from bpfload.spec import ProgramSpec

            info = self.info()
            self._spec = ProgramSpec(info.name, "", 0, b"", type=info.type)
        return self._spec

    def attach(self, target: Target | None = None) -> Attachment:
        """Attach where SEC() says, or where `target` says."""
        from bpfload.links import attach

        return attach(self, self.spec, target)

    def _attach_to(self, hook: str, target: Target) -> Attachment:
        from bpfload.links import attach_to

        return attach_to(hook, self, self.spec, target)

    # --- network devices --------------------------------------------------------------------------------------------

    def attach_xdp(self, device: str, *, mode: str = "auto", link: bool = True) -> Attachment:
        """Attach to a network device. `mode`: "auto", "native", "generic", "offload". `link`: False for the netlink form."""
        from bpfload.links.target import Target

        return self._attach_to("xdp", Target(device=device, mode=mode, link=link))

    def attach_tc(self, device: str, direction: str = "ingress", *, priority: int = 0, handle: int = 0) -> Attachment:
        """Attach as a direct-action filter of clsact. `direction`: "ingress" or "egress". `priority`: 0: the kernel chooses."""
        from bpfload.links.target import Target

        return self._attach_to("tc", Target(device=device, parent=direction, priority=priority, handle=handle))

    def attach_tcx(self, device: str, direction: str = "", *, order: Order | None = None) -> Attachment:
        """Attach to tcx (Linux 6.6). `direction`: "ingress", "egress", or "" for what SEC() says."""
        from bpfload.links.target import Order, Target

        return self._attach_to("tcx", Target(device=device, parent=direction, order=order or Order()))

    def attach_netkit(self, device: str, end: str = "", *, order: Order | None = None) -> Attachment:
        """Attach to a netkit device (Linux 6.7). `end`: "primary", "peer", or "" for what SEC() says."""
        from bpfload.links.target import Order, Target

        return self._attach_to("netkit", Target(device=device, parent=end, order=order or Order()))

    # --- control groups, namespaces, sockets ------------------------------------------------------------------------

    def attach_cgroup(
        self,
        cgroup: str | os.PathLike[str],
        *,
        attach_type: int = -1,
        multi: bool = False,
        override: bool = False,
        order: Order | None = None,
        link: bool = True,
    ) -> Attachment:
        """Attach to a cgroup (version 2). `multi`, `override`: of the form without link, which they choose."""
        from bpfload.links.target import Order, Target

        target = Target(attach_type, cgroup=os.fspath(cgroup), multi=multi, override=override, order=order or Order())
        target.link = link and not (multi or override)
        return self._attach_to("cgroup", target)

    def attach_netns(self, netns: str | os.PathLike[str] = "") -> Attachment:
        """Attach a flow dissector or sk_lookup program to a network namespace, "": the own one."""
        from bpfload.links.target import Target

        return self._attach_to("netns", Target(netns=os.fspath(netns)))

    def attach_netfilter(self, family: str, hook: str, *, priority: int = 0, defragment: bool = False) -> Attachment:
        """Attach to a netfilter hook (Linux 6.4). `family`: "ip", "ip6"; `hook`: "prerouting", "input", …"""
        from bpfload.links.target import Target

        return self._attach_to("netfilter", Target(family=family, hook=hook, priority=priority, defragment=defragment))

    def attach_sockmap(self, sockets: Map, *, attach_type: int = -1, link: bool = True) -> Attachment:
        """Attach an sk_msg or sk_skb program to a sockmap or sockhash."""
        from bpfload.links.target import Target

        return self._attach_to("sockmap", Target(attach_type, map_fd=sockets.fd, link=link))

    def attach_socket(self, socket_fd: int) -> Attachment:
        """Attach a socket filter, or an sk_reuseport program, to a socket, whose owner keeps it open."""
        from bpfload.links.target import Target

        return self._attach_to("socket_filter", Target(socket_fd=socket_fd))

    # --- tracing ----------------------------------------------------------------------------------------------------

    def attach_tracepoint(self, name: str, *, cookie: int = 0) -> Attachment:
        """Attach to a trace event, "category/name"."""
        from bpfload.links.target import Target

        return self._attach_to("tracepoint", Target(name=name, cookie=cookie))

    def attach_raw_tracepoint(self, name: str, *, cookie: int = 0) -> Attachment:
        """Attach to a raw tracepoint."""
        from bpfload.links.target import Target

        return self._attach_to("raw_tracepoint", Target(name=name, cookie=cookie))

    def attach_kprobe(self, function: str, *, offset: int = 0, is_return: bool | None = None, cookie: int = 0) -> Attachment:
        """Attach to a kernel function's entry (or `offset` bytes behind it), or to its return."""
        from bpfload.links.target import Target

        return self._attach_to("kprobe", Target(name=function, offset=offset, is_return=is_return, cookie=cookie))

    def attach_kprobe_multi(
        self,
        pattern: str = "",
        *,
        symbols: Sequence[str] = (),
        addresses: Sequence[int] = (),
        cookies: Sequence[int] = (),
        is_return: bool | None = None,
    ) -> Attachment:
        """Attach to many kernel functions at once (Linux 5.18): those that match a pattern ("*", "?"), or those named."""
        from bpfload.links.target import Target

        target = Target(pattern=pattern, symbols=tuple(symbols), addresses=tuple(addresses), is_return=is_return)
        target.cookies = tuple(cookies)
        return self._attach_to("kprobe_multi", target)

    def attach_ksyscall(self, name: str, *, is_return: bool | None = None, cookie: int = 0) -> Attachment:
        """Attach to the kernel's function for a system call, whatever it is called on this machine."""
        from bpfload.links.target import Target

        return self._attach_to("ksyscall", Target(name=name, is_return=is_return, cookie=cookie))

    def attach_uprobe(
        self,
        binary: str | os.PathLike[str],
        function: str = "",
        *,
        offset: int = 0,
        pid: int = -1,
        is_return: bool | None = None,
        cookie: int = 0,
        ref_ctr_offset: int = 0,
    ) -> Attachment:
        """Attach to a function in a program or library (a path, or a bare name), or to an offset in the file.

        `pid`: of one process, -1: all. `ref_ctr_offset`: where in the file a counter is that is 1 more while it is attached.
        """
        from bpfload.links.target import Target

        target = Target(name=function, binary=os.fspath(binary), offset=offset, pid=pid, is_return=is_return, cookie=cookie)
        target.ref_ctr_offset = ref_ctr_offset
        return self._attach_to("uprobe", target)

    def attach_uprobe_multi(
        self,
        binary: str | os.PathLike[str],
        pattern: str = "",
        *,
        symbols: Sequence[str] = (),
        offsets: Sequence[int] = (),
        ref_ctr_offsets: Sequence[int] = (),
        cookies: Sequence[int] = (),
        pid: int = -1,
        is_return: bool | None = None,
    ) -> Attachment:
        """Attach to many functions of a program or library at once: one link since Linux 6.6, before that one for each."""
        from bpfload.links.target import Target

        target = Target(binary=os.fspath(binary), pattern=pattern, symbols=tuple(symbols), offsets=tuple(offsets))
        target.cookies, target.pid, target.is_return = tuple(cookies), pid, is_return
        target.ref_ctr_offsets = tuple(ref_ctr_offsets)
        return self._attach_to("uprobe_multi", target)

    def attach_usdt(
        self,
        binary: str | os.PathLike[str],
        provider: str,
        name: str,
        *,
        pid: int = -1,
        cookie: int = 0,
        maps: Mapping[str, Map] | None = None,
    ) -> Attachment:
        """Attach to a statically defined probe of a program or library. `cookie`: what bpf_usdt_cookie() returns.

        `maps`: those where the probe's arguments are described, if not those of the program's object.
        """
        from bpfload.links.target import Target

        target = Target(name=f"{provider}:{name}", binary=os.fspath(binary), pid=pid, cookie=cookie)
        target.maps = {key: each.fd for key, each in (maps or {}).items()}
        return self._attach_to("usdt", target)

    def attach_perf_event(
        self,
        event_type: str | int,
        event_config: str | int,
        *,
        sample_period: int = 0,
        sample_frequency: int = 0,
        pid: int = -1,
        cpu: int = -1,
        cookie: int = 0,
    ) -> Attachment:
        """Attach to a perf event. Types and configurations by perf's names ("software", "cpu-clock") or numbers."""
        from bpfload.links.target import Target

        target = Target(event_type=event_type, event_config=event_config, pid=pid, cpu=cpu, cookie=cookie)
        target.sample_period, target.sample_frequency = sample_period, sample_frequency
        return self._attach_to("perf_event", target)

    def attach_freplace(self, program: Program, function: str) -> Attachment:
        """Put this program in the place of a function of another one (Linux 5.10 for a program that it wasn't loaded for)."""
        from bpfload.links.target import Target

        return self._attach_to("freplace", Target(program_fd=program.fd, function=function))

    def attach_tracing_multi(self, pattern: str = "", *, symbols: Sequence[str] = (), cookies: Sequence[int] = ()) -> Attachment:
        """Attach a program of fentry.multi, fexit.multi, … (Linux 7.2) to the functions that match, or to those named."""
        from bpfload.links.target import Target

        return self._attach_to("tracing_multi", Target(pattern=pattern, symbols=tuple(symbols), cookies=tuple(cookies)))

    def attach_iterator(
        self,
        *,
        over: Map | None = None,
        tid: int = 0,
        pid: int = -1,
        cgroup: str | os.PathLike[str] | int = "",
        cgroup_order: str = "",
    ) -> IteratorLink:
        """Make an iterator: over everything of its kind, or a map's elements, one task or process, a cgroup (a path or an id).

        `cgroup_order`: "self", "descendants", "descendants_post", "ancestors", "children". The link's `read`, `lines` and
        `open` give what the program writes.
        """
        from bpfload.links.target import Target

        target = Target(map_fd=over.fd if over else -1, tid=tid, pid=pid, cgroup_order=cgroup_order)
        target.cgroup = str(cgroup) if isinstance(cgroup, int) else os.fspath(cgroup)
        return cast("IteratorLink", self._attach_to("iterator", target))
