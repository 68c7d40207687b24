#!/bin/sh
# Install what the tests compare against or build with. Nothing here is needed to run bpfload.
#
# With root and apt-get: Debian's packages. Without: say what is missing and what will be skipped for that, and succeed.
set -eu

wanted=
need() { # COMMAND-OR-FILE PACKAGE WHAT-FOR
	if ! command -v "$1" >/dev/null && ! [ -e "$1" ]; then
		wanted="$wanted $2"
		echo "missing: $2 ($3)"
	fi
}

PATH=$PATH:/usr/sbin:/sbin
need bpftool bpftool "the peer whose output ours is compared with"
need clang clang "rebuilds the samples"
need llvm-strip llvm "takes DWARF out of rebuilt samples"
need strace strace "counts bpf(2) calls, kills loads half-way"
need zsh zsh "one of the shells whose completion is tested"
need fish fish "another"
need ip iproute2 "looks at what is attached"
need xdp-loader xdp-tools "the other one that puts several XDP programs on a device"
need gcc gcc "compiles the libbpf side of the benchmarks"
need /usr/include/bpf/bpf_helpers.h libbpf-dev "headers of the samples"
need /usr/include/linux/bpf.h linux-libc-dev "headers of the samples"
need /usr/include/stdio.h libc6-dev "headers of the samples"
need /usr/src/linux-source-6.12.tar.xz linux-source-6.12 "a newer bpftool and libbpf than the packaged ones"
need xz xz-utils "unpacks it"
need /usr/include/libelf.h libelf-dev "builds it"
need /usr/include/zlib.h zlib1g-dev "builds it"
need llvm-config llvm-dev "lets it disassemble machine code"

build() { sh "$(dirname "$0")/build-bpftool.sh"; }

if [ -z "$wanted" ]; then
	build
	exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "not root, or no apt-get: what needs these is skipped. To install:  apt-get install$wanted"
	exit 0
fi

export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null 2>&1; }
echo "installing:$wanted"
# shellcheck disable=SC2086 # a list of words
if ! install $wanted; then
	apt-get update -qq </dev/null >/dev/null || echo "apt-get update failed" >&2
	# One by one: a package that this release doesn't have must not keep the others away.
	for package in $wanted; do
		install "$package" || echo "could not install $package: what needs it is skipped" >&2
	done
fi
build
