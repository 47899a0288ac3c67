"""What a CephObjectStore's spec asks for, in Ceph's terms; and what of it is not served, or cannot be. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephObjectStoreSpec
from controller.apis.ceph.object_store import APIS
from controller.apis.ceph.served import OBJECT_STORE
from controller.ceph.pools import spec as pools
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

    from controller.apis.ceph import CephObjectStore, PoolSpec
    from controller.ceph.pods import Daemon

APPLICATION = "rgw"
"""What Ceph is told that the pools are for."""
ROOT_POOL = ".rgw.root"
"""The pool with the names of all realms, zone groups and zones of a cluster: of all its stores."""
METADATA = ("control", "meta", "log", "buckets.index", "buckets.non-ec", "otp")
DATA = "buckets.data"
METADATA_PGS = "8"
"""Placement groups that a pool for metadata starts with; upstream's."""
LONGEST_NAME = 41
"""Characters of a store's name: the names and labels of its gateways are made of it, and those have 63."""
S3, SWIFT = "s3", "swift"
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class StorePool:
    """A pool of a store.

    Attributes:
        path: The field of the spec that asks for it.
        name: Its name in Ceph.
        spec: What is asked for.
        shared: Whether it is of all stores of the cluster: it is made as the first of them asks, and then left alone.
    """

    path: str
    name: str
    spec: PoolSpec
    shared: bool = False


def pools_of(store: CephObjectStore) -> tuple[StorePool, ...]:
    """The pools that a store has of its own, and the one that all stores share; none where it is in a zone."""
    spec, zone = store.spec, store.metadata.name
    if not has_own_pools(store):
        return ()
    metadata = msgspec.structs.replace(
        spec.metadata_pool, parameters={"pg_num": METADATA_PGS, **spec.metadata_pool.parameters}
    )
    return (
        StorePool("metadataPool", ROOT_POOL, metadata, shared=True),
        *(StorePool("metadataPool", f"{zone}.rgw.{name}", metadata) for name in METADATA),
        StorePool("dataPool", f"{zone}.rgw.{DATA}", spec.data_pool),
    )


def has_own_pools(store: CephObjectStore) -> bool:
    """Whether the store's pools are made for it: it is in no CephObjectZone and shares none."""
    return not store.spec.zone.name and not shares_pools(store)


def shares_pools(store: CephObjectStore) -> bool:
    """Whether the spec names pools that are there already."""
    shared = store.spec.shared_pools
    return bool(shared.metadata_pool_name or shared.data_pool_name or shared.pool_placements)


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
        zone |= _shared(store)
        fields["default_placement"] = default_placement(store)
    return {"realm": {"default": store.spec.default_realm}, "zonegroup": {"fields": fields}, "zone": zone}


def default_placement(store: CephObjectStore) -> str:
    """The placement of buckets that name no other one."""
    placements = store.spec.shared_pools.pool_placements
    return next((placement.name for placement in placements if placement.default), "default-placement")


def _shared(store: CephObjectStore) -> dict[str, Any]:
    """Where a store has what in pools that are shared: namespaces have upstream's names."""
    shared, zone = store.spec.shared_pools, own_place(store.metadata.name).zone
    placements: dict[str, Any] = {}
    metadata = shared.metadata_pool_name
    for placement in shared.pool_placements:
        extra, own = placement.data_non_ec_pool_name or placement.metadata_pool_name, f"{zone}.{placement.name}"
        if placement.default:
            metadata = placement.metadata_pool_name
        classes = {"STANDARD": {"data_pool": f"{placement.data_pool_name}:{own}.data"}}
        classes |= {
            each.name: {"data_pool": f"{each.data_pool_name}:{zone}.{each.name}"} for each in placement.storage_classes
        }
        placements[placement.name] = _placement(
            f"{placement.metadata_pool_name}:{own}.index", f"{extra}:{own}.data.non-ec", classes
        )
    if not any(placement.default for placement in shared.pool_placements):
        pool = f"{metadata}:{zone}.buckets"
        data = {"STANDARD": {"data_pool": f"{shared.data_pool_name}:{zone}.buckets.data"}}
        placements["default-placement"] = _placement(f"{pool}.index", f"{pool}.non-ec", data)
    return {"sharedPool": metadata, "placements": placements}


def _placement(index: str, extra: str, classes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    return {"index_pool": index, "data_extra_pool": extra, "storage_classes": classes, "inline_data": True}


def shared_pool_names(store: CephObjectStore) -> tuple[str, ...]:
    """The pools that the spec names and that have to be there already."""
    shared = store.spec.shared_pools
    names = [shared.metadata_pool_name, shared.data_pool_name]
    for placement in shared.pool_placements:
        names += [placement.metadata_pool_name, placement.data_pool_name, placement.data_non_ec_pool_name]
        names += [each.data_pool_name for each in placement.storage_classes]
    return tuple(dict.fromkeys(filter(None, names)))


def metadata_location(store: CephObjectStore) -> tuple[str, str]:
    """The pool with what Ceph knows of buckets and users of a store, and what its namespaces there begin with."""
    zone, shared = store.metadata.name, store.spec.shared_pools
    if not shares_pools(store):
        return f"{zone}.rgw.meta", ""
    default = next((each.metadata_pool_name for each in shared.pool_placements if each.default), "")
    return default or shared.metadata_pool_name, f"{zone}.meta"


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
    yield from _pool_problems(store)
    yield from _shared_problems(store)


def _pool_problems(store: CephObjectStore) -> Iterator[str]:
    spec = store.spec
    if not has_own_pools(store):
        return
    if pools.is_erasure_coded(spec.metadata_pool):
        yield "spec.metadataPool has erasureCoded: metadata can only be replicated"
    for path, pool in (("metadataPool", spec.metadata_pool), ("dataPool", spec.data_pool)):
        yield from (f"spec.{path}: {problem}" for problem in pools.problems(pool))


def _shared_problems(store: CephObjectStore) -> Iterator[str]:
    shared = store.spec.shared_pools
    defaults = [placement.name for placement in shared.pool_placements if placement.default]
    if len(defaults) > 1:
        yield f"spec.sharedPools.poolPlacements: {' and '.join(defaults)} are both the default: one can be"
    both = bool(shared.metadata_pool_name and shared.data_pool_name)
    if shares_pools(store) and not both and not defaults:
        yield "spec.sharedPools: set metadataPoolName and dataPoolName, or make one of poolPlacements the default"
    names = [placement.name for placement in shared.pool_placements]
    for name in sorted({each for each in names if names.count(each) > 1}):
        yield f"spec.sharedPools.poolPlacements: several are called {name}"
    for placement in shared.pool_placements:
        classes = [each.name for each in placement.storage_classes]
        for each in sorted({found for found in classes if classes.count(found) > 1 or found == "STANDARD"}):
            yield f"spec.sharedPools.poolPlacements: {placement.name} has storage class {each} twice, or it is STANDARD"


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, OBJECT_STORE, CephObjectStoreSpec)


def unserved_placement(store: CephObjectStore) -> tuple[str, ...]:
    """The fields that are set, are not served, and say where data goes: a pool made without them has to be emptied."""
    spec = store.spec
    if not has_own_pools(store):
        return ()
    found = (("metadataPool", spec.metadata_pool), ("dataPool", spec.data_pool))
    return tuple(f"{path}.{field}" for path, pool in found for field in pools.unserved_placement(pool))


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
