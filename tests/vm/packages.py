"""Debian's kernels, fetched by apt from the releases that have them and unpacked in the cache; nothing is installed.

apt gets a configuration, a state and a list of sources of its own, in the cache, so that this machine's are not touched. The
mirror is the one of this machine's own sources. The cache is $BPFLOAD_CACHE, or .cache/ in the project root; in it, under vm/:

    apt/                      apt's state
    kernels/RELEASE/          vmlinuz, config, lib/modules/RELEASE/
    kernels/NAME              link to the kernel that was chosen for a NAME of KERNELS
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from support.packages import Preparation
from support.paths import cache_directory

#: What a kernel is called here -> how its version begins; of several the highest is taken.
KERNELS = {"5.10": "5.10.", "6.1": "6.1.", "6.12": "6.12.", "newest": ""}
#: Debian's releases that have them, and what of them is on the security mirror.
SUITES = ("bullseye", "bookworm", "trixie", "bookworm-backports", "trixie-backports", "sid")
SECURITY = ("bullseye-security", "bookworm-security", "trixie-security")
METAPACKAGE = "linux-image-amd64"

_preparation = Preparation("vm")
say, run = _preparation.say, _preparation.run

#: A file that shows that a package is there, and the package.
NEEDED = {
    "/usr/bin/qemu-system-x86_64": "qemu-system-x86",
    "/bin/busybox": "busybox-static",
    "/sbin/depmod": "kmod",
}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel."""

    release: str
    directory: Path

    @property
    def image(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def modules(self) -> Path:
        return self.directory / "lib/modules" / self.release


# ---- apt ---------------------------------------------------------------------------------------------------------------


def mirrors(targets: str) -> tuple[str, str]:
    """Return the mirrors of Debian and of its security updates, from the lines "URI RELEASE" of apt's own sources."""
    lines = [line.split() for line in targets.splitlines()]
    main = [uri for uri, release in lines if re.fullmatch(r"[a-z]+", release) and uri.rstrip("/").endswith("debian")]
    security = [uri for uri, release in lines if release.endswith("-security")]
    if not main:
        raise SystemExit("vm: apt's sources name no Debian mirror")
    return main[0], security[0] if security else f"{main[0].rstrip('/')}-security"


class Apt:
    """apt with a state of its own, which knows the releases of SUITES."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {"APT_CONFIG": str(directory / "conf"), "LC_ALL": "C"}

    def update(self) -> None:
        """Write the configuration and fetch the lists."""
        format_ = "--format=$(REPO_URI) $(RELEASE)"
        main, security = mirrors(run(["apt-get", "indextargets", format_, "Created-By: Packages"]))
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        sources = [f"deb {main} {suite} main" for suite in SUITES] + [f"deb {security} {suite} main" for suite in SECURITY]
        (self.directory / "sources.list").write_text("\n".join(sources) + "\n")
        settings = {
            "Dir::State": self.directory / "state",
            "Dir::State::status": self.directory / "status",
            "Dir::Cache": self.directory / "cache",
            "Dir::Etc::SourceList": self.directory / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "APT::Architecture": "amd64",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        (self.directory / "conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
        run(["apt-get", "-q", "update"], environment=self.environment)

    def newest(self, package: str, prefix: str) -> str:
        """Return the highest version of a package that begins so."""
        for line in run(["apt-cache", "madison", package], environment=self.environment).splitlines():
            version = line.split("|")[1].strip()
            if version.startswith(prefix):
                return version
        raise SystemExit(f"vm: no release has {package} {prefix}")

    def depends(self, package: str, version: str) -> list[str]:
        """Return the packages with the kernel's own files that a package depends on."""
        shown = run(["apt-cache", "show", f"{package}={version}"], environment=self.environment)
        line = re.search(r"^Depends: (.*)$", shown, re.MULTILINE)
        return re.findall(r"linux-(?:image|base|binary|modules)-\d[\w.+-]*", line[1]) if line else []

    def kernel_packages(self, version: str) -> list[str]:
        """Return all packages with the kernel's own files, from the metapackage on."""
        found: list[str] = []
        waiting = self.depends(METAPACKAGE, version)
        while waiting:
            package = waiting.pop()
            if package not in found:
                found.append(package)
                waiting += self.depends(package, version)
        return found

    def download(self, packages: list[str], version: str, into: Path) -> list[Path]:
        """Fetch packages."""
        run(["apt-get", "-q", "download", *(f"{name}={version}" for name in packages)], environment=self.environment, cwd=into)
        return sorted(into.glob("*.deb"))


# ---- unpacking ---------------------------------------------------------------------------------------------------------


def unpack(archives: list[Path], work: Path) -> str:
    """Unpack a kernel's packages into `work` and give its files their places. Returns the kernel's release."""
    raw = work / "raw"
    for archive in archives:
        run(["dpkg-deb", "-x", archive, raw])
    (modules,) = [path for top in ("lib", "usr/lib") for path in raw.glob(f"{top}/modules/*")]
    release = modules.name
    image = next(path for path in (raw / f"boot/vmlinuz-{release}", modules / "vmlinuz") if path.exists())
    config = next(path for path in (raw / f"boot/config-{release}", modules / "config") if path.exists())
    shutil.copy(image, work / "vmlinuz")
    shutil.copy(config, work / "config")
    (work / "lib/modules").mkdir(parents=True)
    modules.rename(work / "lib/modules" / release)
    shutil.rmtree(raw)
    run(["depmod", "-b", work, release])
    return release


def prepare(name: str, *, update: bool = False) -> Kernel:
    """Return the kernel of a name in KERNELS, fetched if it isn't in the cache, or anew with `update`."""
    if name not in KERNELS:
        raise SystemExit(f"vm: no kernel {name!r}: there are {', '.join(KERNELS)}")
    _preparation.install(NEEDED)
    cache = cache_directory() / "vm"
    cache.mkdir(parents=True, exist_ok=True)
    link = cache / "kernels" / name
    if link.exists() and not update:
        return Kernel(link.resolve().name, link.resolve())
    apt = Apt(cache / "apt")
    if update or not (apt.directory / "conf").exists():
        say("fetching the lists of Debian's releases")
        apt.update()
    version = apt.newest(METAPACKAGE, KERNELS[name])
    work = cache / f"work.{os.getpid()}"
    work.mkdir()
    try:
        say(f"fetching and unpacking Linux {version}")
        archives = apt.download(apt.kernel_packages(version), version, work)
        release = unpack(archives, work)
        for archive in archives:
            archive.unlink()
        place = cache / "kernels" / release
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    fresh = link.with_name(f"{name}.{os.getpid()}")
    fresh.symlink_to(release)
    fresh.rename(link)
    return Kernel(release, place)
