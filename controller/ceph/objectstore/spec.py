"""What a CephObjectStore's spec asks for, in Ceph's terms; and what of it is not served, or cannot be. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephObjectStoreSpec
from controller.apis.ceph.object_store import APIS
from controller.apis.ceph.served import OBJECT_STORE
from controller.ceph.rgw import pools as zone_pools
from controller.ceph.rgw.names import (
    APP,
    certificate_secret,
    gateway_of,
    insecure_endpoint,
    own_place,
    secure_endpoint,
    service_host,
)
from controller.framework.honoured import unhonoured
from controller.framework.names import letters, object_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import CephObjectStore
    from controller.ceph.pods import Daemon
    from controller.ceph.rgw.pools import StorePool

LONGEST_NAME = 41
"""Characters of a store's name: the names and labels of its gateways are made of it, and those have 63."""
S3, SWIFT = "s3", "swift"
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def pools_of(store: CephObjectStore) -> tuple[StorePool, ...]:
    """The pools that a store has of its own, and the one that all stores share; none where it is in a zone."""
    spec = store.spec
    if spec.zone.name:
        return ()
    return zone_pools.pools_of(store.metadata.name, spec.metadata_pool, spec.data_pool, spec.shared_pools)


def has_own_pools(store: CephObjectStore) -> bool:
    """Whether the store's pools are made for it: it is in no CephObjectZone and shares none."""
    return not store.spec.zone.name and not shares_pools(store)


def shares_pools(store: CephObjectStore) -> bool:
    """Whether the spec names pools that are there already."""
    return zone_pools.shares(store.spec.shared_pools)


def instances(store: CephObjectStore) -> int:
    """How many gateways there are to be."""
    count = store.spec.gateway.instances
    return 1 if count is None else max(count, 0)


def gateways(store: CephObjectStore) -> tuple[Daemon, ...]:
    """The gateways that there are to be."""
    return tuple(gateway_of(store.metadata.name, letters(index)) for index in range(instances(store)))


def apis(store: CephObjectStore) -> tuple[str, ...]:
    """What gateways serve; empty: all that the release can."""
    protocols = store.spec.protocols
    if protocols.enable_apis:
        return protocols.enable_apis
    return tuple(api for api in APIS if api != S3) if protocols.s3.enabled is False else ()


def serves(store: CephObjectStore, api: str) -> bool:
    """Whether gateways serve an API."""
    return not apis(store) or api in apis(store)


def dns_names(store: CephObjectStore) -> tuple[str, ...]:
    """The host names below which a bucket may be part of the name; none: whatever host is asked for is the store.

    The Service's are always among them: for a gateway that has such names, any other host is the name of a bucket.
    """
    hosting = store.spec.hosting
    advertised = hosting.advertise_endpoint
    asked = (*([advertised.dns_name] if advertised is not None else []), *hosting.dns_names)
    if not asked:
        return ()
    host = service_host(store)
    own = (host, host.removesuffix(".svc"), f"{host}.cluster.local", host.partition(".")[0])
    return tuple(dict.fromkeys((*own, *asked)))


def options(store: CephObjectStore) -> dict[str, str]:
    """The options on the gateways' command line that take effect with a restart alone."""
    found: dict[str, str] = {}
    if apis(store):
        found["rgw-enable-apis"] = ", ".join(apis(store))
    if dns_names(store):
        found["rgw-dns-name"] = ",".join(dns_names(store))
    protocols = store.spec.protocols
    booleans = {
        "rgw-s3-auth-use-keystone": protocols.s3.auth_use_keystone,
        "rgw-swift-account-in-url": protocols.swift.account_in_url,
        "rgw-swift-versioning-enabled": protocols.swift.versioning_enabled,
        "rgw-run-sync-thread": False if store.spec.gateway.disable_multisite_sync_traffic else None,
    }
    found |= {name: str(value).lower() for name, value in booleans.items() if value is not None}
    if protocols.swift.url_prefix is not None:
        found["rgw-swift-url-prefix"] = protocols.swift.url_prefix
    return found


def settings(store: CephObjectStore, secret_values: Mapping[str, str]) -> dict[str, str]:
    """The options in the mons' database for each gateway.

    Args:
        store: The store.
        secret_values: What `rgwConfigFromSecret` refers to.
    """
    return {
        "rgw_log_nonexistent_bucket": "true",
        "rgw_log_object_name_utc": "true",
        "rgw_enable_usage_log": "true",
        **store.spec.gateway.rgw_config,
        **secret_values,
    }


def endpoints(store: CephObjectStore) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The URLs for HTTP, and those for HTTPS, by which the store is reached."""
    hosting = store.spec.hosting
    plain, tls = [insecure_endpoint(store)], [secure_endpoint(store)]
    advertised = hosting.advertise_endpoint
    if advertised is not None:
        url = f"{'https' if advertised.use_tls else 'http'}://{advertised.dns_name}:{advertised.port}"
        (tls if advertised.use_tls else plain).insert(0, url)
    for name in hosting.dns_names:
        plain.append(insecure_endpoint(store) and f"http://{name}:{insecure_endpoint(store).rpartition(':')[2]}")
        tls.append(secure_endpoint(store) and f"https://{name}:{secure_endpoint(store).rpartition(':')[2]}")
    first, second = (tuple(dict.fromkeys(filter(None, urls))) for urls in (plain, tls))
    return first, second


def wanted(store: CephObjectStore) -> dict[str, Any]:
    """What realm, zone group and zone of a store that is in no CephObjectZone are like, for the script."""
    urls = [secure_endpoint(store) or insecure_endpoint(store)]
    fields: dict[str, Any] = {"endpoints": urls}
    zone: dict[str, Any] = {"endpoints": urls}
    if shares_pools(store):
        zone |= zone_pools.wanted_of(own_place(store.metadata.name).zone, store.spec.shared_pools)
        fields["default_placement"] = zone_pools.default_placement(store.spec.shared_pools)
    return {"realm": {"default": store.spec.default_realm}, "zonegroup": {"fields": fields}, "zone": zone}


def setup_name(store: CephObjectStore) -> str:
    """The Job that makes realm, zone group, zone and the operator's user."""
    return object_name(f"{APP}-{store.metadata.name}-setup")


def removal_name(store: CephObjectStore) -> str:
    """The Job that removes realm, zone group and zone."""
    return object_name(f"{APP}-{store.metadata.name}-removal")


def problems(store: CephObjectStore) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has."""
    return tuple(_problems(store))


def _problems(store: CephObjectStore) -> Iterator[str]:
    name, spec = store.metadata.name, store.spec
    if not _NAME.fullmatch(name):
        yield f"metadata.name is {name}: its Service needs a name of small letters, digits and hyphens alone"
    if len(name) > LONGEST_NAME:
        yield f"metadata.name has {len(name)} characters: at most {LONGEST_NAME} fit into the names of its gateways"
    gateway = spec.gateway
    if gateway.secure_port and not certificate_secret(store):
        yield "spec.gateway.securePort is set and sslCertificateRef is not: HTTPS needs a certificate"
    if gateway.ssl_certificate_ref and not gateway.secure_port:
        yield "spec.gateway.sslCertificateRef is set and securePort is not: set it, as to 443"
    if not spec.zone.name:
        yield from zone_pools.problems(spec.metadata_pool, spec.data_pool, spec.shared_pools)


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, OBJECT_STORE, CephObjectStoreSpec)


def unserved_placement(store: CephObjectStore) -> tuple[str, ...]:
    """The fields that are set, are not served, and say where data goes: a pool made without them has to be emptied."""
    spec = store.spec
    if spec.zone.name:
        return ()
    return zone_pools.unserved_placement(spec.metadata_pool, spec.data_pool, spec.shared_pools)


def unserved_intents(store: CephObjectStore) -> tuple[str, ...]:
    """The fields that are set, are not served, and without which the store is not what was asked for."""
    spec = store.spec
    found = {
        "gateway.externalRgwEndpoints": bool(spec.gateway.external_rgw_endpoints),
        "security.kms": bool(spec.security.kms.connection_details),
        "security.s3": bool(spec.security.s3.connection_details),
        "auth.keystone": spec.auth.keystone is not None,
    }
    return (*unserved_placement(store), *(path for path, is_set in found.items() if is_set))
