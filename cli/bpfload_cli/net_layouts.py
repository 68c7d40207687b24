"""The text of what is attached to network devices."""

from __future__ import annotations

from bpfload.inspect.links import Netfilter
from bpfload.inspect.net import ChainProgram, NetView, TcFilter, TcHook, Xdp
from bpfload_cli.link_layouts import netfilter_text


def net_text(view: NetView) -> str:
    """Return the text of the view, section by section."""
    dissector = "".join(f"id {row.id}" for row in view.flow_dissector)
    hooks = "".join(
        f"{netfilter_text(Netfilter(row.pf, row.hook, row.prio, row.flags))} prog_id {row.id}" for row in view.netfilter
    )
    xdp = "".join(_xdp(row) for row in view.xdp)
    tc = "".join(_hook(row) if isinstance(row, TcHook) else _filter(row) for row in view.tc)
    return f"xdp:\n{xdp}\ntc:\n{tc}\nflow_dissector:\n{dissector}\nnetfilter:\n{hooks}\n"


def _xdp(row: Xdp) -> str:
    modes = [(one.mode, one.id) for one in row.multi_attachments or ()]
    if row.id is not None and row.mode is not None:
        modes.append((row.mode, row.id))
    text = f"{row.devname}({row.ifindex})" + "".join(f" {mode} id {ident}" for mode, ident in modes) + "\n"
    return text + "".join(f"\t{_chained(one)}\n" for one in row.chain or ())


def _chained(one: ChainProgram) -> str:
    """One program of a chain: bpftool shows the dispatcher alone."""
    program = f"id {one.id}  name {one.name}  tag {one.tag}" if one.id is not None else "id unknown"
    return f"{program}  priority {one.priority}  goes on after {','.join(one.actions) or 'nothing'}"


def _numbers(name: str, numbers: tuple[int, ...]) -> str:
    return f"{name} " + "".join(f"{number} " for number in numbers) if numbers else ""


def _hook(row: TcHook) -> str:
    name = f" {row.name}" if row.name else ""
    link = f"link_id {row.link_id} {_numbers('link_flags', row.link_flags)}" if row.link_id else ""
    flags = _numbers("prog_flags", row.prog_flags)
    return f"{row.devname}({row.ifindex}) {row.kind}{name} prog_id {row.prog_id} {flags}{link}\n"


def _filter(row: TcFilter) -> str:
    text = f"{row.devname}({row.ifindex}) {row.kind}"
    text += f" {row.name}" if row.name is not None else ""
    text += f" id {row.id}" if row.id is not None else ""
    if row.act is not None:
        text += " act [" + "".join(f"{{{one.name or ''}{'' if one.id is None else f' id {one.id}'}}}" for one in row.act) + "] "
    return f"{text}\n"
