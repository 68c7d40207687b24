"""Declared state: what a file says shall be loaded, attached and pinned, and bringing the machine to that."""
