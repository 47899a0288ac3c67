"""Volumes of members that grow with the spec: their claims, and the StatefulSets that have templates of claims.

Contract:

- A claim is asked for more as soon as the spec wants more, where its StorageClass allows that; until then, and while
  the storage, the node or its file system have not grown yet, there is a step that says what that waits for.
- A claim never shrinks: `too_large` is what a status tells of one that has more than the spec wants.
- The template of a StatefulSet cannot be changed. So the StatefulSet is deleted without its pods and claims, and made
  anew by whoever applies it; both are its own again then, and no pod restarts, as its pod template is the same.
  The one who applies it must know the number of its members from elsewhere.
- The system decides whether a claim is kept when its member is gone, as it knows what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.framework.plan import Step
from controller.framework.quantities import quantity, storage_bytes
from controller.runtime.kube import PVC, STATEFULSET, PersistentVolumeClaim
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.framework.plan import Handler
    from controller.runtime.kube import StorageClass
    from informers import Client, JsonObject

STORAGE = "storage"
_INFEASIBLE = ("ControllerResizeInfeasible", "NodeResizeInfeasible")


@dataclass(frozen=True, slots=True)
class GrowClaim:
    """Ask for more storage in the claim with this uid; a claim that asks for as much or more by now stays as it is."""

    namespace: str
    name: str
    uid: str
    size: str


@dataclass(frozen=True, slots=True)
class OrphanStatefulSet:
    """Delete the StatefulSet with this uid, and leave its pods and claims, so that it can be made anew."""

    namespace: str
    name: str
    uid: str


def grow(
    claim: PersistentVolumeClaim, size: int | str, classes: Mapping[str, StorageClass], *, subject: str
) -> tuple[Step, ...]:
    """The step that makes a claim grow, or that waits until it has; none where it is as large as wanted. Pure.

    It is in a lane of its own: a member whose volume cannot grow is kept up otherwise.

    Args:
        claim: The claim.
        size: What the spec wants, as a quantity.
        classes: The StorageClasses by name.
        subject: Whose claim it is, as `Step.subject`.

    """
    meta, name = claim.metadata, f"{PVC.kind} {claim.metadata.name}"
    wanted, asked = _bytes(size), storage_bytes(claim.spec.resources.requests)
    has = storage_bytes(claim.status.capacity)
    lane = f"{subject} volume"
    if meta.deletion_timestamp is not None:
        return ()
    if wanted is None:
        reason, waits_for = f"the spec wants {size!r} of storage", 'a quantity such as "10Gi" in its place'
        return (Step(subject=subject, reason=reason, lane=lane, waits_for=waits_for),)
    if wanted > asked:
        action = GrowClaim(meta.namespace, meta.name, meta.uid, str(size))
        reason = f"{name} asks for {quantity(asked)}, wanted {quantity(wanted)}"
        waits_for = _obstacle(claim, classes)
        return (Step(subject=subject, action=action, reason=reason, lane=lane, waits_for=waits_for),)
    if asked > has > 0:
        reason = f"{name} grows from {quantity(has)} to {quantity(asked)}"
        return (Step(subject=subject, reason=reason, lane=lane, waits_for=_expansion(claim)),)
    return ()


def too_large(claim: PersistentVolumeClaim, size: int | str) -> str:
    """That a claim asks for more than the spec wants, in words; empty when it does not."""
    wanted, asked = _bytes(size), storage_bytes(claim.spec.resources.requests)
    if wanted is None or wanted >= asked:
        return ""
    has, name = quantity(asked), claim.metadata.name
    return f"{PVC.kind} {name} has {has}, wanted {quantity(wanted)}: claims never shrink, and it stays as it is"


def resized(templates: Iterable[JsonObject], wanted: Iterable[JsonObject]) -> list[JsonObject]:
    """A StatefulSet's templates of claims with the sizes that are wanted, by name. All else in them stays.

    Args:
        templates: Those that it has.
        wanted: Those of the spec.
    """
    sizes = {template["metadata"]["name"]: _request(template) for template in wanted}
    return [_with_request(template, sizes.get(template["metadata"]["name"])) for template in templates]


def remake(live: JsonObject, wanted: Sequence[JsonObject], *, subject: str, lane: str = "") -> tuple[Step, ...]:
    """The step that lets a StatefulSet be made anew, so that new members get claims of the size that is wanted. Pure.

    Args:
        live: The StatefulSet.
        wanted: The templates of claims of the spec.
        subject: As `Step.subject`.
        lane: As `Step.lane`.
    """
    meta = live["metadata"]
    templates = live["spec"].get("volumeClaimTemplates", ())
    sizes = {template["metadata"]["name"]: _bytes(_request(template)) for template in wanted}
    has = {template["metadata"]["name"]: _bytes(_request(template)) or 0 for template in templates}
    differ = {name: size for name, size in sizes.items() if size and has.get(name, size) != size}
    if not differ or meta.get("deletionTimestamp") is not None:
        return ()
    why = ", ".join(f"{name} of {quantity(has[name])}, wanted {quantity(size)}" for name, size in differ.items())
    return (
        Step(
            subject=subject,
            action=OrphanStatefulSet(meta["namespace"], meta["name"], meta["uid"]),
            reason=f"new members get the claim {why}; only a new {STATEFULSET.kind} can change that, and pods stay",
            lane=lane or subject,
        ),
    )


def handlers(client: Client) -> dict[type, Handler]:
    """How the actions of this module are carried out."""

    async def grow_claim(action: GrowClaim) -> None:
        # Asked of the API server, not of a cache: somebody may have asked for more than we by now.
        found = await client.get(PVC, action.namespace, action.name)
        claim = msgspec.convert(found, PersistentVolumeClaim)
        if storage_bytes(claim.spec.resources.requests) >= storage_bytes({STORAGE: action.size}):
            return
        spec = {"resources": {"requests": {STORAGE: action.size}}}
        body = {"metadata": {"uid": action.uid}, "spec": spec}
        await client.patch(PVC, action.namespace, action.name, body, content_type=MERGE_PATCH)

    async def orphan(action: OrphanStatefulSet) -> None:
        await client.delete(STATEFULSET, action.namespace, action.name, uid=action.uid, propagation="Orphan")

    return {GrowClaim: grow_claim, OrphanStatefulSet: orphan}


def _obstacle(claim: PersistentVolumeClaim, classes: Mapping[str, StorageClass]) -> str:
    """What has to happen before a claim can ask for more; empty: nothing."""
    if claim.status.phase != "Bound":
        return f"{PVC.kind} {claim.metadata.name} to be bound; it is {claim.status.phase or 'new'}"
    name = claim.spec.storage_class_name or ""
    found = classes.get(name)
    if not name:
        return "nothing but a person's hand: its volume is of no StorageClass, and only those of one can grow"
    if found is None:
        return f"StorageClass {name}, which its volume is of, to exist"
    if not found.allow_volume_expansion:
        return f"StorageClass {name} to allow it (allowVolumeExpansion: true)"
    return ""


def _expansion(claim: PersistentVolumeClaim) -> str:
    """What a claim that has asked for more waits for."""
    said = "; ".join(condition.message for condition in claim.status.conditions if condition.message)
    if claim.status.allocated_resource_statuses.get(STORAGE) in _INFEASIBLE:
        return f"its storage to have room for that, which it has not: {said or 'it does not say why'}"
    if any(c.type == "FileSystemResizePending" and c.status == "True" for c in claim.status.conditions):
        return "its file system to grow, which its node does while a pod has it mounted"
    return f"its storage to grow{f': {said}' if said else ''}"


def _request(template: JsonObject) -> int | str:
    found: int | str = template.get("spec", {}).get("resources", {}).get("requests", {}).get(STORAGE, 0)
    return found


def _bytes(size: int | str) -> int | None:
    """A size in bytes; None where it is not a quantity."""
    try:
        return storage_bytes({STORAGE: size})
    except ValueError:
        return None


def _with_request(template: JsonObject, size: int | str | None) -> JsonObject:
    if size is None:
        return template
    spec = template.get("spec", {})
    resources = spec.get("resources", {})
    changed = {**resources, "requests": {**resources.get("requests", {}), STORAGE: size}}
    return {**template, "spec": {**spec, "resources": changed}}
