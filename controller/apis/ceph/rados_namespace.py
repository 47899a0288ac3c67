"""`CephBlockPoolRadosNamespace`: a part of a pool for block devices, whose images nobody else sees."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.pool import SnapshotScheduleSpec
from controller.apis.ceph.status import CONDITIONS, MirroringInfo, MirroringStatus, SnapshotScheduleStatus
from controller.apis.ceph.storage import PRESERVE
from controller.apis.meta import Column, Condition, Int64, Kind, Nullable, ObjectMeta, Rule, Schema, SpecStruct
from controller.apis.plan import PlanStatus


class RadosNamespaceMirroring(SpecStruct, frozen=True, kw_only=True):
    """Copies of the images in other clusters."""

    mode: Annotated[str, Schema(required=True, enum=("", "pool", "image"))] = ""
    """What is mirrored: all images, or those chosen one by one."""
    remote_namespace: str = ""
    """The RADOS namespace in the other cluster; of the same name when not set."""
    snapshot_schedules: tuple[SnapshotScheduleSpec, ...] = ()
    """When snapshots are made for mirroring."""


def _fixed(name: str) -> tuple[Rule, ...]:
    return (Rule("self == oldSelf", f"{name} cannot be changed: make another CephBlockPoolRadosNamespace"),)


class CephBlockPoolRadosNamespaceSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a RADOS namespace."""

    name: Annotated[str, Schema(rules=_fixed("name"))] = ""
    """The namespace's name in Ceph; metadata.name when not set. <implicit> is the one that every pool has, without a
    name."""
    block_pool_name: Annotated[str, Schema(required=True, rules=_fixed("blockPoolName"))] = ""
    """The CephBlockPool, in the same Kubernetes namespace."""
    mirroring: RadosNamespaceMirroring = RadosNamespaceMirroring()
    """Copies of the images in other clusters."""
    cluster_id: Annotated[
        str, Schema(min_length=1, max_length=36, pattern="^[a-zA-Z0-9_-]+$", rules=_fixed("clusterID"))
    ] = field(name="clusterID", default="")
    """The clusterID of StorageClasses whose volumes are in the namespace; made from its place when not set."""


class CephBlockPoolRadosNamespaceStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a RADOS namespace."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the namespace's state."""
    info: Nullable[dict[str, str]] = field(default_factory=dict)
    """Facts by name: clusterID, which StorageClasses name."""
    mirroring_info: MirroringInfo = MirroringInfo()
    """How the namespace is mirrored."""
    mirroring_status: MirroringStatus = MirroringStatus()
    """State of the mirroring."""
    snapshot_schedule_status: SnapshotScheduleStatus = SnapshotScheduleStatus()
    """Snapshot schedules that Ceph knows of."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephBlockPoolRadosNamespace(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A RADOS namespace of a pool for block devices."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephBlockPoolRadosNamespace"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephBlockPoolRadosNamespaceSpec, Schema(required=True)] = CephBlockPoolRadosNamespaceSpec()
    status: Annotated[CephBlockPoolRadosNamespaceStatus, PRESERVE] = CephBlockPoolRadosNamespaceStatus()


CEPH_BLOCK_POOL_RADOS_NAMESPACE = Kind(
    "ceph.rook.io",
    "v1",
    "CephBlockPoolRadosNamespace",
    "cephblockpoolradosnamespaces",
    short_names=("cephbprns", "cephrns"),
    columns=(
        Column("Phase", ".status.phase", description="Phase"),
        Column("BlockPool", ".spec.blockPoolName", description="The CephBlockPool"),
        Column("ClusterID", ".status.info.clusterID", priority=1, description="What StorageClasses name"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
