"""What there is of the image of a VolumeReplication's claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from controller.apis.ceph.pool import SnapshotScheduleSpec
from controller.ceph.access.rados import CephError
from controller.ceph.mirroring import observe as mirroring
from controller.ceph.mirroring import schedules
from controller.ceph.mirroring.place import Place
from controller.ceph.rbd.replication import image as mirror
from controller.ceph.rbd.replication.kinds import PRIMARY, RESYNC, SECONDARY
from controller.ceph.rbd.volumes import image_name
from controller.framework.text import brief
from controller.volumes.backend import BackendError, volume_from
from controller.volumes.caches import BY_VOLUME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.mirroring.observe import MirrorObservation
    from controller.ceph.mirroring.schedules import Schedule
    from controller.ceph.rbd.calls import Calls
    from controller.ceph.rbd.replication.image import ImageMirror
    from controller.ceph.rbd.replication.kinds import VolumeReplication, VolumeReplicationClass
    from controller.volumes.backend import Volume
    from controller.volumes.caches import Caches
    from informers import Informer

log = structlog.get_logger(__name__)

INTERVAL, START = "schedulingInterval", "schedulingStartTime"
_SERVED = frozenset({INTERVAL, START, "mirroringMode"})
"""Parameters of a class, without its prefixed ones, which name Secrets that are not needed."""
_PREFIX = "replication.storage.openshift.io/"


NOWHERE = Place("")
"""The place of an image that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationObservation:
    """What `analyze` decides by.

    Attributes:
        waits_for: What has to happen before the image can be looked at; nothing is known of it then.
        problem: What of the class cannot be, in words.
        volume: The claim's volume; None where it is not known.
        place: Where its image is.
        schedules: When snapshots of it are made, by the class.
        image: Its mirroring; None: there is no such image.
        scheduled: What there is of its schedules.
        users: The VolumeAttachments of the volume.
    """

    waits_for: str = ""
    problem: str = ""
    volume: Volume | None = None
    place: Place = NOWHERE
    schedules: tuple[Schedule, ...] = ()
    image: ImageMirror | None = None
    scheduled: MirrorObservation | None = None
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observer:
    """Observes VolumeReplications.

    Attributes:
        caches: Claims, volumes and attachments.
        classes: The cache of VolumeReplicationClasses.
        calls: Asks librbd.
    """

    caches: Caches
    classes: Informer[VolumeReplicationClass]
    calls: Calls

    async def observe(self, replication: VolumeReplication, _: float) -> ReplicationObservation:
        """What there is, or why it cannot be looked at."""
        found = self.classes.get("", replication.spec.volume_replication_class)
        parameters = found.spec.parameters if found is not None else {}
        told = _spec(parameters)
        problem = problem_of(replication, parameters)
        volume = self.volume(replication)
        if isinstance(volume, str):
            return ReplicationObservation(waits_for=volume, problem=problem)
        claim = self.caches.claims.get(replication.metadata.namespace, replication.spec.data_source.name)
        where = self.calls.places.resolve(volume).attributes
        try:
            place = Place(where.get("pool", ""), where.get("radosNamespace", ""), image_name(volume))
            ceph = self.calls.cluster(volume)
            image = await self.calls.on_pool(volume, lambda _, ioctx: mirror.look(ioctx, place.image))
            scheduled = None
            if image is not None and image.primary:
                scheduled = await mirroring.observe_schedules(ceph, place)
        except (BackendError, CephError) as error:
            log.info("Image cannot be looked at", name=replication.metadata.name, error=str(error))
            return ReplicationObservation(waits_for=f"Ceph: {brief(error)}", problem=problem, volume=volume)
        users = self.caches.attachments.by_index(BY_VOLUME, claim.spec.volume_name if claim is not None else "")
        return ReplicationObservation(
            problem=problem,
            volume=volume,
            place=place,
            schedules=schedules.wanted(told),
            image=image,
            scheduled=scheduled,
            users=tuple(sorted(f"VolumeAttachment {user.metadata.name}" for user in users)),
        )

    def volume(self, replication: VolumeReplication) -> Volume | str:
        """The volume of the claim, or what has to happen before there is one, in words."""
        source = replication.spec.data_source
        claim = self.caches.claims.get(replication.metadata.namespace, source.name)
        if claim is None or not claim.spec.volume_name:
            return f"PersistentVolumeClaim {source.name} to be bound"
        found = self.caches.volumes.get("", claim.spec.volume_name)
        if found is None or found.spec.csi is None:
            return f"PersistentVolume {claim.spec.volume_name}"
        return volume_from(found.spec.csi)


def problem_of(replication: VolumeReplication, parameters: Mapping[str, str]) -> str:
    """What of a VolumeReplication or its class cannot be, in words; empty: nothing."""
    spec = replication.spec
    if spec.data_source.kind != "PersistentVolumeClaim":
        return f"dataSource.kind is {spec.data_source.kind!r}: expected PersistentVolumeClaim"
    if spec.replication_state not in (PRIMARY, SECONDARY, RESYNC):
        return f"replicationState is {spec.replication_state!r}: expected {PRIMARY}, {SECONDARY} or {RESYNC}"
    mode = parameters.get("mirroringMode", "snapshot")
    if mode != "snapshot":
        return f"parameter mirroringMode of the class is {mode!r}: expected snapshot"
    unknown = sorted(name for name in parameters if name not in _SERVED and not name.startswith(_PREFIX))
    if unknown:
        return f"the class has parameters that are not served: {', '.join(unknown)}"
    wrong = schedules.problems(_spec(parameters), "parameters of the class")
    return wrong[0] if wrong else ""


def _spec(parameters: Mapping[str, str]) -> tuple[SnapshotScheduleSpec, ...]:
    if not parameters.get(INTERVAL):
        return ()
    found = {"interval": parameters[INTERVAL], "startTime": parameters.get(START, "")}
    return (msgspec.convert(found, SnapshotScheduleSpec),)
