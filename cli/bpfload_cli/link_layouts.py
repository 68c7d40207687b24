"""The text of what a link is attached to, by its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bpfload.inspect import links, perf

_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_INET_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_ARP_HOOKS = ("input", "output")
_ARP, _NETDEV = 3, 5


def details_text(details: links.Details | None) -> str:
    """Return the text of a link's details; "" for none."""
    return "" if details is None else _TEXTS[type(details)](details)


def _attach_type(value: str | int | None) -> str:
    return "" if value is None else f"attach_type {value}  "


def _cookie(value: int | None) -> str:
    return f"cookie {value}  " if value else ""


def _tracing(link: links.Tracing) -> str:
    target = ""
    if link.target_obj_id or link.target_btf_id:
        target = f"\n\ttarget_obj_id {link.target_obj_id}  target_btf_id {link.target_btf_id}  "
    return f"\n\tprog_type {link.prog_type}  {_attach_type(link.attach_type)}{target}{_cookie(link.cookie)}"


def _iterator(link: links.IteratorTarget) -> str:
    text = f"target_name {link.target_name}  "
    if link.map_id is not None:
        text += f"map_id {link.map_id}  "
    if link.tid:
        text += f"tid {link.tid} "
    elif link.pid:
        text += f"pid {link.pid} "
    if link.cgroup_id is not None:
        text += f"cgroup_id {link.cgroup_id}  order {link.order}  "
    return text


def netfilter_text(link: links.Netfilter) -> str:
    """Return the text of a netfilter hook."""
    family = _FAMILIES.get(link.pf)
    hooks = {_ARP: _ARP_HOOKS, _NETDEV: ()}.get(link.pf, _INET_HOOKS if family else ())
    text = f"\n\t{family}" if family else f"\n\tpf: {link.pf}"
    text += f" {hooks[link.hook]}" if link.hook < len(hooks) else f", hook {link.hook},"
    flags = f" flags 0x{link.flags:x}" if link.flags else ""
    return f"{text} prio {link.prio}{flags}"


def _device(link: links.DeviceHook) -> str:
    known = link.ifindex and link.devname != "(unknown)"
    name = f"{link.devname}({link.ifindex})" if known else link.devname
    return f"\n\tifindex {name}  {_attach_type(link.attach_type)}"


def _kprobe_multi(link: perf.KprobeMulti) -> str:
    if not link.func_cnt:
        return ""
    text = f"\n\t{'kretprobe' if link.retprobe else 'kprobe'}.multi  func_cnt {link.func_cnt}  "
    if link.missed:
        text += f"missed {link.missed}  "
    if not link.funcs:
        return text
    text += f"\n\t{'addr':<16} {'cookie':<16} func [module]"
    for row in link.funcs:
        module = f" [{row.module}]  " if row.module else "  "
        text += f"\n\t{row.addr:016x} {row.cookie:<16x} {row.func}{module}"
    return text


def _uprobe_multi(link: perf.UprobeMulti) -> str:
    if not link.func_cnt:
        return ""
    text = f"\n\t{'uretprobe' if link.retprobe else 'uprobe'}.multi  path {link.path}  func_cnt {link.func_cnt}  "
    if link.pid:
        text += f"pid {link.pid}  "
    text += f"\n\t{'offset':<16}   {'ref_ctr_offset':<16}   {'cookies':<16}"
    for row in link.funcs:
        text += f"\n\t0x{row.offset:<16x} 0x{row.ref_ctr_offset:<16x} 0x{row.cookie:<16x}"
    return text


def _kprobe(link: perf.Kprobe) -> str:
    if not link.func and not link.addr:
        return ""
    text = "\n\tkretprobe " if link.retprobe else "\n\tkprobe "
    text += f"{link.addr:x} " if link.addr else ""
    text += link.func
    text += f"+{link.offset:#x}" if link.offset else ""
    text += f"  missed {link.missed}" if link.missed else ""
    text += f"  cookie {link.cookie}" if link.cookie else ""
    return f"{text}  "


def _uprobe(link: perf.Uprobe) -> str:
    if not link.file:
        return ""
    # C prints 0 without the 0x that other numbers get.
    offset = f"{link.offset:#x}" if link.offset else "0"
    return f"\n\t{'uretprobe' if link.retprobe else 'uprobe'} {link.file}+{offset}  {_cookie(link.cookie)}"


def _tracepoint(link: perf.Tracepoint) -> str:
    return f"\n\ttracepoint {link.tracepoint}  {_cookie(link.cookie)}" if link.tracepoint else ""


def _event(link: perf.Event) -> str:
    kind = f"{link.event_type}:" if isinstance(link.event_type, str) else f"{link.event_type} :"
    return f"\n\tevent {kind}{link.event_config}  {_cookie(link.cookie)}"


_TEXTS: dict[type, Callable[[Any], str]] = {
    links.RawTracepoint: lambda link: f"\n\ttp '{link.tp_name}'  {_cookie(link.cookie)}",
    links.Tracing: _tracing,
    links.Cgroup: lambda link: f"\n\tcgroup_id {link.cgroup_id}  {_attach_type(link.attach_type)}",
    links.IteratorTarget: _iterator,
    links.NetworkNamespace: lambda link: f"\n\tnetns_ino {link.netns_ino}  {_attach_type(link.attach_type)}",
    links.Netfilter: netfilter_text,
    links.DeviceHook: _device,
    links.Sockmap: lambda link: f"\n\tmap_id {link.map_id}  {_attach_type(link.attach_type)}",
    links.StructOps: lambda link: "",
    perf.KprobeMulti: _kprobe_multi,
    perf.UprobeMulti: _uprobe_multi,
    perf.Kprobe: _kprobe,
    perf.Uprobe: _uprobe,
    perf.Tracepoint: _tracepoint,
    perf.Event: _event,
}
