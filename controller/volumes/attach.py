"""Attaching volumes to nodes, with one writer at a time.

An attachment here is a permission: the node maps the volume itself. It is given for a volume that only one node may
write to when no other node has it, by Kubernetes' own account (VolumeAttachments) and by the storage system's (who has
it open). It ends when the node has let go, or, for a node that is out of service, when the node's clients are fenced.

Caches tell when to look, and what to wait for. What could cost data is decided by what the API server says at that
moment: whether a node is out of service, whose clients are fenced, and to whom a volume is given, which is noted in its
PersistentVolume, one version after the other, so that of several operators one can give it.

Names are those of the external-attacher (https://kubernetes-csi.github.io/docs/external-attacher.html).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import Plan, Step, carry_out, conclude
from controller.runtime.finalizers import add_finalizer, remove_finalizer
from controller.runtime.kube import NODE, PV, VOLUME_ATTACHMENT, Node, VolumeAttachment
from controller.runtime.reconciler import Request, Result
from controller.volumes.backend import BackendError, Volume
from controller.volumes.reclaim import BY_HANDLE, BY_VOLUME, handle_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from controller.runtime.kube import PersistentVolume
    from controller.volumes.backend import Holder, VolumeBackend
    from informers import Client, Informer, JsonObject

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""The taint by which an administrator says that a node is down and stays down."""

GIVEN_TO = "volumes.rook.io/given-to"
"""Annotation of a PersistentVolume that one node may have at a time: the uid of the VolumeAttachment that has it.
While that VolumeAttachment exists, no other node's gets the volume."""

GRACE = 10.0
"""Seconds for which another holder is waited for in silence: each error that Kubernetes sees doubles its next delay."""

LOOK_AGAIN = 2.0
"""Seconds between two looks at who has a volume open: the storage system tells of no change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentObservation:
    """What `analyze` decides by.

    Attributes:
        volume: The PersistentVolume; None when it does not exist.
        others: Other attachments of the same volume. From the API server where clients may be fenced.
        holders: Who has the volume open. Looked up only where it matters.
        absent: Who never gave it back, though it is not open there any more. Looked up only for a detachment.
        nodes: All nodes by name. From the API server: its own where that matters, all where clients may be fenced.
        metadata: What the node must know to map the volume.
        age: Seconds since the attachment was asked for.
        trouble: Why the storage system cannot be asked; empty when it can.
        given: Whether the volume was given to it before, whatever became of that: then no other goes first.
    """

    volume: PersistentVolume | None = None
    others: Sequence[VolumeAttachment] = ()
    holders: Sequence[Holder] = ()
    absent: Sequence[Holder] = ()
    nodes: Mapping[str, Node] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    age: float = 0.0
    trouble: str = ""
    given: bool = False


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Keep the attachment from going before the volume is detached."""


@dataclass(frozen=True, slots=True)
class Attach:
    """Permit the node to map the volume, and tell it how."""

    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fail:
    """Tell why the volume is not attached, or not detached, yet."""

    error: str
    detach: bool = False


@dataclass(frozen=True, slots=True)
class Fence:
    """Keep a client of a node that is out of service from ever writing to the volume again."""

    volume: Volume
    holder: Holder


@dataclass(frozen=True, slots=True)
class Detach:
    """Let the attachment go."""


class HeldError(Exception):
    """The volume was given to another node, which the cache did not show yet."""


class InServiceError(Exception):
    """The node is not out of service any more: its clients are not fenced."""


def finalizer(driver: str) -> str:
    """The external-attacher's finalizer for a driver."""
    return f"external-attacher/{re.sub('[^a-zA-Z0-9-]', '-', driver)}"


def exclusive(volume: PersistentVolume) -> bool:
    """Whether only one node may have the volume: readers may be many, and so may users of a raw device that ask for it.

    Several access modes permit any of them; the volume is guarded by the most careful.
    """
    modes = set(volume.spec.access_modes)
    if modes <= {"ReadOnlyMany"}:
        return False
    return not (volume.spec.volume_mode == "Block" and "ReadWriteMany" in modes)


def analyze(attachment: VolumeAttachment, seen: AttachmentObservation) -> Plan:
    """What to do for an attachment. Pure."""
    subject = f"attachment of {attachment.spec.source.persistent_volume_name} to {attachment.spec.node_name}"
    if attachment.metadata.deletion_timestamp is not None:
        return _detach(attachment, seen, subject)
    steps: list[Step] = []
    if finalizer(attachment.spec.attacher) not in attachment.metadata.finalizers:
        steps.append(Step(subject=subject, action=AddFinalizer(), reason="a volume is about to be attached"))
    status = attachment.status
    if status.attached:
        if seen.metadata and dict(seen.metadata) != status.attachment_metadata:
            reason = "how to reach the volume has changed"
            steps.append(Step(subject=subject, action=Attach(seen.metadata), reason=reason))
        return Plan(steps=tuple(steps))
    why = obstacle(attachment, seen)
    if not why:
        reason = f"node {attachment.spec.node_name} asks for it, and no other has it"
        steps.append(Step(subject=subject, action=Attach(seen.metadata), reason=reason))
        return Plan(steps=tuple(steps))
    error = status.attach_error.message if status.attach_error is not None else ""
    if seen.age >= GRACE and error != why:
        steps.append(Step(subject=subject, action=Fail(why), reason=why))
    steps.append(Step(subject=subject, reason="one writer at a time", waits_for=why))
    return Plan(steps=tuple(steps), look_again=LOOK_AGAIN)


def obstacle(attachment: VolumeAttachment, seen: AttachmentObservation) -> str:
    """Why the volume cannot be attached now; empty when it can. Pure."""
    volume = seen.volume
    name = attachment.spec.source.persistent_volume_name
    if volume is None:
        return f"PersistentVolume {name} does not exist"
    if volume.metadata.deletion_timestamp is not None:
        return f"PersistentVolume {name} is being deleted"
    if seen.trouble:
        return seen.trouble
    if not exclusive(volume):
        return ""
    here = attachment.spec.node_name
    for other in seen.others:
        if other.spec.node_name == here:
            continue
        goes_first = not seen.given and _is_before(other, attachment)
        if other.status.attached or other.metadata.deletion_timestamp is not None or goes_first:
            return (
                f"PersistentVolume {name} ({', '.join(volume.spec.access_modes)}) is attached to node "
                f"{other.spec.node_name}: it has to be detached there first (VolumeAttachment {other.metadata.name})"
            )
    node = seen.nodes.get(here)
    for holder in seen.holders:
        if node is None or not holder.is_on(node):
            return (
                f"PersistentVolume {name} ({', '.join(volume.spec.access_modes)}) is open elsewhere: "
                f"{holder.where(seen.nodes.values())}"
            )
    return ""


def _is_before(other: VolumeAttachment, this: VolumeAttachment) -> bool:
    """Which of two attachments that are not attached yet goes first; the same answer from both sides."""
    mine = (this.metadata.creation_timestamp or "", this.metadata.name)
    return (other.metadata.creation_timestamp or "", other.metadata.name) < mine


def _detach(attachment: VolumeAttachment, seen: AttachmentObservation, subject: str) -> Plan:
    if finalizer(attachment.spec.attacher) not in attachment.metadata.finalizers:
        return Plan()
    here = attachment.spec.node_name
    node = seen.nodes.get(here)
    detach = Step(subject=subject, action=Detach(), reason=f"node {here} has let go of it")
    # Addresses may be translated on the way to the storage system, and a node that is gone has none. Such a client is
    # told by elimination: it is no other node's, and nobody else has the volume attached.
    others = [other for name, other in seen.nodes.items() if name != here]
    alone = node is None or not any(a.status.attached and a.spec.node_name != here for a in seen.others)

    def is_here(holder: Holder) -> bool:
        if node is not None and holder.is_on(node):
            return True
        return alone and not any(holder.is_on(other) for other in others)

    held = [holder for holder in seen.holders if is_here(holder)]
    out_of_service = is_out_of_service(node)
    # The storage system forgets clients of a node that is cut off, and they may be back with what they have to write.
    writes = attachment.status.attached and (seen.volume is None or exclusive(seen.volume))
    silent = node is not None and writes and not out_of_service and _unreachable(node)
    fenced = [*held, *filter(is_here, seen.absent)] if out_of_service else []
    if not held and not fenced and not seen.trouble and not silent:
        return Plan(steps=(detach,))
    volume = volume_of(attachment, seen.volume)
    if fenced and volume is not None:
        state = "gone" if node is None else f"tainted {OUT_OF_SERVICE}"
        fences = tuple(
            Step(
                subject=subject,
                action=Fence(volume, holder),
                reason=f"node {here} is {state}, {holder.client} may still write",
            )
            for holder in fenced
        )
        return Plan(steps=(*fences, detach))
    clients = ", ".join(holder.client for holder in held)
    state = f"still has the volume open ({clients}): it has to let go" if held else "does not answer: it has to be back"
    why = seen.trouble or f"node {here} {state}, or, if it is down for good, to get the taint {OUT_OF_SERVICE}"
    error = attachment.status.detach_error.message if attachment.status.detach_error is not None else ""
    steps = () if error == why else (Step(subject=subject, action=Fail(why, detach=True), reason=why),)
    return Plan(
        steps=(*steps, Step(subject=subject, reason="one writer at a time", waits_for=why)), look_again=LOOK_AGAIN
    )


def is_out_of_service(node: Node | None) -> bool:
    """Whether a node is down for good: it is gone, or an administrator says so. Pure."""
    return node is None or any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def _unreachable(node: Node) -> bool:
    return any(c.type == "Ready" and c.status == "Unknown" for c in node.status.conditions)


def volume_of(attachment: VolumeAttachment, volume: PersistentVolume | None) -> Volume | None:
    """The volume of an attachment, also after its PersistentVolume has gone: what we told the node says which it is."""
    if volume is not None and volume.spec.csi is not None:
        return Volume(driver=volume.spec.csi.driver, attributes=volume.spec.csi.volume_attributes)
    if attachment.status.attachment_metadata:
        return Volume(driver=attachment.spec.attacher, attributes=attachment.status.attachment_metadata)
    return None


@dataclass(slots=True)
class Attachments:
    """The reconciler of VolumeAttachments.

    Attributes:
        client: Writes.
        attachments: All VolumeAttachments, with the index `BY_VOLUME`.
        volumes: All PersistentVolumes, with the index `BY_HANDLE`.
        nodes: All nodes.
        backend: The storage system.
        clock: Seconds since the epoch.
        backoffs: Which lanes failed.
    """

    client: Client
    attachments: Informer[VolumeAttachment]
    volumes: Informer[PersistentVolume]
    nodes: Informer[Node]
    backend: VolumeBackend
    clock: Callable[[], float] = time.time
    backoffs: Backoffs = field(default_factory=Backoffs)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        attachment = self.attachments.get("", request.name)
        if attachment is None or not self.backend.serves(attachment.spec.attacher):
            self.backoffs.forget(request)
            return Result()
        seen = await self.observe(attachment)
        plan = analyze(attachment, seen)
        outcome = await carry_out(
            plan,
            {
                AddFinalizer: lambda _: self._add_finalizer(attachment),
                Attach: lambda action: self._attach(attachment, seen, action),
                Fail: lambda action: self._fail(attachment, action),
                Fence: lambda action: self._fence(attachment, action),
                Detach: lambda _: self._detach(attachment),
            },
            request,
            self.backoffs,
        )
        return conclude(outcome, plan.look_again)

    async def observe(self, attachment: VolumeAttachment) -> AttachmentObservation:
        """What there is to know about an attachment.

        Raises:
            ApiError, TransportError: The API server could not be asked.
        """
        name = attachment.spec.source.persistent_volume_name or ""
        found = self.volumes.get("", name)
        volume = volume_of(attachment, found)
        deleting = attachment.metadata.deletion_timestamp is not None
        asks = volume is not None and (deleting or not attachment.status.attached)
        created = attachment.metadata.creation_timestamp
        holders: Sequence[Holder] = ()
        absent: Sequence[Holder] = ()
        metadata: Mapping[str, str] = {}
        trouble = ""
        try:
            if volume is not None and asks:
                holders = await self.backend.holders(volume)
            if volume is not None and deleting:
                absent = await self.backend.absent(volume)
            if volume is not None and not deleting:
                metadata = await self.backend.attachment(volume)
        except BackendError as error:
            trouble = str(error)
        names = self._names(found) or {name}
        same_volume = [a for each in sorted(names) for a in self.attachments.by_index(BY_VOLUME, each)]
        nodes = {node.metadata.name: node for node in self.nodes.list()}
        if deleting or holders:  # after the storage system was asked, which may take long
            here = attachment.spec.node_name
            node = await self._node(here)
            nodes = {
                **{other: cached for other, cached in nodes.items() if other != here},
                **({here: node} if node else {}),
            }
            if deleting and is_out_of_service(node) and (holders or absent):
                # A client of a node, or of an attachment, that a cache lacks could be taken for this node's.
                same_volume = await self._same_volume(names)
                nodes = {n.metadata.name: n for n in msgspec.convert(await self.client.list(NODE), list[Node])}
        return AttachmentObservation(
            volume=found,
            others=[other for other in same_volume if other.metadata.name != attachment.metadata.name],
            holders=holders,
            absent=absent,
            nodes=nodes,
            metadata=metadata,
            age=self.clock() - datetime.fromisoformat(created).timestamp() if created else 0.0,
            trouble=trouble,
            given=found is not None and found.metadata.annotations.get(GIVEN_TO) == attachment.metadata.uid,
        )

    async def _node(self, name: str) -> Node | None:
        """The node as the API server has it; None: it is gone."""
        found = await self.client.find(NODE, "", name)
        return None if found is None else msgspec.convert(found, Node)

    def _names(self, volume: PersistentVolume | None) -> set[str]:
        """The PersistentVolumes of the same volume: its own, and any by which another namespace has it."""
        if volume is None:
            return set()
        return {volume.metadata.name, *(v.metadata.name for v in self.volumes.by_index(BY_HANDLE, handle_of(volume)))}

    async def _same_volume(self, names: Collection[str]) -> list[VolumeAttachment]:
        """The attachments of these PersistentVolumes that the API server has."""
        found = msgspec.convert(await self.client.list(VOLUME_ATTACHMENT), list[VolumeAttachment])
        return [attachment for attachment in found if attachment.spec.source.persistent_volume_name in names]

    async def _add_finalizer(self, attachment: VolumeAttachment) -> None:
        await add_finalizer(self.client, VOLUME_ATTACHMENT, attachment, finalizer(attachment.spec.attacher))

    async def _attach(self, attachment: VolumeAttachment, seen: AttachmentObservation, action: Any) -> None:
        if not attachment.status.attached and seen.volume is not None and exclusive(seen.volume):
            await self._give(seen.volume, attachment)
        old = attachment.status.attachment_metadata
        metadata = {**dict.fromkeys(old), **action.metadata}  # a merge patch removes what is null
        await self._patch_status(attachment, {"attached": True, "attachmentMetadata": metadata, "attachError": None})

    async def _give(self, volume: PersistentVolume, attachment: VolumeAttachment) -> None:
        """Notes in the PersistentVolume that it is given to this attachment, unless another node's has it.

        Neither the cache nor this operator's being the leader is relied on: another operator may have given the volume
        away a moment ago, and its write may still be on the way. Whoever gives it away writes the note first, to the
        version of the PersistentVolume that was read before anything else was looked at: of two, one gets a conflict.

        Raises:
            HeldError: Another node's has it.
            ApiError: Among others a conflict, when the PersistentVolume was changed meanwhile: reconcile again.
        """
        meta, name = attachment.metadata, volume.metadata.name
        fresh = (await self.client.get(PV, "", name))["metadata"]
        given_to = fresh.get("annotations", {}).get(GIVEN_TO)
        if given_to == meta.uid:
            return
        for other in await self._same_volume(self._names(volume)):
            has_it = other.status.attached or other.metadata.uid == given_to
            if has_it and other.spec.node_name != attachment.spec.node_name:
                state = "is attached" if other.status.attached else "is being attached"
                raise HeldError(f"PersistentVolume {name} {state} to node {other.spec.node_name}")
        await self.client.patch(
            PV,
            "",
            name,
            {
                "metadata": {
                    "uid": volume.metadata.uid,
                    "resourceVersion": fresh["resourceVersion"],
                    "annotations": {GIVEN_TO: meta.uid},
                }
            },
            content_type="application/merge-patch+json",
        )

    async def _fail(self, attachment: VolumeAttachment, action: Any) -> None:
        error = {"time": datetime.fromtimestamp(self.clock(), UTC).isoformat(), "message": action.error}
        key = "detachError" if action.detach else "attachError"
        await self._patch_status(attachment, {"attached": attachment.status.attached, key: error})

    async def _fence(self, attachment: VolumeAttachment, action: Any) -> None:
        here = attachment.spec.node_name
        # A fence is not taken back, and the fences before this one, or a slow storage system, may have taken long.
        if not is_out_of_service(await self._node(here)):
            raise InServiceError(f"node {here} is not out of service any more: {action.holder.client} is not fenced")
        await self.backend.fence(action.volume, action.holder)

    async def _detach(self, attachment: VolumeAttachment) -> None:
        await remove_finalizer(self.client, VOLUME_ATTACHMENT, attachment, finalizer(attachment.spec.attacher))

    async def _patch_status(self, attachment: VolumeAttachment, status: JsonObject) -> None:
        await self.client.patch(
            VOLUME_ATTACHMENT,
            "",
            attachment.metadata.name,
            {"metadata": {"uid": attachment.metadata.uid}, "status": status},
            content_type="application/merge-patch+json",
            subresource="status",
        )
