"""Volumes that show a snapshot of which they have no copy: as long as there is one, its snapshot is not destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.runtime.kube import PV, PersistentVolume
from controller.volumes.backend import BackendError, volume_from
from controller.volumes.caches import BY_DRIVER, BY_SHOWN
from controller.volumes.checked import see_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.volumes.caches import Caches
    from informers import Client

_SOME = 5
"""PersistentVolumes that a message names."""


def refuse_known(caches: Caches, handle: str) -> None:
    """Makes sure that no PersistentVolume in the cache shows a snapshot, without a write.

    Raises:
        BackendError: One does.
    """
    _refuse([name for _, name in caches.volumes.keys_by_index(BY_SHOWN, handle)])


async def refuse_shown(client: Client, caches: Caches, driver: str, handle: str) -> None:
    """Makes sure that no PersistentVolume shows a snapshot, by what the API server has.

    Raises:
        BackendError: One does, or the cache is behind.
        ApiError: Among others a conflict, when a PersistentVolume was changed meanwhile.
        IncompleteIndexError: A PersistentVolume cannot be read: it may show this snapshot.
    """
    if await _note(client, caches, driver):
        named = caches.volumes.keys_by_index(BY_SHOWN, handle, complete=True)
        found = [volume for _, name in sorted(named) if (volume := await client.find(PV, "", name)) is not None]
    else:  # a cache that shows none of the driver's may be empty because it is behind
        found = await client.list(PV)
    volumes = msgspec.convert(found, list[PersistentVolume])
    _refuse([v.metadata.name for v in volumes if v.spec.csi is not None and volume_from(v.spec.csi).shows == handle])


def _refuse(users: Sequence[str]) -> None:
    if users:
        named = ", ".join(sorted(users)[:_SOME]) + (", …" if len(users) > _SOME else "")
        raise BackendError(f"PersistentVolume {named} shows the snapshot: it is not destroyed")


async def _note(client: Client, caches: Caches, driver: str) -> bool:
    """Has the cache show every PersistentVolume that was made before; False: it has none of this driver."""
    for _, name in caches.volumes.keys_by_index(BY_DRIVER, driver):
        found = await client.find(PV, "", name)
        if found is not None:
            await see_all(client, PV, msgspec.convert(found, PersistentVolume).metadata, caches.volumes)
            return True
    return False
