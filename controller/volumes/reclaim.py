"""Volumes that nobody claims any more: destroyed where their reclaim policy says so and nobody has them open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import Plan, Step, StepState, carry_out, conclude
from controller.framework.text import brief
from controller.runtime.finalizers import remove_finalizer
from controller.runtime.kube import PV, PersistentVolume
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError, Volume, volume_from
from controller.volumes.caches import BY_IDENTITY, BY_VOLUME
from controller.volumes.checked import read_anew, see_all
from controller.volumes.claims.objects import PROVISIONED_BY, VOLUME_FINALIZER
from controller.volumes.clients import around, locate
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import VolumeAttachment
    from controller.volumes.backend import VolumeBackend
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from informers import Client

UNCLAIMED = ("Available", "Released", "Failed")
"""Phases of a PersistentVolume that no claim is bound to."""

DESTROY_DEADLINE = 540.0
"""Seconds; a large volume takes minutes, and is continued the next time."""


@dataclass(frozen=True, slots=True)
class DestroyVolume:
    """Destroy the volume in the storage system. The consent is the reclaim policy, Delete."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class DeletePersistentVolume:
    """Delete the PersistentVolume of a volume that is gone."""


@dataclass(frozen=True, slots=True)
class ReleasePersistentVolume:
    """Let a PersistentVolume that is being deleted go."""


def analyze(volume: PersistentVolume, attachments: Sequence[VolumeAttachment]) -> Plan:
    """What to do with a PersistentVolume that we have made. Pure."""
    subject = f"volume {volume.metadata.name}"
    deleting = volume.metadata.deletion_timestamp is not None
    held = VOLUME_FINALIZER in volume.metadata.finalizers
    release = Step(subject=subject, action=ReleasePersistentVolume(), reason="it is being deleted")
    if deleting and not held:
        return Plan()
    kept = volume.spec.csi is not None and volume_from(volume.spec.csi).is_static
    if kept or volume.spec.persistent_volume_reclaim_policy != "Delete":
        return Plan(steps=(release,) if deleting else ())
    unclaimed = volume.status.phase == "Released" or (deleting and volume.status.phase in UNCLAIMED)
    if not unclaimed or volume.spec.csi is None:
        return Plan()
    reason = f"its claim is gone and its reclaim policy is Delete (phase {volume.status.phase})"
    if attachments:
        nodes = ", ".join(sorted(a.spec.node_name for a in attachments))
        return Plan(steps=(Step(subject=subject, reason=reason, waits_for=f"detachment from {nodes}"),))
    action = DestroyVolume(volume_from(volume.spec.csi))
    destroy = Step(subject=subject, action=action, reason=reason, deadline=DESTROY_DEADLINE)
    if deleting:
        return Plan(steps=(destroy, release))
    delete = Step(subject=subject, action=DeletePersistentVolume(), reason="the volume is gone")
    return Plan(steps=(destroy, delete))


def reprieve(planned: PersistentVolume, now: PersistentVolume, others: Sequence[PersistentVolume]) -> str:
    """Why a volume that was to be destroyed is kept after all; empty: it is not. Pure.

    Args:
        planned: Its PersistentVolume as it was when that was decided.
        now: The same as it is now.
        others: Other PersistentVolumes of the volume, such as one by which another namespace has it.
    """
    if now.metadata.uid != planned.metadata.uid:
        return f"has uid {now.metadata.uid}, not {planned.metadata.uid}: it is another"
    if not _is_doomed(now):
        return f"has reclaim policy {now.spec.persistent_volume_reclaim_policy} and phase {now.status.phase} by now"
    if _claim_uid(now) != _claim_uid(planned):
        return "is for another claim, or for any, by now"
    users = sorted(other.metadata.name for other in others if not _is_doomed(other))
    return f"has the same volume as PersistentVolume {', '.join(users)}" if users else ""


def _is_doomed(volume: PersistentVolume) -> bool:
    return any(isinstance(step.action, DestroyVolume) for step in analyze(volume, ()).steps)


def _claim_uid(volume: PersistentVolume) -> str:
    return volume.spec.claim_ref.uid if volume.spec.claim_ref is not None else ""


@dataclass(slots=True)
class PersistentVolumes:
    """The reconciler of PersistentVolumes that this operator has made.

    Attributes:
        client: Writes.
        events: Tells users.
        caches: What there is.
        drivers: The storage systems.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    caches: Caches
    drivers: Drivers
    backoffs: Backoffs = field(default_factory=Backoffs)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        volume = self.caches.volumes.get("", request.name)
        csi = volume.spec.csi if volume is not None else None
        backend = self.drivers.serving(csi.driver) if csi is not None else None
        if volume is None or backend is None:
            self.backoffs.forget(request)
            return Result()
        if PROVISIONED_BY not in volume.metadata.annotations:  # made by hand: not ours to destroy
            return Result()
        plan = analyze(volume, self.caches.attachments.by_index(BY_VOLUME, request.name))
        outcome = await carry_out(
            plan,
            {
                DestroyVolume: lambda action: self._destroy(volume, backend, action),
                DeletePersistentVolume: lambda _: self._delete(volume),
                ReleasePersistentVolume: lambda _: self._release(volume),
            },
            request,
            self.backoffs,
            record=lambda result: self._record(volume, result),
        )
        return conclude(outcome, plan.look_again)

    async def _destroy(self, volume: PersistentVolume, backend: VolumeBackend, action: Any) -> None:
        # One that cannot be read may be of this volume.
        attached = self.caches.attachments.keys_by_index(BY_VOLUME, volume.metadata.name, complete=True)
        if attached:
            raise BackendError(f"still attached: VolumeAttachment {', '.join(name for _, name in attached)}")
        holders = await backend.holders(action.volume)
        if holders:
            nodes, reports = around(holders, self.caches.nodes, self.caches.reports)
            located = locate(holders, reports, nodes)
            raise BackendError(f"still open: {', '.join(holder.where for holder in located)}")
        await self._check(volume, action.volume)
        await backend.delete(action.volume)

    async def _check(self, planned: PersistentVolume, volume: Volume) -> None:
        """Makes sure that nobody needs the volume, by what the API server has: the last thing before it is destroyed.

        It may have been retained, claimed, or given to another namespace a moment ago. Those of the same volume are
        read anew, once the cache has all that were made before.

        Raises:
            BackendError: Somebody needs it, or the cache does not follow.
            UnderWayError: The PersistentVolume was changed or has gone a moment ago, which the cache does not show yet.
            ApiError: The API server does not answer, or refuses.
            IncompleteIndexError: A PersistentVolume cannot be read: it may be of this volume.
        """
        name = planned.metadata.name
        now = await read_anew(self.client, PV, name, PersistentVolume)
        if why := reprieve(planned, now, ()):
            raise BackendError(f"PersistentVolume {name} {why}: it is not destroyed")
        await see_all(self.client, PV, now.metadata, self.caches.volumes)
        same = self.caches.volumes.keys_by_index(BY_IDENTITY, self.drivers.identity(volume), complete=True)
        others = [await self.client.find(PV, "", other) for _, other in sorted(same) if other != name]
        if why := reprieve(planned, now, msgspec.convert([o for o in others if o is not None], list[PersistentVolume])):
            raise BackendError(f"PersistentVolume {name} {why}: it is not destroyed")

    async def _delete(self, volume: PersistentVolume) -> None:
        await self.client.delete(PV, "", volume.metadata.name, uid=volume.metadata.uid)

    async def _release(self, volume: PersistentVolume) -> None:
        # Read anew: the note that came before is ours.
        found = await self.client.find(PV, "", volume.metadata.name)
        if found is None or found["metadata"]["uid"] != volume.metadata.uid:
            return
        try:
            await remove_finalizer(self.client, PV, msgspec.convert(found, PersistentVolume), VOLUME_FINALIZER)
        except ApiError as error:
            # Kubernetes takes its own finalizer away at the same time; the change that we have not seen wakes us.
            if not error.is_conflict:
                raise

    def _record(self, volume: PersistentVolume, result: StepResult) -> None:
        if result.state is StepState.FAILED:
            note = brief(result.error)
            self.events.event(object_reference(volume, PV), "Warning", "VolumeFailedDelete", note)
