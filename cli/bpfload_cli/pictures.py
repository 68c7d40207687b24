"""Graphs in the DOT language to pictures, by graphviz where that is there."""

from __future__ import annotations

from bpfload.errors import BpfError


def svg(dot: str) -> str:
    """Return the picture of a graph as SVG. Raises BpfError where there is no graphviz, or it fails."""
    import subprocess

    try:
        done = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        hint = "It takes dot(1) of the graphviz package. Without 'svg' the graph comes as text in the DOT language."
        raise BpfError("the graph can't be drawn: graphviz isn't installed", hint=hint) from None
    if done.returncode:
        raise BpfError(f"dot(1) can't draw the graph: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout
