"""Which drivers of COSI this operator is, and in which store, and whose, a bucket is by its class's parameters.

Names of parameters and drivers are those of Ceph's own driver: https://github.com/ceph/ceph-cosi
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apis.ceph.cosi import NEVER
from controller.ceph.rgw.stores import Way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCOSIDriver, CephObjectStoreUser
    from controller.ceph.rgw.stores import Stores
    from controller.runtime.kube import Deployment, Secret
    from informers import Informer

SUFFIX = ".ceph.objectstorage.k8s.io"
OTHER = "ceph-cosi-driver"
"""The Deployment by which upstream's operator runs Ceph's own driver and its sidecar."""
SECRET_NAME, SECRET_NAMESPACE = "objectStoreUserSecretName", "objectStoreUserSecretNamespace"
"""Parameters of a BucketClass: the Secret of a CephObjectStoreUser, who owns the buckets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a bucket is.

    Attributes:
        way: To its store.
        owner: The user who owns it.
        waits_for: What has to be there first; empty: nothing.
        gone: Whether the user who owned it is gone, and with it whatever told of the store.
    """

    way: Way = field(default_factory=Way)
    owner: str = ""
    waits_for: str = ""
    gone: bool = False


def secret_of(driver: str, parameters: Mapping[str, str]) -> tuple[str, str]:
    """Namespace and name of the Secret by which a bucket says who owns it; no name: it does not say."""
    return parameters.get(SECRET_NAMESPACE) or namespace_of(driver), parameters.get(SECRET_NAME, "")


def namespace_of(driver: str) -> str:
    """The namespace that a driver is of; empty: it is another driver."""
    lower = driver.lower()
    return lower.removesuffix(SUFFIX) if lower.endswith(SUFFIX) else ""


@dataclass(frozen=True, slots=True)
class Places:
    """Finds the place of buckets.

    Attributes:
        drivers: The cache of CephCOSIDrivers.
        users: The cache of CephObjectStoreUsers.
        secrets: The cache of Secrets.
        stores: Ways to object stores.
        others: The cache of Deployments that are `OTHER`.
    """

    drivers: Informer[CephCOSIDriver]
    users: Informer[CephObjectStoreUser]
    secrets: Informer[Secret]
    stores: Stores
    others: Informer[Deployment]

    def serves(self, driver: str) -> bool:
        """Whether this operator is the driver of this name: a CephCOSIDriver of that namespace says so.

        It is not while there is another: two would make users and Secrets for the same BucketAccess, each its own.
        """
        namespace = namespace_of(driver)
        if not namespace:
            return False
        asked = any(found.spec.deployment_strategy != NEVER for found in self.drivers.list(namespace))
        return asked and not self.has_other(namespace)

    def has_other(self, namespace: str) -> bool:
        """Whether upstream's pod of Ceph's own driver is deployed, which is the driver of the same name."""
        other = self.others.get(namespace, OTHER)
        return other is not None and (other.spec.replicas > 0 or other.status.replicas > 0)

    def find(self, driver: str, parameters: Mapping[str, str]) -> Place:
        """The place of a bucket by its driver and its parameters."""
        namespace, name = secret_of(driver, parameters)
        if not name:
            return Place(waits_for=f"a BucketClass with the parameter {SECRET_NAME}")
        secret = self.secrets.get(namespace, name)
        if secret is None:
            told = f"Secret {name} of a CephObjectStoreUser in namespace {namespace}"
            # One that is lost is written again by its user; of one that is new, nobody knows yet which it writes.
            writers = (user.status.info.get("secretName", name) for user in self.users.list(namespace))
            return Place(waits_for=told, gone=name not in writers)
        owners = [owner.name for owner in secret.metadata.owner_references if owner.kind == "CephObjectStoreUser"]
        user = self.users.get(namespace, owners[0]) if owners else None
        if user is None:
            return Place(waits_for=f"Secret {namespace}/{name} to be that of a CephObjectStoreUser", gone=bool(owners))
        way = self.stores.reach(user.spec.cluster_namespace or namespace, user.spec.store)
        return Place(way=way, owner=user.metadata.name, waits_for=way.waits_for)
