"""What can be done to a RADOS namespace, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BLOCK_POOL_RADOS_NAMESPACE
from controller.ceph.access.threads import Lane
from controller.ceph.radosnamespace import images
from controller.ceph.radosnamespace.observe import SECONDS
from controller.framework.consent import read_deleted
from controller.runtime import resource_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from controller.ceph.access.rados import RadosCluster
    from controller.framework.plan import Handler
    from informers import Client

NAMESPACES = resource_of(CEPH_BLOCK_POOL_RADOS_NAMESPACE)


@dataclass(frozen=True, slots=True)
class CreateNamespace:
    """Make a RADOS namespace of a pool."""

    pool: str
    name: str


@dataclass(frozen=True, slots=True)
class RemoveNamespace:
    """Remove a RADOS namespace. Ceph itself refuses that for one that images are in."""

    pool: str
    name: str


def handlers(namespace: CephBlockPoolRadosNamespace, client: Client, ceph: RadosCluster) -> dict[type, Handler]:
    """How the actions of a namespace's plan are carried out.

    Args:
        namespace: The CephBlockPoolRadosNamespace.
        client: Asks the API server whether it is still to go.
        ceph: The cluster.
    """

    async def create(action: CreateNamespace) -> None:
        await ceph.use(
            lambda handle: images.create(handle, action.pool, action.name), lane=Lane.IMAGES, seconds=SECONDS
        )

    async def remove(action: RemoveNamespace) -> None:
        await read_deleted(client, NAMESPACES, namespace)
        await ceph.use(
            lambda handle: images.remove(handle, action.pool, action.name), lane=Lane.IMAGES, seconds=SECONDS
        )

    return {CreateNamespace: create, RemoveNamespace: remove}
