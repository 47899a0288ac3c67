"""`CephBlockPool`: a RADOS pool for block devices (RBD)."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.status import CephBlockPoolStatus
from controller.apis.ceph.storage import PRESERVE, Config
from controller.apis.meta import (
    QUANTITY_PATTERN,
    Column,
    Int32,
    Int64,
    Kind,
    Nullable,
    ObjectMeta,
    Rule,
    Schema,
    SpecStruct,
)


class HybridStorageSpec(SpecStruct, frozen=True, kw_only=True):
    """Copies on two device classes: the one that serves reads on the fast one."""

    primary_device_class: Annotated[str, Schema(required=True, min_length=1)] = ""
    """Device class of the first copy, which serves reads."""
    secondary_device_class: Annotated[str, Schema(required=True, min_length=1)] = ""
    """Device class of the other copies."""


class ReplicatedSpec(SpecStruct, frozen=True, kw_only=True):
    """Whole copies of all data."""

    size: Annotated[int, Schema(required=True, minimum=0)] = 0
    """Copies of all data; 3 survives the loss of any two."""
    require_safe_replica_size: bool = False
    """Refuse a size of 1, with which the loss of one device loses data."""
    replicas_per_failure_domain: Annotated[int, Schema(minimum=1)] = 1
    """Copies in each failure domain; must divide `size`."""
    sub_failure_domain: str = ""
    """CRUSH level over which the copies within a failure domain are spread; host when several are in one."""
    target_size_ratio: Annotated[float, Schema(minimum=0)] = 0.0
    """Part of the cluster's capacity that the pool is expected to use, for the number of placement groups."""
    hybrid_storage: Nullable[HybridStorageSpec | None] = None
    """Copies on two device classes."""


class ErasureCodedSpec(SpecStruct, frozen=True, kw_only=True):
    """Data in chunks of which some may be lost."""

    data_chunks: Annotated[int, Schema(required=True, minimum=0)] = 0
    """Chunks that an object is cut into; as many failure domains must stay."""
    coding_chunks: Annotated[int, Schema(required=True, minimum=0)] = 0
    """Further chunks that make up for lost ones; as many failure domains may be lost."""
    algorithm: Annotated[str, Schema(enum=("isa", "jerasure"))] = ""
    """Library that computes chunks; Ceph's own choice when not set."""
    stripe_unit: Annotated[
        int | str | None,
        Schema(int_or_string=True, enum=("4Ki", "16Ki", "64Ki", "256Ki", "1Mi"), pattern=QUANTITY_PATTERN),
    ] = None
    """Bytes of an object in one chunk before the next chunk is used; Ceph's own choice when not set."""
    crush_num_failure_domains: Annotated[Int32, Schema(minimum=1)] | None = None
    """Failure domains that chunks are spread over, with several chunks in each."""
    crush_osds_per_failure_domain: Annotated[Int32, Schema(minimum=1)] | None = field(
        name="crushOSDsPerFailureDomain", default=None
    )
    """OSDs in each failure domain that get a chunk."""


ERASURE_CODED_RULES = Schema(
    rules=(
        Rule(
            "has(self.crushNumFailureDomains) == has(self.crushOSDsPerFailureDomain)",
            "crushNumFailureDomains and crushOSDsPerFailureDomain need each other: set both or none",
        ),
    )
)


class MirroringPeerSpec(SpecStruct, frozen=True, kw_only=True):
    """Clusters that the pool is mirrored with."""

    secret_names: tuple[str, ...] = ()
    """Secrets with the tokens of those clusters."""


class SnapshotScheduleSpec(SpecStruct, frozen=True, kw_only=True):
    """When snapshots are made for mirroring."""

    interval: str = ""
    """Time between two snapshots, such as 24h."""
    path: str = ""
    """What they are made of; all of the pool when not set."""
    start_time: str = ""
    """Time of the first of them, in ISO 8601."""


class MirroringSpec(SpecStruct, frozen=True, kw_only=True):
    """Copies of the pool's images in other clusters."""

    enabled: bool = False
    """Whether it is on."""
    mode: Annotated[str, Schema(enum=("pool", "image", "init-only"))] = ""
    """What is mirrored: all images, or those chosen one by one."""
    peers: Nullable[MirroringPeerSpec] = MirroringPeerSpec()
    """Clusters that the pool is mirrored with."""
    snapshot_schedules: tuple[SnapshotScheduleSpec, ...] = ()
    """When snapshots are made for mirroring."""


class QuotaSpec(SpecStruct, frozen=True, kw_only=True):
    """Limits of what the pool may hold. No limit where nothing or 0 is set."""

    max_bytes: Int64 | None = None
    """Bytes, before replication."""
    max_size: Annotated[str, Schema(pattern=r"^[0-9]+[\.]?[0-9]*([KMGTPE]i|[kMGTPE])?$")] | None = None
    """The same as a quantity, such as 10Gi; it goes before maxBytes."""
    max_objects: Int64 | None = None
    """Objects."""


class MirrorHealthCheckSpec(SpecStruct, frozen=True, kw_only=True):
    """How often the state of the mirroring is read."""

    disabled: bool = False
    """Do not read it."""
    interval: str = "60s"
    """Time between two looks."""
    timeout: str = ""
    """Has no effect on mirroring."""


class PoolStatusCheckSpec(SpecStruct, frozen=True, kw_only=True):
    """How often the pool's state is read."""

    mirror: Nullable[MirrorHealthCheckSpec] = MirrorHealthCheckSpec()
    """State of the mirroring."""


class PoolSpec(SpecStruct, frozen=True, kw_only=True):
    """What a pool of any use has."""

    failure_domain: str = "host"
    """CRUSH level of which each has one copy or chunk: osd, host, rack, zone, and so on."""
    crush_root: Nullable[str] = "default"
    """Top of the CRUSH tree that data is spread below."""
    device_class: Nullable[str] = ""
    """Use only OSDs of this device class: hdd, ssd, nvme, or one's own."""
    enable_crush_updates: Nullable[bool | None] = None
    """Give the pool a new CRUSH rule when the fields above change, which moves data; false when not set."""
    replicated: ReplicatedSpec = ReplicatedSpec()
    """Whole copies of all data. Exactly one of this and `erasureCoded` must be set."""
    erasure_coded: Annotated[ErasureCodedSpec, ERASURE_CODED_RULES] = ErasureCodedSpec()
    """Data in chunks of which some may be lost."""
    application: str = ""
    """What Ceph is told that the pool is for; rbd for a CephBlockPool when not set."""
    parameters: Nullable[Config] = field(default_factory=dict)
    """Further settings of the pool by the names that `ceph osd pool set` knows."""
    compression_mode: Nullable[Annotated[str, Schema(enum=("none", "passive", "aggressive", "force", ""))]] = ""
    """Older way to set the parameter compression_mode."""
    quotas: Nullable[QuotaSpec] = QuotaSpec()
    """Limits of what the pool may hold."""
    mirroring: MirroringSpec = MirroringSpec()
    """Copies of the pool's images in other clusters."""
    status_check: Annotated[PoolStatusCheckSpec, PRESERVE] = PoolStatusCheckSpec()
    """How often the pool's state is read."""
    enable_rbd_stats: bool = field(name="enableRBDStats", default=False)
    """Collect statistics of each image in the pool."""


class NamedBlockPoolSpec(PoolSpec, frozen=True, kw_only=True):
    """What the user wants of a block pool."""

    name: Annotated[str, Schema(enum=(".rgw.root", ".nfs", ".mgr", ".nvmeof"))] = ""
    """The pool's name in Ceph, where it is one of Ceph's own pools, which Kubernetes could not name; metadata.name
    when not set."""


class CephBlockPool(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A RADOS pool for block devices (RBD)."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephBlockPool"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[NamedBlockPoolSpec, Schema(required=True)] = NamedBlockPoolSpec()
    status: Annotated[CephBlockPoolStatus, PRESERVE] = CephBlockPoolStatus()


CEPH_BLOCK_POOL = Kind(
    "ceph.rook.io",
    "v1",
    "CephBlockPool",
    "cephblockpools",
    short_names=("cephbp",),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("Type", ".status.info.type", description="Replicated or Erasure Coded"),
        Column("FailureDomain", ".status.info.failureDomain", description="CRUSH level with one copy each"),
        Column("Replication", ".spec.replicated.size", "integer", 1, "Copies"),
        Column("EC-CodingChunks", ".spec.erasureCoded.codingChunks", "integer", 1, "Coding chunks"),
        Column("EC-DataChunks", ".spec.erasureCoded.dataChunks", "integer", 1, "Data chunks"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
