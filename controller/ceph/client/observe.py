"""What the cluster says of a user, and what there is of the Secret with its key."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access.identity import key_type_of
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.access.users import find
from controller.ceph.client.objects import key_data
from controller.ceph.client.spec import entity, secret_name
from controller.framework.owned_secrets import SecretState, state_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephClient, CephCluster
    from controller.ceph.access.rados import Cluster, Connections
    from controller.runtime.kube import Secret
    from informers import Informer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientObservation:
    """What `analyze` decides by. It has no key.

    Attributes:
        waits_for: What has to happen before the cluster can be asked; nothing is known of the user then.
        cluster_gone: Whether there is no CephCluster in the namespace.
        version: The Ceph release of the cluster.
        caps: What the user may do, by daemon; None: there is no such user.
        key_type: The type of its key.
        secret: What there is of the Secret.
        secret_uid: Which Secret it is.
    """

    waits_for: str = ""
    cluster_gone: bool = False
    version: str = ""
    caps: Mapping[str, str] | None = None
    key_type: str = ""
    secret: SecretState = SecretState.ABSENT
    secret_uid: str = field(default="", repr=False)


class Observer:
    """Observes users.

    Args:
        clusters: The cache of CephClusters.
        secrets: The cache of Secrets.
        connections: Ways to the clusters.
    """

    def __init__(self, clusters: Informer[CephCluster], secrets: Informer[Secret], connections: Connections) -> None:
        self._clusters, self._secrets, self._connections = clusters, secrets, connections

    async def observe(self, client: CephClient, _: float) -> ClientObservation:
        """What the cluster says of a user, or why it cannot be asked."""
        namespace = client.metadata.namespace
        way = reach(self._clusters, self._connections, namespace)
        if way.cluster is None or way.ceph is None:
            return ClientObservation(waits_for=way.waits_for, cluster_gone=way.cluster is None)
        try:
            seen = await observe(way.ceph, client, self._secrets.get(namespace, secret_name(client)))
        except CephError as error:
            log.info("Cluster does not answer", client=client.metadata.name, namespace=namespace, error=str(error))
            return ClientObservation(waits_for=f"CephCluster {way.cluster.metadata.name} to answer")
        return replace(seen, version=way.cluster.status.version.version)


async def observe(ceph: Cluster, client: CephClient, secret: Secret | None) -> ClientObservation:
    """What the cluster says of a user, beside the Secret as the cache has it.

    Raises:
        CephError: It does not answer.
    """
    user = await find(ceph, entity(client))
    seen = ClientObservation() if user is None else ClientObservation(caps=user.caps, key_type=key_type_of(user.key))
    if secret is None:
        return seen
    wanted = key_data(client.metadata.name, user.key) if user is not None else None
    return replace(seen, secret=state_of(secret, client, wanted), secret_uid=secret.metadata.uid)
