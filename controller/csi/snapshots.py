"""What a CSI controller service does with snapshots: each operation once, in the order that survives a crash."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import msgspec

from controller.agent.node.calls import CsiError
from controller.csi.records import SnapshotRecord
from controller.volumes.backend import GoneError

if TYPE_CHECKING:
    from controller.csi.guard import Guard
    from controller.csi.records import Records
    from controller.csi.volumes import Volumes
    from controller.volumes.features import Snapshots


@dataclass(frozen=True, slots=True)
class Taken:
    """Snapshots of the volumes of a CSI driver, by their records. All methods raise as `Volumes`' do.

    Attributes:
        driver: The driver's name.
        records: What was taken.
        volumes: The volumes.
        guard: Tells who needs a snapshot.
    """

    driver: str
    records: Records[SnapshotRecord]
    volumes: Volumes
    guard: Guard

    async def create(self, snapshots: Snapshots, name: str, uid: str, source: str) -> SnapshotRecord:
        """Takes the snapshot of a name; one that is there already is returned.

        Args:
            snapshots: Takes it.
            name: The caller's name.
            uid: The uid that was made of it.
            source: The handle of the volume.
        """
        stored = await self.records.of_uid(uid)
        if stored is not None and stored.record.deleting:
            raise CsiError(grpc.StatusCode.ABORTED, f"snapshot {name!r} is being destroyed")
        if stored is not None and stored.record.source != source:
            raise CsiError(
                grpc.StatusCode.ALREADY_EXISTS, f"snapshot {name!r} is there, of volume {stored.record.source}"
            )
        if stored is not None and stored.record.created:
            return stored.record
        volume = (await self.volumes.find(source)).record
        if volume.deleting:
            raise CsiError(grpc.StatusCode.NOT_FOUND, f"volume {source} is being destroyed")
        if stored is None:
            handle = snapshots.handle(volume.volume, uid)
            made = SnapshotRecord(uid=uid, driver=self.driver, name=name, handle=handle, source=source)
            stored = await self.records.add(made)
        taken = await snapshots.take(volume.volume, stored.record.handle)
        done = msgspec.structs.replace(stored.record, size=taken.size, created=taken.created)
        return (await self.records.put(stored, done)).record

    async def delete(self, snapshots: Snapshots, handle: str) -> None:
        """Destroys a snapshot that nobody needs; one that is not there is no error."""
        stored = await self.records.of_handle(self.driver, handle)
        if stored is None:
            if why := self.guard.of_snapshot(handle):
                raise _needed(handle, f"{why}, which decides about it")
            return
        record = stored.record
        if not record.deleting:
            stored = await self.records.put(stored, msgspec.structs.replace(record, deleting=True))
        if why := await self.guard.snapshot_needed(handle):
            await self.records.put(stored, msgspec.structs.replace(record, deleting=False))
            raise _needed(handle, why)
        volume = await self.volumes.records.of_handle(self.driver, record.source)
        with suppress(GoneError):  # with the cluster, nothing is left of it
            await snapshots.destroy(self.driver, handle, volume.record.volume if volume is not None else None)
        await self.records.remove(stored)


def _needed(handle: str, why: str) -> CsiError:
    return CsiError(grpc.StatusCode.FAILED_PRECONDITION, f"snapshot {handle}: {why}")
