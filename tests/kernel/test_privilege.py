"""Without root: with capabilities, with a BPF token; what pins allow to whom; what is said of a right that is missing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfload import pins
from bpfload.abi import consts
from bpfload.errors import KernelError, NotFoundError, PinError, UsageError
from bpfload.kernel import capabilities
from bpfload.load import token
from bpfload.pins.permissions import Permissions, permissions
from support.limited import with_only
from support.namespaces import VethPair
from support.paths import DATA, HELLO, PACKET_COUNTER
from support.process import Result, bpfload_command

pytestmark = [pytest.mark.usefixtures("nothing_left_behind"), pytest.mark.needs_feature("cap_bpf", since="5.8")]

BPF, NET, PERF = consts.CAP_BPF, consts.CAP_NET_ADMIN, consts.CAP_PERFMON
VERSIONS, MANY = DATA / "versions.bpf.o", DATA / "two-programs.bpf.o"


# Capabilities


@pytest.mark.needs_feature("xdp_link")
def test_network_programs_take_cap_bpf_and_cap_net_admin(bpffs: Path, veth: VethPair) -> None:
    """Loaded, attached, pinned and unloaded. A replacement opens maps by their ids, for which the kernel wants CAP_SYS_ADMIN."""
    ours = bpfload_command()
    with_only([BPF, NET], *ours, VERSIONS, bpffs / "p", "--dev", veth.device)
    assert sorted(os.listdir(bpffs)) == ["p", "p_link"]
    done = with_only([BPF, NET], *ours, VERSIONS, bpffs / "p", "--replace", check=False)
    assert "CAP_SYS_ADMIN is missing" in done.stderr
    assert sorted(os.listdir(bpffs)) == ["p", "p_link"]
    with_only([BPF, NET], *ours, "unload", bpffs / "p")
    assert os.listdir(bpffs) == []


def test_tracing_programs_take_cap_bpf_and_cap_perfmon(bpffs: Path) -> None:
    with_only([BPF, PERF], *bpfload_command(), VERSIONS, bpffs / "p", "--program", "on_rename")
    with_only([BPF, PERF], *bpfload_command(), "unload", bpffs / "p")
    assert os.listdir(bpffs) == []


@pytest.mark.parametrize(
    ("kept", "program", "missing"),
    [
        ((), "on_packet", "CAP_BPF and CAP_NET_ADMIN are missing"),
        ((NET,), "on_packet", "CAP_BPF is missing"),
        ((BPF,), "on_packet", "CAP_NET_ADMIN is missing"),
        ((BPF, NET), "on_rename", "CAP_PERFMON is missing"),
        ((), "on_rename", "CAP_BPF and CAP_PERFMON are missing"),
    ],
)
def test_what_is_missing_is_named(bpffs: Path, kept: tuple[int, ...], program: str, missing: str) -> None:
    done = with_only(kept, *bpfload_command(), VERSIONS, bpffs / "p", "--program", program, check=False)
    assert done.status == 1
    assert missing in done.stderr
    assert "Run it as root, or with " in done.stderr
    assert os.listdir(bpffs) == []


def test_what_the_verifier_allows_by_cap_perfmon_alone(bpffs: Path) -> None:
    """The length of a packet is one address less another."""
    done = with_only([BPF, NET], *bpfload_command(), PACKET_COUNTER, bpffs / "p", check=False)
    assert "pointer -= pointer prohibited" in done.stderr
    assert "Calculating with addresses takes more than CAP_BPF. CAP_PERFMON is missing" in done.stderr
    with_only([BPF, NET, PERF], *bpfload_command(), PACKET_COUNTER, bpffs / "p")
    pins.unload(bpffs / "p")


def test_a_lockdown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can take a lockdown back, so it is only told of here."""
    monkeypatch.setattr(capabilities, "missing", lambda *_: [])
    monkeypatch.setattr(capabilities, "_locked_memory_limit", lambda: None)
    monkeypatch.setattr(capabilities, "in_other_user_namespace", lambda: False)
    monkeypatch.setattr(capabilities, "lockdown", lambda: "confidentiality")
    assert "The kernel is locked down (confidentiality)" in capabilities.permission_hint(BPF)


# Who may use a pin


def modes(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return mode, owner and group of everything, by path."""
    found = {}
    for place, directories, names in os.walk(directory):
        for name in (*directories, *names):
            status = os.lstat(os.path.join(place, name))
            found[os.path.relpath(os.path.join(place, name), directory)] = (
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
            )
    return found


def test_mode_owner_and_group(bpffs: Path, bpfload: Callable[..., Result]) -> None:
    options = ("--pin-mode", "0640", "--pin-owner", "nobody", "--pin-group", "12")
    bpfload(VERSIONS, bpffs / "p", "--program", "on_rename", "--pin-maps", bpffs / "maps", *options)
    owner = permissions(owner="nobody")
    assert owner is not None
    seen = modes(bpffs)
    assert seen.pop("maps") == (0o750, owner.owner, 12)
    assert {"p", "p_link", "maps/counts"} <= {*seen}
    assert {*seen.values()} == {(0o640, owner.owner, 12)}
    bpfload(VERSIONS, bpffs / "p", "--program", "on_rename", "--replace", "--fresh-maps")
    again = modes(bpffs)
    assert again.pop("maps") == (0o750, owner.owner, 12)
    assert {name: again[name] for name in ("p", "maps/counts")} == dict.fromkeys(("p", "maps/counts"), (0o640, owner.owner, 12))
    bpfload("unload", bpffs / "p")
    assert os.listdir(bpffs) == []


def test_of_a_directory(bpffs: Path) -> None:
    pins.deploy(MANY, bpffs / "d", permissions=Permissions(0o440, -1, 7))
    seen = modes(bpffs)
    assert seen.pop("d") == (0o750, 0, 7)
    assert {*seen.values()} == {(0o440, 0, 7)}
    pins.deploy(MANY, bpffs / "d", replace=True)
    assert modes(bpffs)["d/packets"] == (0o440, 0, 7), "a replacement has what was there"
    assert modes(bpffs)["d"] == (0o750, 0, 7)
    pins.deploy(MANY, bpffs / "d", replace=True, permissions=Permissions(0o600, -1, 0))
    assert modes(bpffs)["d/packets"] == (0o600, 0, 0)
    pins.unload(bpffs / "d")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rw", "", ""), "'rw' is no mode for a pin"),
        (("7777", "", ""), "'7777' is no mode for a pin"),
        (("", "4294967295", ""), "4294967295 is no number of a user"),
        (("", "nobdy", ""), "no user 'nobdy' on this machine\nDid you mean nobody?"),
        (("", "", "no-such-group"), "no group 'no-such-group' on this machine"),
    ],
)
def test_words_that_mean_nothing(words: tuple[str, str, str], message: str) -> None:
    with pytest.raises((UsageError, NotFoundError)) as caught:
        permissions(*words)
    assert message in str(caught.value)


def test_an_owner_that_takes_a_capability(bpffs: Path) -> None:
    command = [*bpfload_command(), VERSIONS, bpffs / "p", "--pin-owner", "nobody"]
    done = with_only([BPF, NET], *command, check=False)
    assert "mode and owner can't be set: Operation not permitted" in done.stderr
    assert "CAP_CHOWN" in done.stderr
    assert os.listdir(bpffs) == []


# Tokens


@pytest.mark.needs_feature("token")
def test_tokens_that_cannot_be_taken(bpffs: Path, tmp_path: Path, bpfload: Callable[..., Result]) -> None:
    with pytest.raises(PinError, match="no BPF token can be taken from /nowhere: No such file or directory"):
        token.create("/nowhere")
    with pytest.raises(PinError, match="is not on a BPF file system"):
        token.create(str(tmp_path))
    with pytest.raises(KernelError, match=f"no BPF token from {bpffs}") as caught:
        token.create(str(bpffs))
    assert caught.value.hint
    for words in ((HELLO, bpffs / "p", "--token", "/nowhere"), ("check", HELLO, "--token", "/nowhere")):
        done = bpfload(*words, check=False)
        assert done.status == 1
        assert "no BPF token can be taken from /nowhere" in done.stderr + done.stdout
    done = bpfload(HELLO, bpffs / "p", check=False, env={"LIBBPF_BPF_TOKEN_PATH": "/nowhere"})
    assert "no BPF token can be taken from /nowhere" in done.stderr
    bpfload(HELLO, bpffs / "p", env={"LIBBPF_BPF_TOKEN_PATH": ""})
    bpfload("unload", bpffs / "p")


def test_no_token_is_looked_for_outside_of_user_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(token.ENVIRONMENT, raising=False)
    assert token.path_from_environment() == ""
    monkeypatch.setattr(capabilities, "in_other_user_namespace", lambda: True)
    monkeypatch.setattr(token.mounts, "mount_options", lambda _: [("/sys/fs/bpf", "rw,delegate_cmds=any")])
    assert token.path_from_environment() == "/sys/fs/bpf"
    monkeypatch.setattr(token.mounts, "mount_options", lambda _: [("/sys/fs/bpf", "rw"), ("/x", "rw,delegate_cmds=any")])
    assert token.path_from_environment() == ""
