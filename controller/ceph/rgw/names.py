"""How an object store is called: in Kubernetes as upstream does, and in Ceph by realm, zone group and zone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.pods import Daemon

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore

APP = "rook-ceph-rgw"
STORE_LABEL = "rook_object_store"
KEY = "rgw"
"""Under which `PodSettings` speaks of gateways."""
ADMIN_USER = "rgw-admin-ops-user"
"""The user of a store by whom the operator asks its gateways; upstream's."""
ACCESS_KEY, SECRET_KEY = "accessKey", "secretKey"
"""Keys of the Secret with that user's; upstream's."""
CAPS = {"mon": "allow rw", "osd": "allow rwx"}
"""What a gateway may do in the cluster, and a Job that runs `radosgw-admin`; upstream's."""
SERVING_CERTIFICATE = "service.beta.openshift.io/serving-cert-secret-name"
"""An annotation of the Service by which OpenShift makes it a certificate, in the Secret that is named."""
EVERY_NAMESPACE = "*"
"""In `spec.allowUsersInNamespaces`."""


@dataclass(frozen=True, slots=True)
class Place:
    """What Ceph calls a store: the names of its realm, zone group and zone."""

    realm: str
    zonegroup: str
    zone: str


def own_place(store: str) -> Place:
    """The place of a store that is in no CephObjectZone: all three are called as it is."""
    return Place(store, store, store)


def service_name(store: str) -> str:
    """The Service of a store's gateways."""
    return f"{APP}-{store}"


def service_host(store: CephObjectStore) -> str:
    """The DNS name of that Service."""
    return f"{service_name(store.metadata.name)}.{store.metadata.namespace}.svc"


def admin_secret(store: str) -> str:
    """The Secret with the keys of a store's `ADMIN_USER`."""
    return f"{ADMIN_USER}-{store}"


def realm_secret(realm: str) -> str:
    """The Secret with the keys of a realm's system user, as `access-key` and `secret-key`; upstream's."""
    return f"{realm}-keys"


def gateway_of(store: str, letter: str) -> Daemon:
    """A gateway of a store as a daemon."""
    return Daemon(type="rgw", id=f"{store}-{letter}")


def entity_of(daemon: Daemon) -> str:
    """The cephx user of a gateway; as upstream, with dots for hyphens."""
    return f"client.rgw.{daemon.id.replace('-', '.')}"


def keyring_name(daemon: Daemon) -> str:
    """The Secret with the keyring of a gateway."""
    return f"{daemon.name}-keyring"


def certificate_secret(store: CephObjectStore) -> str:
    """The Secret with the certificate of a store's gateways; empty: they have none."""
    gateway = store.spec.gateway
    return gateway.ssl_certificate_ref or gateway.service.annotations.get(SERVING_CERTIFICATE, "")


def speaks_tls(store: CephObjectStore) -> bool:
    """Whether gateways speak HTTPS."""
    return bool(store.spec.gateway.secure_port and certificate_secret(store))


def port_of(store: CephObjectStore) -> int:
    """The port of the Service for HTTP; 0: there is none."""
    gateway = store.spec.gateway
    return gateway.port or (0 if speaks_tls(store) else 80)


def endpoint(store: CephObjectStore) -> str:
    """The URL by which users and the operator reach a store; HTTPS before HTTP."""
    advertised = store.spec.hosting.advertise_endpoint
    if advertised is not None:
        scheme = "https" if advertised.use_tls else "http"
        return f"{scheme}://{advertised.dns_name}:{advertised.port}"
    return secure_endpoint(store) or insecure_endpoint(store)


def insecure_endpoint(store: CephObjectStore) -> str:
    """The URL of the Service for HTTP; empty: there is none."""
    port = port_of(store)
    return f"http://{service_host(store)}:{port}" if port else ""


def secure_endpoint(store: CephObjectStore) -> str:
    """The URL of the Service for HTTPS; empty: there is none."""
    return f"https://{service_host(store)}:{store.spec.gateway.secure_port}" if speaks_tls(store) else ""


def allows(store: CephObjectStore, namespace: str) -> bool:
    """Whether users of a store may be declared in a namespace."""
    others = store.spec.allow_users_in_namespaces
    return namespace == store.metadata.namespace or namespace in others or EVERY_NAMESPACE in others
