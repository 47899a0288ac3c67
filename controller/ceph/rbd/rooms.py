"""How much fits into images of a class. Implements `controller.volumes.features.Rooms`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.csi.rooms import free_in, pools_of, rooms
from controller.volumes.backend import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.rbd.calls import Calls
    from controller.runtime.kube import StorageClass
    from controller.volumes.backend import Description, Volume
    from controller.volumes.features import Room


class RbdRooms:
    """Tells how much fits into the pools of a class.

    Args:
        calls: Finds the cluster of a volume.
        describe: What a claim of a class gets: `VolumeBackend.describe`, of no particular claim.
    """

    def __init__(self, calls: Calls, describe: Callable[[StorageClass], Description]) -> None:
        self._calls = calls
        self._describe = describe

    async def of(self, storage_class: StorageClass) -> tuple[Room, ...]:
        """See `Rooms`."""
        description = self._describe(storage_class)
        choices = description.choices or (Choice(volume=description.volume, place={}),)
        free = free_in(await pools_of(self._calls.cluster(description.volume)))
        pools = [(choice.place, _pools(choice.volume)) for choice in choices]
        return rooms(free, pools, f"StorageClass {storage_class.metadata.name}")


def _pools(volume: Volume) -> tuple[str, ...]:
    """The pools that an image needs; the last one has its data."""
    names = (volume.attributes["pool"], volume.attributes.get("dataPool", ""))
    return tuple(filter(None, names))
