#!/bin/busybox sh
# First process of the guest, in the initramfs: puts this machine's root file system together and goes there.
#
# The host's / comes read-only over 9p; over it lies a tmpfs that takes what the guest writes, so that the host never
# sees it. /share of the initramfs is the one directory of the host that the guest may write to: guest.sh is there.

export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

fail() {
	echo "vm-init: $*"
	poweroff -f
}

for module in /modules/*.ko; do
	insmod "$module" || fail "can't load $module"
done
options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$options,ro,cache=loose" root /lower || fail "can't mount the root file system"
mount -t 9p -o "$options" share /share || fail "can't mount the shared directory"
mount -t tmpfs -o size=75% tmpfs /upper || fail "no tmpfs"
mkdir /upper/upper /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work overlay /guest || fail "no overlay"

mkdir -p /guest/run/vm-share
mount --move /share /guest/run/vm-share || mount --bind /share /guest/run/vm-share
for directory in proc sys dev; do
	mount --move /$directory /guest/$directory
done
exec switch_root /guest /bin/sh /run/vm-share/guest.sh
