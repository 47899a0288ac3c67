"""What `CephCluster` and the pools report of themselves: upstream's fields, and the plan and the devices besides."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import ApiStruct, Condition, Int32, Int64, Nullable, Schema, SpecStruct
from controller.apis.plan import PlanStatus

CONDITIONS = Schema(list_type="map", list_map_keys=("type",))


class LocalCephxStatus(ApiStruct, frozen=True, kw_only=True):
    """The keys of one kind of daemon or user."""

    key_ceph_version: str = ""
    """Ceph release that made the keys."""
    key_generation: Int32 = 0
    """Generation of the keys."""
    key_type: Annotated[str, Schema(min_length=3, max_length=7)] = ""
    """Cipher of the keys."""


class CephxStatusWithPriorCount(LocalCephxStatus, frozen=True, kw_only=True):
    """The keys of CSI's users."""

    prior_key_count: int = 0
    """Older generations of keys that are still valid."""


class ClusterCephxStatus(ApiStruct, frozen=True, kw_only=True):
    """Keys by kind of daemon or user."""

    admin: LocalCephxStatus = LocalCephxStatus()
    """The key of client.admin."""
    ceph_exporter: LocalCephxStatus = LocalCephxStatus()
    """Keys of the exporters."""
    crash_collector: LocalCephxStatus = LocalCephxStatus()
    """Keys of the crash collectors."""
    csi: CephxStatusWithPriorCount = CephxStatusWithPriorCount()
    """Keys of CSI's users."""
    mgr: LocalCephxStatus = LocalCephxStatus()
    """Keys of the mgrs."""
    mon: LocalCephxStatus = LocalCephxStatus()
    """The key that the mons share."""
    osd: LocalCephxStatus = LocalCephxStatus()
    """Keys of the OSDs."""
    rbd_mirror_peer: LocalCephxStatus = LocalCephxStatus()
    """Keys of mirroring peers."""


class CephHealthMessage(ApiStruct, frozen=True, kw_only=True):
    """One of Ceph's health checks that failed."""

    severity: Annotated[str, Schema(required=True)] = ""
    """HEALTH_WARN or HEALTH_ERR."""
    message: Annotated[str, Schema(required=True)] = ""
    """What Ceph says."""


class Capacity(ApiStruct, frozen=True, kw_only=True):
    """Raw bytes of all OSDs, before replication."""

    bytes_total: Int64 = 0
    """All bytes."""
    bytes_used: Int64 = 0
    """Bytes in use."""
    bytes_available: Int64 = 0
    """Bytes that are free."""
    last_updated: str = ""
    """When they were read."""


class CephDaemonsVersions(ApiStruct, frozen=True, kw_only=True):
    """Daemons by kind and by the release that they run."""

    mon: dict[str, int] = field(default_factory=dict)
    """Mons."""
    mgr: dict[str, int] = field(default_factory=dict)
    """Mgrs."""
    osd: dict[str, int] = field(default_factory=dict)
    """OSDs."""
    mds: dict[str, int] = field(default_factory=dict)
    """Metadata servers of file systems."""
    rgw: dict[str, int] = field(default_factory=dict)
    """Object gateways."""
    rbd_mirror: dict[str, int] = field(name="rbd-mirror", default_factory=dict)
    """Mirroring daemons of block devices."""
    cephfs_mirror: dict[str, int] = field(name="cephfs-mirror", default_factory=dict)
    """Mirroring daemons of file systems."""
    overall: dict[str, int] = field(default_factory=dict)
    """All of them."""


class CephStatus(ApiStruct, frozen=True, kw_only=True):
    """The cluster as Ceph sees it."""

    health: str = ""
    """HEALTH_OK, HEALTH_WARN or HEALTH_ERR."""
    previous_health: str = ""
    """The health before it last changed."""
    last_changed: str = ""
    """When the health last changed."""
    last_checked: str = ""
    """When the health was last read; written only when something else changes too, so that rest causes no writes."""
    details: dict[str, CephHealthMessage] = field(default_factory=dict)
    """Failed health checks by code, 50 at most, and errors first. What is said of others has the code MORE."""
    capacity: Capacity = Capacity()
    """Raw bytes of all OSDs, before replication."""
    versions: CephDaemonsVersions = CephDaemonsVersions()
    """Daemons by kind and by the release that they run."""
    fsid: str = ""
    """Identity of the Ceph cluster."""


class DeviceClass(ApiStruct, frozen=True, kw_only=True):
    """A device class that OSDs have."""

    name: str = ""
    """Its name."""


class MigrationStatus(ApiStruct, frozen=True, kw_only=True):
    """OSDs on the way to another setup."""

    pending: int = 0
    """OSDs that still have to be made anew."""


class OsdStatus(ApiStruct, frozen=True, kw_only=True):
    """OSDs by their setup."""

    store_type: dict[str, int] = field(default_factory=dict)
    """OSDs by backend."""
    migration_status: MigrationStatus = MigrationStatus()
    """OSDs on the way to another setup."""


class CephStorage(ApiStruct, frozen=True, kw_only=True):
    """The cluster's OSDs."""

    device_classes: tuple[DeviceClass, ...] = ()
    """Device classes that OSDs have."""
    osd: OsdStatus = OsdStatus()
    """OSDs by their setup."""
    deprecated_osds: dict[str, tuple[int, ...]] = field(name="deprecatedOSDs", default_factory=dict)
    """OSDs by what is out of date about their setup."""


class ClusterVersion(ApiStruct, frozen=True, kw_only=True):
    """The Ceph release of the image."""

    image: str = ""
    """The image."""
    version: str = ""
    """The release in it, such as 18.2.7-0."""


class DeviceVerdict(ApiStruct, frozen=True, kw_only=True):
    """Whether a device becomes an OSD, and why."""

    node: str = ""
    """The node."""
    device: str = ""
    """The device on it."""
    verdict: Annotated[str, Schema(enum=("Accepted", "Rejected", "InUse"))] = ""
    """Accepted: it becomes an OSD. InUse: it is an OSD of this cluster."""
    reason: str = ""
    """Why."""


class CephClusterStatus(SpecStruct, frozen=True, kw_only=True):
    """What the operator found and does."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Progressing, Ready, Connecting, Connected, Deleting or Failure."""
    state: str = ""
    """The same in upstream's older words: Creating, Created, Updating, Connecting, Connected or Error."""
    message: str = ""
    """What the operator is at."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the cluster's state, among them Ready."""
    ceph: CephStatus = CephStatus()
    """The cluster as Ceph sees it."""
    cephx: ClusterCephxStatus = ClusterCephxStatus()
    """Keys by kind of daemon or user."""
    storage: CephStorage = CephStorage()
    """The cluster's OSDs."""
    version: ClusterVersion = ClusterVersion()
    """The Ceph release of the image."""
    plan: PlanStatus = PlanStatus()
    """What the operator is about to do, in its order."""
    timers: dict[str, str] = field(default_factory=dict)
    """Since when facts have been true that decide about failovers, by topic and name, such as MonOutOfQuorum/b."""
    devices: tuple[DeviceVerdict, ...] = ()
    """Every device that was looked at: whether it becomes an OSD, and why."""


class MirroringPeer(ApiStruct, frozen=True, kw_only=True, rename=None):
    """A pool elsewhere that this one is mirrored with, in Ceph's own words."""

    client_name: str = ""
    """Ceph user that the peer is reached as."""
    direction: str = ""
    """rx-only, tx-only or rx-tx."""
    mirror_uuid: str = ""
    """Identity of the peer's mirroring daemon."""
    site_name: str = ""
    """Name of the peer's cluster."""
    uuid: str = ""
    """Identity of the peer."""


class MirroringInfo(ApiStruct, frozen=True, kw_only=True):
    """How the pool is mirrored."""

    mode: str = ""
    """What is mirrored: pool or image."""
    site_name: str = field(name="site_name", default="")
    """Name of this cluster among the mirrors."""
    peers: tuple[MirroringPeer, ...] = ()
    """Pools elsewhere that this one is mirrored with."""
    last_changed: str = ""
    """When this last changed."""
    last_checked: str = ""
    """When this was last read."""
    details: str = ""
    """What went wrong."""


class MirroringStates(ApiStruct, frozen=True, kw_only=True, rename=None):
    """Images or groups by the state of their replay."""

    error: int = 0
    """Failed."""
    replaying: int = 0
    """Up to date or catching up."""
    starting_replay: int = 0
    """About to start."""
    stopped: int = 0
    """The source itself, or not mirrored."""
    stopping_replay: int = 0
    """About to stop."""
    syncing: int = 0
    """Copied whole for the first time."""
    unknown: int = 0
    """No daemon reports them."""


class MirroringSummary(SpecStruct, frozen=True, kw_only=True, rename=None):
    """Health of the mirroring, in Ceph's own words."""

    health: str = ""
    """Worst of the following."""
    daemon_health: str = ""
    """Health of the mirroring daemons."""
    image_health: str = ""
    """Health of the images."""
    group_health: Nullable[str] = ""
    """Health of the groups."""
    states: Nullable[MirroringStates] = MirroringStates()
    """Images by state."""
    image_states: Nullable[MirroringStates] = MirroringStates()
    """Images by state."""
    group_states: Nullable[MirroringStates] = MirroringStates()
    """Groups by state."""


class MirroringStatus(ApiStruct, frozen=True, kw_only=True):
    """State of the mirroring."""

    summary: MirroringSummary = MirroringSummary()
    """Health of the mirroring."""
    last_changed: str = ""
    """When this last changed."""
    last_checked: str = ""
    """When this was last read."""
    details: str = ""
    """What went wrong."""


class SnapshotScheduleItem(ApiStruct, frozen=True, kw_only=True, rename=None):
    """When snapshots are made."""

    interval: str = ""
    """Time between two snapshots."""
    start_time: str = ""
    """Time of the first of them."""


class SnapshotSchedule(ApiStruct, frozen=True, kw_only=True):
    """The snapshot schedule of an image."""

    pool: str = ""
    """The image's pool."""
    namespace: str = ""
    """The image's RADOS namespace."""
    image: str = ""
    """The image's name."""
    items: tuple[SnapshotScheduleItem, ...] = ()
    """When snapshots of it are made."""


class SnapshotScheduleStatus(SpecStruct, frozen=True, kw_only=True):
    """Snapshot schedules that Ceph knows of."""

    snapshot_schedules: Nullable[tuple[SnapshotSchedule, ...]] = ()
    """Snapshot schedules by image."""
    last_changed: str = ""
    """When this last changed."""
    last_checked: str = ""
    """When this was last read."""
    details: str = ""
    """What went wrong."""


class PeerTokenCephxStatus(ApiStruct, frozen=True, kw_only=True):
    """Keys of the pool."""

    peer_token: LocalCephxStatus = LocalCephxStatus()
    """The key in the token that a mirroring peer is given."""


class CephBlockPoolStatus(SpecStruct, frozen=True, kw_only=True):
    """What the operator found and does."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Progressing, Ready, Deleting or Failure."""
    pool_id: int = field(name="poolID", default=0)
    """The pool's number in Ceph."""
    info: Nullable[dict[str, str]] = field(default_factory=dict)
    """Facts by name: type, failureDomain, and the name of the Secret for mirroring peers."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the pool's state, among them Ready."""
    cephx: PeerTokenCephxStatus = PeerTokenCephxStatus()
    """Keys of the pool."""
    mirroring_info: MirroringInfo = MirroringInfo()
    """How the pool is mirrored."""
    mirroring_status: MirroringStatus = MirroringStatus()
    """State of the mirroring."""
    snapshot_schedule_status: SnapshotScheduleStatus = SnapshotScheduleStatus()
    """Snapshot schedules that Ceph knows of."""
    plan: PlanStatus = PlanStatus()
    """What the operator is about to do, in its order."""
