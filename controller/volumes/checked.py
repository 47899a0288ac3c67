"""Whether the cache has everything that was made before this moment: the last thing before something is destroyed.

To ask the API server for all objects of a resource each time would be too much. So a note is written to one of them, in
the version that was read: the cache, which is told of changes in their order, has every object that was made before
once it shows the note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from controller.volumes.backend import BackendError, UnderWayError
from informers import ApiError
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from controller.apis.meta import ObjectMeta
    from informers import Client, Informer, Resource

CHECKED = "volumes.rook.io/checked"
"""The annotation of what is about to be destroyed with what it stands for, or of another object of its resource: the
version at which that was checked.
"""

REACHED_WITHIN = 30.0
"""Seconds for the cache to show a write; it takes moments while the watch works."""


async def read_anew[T](client: Client, resource: Resource, name: str, view: type[T]) -> T:
    """What is about to be destroyed, or what stands for it, as the API server has it.

    Args:
        client: Reads.
        resource: The resource, which has no namespaces.
        name: The object's name.
        view: What it is decoded as.

    Raises:
        UnderWayError: It has gone, which the cache is yet to show.
        ApiError: The API server does not answer, or refuses.
    """
    found = await client.find(resource, "", name)
    if found is None:
        raise UnderWayError(f"the cache to show that {resource.kind} {name} is gone")
    return msgspec.convert(found, view)


async def see_all(client: Client, resource: Resource, found: ObjectMeta, cache: Informer[Any]) -> None:
    """Returns once the cache has every object of a resource that was made before this call.

    Args:
        client: Writes the note.
        resource: The resource, which has no namespaces.
        found: The object that is to be destroyed, or any other of the resource, as the API server had it just now.
        cache: Watches all objects of the resource.

    Raises:
        BackendError: The cache does not follow.
        UnderWayError: The object was changed or has gone a moment ago, which the cache is yet to show.
        ApiError: The API server does not answer, or refuses.
    """
    version = found.resource_version
    metadata = {"uid": found.uid, "resourceVersion": version, "annotations": {CHECKED: version}}
    try:
        written = await client.patch(resource, "", found.name, {"metadata": metadata}, content_type=MERGE_PATCH)
    except ApiError as error:
        if not (error.is_conflict or error.is_not_found):
            raise
        raise UnderWayError(f"the cache to show what has become of {resource.kind} {found.name}") from error
    try:
        await cache.reached(int(written["metadata"]["resourceVersion"]), REACHED_WITHIN)
    except TimeoutError:
        raise BackendError(
            f"nothing is destroyed: the cache of {resource.kind}s did not show within "
            f"{REACHED_WITHIN:g} s what there is"
        ) from None
