"""What can be done to the mirroring of a pool or RADOS namespace, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.access import users
from controller.ceph.access.records import Records
from controller.ceph.access.threads import Lane
from controller.ceph.mirroring import images, schedules, tokens
from controller.ceph.mirroring.objects import PEER_CAPS, PEER_USER, pool_token
from controller.ceph.mirroring.observe import MODE, OWNED_PREFIX, PEER, SCHEDULES, SECONDS, own_token
from controller.ceph.mirroring.place import Mode
from controller.framework.owned import Owned
from controller.runtime.kube import SECRET, Secret

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.mirroring.place import Place
    from controller.ceph.mirroring.schedules import Schedule
    from controller.framework.plan import Handler
    from controller.framework.workload import Owner
    from controller.runtime.apply import Applier
    from informers import Client


@dataclass(frozen=True, slots=True)
class SetMode:
    """Change what is mirrored of a place, and remember that it is ours."""

    place: Place
    mode: Mode


@dataclass(frozen=True, slots=True)
class EndMirroring:
    """Have nothing of a place mirrored any more, and forget that it was ours. Ceph refuses it while an image is."""

    place: Place


@dataclass(frozen=True, slots=True)
class SetRemoteNamespace:
    """Mirror a RADOS namespace with one of another name."""

    place: Place
    name: str


@dataclass(frozen=True, slots=True)
class SetSchedules:
    """Have these schedules of ours, and no others of ours."""

    place: Place
    wanted: tuple[Schedule, ...]


@dataclass(frozen=True, slots=True)
class WriteToken:
    """Make the user that other clusters come with, and write the Secret by which they reach this one.

    `key_type`: of a key that is made; empty: what the mons prefer.
    """

    key_type: str = ""


@dataclass(frozen=True, slots=True)
class ImportPeer:
    """Mirror a pool with the cluster whose token a Secret has, and remember that it is ours."""

    place: Place
    secret: str
    record: str = PEER


@dataclass(frozen=True, slots=True)
class RemovePeer:
    """End the mirroring of a pool with another cluster."""

    place: Place
    uuid: str
    record: str = PEER


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget what of a place's mirroring was ours."""

    place: Place


def handlers(ceph: RadosCluster) -> dict[type, Handler]:
    """How the mirroring of any place is changed."""
    records = Records(ceph, OWNED_PREFIX)

    async def set_mode(action: SetMode) -> None:
        place, mode = action.place, action.mode
        await ceph.use(lambda handle: images.set_mode(handle, place, mode), lane=Lane.IMAGES, seconds=SECONDS)
        await records.write((place.name, MODE), Owned(mode.word, mode.word))

    async def end(action: EndMirroring) -> None:
        place = action.place
        await ceph.use(lambda handle: images.set_mode(handle, place, Mode.DISABLED), lane=Lane.IMAGES, seconds=SECONDS)
        await forget(Forget(place))

    async def set_remote_namespace(action: SetRemoteNamespace) -> None:
        place, name = action.place, action.name
        await ceph.use(
            lambda handle: images.set_remote_namespace(handle, place, name), lane=Lane.IMAGES, seconds=SECONDS
        )

    async def set_schedules(action: SetSchedules) -> None:
        place, wanted = action.place, set(action.wanted)
        record = (await records.read()).get((place.name, SCHEDULES))
        ours = set(schedules.parse_noted(record.asked)) if record is not None else set()
        # What is about to be ours is noted first: who dies half way finds it.
        await records.write((place.name, SCHEDULES), Owned(schedules.noted(ours | wanted), ""))
        for schedule in sorted(wanted):
            await schedules.add(ceph, place.level, schedule)
        for schedule in sorted(ours - wanted):
            await schedules.remove(ceph, place.level, schedule)
        await records.write((place.name, SCHEDULES), Owned(schedules.noted(wanted), ""))

    async def forget(action: Forget) -> None:
        for who, what in await records.read():
            if who == action.place.name:
                await records.remove((who, what))

    return {
        SetMode: set_mode,
        EndMirroring: end,
        SetRemoteNamespace: set_remote_namespace,
        SetSchedules: set_schedules,
        Forget: forget,
    }


def peer_handlers(owner: Owner, client: Client, applier: Applier, ceph: RadosCluster) -> dict[type, Handler]:
    """How a pool learns of other clusters, and they of it.

    Args:
        owner: The object, in whose namespace the Secrets are.
        client: Asks the API server for the Secret with a token.
        applier: Writes that with this cluster's own.
        ceph: The cluster.
    """
    records = Records(ceph, OWNED_PREFIX)

    async def write_token(action: WriteToken) -> None:
        await users.key_of(ceph, PEER_USER, PEER_CAPS, key_type=action.key_type)
        await applier.apply(pool_token(owner, await own_token(ceph, owner.namespace)))

    async def import_peer(action: ImportPeer) -> None:
        place = action.place
        found = await client.get(SECRET, owner.namespace, action.secret)
        token = tokens.read(msgspec.convert(found, Secret).data)
        await ceph.use(lambda handle: images.import_peer(handle, place, token), lane=Lane.IMAGES, seconds=SECONDS)
        await records.write((place.name, action.record), Owned(action.secret, token.digest))

    async def remove_peer(action: RemovePeer) -> None:
        place, uuid = action.place, action.uuid
        await ceph.use(lambda handle: images.remove_peer(handle, place, uuid), lane=Lane.IMAGES, seconds=SECONDS)
        await records.remove((place.name, action.record))

    return {WriteToken: write_token, ImportPeer: import_peer, RemovePeer: remove_peer}
