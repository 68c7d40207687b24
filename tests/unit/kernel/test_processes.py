"""bpfload.kernel.processes: what /proc tells, of this process and of one that is gone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bpfload.kernel import processes


def test_this_process_and_its_files(tmp_path: Path) -> None:
    place = tmp_path / "file"
    with place.open("w") as file:
        assert os.getpid() in processes.pids()
        assert (file.fileno(), str(place)) in list(processes.open_files(os.getpid()))
        text = processes.fdinfo(file.fileno())
        assert text == processes.fdinfo(file.fileno(), os.getpid())
        assert processes.fdinfo_number(text, "pos") == 0
    assert processes.pids() == sorted(processes.pids())
    assert processes.command_name(os.getpid()) == Path("/proc/self/comm").read_text().strip()


def test_a_process_that_is_gone_has_nothing() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert list(processes.open_files(child.pid)) == []
    assert processes.command_name(child.pid) == ""
    assert processes.fdinfo(0, child.pid) == ""


def test_numbers_of_fdinfo() -> None:
    text = "pos:\t0\nprog_id:\t17\nmap_id:\tnone\nmemlock:\t4096"
    assert processes.fdinfo_number(text, "prog_id") == 17
    assert processes.fdinfo_number(text, "memlock") == 4096
    assert processes.fdinfo_number(text, "map_id") is None
    assert processes.fdinfo_number(text, "link_id") is None
