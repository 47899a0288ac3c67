"""How many volumes a node has room for, on trees of files in the form of /proc and /sys/fs/cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.agent.system.task_limit import lift_own, room_for

THREADS = 16
POD = "kubepods.slice/pod1/agent"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    proc = tmp_path / "proc"
    write(proc / "sys/kernel/threads-max", "192730\n")
    write(proc / "sys/kernel/pid_max", "4194304\n")
    return proc


@pytest.mark.parametrize(
    ("own", "pids"),
    [(f"0::/{POD}\n", ""), (f"8:pids:/{POD}\n1:name=systemd:/\n0::/elsewhere\n", "pids")],
    ids=["cgroup v2", "cgroup v1"],
)
@pytest.mark.parametrize("level", ["", "kubepods.slice", "kubepods.slice/pod1"])
def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path, proc: Path, own: str, pids: str, level: str) -> None:
    cgroups = tmp_path / "cgroup"
    write(proc / "self/cgroup", own)
    for group in ("", "kubepods.slice", "kubepods.slice/pod1", POD):
        write(cgroups / pids / group / "pids.max", "2048\n" if group == level else "max\n")
    write(cgroups / pids / POD / "pids.max", "307\n")  # this container's own, as systemd gives it
    assert room_for(THREADS, proc=proc, cgroups=cgroups) == 2048 // 2 // THREADS


def test_without_a_limit_on_groups_the_kernels_counts(tmp_path: Path, proc: Path) -> None:
    assert room_for(THREADS, proc=proc, cgroups=tmp_path) == 192730 // 2 // THREADS


def test_a_tiny_limit_leaves_room_for_one(tmp_path: Path, proc: Path) -> None:
    write(tmp_path / "cgroup/pids.max", "8")
    write(proc / "self/cgroup", "0::/\n")
    assert room_for(THREADS, proc=proc, cgroups=tmp_path / "cgroup") == 1


def test_where_nothing_is_known_there_is_no_limit(tmp_path: Path) -> None:
    assert room_for(THREADS, proc=tmp_path, cgroups=tmp_path) == 0


@pytest.mark.parametrize("seen", [POD, ""], ids=["in the host's hierarchy", "as the root"])
@pytest.mark.parametrize(
    ("own", "pids"), [(f"0::/{POD}\n", ""), (f"8:pids:/{POD}\n", "pids")], ids=["cgroup v2", "cgroup v1"]
)
def test_the_mounter_lifts_the_limit_of_its_own_group_and_of_no_other(
    tmp_path: Path, proc: Path, own: str, pids: str, seen: str
) -> None:
    cgroups = tmp_path / "cgroup"
    write(proc / "self/cgroup", own)
    write(cgroups / pids / seen / "pids.max", "307\n")
    if seen:
        write(cgroups / pids / "kubepods.slice/pod1/pids.max", "1000\n")
    assert lift_own(proc=proc, cgroups=cgroups) == "307"
    assert (cgroups / pids / seen / "pids.max").read_text() == "max"
    if seen:
        assert (cgroups / pids / "kubepods.slice/pod1/pids.max").read_text() == "1000\n"
    assert lift_own(proc=proc, cgroups=cgroups) == ""


def test_a_limit_of_the_pod_is_not_lifted(tmp_path: Path, proc: Path) -> None:
    cgroups = tmp_path / "cgroup"
    write(proc / "self/cgroup", f"0::/{POD}\n")
    write(cgroups / POD / "pids.max", "max\n")
    write(cgroups / "pids.max", "2048\n")
    assert lift_own(proc=proc, cgroups=cgroups) == ""
    assert (cgroups / "pids.max").read_text() == "2048\n"
