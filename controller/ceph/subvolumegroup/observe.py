"""What the cluster says of a group of subvolumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access.filesystems import groups_of, parse, subvolumes_of
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.subvolumegroup.spec import NO_QUOTA, group_name

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster, CephFilesystemSubVolumeGroup
    from controller.ceph.access.rados import Cluster, Connections
    from informers import Informer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupObservation:
    """What `analyze` decides by.

    Attributes:
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        gone: Whether there is no cluster, or no file system, that the group could be in.
        present: Whether there is the group.
        quota: Its quota in bytes, or `NO_QUOTA`.
        data_pool: The pool that its data goes to; empty where that is not known.
        subvolumes: What is in it; asked only while it is being deleted.
    """

    waits_for: str = ""
    gone: bool = False
    present: bool = False
    quota: str = NO_QUOTA
    data_pool: str = ""
    subvolumes: tuple[str, ...] = ()


class Observer:
    """Observes groups.

    Args:
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
    """

    def __init__(self, clusters: Informer[CephCluster], connections: Connections) -> None:
        self._clusters, self._connections = clusters, connections

    async def observe(self, group: CephFilesystemSubVolumeGroup, _: float) -> GroupObservation:
        """What the cluster says of a group, or why it cannot be asked."""
        namespace = group.metadata.namespace
        way = reach(self._clusters, self._connections, namespace)
        if way.cluster is None or way.ceph is None:
            return GroupObservation(waits_for=way.waits_for, gone=way.cluster is None)
        try:
            return await observe(way.ceph, group)
        except CephError as error:
            log.info("Group cannot be asked for", group=group.metadata.name, namespace=namespace, error=str(error))
            return GroupObservation(waits_for=f"the mgr of CephCluster {way.cluster.metadata.name} to answer")


async def observe(ceph: Cluster, group: CephFilesystemSubVolumeGroup) -> GroupObservation:
    """What the cluster says of a group.

    Raises:
        CephError: It does not answer.
    """
    filesystem, name = group.spec.filesystem_name, group_name(group)
    state = parse(await ceph.mon("fs dump")).filesystems.get(filesystem)
    if state is None:
        return GroupObservation(waits_for=f"CephFilesystem {filesystem} to exist", gone=True)
    if not state.active:
        # The mgr would wait for one, and with it whoever asks it.
        return GroupObservation(waits_for=f"an MDS daemon of CephFilesystem {filesystem} to be active")
    if name not in await groups_of(ceph, filesystem):
        return GroupObservation()
    info = await ceph.mgr("fs subvolumegroup info", vol_name=filesystem, group_name=name)
    deleting = group.metadata.deletion_timestamp is not None
    return GroupObservation(
        present=True,
        quota=str(info["bytes_quota"]),
        data_pool=info.get("data_pool", ""),
        subvolumes=await subvolumes_of(ceph, filesystem, name) if deleting else (),
    )
