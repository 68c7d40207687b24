"""Other kernels: Debian's own, booted under QEMU's software emulation with this machine's root file system.

`python -m vm run --kernel 6.1 -- COMMAND` (with tests/ on the path); tests/vm/run.py runs the kernel tests under all of them.

packages.py fetches and unpacks a kernel, initramfs.py makes what it boots from, machine.py boots it and runs a command, with
init.sh and guest.sh inside.
"""
