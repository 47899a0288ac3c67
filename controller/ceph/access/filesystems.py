"""File systems as mons and mgr tell of them: ranks, the MDS daemons that hold them, pools, groups and subvolumes.

Sources: https://docs.ceph.com/en/latest/cephfs/administration/ (`fs dump`), and for groups and subvolumes
https://docs.ceph.com/en/latest/cephfs/fs-volumes/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Cluster

DEFAULT_GROUP = "csi"
"""The group of subvolumes that every file system gets, in which volumes are."""

ACTIVE, STANDBY_REPLAY, STOPPING = "up:active", "up:standby-replay", "up:stopping"
_NOT_JOINABLE, _ALLOW_STANDBY_REPLAY = 1 << 0, 1 << 5


@dataclass(frozen=True, slots=True)
class Mds:
    """An MDS daemon of a file system, by its name in Ceph, with the rank that it holds or follows, and its state."""

    name: str
    rank: int
    state: str

    @property
    def holds(self) -> bool:
        """Whether it holds its rank; else it follows one that does."""
        return self.state != STANDBY_REPLAY


@dataclass(frozen=True, slots=True, order=True)
class Remote:
    """A file system that another one is mirrored with: the user that reaches it, its cluster, and its name there."""

    user: str
    site: str
    filesystem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemState:
    """A file system as the mons have it.

    Attributes:
        fscid: Its number.
        max_mds: How many ranks it is to have.
        standby_replay: Whether daemons may follow those that hold ranks.
        ranks: The ranks that it has, those that are on their way out included.
        damaged: Those of them that no daemon may take, as their metadata is damaged.
        daemons: The MDS daemons that hold or follow a rank.
        metadata_pool: The number of its metadata's pool.
        data_pools: The numbers of its data's pools; the first is where data goes by default.
        joinable: Whether MDS daemons may take its ranks.
        mirrored: Whether it is mirrored.
        peers: The file systems that it is mirrored with, by their uuid.
    """

    fscid: int
    max_mds: int = 1
    standby_replay: bool = False
    ranks: tuple[int, ...] = ()
    damaged: tuple[int, ...] = ()
    daemons: tuple[Mds, ...] = ()
    metadata_pool: int = 0
    data_pools: tuple[int, ...] = ()
    joinable: bool = True
    mirrored: bool = False
    peers: Mapping[str, Remote] = field(default_factory=dict)

    def holder(self, rank: int) -> Mds | None:
        """The daemon that holds a rank; None: nobody does."""
        return next((mds for mds in self.daemons if mds.rank == rank and mds.holds), None)

    def named(self, name: str) -> Mds | None:
        """The daemon of this name; None where it neither holds nor follows a rank."""
        return next((mds for mds in self.daemons if mds.name == name), None)

    @property
    def active(self) -> tuple[int, ...]:
        """The ranks that are served."""
        return tuple(sorted(mds.rank for mds in self.daemons if mds.state == ACTIVE))

    @property
    def serves(self) -> bool:
        """Whether every rank that there should be is served, and there is no other."""
        return self.active == tuple(range(self.max_mds)) and len(self.ranks) == self.max_mds


@dataclass(frozen=True, slots=True)
class Map:
    """The file systems of a cluster by name, and the names of the MDS daemons that stand by."""

    filesystems: Mapping[str, FilesystemState]
    standbys: frozenset[str]


def parse(dump: Mapping[str, Any]) -> Map:
    """From the answer to `fs dump`."""
    filesystems = {found["mdsmap"]["fs_name"]: _state(found) for found in dump.get("filesystems", ())}
    return Map(filesystems, frozenset(standby["name"] for standby in dump.get("standbys", ())))


def _state(found: Mapping[str, Any]) -> FilesystemState:
    mds_map, mirror_info = found["mdsmap"], found.get("mirror_info") or {}
    daemons = (Mds(info["name"], info["rank"], info["state"]) for info in mds_map["info"].values())
    return FilesystemState(
        fscid=found["id"],
        max_mds=mds_map["max_mds"],
        standby_replay=bool(mds_map["flags"] & _ALLOW_STANDBY_REPLAY),
        ranks=tuple(sorted(mds_map["in"])),
        damaged=tuple(sorted(mds_map["damaged"])),
        daemons=tuple(sorted(daemons, key=lambda mds: (mds.rank, not mds.holds, mds.name))),
        metadata_pool=mds_map["metadata_pool"],
        data_pools=tuple(mds_map["data_pools"]),
        joinable=not mds_map["flags"] & _NOT_JOINABLE,
        mirrored="mirror_info" in found,
        peers={
            uuid: Remote(remote["client_name"], remote["cluster_name"], remote["fs_name"])
            for uuid, remote in ((uuid, peer["remote"]) for uuid, peer in mirror_info.get("peers", {}).items())
        },
    )


async def groups_of(ceph: Cluster, name: str) -> tuple[str, ...]:
    """The groups of subvolumes of a file system, in order.

    Raises:
        CephError: The mgr does not answer in time.
    """
    return tuple(sorted(group["name"] for group in await ceph.mgr("fs subvolumegroup ls", vol_name=name) or ()))


async def subvolumes_of(ceph: Cluster, name: str, group: str) -> tuple[str, ...]:
    """The subvolumes of a group; `group` empty: those that are in none.

    Raises:
        CephError: The mgr does not answer in time.
    """
    of_group = {"group_name": group} if group else {}
    found = await ceph.mgr("fs subvolume ls", vol_name=name, **of_group)
    return tuple(sorted(subvolume["name"] for subvolume in found or ()))
