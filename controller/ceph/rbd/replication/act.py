"""What can be done to the image of a VolumeReplication, and how: consent, and who uses it, are asked anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.mirroring import act as mirroring
from controller.ceph.rbd.replication import image as mirror
from controller.ceph.rbd.replication.kinds import REPLICATIONS
from controller.framework.consent import NoConsentError, read_same
from controller.runtime.kube import VOLUME_ATTACHMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.rbd.calls import Calls
    from controller.ceph.rbd.replication.kinds import VolumeReplication
    from controller.ceph.rbd.replication.observe import ReplicationObservation
    from controller.framework.plan import Handler
    from informers import Client


FORCE = "replication.rook.io/force-promote"
"""On a VolumeReplication: the generation of its spec for which the image is promoted though the other cluster may have
written. So a word that was given for one failover says nothing of the next."""
DISCARD = "replication.rook.io/discard-image"
"""On a VolumeReplication: the id of the image whose copy here is discarded, and made anew of the other cluster's."""


@dataclass(frozen=True, slots=True)
class EnableImage:
    """Have an image mirrored."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Let an image be written to here. `force`: though the other cluster may have written; consent is asked anew."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class Demote:
    """Let an image not be written to here any more. The handler asks once more who uses it."""


@dataclass(frozen=True, slots=True)
class Resync:
    """Discard the copy that is here, of this id, and have it made anew; consent is asked anew."""

    image_id: str


@dataclass(frozen=True, slots=True)
class DisableImage:
    """Have an image not mirrored any more, where it is primary."""


def handlers(
    replication: VolumeReplication, seen: ReplicationObservation, client: Client, calls: Calls, persistent_volume: str
) -> dict[type, Handler]:
    """How the actions are carried out; none where the volume is not known, as nothing is planned then.

    Args:
        replication: The VolumeReplication.
        seen: What was seen of it.
        client: Asks the API server.
        calls: Asks librbd.
        persistent_volume: The name of the PersistentVolume.
    """
    volume, name = seen.volume, seen.place.image
    if volume is None or not name:
        return {}

    async def on_image(work: Callable[[Any], None]) -> None:
        await calls.on_pool(volume, lambda _, ioctx: work(ioctx))

    async def enable(_: EnableImage) -> None:
        await on_image(lambda ioctx: mirror.enable(ioctx, name))

    async def promote(action: Promote) -> None:
        if action.force:
            await _agreed(client, replication, FORCE, str(replication.metadata.generation))
        await on_image(lambda ioctx: mirror.promote(ioctx, name, force=action.force))

    async def demote(_: Demote) -> None:
        await _unused(client, persistent_volume)
        await on_image(lambda ioctx: mirror.demote(ioctx, name))

    async def resync(action: Resync) -> None:
        await _agreed(client, replication, DISCARD, action.image_id)
        await on_image(lambda ioctx: mirror.resync(ioctx, name, action.image_id))

    async def disable(_: DisableImage) -> None:
        await on_image(lambda ioctx: mirror.disable(ioctx, name))

    return {
        **mirroring.handlers(calls.cluster(volume)),
        EnableImage: enable,
        Promote: promote,
        Demote: demote,
        Resync: resync,
        DisableImage: disable,
    }


async def _agreed(client: Client, replication: VolumeReplication, annotation: str, value: str) -> None:
    fresh = await read_same(client, REPLICATIONS, replication)
    found = (fresh["metadata"].get("annotations") or {}).get(annotation)
    if found != value:
        raise NoConsentError(f"annotation {annotation} is {found!r} by now, not {value!r}: nothing is done")


async def _unused(client: Client, persistent_volume: str) -> None:
    for found in await client.list(VOLUME_ATTACHMENT):
        if found["spec"]["source"].get("persistentVolumeName") == persistent_volume:
            raise NoConsentError(f"VolumeAttachment {found['metadata']['name']} uses it by now: it stays primary")
