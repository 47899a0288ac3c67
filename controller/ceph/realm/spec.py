"""What a CephObjectRealm's spec asks for; and what of it cannot be. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from controller.ceph.rgw.names import Place

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectRealm


def place_of(realm: CephObjectRealm) -> Place:
    """What calls about a realm name: zone group and zone are of no account for them, and must not be left out."""
    name = realm.metadata.name
    return Place(name, name, name)


def wanted(realm: CephObjectRealm) -> dict[str, Any]:
    """What is wanted of a realm, for the program that brings it about."""
    return {"pull": realm.spec.pull.endpoint, "default": realm.spec.default_realm}


def problems(realm: CephObjectRealm) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    url = realm.spec.pull.endpoint
    if not url:
        return ()
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        valid = False
    if valid:
        return ()
    return (f"pull.endpoint is {url!r}: expected the URL of a gateway of the master zone, such as http://rgw-a:80",)
