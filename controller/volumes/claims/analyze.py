"""What to do for a claim, from what is known about it. Pure.

A claim carries our finalizer, and an annotation that says where its volume is being made, from before the volume is
made until its PersistentVolume exists. So a volume is never lost sight of: whatever happens in between, either the
PersistentVolume comes to be, or the claim goes, and with it the volume that never held anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from controller.framework.plan import Plan, Step
from controller.framework.quantities import quantity, round_up, storage_bytes
from controller.volumes.backend import ParameterError, Volume, volume_from
from controller.volumes.capabilities import FILESYSTEM, READERS, modes_problem
from controller.volumes.claims import protection
from controller.volumes.claims.objects import (
    CLAIM_FINALIZER,
    CLAIM_VOLUME,
    FSTYPE,
    SELECTED_NODE,
    STORAGE_PROVISIONERS,
    WAIT_FOR_FIRST_CONSUMER,
    file_system,
    secret_references,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.runtime.kube import PersistentVolume, PersistentVolumeClaim, StorageClass
    from controller.volumes.backend import Description, Source
    from controller.volumes.capabilities import Capabilities

ACTION_DEADLINE = 120.0

SOURCE_LOOK = 10.0
"""Seconds between two looks at whether what a volume is to be a copy of is there."""

NODES_LOOK = 30.0
"""Seconds between two looks at whether a node has come that could reach a claim's volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimObservation:
    """What `analyze` decides by.

    Attributes:
        storage_class: The claim's class; None when it does not exist.
        driver: The CSI driver that serves the class; empty: not ours.
        description: What the class asks for; None when it cannot be told.
        problem: Why it cannot: the claim or the class is wrong. Also why the class, though meant to be, is not ours.
        nowhere: Why no node can reach the volume where it is needed; empty: one can.
        begun: A volume that was begun for the claim elsewhere than it is to be now; None: there is none.
        source: What it begins as a copy of; None: it begins empty.
        copied: The claim that it is a copy of; None: it is none of a claim's.
        is_copied: Whether a copy of this claim is being made.
        attributes: The attributes that it begins with, of its VolumeAttributesClass; empty: none.
        waits_for: What has to be before the volume can be made; empty: nothing.
        volume: The claim's PersistentVolume: the bound one, else the one that we made for it.
        capabilities: What the storage system of the PersistentVolume, else of the class, can do; None: not ours.
        attached: The nodes that have the volume attached, where it grows only while none has.
    """

    storage_class: StorageClass | None = None
    driver: str = ""
    description: Description | None = None
    problem: str = ""
    nowhere: str = ""
    begun: Volume | None = None
    source: Source | None = None
    copied: PersistentVolumeClaim | None = None
    is_copied: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    waits_for: str = ""
    volume: PersistentVolume | None = None
    capabilities: Capabilities | None = None
    attached: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ProtectClaim:
    """Note on the claim which volume is about to be made, and keep the claim from going before that is settled."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class ProvisionVolume:
    """Make the volume and its PersistentVolume."""

    description: Description
    size: int
    source: Source | None = None
    read_only: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SelectAnother:
    """Have the scheduler select another node for the claim's first pod, as this one reaches no volume of its class."""

    node: str
    problem: str


@dataclass(frozen=True, slots=True)
class DiscardVolume:
    """Destroy a volume that was being made for a claim which is going away, or is to have it elsewhere.

    It never had a PersistentVolume.
    """

    volume: Volume


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """Let the claim go its own way: its volume is settled."""


@dataclass(frozen=True, slots=True)
class RefuseClaim:
    """Tell the user what is wrong with the claim or its class; `reason` is the event's."""

    problem: str
    reason: str = "ProvisioningFailed"


@dataclass(frozen=True, slots=True)
class ExpandVolume:
    """Make the volume as large as the claim asks for."""

    volume: Volume
    size: int


@dataclass(frozen=True, slots=True)
class AnnounceExpansion:
    """Tell the kubelet that the file system or device on the node is to follow the volume's new size."""

    size: int


@dataclass(frozen=True, slots=True)
class FinishExpansion:
    """Tell the user that the volume has its new size, where no node has to follow it."""

    size: int


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
        elif not steps and seen.capabilities is not None:
            steps = protection.release(claim, subject, copied=seen.is_copied)
        return Plan(steps=steps)
    if claim.metadata.deletion_timestamp is not None:
        return Plan(steps=_discard(claim, subject) if protected else ())
    if seen.storage_class is None or claim.spec.volume_name or not (seen.driver or seen.problem):
        return Plan()
    if not any(claim.metadata.annotations.get(key) == seen.storage_class.provisioner for key in STORAGE_PROVISIONERS):
        return Plan()
    if waits := waits_for_pod(claim, seen.storage_class):
        return Plan(steps=(Step(subject=subject, reason="the class binds when a pod is scheduled", waits_for=waits),))
    if seen.waits_for:
        wait = Step(subject=subject, reason="its volume is to be a copy", waits_for=seen.waits_for)
        return Plan(steps=(wait,), look_again=SOURCE_LOOK)
    if seen.description is None or seen.capabilities is None:
        return Plan(steps=(Step(subject=subject, action=RefuseClaim(seen.problem), reason=seen.problem),))
    if seen.nowhere:
        return _nowhere(claim, seen.nowhere, subject)
    size = size_for(claim, seen.storage_class, seen.capabilities)
    read_only = set(claim.spec.access_modes) == {READERS}
    make = ProvisionVolume(seen.description, size, seen.source, read_only, seen.attributes)
    keep = protection.protect(seen.copied, subject)
    return Plan(steps=_provision(make, subject, keep, seen.begun, protected=protected))


def waits_for_pod(claim: PersistentVolumeClaim, storage_class: StorageClass) -> str:
    """What a claim of a class that binds when a pod is scheduled waits for; empty: nothing. Pure."""
    delayed = storage_class.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER
    if delayed and not claim.metadata.annotations.get(SELECTED_NODE):
        return f"the scheduler's annotation {SELECTED_NODE}"
    return ""


def size_for(claim: PersistentVolumeClaim, storage_class: StorageClass, capabilities: Capabilities) -> int:
    """Bytes of the volume for a claim: what it asks for, or what its file system needs at least. Pure.

    Raises:
        ValueError: It asks for what is no quantity.
    """
    asked = round_up(storage_bytes(claim.spec.resources.requests))
    if claim.spec.volume_mode != FILESYSTEM:
        return asked
    return max(asked, capabilities.least_bytes.get(file_system(storage_class, capabilities), 0))


def _nowhere(claim: PersistentVolumeClaim, problem: str, subject: str) -> Plan:
    selected = claim.metadata.annotations.get(SELECTED_NODE, "")
    action = SelectAnother(selected, problem) if selected else RefuseClaim(problem)
    return Plan(steps=(Step(subject=subject, action=action, reason=problem),), look_again=NODES_LOOK)


def _provision(
    action: ProvisionVolume, subject: str, before: tuple[Step, ...], begun: Volume | None, *, protected: bool
) -> tuple[Step, ...]:
    make = Step(
        subject=subject,
        action=action,
        reason=f"no volume fits; one of {quantity(action.size)} is made",
        deadline=ACTION_DEADLINE,
    )
    if protected and begun is None:
        return (*before, make)
    protect = Step(
        subject=subject, action=ProtectClaim(action.description.volume), reason="a volume is about to be made"
    )
    if begun is None:
        return (protect, *before, make)
    why = "the volume is to be elsewhere than it was begun"
    discard = Step(subject=subject, action=DiscardVolume(begun), reason=why, deadline=ACTION_DEADLINE)
    return (discard, protect, *before, make)


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
    volume, capabilities = seen.volume, seen.capabilities
    if volume is None or volume.spec.csi is None or capabilities is None or claim.status.phase != "Bound":
        return ()
    if volume.spec.claim_ref is None or volume.spec.claim_ref.uid != claim.metadata.uid:
        return ()
    wanted = round_up(storage_bytes(claim.spec.resources.requests))
    has = storage_bytes(volume.spec.capacity)
    shown = storage_bytes(claim.status.capacity)
    follow = AnnounceExpansion if capabilities.nodes_expand else FinishExpansion
    if wanted > has:
        reason = f"it asks for {quantity(wanted)}, its volume has {quantity(has)}"
        if not capabilities.expands:
            problem = (
                f"{_named(claim)}: spec.resources.requests.storage is {quantity(wanted)}: expected {quantity(has)}, "
                f"as volumes of {volume.spec.csi.driver} do not grow"
            )
            return (Step(subject=subject, action=RefuseClaim(problem, "VolumeResizeFailed"), reason=problem),)
        if seen.attached:
            return (Step(subject=subject, reason=reason, waits_for=f"detachment from {', '.join(seen.attached)}"),)
        expand = ExpandVolume(volume_from(volume.spec.csi), wanted)
        return (
            Step(subject=subject, action=expand, reason=reason, deadline=ACTION_DEADLINE),
            Step(subject=subject, action=follow(wanted), reason=reason),
        )
    if has > shown > 0 and not claim.status.allocated_resource_statuses.get("storage"):
        reason = f"its volume has {quantity(has)}, its node shows {quantity(shown)}"
        return (Step(subject=subject, action=follow(has), reason=reason),)
    return ()


def claim_problem(
    claim: PersistentVolumeClaim, storage_class: StorageClass, description: Description, capabilities: Capabilities
) -> str:
    """What of a claim its storage system cannot do; empty when it can do all. Pure."""
    name = _named(claim)
    if problem := modes_problem(capabilities, claim.spec.access_modes, claim.spec.volume_mode):
        return f"{name}: {problem}"
    fs_type, types = file_system(storage_class, capabilities), capabilities.file_systems
    if claim.spec.volume_mode == FILESYSTEM and types and fs_type not in types:
        return (
            f"StorageClass {storage_class.metadata.name}: parameters[{FSTYPE!r}] is {fs_type!r}: "
            f"expected {' or '.join(types)}"
        )
    try:
        size, most = size_for(claim, storage_class, capabilities), storage_bytes(claim.spec.resources.limits)
        if 0 < most < size:
            return f"{name}: spec.resources.limits.storage is {quantity(most)}: expected at least {quantity(size)}"
        secret_references(claim, storage_class, description)
    except (ValueError, ParameterError) as error:
        return f"{name}: {error}"
    return ""


def _named(claim: PersistentVolumeClaim) -> str:
    return f"PersistentVolumeClaim {claim.metadata.namespace}/{claim.metadata.name}"
