"""What is in the kernel now, as typed views: programs, maps, links, BTF objects, network devices.

::

    view       what a view is, and its plain data
    owners     who holds an object: processes, pins
    programs maps links btf    one module a kind: every, find, view
    elements   what is in a map
    metadata   a program's own variables about itself
    net        what is attached to network devices
    xlated     a program's instructions
    objectfile what an object file would load: no kernel needed
"""
