"""What is written to contents, those of snapshots and those of group snapshots: in one way for both."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from controller.framework.status import timestamp
from controller.framework.text import brief
from controller.runtime.finalizers import remove_finalizer
from controller.runtime.log import redact_text
from controller.volumes.backend import GoneError
from informers import ApiError
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from typing import Any

    from controller.apis.meta import ObjectMeta
    from controller.runtime.kube import HasMetadata
    from controller.volumes.backend import BackendError
    from controller.volumes.snapshots.kinds import SnapshotError
    from informers import Client, JsonObject, Resource


_TRIES = 3
"""How often a note is written to an object that somebody else changes meanwhile."""


class Status(Protocol):
    """What the status of a content has of any kind."""

    @property
    def error(self) -> SnapshotError | None:
        """What went wrong last."""
        ...


class Content(Protocol):
    """A content of any kind."""

    @property
    def metadata(self) -> ObjectMeta:
        """Its metadata."""
        ...

    @property
    def status(self) -> Status:
        """Its status."""
        ...


@dataclass(frozen=True, slots=True)
class Writes:
    """Writes to contents of a kind.

    Attributes:
        client: Writes.
        resource: Them.
        view: What they are decoded as.
        being_created: The annotation of one of whose snapshots there may be a part.
        finalizer: What keeps one from going before that is settled.
    """

    client: Client
    resource: Resource
    view: type[HasMetadata]
    being_created: str
    finalizer: str

    async def mark(self, content: Content) -> None:
        """Notes that its snapshots are about to be taken, and has the finalizer keep it.

        Raises:
            ApiError: Among others a conflict, when it is no longer as `content` says.
        """
        meta = content.metadata
        for again in reversed(range(_TRIES)):
            finalizers = [*dict.fromkeys((*meta.finalizers, self.finalizer))]
            try:
                await self._note(content, "yes", resourceVersion=meta.resource_version, finalizers=finalizers)
            except ApiError as error:
                # The snapshot-controller adds its own finalizer to a new content at the same time.
                found = await self._found(content) if error.is_conflict and again else None
                if found is None or not _is_as_planned(meta, found.metadata):
                    raise
                meta = found.metadata
            else:
                return

    async def unmark(self, content: Content) -> None:
        """Takes the note off."""
        await self._note(content, None)

    async def tell(self, content: Content, status: JsonObject) -> None:
        """Merges this into its status."""
        await self._patch(content, {"status": status}, subresource="status")

    async def fail(self, content: Content, message: str) -> bool:
        """Tells in the status what is wrong, unless it says so already; returns whether it did not."""
        message = brief(redact_text(message))
        if content.status.error is not None and content.status.error.message == message:
            return False
        error = {"time": timestamp(time.time()), "message": message}
        await self.tell(content, {"readyToUse": False, "error": error})
        return True

    async def not_taken(self, content: Content, error: BackendError) -> None:
        """Tells why its snapshots could not be taken; with the storage system, nothing is left that was begun."""
        if isinstance(error, GoneError):
            await self.unmark(content)
        await self.fail(content, str(error))

    async def refuse(self, content: Content, problem: str) -> bool:
        """Takes the note off, if there is one, and tells why no snapshot is taken; returns whether it was not told."""
        if self.being_created in content.metadata.annotations:
            await self.unmark(content)
        return await self.fail(content, problem)

    async def release(self, content: Content) -> None:
        """Takes the finalizer off: it may go."""
        # Read anew: the notes that came before are ours.
        found = await self._found(content)
        if found is None:
            return
        try:
            await remove_finalizer(self.client, self.resource, found, self.finalizer)
        except ApiError as error:
            # The snapshot-controller takes its own away at the same time; the change that we have not seen wakes us.
            if not error.is_conflict:
                raise

    async def _found(self, content: Content) -> HasMetadata | None:
        """The content as the API server has it; None: it is gone."""
        found = await self.client.find(self.resource, "", content.metadata.name)
        if found is None or found["metadata"]["uid"] != content.metadata.uid:
            return None
        return msgspec.convert(found, self.view)

    async def _note(self, content: Content, note: str | None, **metadata: Any) -> None:
        await self._patch(content, {"metadata": {"annotations": {self.being_created: note}, **metadata}})

    async def _patch(self, content: Content, change: JsonObject, subresource: str = "") -> None:
        meta = content.metadata
        body = {**change, "metadata": {**change.get("metadata", {}), "uid": meta.uid}}
        await self.client.patch(
            self.resource,
            "",
            meta.name,
            body,
            content_type=MERGE_PATCH,
            subresource=subresource,
        )


def _is_as_planned(planned: ObjectMeta, now: ObjectMeta) -> bool:
    """Whether what was decided about an object counts still: its spec is the same, and it is not being deleted."""
    return planned.generation == now.generation and now.deletion_timestamp is None
