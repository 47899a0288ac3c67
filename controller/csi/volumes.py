"""What a CSI controller service does with volumes: each operation once, in the order that survives a crash."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import msgspec

from controller.agent.node.calls import CsiError
from controller.csi.records import Publication, VolumeRecord
from controller.csi.requests import differs, keeps_apart, size_within
from controller.volumes.backend import BackendError, GoneError, NewVolume, Source, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.csi.guard import Guard
    from controller.csi.records import Records, SnapshotRecord, Stored
    from controller.csi.requests import Range
    from controller.volumes.backend import Choice, VolumeBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A volume that is asked for.

    Attributes:
        name: The caller's name.
        uid: The uid that was made of it.
        choices: What it may be, the best first.
        options: `NewVolume.options`.
        size: Its bytes.
        source: What it begins as a copy of, as records have it.
    """

    name: str
    uid: str
    choices: Sequence[Choice]
    options: Mapping[str, str]
    size: Range
    source: str


@dataclass(frozen=True, slots=True)
class Volumes:
    """Volumes of a CSI driver, by their records. All methods raise `CsiError`, `BackendError`, `ApiError`.

    Attributes:
        driver: The driver's name.
        records: What was made.
        snapshots: The snapshots that were made.
        guard: Tells who needs a volume.
    """

    driver: str
    records: Records[VolumeRecord]
    snapshots: Records[SnapshotRecord]
    guard: Guard

    async def create(self, backend: VolumeBackend, asked: Asked) -> VolumeRecord:
        """Makes the volume of a name; one that is there already is returned.

        Args:
            backend: The storage system.
            asked: What is asked for.
        """
        name, wanted = asked.name, asked.size
        stored = await self.records.of_uid(asked.uid)
        if stored is not None:
            if stored.record.deleting:
                raise CsiError(grpc.StatusCode.ABORTED, f"volume {name!r} is being destroyed")
            if difference := differs(stored.record, asked.choices, wanted, asked.source):
                raise CsiError(grpc.StatusCode.ALREADY_EXISTS, f"volume {name!r} is there, but {difference}")
            if stored.record.handle:
                return stored.record
        origin = await self._origin(asked.source)
        least = origin.size if origin is not None else 0
        if stored is None:
            size = max(size_within(wanted), least)
            if not wanted.has(size):
                raise CsiError(grpc.StatusCode.OUT_OF_RANGE, f"its source has {least} bytes, asked for are {wanted}")
            best = asked.choices[0]
            made = VolumeRecord(
                uid=asked.uid,
                driver=self.driver,
                name=name,
                size=size,
                attributes=dict(best.volume.attributes),
                place=dict(best.place),
                source=asked.source,
            )
            stored = await self.records.add(made)
        record = stored.record
        created = await backend.create(
            NewVolume(volume=record.volume, size=record.size, options=asked.options, source=origin)
        )
        done = msgspec.structs.replace(
            record, handle=created.handle, size=created.size, attributes={**record.attributes, **created.attributes}
        )
        return (await self.records.put(stored, done)).record

    async def find(self, handle: str) -> Stored[VolumeRecord]:
        """The record of a handle.

        Raises:
            CsiError: NOT_FOUND: nothing of that handle was made here.
        """
        found = await self.records.of_handle(self.driver, handle)
        if found is None:
            raise CsiError(grpc.StatusCode.NOT_FOUND, f"volume {handle} was not made by this service")
        return found

    async def delete(self, backend: VolumeBackend, handle: str) -> None:
        """Destroys a volume that nobody needs; one that is not there is no error."""
        stored = await self.records.of_handle(self.driver, handle)
        if stored is None:
            if why := self.guard.of_handle(self.driver, handle):
                raise _needed(handle, f"{why}, which decides about it")
            return
        record = stored.record
        if not backend.is_made_for(record.volume, record.uid):
            raise _needed(handle, "its record names a volume that was not made for it")
        if record.published:
            raise _needed(handle, f"it is published to {', '.join(sorted(record.published))}")
        if not record.deleting:
            stored = await self.records.put(stored, msgspec.structs.replace(record, deleting=True))
        if why := await self.guard.needed(backend, record.volume):
            await self.records.put(stored, msgspec.structs.replace(record, deleting=False))
            raise _needed(handle, why)
        with suppress(GoneError):  # with the cluster, nothing is left of it
            await backend.delete(record.volume)
        await self.records.remove(stored)

    async def publish(self, backend: VolumeBackend, handle: str, node: str, wanted: Publication) -> Mapping[str, str]:
        """Gives a volume to a node, and returns what the node must know; it is noted before it is answered."""
        stored = await self.find(handle)
        record = stored.record
        if record.deleting:
            raise CsiError(grpc.StatusCode.ABORTED, f"volume {handle} is being destroyed")
        there = self.guard.caches.nodes.get("", node)
        if there is None:
            raise CsiError(grpc.StatusCode.NOT_FOUND, f"there is no node {node}")
        given = record.published.get(node)
        if given is not None and given != wanted:
            raise CsiError(
                grpc.StatusCode.ALREADY_EXISTS,
                f"volume {handle} is published to {node} with access mode {given.mode}, asked for is {wanted.mode}",
            )
        if given is None:
            await self._give(backend, stored, node, wanted)
        return await backend.attachment(record.volume, {}, there.metadata.labels)

    async def _give(self, backend: VolumeBackend, stored: Stored[VolumeRecord], node: str, wanted: Publication) -> None:
        record = stored.record
        ways = {**record.published, node: wanted}
        alone = any(keeps_apart(way, backend.capabilities) for way in ways.values())
        if alone and record.published:
            raise _needed(record.handle, f"it is published to {', '.join(sorted(record.published))}")
        if why := self.guard.claimed(record.volume):
            raise _needed(record.handle, why)
        if alone and (why := await self.guard.elsewhere(backend, record.volume, node)):
            raise _needed(record.handle, why)
        await self.records.put(stored, msgspec.structs.replace(record, published=ways))

    async def unpublish(self, backend: VolumeBackend, handle: str, node: str) -> None:
        """Takes a volume from a node that does not use it any more; `node` empty: from all."""
        stored = await self.records.of_handle(self.driver, handle)
        if stored is None:
            return
        record = stored.record
        for gone in [name for name in sorted(record.published) if not node or name == node]:
            left = {name: way for name, way in record.published.items() if name != gone}
            if why := await self.guard.held_by(backend, record.volume, gone, left):
                raise _needed(handle, why)
            record = msgspec.structs.replace(record, published=left)
            stored = await self.records.put(stored, record)

    async def expand(self, backend: VolumeBackend, handle: str, wanted: Range) -> int:
        """Makes a volume larger, and returns its size."""
        stored = await self.find(handle)
        record = stored.record
        if record.deleting:
            raise CsiError(grpc.StatusCode.ABORTED, f"volume {handle} is being destroyed")
        if record.size < wanted.least:
            if backend.capabilities.expands == "offline" and record.published:
                raise _needed(handle, f"it is published to {', '.join(sorted(record.published))}")
            size = await backend.expand(record.volume, wanted.least)
            record = (await self.records.put(stored, msgspec.structs.replace(record, size=size))).record
        if not wanted.has(record.size):
            raise CsiError(grpc.StatusCode.OUT_OF_RANGE, f"volume {handle} has {record.size} bytes: it never shrinks")
        return record.size

    async def _origin(self, source: str) -> Source | None:
        kind, _, handle = source.partition(":")
        if not kind:
            return None
        if kind == "volume":
            record = (await self.find(handle)).record
            if record.deleting:
                raise CsiError(grpc.StatusCode.NOT_FOUND, f"volume {handle} is being destroyed")
            return Source(volume=record.volume, size=record.size)
        found = await self.snapshots.of_handle(self.driver, handle)
        if found is None or not found.record.created or found.record.deleting:
            raise CsiError(grpc.StatusCode.NOT_FOUND, f"snapshot {handle} was not made by this service")
        volume = Volume(driver=self.driver, attributes={}, handle=handle)
        return Source(volume=volume, size=found.record.size, is_snapshot=True)


def serving(driver: str, backend: VolumeBackend | None) -> VolumeBackend:
    """The storage system of a driver.

    Raises:
        BackendError: It is not served now.
    """
    if backend is None:
        raise BackendError(f"CSI driver {driver} is not served now: expected a cluster that it is named after")
    return backend


def _needed(handle: str, why: str) -> CsiError:
    return CsiError(grpc.StatusCode.FAILED_PRECONDITION, f"volume {handle}: {why}")
