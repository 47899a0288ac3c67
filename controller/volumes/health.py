"""Volumes on which I/O fails on a node: told on their claims, as Kubernetes' external-health-monitor tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.runtime.kube import PV, PVC
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.caches import BY_HANDLE, handle_key

if TYPE_CHECKING:
    from controller.runtime.events import EventRecorder, EventType
    from controller.volumes.caches import Caches
    from informers import JsonObject

ABNORMAL, NORMAL = "VolumeConditionAbnormal", "VolumeConditionNormal"
"""Reasons of the events."""

type Key = tuple[str, str]


@dataclass(slots=True)
class Conditions:
    """The reconciler of NodeReports, as far as volumes fail.

    Attributes:
        events: Tells users.
        caches: What there is.
    """

    events: EventRecorder
    caches: Caches
    _told: dict[str, dict[Key, str]] = field(default_factory=dict)
    """By node, what was told of each volume, by its driver and handle."""

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`. A new leader tells once more what fails."""
        node = request.name
        report = self.caches.reports.get(request.namespace, node)
        before = self._told.pop(node, {})
        problems = report.problems if report is not None else ()
        now = {(problem.driver, problem.volume_handle): problem.message for problem in problems}
        for key, message in now.items():
            if before.get(key) != message:
                self._tell(key, "Warning", ABNORMAL, f"I/O on the volume fails on node {node}: {message}")
        for key in before.keys() - now.keys():
            self._tell(key, "Normal", NORMAL, f"I/O on the volume does not fail on node {node} any more")
        if now:
            self._told[node] = now
        return Result()

    def _tell(self, key: Key, kind: EventType, reason: str, note: str) -> None:
        for volume in self.caches.volumes.by_index(BY_HANDLE, handle_key(*key)):
            regarding: JsonObject = object_reference(volume, PV)
            claim = volume.spec.claim_ref
            if claim is not None:
                found = self.caches.claims.get(claim.namespace, claim.name)
                if found is not None and found.metadata.uid == claim.uid:
                    regarding = object_reference(found, PVC)
            self.events.event(regarding, kind, reason, note)
