"""From claims to volumes: what is done when, by tables, and the objects that are made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.framework.plan import StepState
from controller.runtime.kube import PersistentVolumeClaim, ResourceRequirements
from controller.volumes.backend import Created, Description, ParameterError, Volume
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
    analyze,
    claim_problem,
)
from controller.volumes.claims.objects import (
    CLAIM_FINALIZER,
    CLAIM_VOLUME,
    SELECTED_NODE,
    STORAGE_PROVISIONERS,
    class_name,
    persistent_volume,
)
from tests.unit.volumes.objects import ATTRIBUTES, DISKS, DRIVER, SHARES, UID, claim, storage_class, volume

GIB = 1 << 30
IMAGE = Volume(driver=DRIVER, attributes=ATTRIBUTES)
DESCRIPTION = Description(
    volume=IMAGE,
    secret_namespace="rook-ceph",
    stage_secret="rook-csi-rbd-node",
    expand_secret="rook-csi-rbd-provisioner",
)
MADE = Created(handle="handle", size=GIB)
NOTE = {CLAIM_VOLUME: msgspec.json.encode(IMAGE).decode()}


def seen(**changes: Any) -> ClaimObservation:
    return ClaimObservation(
        **{
            "storage_class": storage_class(),
            "driver": DRIVER,
            "description": DESCRIPTION,
            "capabilities": DISKS,
            **changes,
        }
    )


def actions(this: PersistentVolumeClaim, found: ClaimObservation) -> list[object]:
    return [step.action for step in analyze(this, found).steps]


def test_a_claim_is_protected_before_its_volume_is_made() -> None:
    assert actions(claim(), seen()) == [ProtectClaim(IMAGE), ProvisionVolume(DESCRIPTION, GIB)]
    assert actions(claim(finalizers=(CLAIM_FINALIZER,), annotations=NOTE), seen()) == [
        ProvisionVolume(DESCRIPTION, GIB)
    ]


def test_it_is_released_once_its_volume_exists() -> None:
    binding = claim(finalizers=(CLAIM_FINALIZER,), annotations=NOTE)
    assert actions(binding, seen(volume=volume(phase="Pending"))) == []
    bound = claim(finalizers=(CLAIM_FINALIZER,), annotations=NOTE, phase="Bound")
    assert actions(bound, seen(volume=volume())) == [ReleaseClaim()]
    assert actions(claim(), seen(volume=volume(phase="Pending"))) == []


def test_a_claim_that_goes_before_it_has_a_volume_takes_the_image_with_it() -> None:
    going = claim(deleting=True, finalizers=(CLAIM_FINALIZER,), annotations=NOTE)
    assert actions(going, seen(storage_class=None, driver="", description=None)) == [
        DiscardVolume(IMAGE),
        ReleaseClaim(),
    ]
    assert actions(claim(deleting=True), seen()) == []


def test_a_claim_that_goes_after_it_has_a_volume_leaves_it_to_the_reclaim_policy() -> None:
    going = claim(deleting=True, finalizers=(CLAIM_FINALIZER,), annotations=NOTE)
    assert actions(going, seen(volume=volume())) == [ReleaseClaim()]
    lost = claim(deleting=True, finalizers=(CLAIM_FINALIZER,), annotations=NOTE, phase="Lost", volume_name="pvc-1")
    assert actions(lost, seen(volume=None)) == [ReleaseClaim()], "it was retained, and its PersistentVolume deleted"


@pytest.mark.parametrize(
    ("this", "found"),
    [
        (claim(asked=False), seen()),  # existing volumes come first
        (claim(), seen(driver="")),  # another driver's
        (claim(), seen(storage_class=None)),
        (claim(volume_name="by-hand"), seen()),
    ],
)
def test_claims_that_are_left_alone(this: PersistentVolumeClaim, found: ClaimObservation) -> None:
    assert actions(this, found) == []


def test_a_class_that_is_meant_for_us_and_not_served_is_told() -> None:
    other = storage_class(provisioner="rook-operator.rbd.csi.ceph.com")
    found = seen(storage_class=other, driver="", description=None, problem="provisioner is ...: expected ...")
    asked = claim(asked=False, annotations={STORAGE_PROVISIONERS[0]: other.provisioner})
    assert actions(asked, found) == [RefuseClaim(found.problem)]
    assert actions(claim(asked=False), found) == []


@pytest.mark.parametrize(
    ("size", "parameters", "changes", "made"),
    [
        ("100Mi", {"csi.storage.k8s.io/fstype": "xfs"}, {}, 300 << 20),
        ("301Mi", {"csi.storage.k8s.io/fstype": "xfs"}, {}, 301 << 20),
        ("100Mi", {"csi.storage.k8s.io/fstype": "xfs"}, {"volume_mode": "Block"}, 100 << 20),
        ("100Mi", {}, {}, 100 << 20),
    ],
)
def test_a_volume_is_as_large_as_its_file_system_needs(
    size: str, parameters: dict[str, str], changes: dict[str, Any], made: int
) -> None:
    this = claim(size=size, **changes)
    step = actions(this, seen(storage_class=storage_class(parameters=parameters)))[-1]
    assert step == ProvisionVolume(DESCRIPTION, made)


def test_the_class_may_be_named_by_the_annotation_that_came_before_the_field() -> None:
    assert class_name(claim()) == "rook-ceph-block"
    old = claim(annotations={"volume.beta.kubernetes.io/storage-class": "fast"})
    assert class_name(old) == "fast"
    assert class_name(claim(storage_class_name=None)) == ""


def test_binding_waits_for_the_first_pod() -> None:
    waiting = storage_class(volume_binding_mode="WaitForFirstConsumer")
    (step,) = analyze(claim(), seen(storage_class=waiting)).steps
    assert step.held_by is StepState.WAITING
    assert SELECTED_NODE in step.waits_for
    scheduled = claim(annotations={SELECTED_NODE: "worker"})
    assert isinstance(actions(scheduled, seen(storage_class=waiting))[-1], ProvisionVolume)


def test_a_wrong_claim_is_refused() -> None:
    found = seen(description=None, problem="parameters['pool'] is ''")
    assert actions(claim(), found) == [RefuseClaim("parameters['pool'] is ''")]


@pytest.mark.parametrize(
    ("this", "parameters", "named"),
    [
        ({"access_modes": ("ReadWriteMany",)}, {}, "spec.accessModes has ReadWriteMany"),
        ({}, {"csi.storage.k8s.io/fstype": "btrfs"}, "'btrfs': expected ext4 or xfs"),
        ({"size": "much"}, {}, "'much': expected a quantity"),
        ({}, {"csi.storage.k8s.io/node-stage-secret-name": "${pvc.label}"}, "${pvc.label}"),
        (
            {"annotations": {"team": "kube-system"}},
            {"csi.storage.k8s.io/node-stage-secret-namespace": "${pvc.annotations['team']}"},
            "expected ${pvc.namespace} or ${pv.name}",
        ),
        (
            {"resources": ResourceRequirements(requests={"storage": "100Mi"}, limits={"storage": "200Mi"})},
            {"csi.storage.k8s.io/fstype": "xfs"},
            "spec.resources.limits.storage is 200Mi: expected at least 300Mi",
        ),
    ],
)
def test_what_is_wrong_is_named(this: dict[str, Any], parameters: dict[str, str], named: str) -> None:
    assert named in claim_problem(claim(**this), storage_class(parameters=parameters), DESCRIPTION, DISKS)


def test_volumes_that_are_file_systems_have_no_type_and_no_least_size() -> None:
    parameters = {"csi.storage.k8s.io/fstype": "btrfs"}
    this = claim(access_modes=("ReadWriteMany",), size="1Mi")
    assert claim_problem(this, storage_class(parameters=parameters), DESCRIPTION, SHARES) == ""
    block = claim_problem(claim(volume_mode="Block"), storage_class(), DESCRIPTION, SHARES)
    assert block == "PersistentVolumeClaim app/data: spec.volumeMode is Block: expected Filesystem"


@pytest.mark.parametrize(
    ("this", "parameters"),
    [
        ({}, {}),
        ({"access_modes": ("ReadWriteMany",), "volume_mode": "Block"}, {}),
        ({"volume_mode": "Block"}, {"csi.storage.k8s.io/fstype": "btrfs"}),
        ({"access_modes": ("ReadWriteOncePod",)}, {"csi.storage.k8s.io/fstype": "xfs"}),
    ],
)
def test_what_is_right(this: dict[str, Any], parameters: dict[str, str]) -> None:
    assert claim_problem(claim(**this), storage_class(parameters=parameters), DESCRIPTION, DISKS) == ""


BOUND: dict[str, Any] = {"phase": "Bound", "volume_name": f"pvc-{UID}"}


def test_a_larger_request_expands_the_volume() -> None:
    larger = claim(size="2Gi", capacity="1Gi", **BOUND)
    made = Volume(driver=DRIVER, attributes=ATTRIBUTES, handle="h")
    assert actions(larger, seen(volume=volume())) == [ExpandVolume(made, 2 * GIB), AnnounceExpansion(2 * GIB)]


def test_where_no_node_has_to_follow_the_user_is_told_at_once() -> None:
    larger = claim(size="2Gi", capacity="1Gi", **BOUND)
    made = Volume(driver=DRIVER, attributes=ATTRIBUTES, handle="h")
    found = seen(volume=volume(), capabilities=SHARES)
    assert actions(larger, found) == [ExpandVolume(made, 2 * GIB), FinishExpansion(2 * GIB)]
    assert actions(larger, seen(volume=volume(capacity="2Gi"), capabilities=SHARES)) == [FinishExpansion(2 * GIB)]
    assert actions(claim(size="2Gi", capacity="2Gi", **BOUND), found) == [
        ExpandVolume(made, 2 * GIB),
        FinishExpansion(2 * GIB),
    ]


def test_a_volume_that_grows_only_while_nobody_has_it_waits_for_its_detachment() -> None:
    larger = claim(size="2Gi", capacity="1Gi", **BOUND)
    offline = replace(DISKS, expands="offline")
    (step,) = analyze(larger, seen(volume=volume(), capabilities=offline, attached=("a", "b"))).steps
    assert step.held_by is StepState.WAITING
    assert step.waits_for == "detachment from a, b"
    assert isinstance(actions(larger, seen(volume=volume(), capabilities=offline))[0], ExpandVolume)


def test_a_volume_that_does_not_grow_says_so() -> None:
    larger = claim(size="2Gi", capacity="1Gi", **BOUND)
    (refused,) = actions(larger, seen(volume=volume(), capabilities=replace(DISKS, expands="")))
    assert refused == RefuseClaim(
        "PersistentVolumeClaim app/data: spec.resources.requests.storage is 2Gi: expected 1Gi, as volumes of "
        f"{DRIVER} do not grow",
        "VolumeResizeFailed",
    )


def test_an_expansion_that_was_cut_off_is_announced() -> None:
    cut = claim(size="2Gi", capacity="1Gi", **BOUND)
    assert actions(cut, seen(volume=volume(capacity="2Gi"))) == [AnnounceExpansion(2 * GIB)]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"size": "1Gi", "capacity": "1Gi"}, {"volume": volume()}),
        ({"size": "500Mi", "capacity": "1Gi"}, {"volume": volume()}),  # never smaller
        (
            {"size": "2Gi", "capacity": "1Gi", "statuses": {"storage": "NodeResizeInProgress"}},
            {"volume": volume(capacity="2Gi")},
        ),
        ({"size": "2Gi", "capacity": "1Gi"}, {"volume": volume(), "capabilities": None}),
        ({"size": "2Gi", "capacity": "1Gi", "deleting": True}, {"volume": volume()}),
    ],
)
def test_what_is_not_expanded(changes: dict[str, Any], found: dict[str, Any]) -> None:
    assert actions(claim(**BOUND, **changes), seen(**found)) == []


def test_the_persistent_volume() -> None:
    made = persistent_volume(
        claim(annotations={"team": "x"}),
        storage_class(mount_options=("noatime",), reclaim_policy="Retain"),
        DESCRIPTION,
        DISKS,
        MADE,
    )
    assert made == {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{UID}",
            "annotations": {
                "pv.kubernetes.io/provisioned-by": DRIVER,
                "volume.kubernetes.io/provisioner-deletion-secret-name": "rook-csi-rbd-provisioner",
                "volume.kubernetes.io/provisioner-deletion-secret-namespace": "rook-ceph",
            },
            "finalizers": ["external-provisioner.volume.kubernetes.io/finalizer"],
        },
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "rook-ceph-block",
            "mountOptions": ["noatime"],
            "volumeMode": "Filesystem",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": "app",
                "name": "data",
                "uid": UID,
                "resourceVersion": "7",
            },
            "csi": {
                "driver": DRIVER,
                "volumeHandle": "handle",
                "fsType": "ext4",
                "volumeAttributes": ATTRIBUTES,
                "nodeStageSecretRef": {"name": "rook-csi-rbd-node", "namespace": "rook-ceph"},
                "controllerExpandSecretRef": {"name": "rook-csi-rbd-provisioner", "namespace": "rook-ceph"},
            },
        },
    }


def test_secret_names_may_come_from_the_claim() -> None:
    parameters = {
        "csi.storage.k8s.io/node-stage-secret-name": "${pvc.namespace}-${pvc.annotations['team']}",
        "csi.storage.k8s.io/node-stage-secret-namespace": "${pvc.namespace}",
    }
    made = persistent_volume(
        claim(annotations={"team": "x"}), storage_class(parameters=parameters), DESCRIPTION, DISKS, MADE
    )
    assert made["spec"]["csi"]["nodeStageSecretRef"] == {"name": "app-x", "namespace": "app"}


def test_an_unknown_placeholder_is_refused() -> None:
    parameters = {"csi.storage.k8s.io/node-stage-secret-name": "${user}"}
    with pytest.raises(ParameterError, match=r"\$\{user\}"):
        persistent_volume(claim(), storage_class(parameters=parameters), DESCRIPTION, DISKS, MADE)
