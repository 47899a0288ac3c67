"""The reconciler of claims, for all storage systems: looks into the caches, and carries out what is to be done."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import structlog

from controller.framework.backoff import Backoffs
from controller.framework.plan import StepState, carry_out, conclude
from controller.framework.quantities import quantity, round_up, storage_bytes
from controller.framework.text import brief
from controller.framework.told import Told
from controller.runtime.kube import NODE, PV, PVC
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.attributes.classes import parameters_for
from controller.volumes.backend import BackendError, GoneError, NewVolume, ParameterError
from controller.volumes.caches import BY_VOLUME
from controller.volumes.capabilities import FILESYSTEM
from controller.volumes.claims.analyze import (
    AnnounceExpansion,
    ClaimObservation,
    DiscardVolume,
    ExpandVolume,
    FinishExpansion,
    ProtectClaim,
    ProvisionVolume,
    RefuseClaim,
    ReleaseClaim,
    SelectAnother,
    analyze,
    claim_problem,
    waits_for_pod,
)
from controller.volumes.claims.objects import (
    CLAIM_FINALIZER,
    CLAIM_VOLUME,
    SELECTED_NODE,
    WAIT_FOR_FIRST_CONSUMER,
    class_name,
    persistent_volume,
    volume_name,
)
from controller.volumes.claims.placing import begun_for, is_elsewhere, placed
from controller.volumes.claims.protection import (
    ProtectSource,
    ReleaseSource,
    abandon,
    is_copied,
    keep_source,
    release_source,
)
from controller.volumes.claims.sources import NotReadyError, source_claim, source_of
from controller.volumes.topology import NowhereError
from informers import ApiError
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import PersistentVolume, PersistentVolumeClaim, StorageClass
    from controller.volumes.backend import Description, VolumeBackend
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from informers import Client, JsonObject

_log = structlog.get_logger(__name__)

PROGRESS_EVERY = 60.0
"""Seconds between two events of a claim whose volume is being copied."""

RESIZE_PENDING = "NodeResizePending"


@dataclass(slots=True)
class Claims:
    """The reconciler of PersistentVolumeClaims.

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
    _told: Told = field(default_factory=Told)
    _progress: dict[str, float] = field(default_factory=dict)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        claim = self.caches.claims.get(request.namespace, request.name)
        if claim is None:
            self._told.forget(request)
            self._progress.pop(str(request), None)
            self.backoffs.forget(request)
            return Result()
        try:
            seen = self.observe(claim)
            plan = analyze(claim, seen)
        except Exception as error:  # whatever it is, who waits for the volume is told
            self._event(claim, "Warning", "ProvisioningFailed", brief(error))
            raise
        outcome = await carry_out(
            plan,
            {
                ProtectClaim: lambda action: self._protect(claim, action),
                ProvisionVolume: lambda action: self._provision(claim, seen.storage_class, action),
                DiscardVolume: lambda action: self._discard(claim, action),
                ReleaseClaim: lambda action: self._release(claim),
                RefuseClaim: lambda action: self._refuse(claim, action),
                SelectAnother: lambda action: self._select_another(claim, action),
                ExpandVolume: lambda action: self._expand(seen.volume, action),
                AnnounceExpansion: lambda action: self._announce(claim, action),
                FinishExpansion: lambda action: self._finish(claim, action),
                ProtectSource: lambda action: keep_source(self.client, claim, self.caches, action),
                ReleaseSource: lambda _: release_source(self.client, claim),
            },
            request,
            self.backoffs,
            record=lambda result: self._record(claim, seen, result),
        )
        return conclude(outcome, plan.look_again)

    def observe(self, claim: PersistentVolumeClaim) -> ClaimObservation:
        """What the caches have about a claim."""
        volume = self.caches.volumes.get("", claim.spec.volume_name or volume_name(claim))
        if volume is not None:
            driver = volume.spec.csi.driver if volume.spec.csi is not None else ""
            backend = self.drivers.serving(driver)
            capabilities = backend.capabilities if backend is not None else None
            attached = self._attached(volume) if capabilities is not None and capabilities.expands == "offline" else ()
            copying = is_copied(claim, self.caches)
            return ClaimObservation(volume=volume, capabilities=capabilities, attached=attached, is_copied=copying)
        found = self.caches.classes.get("", class_name(claim)) if class_name(claim) else None
        if found is None or claim.spec.volume_name:
            return ClaimObservation(storage_class=found)
        driver, backend = self.drivers.of_class(found)
        if backend is None:
            return ClaimObservation(storage_class=found, problem=self.drivers.not_served(found))
        seen = ClaimObservation(storage_class=found, driver=driver, capabilities=backend.capabilities)
        try:
            description = self._described(claim, found, backend)
            source = source_of(claim, self.caches, backend)
            attributes = self._attributes(claim, driver)
        except ParameterError as error:
            return replace(seen, problem=str(error))
        except NotReadyError as error:
            return replace(seen, waits_for=str(error))
        seen = replace(seen, source=source, attributes=attributes, copied=source_claim(claim, self.caches))
        begun = begun_for(claim, self.drivers)
        try:
            if description.choices and not waits_for_pod(claim, found):
                description = placed(claim, found, description, begun, self.caches)
        except NowhereError as error:
            return replace(seen, description=description, nowhere=str(error))
        elsewhere = begun is not None and is_elsewhere(begun, description, self.drivers)
        return replace(seen, description=description, begun=begun if elsewhere else None)

    def _described(
        self, claim: PersistentVolumeClaim, storage_class: StorageClass, backend: VolumeBackend
    ) -> Description:
        filesystem = claim.spec.volume_mode == FILESYSTEM
        description = backend.describe(storage_class, claim.metadata.uid, filesystem=filesystem)
        if problem := claim_problem(claim, storage_class, description, backend.capabilities):
            raise ParameterError(problem)
        return description

    def _attributes(self, claim: PersistentVolumeClaim, driver: str) -> Mapping[str, str]:
        name = claim.spec.volume_attributes_class_name
        if not name:
            return {}
        if self.caches.attributes is None or not self.caches.attributes.synced:
            raise NotReadyError("VolumeAttributesClasses to be read")
        return parameters_for(self.caches, self.drivers, name, driver)

    def _attached(self, volume: PersistentVolume) -> tuple[str, ...]:
        found = self.caches.attachments.by_index(BY_VOLUME, volume.metadata.name)
        return tuple(sorted(attachment.spec.node_name for attachment in found))

    async def _protect(self, claim: PersistentVolumeClaim, action: Any) -> None:
        note = msgspec.json.encode(action.volume, order="deterministic").decode()
        finalizers = list(dict.fromkeys((*claim.metadata.finalizers, CLAIM_FINALIZER)))
        await self._patch_claim(claim, {CLAIM_VOLUME: note}, finalizers=finalizers)

    async def _release(self, claim: PersistentVolumeClaim) -> None:
        finalizers = [name for name in claim.metadata.finalizers if name != CLAIM_FINALIZER]
        try:
            await self._patch_claim(claim, {CLAIM_VOLUME: None}, finalizers=finalizers)
        except ApiError as error:
            # A claim that is gone needs no release; one that has changed wakes us again.
            if not error.is_not_found and not error.is_conflict:
                raise

    async def _patch_claim(
        self, claim: PersistentVolumeClaim, annotations: Mapping[str, str | None], **metadata: Any
    ) -> None:
        same = {"uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version}
        await self.client.patch(
            PVC,
            claim.metadata.namespace,
            claim.metadata.name,
            {"metadata": {**same, **metadata, "annotations": annotations}},
            content_type=MERGE_PATCH,
        )

    async def _provision(self, claim: PersistentVolumeClaim, storage_class: StorageClass | None, action: Any) -> None:
        if storage_class is None:
            raise BackendError(f"StorageClass {class_name(claim)} does not exist any more")
        description: Description = action.description
        backend = self._serving(description.volume.driver)
        created = await backend.create(
            NewVolume(
                volume=description.volume,
                size=action.size,
                options=description.options,
                source=action.source,
                read_only=action.read_only,
            )
        )
        attributes = self.drivers.attributes_of(description.volume.driver)
        if attributes is not None and (action.attributes or action.source is not None):  # a copy has its source's
            await attributes.apply(description.volume, action.attributes)
        try:
            await self.client.create(
                PV, persistent_volume(claim, storage_class, description, backend.capabilities, created)
            )
        except ApiError as error:
            if not error.is_already_exists:
                raise

    async def _discard(self, claim: PersistentVolumeClaim, action: Any) -> None:
        # Whoever may write a claim may write our note on it, with another's volume.
        backend = self.drivers.knowing(action.volume.driver)
        if backend is None or not backend.is_made_for(action.volume, claim.metadata.uid):
            name = f"{claim.metadata.namespace}/{claim.metadata.name}"
            _log.warning("claim names a volume that was not made for it: left alone", claim=name)
            return
        if await self._has_volume(claim):
            if claim.metadata.deletion_timestamp is None:
                raise BackendError("the claim has a PersistentVolume, which the cache did not show yet")
            return
        with suppress(GoneError):  # what never held anything may be left behind
            await backend.delete(action.volume)
            await abandon(claim, action.volume, backend, self.drivers.snapshots.get(backend.name), self.caches)

    async def _has_volume(self, claim: PersistentVolumeClaim) -> bool:
        """Whether a claim has a PersistentVolume, or had one, or is another's by now: the cache may be older."""
        fresh = await self.client.get(PVC, claim.metadata.namespace, claim.metadata.name)
        if fresh["metadata"]["uid"] != claim.metadata.uid or fresh["spec"].get("volumeName"):
            return True
        try:
            await self.client.get(PV, "", volume_name(claim))
        except ApiError as error:
            if not error.is_not_found:
                raise
            return False
        return True

    async def _refuse(self, claim: PersistentVolumeClaim, action: Any) -> None:
        _log.info("claim refused", claim=f"{claim.metadata.namespace}/{claim.metadata.name}", problem=action.problem)

    async def _select_another(self, claim: PersistentVolumeClaim, action: SelectAnother) -> None:
        if self.caches.nodes.get("", action.node) is None:
            try:
                await self.client.get(NODE, "", action.node)
            except ApiError as error:
                if not error.is_not_found:
                    raise
            else:
                raise BackendError(f"node {action.node}, which the scheduler selected, is not in the cache yet")
        await self._patch_claim(claim, {SELECTED_NODE: None})

    async def _expand(self, volume: PersistentVolume | None, action: Any) -> None:
        if volume is None:
            raise BackendError("its PersistentVolume does not exist any more")
        size = await self._serving(action.volume.driver).expand(action.volume, action.size)
        body = {
            "metadata": {"uid": volume.metadata.uid},
            "spec": {"capacity": {"storage": quantity(size)}},
        }
        await self.client.patch(PV, "", volume.metadata.name, body, content_type=MERGE_PATCH)

    async def _announce(self, claim: PersistentVolumeClaim, action: Any) -> None:
        pending = {
            "type": "FileSystemResizePending",
            "status": "True",
            "message": "Waiting for the node to follow the volume's new size.",
        }
        status = {
            "conditions": [pending],
            "allocatedResources": {"storage": quantity(action.size)},
            "allocatedResourceStatuses": {"storage": RESIZE_PENDING},
        }
        await self._patch_status(claim, status)

    async def _finish(self, claim: PersistentVolumeClaim, action: Any) -> None:
        size = {"storage": quantity(action.size)}
        await self._patch_status(claim, {"capacity": size, "allocatedResources": size})

    async def _patch_status(self, claim: PersistentVolumeClaim, status: JsonObject) -> None:
        await self.client.patch(
            PVC,
            claim.metadata.namespace,
            claim.metadata.name,
            {"metadata": {"uid": claim.metadata.uid}, "status": status},
            content_type="application/strategic-merge-patch+json",  # conditions are merged by type
            subresource="status",
        )

    def _serving(self, driver: str) -> VolumeBackend:
        backend = self.drivers.serving(driver)
        if backend is None:
            raise BackendError(f"CSI driver {driver} is not served any more")
        return backend

    def _record(self, claim: PersistentVolumeClaim, seen: ClaimObservation, result: StepResult) -> None:
        match result.step.action:
            case RefuseClaim(problem, reason):
                if self._told.is_news(Request(claim.metadata.namespace, claim.metadata.name), problem):
                    self._event(claim, "Warning", reason, problem)
            case _ if result.state is StepState.WAITING:
                self._tell_progress(claim, result.step.waits_for)
            case SelectAnother(_, problem) if result.state is StepState.DONE:
                self._event(claim, "Warning", "ProvisioningFailed", f"{problem}; the scheduler selects another")
            case ProvisionVolume() as action if result.state is StepState.DONE:
                self._event(claim, "Normal", "ProvisioningSucceeded", _made(claim, action.size))
                for unserved in _unserved(seen, action.description):
                    self._event(claim, "Warning", "ParameterNotServed", f"StorageClass {class_name(claim)}: {unserved}")
            case ExpandVolume(_, size) if result.state is StepState.DONE:
                self._event(claim, "Normal", "VolumeResizeSuccessful", f"Made the volume {quantity(size)} large")
            case ExpandVolume() | AnnounceExpansion() | FinishExpansion() if result.state is StepState.FAILED:
                self._event(claim, "Warning", "VolumeResizeFailed", brief(result.error))
            case _ if result.state is StepState.FAILED:
                self._event(claim, "Warning", "ProvisioningFailed", brief(result.error))

    def _tell_progress(self, claim: PersistentVolumeClaim, progress: str) -> None:
        key, now = f"{claim.metadata.namespace}/{claim.metadata.name}", anyio.current_time()
        if now - self._progress.get(key, -PROGRESS_EVERY) >= PROGRESS_EVERY:
            self._progress[key] = now
            self._event(claim, "Normal", "Provisioning", brief(progress))

    def _event(self, claim: PersistentVolumeClaim, kind: Any, reason: str, note: str) -> None:
        self.events.event(object_reference(claim, PVC), kind, reason, note)


def _unserved(seen: ClaimObservation, description: Description) -> list[str]:
    unserved = [f"parameter {name!r} has no effect here" for name in description.unserved]
    storage_class = seen.storage_class
    if storage_class is not None and storage_class.allowed_topologies and not description.choices:
        delayed = storage_class.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER
        effect = "decides where the first pod runs, and no more" if delayed else "has no effect"
        unserved.append(f"allowedTopologies {effect}, as every node reaches this volume")
    return unserved


def _made(claim: PersistentVolumeClaim, size: int) -> str:
    asked = round_up(storage_bytes(claim.spec.resources.requests))
    why = f", the least that its file system can have, for the {quantity(asked)} that it asks for"
    return f"Made volume {volume_name(claim)} of {quantity(size)}{why if size > asked else ''}"
