"""Who may use pins: mode, owner and group, set before anybody sees the pin at its place.

A pin is readable and writable for its owner alone unless something else is asked for. To open one takes both rights, for a map
that is only read the first; a directory of pins may be looked into by whoever may read it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from bpfload.errors import NotFoundError, PinError, UsageError, near

_BITS = 0o777


@dataclass(frozen=True, slots=True)
class Permissions:
    """What pins get. `mode`: permission bits of a pin, `owner`, `group`: numbers; -1: left as it is.

    `directory_mode`: of directories, -1: `mode`, searchable for whoever may read, all rights for the owner.
    """

    mode: int = -1
    owner: int = -1
    group: int = -1
    directory_mode: int = -1

    def apply(self, path: str) -> None:
        """Give these to what is at `path`. Raises PinError."""
        try:
            status = os.lstat(path)
            if (self.owner, self.group) not in ((-1, -1), (status.st_uid, status.st_gid)):
                os.chown(path, self.owner, self.group, follow_symlinks=False)
            mode = self.mode
            if stat.S_ISDIR(status.st_mode):
                # The owner has to be able to unload: to remove what is in it.
                mode = self.directory_mode if self.directory_mode >= 0 or mode < 0 else mode | (mode & 0o444) >> 2 | 0o700
            if mode >= 0:
                os.chmod(path, mode)
        except OSError as error:
            raise _refused(error, path) from None


def permissions(mode: int | str = "", owner: int | str = "", group: int | str = "") -> Permissions | None:
    """Return what these words mean; None where all are empty.

    `mode`: bits, or text in octal, as for chmod; `owner`, `group`: names or numbers. Raises UsageError, NotFoundError.
    """
    if mode == "" and owner == "" and group == "":
        return None
    return Permissions(_mode(mode), _number(owner, "user"), _number(group, "group"))


def permissions_of(path: str) -> Permissions:
    """Return what a load's pins have: of the pin at `path`, or of the directory there and a pin in it."""
    status = os.lstat(path)
    own = stat.S_IMODE(status.st_mode)
    if not stat.S_ISDIR(status.st_mode):
        return Permissions(own, status.st_uid, status.st_gid)
    for name in sorted(os.listdir(path)):
        inner = os.lstat(os.path.join(path, name))
        if stat.S_ISREG(inner.st_mode):
            return Permissions(stat.S_IMODE(inner.st_mode), status.st_uid, status.st_gid, own)
    return Permissions(-1, status.st_uid, status.st_gid, own)


def _mode(word: int | str) -> int:
    if word == "":
        return -1
    try:
        value = word if isinstance(word, int) else int(word, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= _BITS:
        raise UsageError(
            f"{word!r} is no mode for a pin", hint="It is octal, as for chmod: 0640, or 0660 for who may change maps, too."
        )
    return value


def _number(word: int | str, what: str) -> int:
    """Return the number of a user or group."""
    if word == "":
        return -1
    if isinstance(word, int) or word.isdecimal():
        number = int(word)
        if number >= 2**32 - 1:
            raise UsageError(f"{number} is no number of a {what}")
        return number
    import grp
    import pwd

    try:
        return pwd.getpwnam(word).pw_uid if what == "user" else grp.getgrnam(word).gr_gid
    except (KeyError, ValueError):
        names = [each.pw_name for each in pwd.getpwall()] if what == "user" else [each.gr_name for each in grp.getgrall()]
        raise NotFoundError(f"no {what} {word!r} on this machine", candidates=near(word, names)) from None


def _refused(error: OSError, path: str) -> PinError:
    hint = ""
    if error.errno == errno.EPERM:
        hint = (
            "Another owner takes CAP_CHOWN, a group that this process isn't in does, too; the mode of what others own takes "
            "CAP_FOWNER. Run it as root, or with these capabilities."
        )
    elif error.errno == errno.EINVAL:
        hint = "This user namespace knows no such user or group."
    reason = os.strerror(error.errno or 0)
    return PinError(
        f"{path}: mode and owner can't be set: {reason}", path=path, hint=hint, errno_code=error.errno or errno.EINVAL
    )
