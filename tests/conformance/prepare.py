"""Make what the conformance run needs out of Debian's packages, in a cache: libbpf, the selftests' objects, the reference.

The cache is $BPFLOAD_CACHE, or .cache/ in the project root. In it, under conformance/:

    source-VERSION/           the parts of the kernel's source that are needed, and libbpf built from it
    objects-KEY/              NAME.bpf.o for each progs/NAME.c that compiles; failed.json says why the others don't
    reference-KEY             the program built from reference.c

KEY changes with whatever the result depends on, so a second run finds everything there. Each of the three is made beside its
place and renamed into it when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from support.packages import Preparation
from support.paths import cache_directory

HERE = Path(__file__).resolve().parent

SOURCE_PACKAGE = "linux-source-6.12"
CLANG_PACKAGE = "clang-19"

_preparation = Preparation("conformance")
say, run = _preparation.say, _preparation.run

#: A file that shows that a package is there, and the package.
NEEDED = {
    f"/usr/src/{SOURCE_PACKAGE}.tar.xz": SOURCE_PACKAGE,
    "/usr/bin/clang-19": CLANG_PACKAGE,
    "/usr/include/libelf.h": "libelf-dev",
    "/usr/include/zlib.h": "zlib1g-dev",
    "/usr/bin/gcc": "gcc",
    "/usr/bin/make": "make",
    "/usr/sbin/bpftool": "bpftool",
    "/usr/bin/xz": "xz-utils",
    "/usr/bin/unshare": "util-linux",
}
#: What is unpacked of the kernel's source: libbpf, its build system, the selftests and the headers that they include.
WANTED = (
    "Makefile",
    "kernel/bpf/disasm.h",
    "scripts/bpf_doc.py",
    "tools/arch/x86/",
    "tools/bpf/bpftool/json_writer.h",
    "tools/build/",
    "tools/include/",
    "tools/lib/",
    "tools/scripts/",
    "tools/testing/selftests/bpf/",
)
SELFTESTS = "tools/testing/selftests/bpf"
#: As the selftests' Makefile has it for test_progs, without -Werror: a newer compiler and newer kernel headers warn more.
FLAGS = (
    "-g",
    "-O2",
    "--target=bpf",
    "-mcpu=v3",
    "-mlittle-endian",
    "-D__TARGET_ARCH_x86",
    "-DENABLE_ATOMICS_TESTS",
    # The selftests declare the kfuncs they use, with the types of their own kernel.
    "-DBPF_NO_KFUNC_PROTOTYPES",
    "-Wno-compare-distinct-pointer-types",
)
PROCESSES = 2


@dataclass(frozen=True)
class Prepared:
    """What a run needs: the objects, in the order of their names, and the reference program."""

    objects: list[Path]
    reference: Path
    #: name of a source that doesn't compile -> the compiler's first error
    failed: dict[str, str]


def package_version(package: str) -> str:
    """Return the installed version of a Debian package."""
    return run(["dpkg-query", "-W", "-f", "${Version}", package])


def digest(*parts: bytes | str) -> str:
    """Return a short key for all of the parts."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()[:16]


class Beside:
    """A directory that is made beside its place and renamed into it when the block ends without an error."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.work = place.with_name(f"{place.name}.{os.getpid()}.partial")

    def __enter__(self) -> Path:
        self.work.mkdir(parents=True)
        return self.work

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self.place.exists():
            self.work.rename(self.place)
        else:
            shutil.rmtree(self.work, ignore_errors=True)


def prepare_source(cache: Path) -> Path:
    """Unpack the kernel's source and build libbpf in it: libbpf/libbpf.a and libbpf/include/bpf/."""
    place = cache / f"source-{re.sub('[^0-9A-Za-z.+-]', '_', package_version(SOURCE_PACKAGE))}"
    if place.exists():
        return place
    with Beside(place) as work:
        say(f"unpacking {SOURCE_PACKAGE}")
        archive = subprocess.Popen(["xz", "-dc", f"/usr/src/{SOURCE_PACKAGE}.tar.xz"], stdout=subprocess.PIPE)
        with tarfile.open(fileobj=archive.stdout, mode="r|") as tar:
            # The argument `filter` is as new as Python 3.11.4; the attribute is ignored before.
            tar.extraction_filter = lambda member, path: member  # type: ignore[assignment, misc]
            for member in tar:
                _, _, name = member.name.partition("/")
                if name.startswith(WANTED) and (member.isfile() or member.issym()):
                    member.name = name
                    tar.extract(member, work)
        if archive.wait():
            raise SystemExit(f"conformance: can't unpack {SOURCE_PACKAGE}")
        say("building libbpf")
        output = work / "libbpf"
        output.mkdir()
        make = ["make", f"-j{PROCESSES}", "-C", f"{work}/tools/lib/bpf", f"OUTPUT={output}/", f"DESTDIR={output}", "prefix="]
        run([*make, f"{output}/libbpf.a", "install_headers"])
    return place


def prepare_reference(cache: Path, source: Path) -> Path:
    """Build reference.c against the static libbpf."""
    code = HERE / "reference.c"
    place = cache / f"reference-{digest(source.name, code.read_bytes())}"
    if not place.exists():
        say("building the reference")
        work = place.with_suffix(f".{os.getpid()}.partial")
        libbpf = source / "libbpf"
        run(["gcc", "-O2", "-Wall", f"-I{libbpf}/include", "-o", work, code, libbpf / "libbpf.a", "-lelf", "-lz"])
        work.rename(place)
    return place


def system_includes() -> list[str]:
    """Return clang's own include directories for this machine, to be searched last, as the selftests' Makefile does."""
    done = subprocess.run(["clang-19", "-v", "-E", "-"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    listed = done.stderr.partition("#include <...> search starts here:\n")[2].partition("End of search list.")[0]
    return [word for line in listed.splitlines() for word in ("-idirafter", line.strip())]


def special_flags(selftests: Path) -> dict[str, list[str]]:
    """Return the flags that the selftests' Makefile has for single files: source's name -> flags."""
    lines = re.findall(r"^progs/(\w+\.c)-CFLAGS\s*:=\s*(.*)$", (selftests / "Makefile").read_text(), re.MULTILINE)
    return {name: flags.split() for name, flags in lines}


def compile_one(code: Path, into: Path, flags: list[str]) -> str:
    """Compile one source. Returns the first error, or "" if there was none."""
    target = into / f"{code.stem}.bpf.o"
    done = subprocess.run(["clang-19", *flags, "-c", code, "-o", target], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    found = re.search(r"error: (.*)", done.stderr)
    return found[1] if found else done.stderr[-200:]


def prepare_objects(cache: Path, source: Path) -> Path:
    """Compile all of the selftests' programs against the running kernel's types."""
    kernel = Path("/sys/kernel/btf/vmlinux").read_bytes()
    versions = [package_version(CLANG_PACKAGE), package_version("bpftool")]
    place = cache / f"objects-{digest(kernel, source.name, *versions, *FLAGS)}"
    if place.exists():
        return place
    with Beside(place) as work:
        selftests = source / SELFTESTS
        include = work / "include"
        include.mkdir()
        header = run(["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"])
        (include / "vmlinux.h").write_text(header)
        directories = [include, source / "libbpf/include", selftests, source / "tools/include/uapi"]
        flags = [*FLAGS, *(f"-I{directory}" for directory in directories), *system_includes()]
        special = special_flags(selftests)
        sources = sorted((selftests / "progs").glob("*.c"))
        say(f"compiling {len(sources)} selftests")
        with ThreadPoolExecutor(PROCESSES) as pool:
            errors = list(pool.map(lambda code: compile_one(code, work, [*flags, *special.get(code.name, [])]), sources))
        failed = {code.name: error for code, error in zip(sources, errors, strict=True) if error}
        (work / "failed.json").write_text(json.dumps(failed, indent=1) + "\n")
        shutil.rmtree(include)
    return place


def prepare(given: Path | None = None) -> Prepared:
    """Prepare everything. Takes some minutes from nothing and a second when all is there.

    `given`: a directory of objects to take instead of compiling them for the running kernel.
    """
    _preparation.install(NEEDED)
    cache = cache_directory() / "conformance"
    cache.mkdir(parents=True, exist_ok=True)
    source = prepare_source(cache)
    reference = prepare_reference(cache, source)
    objects = given or prepare_objects(cache, source)
    errors = objects / "failed.json"
    failed = json.loads(errors.read_text()) if errors.exists() and not given else {}
    return Prepared(sorted(objects.glob("*.bpf.o")), reference, failed)
