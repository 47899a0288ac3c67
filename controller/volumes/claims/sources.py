"""What the volume of a claim begins as a copy of: `spec.dataSource`, of the kinds that its storage system can copy.

The checks are those of the external-provisioner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.framework.quantities import quantity, round_up, storage_bytes
from controller.volumes.backend import ParameterError, Source, Volume, volume_from
from controller.volumes.claims.objects import SOURCE_FINALIZER
from controller.volumes.snapshots.kinds import ALLOW_MODE_CHANGE, BEING_DELETED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.runtime.kube import ObjectReference, PersistentVolumeClaim
    from controller.volumes.backend import VolumeBackend
    from controller.volumes.caches import Caches


class NotReadyError(Exception):
    """The source cannot be copied yet. The message is what is waited for."""


type SourceOf = Callable[[PersistentVolumeClaim, ObjectReference, Caches, VolumeBackend], Source]
"""Finds the source that a claim refers to, for the storage system that makes the claim's volume.

Raises:
    ParameterError: It cannot be copied for this claim.
    NotReadyError: It cannot be copied yet.
"""


def source_of(claim: PersistentVolumeClaim, caches: Caches, backend: VolumeBackend) -> Source | None:
    """The source of a claim's volume, of a kind that its storage system can copy; None: the volume begins empty.

    Raises like `SourceOf`.
    """
    reference = claim.spec.data_source_ref or claim.spec.data_source
    if reference is None:
        return None
    name = f"PersistentVolumeClaim {claim.metadata.namespace}/{claim.metadata.name}"
    find = _FINDERS.get(reference.kind)
    if find is None or reference.kind not in backend.capabilities.sources:
        what = f"{name}: spec.dataSource is {reference.kind} {reference.name}: expected none"
        served = [kind for kind in backend.capabilities.sources if kind in _FINDERS]
        raise ParameterError(
            f"{what}, or a {' or '.join(served)}" if served else f"{what}, volumes are made empty only"
        )
    if reference.namespace not in ("", claim.metadata.namespace):
        raise ParameterError(
            f"{name}: spec.dataSourceRef.namespace is {reference.namespace}: expected {claim.metadata.namespace}"
        )
    return find(claim, reference, caches, backend)


def source_claim(claim: PersistentVolumeClaim, caches: Caches) -> PersistentVolumeClaim | None:
    """The claim that a claim is to be a copy of; None: there is none."""
    reference = claim.spec.data_source_ref or claim.spec.data_source
    if reference is None or reference.kind != "PersistentVolumeClaim":
        return None
    return caches.claims.get(claim.metadata.namespace, reference.name)


def _claims_volume(
    claim: PersistentVolumeClaim, reference: ObjectReference, caches: Caches, backend: VolumeBackend
) -> Source:
    """The volume of another claim, as it is when it is copied."""
    namespace = claim.metadata.namespace
    name, other = f"PersistentVolumeClaim {namespace}/{claim.metadata.name}", f"{reference.kind} {reference.name}"
    found = caches.claims.get(namespace, reference.name)
    volume = caches.volumes.get("", found.spec.volume_name) if found is not None and found.spec.volume_name else None
    if found is None or found.status.phase != "Bound" or volume is None:
        raise NotReadyError(f"{reference.kind} {namespace}/{reference.name} to be bound")
    if found.metadata.deletion_timestamp is not None and SOURCE_FINALIZER not in found.metadata.finalizers:
        raise ParameterError(f"{name}: spec.dataSource is {other}, which is being deleted")
    csi = volume.spec.csi
    if csi is None or not backend.serves(csi.driver):
        driver = f"CSI driver {csi.driver}" if csi is not None else "no CSI driver"
        raise ParameterError(f"{name}: spec.dataSource is {other} of {driver}: expected one of the claim's own driver")
    if found.spec.volume_mode != claim.spec.volume_mode:
        raise ParameterError(
            f"{name}: spec.volumeMode is {claim.spec.volume_mode}: expected {found.spec.volume_mode}, as of {other}"
        )
    has = storage_bytes(volume.spec.capacity)
    _check_size(claim, has, other)
    return Source(volume=volume_from(csi), size=has)


def _snapshot(
    claim: PersistentVolumeClaim, reference: ObjectReference, caches: Caches, backend: VolumeBackend
) -> Source:
    """A snapshot that is ready, by the content that it is bound to."""
    namespace = claim.metadata.namespace
    name, other = f"PersistentVolumeClaim {namespace}/{claim.metadata.name}", f"VolumeSnapshot {reference.name}"
    there = caches.snapshots
    found = there.snapshots.get(namespace, reference.name) if there is not None else None
    bound = found.status.bound_volume_snapshot_content_name if found is not None else ""
    content = there.contents.get("", bound) if there is not None and bound else None
    if found is None or content is None:
        raise NotReadyError(f"VolumeSnapshot {namespace}/{reference.name} to be bound")
    # A content that names another VolumeSnapshot is of somebody else's data.
    of = content.spec.volume_snapshot_ref
    if (of.uid, of.namespace, of.name) != (found.metadata.uid, namespace, reference.name):
        raise ParameterError(f"{name}: spec.dataSource is {other}, whose VolumeSnapshotContent {bound} is of another")
    if not backend.serves(content.spec.driver):
        raise ParameterError(
            f"{name}: spec.dataSource is {other} of CSI driver {content.spec.driver}: expected one of the claim's own "
            f"driver"
        )
    if content.metadata.deletion_timestamp is not None or BEING_DELETED in content.metadata.annotations:
        raise ParameterError(f"{name}: spec.dataSource is {other}, which is being deleted")
    if not content.status.ready_to_use or not content.status.snapshot_handle:
        error = content.status.error
        why = f": {error.message}" if error is not None else ""
        raise NotReadyError(f"VolumeSnapshot {namespace}/{reference.name} to be ready to use{why}")
    mode = content.spec.source_volume_mode
    if mode and mode != claim.spec.volume_mode and content.metadata.annotations.get(ALLOW_MODE_CHANGE) != "true":
        raise ParameterError(f"{name}: spec.volumeMode is {claim.spec.volume_mode}: expected {mode}, as of {other}")
    has = content.status.restore_size or 0
    _check_size(claim, has, other)
    volume = Volume(driver=content.spec.driver, attributes={}, handle=content.status.snapshot_handle)
    return Source(volume=volume, size=has, is_snapshot=True)


def _check_size(claim: PersistentVolumeClaim, has: int, other: str) -> None:
    asked = round_up(storage_bytes(claim.spec.resources.requests))
    if asked < has:
        raise ParameterError(
            f"PersistentVolumeClaim {claim.metadata.namespace}/{claim.metadata.name}: spec.resources.requests.storage "
            f"is {quantity(asked)}: expected at least {quantity(has)}, as of {other}"
        )


_FINDERS: Mapping[str, SourceOf] = {"PersistentVolumeClaim": _claims_volume, "VolumeSnapshot": _snapshot}
