"""Volumes that are mapped on this node though it has no part in them any more: let go.

The kubelet unstages what it staged. What it gave up before that, as when the file system could not be made and the pod
was deleted, it does not know of; nobody would ever unmap it, and while it is mapped, the volume cannot be detached.

The order in Kubernetes (kubelet's volume manager, attach-detach controller): a volume stands in the node's
`status.volumesInUse` from before the kubelet begins with it until it has ended with it, and in `status.volumesAttached`
from when its VolumeAttachment says attached until right before that is deleted. So one in neither is nobody's. So
is one whose stage failed and that is only in use: the kubelet, with the next pod, waits for it to be attached anew,
which waits for it to be let go here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import anyio
import msgspec
import structlog

from controller.apis.meta import ApiStruct
from controller.framework.text import brief
from controller.runtime.kube import NODE
from informers import InformerFactory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

    from informers import Client, Delta

_log = structlog.get_logger(__name__)

GRACE = 15.0
"""Seconds that a volume has to be nobody's before it is let go. A node that is made anew has empty lists at first."""

INTERVAL = 60.0
"""Seconds after which is looked though the node did not change: what failed is tried again."""

_PREFIX = "kubernetes.io/csi/"


class AttachedVolume(ApiStruct, frozen=True, kw_only=True):
    """A volume that is attached to a node."""

    name: str = ""


class VolumeStatus(ApiStruct, frozen=True, kw_only=True):
    """What of a node's status tells of volumes."""

    volumes_attached: tuple[AttachedVolume, ...] = ()
    volumes_in_use: tuple[str, ...] = ()


class NodeVolumes(ApiStruct, frozen=True, kw_only=True):
    """A node, as far as its volumes go."""

    status: VolumeStatus = VolumeStatus()

    def wanted(self, drivers: Collection[str]) -> Wanted:
        """What the node has of the volumes of these CSI drivers."""
        attached = _handles((volume.name for volume in self.status.volumes_attached), drivers)
        return Wanted(attached, _handles(self.status.volumes_in_use, drivers))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The handles of volumes that a node has part in.

    Attributes:
        attached: Those that are attached to it.
        in_use: Those that its kubelet has begun with, be it that it waits for them to be attached.
    """

    attached: frozenset[str] = frozenset()
    in_use: frozenset[str] = frozenset()


def _handles(names: Iterable[str], drivers: Collection[str]) -> frozenset[str]:
    parts = (name.removeprefix(_PREFIX).partition("^") for name in names if name.startswith(_PREFIX))
    return frozenset(handle for driver, _, handle in parts if driver in drivers)


class Mappings(Protocol):
    """What of the node service is needed here."""

    async def mapped(self) -> Sequence[str]:
        """The volumes that are mapped, or of which a trace is left."""
        ...

    async def abandoned(self, volume: str) -> bool:
        """Whether the stage of a volume failed, and it stayed mapped."""
        ...

    async def let_go(self, volume: str, nobodys: Callable[[], Awaitable[bool]]) -> bool:
        """Unmaps a volume that is not mounted nor published, if it is still nobody's; False: it is somebody's."""
        ...


@dataclass(slots=True)
class Leftovers:
    """Lets go of what is left behind.

    Attributes:
        mappings: What is mapped.
        wanted: Asks the API server, and not a cache, for the volumes that the node has part in.
        clock: Seconds that only grow.
    """

    mappings: Mappings
    wanted: Callable[[], Awaitable[Wanted]]
    clock: Callable[[], float] = anyio.current_time
    _since: dict[str, float] = field(default_factory=dict)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def changed(self) -> None:
        """The node's volumes are others than before."""
        self._changed.set()

    async def run(self) -> None:
        """Looks at once, and again when the node's volumes change; until cancelled."""
        while True:
            self._changed = anyio.Event()
            wait = INTERVAL
            try:
                wait = await self.look()
            except Exception as error:
                # Of any kind: the volumes' calls are served by the same process, and the next look may do better.
                _log.warning("leftovers not looked for", error=brief(error))
            with anyio.move_on_after(wait):
                await self._changed.wait()

    async def look(self) -> float:
        """Looks once, and returns the seconds until the next look."""
        mapped = await self.mappings.mapped()
        wanted = await self.wanted() if mapped else Wanted()
        left = [volume for volume in mapped if await self._is_nobodys(volume, wanted)]
        now = self.clock()
        self._since = {volume: self._since.get(volume, now) for volume in left}
        for volume in [volume for volume, since in self._since.items() if now - since >= GRACE]:
            await self._let_go(volume)
        return GRACE if self._since else INTERVAL

    async def _is_nobodys(self, volume: str, wanted: Wanted) -> bool:
        if volume in wanted.attached:
            return False
        return volume not in wanted.in_use or await self.mappings.abandoned(volume)

    async def _let_go(self, volume: str) -> None:
        async def nobodys() -> bool:
            return await self._is_nobodys(volume, await self.wanted())

        try:
            gone = await self.mappings.let_go(volume, nobodys)
        except Exception as error:
            _log.warning("volume not let go", volume=volume, error=brief(error))
            return
        if gone:
            del self._since[volume]
            _log.info("volume let go: it is not attached to this node, and nothing on it uses it", volume=volume)


async def let_go_of_leftovers(client: Client, node: str, served: Sequence[tuple[Collection[str], Mappings]]) -> None:
    """Lets go of what is left behind on a node, whose volumes are watched; until cancelled.

    Args:
        client: Reaches the API server.
        node: The node's name.
        served: For each kind of driver the names of its CSI drivers, and what of theirs is mapped.
    """

    def looking(drivers: Collection[str], mappings: Mappings) -> Leftovers:
        async def wanted() -> Wanted:
            found = await client.get(NODE, "", node)
            return msgspec.convert(found, NodeVolumes).wanted(drivers)

        return Leftovers(mappings, wanted)

    kinds = [looking(drivers, mappings) for drivers, mappings in served]
    factory = InformerFactory(client)
    watched = factory.informer(NODE, NodeVolumes, field_selector=f"metadata.name={node}")

    def changed(_: Delta[NodeVolumes]) -> None:
        for leftovers in kinds:
            leftovers.changed()

    watched.add_handler(changed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        for leftovers in kinds:
            tasks.start_soon(leftovers.run)
