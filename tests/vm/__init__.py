"""Other kernels: Debian's own, booted under QEMU's software emulation with this machine's root file system.

`python -m vm run --kernel 6.1 -- COMMAND` (with tests/ on the path); tests/vm/run.py runs the kernel tests under all of them.

The conformance run works there too, with objects that were compiled on the host:

    python -m vm run --kernel 5.10 --seconds 3600 -- $PYTHON tests/conformance/run.py --objects DIR --output /run/vm-tmp 'test_*'

packages.py fetches and unpacks a kernel, initramfs.py makes what it boots from, machine.py boots it and runs a command, with
init.sh and guest.sh inside.
"""
