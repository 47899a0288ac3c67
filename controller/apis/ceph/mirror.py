"""`CephRBDMirror` and `CephFilesystemMirror`: the daemons that copy images and snapshots from other clusters."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.filesystem_status import DaemonCephxStatus
from controller.apis.ceph.pool import MirroringPeerSpec
from controller.apis.ceph.status import CONDITIONS
from controller.apis.ceph.storage import PRESERVE, AnyObject, Config
from controller.apis.meta import Column, Condition, Int64, Kind, Nullable, ObjectMeta, Resources, Schema, SpecStruct
from controller.apis.plan import PlanStatus


class MirrorDaemonSpec(SpecStruct, frozen=True, kw_only=True):
    """The pods of daemons that mirror."""

    placement: Nullable[AnyObject] = field(default_factory=dict)
    """Where they may run, over the CephCluster's placement for all."""
    annotations: Nullable[Config] = field(default_factory=dict)
    """Annotations of the pods."""
    labels: Nullable[Config] = field(default_factory=dict)
    """Labels of the pods."""
    resources: Nullable[Resources] = field(default_factory=dict)
    """Requests and limits of a daemon."""
    priority_class_name: str = ""
    """The PriorityClass of the pods."""


class CephRBDMirrorSpec(MirrorDaemonSpec, frozen=True, kw_only=True):
    """What the user wants of the daemons that mirror images."""

    count: Annotated[int, Schema(required=True, minimum=1)] = 1
    """How many daemons there are; images are spread over them."""
    peers: Nullable[MirroringPeerSpec] = MirroringPeerSpec()
    """Clusters that images come from. The field of the same name of a CephBlockPool says for which pool, too."""


class MirrorDaemonStatus(SpecStruct, frozen=True, kw_only=True):
    """State of daemons that mirror."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the daemons' state."""
    cephx: DaemonCephxStatus = DaemonCephxStatus()
    """Keys of the daemons."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephRBDMirror(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """Daemons that copy images from other clusters."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephRBDMirror"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CephRBDMirrorSpec, Schema(required=True)] = CephRBDMirrorSpec()
    status: Annotated[MirrorDaemonStatus, PRESERVE] = MirrorDaemonStatus()


class CephFilesystemMirror(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """The daemon that copies snapshots of file systems to other clusters."""

    api_version: str = "ceph.rook.io/v1"
    kind: str = "CephFilesystemMirror"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[MirrorDaemonSpec, Schema(required=True)] = MirrorDaemonSpec()
    status: Annotated[MirrorDaemonStatus, PRESERVE] = MirrorDaemonStatus()


_COLUMNS = (
    Column("Phase", ".status.phase", description="Phase"),
    Column("Age", ".metadata.creationTimestamp", "date"),
)

CEPH_RBD_MIRROR = Kind(
    "ceph.rook.io", "v1", "CephRBDMirror", "cephrbdmirrors", short_names=("cephrbdm",), columns=_COLUMNS
)

CEPH_FILESYSTEM_MIRROR = Kind(
    "ceph.rook.io", "v1", "CephFilesystemMirror", "cephfilesystemmirrors", short_names=("cephfsm",), columns=_COLUMNS
)
