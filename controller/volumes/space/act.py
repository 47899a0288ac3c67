"""The reconciler of the space of claims' volumes: looks into the caches, and carries out what is to be done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import StepState, carry_out, conclude
from controller.framework.status import timestamp
from controller.framework.text import brief
from controller.runtime.kube import PVC
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError
from controller.volumes.caches import BY_VOLUME
from controller.volumes.claims.objects import class_name
from controller.volumes.space.analyze import (
    RECLAIMED,
    Reclaimed,
    ReclaimSpace,
    RefuseSchedule,
    analyze,
    is_asked,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.framework.plan import Outcome
    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import PersistentVolume, PersistentVolumeClaim
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from informers import Client

LONGEST_WAIT = 24 * 3600.0
"""Seconds after which a claim is looked at again, however far away its next time is."""


@dataclass(slots=True)
class Space:
    """The reconciler of PersistentVolumeClaims whose volumes are to give back space.

    Attributes:
        client: Writes.
        events: Tells users.
        caches: What there is.
        drivers: The storage systems.
        clock: Seconds since the epoch.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    caches: Caches
    drivers: Drivers
    clock: Callable[[], float] = time.time
    backoffs: Backoffs = field(default_factory=Backoffs)
    _told: dict[str, str] = field(default_factory=dict)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        claim = self.caches.claims.get(request.namespace, request.name)
        storage_class = self.caches.classes.get("", class_name(claim)) if claim is not None else None
        if claim is None or not is_asked(claim, storage_class):
            self._told.pop(str(request), None)
            self.backoffs.forget(request)
            return Result()
        volume = self._volume(claim)
        attached = self.caches.attachments.by_index(BY_VOLUME, volume.metadata.name) if volume is not None else ()
        plan = analyze(claim, storage_class, volume, [a.spec.node_name for a in attached], self.clock())
        outcome = await carry_out(
            plan,
            {
                ReclaimSpace: lambda action: self._reclaim(claim, volume, action),
                RefuseSchedule: _nothing,
            },
            request,
            self.backoffs,
        )
        self._tell(request, claim, outcome)
        look_again = min(plan.look_again, LONGEST_WAIT) if plan.look_again is not None else None
        return conclude(outcome, look_again)

    def _volume(self, claim: PersistentVolumeClaim) -> PersistentVolume | None:
        found = self.caches.volumes.get("", claim.spec.volume_name) if claim.spec.volume_name else None
        csi = found.spec.csi if found is not None else None
        return found if csi is not None and self.drivers.space_of(csi.driver) is not None else None

    async def _reclaim(
        self, claim: PersistentVolumeClaim, volume: PersistentVolume | None, action: ReclaimSpace
    ) -> None:
        freed, error = None, ""
        try:
            freed = await self._carry_out(volume, action)
        except BackendError as failed:  # a try that counts: it is not repeated before it is asked for again
            error = brief(failed)
        done = Reclaimed(time=timestamp(self.clock()), asked=action.asked, bytes=freed, error=error)
        note = msgspec.json.encode(done).decode()
        await self.client.patch(
            PVC,
            claim.metadata.namespace,
            claim.metadata.name,
            {"metadata": {"uid": claim.metadata.uid, "annotations": {RECLAIMED: note}}},
            content_type="application/merge-patch+json",
        )
        if error:
            self._event(claim, "Warning", "SpaceReclaimFailed", error)
        else:
            told = f"{freed} bytes" if freed is not None else "an unknown number of bytes"
            self._event(claim, "Normal", "SpaceReclaimed", f"Its volume has given back {told}")

    async def _carry_out(self, volume: PersistentVolume | None, action: ReclaimSpace) -> int | None:
        driver = action.volume.driver
        backend, space = self.drivers.serving(driver), self.drivers.space_of(driver)
        if volume is None or backend is None or space is None:
            raise BackendError(f"CSI driver {driver} is not served any more")
        attached = self.caches.attachments.keys_by_index(BY_VOLUME, volume.metadata.name, complete=True)
        if attached:
            raise BackendError(f"it is attached by now: VolumeAttachment {', '.join(name for _, name in attached)}")
        if holders := await backend.holders(action.volume):
            raise BackendError(f"it is open: {', '.join(holder.where for holder in holders)}")
        return await space.reclaim(action.volume)

    def _tell(self, request: Request, claim: PersistentVolumeClaim, outcome: Outcome) -> None:
        """Says what a claim waits for, and what is wrong with what it asks for: once for each text."""
        told = [self._problem(claim)]
        for result in outcome.results:
            match result.step.action:
                case RefuseSchedule(problem):
                    told.append(problem)
                case _ if result.state is StepState.WAITING:
                    told.append(f"Waits for {result.step.waits_for}")
        note = "; ".join(filter(None, told))
        if note and self._told.get(str(request)) != note:
            self._event(claim, "Warning", "SpaceNotReclaimed", note)
        self._told[str(request)] = note

    def _problem(self, claim: PersistentVolumeClaim) -> str:
        """Why no space of the claim's volume can be given back, where it is ours; empty: it can."""
        found = self.caches.volumes.get("", claim.spec.volume_name) if claim.spec.volume_name else None
        driver = found.spec.csi.driver if found is not None and found.spec.csi is not None else ""
        if self.drivers.serving(driver) is None or self.drivers.space_of(driver) is not None:
            return ""
        return f"Volumes of {driver} have no space to give back"

    def _event(self, claim: PersistentVolumeClaim, kind: Any, reason: str, note: str) -> None:
        self.events.event(object_reference(claim, PVC), kind, reason, note)


async def _nothing(_: Any) -> None:
    """A schedule that means nothing is told of; there is nothing to do."""
