"""Claims to volumes: provisioning (also when the first pod is scheduled), and expansion.

A claim carries our finalizer, and an annotation that says where its volume is being made, from before the volume is
made until its PersistentVolume exists. So a volume is never lost sight of: whatever happens in between, either the
PersistentVolume comes to be, or the claim goes, and with it the volume that never held anything.

Names and annotations are those of Kubernetes' own controllers and of the external-provisioner and external-resizer
(https://kubernetes-csi.github.io/docs/).
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from controller.framework.backoff import Backoffs
from controller.framework.plan import Plan, Step, StepState, carry_out, conclude
from controller.framework.text import brief
from controller.runtime.kube import PV, PVC
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError, GoneError, ParameterError, Volume, volume_from
from controller.volumes.quantities import MIB, quantity, round_up, storage_bytes
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import PersistentVolume, PersistentVolumeClaim, StorageClass
    from controller.volumes.backend import Description, VolumeBackend
    from informers import Client, Informer, JsonObject

_log = structlog.get_logger(__name__)

CLAIM_FINALIZER = "volumes.rook.io/provisioning"
CLAIM_VOLUME = "volumes.rook.io/volume"
"""The annotation that says, as JSON, which volume is being made for a claim."""

VOLUME_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
STORAGE_PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
"""Kubernetes writes them on a claim that no existing volume fits: only then one is to be made."""

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
"""Where a claim named its class before it had a field for that. Kubernetes still goes by it, and before the field."""

SELECTED_NODE = "volume.kubernetes.io/selected-node"
WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
DELETION_SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name"  # noqa: S105
DELETION_SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace"  # noqa: S105

CSI = "csi.storage.k8s.io/"
FSTYPE = f"{CSI}fstype"
FILESYSTEMS = ("ext4", "xfs")
LEAST = {"xfs": 300 * MIB}
"""Bytes that a file system needs at least: mkfs.xfs refuses less (xfsprogs 5.19). A claim's request is a minimum."""

_SECRETS = {
    "nodeStageSecretRef": "node-stage",
    "nodePublishSecretRef": "node-publish",
    "controllerPublishSecretRef": "controller-publish",
    "controllerExpandSecretRef": "controller-expand",
    "nodeExpandSecretRef": "node-expand",
}
"""Fields of a PersistentVolume, by what stands before "-secret-name" in the parameters of a class."""

_TEMPLATE = re.compile(r"\$\{([^}]*)\}")

ACTION_DEADLINE = 120.0
RESIZE_PENDING = "NodeResizePending"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimObservation:
    """What `analyze` decides by.

    Attributes:
        storage_class: The claim's class; None when it does not exist.
        driver: The CSI driver that serves the class; empty: not ours.
        description: What the class asks for; None when it cannot be told.
        problem: Why it cannot: the claim or the class is wrong. Also why the class, though meant to be, is not ours.
        volume: The claim's PersistentVolume: the bound one, else the one that we made for it.
        ours: Whether the volume is one of our drivers'.
    """

    storage_class: StorageClass | None = None
    driver: str = ""
    description: Description | None = None
    problem: str = ""
    volume: PersistentVolume | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class ProtectClaim:
    """Note on the claim which volume is about to be made, and keep the claim from going before that is settled."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class ProvisionVolume:
    """Make the volume and its PersistentVolume."""

    description: Description
    size: int


@dataclass(frozen=True, slots=True)
class DiscardVolume:
    """Destroy the volume that was being made for a claim which is going away; it never had a PersistentVolume."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """Let the claim go its own way: its volume is settled."""


@dataclass(frozen=True, slots=True)
class RefuseClaim:
    """Tell the user what is wrong with the claim or its class."""

    problem: str


@dataclass(frozen=True, slots=True)
class ExpandVolume:
    """Make the volume as large as the claim asks for."""

    volume: Volume
    size: int


@dataclass(frozen=True, slots=True)
class AnnounceExpansion:
    """Tell the kubelet that the file system or device on the node is to follow the volume's new size."""

    size: int


def volume_name(claim: PersistentVolumeClaim) -> str:
    """The name of the PersistentVolume that is made for a claim."""
    return f"pvc-{claim.metadata.uid}"


def class_name(claim: PersistentVolumeClaim) -> str:
    """The StorageClass that a claim names; empty: none."""
    return claim.metadata.annotations.get(BETA_CLASS) or claim.spec.storage_class_name or ""


def analyze(claim: PersistentVolumeClaim, seen: ClaimObservation) -> Plan:
    """What to do for a claim. Pure."""
    subject = f"claim {claim.metadata.namespace}/{claim.metadata.name}"
    protected = CLAIM_FINALIZER in claim.metadata.finalizers
    if seen.volume is not None or (claim.spec.volume_name and claim.status.phase == "Bound"):
        steps: tuple[Step, ...] = ()
        # While it is being bound, others write to the claim, too; nothing is lost by being the last.
        if protected and (claim.status.phase == "Bound" or claim.metadata.deletion_timestamp is not None):
            steps = (Step(subject=subject, action=ReleaseClaim(), reason="its PersistentVolume exists"),)
        if claim.metadata.deletion_timestamp is None:
            steps += _expand(claim, seen, subject)
        return Plan(steps=steps)
    if claim.metadata.deletion_timestamp is not None:
        return Plan(steps=_discard(claim, subject) if protected else ())
    if seen.storage_class is None or claim.spec.volume_name or not (seen.driver or seen.problem):
        return Plan()
    if not any(claim.metadata.annotations.get(key) == seen.storage_class.provisioner for key in STORAGE_PROVISIONERS):
        return Plan()
    if waits := _waits_for_pod(claim, seen.storage_class):
        return Plan(steps=(Step(subject=subject, reason="the class binds when a pod is scheduled", waits_for=waits),))
    if seen.description is None:
        return Plan(steps=(Step(subject=subject, action=RefuseClaim(seen.problem), reason=seen.problem),))
    return Plan(steps=_provision(claim, seen.storage_class, seen.description, subject, protected=protected))


def _waits_for_pod(claim: PersistentVolumeClaim, storage_class: StorageClass) -> str:
    delayed = storage_class.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER
    if delayed and not claim.metadata.annotations.get(SELECTED_NODE):
        return f"the scheduler's annotation {SELECTED_NODE}"
    return ""


def size_for(claim: PersistentVolumeClaim, storage_class: StorageClass) -> int:
    """Bytes of the volume for a claim: what it asks for, or what its file system needs at least. Pure.

    Raises:
        ValueError: It asks for what is no quantity.
    """
    asked = round_up(storage_bytes(claim.spec.resources.requests))
    return max(asked, LEAST.get(file_system(storage_class), 0) if claim.spec.volume_mode == "Filesystem" else 0)


def _provision(
    claim: PersistentVolumeClaim,
    storage_class: StorageClass,
    description: Description,
    subject: str,
    *,
    protected: bool,
) -> tuple[Step, ...]:
    size = size_for(claim, storage_class)
    make = Step(
        subject=subject,
        action=ProvisionVolume(description, size),
        reason=f"no volume fits; one of {quantity(size)} is made",
        deadline=ACTION_DEADLINE,
    )
    if protected:
        return (make,)
    return (
        Step(subject=subject, action=ProtectClaim(description.volume), reason="a volume is about to be made"),
        make,
    )


def _discard(claim: PersistentVolumeClaim, subject: str) -> tuple[Step, ...]:
    release = Step(subject=subject, action=ReleaseClaim(), reason="it is being deleted, and has no volume")
    noted = claim.metadata.annotations.get(CLAIM_VOLUME)
    # One that was bound had a PersistentVolume; whoever deleted that decided about the volume.
    if not noted or claim.spec.volume_name:
        return (release,)
    volume = msgspec.json.decode(noted, type=Volume)
    discard = Step(
        subject=subject,
        action=DiscardVolume(volume),
        reason="it was deleted before it had a PersistentVolume",
        deadline=ACTION_DEADLINE,
    )
    return (discard, release)


def _expand(claim: PersistentVolumeClaim, seen: ClaimObservation, subject: str) -> tuple[Step, ...]:
    volume = seen.volume
    if volume is None or volume.spec.csi is None or not seen.ours or claim.status.phase != "Bound":
        return ()
    if volume.spec.claim_ref is None or volume.spec.claim_ref.uid != claim.metadata.uid:
        return ()
    wanted = round_up(storage_bytes(claim.spec.resources.requests))
    has = storage_bytes(volume.spec.capacity)
    shown = storage_bytes(claim.status.capacity)
    if wanted > has:
        served = volume_from(volume.spec.csi)
        reason = f"it asks for {quantity(wanted)}, its volume has {quantity(has)}"
        return (
            Step(subject=subject, action=ExpandVolume(served, wanted), reason=reason, deadline=ACTION_DEADLINE),
            Step(subject=subject, action=AnnounceExpansion(wanted), reason=reason),
        )
    if has > shown > 0 and not claim.status.allocated_resource_statuses.get("storage"):
        reason = f"its volume has {quantity(has)}, its node shows {quantity(shown)}"
        return (Step(subject=subject, action=AnnounceExpansion(has), reason=reason),)
    return ()


def claim_problem(claim: PersistentVolumeClaim, storage_class: StorageClass, description: Description) -> str:
    """What of a claim cannot be served, whatever the backend; empty when it can. Pure."""
    name = f"PersistentVolumeClaim {claim.metadata.namespace}/{claim.metadata.name}"
    source = claim.spec.data_source_ref or claim.spec.data_source
    if source is not None:
        return f"{name}: spec.dataSource is {source.kind} {source.name}: expected none, volumes are made empty only"
    if claim.spec.volume_mode == "Filesystem" and "ReadWriteMany" in claim.spec.access_modes:
        return (
            f"{name}: spec.accessModes has ReadWriteMany with a file system, which several nodes would destroy: "
            "expected ReadWriteOnce, ReadWriteOncePod, ReadOnlyMany, or volumeMode Block"
        )
    fs_type = file_system(storage_class)
    if claim.spec.volume_mode == "Filesystem" and fs_type not in FILESYSTEMS:
        return (
            f"StorageClass {storage_class.metadata.name}: parameters[{FSTYPE!r}] is {fs_type!r}: expected ext4 or xfs"
        )
    try:
        size, most = size_for(claim, storage_class), storage_bytes(claim.spec.resources.limits)
        if 0 < most < size:
            return f"{name}: spec.resources.limits.storage is {quantity(most)}: expected at least {quantity(size)}"
        _secrets(claim, storage_class, description)
    except (ValueError, ParameterError) as error:
        return f"{name}: {error}"
    return ""


def file_system(storage_class: StorageClass) -> str:
    """The file system type that a class asks for."""
    parameters = storage_class.parameters
    return parameters.get(FSTYPE) or parameters.get("fsType") or parameters.get("fstype") or FILESYSTEMS[0]


def persistent_volume(
    claim: PersistentVolumeClaim, storage_class: StorageClass, description: Description, handle: str, size: int
) -> JsonObject:
    """The PersistentVolume of a volume that was made for a claim. Pure."""
    csi: dict[str, Any] = {
        "driver": description.volume.driver,
        "volumeHandle": handle,
        "volumeAttributes": dict(description.volume.attributes),
        **_secrets(claim, storage_class, description),
    }
    if claim.spec.volume_mode == "Filesystem":
        csi["fsType"] = file_system(storage_class)
    name, namespace = _secret(claim, storage_class, "provisioner", description)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {
                PROVISIONED_BY: storage_class.provisioner,
                DELETION_SECRET_NAME: name,
                DELETION_SECRET_NAMESPACE: namespace,
            },
            "finalizers": [VOLUME_FINALIZER],
        },
        "spec": {
            "capacity": {"storage": quantity(size)},
            "accessModes": list(claim.spec.access_modes),
            "persistentVolumeReclaimPolicy": storage_class.reclaim_policy,
            "storageClassName": storage_class.metadata.name,
            "mountOptions": list(storage_class.mount_options),
            "volumeMode": claim.spec.volume_mode,
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.metadata.namespace,
                "name": claim.metadata.name,
                "uid": claim.metadata.uid,
                "resourceVersion": claim.metadata.resource_version,
            },
            "csi": csi,
        },
    }


def _secrets(
    claim: PersistentVolumeClaim, storage_class: StorageClass, description: Description
) -> dict[str, dict[str, str]]:
    references = {}
    for reference, purpose in _SECRETS.items():
        name, namespace = _secret(claim, storage_class, purpose, description)
        if name:
            references[reference] = {"name": name, "namespace": namespace}
    return references


def _secret(
    claim: PersistentVolumeClaim, storage_class: StorageClass, purpose: str, description: Description
) -> tuple[str, str]:
    """Name and namespace of the Secret of a purpose; empty where there is none."""
    defaults = {
        "node-stage": description.stage_secret,
        "controller-expand": description.expand_secret,
        "provisioner": description.expand_secret,
    }
    name = storage_class.parameters.get(f"{CSI}{purpose}-secret-name") or defaults.get(purpose, "")
    namespace = storage_class.parameters.get(f"{CSI}{purpose}-secret-namespace") or description.secret_namespace
    # As in the external-provisioner: an owner of claims chooses no namespace whose Secrets are used.
    values = {"pv.name": volume_name(claim), "pvc.namespace": claim.metadata.namespace}
    annotations = {f"pvc.annotations['{key}']": value for key, value in claim.metadata.annotations.items()}
    named = {**values, "pvc.name": claim.metadata.name, **annotations}
    return (
        _fill(name, storage_class, named, "${pvc.name}, ${pvc.namespace}, ${pv.name} or an annotation of the claim"),
        _fill(namespace, storage_class, values, "${pvc.namespace} or ${pv.name}"),
    )


def _fill(template: str, storage_class: StorageClass, values: Mapping[str, str], expected: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise ParameterError(
                f"StorageClass {storage_class.metadata.name}: parameter value {template!r} uses {match.group(0)}: "
                f"expected {expected}"
            )
        return values[match.group(1)]

    return _TEMPLATE.sub(value, template)


@dataclass(slots=True)
class Claims:
    """The reconciler of PersistentVolumeClaims.

    Attributes:
        client: Writes.
        events: Tells users.
        claims: All claims of the cluster.
        volumes: All PersistentVolumes.
        classes: All StorageClasses.
        backend: The storage system.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    claims: Informer[PersistentVolumeClaim]
    volumes: Informer[PersistentVolume]
    classes: Informer[StorageClass]
    backend: VolumeBackend
    backoffs: Backoffs = field(default_factory=Backoffs)
    _told: dict[str, str] = field(default_factory=dict)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        claim = self.claims.get(request.namespace, request.name)
        if claim is None:
            self._told.pop(str(request), None)
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
                ExpandVolume: lambda action: self._expand(seen.volume, action),
                AnnounceExpansion: lambda action: self._announce(claim, action),
            },
            request,
            self.backoffs,
            record=lambda result: self._record(claim, result),
        )
        return conclude(outcome, plan.look_again)

    def observe(self, claim: PersistentVolumeClaim) -> ClaimObservation:
        """What the caches have about a claim."""
        volume = self.volumes.get("", claim.spec.volume_name or volume_name(claim))
        ours = volume is not None and volume.spec.csi is not None and self.backend.serves(volume.spec.csi.driver)
        found = self.classes.get("", class_name(claim)) if class_name(claim) else None
        driver = self.backend.driver_of(found) if found is not None else ""
        description, problem = None, ""
        if found is not None and not driver:
            problem = self.backend.not_served(found)
        if found is not None and driver and volume is None and not claim.spec.volume_name:
            filesystem = claim.spec.volume_mode == "Filesystem"
            try:
                description = self.backend.describe(found, claim.metadata.uid, filesystem=filesystem)
                problem = claim_problem(claim, found, description)
            except ParameterError as error:
                problem = str(error)
            if problem:
                description = None
        return ClaimObservation(
            storage_class=found,
            driver=driver,
            description=description,
            problem=problem,
            volume=volume,
            ours=ours,
        )

    async def _protect(self, claim: PersistentVolumeClaim, action: Any) -> None:
        await self._patch_claim(
            claim,
            finalizers=[*claim.metadata.finalizers, CLAIM_FINALIZER],
            note=msgspec.json.encode(action.volume, order="deterministic").decode(),
        )

    async def _release(self, claim: PersistentVolumeClaim) -> None:
        finalizers = [name for name in claim.metadata.finalizers if name != CLAIM_FINALIZER]
        try:
            await self._patch_claim(claim, finalizers=finalizers, note=None)
        except ApiError as error:
            # A claim that is gone needs no release; one that has changed wakes us again.
            if not error.is_not_found and not error.is_conflict:
                raise

    async def _patch_claim(self, claim: PersistentVolumeClaim, *, finalizers: list[str], note: str | None) -> None:
        metadata = {
            "uid": claim.metadata.uid,
            "resourceVersion": claim.metadata.resource_version,
            "finalizers": finalizers,
            "annotations": {CLAIM_VOLUME: note},
        }
        await self.client.patch(
            PVC,
            claim.metadata.namespace,
            claim.metadata.name,
            {"metadata": metadata},
            content_type="application/merge-patch+json",
        )

    async def _provision(self, claim: PersistentVolumeClaim, storage_class: StorageClass | None, action: Any) -> None:
        if storage_class is None:
            raise BackendError(f"StorageClass {class_name(claim)} does not exist any more")
        created = await self.backend.create(action.description.volume, action.size, action.description.options)
        try:
            await self.client.create(
                PV, persistent_volume(claim, storage_class, action.description, created.handle, created.size)
            )
        except ApiError as error:
            if not error.is_already_exists:
                raise

    async def _discard(self, claim: PersistentVolumeClaim, action: Any) -> None:
        # Whoever may write a claim may write our note on it, with another's volume.
        if not self.backend.is_made_for(action.volume, claim.metadata.uid):
            name = f"{claim.metadata.namespace}/{claim.metadata.name}"
            _log.warning("claim names a volume that was not made for it: left alone", claim=name)
            return
        # The cache may be older than a PersistentVolume that was made a moment ago, or made, bound and deleted.
        fresh = await self.client.get(PVC, claim.metadata.namespace, claim.metadata.name)
        if fresh["metadata"]["uid"] != claim.metadata.uid or fresh["spec"].get("volumeName"):
            return
        try:
            await self.client.get(PV, "", volume_name(claim))
        except ApiError as error:
            if not error.is_not_found:
                raise
            with suppress(GoneError):  # what never held anything may be left behind
                await self.backend.delete(action.volume)

    async def _refuse(self, claim: PersistentVolumeClaim, action: Any) -> None:
        _log.info("claim refused", claim=f"{claim.metadata.namespace}/{claim.metadata.name}", problem=action.problem)

    async def _expand(self, volume: PersistentVolume | None, action: Any) -> None:
        if volume is None:
            raise BackendError("its PersistentVolume does not exist any more")
        size = await self.backend.expand(action.volume, action.size)
        body = {
            "metadata": {"uid": volume.metadata.uid},
            "spec": {"capacity": {"storage": quantity(size)}},
        }
        await self.client.patch(PV, "", volume.metadata.name, body, content_type="application/merge-patch+json")

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
        await self.client.patch(
            PVC,
            claim.metadata.namespace,
            claim.metadata.name,
            {"metadata": {"uid": claim.metadata.uid}, "status": status},
            content_type="application/strategic-merge-patch+json",  # conditions are merged by type
            subresource="status",
        )

    def _record(self, claim: PersistentVolumeClaim, result: StepResult) -> None:
        match result.step.action:
            case RefuseClaim(problem):
                # Once for each problem, not each time that something else of the claim changes.
                key = f"{claim.metadata.namespace}/{claim.metadata.name}"
                if self._told.get(key) != problem:
                    self._told[key] = problem
                    self._event(claim, "Warning", "ProvisioningFailed", problem)
            case ProvisionVolume() as action if result.state is StepState.DONE:
                self._event(claim, "Normal", "ProvisioningSucceeded", _made(claim, action.size))
                for name in action.description.unserved:
                    note = f"StorageClass {class_name(claim)}: parameter {name!r} has no effect here"
                    self._event(claim, "Warning", "ParameterNotServed", note)
            case ExpandVolume(_, size) if result.state is StepState.DONE:
                self._event(claim, "Normal", "VolumeResizeSuccessful", f"Made the volume {quantity(size)} large")
            case ExpandVolume() | AnnounceExpansion() if result.state is StepState.FAILED:
                self._event(claim, "Warning", "VolumeResizeFailed", brief(result.error))
            case _ if result.state is StepState.FAILED:
                self._event(claim, "Warning", "ProvisioningFailed", brief(result.error))

    def _event(self, claim: PersistentVolumeClaim, kind: Any, reason: str, note: str) -> None:
        self.events.event(object_reference(claim, PVC), kind, reason, note)


def _made(claim: PersistentVolumeClaim, size: int) -> str:
    asked = round_up(storage_bytes(claim.spec.resources.requests))
    why = f", the least that its file system can have, for the {quantity(asked)} that it asks for"
    return f"Made volume {volume_name(claim)} of {quantity(size)}{why if size > asked else ''}"
