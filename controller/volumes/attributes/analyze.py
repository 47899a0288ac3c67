"""What to do for a claim whose volume is to have the attributes of another class. Pure.

A change that was begun is brought to an end, also if the claim names another class by then: the storage system may have
a part of it. It ends by the class being refused, or in force; then the PersistentVolume says so first, and the claim's
status after it, so that whatever dies in between is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from controller.framework.plan import Plan, Step
from controller.volumes.attributes.kinds import IN_PROGRESS, INFEASIBLE, KIND, MODIFY_ERROR, PENDING
from controller.volumes.backend import Volume, volume_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.runtime.kube import PersistentVolume, PersistentVolumeClaim

MODIFY_DEADLINE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributesObservation:
    """What `analyze` decides by.

    Attributes:
        volume: The claim's PersistentVolume, of a driver that is served; None: there is none.
        target: The class that the volume is to have next, by `target_of`; empty: none.
        exists: Whether that class does.
        parameters: The class' parameters.
        problem: Why the volume cannot have them; empty: it can.
    """

    volume: PersistentVolume | None = None
    target: str = ""
    exists: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class MarkClaim:
    """Say in the claim's status how far the change to a class is, and what is wrong with it.

    `forget`: another change was begun and cannot be ended: it is not known any more which attributes the volume has.
    """

    target: str
    status: str
    message: str = ""
    forget: bool = False


@dataclass(frozen=True, slots=True)
class ModifyVolume:
    """Give the volume the attributes of a class."""

    volume: Volume
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecordClass:
    """Say in the PersistentVolume which class is in force."""

    target: str


@dataclass(frozen=True, slots=True)
class FinishModification:
    """Say in the claim's status which class is in force; empty: that nothing is changed any more.

    `forget`: as of `MarkClaim`.
    """

    target: str
    forget: bool = False


def target_of(claim: PersistentVolumeClaim, exists: Callable[[str], bool]) -> str:
    """The class that a claim's volume is to have next; empty: nothing is to be changed. Pure.

    Args:
        claim: The claim.
        exists: Whether there is a class of that name.
    """
    wanted, begun = claim.spec.volume_attributes_class_name or "", _begun(claim)
    if begun and exists(begun):
        return begun
    if claim.status.modify_volume_status is None and wanted == claim.status.current_volume_attributes_class_name:
        return ""
    return wanted


def is_of(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    """Whether a PersistentVolume is bound to a claim, both ways. Pure."""
    reference = volume.spec.claim_ref
    return claim.status.phase == "Bound" and reference is not None and reference.uid == claim.metadata.uid


def analyze(claim: PersistentVolumeClaim, seen: AttributesObservation) -> Plan:
    """What to do about the class of a claim's volume. Pure."""
    volume, target, noted = seen.volume, seen.target, claim.status.modify_volume_status
    if claim.metadata.deletion_timestamp is not None or volume is None or volume.spec.csi is None:
        return Plan()
    subject = f"claim {claim.metadata.namespace}/{claim.metadata.name}"
    if not target:
        if noted is None:
            return Plan()
        reason = "it names no class any more: its volume stays as it is"
        stop = FinishModification("", forget=bool(_begun(claim)))
        return Plan(steps=(Step(subject=subject, action=stop, reason=reason),))
    if not seen.exists:
        return _mark(claim, MarkClaim(target, PENDING, f"{KIND} {target} does not exist"), subject)
    if seen.problem:
        return _mark(claim, MarkClaim(target, INFEASIBLE, seen.problem), subject)
    reason = f"its volume is to have the attributes of {KIND} {target}"
    modify = ModifyVolume(volume_from(volume.spec.csi), seen.parameters)
    steps = [
        *_mark(claim, MarkClaim(target, IN_PROGRESS), subject).steps,
        Step(subject=subject, action=modify, reason=reason, deadline=MODIFY_DEADLINE),
    ]
    if volume.spec.volume_attributes_class_name != target:
        steps.append(Step(subject=subject, action=RecordClass(target), reason=reason))
    steps.append(Step(subject=subject, action=FinishModification(target), reason=reason))
    return Plan(steps=tuple(steps))


def _mark(claim: PersistentVolumeClaim, action: MarkClaim, subject: str) -> Plan:
    """A step, unless the claim's status says so already."""
    noted = claim.status.modify_volume_status
    if action.status != IN_PROGRESS and _begun(claim):
        action = replace(action, forget=True)
    told = next((c.message for c in claim.status.conditions if c.type == MODIFY_ERROR), "")
    same = noted is not None and (noted.target_volume_attributes_class_name, noted.status) == (
        action.target,
        action.status,
    )
    if same and (told == action.message or action.status == IN_PROGRESS):
        return Plan()
    reason = action.message or f"its volume is to have the attributes of {KIND} {action.target}"
    return Plan(steps=(Step(subject=subject, action=action, reason=reason),))


def _begun(claim: PersistentVolumeClaim) -> str:
    """The class of which the volume may have a part; empty: of none."""
    noted = claim.status.modify_volume_status
    return noted.target_volume_attributes_class_name if noted is not None and noted.status == IN_PROGRESS else ""
