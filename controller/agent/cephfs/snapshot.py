"""Where the data of a subvolume is within a snapshot of it.

A snapshot is of the directory around the data, whose own directory has a uuid as its name
(https://docs.ceph.com/en/latest/cephfs/fs-volumes/). The uuid is found here, since Ceph does not tell it any more once
the subvolume is removed.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import grpc

from controller.agent.node.calls import CsiError

if TYPE_CHECKING:
    from controller.agent.node.driver import Publish

_DEADLINE = 10.0


async def shown(publish: Publish, snapshot: str) -> str:
    """The data of a snapshot, as a path below where the directory around it is staged.

    Raises:
        CsiError: There is no such snapshot, or no data in it.
        TimeoutError: The file system does not answer.
    """
    within = f".snap/{snapshot}"

    def look() -> list[str]:
        with os.scandir(f"{publish.staged}/{within}") as entries:
            return [entry.name for entry in entries if _is_uuid(entry.name) and entry.is_dir(follow_symlinks=False)]

    try:
        with anyio.fail_after(_DEADLINE):
            found = await anyio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        raise _wrong(publish, f"snapshot {snapshot} cannot be read: {error.strerror}") from error
    if len(found) != 1:
        raise _wrong(publish, f"snapshot {snapshot} has {len(found)} directories with a uuid as their name: expected 1")
    return f"{within}/{found[0]}"


def _is_uuid(name: str) -> bool:
    try:
        uuid.UUID(name)
    except ValueError:
        return False
    return True


def _wrong(publish: Publish, why: str) -> CsiError:
    return CsiError(grpc.StatusCode.FAILED_PRECONDITION, f"volume {publish.volume}: {why}")
