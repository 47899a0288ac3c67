"""The reconciler of the space of claims' volumes: looks into the caches, and carries out what is to be done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import Plan, StepState, carry_out, conclude
from controller.framework.reports import REPORTS
from controller.framework.status import timestamp
from controller.framework.text import brief
from controller.framework.told import Told
from controller.runtime.kube import PVC
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError, volume_from
from controller.volumes.caches import BY_TRIM, BY_VOLUME
from controller.volumes.claims.objects import class_name
from controller.volumes.space.analyze import (
    ASKED,
    RECLAIMED,
    AskNode,
    NoteTrimmed,
    Reclaimed,
    ReclaimSpace,
    RefuseSchedule,
    Schedule,
    SpaceObservation,
    analyze,
    key_of,
    schedule_of,
    withdrawn,
)
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.apis.rook.node_report import NodeReport
    from controller.framework.plan import Outcome
    from controller.runtime.events import EventRecorder, EventType
    from controller.runtime.kube import PartialObject, PersistentVolume, PersistentVolumeClaim
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from informers import Client, Informer

LONGEST_WAIT = 24 * 3600.0
"""Seconds after which a claim is looked at again, however far away its next time is."""


@dataclass(slots=True)
class Space:
    """The reconciler of PersistentVolumeClaims whose volumes are to give back space.

    Attributes:
        client: Writes.
        events: Tells users.
        caches: What there is.
        namespaces: All namespaces.
        drivers: The storage systems.
        home: The operator's namespace, where the reports of the nodes' agents are.
        clock: Seconds since the epoch.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    caches: Caches
    namespaces: Informer[PartialObject]
    drivers: Drivers
    home: str
    clock: Callable[[], float] = time.time
    backoffs: Backoffs = field(default_factory=Backoffs)
    _told: Told = field(default_factory=Told)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        claim = self.caches.claims.get(request.namespace, request.name)
        schedule = self._schedule(claim) if claim is not None else Schedule()
        if claim is None or not (schedule.text or ASKED in claim.metadata.annotations):
            self._told.forget(request)
            key = f"{request.namespace}/{request.name}"
            plan = Plan(steps=tuple(withdrawn(key, self._asked(key))))
            if not plan.steps:
                self.backoffs.forget(request)
                return Result()
            outcome = await carry_out(plan, {AskNode: lambda a: self._ask(key, a)}, request, self.backoffs)
            return conclude(outcome, None)
        seen = self.observe(claim, schedule)
        plan = analyze(claim, seen, self.clock())
        outcome = await carry_out(
            plan,
            {
                ReclaimSpace: lambda action: self._reclaim(claim, seen.volume, action),
                AskNode: lambda action: self._ask(key_of(claim), action),
                NoteTrimmed: lambda action: self._note_trimmed(claim, action),
                RefuseSchedule: _nothing,
            },
            request,
            self.backoffs,
        )
        self._tell(request, claim, schedule, outcome)
        look_again = min(plan.look_again, LONGEST_WAIT) if plan.look_again is not None else None
        return conclude(outcome, look_again)

    def observe(self, claim: PersistentVolumeClaim, schedule: Schedule) -> SpaceObservation:
        """What the caches have about a claim."""
        reports = self._asked(key_of(claim))
        found = self.caches.volumes.get("", claim.spec.volume_name) if claim.spec.volume_name else None
        csi = found.spec.csi if found is not None else None
        space = self.drivers.space_of(csi.driver) if csi is not None else None
        if found is None or csi is None or space is None:
            return SpaceObservation(schedule=schedule, reports=reports)
        attachments = self.caches.attachments.by_index(BY_VOLUME, found.metadata.name)
        for attachment in attachments:
            if (report := self.caches.reports.get(self.home, attachment.spec.node_name)) is not None:
                reports[report.metadata.name] = report
        return SpaceObservation(
            schedule=schedule,
            volume=found,
            trimmable=space.is_trimmable(volume_from(csi)),
            attachments=attachments,
            reports=reports,
        )

    def _schedule(self, claim: PersistentVolumeClaim) -> Schedule:
        namespace = self.namespaces.get("", claim.metadata.namespace)
        return schedule_of(claim, namespace, self.caches.classes.get("", class_name(claim)))

    def _asked(self, key: str) -> dict[str, NodeReport]:
        """The reports of the nodes that are asked to trim a claim's volume, by node."""
        return {report.metadata.name: report for report in self.caches.reports.by_index(BY_TRIM, key)}

    async def _ask(self, key: str, action: AskNode) -> None:
        """One key of a map: whoever asks for another claim's volume meanwhile takes nothing away."""
        trim = msgspec.to_builtins(action.trim) if action.trim is not None else None
        await self.client.patch(REPORTS, self.home, action.node, {"trims": {key: trim}}, content_type=MERGE_PATCH)

    async def _reclaim(
        self, claim: PersistentVolumeClaim, volume: PersistentVolume | None, action: ReclaimSpace
    ) -> None:
        freed, error = None, ""
        try:
            freed = await self._carry_out(volume, action)
        except BackendError as failed:  # a try that counts: it is not repeated before it is asked for again
            error = brief(failed)
        await self._note(claim, Reclaimed(time=timestamp(self.clock()), asked=action.asked, bytes=freed, error=error))
        told = f"{freed} bytes" if freed is not None else "an unknown number of bytes"
        self._tell_end(claim, error, f"Its volume has given back {told}")

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

    async def _note_trimmed(self, claim: PersistentVolumeClaim, action: NoteTrimmed) -> None:
        found, error = action.trimmed, brief(action.trimmed.error) if action.trimmed.error else ""
        done = Reclaimed(
            time=timestamp(self.clock()),
            asked=action.asked,
            node=action.node,
            discarded=None if error else found.bytes,
            trim=found.id,
            error=error,
        )
        await self._note(claim, done)
        told = f"fstrim on node {action.node} has discarded {found.bytes} bytes that no file has"
        self._tell_end(claim, f"fstrim on node {action.node}: {error}" if error else "", told)

    async def _note(self, claim: PersistentVolumeClaim, done: Reclaimed) -> None:
        note = msgspec.json.encode(done).decode()
        body = {"metadata": {"uid": claim.metadata.uid, "annotations": {RECLAIMED: note}}}
        await self.client.patch(PVC, claim.metadata.namespace, claim.metadata.name, body, content_type=MERGE_PATCH)

    def _tell_end(self, claim: PersistentVolumeClaim, error: str, told: str) -> None:
        if error:
            self._event(claim, "Warning", "SpaceReclaimFailed", error)
        else:
            self._event(claim, "Normal", "SpaceReclaimed", told)

    def _tell(self, request: Request, claim: PersistentVolumeClaim, schedule: Schedule, outcome: Outcome) -> None:
        """Says what a claim waits for, and what is wrong with what it asks for: once for each text."""
        told = [self._problem(claim, schedule)]
        for result in outcome.results:
            match result.step.action:
                case RefuseSchedule(problem):
                    told.append(problem)
                case _ if result.state is StepState.WAITING:
                    told.append(f"Waits for {result.step.waits_for}")
        note = "; ".join(filter(None, told))
        if self._told.is_news(request, note):
            self._event(claim, "Warning", "SpaceNotReclaimed", note)

    def _problem(self, claim: PersistentVolumeClaim, schedule: Schedule) -> str:
        """Why no space of the claim's volume can be given back, where it is ours; empty: it can, or need not."""
        if schedule.shared and ASKED not in claim.metadata.annotations:
            return ""
        found = self.caches.volumes.get("", claim.spec.volume_name) if claim.spec.volume_name else None
        driver = found.spec.csi.driver if found is not None and found.spec.csi is not None else ""
        if self.drivers.serving(driver) is None or self.drivers.space_of(driver) is not None:
            return ""
        return f"Volumes of {driver} have no space to give back"

    def _event(self, claim: PersistentVolumeClaim, kind: EventType, reason: str, note: str) -> None:
        self.events.event(object_reference(claim, PVC), kind, reason, note)


async def _nothing(_: Any) -> None:
    """A schedule that means nothing is told of; there is nothing to do."""
