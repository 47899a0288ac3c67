"""The reconciler of the classes of claims' volumes: looks into the caches, and carries out what is to be done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from controller.framework.backoff import Backoffs
from controller.framework.plan import StepState, carry_out, conclude
from controller.framework.status import timestamp
from controller.framework.text import brief
from controller.framework.told import Told
from controller.runtime.kube import PV, PVC
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.attributes.analyze import (
    AttributesObservation,
    FinishModification,
    MarkClaim,
    ModifyVolume,
    RecordClass,
    analyze,
    is_of,
    target_of,
)
from controller.volumes.attributes.classes import find, parameters_of
from controller.volumes.attributes.kinds import IN_PROGRESS, KIND, MODIFY_ERROR, MODIFYING
from controller.volumes.backend import BackendError, ParameterError, volume_from
from controller.volumes.clients import BY_MAPPED, handle_of
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import PersistentVolume, PersistentVolumeClaim
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from informers import Client, JsonObject


@dataclass(slots=True)
class Modifications:
    """The reconciler of PersistentVolumeClaims whose volumes are to have other attributes.

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
    _told: Told = field(default_factory=Told)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        claim = self.caches.claims.get(request.namespace, request.name)
        if claim is None or not _concerned(claim):
            self._told.forget(request)
            self.backoffs.forget(request)
            return Result()
        seen = self.observe(claim)
        plan = analyze(claim, seen)
        outcome = await carry_out(
            plan,
            {
                MarkClaim: lambda action: self._mark(claim, action),
                ModifyVolume: lambda action: self._modify(action),
                RecordClass: lambda action: self._record_class(seen.volume, action),
                FinishModification: lambda action: self._finish(claim, action),
            },
            request,
            self.backoffs,
            record=lambda result: self._record(claim, result),
        )
        if seen.volume is not None:
            self._tell_without_effect(claim, seen.volume)
        return conclude(outcome, plan.look_again)

    def observe(self, claim: PersistentVolumeClaim) -> AttributesObservation:
        """What the caches have about a claim; nothing where its volume is not ours."""
        volume = self.caches.volumes.get("", claim.spec.volume_name) if claim.spec.volume_name else None
        if volume is None or volume.spec.csi is None or not is_of(claim, volume):
            return AttributesObservation()
        driver = volume.spec.csi.driver
        if self.drivers.serving(driver) is None:
            return AttributesObservation()
        target = target_of(claim, lambda name: find(self.caches, name) is not None)
        found = find(self.caches, target) if target else None
        seen = AttributesObservation(volume=volume, target=target, exists=found is not None)
        if found is None:
            return seen
        try:
            return replace(seen, parameters=parameters_of(found, driver, self.drivers))
        except ParameterError as error:
            return replace(seen, problem=str(error))

    async def _mark(self, claim: PersistentVolumeClaim, action: MarkClaim) -> None:
        kind = MODIFYING if action.status == IN_PROGRESS else MODIFY_ERROR
        condition = {
            "type": kind,
            "status": "True",
            "lastTransitionTime": timestamp(self.clock()),
            "message": action.message,
        }
        noted = {"targetVolumeAttributesClassName": action.target, "status": action.status}
        current = {"currentVolumeAttributesClassName": None} if action.forget else {}
        await self._patch_status(claim, {**current, "modifyVolumeStatus": noted}, condition)

    async def _modify(self, action: ModifyVolume) -> None:
        attributes = self.drivers.attributes_of(action.volume.driver)
        if attributes is None:
            raise BackendError(f"CSI driver {action.volume.driver} is not served any more")
        await attributes.apply(action.volume, action.parameters)

    async def _record_class(self, volume: PersistentVolume | None, action: RecordClass) -> None:
        if volume is None:
            return
        body = {"metadata": {"uid": volume.metadata.uid}, "spec": {"volumeAttributesClassName": action.target}}
        await self.client.patch(PV, "", volume.metadata.name, body, content_type=MERGE_PATCH)

    async def _finish(self, claim: PersistentVolumeClaim, action: FinishModification) -> None:
        changed = bool(action.target) or action.forget
        current = {"currentVolumeAttributesClassName": action.target or None} if changed else {}
        await self._patch_status(claim, {**current, "modifyVolumeStatus": None})

    async def _patch_status(
        self, claim: PersistentVolumeClaim, status: JsonObject, condition: JsonObject | None = None
    ) -> None:
        """Changes fields of a claim's status, and leaves it with this one condition of ours, or none.

        Kubernetes and the kubelet have conditions there, too: so the whole list is read, and written in the version
        that was read.
        """
        namespace, name = claim.metadata.namespace, claim.metadata.name
        found = await self.client.find(PVC, namespace, name)
        if found is None or found["metadata"]["uid"] != claim.metadata.uid:
            return
        conditions = found.get("status", {}).get("conditions", [])
        others = [c for c in conditions if c["type"] not in (MODIFYING, MODIFY_ERROR)]
        body = {
            "metadata": {"uid": claim.metadata.uid, "resourceVersion": found["metadata"]["resourceVersion"]},
            "status": {**status, "conditions": [*others, condition] if condition is not None else others},
        }
        await self.client.patch(PVC, namespace, name, body, content_type=MERGE_PATCH, subresource="status")

    def _record(self, claim: PersistentVolumeClaim, result: StepResult) -> None:
        match result.step.action:
            case MarkClaim(_, status, message) if status != IN_PROGRESS and result.state is StepState.DONE:
                self._event(claim, "Warning", "VolumeModifyFailed", message)
            case FinishModification(target) if target and result.state is StepState.DONE:
                note = f"Its volume has the attributes of {KIND} {target}"
                self._event(claim, "Normal", "VolumeModifySuccessful", note)
            case _ if result.state is StepState.FAILED:
                self._event(claim, "Warning", "VolumeModifyFailed", brief(result.error))

    def _tell_without_effect(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """Says on which nodes the attributes of the class in force have no effect: once for each set of nodes."""
        told = ""
        name, csi = volume.spec.volume_attributes_class_name or "", volume.spec.csi
        found = find(self.caches, name) if name else None
        attributes = self.drivers.attributes_of(csi.driver) if csi is not None else None
        if csi is not None and found is not None and attributes is not None and found.parameters:
            reports = self.caches.reports.by_index(BY_MAPPED, handle_of(volume))
            why = attributes.without_effect(volume_from(csi), reports)
            told = f"{KIND} {name}: {why}" if why else ""
        if self._told.is_news(Request(claim.metadata.namespace, claim.metadata.name), told):
            self._event(claim, "Warning", "AttributesNotApplied", told)

    def _event(self, claim: PersistentVolumeClaim, kind: Any, reason: str, note: str) -> None:
        self.events.event(object_reference(claim, PVC), kind, reason, note)


def _concerned(claim: PersistentVolumeClaim) -> bool:
    return bool(claim.spec.volume_attributes_class_name or claim.status.modify_volume_status)
