"""`CephObjectRealm`, `CephObjectZoneGroup` and `CephObjectZone`: object stores with the same data in several places."""

from typing import Annotated

from controller.apis.ceph.object_multisite_status import (
    CephObjectRealmStatus,
    CephObjectZoneGroupStatus,
    CephObjectZoneStatus,
)
from controller.apis.ceph.object_store import SharedPoolsSpec
from controller.apis.ceph.pool import PoolSpec
from controller.apis.ceph.storage import PRESERVE
from controller.apis.meta import Column, Kind, Nullable, ObjectMeta, Schema, SpecStruct


class PullSpec(SpecStruct, frozen=True, kw_only=True):
    """A realm that is in another cluster already."""

    endpoint: Annotated[str, Schema(pattern="^https*://")] = ""
    """URL of a gateway of the realm's master zone."""


class CephObjectRealmSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a realm."""

    pull: PullSpec = PullSpec()
    """Take the realm over from another cluster, by the keys in the Secret with the realm's name and -keys. Another
    endpoint has it pulled again: that is how a cluster whose zone was replaced as master gets to know the new one."""
    default_realm: bool = False
    """Have radosgw-admin work on this realm where it is told of no other."""


class CephObjectRealm(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A realm: zone groups whose zones know the same users and buckets."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephObjectRealm"
    metadata: ObjectMeta = ObjectMeta()
    spec: Nullable[CephObjectRealmSpec] = CephObjectRealmSpec()
    status: Annotated[CephObjectRealmStatus, PRESERVE] = CephObjectRealmStatus()


CEPH_OBJECT_REALM = Kind(
    "ceph.rook.io",
    "v1",
    "CephObjectRealm",
    "cephobjectrealms",
    short_names=("cephor",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)


class CephObjectZoneGroupSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a zone group."""

    realm: Annotated[str, Schema(required=True)] = ""
    """The CephObjectRealm, in the same namespace."""


class CephObjectZoneGroup(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A zone group: zones that have the same objects."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephObjectZoneGroup"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephObjectZoneGroupSpec, Schema(required=True)] = CephObjectZoneGroupSpec()
    status: Annotated[CephObjectZoneGroupStatus, PRESERVE] = CephObjectZoneGroupStatus()


CEPH_OBJECT_ZONE_GROUP = Kind(
    "ceph.rook.io",
    "v1",
    "CephObjectZoneGroup",
    "cephobjectzonegroups",
    short_names=("cephozg",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Realm", ".spec.realm", priority=1, description="The CephObjectRealm"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)


class CephObjectZoneSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a zone."""

    zone_group: Annotated[str, Schema(required=True)] = ""
    """The CephObjectZoneGroup, in the same namespace."""
    metadata_pool: Nullable[PoolSpec] = PoolSpec()
    """What the pools for metadata are like; replicated. Not with sharedPools."""
    data_pool: Nullable[PoolSpec] = PoolSpec()
    """What the pool for data is like. Not with sharedPools."""
    shared_pools: Nullable[SharedPoolsSpec] = SharedPoolsSpec()
    """Pools that are there already, in place of own ones."""
    custom_endpoints: Nullable[tuple[str, ...]] = ()
    """URLs by which other zones reach this one; the Services of the zone's CephObjectStores when not set, which only
    pods of this Kubernetes cluster reach."""
    preserve_pools_on_delete: Annotated[bool, Schema(default=True)] = True
    """Keep the pools when the CephObjectZone is deleted."""


class CephObjectZone(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A zone: a place for the data of a zone group, with gateways of its own."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephObjectZone"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephObjectZoneSpec, Schema(required=True)] = CephObjectZoneSpec()
    status: Annotated[CephObjectZoneStatus, PRESERVE] = CephObjectZoneStatus()


CEPH_OBJECT_ZONE = Kind(
    "ceph.rook.io",
    "v1",
    "CephObjectZone",
    "cephobjectzones",
    short_names=("cephoz",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Master", ".status.master.zone", description="The zone that is the realm's master"),
        Column("Metadata", ".status.metadataSync.state", description="Whether users and buckets are in sync"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
