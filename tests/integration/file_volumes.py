"""A storage system whose volumes are sparse files, which a node has as loop devices: no cluster, but real devices."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from controller.agent.system import loop
from controller.runtime.kube import StorageClass
from controller.volumes.backend import BackendError, Created, Description, Holder, NewVolume, Source, Volume
from controller.volumes.capabilities import BLOCK, FILESYSTEM, MANY, ONCE, ONCE_POD, READERS, Capabilities
from controller.volumes.features import Snapshot

SUFFIX = ".rbd.csi.ceph.com"


class FileBackend:
    """Implements `controller.volumes.backend.VolumeBackend`, and `Snapshots`.

    Attributes:
        directory: The files.
        client: By which client the node has a volume that is a loop device.
    """

    name = "files"
    capabilities = Capabilities(
        access_modes={FILESYSTEM: (ONCE, ONCE_POD, READERS), BLOCK: (ONCE, ONCE_POD, READERS, MANY)},
        file_systems=("ext4", "xfs"),
        sources=("PersistentVolumeClaim", "VolumeSnapshot"),
    )

    def __init__(self, directory: Path, driver: str, client: str) -> None:
        self.directory, self.client = directory, client
        self._driver = driver

    def knows(self, driver: str) -> bool:
        return driver.endswith(SUFFIX)

    def serves(self, driver: str) -> bool:
        return driver == self._driver

    def driver_of(self, storage_class: StorageClass) -> str:
        return storage_class.provisioner if self.serves(storage_class.provisioner) else ""

    def not_served(self, storage_class: StorageClass) -> str:
        return ""

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        volume = Volume(driver=self._driver, attributes={"pool": "files", "imageName": f"vol-{claim_uid}"})
        return Description(volume=volume, secret_namespace="x", stage_secret="x", expand_secret="x")

    def identity(self, volume: Volume) -> str:
        return volume.attributes.get("imageName", volume.handle)

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        return volume.attributes["imageName"] == f"vol-{claim_uid}"

    async def create(self, wanted: NewVolume) -> Created:
        path = self._file(wanted.volume)
        if not path.exists():
            origin = wanted.source
            if origin is None:
                path.touch()
            else:
                source = self.directory / origin.volume.handle if origin.is_snapshot else self._file(origin.volume)
                path.write_bytes(source.read_bytes())
            os.truncate(path, wanted.size)
        return Created(handle=path.name, size=path.stat().st_size)

    async def delete(self, volume: Volume) -> None:
        if await self.holders(volume):
            raise BackendError(f"volume {volume.handle} is open")
        self._file(volume).unlink(missing_ok=True)

    async def expand(self, volume: Volume, size: int) -> int:
        path = self._file(volume)
        os.truncate(path, max(size, path.stat().st_size))
        return path.stat().st_size

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        on = loop.devices_on(self._file(volume))
        return (Holder(address="10.0.0.1", client=self.client),) if on else ()

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        return ()

    async def fence(self, volume: Volume, holder: Holder) -> None:
        raise BackendError("there is nothing to fence")

    async def attachment(self, volume: Volume, told: Mapping[str, str], node: Mapping[str, str]) -> Mapping[str, str]:
        return {"monitors": "10.0.0.1:6789", **volume.attributes}

    def unserved(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(parameters)

    def handle(self, volume: Volume, uid: str) -> str:
        return f"snap-{uid}"

    async def take(self, volume: Volume, handle: str) -> Snapshot:
        path = self.directory / handle
        if not path.exists():
            path.write_bytes(self._file(volume).read_bytes())
        return Snapshot(size=path.stat().st_size, created=time.time_ns())

    async def find(self, driver: str, handle: str) -> Snapshot | None:
        path = self.directory / handle
        return Snapshot(size=path.stat().st_size, created=time.time_ns()) if path.exists() else None

    async def destroy(self, driver: str, handle: str, volume: Volume | None) -> None:
        (self.directory / handle).unlink(missing_ok=True)

    async def abandon(self, volume: Volume, source: Source) -> None:
        """A copy is made at once: it leaves nothing at its source."""

    def _file(self, volume: Volume) -> Path:
        return self.directory / volume.attributes["imageName"]
