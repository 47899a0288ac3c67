"""A driver that mounts, as network file systems do, on nothing but what the node service publishes for drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import grpc
import pytest

from controller.agent.node import csi_pb2
from controller.agent.node.calls import CsiError, Operations
from controller.agent.node.driver import Driver, Publish, Stage, UnavailableError
from controller.agent.node.problems import Problems
from controller.agent.node.publish import publish_directory, unmount, unpublish
from controller.agent.node.service import NodeService
from controller.agent.node.topology import Topology
from controller.agent.system import mounts
from controller.agent.system.command import run
from tests.unit.agent.standin import Labels, Tasks, needs_loop_devices, unheard

pytestmark = needs_loop_devices

VOLUME = "share-1"
MANY = csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER)
CONTEXT = None


class Shares:
    """Mounts a tmpfs where a network file system would be."""

    suffix = ".shares.csi.example.com"

    def __init__(self) -> None:
        self.staged: dict[str, Stage] = {}
        self.server_answers = True

    async def usable(self) -> str:
        return ""

    async def max_volumes(self) -> int:
        return 0

    async def stage(self, stage: Stage) -> None:
        if not self.server_answers:
            raise UnavailableError(f"volume {stage.volume}: the server {stage.attributes['server']} does not answer")
        if mounts.at(stage.path, await mounts.table()) is None:
            await anyio.Path(stage.path).mkdir(parents=True)
            await mounts.mount(run, "share", stage.path, filesystem="tmpfs", options=stage.access.options)
        self.staged[stage.volume] = stage

    async def unstage(self, volume: str, path: str) -> None:
        await unmount(run, path, force=False)
        self.staged.pop(volume, None)

    async def publish(self, publish: Publish) -> None:
        await publish_directory(run, publish)

    async def unpublish(self, volume: str, path: str) -> None:
        await unpublish(run, path, force=False)

    async def problem(self, volume: str) -> str | None:
        return "" if volume in self.staged else None

    async def expand(self, volume: str, size: int) -> int:
        return size

    async def trim(self, volume: str) -> int | None:
        return None

    async def volumes(self) -> Sequence[str]:
        return tuple(self.staged)

    async def abandoned(self, volume: str) -> bool:
        return False

    async def let_go(self, volume: str) -> bool:
        return self.staged.pop(volume, None) is not None


async def test_many_nodes_write_to_a_volume_that_is_mounted(tmp_path: Path) -> None:
    shares = Shares()
    driver: Driver = shares
    node = NodeService(
        "node-a", f"rook{shares.suffix}", driver, Operations(Tasks()), Topology(Labels(), "node-a"), Problems(unheard)
    )
    staging, target = str(tmp_path / "staging"), tmp_path / "pods/1/mount"
    mount = csi_pb2.VolumeCapability.MountVolume(mount_flags=("noatime",))
    capability = csi_pb2.VolumeCapability(mount=mount, access_mode=MANY)
    attributes: Mapping[str, str] = {"server": "10.0.0.1"}
    stage = csi_pb2.NodeStageVolumeRequest(
        volume_id=VOLUME, staging_target_path=staging, volume_capability=capability, volume_context=attributes
    )
    publish = csi_pb2.NodePublishVolumeRequest(
        volume_id=VOLUME, staging_target_path=staging, target_path=str(target), volume_capability=capability
    )
    with pytest.raises(CsiError, match=f"volume {VOLUME} is not staged at {staging}") as refused:
        await node.NodePublishVolume(publish, CONTEXT)
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    for _ in range(2):
        await node.NodeStageVolume(stage, CONTEXT)
        await node.NodePublishVolume(publish, CONTEXT)
    try:
        assert (shares.staged[VOLUME].driver, shares.staged[VOLUME].access.many_writers) == (
            f"rook{shares.suffix}",
            True,
        )
        (target / "file").write_text("kept")
        assert (Path(staging) / "file").read_text() == "kept"
        stats = csi_pb2.NodeGetVolumeStatsRequest(volume_id=VOLUME, volume_path=str(target))
        answer = await node.NodeGetVolumeStats(stats, CONTEXT)
        assert answer.usage[0].used > 0
        assert not answer.volume_condition.abnormal
    finally:
        unpublished = csi_pb2.NodeUnpublishVolumeRequest(volume_id=VOLUME, target_path=str(target))
        await node.NodeUnpublishVolume(unpublished, CONTEXT)
        unstaged = csi_pb2.NodeUnstageVolumeRequest(volume_id=VOLUME, staging_target_path=staging)
        await node.NodeUnstageVolume(unstaged, CONTEXT)
    assert not target.exists()
    assert await node.mapped() == ()
    shares.server_answers = False
    with pytest.raises(UnavailableError, match=r"the server 10\.0\.0\.1 does not answer"):
        await node.NodeStageVolume(stage, CONTEXT)
