"""`CephFilesystem`: a CephFS file system, its pools and its metadata servers (MDS); and groups of its subvolumes."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.filesystem_status import CephFilesystemStatus, SubVolumeGroupStatus
from controller.apis.ceph.health import ProbeSpec
from controller.apis.ceph.pool import MirroringPeerSpec, PoolSpec, PoolStatusCheckSpec, SnapshotScheduleSpec
from controller.apis.ceph.storage import PRESERVE, AnyObject, Config
from controller.apis.meta import (
    QUANTITY_PATTERN,
    Column,
    Int32,
    Kind,
    Nullable,
    ObjectMeta,
    Resources,
    Rule,
    Schema,
    SpecStruct,
)


class NamedPoolSpec(PoolSpec, frozen=True, kw_only=True):
    """A pool of a file system."""

    name: str = ""
    """What follows the file system's name and a hyphen in the pool's name; with preservePoolNames, the whole name.
    When not set: metadata, or data0, data1 and so on."""


class MetadataServerSpec(SpecStruct, frozen=True, kw_only=True):
    """The MDS daemons."""

    active_count: Annotated[Int32, Schema(required=True, minimum=1, maximum=50)] = 1
    """MDS daemons that serve, each its part of the tree of directories. As many again stand by."""
    active_standby: bool = False
    """Let those that stand by follow the journal of one that serves, and so take over sooner."""
    placement: Nullable[AnyObject] = field(default_factory=dict)
    """Where MDS daemons may run, over the CephCluster's placement for all."""
    resources: Nullable[Resources] = field(default_factory=dict)
    """Requests and limits of an MDS daemon."""
    annotations: Nullable[Config] = field(default_factory=dict)
    """Annotations of the pods."""
    labels: Nullable[Config] = field(default_factory=dict)
    """Labels of the pods."""
    priority_class_name: str = ""
    """The PriorityClass of the pods."""
    liveness_probe: ProbeSpec = ProbeSpec()
    """How the kubelet finds out whether an MDS daemon lives."""
    startup_probe: ProbeSpec = ProbeSpec()
    """How the kubelet finds out whether an MDS daemon has started."""
    cache_memory_limit_factor: Annotated[float, Schema(minimum=0, maximum=1)] | None = None
    """Part of the memory limit that the cache may take; 0.5 when not set."""
    cache_memory_request_factor: Annotated[float, Schema(minimum=0, maximum=1)] | None = None
    """Part of the memory request that the cache may take where there is no limit; 0.8 when not set."""


class SnapshotRetentionSpec(SpecStruct, frozen=True, kw_only=True):
    """How long snapshots of a directory are kept."""

    path: str = ""
    """The directory, which has a schedule."""
    duration: str = ""
    """How many of which: counts with units, such as 24h7d for 24 hourly and 7 daily ones, or h 24."""


class FilesystemMirroringSpec(SpecStruct, frozen=True, kw_only=True):
    """Copies of the file system in other clusters."""

    enabled: bool = False
    """Whether it is on."""
    peers: Nullable[MirroringPeerSpec] = MirroringPeerSpec()
    """Clusters that the file system is mirrored with."""
    snapshot_schedules: tuple[SnapshotScheduleSpec, ...] = ()
    """When snapshots are made for mirroring."""
    snapshot_retention: tuple[SnapshotRetentionSpec, ...] = ()
    """How long they are kept."""
    directories: tuple[str, ...] = ()
    """What is mirrored: paths of directories. When not set, that is left to `ceph fs snapshot mirror add`."""


class CephFilesystemSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a file system."""

    metadata_pool: Nullable[Annotated[NamedPoolSpec, Schema(required=True)]] = NamedPoolSpec()
    """The pool with the tree of directories; replicated."""
    data_pools: Nullable[Annotated[tuple[NamedPoolSpec, ...], Schema(required=True)]] = ()
    """The pools with the data of files. The first is where data goes by default, and should be replicated."""
    metadata_server: Annotated[MetadataServerSpec, Schema(required=True)] = MetadataServerSpec()
    """The MDS daemons."""
    preserve_pool_names: bool = False
    """Pools have the names that they are given, without the file system's name before them."""
    preserve_pools_on_delete: bool = False
    """Keep the pools when the CephFilesystem is deleted."""
    preserve_filesystem_on_delete: bool = False
    """Keep the file system and its pools when the CephFilesystem is deleted; only its MDS daemons go."""
    mirroring: Nullable[FilesystemMirroringSpec] = FilesystemMirroringSpec()
    """Copies of the file system in other clusters."""
    status_check: Annotated[PoolStatusCheckSpec, PRESERVE] = PoolStatusCheckSpec()
    """How often the state of mirroring is read."""


class CephFilesystem(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A CephFS file system."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephFilesystem"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephFilesystemSpec, Schema(required=True)] = CephFilesystemSpec()
    status: Annotated[CephFilesystemStatus, PRESERVE] = CephFilesystemStatus()


CEPH_FILESYSTEM = Kind(
    "ceph.rook.io",
    "v1",
    "CephFilesystem",
    "cephfilesystems",
    short_names=("cephfs",),
    columns=(
        Column("ActiveMDS", ".spec.metadataServer.activeCount", "integer", description="MDS daemons that serve"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Phase", ".status.phase", description="Phase"),
    ),
)


class PinningSpec(SpecStruct, frozen=True, kw_only=True):
    """Which MDS daemons serve the directories of a group; at most one of these."""

    export: Nullable[Annotated[int | None, Schema(minimum=-1, maximum=256)]] = None
    """The one rank that serves the whole group; -1: none in particular."""
    distributed: Nullable[Annotated[int | None, Schema(minimum=0, maximum=1)]] = None
    """1: the subvolumes are spread over the ranks. That is also what counts when nothing is set."""
    random: Nullable[Annotated[float | None, Schema(minimum=0, maximum=1)]] = None
    """Part of the directories below that are pinned to a rank by chance."""


PINNING_RULES = Schema(
    rules=(
        Rule(
            "(has(self.export) && !has(self.distributed) && !has(self.random)) || "
            "(!has(self.export) && has(self.distributed) && !has(self.random)) || "
            "(!has(self.export) && !has(self.distributed) && has(self.random)) || "
            "(!has(self.export) && !has(self.distributed) && !has(self.random))",
            "only one of pinning.export, pinning.distributed and pinning.random can be set",
        ),
    )
)


def _fixed(name: str) -> tuple[Rule, ...]:
    return (Rule("self == oldSelf", f"{name} cannot be changed: make another group"),)


class CephFilesystemSubVolumeGroupSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a group of subvolumes."""

    filesystem_name: Annotated[str, Schema(required=True, rules=_fixed("filesystemName"))] = ""
    """The CephFilesystem, in the same namespace."""
    name: Annotated[str, Schema(rules=_fixed("name"))] = ""
    """The group's name in Ceph; metadata.name when not set."""
    quota: Annotated[int | str | None, Schema(int_or_string=True, pattern=QUANTITY_PATTERN)] = None
    """The most that the group may hold, such as 10Gi; no limit when not set."""
    data_pool_name: str = ""
    """The pool, of the file system's, that the data of the group goes to; counts when the group is made."""
    pinning: Annotated[PinningSpec, PINNING_RULES] = PinningSpec()
    """Which MDS daemons serve the group."""
    cluster_id: Annotated[
        str, Schema(min_length=1, max_length=36, pattern="^[a-zA-Z0-9_-]+$", rules=_fixed("ClusterID"))
    ] = field(name="clusterID", default="")
    """The name by which ceph-csi knows the group."""
    csi_metadata_rados_namespace: Annotated[
        str, Schema(min_length=1, max_length=1024, rules=_fixed("csiMetadataRadosNamespace"))
    ] = ""
    """The RADOS namespace in which ceph-csi keeps its own data of the group."""


class CephFilesystemSubVolumeGroup(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A group of subvolumes of a CephFS file system."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephFilesystemSubVolumeGroup"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephFilesystemSubVolumeGroupSpec, Schema(required=True)] = CephFilesystemSubVolumeGroupSpec()
    status: Annotated[SubVolumeGroupStatus, PRESERVE] = SubVolumeGroupStatus()


CEPH_FILESYSTEM_SUBVOLUME_GROUP = Kind(
    "ceph.rook.io",
    "v1",
    "CephFilesystemSubVolumeGroup",
    "cephfilesystemsubvolumegroups",
    short_names=("cephfssvg", "cephsvg"),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Filesystem", ".spec.filesystemName", description="The CephFilesystem"),
        Column("Quota", ".spec.quota", description="The most that it may hold"),
        Column("Pinning", ".status.info.pinning", priority=1, description="Which MDS daemons serve it"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
