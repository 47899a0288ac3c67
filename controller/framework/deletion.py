"""How an object goes that is deleted, and what it stands for: nothing that is used, and data with consent alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.runtime import remove_finalizer
from controller.runtime.kube import PartialObject

if TYPE_CHECKING:
    from informers import Client, Resource


async def delete_protected(
    client: Client, resource: Resource, namespace: str, name: str, uid: str, *, finalizer: str
) -> None:
    """Deletes an object that a finalizer protects from mistakes; one of the same name that came later stays.

    Args:
        client: Asks the API server, and tells it.
        resource: The object's kind.
        namespace: Where it is.
        name: Its name.
        uid: Which of that name it is.
        finalizer: What protects it.
    """
    found = await client.find(resource, namespace, name)
    if found is not None and found["metadata"]["uid"] == uid:
        await remove_finalizer(client, resource, msgspec.convert(found, PartialObject), finalizer)
        await client.delete(resource, namespace, name, uid=uid)
