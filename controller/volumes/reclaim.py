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
from controller.volumes.clients import around, locate
from controller.volumes.provision import PROVISIONED_BY, VOLUME_FINALIZER
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from controller.apis.rook.node_report import NodeReport
    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import Node, VolumeAttachment
    from controller.volumes.backend import VolumeBackend
    from informers import Client, Informer, JsonObject

UNCLAIMED = ("Available", "Released", "Failed")
"""Phases of a PersistentVolume that no claim is bound to."""

BY_VOLUME = "volume"
"""The index of VolumeAttachments by the PersistentVolume's name."""

BY_IDENTITY = "identity"
"""The index of PersistentVolumes by the volume that they are of: by `identities`."""


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


def identities(backend: VolumeBackend) -> Callable[[PersistentVolume], tuple[str, ...]]:
    """What `BY_IDENTITY` indexes by: nothing for a volume that no CSI driver serves."""

    def found(volume: PersistentVolume) -> tuple[str, ...]:
        return (backend.identity(volume_from(volume.spec.csi)),) if volume.spec.csi is not None else ()

    return found


@dataclass(slots=True)
class Volumes:
    """The reconciler of PersistentVolumes that this operator has made.

    Attributes:
        client: Writes.
        events: Tells users.
        volumes: All PersistentVolumes.
        attachments: All VolumeAttachments, with the index `BY_VOLUME`.
        nodes: All nodes, with the index `BY_ADDRESS`.
        reports: The reports of all nodes' agents, with the index `BY_CLIENT`.
        backend: The storage system.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    volumes: Informer[PersistentVolume]
    attachments: Informer[VolumeAttachment]
    nodes: Informer[Node]
    reports: Informer[NodeReport]
    backend: VolumeBackend
    backoffs: Backoffs = field(default_factory=Backoffs)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        volume = self.volumes.get("", request.name)
        if volume is None or volume.spec.csi is None or not self.backend.serves(volume.spec.csi.driver):
            self.backoffs.forget(request)
            return Result()
        if PROVISIONED_BY not in volume.metadata.annotations:  # made by hand: not ours to destroy
            return Result()
        plan = analyze(volume, self.attachments.by_index(BY_VOLUME, request.name))
        outcome = await carry_out(
            plan,
            {
                DestroyVolume: lambda action: self._destroy(volume, action),
                DeletePersistentVolume: lambda _: self._delete(volume),
                ReleasePersistentVolume: lambda _: self._release(volume),
            },
            request,
            self.backoffs,
            record=lambda result: self._record(volume, result),
        )
        return conclude(outcome, plan.look_again)

    async def _destroy(self, volume: PersistentVolume, action: Any) -> None:
        # One that cannot be read may be of this volume.
        if attached := self.attachments.keys_by_index(BY_VOLUME, volume.metadata.name, complete=True):
            raise BackendError(f"still attached: VolumeAttachment {', '.join(name for _, name in attached)}")
        holders = await self.backend.holders(action.volume)
        if holders:
            nodes, reports = around(holders, self.nodes, self.reports)
            located = locate(holders, reports, nodes)
            raise BackendError(f"still open: {', '.join(holder.where for holder in located)}")
        # Asked of the API server, not of a cache, and last: the volume may have been retained, claimed, or given to
        # another namespace a moment ago.
        name = volume.metadata.name
        same = [
            msgspec.convert(found, PersistentVolume)
            for found in await self.client.list(PV)
            if found["metadata"]["name"] == name or self._is_same(action.volume, found)
        ]
        now = next((found for found in same if found.metadata.name == name), None)
        if now is None:
            raise BackendError(f"PersistentVolume {name} is gone: its volume is not destroyed")
        if why := reprieve(volume, now, [found for found in same if found is not now]):
            raise BackendError(f"PersistentVolume {name} {why}: it is not destroyed")
        await self.backend.delete(action.volume)

    def _is_same(self, volume: Volume, other: JsonObject) -> bool:
        csi = other["spec"].get("csi")
        if not csi:
            return False
        attributes = csi.get("volumeAttributes") or {}
        there = Volume(driver=csi["driver"], attributes=attributes, handle=csi["volumeHandle"])
        return self.backend.identity(there) == self.backend.identity(volume)

    async def _delete(self, volume: PersistentVolume) -> None:
        await self.client.delete(PV, "", volume.metadata.name, uid=volume.metadata.uid)

    async def _release(self, volume: PersistentVolume) -> None:
        try:
            await remove_finalizer(self.client, PV, volume, VOLUME_FINALIZER)
        except ApiError as error:
            # Kubernetes takes its own finalizer away at the same time; the change that we have not seen wakes us.
            if not error.is_conflict:
                raise

    def _record(self, volume: PersistentVolume, result: StepResult) -> None:
        if result.state is StepState.FAILED:
            note = brief(result.error)
            self.events.event(object_reference(volume, PV), "Warning", "VolumeFailedDelete", note)
