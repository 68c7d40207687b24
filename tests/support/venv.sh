#!/bin/sh
# Make a virtual environment with bpfload (editable) and its development tools.
#
#   venv.sh DIR            PYTHON=... chooses the interpreter; else the first of 3.11 or newer that is found
set -eu

dir=${1:-.venv}
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
	for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
		if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
			echo "$candidate"
			return
		fi
	done
}

apt_install() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -qq "$@" </dev/null >/dev/null 2>&1 && return
	apt-get update -qq </dev/null >/dev/null && apt-get install -y -qq "$@" </dev/null >/dev/null
}

python=$(find_python)
if [ -z "$python" ] && apt_install python3 python3-venv; then
	python=$(find_python)
fi
if [ -z "$python" ]; then
	echo "no Python 3.11 or newer: install one (Debian 12 or newer: apt-get install python3 python3-venv), or name it: PYTHON=..." >&2
	exit 1
fi

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
	package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	echo "$python has no venv: installing $package"
	if ! apt_install "$package"; then
		echo "cannot install it: as root, apt-get install $package, then try again" >&2
		exit 1
	fi
fi

# An environment whose interpreter is gone (a new Python on the machine) is made anew.
if ! [ -x "$dir/bin/python" ] || ! new_enough "$dir/bin/python"; then
	rm -rf "$dir"
	"$python" -m venv "$dir"
fi
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' </dev/null
echo "$dir: $("$dir/bin/python" --version), $("$dir/bin/python" -m pip list --disable-pip-version-check 2>/dev/null | grep -c .) packages"
