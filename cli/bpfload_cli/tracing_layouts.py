"""The text of struct_ops maps and of perf events."""

from __future__ import annotations

from bpfload.inspect.perf_events import AddressPlace, FilePlace, FunctionPlace, PerfEventView, TracepointPlace
from bpfload.inspect.struct_ops import StructOpsView
from bpfload_cli.output import Layout


def _table(view: StructOpsView) -> str:
    return f"{view.id}: {view.name:<15} {view.kernel_struct_ops:<32}\n"


def _perf_event(view: PerfEventView) -> str:
    start = f"pid {view.pid}  fd {view.fd}: prog_id {view.prog_id}  "
    place = view.place
    if isinstance(place, TracepointPlace):
        return f"{start}{view.fd_type}  {place.tracepoint}\n"
    if isinstance(place, FunctionPlace):
        return f"{start}{view.fd_type}  func {place.func}  offset {place.offset}\n"
    if isinstance(place, AddressPlace):
        return f"{start}{view.fd_type}  addr {place.addr}\n"
    if isinstance(place, FilePlace):
        return f"{start}{view.fd_type}  filename {place.filename}  offset {place.offset}\n"
    return f"{start}\n"


STRUCT_OPS: Layout = (_table,)
PERF_EVENT: Layout = (_perf_event,)
