"""How much fits into subvolumes of a class. Implements `controller.volumes.features.Rooms`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.filesystems import parse
from controller.ceph.cephfs.calls import told
from controller.ceph.csi.rooms import free_in, pools_of, rooms
from controller.volumes.backend import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.cephfs.calls import Calls
    from controller.runtime.kube import StorageClass
    from controller.volumes.backend import Description
    from controller.volumes.features import Room


class CephfsRooms:
    """Tells how much fits into the pools of a class' file system.

    Args:
        calls: Finds the cluster of a class.
        describe: What a claim of a class gets: `VolumeBackend.describe`, of no particular claim.
    """

    def __init__(self, calls: Calls, describe: Callable[[StorageClass], Description]) -> None:
        self._calls = calls
        self._describe = describe

    async def of(self, storage_class: StorageClass) -> tuple[Room, ...]:
        """See `Rooms`. Directories are in the pool for metadata, and without room there no file is made."""
        description, of = self._describe(storage_class), f"StorageClass {storage_class.metadata.name}"
        attributes = description.volume.attributes
        cluster = self._calls.cluster(attributes["clusterID"], of)
        with told(of):
            state = parse(await cluster.mon("fs dump")).filesystems.get(attributes["fsName"])
        if state is None:
            raise ParameterError(f"{of}: file system {attributes['fsName']!r} (fsName) does not exist")
        pools = await pools_of(cluster)
        names = {pool.id: pool.name for pool in pools}
        data = [names[number] for number in state.data_pools if number in names]
        wanted = description.options.get("pool") or next(iter(data), "")
        if wanted not in data:
            raise ParameterError(
                f"{of}: pool {wanted!r} is none of file system {attributes['fsName']}: "
                f"expected {' or '.join(data) or 'one that has a pool for data'}"
            )
        needed = (names.get(state.metadata_pool, ""), wanted)
        return rooms(free_in(pools), [({}, tuple(filter(None, needed)))], of)
