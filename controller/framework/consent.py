"""Consent to destroy data: asked of the API server at the moment of the act, never of a cache.

A cache may be behind: consent may have been withdrawn a moment ago, or the object may be another of the same name.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.meta import ObjectMeta
    from controller.runtime.kube import HasMetadata
    from informers import Client, JsonObject, Resource

FORCE_ANNOTATION = "rook.io/force-deletion"
"""With the value "true" on an object that is deleted: what it stands for goes with the data that is in it."""

FRESH = 24 * 3600.0
"""Seconds for which a deletion is consent by itself where no other is asked for. What has been waiting for longer would
take everybody by surprise when the last that used it goes."""


class NoConsentError(Exception):
    """The consent to destroy data was withdrawn, or never given."""


def is_forced(annotations: Mapping[str, str]) -> bool:
    """Whether the annotations of an object consent that data goes with it."""
    return annotations.get(FORCE_ANNOTATION) == "true"


def is_stale(meta: ObjectMeta, now: float) -> bool:
    """Whether the deletion of an object was asked for so long ago that it has to be said again.

    Args:
        meta: The object's.
        now: Seconds since the epoch.
    """
    asked = meta.deletion_timestamp
    return asked is not None and now - datetime.fromisoformat(asked).timestamp() > FRESH


async def read_same(client: Client, resource: Resource, obj: HasMetadata) -> JsonObject:
    """`obj` as the API server has it now, for what is destroyed by a field of its spec.

    Raises:
        NoConsentError: There is another of its name.
        ApiError: The API server does not have it, or does not answer.
    """
    meta = obj.metadata
    fresh = await client.get(resource, meta.namespace, meta.name)
    uid, name = fresh["metadata"]["uid"], f"{resource.kind} {meta.namespace}/{meta.name}"
    if uid != meta.uid:
        raise NoConsentError(f"{name} has uid {uid}, not {meta.uid}: it is another, and nothing is destroyed")
    return fresh


async def read_deleted(client: Client, resource: Resource, obj: HasMetadata) -> JsonObject:
    """`obj` as the API server has it now, for what is destroyed only on its deletion.

    Raises:
        NoConsentError: It is not being deleted, or there is another of its name.
        ApiError: The API server does not have it, or does not answer.
    """
    fresh = await read_same(client, resource, obj)
    if fresh["metadata"].get("deletionTimestamp") is None:
        name = f"{resource.kind} {obj.metadata.namespace}/{obj.metadata.name}"
        raise NoConsentError(f"{name} is not being deleted: nothing is destroyed")
    return fresh
