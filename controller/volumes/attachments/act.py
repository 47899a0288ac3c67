"""The reconciler of VolumeAttachments, for all storage systems: what is observed when, and what is done.

To whom a volume is given is noted in its PersistentVolume, one version after the other, so that of several operators
one can give it. Names are those of the external-attacher
(https://kubernetes-csi.github.io/docs/external-attacher.html).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import carry_out, conclude
from controller.framework.text import brief
from controller.runtime.finalizers import add_finalizer, remove_finalizer
from controller.runtime.kube import PV, VOLUME_ATTACHMENT, VolumeAttachment
from controller.runtime.leader import is_lost
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.attachments.analyze import (
    GRACE,
    AddFinalizer,
    Attach,
    Detach,
    Fail,
    Fence,
    analyze,
    finalizer,
    obstacle,
)
from controller.volumes.attachments.observe import GIVEN_TO, is_out_of_service, note_of, noted
from informers import ApiError, TransportError
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from controller.runtime.events import EventRecorder
    from controller.runtime.kube import PersistentVolume
    from controller.volumes.attachments.observe import AttachmentObservation, Observer
    from controller.volumes.backend import VolumeBackend
    from informers import Client, JsonObject


class HeldError(Exception):
    """The volume was given to another node, which the cache did not show yet."""


class InServiceError(Exception):
    """The node is not out of service any more: its clients are not fenced."""


@dataclass(slots=True)
class Attachments:
    """The reconciler of VolumeAttachments.

    Attributes:
        client: Writes.
        events: Tells users.
        observer: Looks at attachments.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    observer: Observer
    backoffs: Backoffs = field(default_factory=Backoffs)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        attachment = self.observer.caches.attachments.get("", request.name)
        backend = self.observer.backend_of(attachment) if attachment is not None else None
        if attachment is None or backend is None:
            self.backoffs.forget(request)
            return Result()
        try:
            seen = await self.observe(attachment, backend)
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
                Fence: lambda action: self._fence(attachment, backend, action),
                Detach: lambda _: self._detach(attachment),
            },
            request,
            self.backoffs,
        )
        if outcome.failures:
            await self._tell(attachment, brief("; ".join(failure.error for failure in outcome.failures)))
        return conclude(outcome, plan.look_again)

    async def observe(self, attachment: VolumeAttachment, backend: VolumeBackend) -> AttachmentObservation:
        """What there is to know about an attachment, as far as it matters.

        Raises:
            ApiError, TransportError: The API server could not be asked.
            IncompleteIndexError: A node's report cannot be read.
        """
        look = self.observer
        seen = look.by_caches(attachment, backend)
        deleting = attachment.metadata.deletion_timestamp is not None
        if not deleting and not attachment.status.attached and obstacle(attachment, seen):
            return seen  # by the caches alone: while another node has the volume, the storage system need not be asked
        seen = await look.ask_system(attachment, seen, backend)
        if not deleting and attachment.status.attached:
            return seen
        if deleting or seen.holders:  # the API server is asked after the storage system, which may take long
            seen = await look.ask_for_node(attachment, seen)
        if not deleting or not is_out_of_service(seen.node):
            return look.locate_by_caches(attachment, seen)
        seen = await look.ask_who_is_absent(attachment, seen, backend)
        seen = look.locate_by_caches(attachment, await look.ask_for_node(attachment, seen))
        if not any(isinstance(step.action, Fence | Detach) for step in analyze(attachment, seen).steps):
            return seen
        return await look.locate_by_server(attachment, seen)

    async def _add_finalizer(self, attachment: VolumeAttachment) -> None:
        await add_finalizer(self.client, VOLUME_ATTACHMENT, attachment, finalizer(attachment.spec.attacher))

    async def _attach(self, attachment: VolumeAttachment, seen: AttachmentObservation, action: Any) -> None:
        if not attachment.status.attached and seen.volume is not None and seen.exclusive:
            await self._give(seen.volume, attachment)
        old = attachment.status.attachment_metadata
        metadata = {**dict.fromkeys(old), **action.metadata}  # a merge patch removes what is null
        await self._patch_status(attachment, {"attached": True, "attachmentMetadata": metadata, "attachError": None})

    async def _give(self, volume: PersistentVolume, attachment: VolumeAttachment) -> None:
        """Notes in the PersistentVolume that it is given to this attachment, unless another node's has it.

        This relies neither on the cache nor on this operator's being the leader: another operator may have given the
        volume away a moment ago, and its write may still be on the way. Each operator writes the note first, to the
        version of the PersistentVolume that it read before all else: so one of two gets a conflict.

        Raises:
            HeldError: Another node's has it.
            ApiError: Among others a conflict, when the PersistentVolume was changed meanwhile: reconcile again.
        """
        name, note = volume.metadata.name, note_of(attachment)
        fresh = await self.client.get(PV, "", name)
        if noted(fresh) == note:
            return
        copies = sorted(self.observer.names(volume) - {name})
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
            content_type=MERGE_PATCH,
        )

    async def _given_to(self, volume: JsonObject | None) -> VolumeAttachment | None:
        """The attachment that a PersistentVolume's note names, if it exists still."""
        name, _, uid = noted(volume).rpartition("/")
        found = await self.client.find(VOLUME_ATTACHMENT, "", name) if name else None
        if found is None or found["metadata"]["uid"] != uid:
            return None
        return msgspec.convert(found, VolumeAttachment)

    async def _fail(self, attachment: VolumeAttachment, volume: PersistentVolume | None, action: Any) -> None:
        error = {"time": datetime.fromtimestamp(self.observer.clock(), UTC).isoformat(), "message": action.error}
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
        if self.observer.age(attachment) < GRACE or (told is not None and told.message == why):
            return
        volume = self.observer.caches.volumes.get("", attachment.spec.source.persistent_volume_name or "")
        with suppress(ApiError, TransportError):  # what failed first is what is logged, and tried again
            await self._fail(attachment, volume, Fail(why, detach=deleting))

    async def _fence(self, attachment: VolumeAttachment, backend: VolumeBackend, action: Any) -> None:
        here = attachment.spec.node_name
        # A fence is not taken back, and the fences before this one, or a slow storage system, may have taken long.
        if not is_out_of_service(await self.observer.node(here)):
            raise InServiceError(f"node {here} is not out of service any more: {action.holder.client} is not fenced")
        await backend.fence(action.volume, action.holder)

    async def _detach(self, attachment: VolumeAttachment) -> None:
        await remove_finalizer(self.client, VOLUME_ATTACHMENT, attachment, finalizer(attachment.spec.attacher))

    async def _patch_status(self, attachment: VolumeAttachment, status: JsonObject) -> None:
        await self.client.patch(
            VOLUME_ATTACHMENT,
            "",
            attachment.metadata.name,
            {"metadata": {"uid": attachment.metadata.uid}, "status": status},
            content_type=MERGE_PATCH,
            subresource="status",
        )
