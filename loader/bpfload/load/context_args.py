"""Arguments tagged arg:ctx, for kernels before 6.8 that don't know the tag.

Such a kernel takes a global subprogram's argument for the program's context only if its type is a pointer to the struct by
that program type's canonical name. So the subprogram's FUNC and FUNC_PROTO are cloned with that type, and func_info points
to the clone.

Source: bpf_program_fixup_func_info(), need_func_arg_type_fixup() and global_ctx_map[] in tools/lib/bpf/libbpf.c.
"""

from __future__ import annotations

from struct import pack_into, unpack_from
from typing import TYPE_CHECKING

from bpfload.abi import consts as c
from bpfload.btf import types as t
from bpfload.btf.writer import BtfEditor

if TYPE_CHECKING:
    from bpfload.btf import Btf, Type
    from bpfload.linker import LinkedProgram
    from bpfload.load.session import Session

_TAG = "arg:ctx"
_SK_BUFF = "__sk_buff"
#: The struct that the verifier knows as the context of each program type; types that aren't here have none with a name.
CONTEXT_NAMES = {
    c.BPF_PROG_TYPE_CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    c.BPF_PROG_TYPE_CGROUP_SKB: _SK_BUFF,
    c.BPF_PROG_TYPE_CGROUP_SOCK: "bpf_sock",
    c.BPF_PROG_TYPE_CGROUP_SOCK_ADDR: "bpf_sock_addr",
    c.BPF_PROG_TYPE_CGROUP_SOCKOPT: "bpf_sockopt",
    c.BPF_PROG_TYPE_CGROUP_SYSCTL: "bpf_sysctl",
    c.BPF_PROG_TYPE_FLOW_DISSECTOR: _SK_BUFF,
    c.BPF_PROG_TYPE_KPROBE: "bpf_user_pt_regs_t",
    c.BPF_PROG_TYPE_LWT_IN: _SK_BUFF,
    c.BPF_PROG_TYPE_LWT_OUT: _SK_BUFF,
    c.BPF_PROG_TYPE_LWT_SEG6LOCAL: _SK_BUFF,
    c.BPF_PROG_TYPE_LWT_XMIT: _SK_BUFF,
    c.BPF_PROG_TYPE_NETFILTER: "bpf_nf_ctx",
    c.BPF_PROG_TYPE_PERF_EVENT: "bpf_perf_event_data",
    c.BPF_PROG_TYPE_RAW_TRACEPOINT: "bpf_raw_tracepoint_args",
    c.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: "bpf_raw_tracepoint_args",
    c.BPF_PROG_TYPE_SCHED_ACT: _SK_BUFF,
    c.BPF_PROG_TYPE_SCHED_CLS: _SK_BUFF,
    c.BPF_PROG_TYPE_SK_LOOKUP: "bpf_sk_lookup",
    c.BPF_PROG_TYPE_SK_MSG: "sk_msg_md",
    c.BPF_PROG_TYPE_SK_REUSEPORT: "sk_reuseport_md",
    c.BPF_PROG_TYPE_SK_SKB: _SK_BUFF,
    c.BPF_PROG_TYPE_SOCK_OPS: "bpf_sock_ops",
    c.BPF_PROG_TYPE_SOCKET_FILTER: _SK_BUFF,
    c.BPF_PROG_TYPE_XDP: "xdp_md",
}
_PT_REGS_USERS = (c.BPF_PROG_TYPE_KPROBE, c.BPF_PROG_TYPE_PERF_EVENT)
_RAW_TRACEPOINTS = (c.BPF_PROG_TYPE_RAW_TRACEPOINT, c.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE)


def fix(session: Session) -> None:
    """Clone what needs it for every linked program, unless the kernel knows the tag; `session.edited_btf` gets the result."""
    from bpfload import features

    btf = session.spec.btf
    assert btf is not None
    if features.supports("arg_ctx_tag") is not False:
        return
    editor = BtfEditor(btf)
    changed = [fix_program(btf, editor, linked) for linked in session.linked]
    if any(changed):
        session.edited_btf = editor.bytes()


def fix_program(btf: Btf, editor: BtfEditor, linked: LinkedProgram) -> bool:
    """Clone the subprograms of one linked program that need it, in `editor`, and patch its func_info; return whether any did."""
    context = CONTEXT_NAMES.get(linked.spec.type)
    if context is None or not linked.func_info:
        return False
    size = linked.func_info_size
    places = {unpack_from("<I", linked.func_info, place + 4)[0]: place for place in range(0, len(linked.func_info), size)}
    wanted: dict[int, set[int]] = {}
    for tag in btf.types():
        if tag.kind != t.KIND_DECL_TAG or tag.name != _TAG or tag.type_id not in places:
            continue
        function = btf.type(tag.type_id)
        if function.kind != t.KIND_FUNC or function.linkage != t.LINKAGE_GLOBAL:
            continue
        prototype = btf.type(function.type_id)
        if prototype.kind != t.KIND_FUNC_PROTO or not 0 <= tag.component_idx < len(prototype.params):
            continue
        if _needs_fix(btf, prototype.params[tag.component_idx].type_id, linked.spec.type, context):
            wanted.setdefault(function.id, set()).add(tag.component_idx)
    if not wanted:
        return False
    pointer = editor.add_pointer(editor.add_struct(context, 0))
    for function_id, arguments in wanted.items():
        clone = _clone(btf.type(function_id), btf, editor, arguments, pointer)
        pack_into("<I", linked.func_info, places[function_id] + 4, clone)
    return True


def _clone(function: Type, btf: Btf, editor: BtfEditor, arguments: set[int], pointer: int) -> int:
    prototype = btf.type(function.type_id)
    params = [(param.name, pointer if index in arguments else param.type_id) for index, param in enumerate(prototype.params)]
    clone = editor.add_func(function.name, editor.add_func_proto(prototype.type_id, params), function.linkage)
    for index in arguments:
        editor.add_decl_tag(_TAG, clone, index)
    return clone


def _needs_fix(btf: Btf, type_id: int, prog_type: int, context: str) -> bool:
    """Whether an argument's type is none that this kernel takes for the context, but one that may be made into it."""
    pointer = btf.type(btf.resolve(type_id))
    if pointer.kind != t.KIND_PTR:
        return False
    target = btf.type(btf.skip_modifiers(pointer.type_id))
    if target.kind == t.KIND_TYPEDEF and prog_type in _PT_REGS_USERS and target.name == "bpf_user_pt_regs_t":
        return False
    target = btf.type(btf.resolve(target.id))
    if target.kind == t.KIND_VOID:
        return True
    if target.kind == t.KIND_STRUCT:
        return target.name != context and target.name == "pt_regs" and prog_type in _PT_REGS_USERS
    return target.kind == t.KIND_INT and target.size == 8 and prog_type in _RAW_TRACEPOINTS
