# First process of the guest after init.sh, in the host's root file system: mounts what tests need and runs the command.
#
# /run/vm-share has: environment (to be sourced), command (a script), modules (path of the kernel's lib/modules/RELEASE),
# config (path of its configuration). The command's output goes to the second serial port, its exit status to status.

share=/run/vm-share
release=$(uname -r)
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount -t tmpfs tmpfs /dev/shm 2>/dev/null || { mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm; }
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
# The guest's /run is its own: no socket or lock of a process of the host's is taken for a living one.
mkdir -p /run/vm-tmp && mount -t tmpfs tmpfs /run/vm-tmp
mount -t bpf bpffs /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/lib/modules/$release" && mount --bind "$(cat $share/modules)" "/lib/modules/$release"
cp "$(cat $share/config)" "/boot/config-$release"
ip link set lo up
# What tests make the kernel load by itself, loaded before they count: a module brings a BTF of its own.
for module in veth netkit dummy tun sch_ingress cls_bpf act_bpf nf_conntrack; do
	modprobe --quiet $module
done
hostname vm
for setting in kernel/kptr_restrict=0 kernel/dmesg_restrict=0 net/core/bpf_jit_enable=1; do
	echo "${setting#*=}" >"/proc/sys/${setting%=*}"
done

stty -F /dev/ttyS1 raw -echo 2>/dev/null
echo "vm-guest: ready" >/dev/console
setsid /bin/sh $share/command </dev/null >/dev/ttyS1 2>&1
echo $? >$share/status
sync
# What the serial port still holds must be out before the machine goes.
stty -F /dev/ttyS1 sane 2>/dev/null
sleep 0.2
busybox poweroff -f
