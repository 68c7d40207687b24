"""What the running kernel can do, found out by trying: each probe answers yes, no, or couldn't tell.

Loading tries the newest form of a call first; only when the kernel refuses it are the probes here asked why.
"""

from bpfload.features.probes import FEATURES, Feature, missing, supports

__all__ = ["FEATURES", "Feature", "missing", "supports"]
