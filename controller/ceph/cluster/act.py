"""How the steps of a CephCluster's plan are carried out. Each handler may be repeated at any time without harm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CEPH_CLUSTER
from controller.ceph.access.identity import PROTECTION, generate_identity, identity_secret
from controller.ceph.cluster import deletion
from controller.framework import jobs
from controller.framework.consent import NoConsentError, read_deleted
from controller.framework.deletion import delete_protected
from controller.runtime import resource_of
from controller.runtime.kube import DEPLOYMENT, SECRET
from informers import ApiError

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.framework.deletion import Dependents
    from controller.framework.plan import Handler
    from informers import Client, JsonObject, Resource

CLUSTERS = resource_of(CEPH_CLUSTER)


@dataclass(frozen=True, slots=True)
class CreateIdentity:
    """Make up an fsid and keys, and keep them in the Secret with this metadata. Never replaces one that exists.

    `mon_key_type`: the type of the key that only mons use.
    """

    meta: dict[str, Any] = field(repr=False)
    mon_key_type: str


def handlers(cluster: CephCluster, client: Client, dependents: Dependents[CephCluster]) -> dict[type, Handler]:
    """What carries out the actions for a CephCluster that are of none of its parts.

    Args:
        cluster: The cluster.
        client: Asks the API server, and tells it.
        dependents: What uses clusters.
    """
    namespace, in_use = cluster.metadata.namespace, dependents.asking(client, cluster)

    async def create_identity(action: CreateIdentity) -> None:
        await _create(client, SECRET, identity_secret(action.meta, generate_identity(action.mon_key_type)))

    async def confirm() -> None:
        fresh = await read_deleted(client, CLUSTERS, cluster)
        confirmation = fresh["spec"].get("cleanupPolicy", {}).get("confirmation", "")
        if confirmation != deletion.CONFIRMATION:
            raise NoConsentError(
                f"CephCluster {namespace}/{cluster.metadata.name}: spec.cleanupPolicy.confirmation is "
                f"{confirmation!r}, not {deletion.CONFIRMATION!r}: nothing is destroyed"
            )

    async def destroy_data(action: deletion.DestroyData) -> None:
        await confirm()
        if users := await in_use():
            raise NoConsentError(f"the data is used by {', '.join(users)}: it stays")
        await jobs.start(client, action.job, action.attempt)

    async def stop(action: deletion.Stop) -> None:
        await confirm()
        body = {"metadata": {"uid": action.uid}, "spec": {"replicas": 0}}
        await client.patch(DEPLOYMENT, namespace, action.name, body, content_type="application/merge-patch+json")

    async def destroy_identity(action: deletion.DestroyIdentity) -> None:
        await confirm()
        await delete_protected(client, action.resource, namespace, action.name, action.uid, finalizer=PROTECTION)

    return {
        CreateIdentity: create_identity,
        deletion.DestroyData: destroy_data,
        deletion.DestroyIdentity: destroy_identity,
        deletion.Stop: stop,
    }


async def _create(client: Client, resource: Resource, obj: JsonObject) -> None:
    """Creates an object unless it exists: the caches may not have seen yet that an earlier try made it."""
    try:
        await client.create(resource, obj)
    except ApiError as error:
        if not error.is_already_exists:
            raise
