"""Layouts of the structures that bpf(2) fills: struct formats in the machine's own byte order, and the fields' names.

Every format is written with explicit padding ("=": no alignment by struct itself). A kernel older than a field leaves it
zero; the buffer is always as long as the newest layout known here.

Source: struct bpf_prog_info, bpf_map_info, bpf_btf_info and bpf_link_info in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

PROG_INFO_FORMAT = "=II8sIIQQQIIQ16sIIQQIIQQIIQIIQQIIIIQQQQIII4x"
PROG_INFO_FIELDS = (
    "type",
    "id",
    "tag",
    "jited_prog_len",
    "xlated_prog_len",
    "jited_prog_insns",
    "xlated_prog_insns",
    "load_time",
    "created_by_uid",
    "nr_map_ids",
    "map_ids",
    "name",
    "ifindex",
    "gpl_compatible",
    "netns_dev",
    "netns_ino",
    "nr_jited_ksyms",
    "nr_jited_func_lens",
    "jited_ksyms",
    "jited_func_lens",
    "btf_id",
    "func_info_rec_size",
    "func_info",
    "nr_func_info",
    "nr_line_info",
    "line_info",
    "jited_line_info",
    "nr_jited_line_info",
    "line_info_rec_size",
    "jited_line_info_rec_size",
    "nr_prog_tags",
    "prog_tags",
    "run_time_ns",
    "run_cnt",
    "recursion_misses",
    "verified_insns",
    "attach_btf_obj_id",
    "attach_btf_id",
)

MAP_INFO_FORMAT = "=IIIIII16sIIQQIIIIQQI4x"
MAP_INFO_FIELDS = (
    "type",
    "id",
    "key_size",
    "value_size",
    "max_entries",
    "map_flags",
    "name",
    "ifindex",
    "btf_vmlinux_value_type_id",
    "netns_dev",
    "netns_ino",
    "btf_id",
    "btf_key_type_id",
    "btf_value_type_id",
    "btf_vmlinux_id",
    "map_extra",
    "hash",
    "hash_size",
)

BTF_INFO_FORMAT = "=QIIQII"
BTF_INFO_FIELDS = ("btf", "btf_size", "id", "name", "name_len", "kernel_btf")

#: struct bpf_link_info: the common head, then a union that starts at LINK_INFO_UNION_OFFSET (8-byte aligned).
LINK_INFO_HEAD_FORMAT = "=III4x"
LINK_INFO_UNION_OFFSET = 16
LINK_INFO_SIZE = 64
