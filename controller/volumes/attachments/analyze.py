"""Which attachments may proceed, from what is known about them. Pure.

An attachment here is a permission: the node maps the volume itself. It is given for a volume that only one node may
write to when no other node has it, by Kubernetes' own account (VolumeAttachments), by the storage system's (who has it
open) and by that of the nodes' agents (who has it mapped). It ends when the node has let go, or, for a node that is out
of service, when the node's clients are fenced. A client for which no node accounts (`controller.volumes.clients`) may
be that of any node that has the volume attached: it is waited for, and fenced only where one node alone can have it,
and nobody but nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.plan import Plan, Step
from controller.volumes.attachments.observe import OUT_OF_SERVICE, is_out_of_service, volume_of
from controller.volumes.backend import Holder, Volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.runtime.kube import Node, PersistentVolume, VolumeAttachment
    from controller.volumes.attachments.observe import AttachmentObservation

GRACE = 10.0
"""Seconds for which another holder is waited for in silence: each error that Kubernetes sees doubles its next delay."""

FIRST_LOOK, LAST_LOOK = 2.0, 15.0
"""Seconds between two looks at who has a volume open, at first and at most: the storage system tells of no change."""

ASK_AGAIN = 30.0
"""Seconds until a storage system that did not say how to reach an attached volume is asked again."""


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


def finalizer(driver: str) -> str:
    """The external-attacher's finalizer for a driver."""
    return f"external-attacher/{re.sub('[^a-zA-Z0-9-]', '-', driver)}"


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
        return Plan(steps=tuple(steps), look_again=ASK_AGAIN if seen.trouble else None)
    why = obstacle(attachment, seen)
    if not why:
        reason = f"node {attachment.spec.node_name} asks for it, and no other has it"
        steps.append(Step(subject=subject, action=Attach(seen.metadata), reason=reason))
        return Plan(steps=tuple(steps))
    error = status.attach_error.message if status.attach_error is not None else ""
    if seen.age >= GRACE and error != why:
        steps.append(Step(subject=subject, action=Fail(why), reason=why))
    steps.append(Step(subject=subject, reason="one writer at a time", waits_for=why))
    return Plan(steps=tuple(steps), look_again=_look_again(seen))


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
    if not seen.exclusive:
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
    modes = ", ".join(volume.spec.access_modes)
    for holder in seen.holders:
        if holder.nodes != {here}:
            return f"PersistentVolume {name} ({modes}) is open elsewhere: {holder.where}"
    if seen.elsewhere:
        nodes = ", ".join(sorted(seen.elsewhere))
        return (
            f"PersistentVolume {name} ({modes}) is still mapped on node {nodes}, as the agent there reports: it has to "
            f"let go, or, if the node is down for good, it has to get the taint {OUT_OF_SERVICE}"
        )
    return ""


def _is_before(other: VolumeAttachment, this: VolumeAttachment) -> bool:
    """Which of two attachments that are not attached yet goes first; the same answer from both sides."""
    mine = (this.metadata.creation_timestamp or "", this.metadata.name)
    return (other.metadata.creation_timestamp or "", other.metadata.name) < mine


def _detach(attachment: VolumeAttachment, seen: AttachmentObservation, subject: str) -> Plan:
    if finalizer(attachment.spec.attacher) not in attachment.metadata.finalizers:
        return Plan()
    here, node = attachment.spec.node_name, seen.node
    out_of_service = is_out_of_service(node)
    others = sorted({a.spec.node_name for a in seen.others if a.status.attached} - {here})
    # The report of a node that answers is believed; but where it alone has the volume, it may just not be in it yet.
    denies = bool(others) and seen.reports and node is not None and node.ready and not out_of_service
    had_it = attachment.status.attached or seen.given

    def may_be_here(holder: Holder) -> bool:
        return here in holder.nodes or (not holder.nodes and had_it and not denies)

    held = _distinct((*filter(may_be_here, seen.holders), *seen.reported))
    if out_of_service and not seen.trouble:
        suspects = [h for h in _distinct((*held, *filter(may_be_here, seen.absent))) if h.client]
        return _detach_for_good(attachment, seen, subject, suspects, others)
    # The storage system forgets clients of a node that is cut off, and they may be back with what they have to write.
    writes = attachment.status.attached and seen.exclusive
    silent = node is not None and writes and _unreachable(node)
    # That of a node which is well may have begun to wait for the volume anew, for the next pod.
    mounted = node is not None and not node.ready and _is_in_use(node, seen.volume)
    if not held and not seen.trouble and not silent and not mounted:
        return Plan(steps=(Step(subject=subject, action=Detach(), reason=f"node {here} has let go of it"),))
    known = ", ".join(holder.client or "by a client unknown" for holder in held if here in holder.nodes)
    unknown = ", ".join(holder.client for holder in held if here not in holder.nodes)
    if known:
        state = f"node {here} still has the volume open ({known}): it has to let go"
    elif unknown:
        state = f"no node's agent accounts for {unknown}, which may be node {here}'s: it has to close the volume"
    elif silent:
        state = f"node {here} does not answer: it has to be back"
    else:
        state = f"node {here} still has the volume mounted, says its kubelet: it has to let go"
    why = seen.trouble or f"{state}, or, if the node is down for good, it has to get the taint {OUT_OF_SERVICE}"
    return _detach_later(attachment, seen, subject, why)


def _detach_for_good(
    attachment: VolumeAttachment,
    seen: AttachmentObservation,
    subject: str,
    suspects: Sequence[Holder],
    others: Sequence[str],
) -> Plan:
    """From a node that is down for good: whatever of its may still write is fenced first, and nothing else is."""
    here, volume = attachment.spec.node_name, volume_of(attachment, seen.volume)
    state = "gone" if seen.node is None else f"tainted {OUT_OF_SERVICE}"
    doubtful = [h for h in suspects if h.nodes - {here} or (not h.nodes and (others or seen.shared))]
    if doubtful:
        clients = ", ".join(holder.where for holder in doubtful)
        also = f" (node {', '.join(others)} has the volume attached, too)" if others else ""
        why = (
            f"node {here} is {state}, but it cannot be told whose client has the volume open: {clients}{also}. It is "
            "not fenced: it has to close the volume, or the agent of its node, and no other, has to report it"
        )
        return _detach_later(attachment, seen, subject, why)
    detach = Step(subject=subject, action=Detach(), reason=f"node {here} is {state}, and none of its clients may write")
    if volume is None:
        return Plan(steps=(detach,))
    fences = tuple(
        Step(
            subject=subject,
            action=Fence(volume, holder),
            reason=f"node {here} is {state}, {holder.client} may still write",
        )
        for holder in suspects
    )
    return Plan(steps=(*fences, detach))


def _detach_later(attachment: VolumeAttachment, seen: AttachmentObservation, subject: str, why: str) -> Plan:
    error = attachment.status.detach_error.message if attachment.status.detach_error is not None else ""
    tell = seen.age >= GRACE and error != why
    steps = (Step(subject=subject, action=Fail(why, detach=True), reason=why),) if tell else ()
    wait = Step(subject=subject, reason="one writer at a time", waits_for=why)
    return Plan(steps=(*steps, wait), look_again=_look_again(seen))


def _look_again(seen: AttachmentObservation) -> float:
    """Seconds until the next look: a fifth of what was waited so far. Of a node that died, all volumes wait."""
    return min(max(seen.age / 5, FIRST_LOOK), LAST_LOOK)


def _distinct(holders: Iterable[Holder]) -> list[Holder]:
    found: dict[str, Holder] = {}
    for holder in holders:
        found.setdefault(holder.client, holder)
    return list(found.values())


def _unreachable(node: Node) -> bool:
    return any(c.type == "Ready" and c.status == "Unknown" for c in node.status.conditions)


def _is_in_use(node: Node, volume: PersistentVolume | None) -> bool:
    """Whether the node's kubelet has the volume mounted, or is about to."""
    csi = volume.spec.csi if volume is not None else None
    return csi is not None and f"kubernetes.io/csi/{csi.driver}^{csi.volume_handle}" in node.status.volumes_in_use
