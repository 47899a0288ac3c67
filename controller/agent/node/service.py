"""The CSI node service (CSI specification 1.11, "Node Service RPC"): what the kubelet asks for, handed to a `Driver`.

It checks what CSI asks of a call, keeps the operations on a volume apart, and knows no storage system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from controller.agent.node import csi_pb2, csi_pb2_grpc
from controller.agent.node.calls import CsiError
from controller.agent.node.driver import Access, Publish, Stage
from controller.agent.node.publish import Usage
from controller.agent.system import mounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from controller.agent.node.calls import Operations
    from controller.agent.node.driver import Driver
    from controller.agent.node.problems import Problems
    from controller.agent.node.topology import Topology

AccessMode = csi_pb2.VolumeCapability.AccessMode

_CAPABILITIES = (
    csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_STATS,
    csi_pb2.NodeServiceCapability.RPC.EXPAND_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.VOLUME_CONDITION,
    csi_pb2.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER,
)

_READERS = (AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY)
_MANY_WRITERS = (AccessMode.MULTI_NODE_MULTI_WRITER, AccessMode.MULTI_NODE_SINGLE_WRITER)


class NodeService(csi_pb2_grpc.NodeServicer):
    """Serves a CSI driver to the kubelet of one node.

    Args:
        node: The node's name.
        name: The CSI driver's name.
        driver: Serves its volumes.
        operations: Keeps the operations on a volume apart; one for all drivers.
        topology: Tells where the node is.
        problems: Told of volumes on which I/O fails.

    Attributes:
        told: What the kubelet was told of the node when it asked last; None: it has not asked.
    """

    def __init__(
        self,
        node: str,
        name: str,
        driver: Driver,
        operations: Operations,
        topology: Topology,
        problems: Problems,
    ) -> None:
        self._node = node
        self._name = name
        self._driver = driver
        self._operations = operations
        self._topology = topology
        self._problems = problems
        self._usage = Usage()
        self.told: csi_pb2.NodeGetInfoResponse | None = None

    async def NodeGetInfo(  # noqa: N802
        self, request: csi_pb2.NodeGetInfoRequest, context: Any
    ) -> csi_pb2.NodeGetInfoResponse:
        """See `info`."""
        self.told = await self.info()
        return self.told

    async def info(self) -> csi_pb2.NodeGetInfoResponse:
        """The node's id, by which VolumeAttachments name it, how many volumes the scheduler may send, and its place."""
        segments = await self._topology.segments(self._name)
        return csi_pb2.NodeGetInfoResponse(
            node_id=self._node,
            max_volumes_per_node=await self._driver.max_volumes(),
            accessible_topology=csi_pb2.Topology(segments=segments) if segments else None,
        )

    async def NodeGetCapabilities(  # noqa: N802
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: Any
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """What this service does beside publishing."""
        capabilities = [
            csi_pb2.NodeServiceCapability(rpc=csi_pb2.NodeServiceCapability.RPC(type=kind)) for kind in _CAPABILITIES
        ]
        return csi_pb2.NodeGetCapabilitiesResponse(capabilities=capabilities)

    async def NodeStageVolume(  # noqa: N802
        self, request: csi_pb2.NodeStageVolumeRequest, context: Any
    ) -> csi_pb2.NodeStageVolumeResponse:
        """Makes the volume ready on this node."""
        _require(request, "volume_id", "staging_target_path")
        stage = Stage(
            driver=self._name,
            volume=request.volume_id,
            path=request.staging_target_path,
            access=access_of(request.volume_capability),
            attributes=dict(request.volume_context),
            told=dict(request.publish_context),
            secrets=dict(request.secrets),
        )
        await self._operations.run(request.volume_id, lambda: self._driver.stage(stage), "NodeStageVolume")
        return csi_pb2.NodeStageVolumeResponse()

    async def NodeUnstageVolume(  # noqa: N802
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        """Takes the volume away from this node, after everything is flushed."""
        _require(request, "volume_id", "staging_target_path")
        volume, path = request.volume_id, request.staging_target_path
        await self._operations.run(volume, lambda: self._driver.unstage(volume, path), "NodeUnstageVolume")
        await self._problems.note(self._name, volume, "")
        return csi_pb2.NodeUnstageVolumeResponse()

    async def NodePublishVolume(  # noqa: N802
        self, request: csi_pb2.NodePublishVolumeRequest, context: Any
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Makes the staged volume appear where the kubelet hands it to a pod."""
        _require(request, "volume_id", "target_path", "staging_target_path")
        publish = Publish(
            volume=request.volume_id,
            staged=request.staging_target_path,
            path=request.target_path,
            access=access_of(request.volume_capability),
            read_only=request.readonly,
        )
        await self._operations.run(request.volume_id, lambda: self._driver.publish(publish), "NodePublishVolume")
        return csi_pb2.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(  # noqa: N802
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Takes the volume away from a pod."""
        _require(request, "volume_id", "target_path")
        volume, path = request.volume_id, request.target_path
        await self._operations.run(volume, lambda: self._driver.unpublish(volume, path), "NodeUnpublishVolume")
        return csi_pb2.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(  # noqa: N802
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: Any
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """How full the volume is, and whether I/O on it works."""
        _require(request, "volume_id", "volume_path")
        problem = await self._driver.problem(request.volume_id)
        if problem is None or mounts.at(request.volume_path, await mounts.table()) is None:
            raise CsiError(
                grpc.StatusCode.NOT_FOUND, f"volume {request.volume_id} is not published at {request.volume_path}"
            )
        await self._problems.note(self._name, request.volume_id, problem)
        condition = csi_pb2.VolumeCondition(abnormal=bool(problem), message=problem or "mapped")
        usage = [] if problem else await self._usage.of(request.volume_path)
        return csi_pb2.NodeGetVolumeStatsResponse(usage=usage, volume_condition=condition)

    async def NodeExpandVolume(  # noqa: N802
        self, request: csi_pb2.NodeExpandVolumeRequest, context: Any
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Makes what is on the node as large as the volume is now."""
        _require(request, "volume_id", "volume_path")
        volume, wanted = request.volume_id, request.capacity_range.required_bytes
        if 0 < request.capacity_range.limit_bytes < wanted:
            raise CsiError(
                grpc.StatusCode.OUT_OF_RANGE,
                f"capacity_range asks for at least {wanted} and at most {request.capacity_range.limit_bytes} bytes",
            )
        size = await self._operations.run(volume, lambda: self._driver.expand(volume, wanted), "NodeExpandVolume")
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=size)

    async def trim(self, volume: str) -> int | None:
        """See `Driver.trim`; whatever the kubelet asks for goes first, and cuts it off."""
        return await self._operations.run_aside(volume, lambda: self._driver.trim(volume), "fstrim")

    async def mapped(self) -> Sequence[str]:
        """The volumes of all CSI drivers of this one's kind that are on the node, or of which a trace is left."""
        return await self._driver.volumes()

    async def abandoned(self, volume: str) -> bool:
        """Whether the stage of a volume failed, and it could not be taken away then."""
        return await self._driver.abandoned(volume)

    async def let_go(self, volume: str, nobodys: Callable[[], Awaitable[bool]]) -> bool:
        """Takes a volume away unless it is mounted, published, or somebody's.

        Args:
            volume: The volume's id.
            nobodys: Whether it is still nobody's; asked when no other operation on the volume is under way.

        Returns:
            Whether it is not on the node any more.
        """

        async def operation() -> bool:
            return await nobodys() and await self._driver.let_go(volume)

        return await self._operations.run(volume, operation, "letting go")


def access_of(capability: csi_pb2.VolumeCapability) -> Access:
    """How pods use a volume, by what the kubelet says.

    Raises:
        CsiError: It says neither block nor mount.
    """
    block, mode = capability.HasField("block"), capability.access_mode.mode
    if not block and not capability.HasField("mount"):
        raise CsiError(
            grpc.StatusCode.INVALID_ARGUMENT, "volume_capability has no access type: expected block or mount"
        )
    return Access(
        block=block,
        filesystem=capability.mount.fs_type,
        options=tuple(capability.mount.mount_flags),
        mode=AccessMode.Mode.Name(mode),
        read_only=mode in _READERS,
        many_writers=mode in _MANY_WRITERS,
    )


def _require(request: Any, *fields: str) -> None:
    for field in fields:
        if not getattr(request, field):
            raise CsiError(grpc.StatusCode.INVALID_ARGUMENT, f"{type(request).__name__} has no {field}")
