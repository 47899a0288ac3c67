"""What there is to know about an attachment: by caches, by the storage system, and by the API server itself.

Caches tell when to look, and what to wait for. A decision that could cost data goes by what the API server says at
that moment: whether a node is out of service, and whose clients are fenced.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from controller.apis.rook.node_report import NodeReport
from controller.framework.reports import REPORTS
from controller.framework.text import brief
from controller.runtime.kube import NODE, VOLUME_ATTACHMENT, Node, VolumeAttachment
from controller.runtime.leader import is_lost
from controller.volumes.backend import BackendError, Holder, Volume, volume_from
from controller.volumes.caches import BY_IDENTITY, BY_VOLUME
from controller.volumes.capabilities import exclusive
from controller.volumes.clients import BY_MAPPED, around, handle_of, locate, reported_for, vague_about

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from controller.runtime.kube import PersistentVolume
    from controller.volumes.backend import VolumeBackend
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from informers import Client, JsonObject

_log = structlog.get_logger(__name__)

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""The taint by which an administrator says that a node is down and stays down."""

GIVEN_TO = "volumes.rook.io/given-to"
"""Annotation of a PersistentVolume that one node may have at a time: "name/uid" of the VolumeAttachment that has it.
While that VolumeAttachment exists, no other node's gets the volume."""


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
        given: Whether the volume was given to it before, successfully or not: then no other goes first.
        exclusive: Whether only one node may have the volume, by what its storage system can do.
        shared: Whether others than nodes may have it open: `Capabilities.shared`.
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
    exclusive: bool = True
    shared: bool = False


def is_out_of_service(node: Node | None) -> bool:
    """Whether a node is down for good: it is gone, or an administrator says so. Pure."""
    return node is None or any(taint.key == OUT_OF_SERVICE for taint in node.spec.taints)


def volume_of(attachment: VolumeAttachment, volume: PersistentVolume | None) -> Volume | None:
    """The volume of an attachment, also after its PersistentVolume has gone: what we told the node says which it is."""
    if volume is not None and volume.spec.csi is not None:
        return volume_from(volume.spec.csi)
    if attachment.status.attachment_metadata:
        return Volume(driver=attachment.spec.attacher, attributes=attachment.status.attachment_metadata)
    return None


def note_of(attachment: VolumeAttachment) -> str:
    """How `GIVEN_TO` names an attachment."""
    return f"{attachment.metadata.name}/{attachment.metadata.uid}"


def noted(volume: JsonObject | None) -> str:
    """The attachment that a PersistentVolume's `GIVEN_TO` names; empty: none."""
    found = volume["metadata"].get("annotations", {}).get(GIVEN_TO) if volume is not None else None
    return found or ""


@dataclass(slots=True)
class Observer:
    """Looks at attachments.

    Attributes:
        client: Asks the API server.
        caches: What there is.
        namespace: Where the reports of the nodes' agents are.
        drivers: The storage systems.
        clock: Seconds since the epoch.
    """

    client: Client
    caches: Caches
    namespace: str
    drivers: Drivers
    clock: Callable[[], float] = time.time

    def backend_of(self, attachment: VolumeAttachment) -> VolumeBackend | None:
        """The storage system that serves an attachment; None: it is not ours.

        If the volume was given to it here, it also ends here, even if its driver is not served any more.
        """
        driver = attachment.spec.attacher
        backend = self.drivers.serving(driver)
        if backend is not None or attachment.metadata.deletion_timestamp is None:
            return backend
        volume = self.caches.volumes.get("", attachment.spec.source.persistent_volume_name or "")
        return self.drivers.knowing(driver) if volume is not None and _is_given_to(volume, attachment) else None

    def by_caches(self, attachment: VolumeAttachment, backend: VolumeBackend) -> AttachmentObservation:
        """The observation of the caches: the volume and its other attachments."""
        name = attachment.spec.source.persistent_volume_name or ""
        found = self.caches.volumes.get("", name)
        same_volume = [
            a for each in sorted(self.names(found) or {name}) for a in self.caches.attachments.by_index(BY_VOLUME, each)
        ]
        return AttachmentObservation(
            volume=found,
            others=_without(attachment, same_volume),
            age=self.age(attachment),
            given=found is not None and _is_given_to(found, attachment),
            exclusive=found is None or exclusive(backend.capabilities, found.spec.access_modes, found.spec.volume_mode),
            shared=backend.capabilities.shared,
        )

    async def ask_system(
        self, attachment: VolumeAttachment, seen: AttachmentObservation, backend: VolumeBackend
    ) -> AttachmentObservation:
        """Adds who has the volume open, where that matters, and what the node has to know."""

        async def ask(volume: Volume) -> AttachmentObservation:
            if attachment.metadata.deletion_timestamp is not None:
                matters = seen.exclusive or not seen.shared
                return replace(seen, holders=await backend.holders(volume) if matters else ())
            told = attachment.status.attachment_metadata if attachment.status.attached else {}
            asks = not attachment.status.attached and seen.volume is not None and seen.exclusive
            holders = await backend.holders(volume) if asks else ()
            node = self.caches.nodes.get("", attachment.spec.node_name)
            labels = node.metadata.labels if node is not None else {}
            return replace(seen, holders=holders, metadata=await backend.attachment(volume, told, labels))

        return await _asked(attachment, seen, ask)

    async def ask_who_is_absent(
        self, attachment: VolumeAttachment, seen: AttachmentObservation, backend: VolumeBackend
    ) -> AttachmentObservation:
        """With who never gave the volume back."""

        async def ask(volume: Volume) -> AttachmentObservation:
            matters = seen.exclusive or not seen.shared
            return replace(seen, absent=await backend.absent(volume) if matters else ())

        return await _asked(attachment, seen, ask)

    async def ask_for_node(self, attachment: VolumeAttachment, seen: AttachmentObservation) -> AttachmentObservation:
        """Adds the attachment's node, as the API server has it now."""
        here = attachment.spec.node_name
        reports = self.caches.reports.get(self.namespace, here) is not None
        return replace(seen, node=await self.node(here), reports=reports)

    def locate_by_caches(self, attachment: VolumeAttachment, seen: AttachmentObservation) -> AttachmentObservation:
        """Adds where clients are, as the caches have it; but the node itself is the one that was asked for.

        Raises:
            IncompleteIndexError: A node's report cannot be read.
        """
        here = attachment.spec.node_name
        nodes, reports = around((*seen.holders, *seen.absent), self.caches.nodes, self.caches.reports)
        nodes = [n for n in nodes if n.metadata.name != here] + ([seen.node] if seen.node is not None else [])
        # A report that cannot be read may be of a node that has the volume mapped: then nobody gets it, nor loses it.
        handle = handle_of(seen.volume) if seen.volume is not None else ""
        mapped = self.caches.reports.by_index(BY_MAPPED, handle, complete=True) if handle else []
        elsewhere = [r.metadata.name for r in mapped if r.metadata.name != here and self._serves(r.metadata.name)]
        return _located(replace(seen, elsewhere=elsewhere), here, nodes, [*reports, *mapped])

    async def locate_by_server(
        self, attachment: VolumeAttachment, seen: AttachmentObservation
    ) -> AttachmentObservation:
        """Adds where clients are, and who else has the volume, as the API server has it now."""
        here = attachment.spec.node_name
        if not seen.holders and not seen.absent:
            report = await self.client.find(REPORTS, self.namespace, here)
            return _located(seen, here, (), [msgspec.convert(report, NodeReport)] if report is not None else ())
        # A client of a node, or of an attachment, that a cache lacks could be taken for this node's.
        names = self.names(seen.volume) or {attachment.spec.source.persistent_volume_name or ""}
        attachments = msgspec.convert(await self.client.list(VOLUME_ATTACHMENT), list[VolumeAttachment])
        same_volume = [other for other in attachments if other.spec.source.persistent_volume_name in names]
        nodes = msgspec.convert(await self.client.list(NODE), list[Node])
        reports = msgspec.convert(await self.client.list(REPORTS, self.namespace), list[NodeReport])
        return _located(replace(seen, others=_without(attachment, same_volume)), here, nodes, reports)

    async def node(self, name: str) -> Node | None:
        """The node as the API server has it; None: it is gone."""
        found = await self.client.find(NODE, "", name)
        return None if found is None else msgspec.convert(found, Node)

    def names(self, volume: PersistentVolume | None) -> set[str]:
        """The PersistentVolumes of the same volume: its own, and any by which another namespace has it."""
        if volume is None:
            return set()
        (identity, *_) = self.drivers.identities(volume) or ("",)
        copies = self.caches.volumes.by_index(BY_IDENTITY, identity) if identity else []
        return {volume.metadata.name, *(copy.metadata.name for copy in copies)}

    def age(self, attachment: VolumeAttachment) -> float:
        """Seconds since the attachment, or its end, was asked for."""
        since = attachment.metadata.deletion_timestamp or attachment.metadata.creation_timestamp
        return self.clock() - datetime.fromisoformat(since).timestamp() if since else 0.0

    def _serves(self, node: str) -> bool:
        """Whether a node is not out of service, as far as the cache knows."""
        return not is_out_of_service(self.caches.nodes.get("", node))


async def _asked(
    attachment: VolumeAttachment,
    seen: AttachmentObservation,
    ask: Callable[[Volume], Awaitable[AttachmentObservation]],
) -> AttachmentObservation:
    """Adds what the storage system says, or why it does not, which those who wait for the volume are told."""
    volume = volume_of(attachment, seen.volume)
    if seen.trouble or volume is None:
        return seen
    try:
        return await ask(volume)
    except Exception as error:
        if is_lost(error):
            raise
        if not isinstance(error, BackendError):
            _log.exception("The storage system could not be asked", attachment=attachment.metadata.name)
        return replace(seen, trouble=brief(error))


def _is_given_to(volume: PersistentVolume, attachment: VolumeAttachment) -> bool:
    return volume.metadata.annotations.get(GIVEN_TO) == note_of(attachment)


def _without(this: VolumeAttachment, attachments: Iterable[VolumeAttachment]) -> list[VolumeAttachment]:
    return [attachment for attachment in attachments if attachment.metadata.name != this.metadata.name]


def _located(
    seen: AttachmentObservation, here: str, nodes: Sequence[Node], reports: Sequence[NodeReport]
) -> AttachmentObservation:
    """Adds the nodes that the volume's clients are on, and the clients that the node's own report has of it."""
    clients = {c for report in reports if report.metadata.name == here for c in reported_for(seen.volume, report)}
    reported = [Holder(address="", client=client) for client in sorted(clients)]
    vague, opened = vague_about(seen.volume, reports), len(seen.holders)
    located = locate((*seen.holders, *seen.absent), reports, nodes, vague)
    return replace(
        seen,
        holders=located[:opened],
        absent=located[opened:],
        reported=locate(reported, reports, nodes),
    )
