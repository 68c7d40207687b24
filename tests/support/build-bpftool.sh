#!/bin/sh
# Build the bpftool and libbpf.so of Debian's linux-source package into the cache: they are newer than the packaged ones.
#
# The cache is $BPFLOAD_CACHE, or .cache/ in the project root; the program ends up in peers/bpftool-VERSION/bpftool there,
# where support.process.bpftool_command() finds it, and libbpf.so beside it (support.libbpf). Where clang and llvm-dev are there
# bpftool shows pids and machine code.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
package=linux-source-6.12
archive=/usr/src/$package.tar.xz
[ -e "$archive" ] || exit 0

version=$(dpkg-query -W -f '${Version}' $package)
place=${BPFLOAD_CACHE:-$root/.cache}/peers/bpftool-$version
[ -x "$place/bpftool" ] && { [ -e "$place/libbpf.so" ] || [ -e "$place/no-libbpf" ]; } && exit 0

echo "building bpftool from $package"
work=$place.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/out"
tar -C "$work" -xf "$archive" --strip-components=1 --wildcards \
	'*/tools/bpf/bpftool' '*/tools/build' '*/tools/include' '*/tools/lib' '*/tools/scripts' '*/tools/arch/*/include' \
	'*/kernel/bpf/disasm.[ch]' '*/scripts/*.include' '*/scripts/bpf_doc.py'
if ! make -s -j2 -C "$work/tools/bpf/bpftool" OUTPUT="$work/out/" >"$work/log" 2>&1; then
	tail -20 "$work/log" >&2
	echo "could not build bpftool: the packaged one is used" >&2
	exit 0
fi
mkdir -p "$work/done" "$work/shared"
if make -s -j2 -C "$work/tools/lib/bpf" OUTPUT="$work/shared/" "$work/shared/libbpf.so" >"$work/log" 2>&1; then
	cp -L "$work/shared/libbpf.so" "$work/done/libbpf.so"
else
	tail -20 "$work/log" >&2
	echo "could not build libbpf.so: the packaged one is used" >&2
	: >"$work/done/no-libbpf"
fi
mv "$work/out/bpftool" "$work/done/bpftool"
rm -rf "$place"
mv "$work/done" "$place"
