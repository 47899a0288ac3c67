"""Attaching volumes to nodes, with one writer at a time.

An attachment here is a permission: the node maps the volume itself. It is given for a volume that only one node may
write to when no other node has it, by Kubernetes' own account (VolumeAttachments), by the storage system's (who has it
open) and by that of the nodes' agents (who has it mapped). It ends when the node has let go, or, for a node that is out
of service, when the node's clients are fenced. A client for which no node accounts (`controller.volumes.clients`) may
be that of any node that has the volume attached: it is waited for, and fenced only where one node alone can have it.

Caches tell when to look, and what to wait for. What could cost data is decided by what the API server says at that
moment: whether a node is out of service, whose clients are fenced, and to whom a volume is given, which is noted in its
PersistentVolume, one version after the other, so that of several operators one can give it.

Names are those of the external-attacher (https://kubernetes-csi.github.io/docs/external-attacher.html).
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from controller.apis.rook.node_report import NodeReport
from controller.framework.backoff import Backoffs
from controller.framework.plan import Plan, Step, carry_out, conclude
from controller.framework.reports import REPORTS
from controller.framework.text import brief
from controller.runtime.finalizers import add_finalizer, remove_finalizer
from controller.runtime.kube import NODE, PV, VOLUME_ATTACHMENT, Node, VolumeAttachment
from controller.runtime.leader import is_lost
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError, Holder, Volume, volume_from
from controller.volumes.clients import BY_MAPPED, around, handle_of, locate, reported_for
from controller.volumes.reclaim import BY_IDENTITY, BY_VOLUME, identities
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import PersistentVolume
    from controller.volumes.backend import VolumeBackend
    from informers import Client, Informer, JsonObject

_log = structlog.get_logger(__name__)

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""The taint by which an administrator says that a node is down and stays down."""

GIVEN_TO = "volumes.rook.io/given-to"
"""Annotation of a PersistentVolume that one node may have at a time: "name/uid" of the VolumeAttachment that has it.
While that VolumeAttachment exists, no other node's gets the volume."""

GRACE = 10.0
"""Seconds for which another holder is waited for in silence: each error that Kubernetes sees doubles its next delay."""

FIRST_LOOK, LAST_LOOK = 2.0, 15.0
"""Seconds between two looks at who has a volume open, at first and at most: the storage system tells of no change."""

ASK_AGAIN = 30.0
"""Seconds until a storage system that did not say how to reach an attached volume is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentObservation:
    """What `analyze` decides by.

    Attributes:
        volume: The PersistentVolume; None when it does not exist.
        others: Other attachments of the same volume. From the API server where clients may be fenced.
        holders: Who has the volume open, and on which nodes they are. Looked up only where it matters.
        absent: Who never gave it back, though it is not open there any more. Looked up only for a detachment.
        node: The attachment's node, from the API server. Looked up for a detachment; None: it is gone.
        reports: Whether the node's agent reports.
        reported: The clients by which the node has the volume mapped, by its agent's report; `client` is empty where
            the agent does not know it. For a detachment.
        elsewhere: Other nodes, none of them out of service, whose agents have the volume mapped. For an attachment.
        metadata: What the node must know to map the volume.
        age: Seconds since the attachment, or its end, was asked for.
        trouble: Why the storage system cannot be asked; empty when it can.
        given: Whether the volume was given to it before, whatever became of that: then no other goes first.
    """

    volume: PersistentVolume | None = None
    others: Sequence[VolumeAttachment] = ()
    holders: Sequence[Holder] = ()
    absent: Sequence[Holder] = ()
    node: Node | None = None
    reports: bool = False
    reported: Sequence[Holder] = ()
    elsewhere: Sequence[str] = ()
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
    writes = attachment.status.attached and (seen.volume is None or exclusive(seen.volume))
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
    doubtful = [h for h in suspects if h.nodes - {here} or (not h.nodes and others)]
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


def _without(this: VolumeAttachment, attachments: Iterable[VolumeAttachment]) -> list[VolumeAttachment]:
    return [attachment for attachment in attachments if attachment.metadata.name != this.metadata.name]


def _located(
    seen: AttachmentObservation, here: str, nodes: Sequence[Node], reports: Sequence[NodeReport]
) -> AttachmentObservation:
    """With the nodes that the volume's clients are on, and the clients that the node's own report has of it."""
    clients = {c for report in reports if report.metadata.name == here for c in reported_for(seen.volume, report)}
    reported = [Holder(address="", client=client) for client in sorted(clients)]
    return replace(
        seen,
        holders=locate(seen.holders, reports, nodes),
        absent=locate(seen.absent, reports, nodes),
        reported=locate(reported, reports, nodes),
    )


def _note(attachment: VolumeAttachment) -> str:
    """How `GIVEN_TO` names an attachment."""
    return f"{attachment.metadata.name}/{attachment.metadata.uid}"


def _noted(volume: JsonObject | None) -> str:
    found = volume["metadata"].get("annotations", {}).get(GIVEN_TO) if volume is not None else None
    return found or ""


def is_out_of_service(node: Node | None) -> bool:
    """Whether a node is down for good: it is gone, or an administrator says so. Pure."""
    return node is None or any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def _unreachable(node: Node) -> bool:
    return any(c.type == "Ready" and c.status == "Unknown" for c in node.status.conditions)


def _is_in_use(node: Node, volume: PersistentVolume | None) -> bool:
    """Whether the node's kubelet has the volume mounted, or is about to."""
    csi = volume.spec.csi if volume is not None else None
    return csi is not None and f"kubernetes.io/csi/{csi.driver}^{csi.volume_handle}" in node.status.volumes_in_use


def volume_of(attachment: VolumeAttachment, volume: PersistentVolume | None) -> Volume | None:
    """The volume of an attachment, also after its PersistentVolume has gone: what we told the node says which it is."""
    if volume is not None and volume.spec.csi is not None:
        return volume_from(volume.spec.csi)
    if attachment.status.attachment_metadata:
        return Volume(driver=attachment.spec.attacher, attributes=attachment.status.attachment_metadata)
    return None


@dataclass(slots=True)
class Attachments:
    """The reconciler of VolumeAttachments.

    Attributes:
        client: Writes.
        events: Tells users.
        attachments: All VolumeAttachments, with the index `BY_VOLUME`.
        volumes: All PersistentVolumes, with the index `BY_IDENTITY`.
        nodes: All nodes, with the index `BY_ADDRESS`.
        reports: The reports of all nodes' agents, with the indexes `BY_CLIENT` and `BY_MAPPED`.
        namespace: Where the reports are.
        backend: The storage system.
        clock: Seconds since the epoch.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    attachments: Informer[VolumeAttachment]
    volumes: Informer[PersistentVolume]
    nodes: Informer[Node]
    reports: Informer[NodeReport]
    namespace: str
    backend: VolumeBackend
    clock: Callable[[], float] = time.time
    backoffs: Backoffs = field(default_factory=Backoffs)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        attachment = self.attachments.get("", request.name)
        if attachment is None or not (self.backend.serves(attachment.spec.attacher) or self._was_given(attachment)):
            self.backoffs.forget(request)
            return Result()
        try:
            seen = await self.observe(attachment)
        except Exception as error:
            if not is_lost(error):
                await self._tell(attachment, brief(error))
            raise
        plan = analyze(attachment, seen)
        outcome = await carry_out(
            plan,
            {
                AddFinalizer: lambda _: self._add_finalizer(attachment),
                Attach: lambda action: self._attach(attachment, seen, action),
                Fail: lambda action: self._fail(attachment, seen.volume, action),
                Fence: lambda action: self._fence(attachment, action),
                Detach: lambda _: self._detach(attachment),
            },
            request,
            self.backoffs,
        )
        if outcome.failures:
            await self._tell(attachment, brief("; ".join(failure.error for failure in outcome.failures)))
        return conclude(outcome, plan.look_again)

    def _was_given(self, attachment: VolumeAttachment) -> bool:
        """Whether the volume was given to it here: then it ends here, too, though its driver is not served any more."""
        volume = self.volumes.get("", attachment.spec.source.persistent_volume_name or "")
        deleting = attachment.metadata.deletion_timestamp is not None
        return deleting and volume is not None and volume.metadata.annotations.get(GIVEN_TO) == _note(attachment)

    async def observe(self, attachment: VolumeAttachment) -> AttachmentObservation:
        """What there is to know about an attachment.

        Raises:
            ApiError, TransportError: The API server could not be asked.
            IncompleteIndexError: A node's report cannot be read.
        """
        name, here = attachment.spec.source.persistent_volume_name or "", attachment.spec.node_name
        found = self.volumes.get("", name)
        names = self._names(found) or {name}
        same_volume = [a for each in sorted(names) for a in self.attachments.by_index(BY_VOLUME, each)]
        deleting = attachment.metadata.deletion_timestamp is not None
        seen = AttachmentObservation(
            volume=found,
            others=_without(attachment, same_volume),
            age=self._age(attachment),
            given=found is not None and found.metadata.annotations.get(GIVEN_TO) == _note(attachment),
        )
        if not deleting and not attachment.status.attached and obstacle(attachment, seen):
            return seen  # by the caches alone: while another node has the volume, the storage system need not be asked
        seen = await self._asked(attachment, seen, self._ask)
        if not deleting and attachment.status.attached:
            return seen
        # The API server is asked after the storage system, which may take long.
        node = await self._node(here) if deleting or seen.holders else None
        seen = replace(seen, node=node, reports=self.reports.get(self.namespace, here) is not None)
        if deleting and is_out_of_service(node):
            return await self._observe_for_good(attachment, seen, names)
        return self._by_caches(attachment, seen)

    async def _observe_for_good(
        self, attachment: VolumeAttachment, seen: AttachmentObservation, names: Collection[str]
    ) -> AttachmentObservation:
        """With what there is to know besides of a volume whose node is out of service."""
        here = attachment.spec.node_name
        seen = await self._asked(attachment, seen, self._ask_who_is_absent)
        seen = self._by_caches(attachment, replace(seen, node=await self._node(here)))
        if not any(isinstance(step.action, Fence | Detach) for step in analyze(attachment, seen).steps):
            return seen
        if not seen.holders and not seen.absent:
            report = await self.client.find(REPORTS, self.namespace, here)
            return _located(seen, here, (), [msgspec.convert(report, NodeReport)] if report is not None else ())
        # A client of a node, or of an attachment, that a cache lacks could be taken for this node's.
        others = _without(attachment, await self._same_volume(names))
        nodes = msgspec.convert(await self.client.list(NODE), list[Node])
        reports = msgspec.convert(await self.client.list(REPORTS, self.namespace), list[NodeReport])
        return _located(replace(seen, others=others), here, nodes, reports)

    def _by_caches(self, attachment: VolumeAttachment, seen: AttachmentObservation) -> AttachmentObservation:
        """With where clients are, as the caches have it; but the node itself is the one that was asked for."""
        here = attachment.spec.node_name
        nodes, reports = around((*seen.holders, *seen.absent), self.nodes, self.reports)
        nodes = [n for n in nodes if n.metadata.name != here] + ([seen.node] if seen.node is not None else [])
        # A report that cannot be read may be of a node that has the volume mapped: then nobody gets it, nor loses it.
        handle = handle_of(seen.volume) if seen.volume is not None else ""
        mapped = self.reports.by_index(BY_MAPPED, handle, complete=True) if handle else []
        elsewhere = [r.metadata.name for r in mapped if r.metadata.name != here and self._serves(r.metadata.name)]
        return _located(replace(seen, elsewhere=elsewhere), here, nodes, [*reports, *mapped])

    async def _asked(
        self,
        attachment: VolumeAttachment,
        seen: AttachmentObservation,
        ask: Callable[[VolumeAttachment, AttachmentObservation, Volume], Awaitable[AttachmentObservation]],
    ) -> AttachmentObservation:
        """With what the storage system says, or why it does not: whatever it is, who waits for the volume is told."""
        volume = volume_of(attachment, seen.volume)
        if seen.trouble or volume is None:
            return seen
        try:
            return await ask(attachment, seen, volume)
        except Exception as error:
            if is_lost(error):
                raise
            if not isinstance(error, BackendError):
                _log.exception("The storage system could not be asked", attachment=attachment.metadata.name)
            return replace(seen, trouble=brief(error))

    async def _ask(
        self, attachment: VolumeAttachment, seen: AttachmentObservation, volume: Volume
    ) -> AttachmentObservation:
        if attachment.metadata.deletion_timestamp is not None:
            return replace(seen, holders=await self.backend.holders(volume))
        told = attachment.status.attachment_metadata if attachment.status.attached else {}
        asks = not attachment.status.attached and seen.volume is not None and exclusive(seen.volume)
        holders = await self.backend.holders(volume) if asks else ()
        return replace(seen, holders=holders, metadata=await self.backend.attachment(volume, told))

    async def _ask_who_is_absent(
        self, _: VolumeAttachment, seen: AttachmentObservation, volume: Volume
    ) -> AttachmentObservation:
        return replace(seen, absent=await self.backend.absent(volume))

    def _age(self, attachment: VolumeAttachment) -> float:
        since = attachment.metadata.deletion_timestamp or attachment.metadata.creation_timestamp
        return self.clock() - datetime.fromisoformat(since).timestamp() if since else 0.0

    def _serves(self, node: str) -> bool:
        """Whether a node is not out of service, as far as the cache knows."""
        return not is_out_of_service(self.nodes.get("", node))

    async def _node(self, name: str) -> Node | None:
        """The node as the API server has it; None: it is gone."""
        found = await self.client.find(NODE, "", name)
        return None if found is None else msgspec.convert(found, Node)

    def _names(self, volume: PersistentVolume | None) -> set[str]:
        """The PersistentVolumes of the same volume: its own, and any by which another namespace has it."""
        if volume is None:
            return set()
        (identity, *_) = identities(self.backend)(volume) or ("",)
        copies = self.volumes.by_index(BY_IDENTITY, identity) if identity else []
        return {volume.metadata.name, *(copy.metadata.name for copy in copies)}

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
        name, note = volume.metadata.name, _note(attachment)
        fresh = await self.client.get(PV, "", name)
        if _noted(fresh) == note:
            return
        copies = sorted(self._names(volume) - {name})
        for found in (fresh, *[await self.client.find(PV, "", copy) for copy in copies]):
            other = await self._given_to(found)
            if other is not None and other.spec.node_name != attachment.spec.node_name:
                state = "is attached" if other.status.attached else "is being attached"
                raise HeldError(f"PersistentVolume {name} {state} to node {other.spec.node_name}")
        await self.client.patch(
            PV,
            "",
            name,
            {
                "metadata": {
                    "uid": volume.metadata.uid,
                    "resourceVersion": fresh["metadata"]["resourceVersion"],
                    "annotations": {GIVEN_TO: note},
                }
            },
            content_type="application/merge-patch+json",
        )

    async def _given_to(self, volume: JsonObject | None) -> VolumeAttachment | None:
        """The attachment that a PersistentVolume's note names, if it exists still."""
        name, _, uid = _noted(volume).rpartition("/")
        found = await self.client.find(VOLUME_ATTACHMENT, "", name) if name else None
        if found is None or found["metadata"]["uid"] != uid:
            return None
        return msgspec.convert(found, VolumeAttachment)

    async def _fail(self, attachment: VolumeAttachment, volume: PersistentVolume | None, action: Any) -> None:
        error = {"time": datetime.fromtimestamp(self.clock(), UTC).isoformat(), "message": action.error}
        key = "detachError" if action.detach else "attachError"
        await self._patch_status(attachment, {key: error})
        if volume is not None:
            reason = "FailedDetachVolume" if action.detach else "FailedAttachVolume"
            self.events.event(object_reference(volume, PV), "Warning", reason, action.error)

    async def _tell(self, attachment: VolumeAttachment, why: str) -> None:
        """Tells in the attachment what kept it from being carried out; what Kubernetes waits for in vain has a reason.

        At first in silence: most of what fails, such as a write that another overtook, does not fail again.
        """
        deleting = attachment.metadata.deletion_timestamp is not None
        told = attachment.status.detach_error if deleting else attachment.status.attach_error
        if self._age(attachment) < GRACE or (told is not None and told.message == why):
            return
        volume = self.volumes.get("", attachment.spec.source.persistent_volume_name or "")
        with suppress(ApiError, TransportError):  # what failed first is what is logged, and tried again
            await self._fail(attachment, volume, Fail(why, detach=deleting))

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
