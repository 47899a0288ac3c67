"""Finalizers: an object that carries one is not removed before its controller has cleaned up after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from informers import ApiError
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from controller.runtime.kube import HasMetadata
    from informers import Client, JsonObject, Resource


async def add_finalizer(client: Client, resource: Resource, obj: HasMetadata, name: str) -> bool:
    """Adds the finalizer `name` to `obj`. Do this before creating anything that needs cleaning up.

    Returns:
        Whether it had to be added.

    Raises:
        ApiError: Among others a conflict, when the object is no longer as `obj` says: reconcile again.
    """
    present = obj.metadata.finalizers
    if name in present:
        return False
    await _set_finalizers(client, resource, obj, [*present, name])
    return True


async def remove_finalizer(client: Client, resource: Resource, obj: HasMetadata, name: str) -> bool:
    """Removes the finalizer `name` from `obj`, after the clean-up. It is no error if the object is gone already.

    Returns:
        Whether it had to be removed.

    Raises:
        ApiError: Among others a conflict, when the object is no longer as `obj` says: reconcile again.
    """
    present = obj.metadata.finalizers
    if name not in present:
        return False
    try:
        await _set_finalizers(client, resource, obj, [f for f in present if f != name])
    except ApiError as error:
        if not error.is_not_found:
            raise
    return True


async def _set_finalizers(client: Client, resource: Resource, obj: HasMetadata, finalizers: list[str]) -> None:
    # The list is replaced as a whole, so another controller's finalizer would be lost without the version's check.
    body: JsonObject = {
        "metadata": {
            "uid": obj.metadata.uid,
            "resourceVersion": obj.metadata.resource_version,
            "finalizers": finalizers,
        }
    }
    await client.patch(
        resource,
        obj.metadata.namespace,
        obj.metadata.name,
        body,
        content_type=MERGE_PATCH,
    )
