"""What is alike for all volumes that are handed to pods: bind mounts, their end, and how full they are."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import grpc

from controller.agent.node import csi_pb2
from controller.agent.node.calls import CsiError
from controller.agent.system import mounts
from controller.agent.system.command import CommandError
from controller.agent.system.loop import size_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.agent.node.driver import Publish
    from controller.agent.system.command import Runner

SINGLE_POD = "SINGLE_NODE_SINGLE_WRITER"
"""CSI's access mode of a volume that one pod may have; in Kubernetes ReadWriteOncePod."""

_STAT_DEADLINE = 10.0
_FORCED_UNMOUNT_DEADLINE = 60.0


async def publish_directory(run: Runner, publish: Publish, within: str = "") -> None:
    """Binds the staged file system to where a pod is to see it.

    Args:
        run: Runs the system's tools.
        publish: What is to be published.
        within: The directory of the staged file system that the pod is to see; empty: all of it.

    Raises:
        CsiError: It is not staged, something else is there, or it is for one pod and another has it.
    """
    table = await mounts.table()
    staged = mounts.at(publish.staged, table)
    if staged is None:
        raise not_staged(publish)
    if (present := mounts.at(publish.path, table)) is not None:
        if present.device != staged.device:
            raise taken(publish, f"{present.source} is mounted there")
        if publish.read_only and not present.read_only:
            raise taken(publish, "it is mounted there for writing, asked for read-only")
        return
    same = (staged.device, staged.root)
    refuse_second_pod(publish, (m.target for m in table if (m.device, m.root) == same and m.target != publish.staged))
    await anyio.Path(publish.path).mkdir(parents=True, exist_ok=True, mode=0o750)
    source = f"{publish.staged}/{within}" if within else publish.staged
    await mounts.bind(run, source, publish.path, options=("ro",) if publish.read_only else ())


async def unpublish(run: Runner, path: str, *, force: bool) -> None:
    """Takes away what a pod saw, and the place where it did; see `unmount` for `force`."""
    await unmount(run, path, force=force)
    await anyio.to_thread.run_sync(_remove_mount_point, Path(path))


async def unmount(run: Runner, path: str, *, force: bool) -> None:
    """Unmounts what is at a path; `force`: what is under it is dead, and nothing is waited for in vain."""
    try:
        await mounts.unmount(run, path, deadline=_FORCED_UNMOUNT_DEADLINE if force else None)
    except CommandError:
        if not force:
            raise
        # Nothing can be flushed, and nothing is lost by not waiting for it.
        await mounts.unmount(run, path, lazy=True)


def refuse_second_pod(publish: Publish, others: Iterable[str]) -> None:
    """Refuses a volume for one pod that another has: the scheduler is not alone in choosing where pods run.

    Args:
        publish: How it is asked for.
        others: Where the volume is published already.

    Raises:
        CsiError: It is for one pod, and published.
    """
    found = sorted(others)
    if publish.access.mode == SINGLE_POD and found:
        raise CsiError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"volume {publish.volume} has access mode {SINGLE_POD} and is published at {', '.join(found)}: "
            f"it is not published at {publish.path} as well",
        )


def not_staged(publish: Publish) -> CsiError:
    """A volume is to be published that is not staged."""
    return CsiError(grpc.StatusCode.FAILED_PRECONDITION, f"volume {publish.volume} is not staged at {publish.staged}")


def taken(publish: Publish, why: str) -> CsiError:
    """Something else is where a volume is to appear."""
    return CsiError(
        grpc.StatusCode.ALREADY_EXISTS, f"volume {publish.volume} cannot be published at {publish.path}: {why}"
    )


class Usage:
    """Asks how full volumes are; one question for each path at a time."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    async def of(self, path: str) -> list[csi_pb2.VolumeUsage]:
        """Bytes and inodes of what is mounted at a path.

        Raises:
            CsiError: An earlier question has not been answered yet.
            TimeoutError: This one is not answered in time.
        """
        if path in self._asked:
            raise CsiError(grpc.StatusCode.DEADLINE_EXCEEDED, f"the file system at {path} has not answered yet")
        self._asked.add(path)

        def look() -> list[csi_pb2.VolumeUsage]:
            try:
                return usage_of(path)
            finally:
                self._asked.discard(path)

        # A thread of its own, one for each path: file systems that hang must not use up those of everything else.
        with anyio.fail_after(_STAT_DEADLINE):
            return await anyio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


def usage_of(path: str) -> list[csi_pb2.VolumeUsage]:
    """Bytes and inodes of a mounted file system, or the bytes of a block device. Blocking."""
    if stat.S_ISBLK(Path(path).stat().st_mode):
        return [csi_pb2.VolumeUsage(total=size_of(path), unit=csi_pb2.VolumeUsage.BYTES)]
    found = os.statvfs(path)
    size = csi_pb2.VolumeUsage(
        total=found.f_blocks * found.f_frsize,
        used=(found.f_blocks - found.f_bfree) * found.f_frsize,
        available=found.f_bavail * found.f_frsize,
        unit=csi_pb2.VolumeUsage.BYTES,
    )
    # A file system without a number of inodes, such as CephFS, says that more are free than there are, or -1.
    if not 0 <= found.f_ffree <= found.f_files:
        return [size]
    inodes = csi_pb2.VolumeUsage(
        total=found.f_files,
        used=found.f_files - found.f_ffree,
        available=found.f_favail,
        unit=csi_pb2.VolumeUsage.INODES,
    )
    return [size, inodes]


def _remove_mount_point(path: Path) -> None:
    try:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    except FileNotFoundError:
        pass
