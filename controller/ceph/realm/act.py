"""What can be done for a realm, besides what its Job does, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_REALM
from controller.ceph.multisite.keys import new_secret
from controller.ceph.multisite.names import APP
from controller.ceph.pods import cluster_labels
from controller.framework.workload import Owner
from controller.runtime import resource_of
from controller.runtime.kube import SECRET
from informers import ApiError

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectRealm
    from controller.framework.plan import Handler
    from informers import Client

REALMS = resource_of(CEPH_OBJECT_REALM)


@dataclass(frozen=True, slots=True)
class CreateKeys:
    """Make keys for the realm's system user, and keep them in Secret `secret`. One that is there stays as it is."""

    secret: str


def handlers(realm: CephObjectRealm, client: Client) -> dict[type, Handler]:
    """How the actions of a realm's plan are carried out.

    Args:
        realm: The CephObjectRealm.
        client: Creates the Secret.
    """

    async def create_keys(_: CreateKeys) -> None:
        owner = Owner.of(CEPH_OBJECT_REALM, realm.metadata)
        try:
            await client.create(SECRET, new_secret(owner, cluster_labels(owner, APP)))
        except ApiError as error:
            if not error.is_already_exists:
                raise

    return {CreateKeys: create_keys}
