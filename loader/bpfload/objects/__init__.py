"""What lives in the kernel, each held by one owned fd: programs, maps, links, BTF objects."""

from bpfload.objects.base import KernelObject

__all__ = ["BtfObject", "KernelObject", "Link", "Map", "Program"]


def __getattr__(name: str) -> object:
    """Import a class when it is first named: a load needs no links, a listing no maps."""
    import importlib

    modules = {"Program": "program", "Map": "map", "Link": "link", "BtfObject": "btf"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"bpfload.objects.{modules[name]}"), name)
