"""What a Secret with a key to an object store holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.ceph.secrets import SecretVersion
from controller.ceph.rgw.names import endpoint
from controller.ceph.rgw.users import Key

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore
    from controller.apis.ceph.secrets import SecretKeySelector
    from controller.runtime.kube import Secret

ACCESS_KEY, SECRET_KEY = "AccessKey", "SecretKey"
"""Upstream's names of the two parts of a key."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where programs find a store.

    Attributes:
        endpoint: Its URL.
        certificate: The Secret with the gateways' certificate; empty: none is named.
    """

    endpoint: str
    certificate: str = ""


def place_of(store: CephObjectStore) -> Place:
    """Where programs find a store."""
    return Place(endpoint(store), store.spec.gateway.ssl_certificate_ref)


def key_data(key: Key, place: Place) -> dict[str, str]:
    """What the Secret holds, by upstream's names."""
    found = {ACCESS_KEY: key.access, SECRET_KEY: key.secret, "Endpoint": place.endpoint}
    return found | ({"SSLCertSecretName": place.certificate} if place.certificate else {})


def version_of(secret: Secret) -> SecretVersion:
    """Which version of a Secret was read, as statuses tell it."""
    meta = secret.metadata
    return SecretVersion(name=meta.name, namespace=meta.namespace, uid=meta.uid, resource_version=meta.resource_version)


def text_in(secret: Secret | None, ref: SecretKeySelector) -> str:
    """The text that a key of a Secret has, without what an editor adds at its end; empty: there is none."""
    content = secret.data.get(ref.key, b"") if secret is not None else b""
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        return ""


def key_in(secret: Secret) -> Key | None:
    """The key that a Secret holds; None: it holds none."""
    access, private = secret.data.get(ACCESS_KEY, b""), secret.data.get(SECRET_KEY, b"")
    return Key(access.decode(), private.decode()) if access and private else None
