"""RBD images as the block devices of volumes: which image a volume is, and by which mapper it becomes a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
import grpc
import structlog
from prometheus_client import Gauge

from controller.agent.ceph.secrets import credentials_of
from controller.agent.node.block import Device
from controller.agent.node.calls import CsiError
from controller.agent.rbd.mapper import KernelMapper, MounterClient, kernel_options
from controller.agent.rbd.protocol import Image
from controller.agent.system.command import run
from controller.agent.system.task_limit import room_for
from controller.apis.rook.node_report import Mapper as NodeMapper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from controller.agent.node.driver import Stage
    from controller.agent.rbd.mapper import Mapper
    from controller.agent.rbd.protocol import Mapped

SUFFIX = ".rbd.csi.ceph.com"

USER_KEYS = (("userID", "userKey"),)
"""Of the node-stage Secret."""

THREADS_PER_VOLUME = 16
"""Of a qemu-storage-daemon with a Ceph client that is told to make do with few (measured with Ceph 18.2)."""

_log = structlog.get_logger(__name__)


class RbdDevices:
    """Makes devices of RBD images. Implements `controller.agent.node.block.Devices`.

    Args:
        node: The node's name.
        mappers: What makes block devices of images; the first that can serve an image does.
        registry: Gets the metric of which mapper is in use.
        most: How many volumes the scheduler may send to the node, 0: any number; None: as many as it has threads for.
    """

    suffix = SUFFIX
    kind = "image"

    def __init__(self, node: str, mappers: Sequence[Mapper], registry: CollectorRegistry, most: int | None) -> None:
        self._node = node
        self._mappers = mappers
        self._most = most
        self._told = NodeMapper()
        self._in_use = Gauge(
            "rook_agent_mapper", "1 for what maps RBD images on this node.", ("mapper",), registry=registry
        )

    async def usable(self) -> str:
        """One mapper suffices."""
        mapper = await self._usable()
        return "" if mapper.name else mapper.reason

    async def max_volumes(self) -> int:
        """The kernel's client takes no process, so only userspace is limited."""
        if self._most is not None:
            return self._most
        if (await self._usable()).name == KernelMapper.name:
            return 0
        return await anyio.to_thread.run_sync(room_for, THREADS_PER_VOLUME)

    def source(self, stage: Stage) -> str:
        """The image as "pool/namespace/image"."""
        return str(image_of(stage))

    async def volumes(self) -> Sequence[str]:
        """As the mappers know them."""
        return [volume for mapper in self._mappers for volume in await mapper.volumes()]

    async def find(self, volume: str) -> Device | None:
        """By the mapper that has it."""
        _, mapped = await self._found(volume)
        return None if mapped is None else _device(mapped)

    async def map(self, stage: Stage) -> Device:
        """By the first mapper that can."""
        image, credentials = image_of(stage), credentials_of(stage.secrets, USER_KEYS)
        mapper = await self._choose(image, wants_kernel=stage.attributes.get("mounter", "") in ("", "rbd"))
        return _device(await mapper.map(stage.volume, image, credentials, read_only=stage.access.read_only))

    async def unmap(self, volume: str) -> None:
        """By all mappers: more than one may have a record of it."""
        for mapper in self._mappers:
            await mapper.unmap(volume)

    async def expand(self, volume: str, size: int) -> None:
        """By the mapper that has it."""
        mapper, _ = await self._found(volume)
        if mapper is not None:
            await mapper.expand(volume, size)

    async def mapper(self) -> NodeMapper:
        """What maps images on this node now, and why nothing better does: for the node's report."""
        found = await self._usable()
        if found != self._told:
            _log.info("RBD images are mapped", by=found.name or "nothing", reason=found.reason)
            self._told = found
        for mapper in self._mappers:
            self._in_use.labels(mapper.name).set(mapper.name == found.name)
        return found

    async def _usable(self) -> NodeMapper:
        problems: list[str] = []
        for mapper in self._mappers:
            if not (problem := await mapper.usable()):
                return NodeMapper(name=mapper.name, reason="; ".join(problems))
            problems.append(f"{mapper.name}: {problem}")
        return NodeMapper(reason="; ".join(problems))

    async def _choose(self, image: Image, *, wants_kernel: bool) -> Mapper:
        reasons: list[str] = []
        for mapper in self._mappers:
            if mapper.name == KernelMapper.name and not wants_kernel:
                reasons.append(f"{mapper.name}: the StorageClass parameter 'mounter' asks for userspace")
            elif (problem := await mapper.usable()) or (problem := await mapper.unsuitable(image)):
                reasons.append(f"{mapper.name}: {problem}")
            else:
                return mapper
        raise CsiError(
            grpc.StatusCode.UNAVAILABLE, f"image {image} cannot be mapped on node {self._node}: {'; '.join(reasons)}"
        )

    async def _found(self, volume: str) -> tuple[Mapper | None, Mapped | None]:
        for mapper in self._mappers:
            if (mapped := await mapper.find(volume)) is not None:
                return mapper, mapped
        return None, None


async def devices_of(
    node: str, state: Path, mounter: Path, registry: CollectorRegistry, most: int | None
) -> RbdDevices:
    """The devices of a node, by the kernel's client where it has one, else by the mounter.

    Args:
        node: The node's name.
        state: A directory that outlives the agent.
        mounter: The mounter's socket.
        registry: See `RbdDevices`.
        most: See `RbdDevices`.
    """
    kernel = KernelMapper(state / "krbd")
    await kernel.load(run)
    return RbdDevices(node, (kernel, MounterClient(mounter)), registry, most)


def image_of(stage: Stage) -> Image:
    """The image of a volume: where it is comes from the attacher, how to map it from the StorageClass.

    Raises:
        CsiError: The attacher did not say.
    """
    told = stage.told
    for key in ("monitors", "pool", "imageName"):
        if not told.get(key):
            raise CsiError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"volume {stage.volume}: publish_context[{key!r}] is empty: expected it from the "
                "VolumeAttachment's status.attachmentMetadata",
            )
    return Image(
        monitors=tuple(told["monitors"].split(",")),
        pool=told["pool"],
        namespace=told.get("radosNamespace", ""),
        name=told["imageName"],
        features=int(told.get("imageFeatures") or 0),
        options=kernel_options(stage.attributes.get("mapOptions", "")),
        fsid=told.get("fsid", ""),
        ms_mode=told.get("msMode", ""),
        location=told.get("crushLocation", ""),
    )


def _device(mapped: Mapped) -> Device:
    return Device(
        path=mapped.device,
        source=mapped.image,
        read_only=mapped.read_only,
        problem=mapped.problem,
        client=mapped.address,
    )
