"""Who else needs a volume or a snapshot of the CSI controller service: asked before it is given away or destroyed.

Pods of Kubernetes may use it, too, by a PersistentVolume that somebody made for it; and a node may have it open still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.apis.rook.node_report import NodeReport
from controller.framework.reports import REPORTS
from controller.runtime.kube import PV, PersistentVolume
from controller.volumes.caches import BY_HANDLE, BY_IDENTITY, BY_SNAPSHOT, handle_key
from controller.volumes.clients import BY_MAPPED, around, locate, mapped_by
from controller.volumes.snapshots.kinds import CONTENTS, VolumeSnapshotContent, handles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from controller.volumes.backend import Volume, VolumeBackend
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from informers import Client


@dataclass(frozen=True, slots=True)
class Guard:
    """Tells who needs a volume. All methods raise `BackendError`, `ApiError`, `TransportError`, `IncompleteIndexError`.

    Attributes:
        client: Asks the API server.
        namespace: Where the reports of the nodes' agents are.
        caches: What there is of volumes.
        drivers: The storage systems.
    """

    client: Client
    namespace: str
    caches: Caches
    drivers: Drivers

    def claimed(self, volume: Volume) -> str:
        """Which PersistentVolume is of a volume, as the cache has it; empty: none is."""
        found = self.caches.volumes.keys_by_index(BY_IDENTITY, self.drivers.identity(volume), complete=True)
        return _said("it is that of PersistentVolume", (name for _, name in found))

    def of_handle(self, driver: str, handle: str) -> str:
        """Which PersistentVolume has a handle that nothing here was made by; empty: none has."""
        found = self.caches.volumes.keys_by_index(BY_HANDLE, handle_key(driver, handle), complete=True)
        return _said("it is that of PersistentVolume", (name for _, name in found))

    def of_snapshot(self, handle: str) -> str:
        """Which VolumeSnapshotContent has a handle that nothing here was made by; empty: none has."""
        there = self.caches.snapshots
        found = there.contents.keys_by_index(BY_SNAPSHOT, handle, complete=True) if there is not None else []
        return _said("it is that of VolumeSnapshotContent", (name for _, name in found))

    async def elsewhere(self, backend: VolumeBackend, volume: Volume, node: str) -> str:
        """Who has a volume beside a node; empty: nobody has."""
        mapped = self.caches.reports.by_index(BY_MAPPED, handle_key(volume.driver, volume.handle), complete=True)
        others = (report.metadata.name for report in mapped if report.metadata.name != node)
        return _said("it is mapped on node", others) or await self._open(backend, volume, {node})

    async def held_by(self, backend: VolumeBackend, volume: Volume, node: str, others: Collection[str]) -> str:
        """What a node still has of a volume, as its own report and the storage system tell; empty: nothing.

        Args:
            backend: The storage system.
            volume: The volume.
            node: The node.
            others: The other nodes that may have it.
        """
        found = await self.client.find(REPORTS, self.namespace, node)
        report = msgspec.convert(found, NodeReport) if found is not None else None
        if report is not None and handle_key(volume.driver, volume.handle) in mapped_by(report):
            return f"it is mapped on node {node}"
        return await self._open(backend, volume, others)

    async def needed(self, backend: VolumeBackend, volume: Volume) -> str:
        """Who needs a volume that is to be destroyed; empty: nobody does.

        All PersistentVolumes are read from the API server: the cache may lack one that was made a moment ago.
        """
        wanted = self.drivers.identity(volume)
        listed = msgspec.convert(await self.client.list(PV), list[PersistentVolume])
        claimed = (found.metadata.name for found in listed if wanted in self.drivers.identities(found))
        mapped = self.caches.reports.keys_by_index(BY_MAPPED, handle_key(volume.driver, volume.handle), complete=True)
        held = [why for _, node in mapped if (why := await self.held_by(backend, volume, node, ()))]
        return (
            _said("it is that of PersistentVolume", claimed)
            or next(iter(held), "")
            or await self._open(backend, volume, ())
        )

    async def snapshot_needed(self, handle: str) -> str:
        """Who needs a snapshot that is to be destroyed, as the API server has it; empty: nobody does."""
        if self.caches.snapshots is None:
            return ""
        listed = msgspec.convert(await self.client.list(CONTENTS), list[VolumeSnapshotContent])
        found = (content.metadata.name for content in listed if handle in handles(content))
        return _said("it is that of VolumeSnapshotContent", found)

    async def _open(self, backend: VolumeBackend, volume: Volume, allowed: Collection[str]) -> str:
        """Which clients have a volume open that are not known to be on one of the nodes; empty: none."""
        holders = await backend.holders(volume)
        nodes, reports = around(holders, self.caches.nodes, self.caches.reports)
        located = locate(holders, reports, nodes)
        others = (h.where for h in located if not h.nodes or not h.nodes <= set(allowed))
        return _said("it is open:", others)


def _said(what: str, names: Iterable[str]) -> str:
    found = sorted(names)
    return f"{what} {', '.join(found)}" if found else ""
