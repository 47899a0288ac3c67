"""The node's limit on tasks: what serves volumes in userspace takes threads, and a node may have so many."""

from __future__ import annotations

from pathlib import Path

_SHARE = 2
"""One part in so many of the node's tasks is for volumes; the rest is for the pods that use them, and all else."""


def room_for(threads: int, *, proc: Path = Path("/proc"), cgroups: Path = Path("/host/cgroup")) -> int:
    """How many volumes this node has room for, each of which takes so many threads; 0: no limit is known. Blocking.

    Counts by the tightest limit on tasks: of the kernel, and of the control groups above this container's, as far up as
    they are seen (Linux Documentation/admin-guide/cgroup-v2.rst, "PID"). What serves the volumes is in another
    container, which has the same groups above it, and lifts its own limit.
    """
    limits = [_number(proc / "sys/kernel" / name) for name in ("threads-max", "pid_max")]
    for hierarchy in (cgroups, cgroups / "pids"):
        own = _own_group(proc, hierarchy == cgroups)
        limits.extend(_number(hierarchy / group / "pids.max") for group in own.parents or (own,))
    known = [limit for limit in limits if limit]
    return max(min(known) // _SHARE // threads, 1) if known else 0


def lift_own(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> str:
    """Takes the limit on tasks off this container's own control group. Blocking.

    systemd gives each unit a limit of 15 % of the system's, containers too, whoever asked for none: that is no decision
    of the administrator's, whose limits are those of the pod and of the groups above. Needs a privileged container.

    Returns:
        What the limit was; empty if there was none, or it could not be lifted.
    """
    for hierarchy in (cgroups, cgroups / "pids"):
        file = hierarchy / _own_group(proc, hierarchy == cgroups) / "pids.max"
        if not file.exists():  # a container may see its own group as the root of the hierarchy
            file = hierarchy / "pids.max"
        if limit := _number(file):
            try:
                file.write_text("max")
            except OSError:
                return ""
            return str(limit)
    return ""


def _own_group(proc: Path, unified: bool) -> Path:
    """The control group of this process below its hierarchy's root."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return Path()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if (not controllers) if unified else ("pids" in controllers.split(",")):
            return Path(path.lstrip("/"))
    return Path()


def _number(path: Path) -> int:
    """The number in a file; 0 where there is none, as with "max"."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
