"""How many cores this process may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pass_lsp import cores as module
from pass_lsp.cores import cores, memory
from pass_lsp.decoding.model import Limits
from pass_lsp.engines.local import _threads


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores whose groups are told by files; the process is in `/user/job`."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    if sys.platform == "linux":
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "own").write_text("4:memory:/elsewhere\n0::/user/job\n")
    (tmp_path / "groups" / "user" / "job").mkdir(parents=True)
    monkeypatch.setattr(module, "_OWN", tmp_path / "own")
    monkeypatch.setattr(module, "_GROUPS", tmp_path / "groups")
    return tmp_path / "groups"


@pytest.mark.parametrize(
    ("of_user", "of_job", "found"),
    [
        ("", "", 64),
        ("max 100000", "max 100000", 64),
        ("max 100000", "400000 100000", 4),
        ("200000 100000", "400000 100000", 2),
        ("150000 100000", "max 100000", 2),
        ("10000 100000", "max 100000", 1),
        ("9900000 100000", "", 64),
        ("nonsense", "1 2 3", 64),
    ],
)
def test_the_least_share_of_a_group_counts(groups: Path, of_user: str, of_job: str, found: int) -> None:
    (groups / "user" / "cpu.max").write_text(of_user)
    (groups / "user" / "job" / "cpu.max").write_text(of_job)
    assert cores() == found


def test_in_a_container_the_root_is_its_own_group(groups: Path) -> None:
    module._OWN.write_text("0::/\n")
    (groups / "cpu.max").write_text("300000 100000\n")
    assert cores() == 3


@pytest.mark.parametrize(("of_user", "of_job", "found"), [(-1, -1, 64), (-1, 250_000, 3), (100_000, 250_000, 1)])
def test_groups_of_the_first_version(groups: Path, of_user: int, of_job: int, found: int) -> None:
    module._OWN.write_text("9:name=systemd:/\n4:cpu,cpuacct:/user/job\n0::/\n")
    for path, quota in (("user", of_user), ("user/job", of_job)):
        folder = groups / "cpu" / path
        folder.mkdir(parents=True)
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cores() == found


def test_the_memory_of_its_groups_may_be_bounded(groups: Path) -> None:
    assert list(memory()) == []
    (groups / "user" / "memory.max").write_text("1073741824\n")
    (groups / "user" / "job" / "memory.max").write_text("max\n")
    assert list(memory()) == [1 << 30]
    module._OWN.write_text("3:memory:/docker/abc\n")  # a path of the machine, which is not here
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("536870912\n")
    assert list(memory()) == [1 << 29]


def test_without_groups_all_cores_count(groups: Path) -> None:
    module._OWN.write_text("9:name=systemd:/\n")
    assert cores() == 64
    module._OWN.unlink()
    assert cores() == 64


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux leaves a process some of the cores")
def test_a_scheduler_may_leave_some_of_the_cores(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert cores() == 3


def test_a_model_gets_no_more_threads_than_there_are_cores_for_it(groups: Path) -> None:
    large = Limits(4096, 32, None, frozenset(), 4096)
    before = _threads(large)
    (groups / "user" / "cpu.max").write_text("400000 100000")
    assert (before, _threads(large)) == (32, 2)
