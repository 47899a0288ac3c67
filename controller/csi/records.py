"""What the CSI controller service has made: a ConfigMap for each volume and snapshot, in the operator's namespace.

A record is written before its volume is made, and goes after that is destroyed. So whatever happens in between, the
next call with the same name or handle finds it. What has no record, such as a volume of a claim, was not made here, and
nothing here destroys it. A record is written in the version that was read: of two writers one gets a conflict.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.runtime.kube import CONFIG_MAP
from controller.volumes.backend import Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import Client, JsonObject

KIND, DRIVER, HANDLE = "csi.rook.io/kind", "csi.rook.io/driver", "csi.rook.io/handle"
"""Labels of records; the last is a digest, as handles may have characters that labels may not."""

_DATA = "record"


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """How a node has a volume.

    Attributes:
        mode: Its access mode, as Kubernetes calls it.
        block: As a device; else by a file system.
    """

    mode: str
    block: bool = False


class VolumeRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume that was asked for.

    Attributes:
        uid: What its name in the storage system comes from.
        driver: The CSI driver.
        name: The caller's name for it.
        size: Its bytes: as asked for until it is there, then as it is.
        attributes: `Volume.attributes`.
        place: Where it is reached from: labels of nodes; none: from every node.
        source: What it began as a copy of, by kind and handle; empty: of nothing.
        handle: Its CSI handle; empty: it is not there yet.
        published: The nodes that may use it.
        deleting: It is being destroyed.
    """

    uid: str
    driver: str
    name: str
    size: int
    attributes: dict[str, str]
    place: dict[str, str] = msgspec.field(default_factory=dict)
    source: str = ""
    handle: str = ""
    published: dict[str, Publication] = msgspec.field(default_factory=dict)
    deleting: bool = False

    @property
    def volume(self) -> Volume:
        """The volume, as its storage system knows it."""
        return Volume(driver=self.driver, attributes=self.attributes, handle=self.handle)


class SnapshotRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot that was asked for.

    Attributes:
        uid: What its name in the storage system comes from.
        driver: The CSI driver.
        name: The caller's name for it.
        handle: Its CSI handle.
        source: The handle of the volume that it is of.
        size: The bytes that the volume had.
        created: When it was taken, in nanoseconds since 1970; 0: it is not yet.
        deleting: It is being destroyed.
    """

    uid: str
    driver: str
    name: str
    handle: str
    source: str
    size: int = 0
    created: int = 0
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Stored[R: (VolumeRecord, SnapshotRecord)]:
    """A record, with the ConfigMap that it was read from."""

    record: R
    obj: JsonObject


@dataclass(frozen=True, slots=True)
class Records[R: (VolumeRecord, SnapshotRecord)]:
    """The records of one kind. All methods raise `ApiError` and `TransportError`.

    Attributes:
        client: Reads and writes.
        namespace: Where the ConfigMaps are.
        kind: The label of this kind's, "volume"; their names begin with it.
        view: What is in them.
    """

    client: Client
    namespace: str
    kind: str
    view: type[R]

    async def of_uid(self, uid: str) -> Stored[R] | None:
        """The record of a uid, asked from the API server; None: there is none."""
        found = await self.client.find(CONFIG_MAP, self.namespace, self._name(uid))
        return self._read(found) if found is not None else None

    async def of_handle(self, driver: str, handle: str) -> Stored[R] | None:
        """The record of a handle, asked from the API server; None: nothing of that handle was made here."""
        found = await self._list({DRIVER: driver, HANDLE: digest(handle)})
        return next((stored for stored in found if stored.record.handle == handle), None)

    async def of_driver(self, driver: str) -> list[R]:
        """All records of a driver, by uid."""
        return sorted((s.record for s in await self._list({DRIVER: driver})), key=lambda record: record.uid)

    async def add(self, record: R) -> Stored[R]:
        """Writes a new record; a conflict is raised when there is one of its uid."""
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self._name(record.uid)}}
        return self._read(await self.client.create(CONFIG_MAP, self._filled(obj, record)))

    async def put(self, stored: Stored[R], record: R) -> Stored[R]:
        """Writes a record in place of the one that was read; a conflict is raised when it has changed since."""
        return self._read(await self.client.replace(CONFIG_MAP, self._filled(stored.obj, record)))

    async def remove(self, stored: Stored[R]) -> None:
        """Removes a record."""
        metadata = stored.obj["metadata"]
        await self.client.delete(CONFIG_MAP, self.namespace, metadata["name"], uid=metadata["uid"])

    def _name(self, uid: str) -> str:
        return f"csi-{self.kind}-{uid}"

    async def _list(self, labels: Mapping[str, str]) -> list[Stored[R]]:
        selector = ",".join(f"{key}={value}" for key, value in {KIND: self.kind, **labels}.items())
        return [self._read(obj) for obj in await self.client.list(CONFIG_MAP, self.namespace, label_selector=selector)]

    def _filled(self, obj: JsonObject, record: R) -> JsonObject:
        labels = {KIND: self.kind, DRIVER: record.driver}
        if record.handle:
            labels[HANDLE] = digest(record.handle)
        metadata = {**obj["metadata"], "namespace": self.namespace, "labels": labels}
        return {**obj, "metadata": metadata, "data": {_DATA: msgspec.json.encode(record).decode()}}

    def _read(self, obj: JsonObject) -> Stored[R]:
        return Stored(msgspec.json.decode(obj["data"][_DATA], type=self.view), obj)


def digest(handle: str) -> str:
    """A handle as the value of a label."""
    return hashlib.sha256(handle.encode()).hexdigest()[:40]
