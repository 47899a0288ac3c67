"""What a `CephFilesystem` and its groups report of themselves: upstream's fields, and the plan and the MDSs besides."""

from typing import Annotated

from msgspec import field

from controller.apis.ceph.status import CONDITIONS, LocalCephxStatus
from controller.apis.meta import ApiStruct, Condition, Int32, Int64, Nullable, SpecStruct
from controller.apis.plan import PlanStatus


class DaemonCephxStatus(ApiStruct, frozen=True, kw_only=True):
    """Keys of the daemons."""

    daemon: LocalCephxStatus = LocalCephxStatus()
    """Keys of the MDS daemons."""


class MirrorPeerRemote(ApiStruct, frozen=True, kw_only=True, rename=None):
    """A file system that this one is mirrored with."""

    client_name: str = ""
    """The user."""
    cluster_name: str = ""
    """The cluster."""
    fs_name: str = ""
    """The file system."""


class MirrorPeerStats(ApiStruct, frozen=True, kw_only=True, rename=None):
    """How mirroring goes."""

    failure_count: int = 0
    """Failures."""
    recovery_count: int = 0
    """Recoveries from them."""


class MirrorPeer(ApiStruct, frozen=True, kw_only=True, rename=None):
    """A peer of the mirroring."""

    uuid: str = ""
    """Its id."""
    remote: MirrorPeerRemote = MirrorPeerRemote()
    """The file system there."""
    stats: MirrorPeerStats = MirrorPeerStats()
    """How mirroring goes."""


class MirroredFilesystem(ApiStruct, frozen=True, kw_only=True, rename=None):
    """A file system that is mirrored."""

    filesystem_id: int = 0
    """Its number."""
    name: str = ""
    """Its name."""
    directory_count: int = 0
    """Directories that are mirrored."""
    peers: tuple[MirrorPeer, ...] = ()
    """Its peers."""


class MirrorDaemon(SpecStruct, frozen=True, kw_only=True, rename=None):
    """A daemon that mirrors."""

    daemon_id: int = 0
    """Its number."""
    filesystems: tuple[MirroredFilesystem, ...] = ()
    """What it mirrors."""


class FilesystemMirroringStatus(SpecStruct, frozen=True, kw_only=True):
    """State of the mirroring."""

    daemons_status: Nullable[tuple[MirrorDaemon, ...]] = ()
    """The daemons that mirror."""
    last_checked: str = ""
    """Time of the last look."""
    last_changed: str = ""
    """Time of the last change."""
    details: str = ""
    """What is wrong."""


class FilesystemSnapshotRetention(ApiStruct, frozen=True, kw_only=True, rename=None):
    """How far a schedule is."""

    active: bool = False
    """Whether it is on."""
    created: str = ""
    """Time at which it was made."""
    created_count: int = 0
    """Snapshots that it made."""
    first: str = ""
    """Time of the first of them."""
    last: str = ""
    """Time of the last of them."""
    last_pruned: str = ""
    """Time at which the last was deleted."""
    pruned_count: int = 0
    """Snapshots that were deleted."""
    start: str = ""
    """Time from which it counts."""


class FilesystemSnapshotSchedule(ApiStruct, frozen=True, kw_only=True, rename=None):
    """When snapshots of a directory are made."""

    fs: str = ""
    """The file system."""
    subvol: str = ""
    """The subvolume."""
    path: str = ""
    """The directory."""
    rel_path: str = ""
    """The directory within the subvolume."""
    schedule: str = ""
    """When."""
    retention: FilesystemSnapshotRetention = FilesystemSnapshotRetention()
    """How far it is."""


class FilesystemSnapshotScheduleStatus(SpecStruct, frozen=True, kw_only=True):
    """Schedules of snapshots."""

    snapshot_schedules: Nullable[tuple[FilesystemSnapshotSchedule, ...]] = ()
    """The schedules."""
    last_checked: str = ""
    """Time of the last look."""
    last_changed: str = ""
    """Time of the last change."""
    details: str = ""
    """What is wrong."""


class MdsRank(ApiStruct, frozen=True, kw_only=True, omit_defaults=False):
    """An MDS daemon, by what the mons have of it."""

    name: str = ""
    """Its name in Ceph, such as myfs-a."""
    rank: Int32 = 0
    """The rank that it has, or follows."""
    state: str = ""
    """Its state in Ceph, such as up:active or up:standby-replay."""


class MdsUpgradeStatus(ApiStruct, frozen=True, kw_only=True):
    """What is restored after an upgrade of the MDS daemons; empty while there is none."""

    max_mds: Int32 = 0
    """Ranks before it."""
    standby_replay: bool = False
    """Whether standby-replay was allowed before it."""
    from_version: str = ""
    """The oldest release that MDS daemons had before it."""


class CephFilesystemStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a file system."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the file system's state."""
    info: Nullable[dict[str, str]] = field(default_factory=dict)
    """Facts by name: fscid, Ceph's number of the file system, and what the deletion waits for."""
    cephx: DaemonCephxStatus = DaemonCephxStatus()
    """Keys."""
    mirroring_status: FilesystemMirroringStatus = FilesystemMirroringStatus()
    """State of the mirroring."""
    snapshot_schedule_status: FilesystemSnapshotScheduleStatus = FilesystemSnapshotScheduleStatus()
    """Schedules of snapshots."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""
    metadata_servers: tuple[MdsRank, ...] = ()
    """The MDS daemons that have a rank or follow one."""
    mds_upgrade: Nullable[MdsUpgradeStatus] = MdsUpgradeStatus()
    """An upgrade of the MDS daemons that is under way."""


class SubVolumeGroupStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a group of subvolumes."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of the group's state."""
    info: Nullable[dict[str, str]] = field(default_factory=dict)
    """Facts by name: pinning, as Ceph was told it last."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""
