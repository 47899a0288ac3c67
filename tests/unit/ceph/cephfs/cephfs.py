"""A Ceph cluster in memory, as far as subvolumes go: mons and mgr answer as those of Ceph 18.2 do.

https://docs.ceph.com/en/reef/cephfs/fs-volumes/
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephCluster, CephFilesystem
from controller.ceph.access.rados import CephError
from controller.ceph.cephfs.backend import CephfsBackend
from controller.runtime.kube import ObjectMeta, StorageClass

if TYPE_CHECKING:
    from informers import JsonObject

DRIVER = "rook-ceph.cephfs.csi.ceph.com"
UID = "11111111-2222-3333-4444-555555555555"
NAME = f"csi-vol-{UID}"
HANDLE = f"0001-0009-rook-ceph-0000000000000007-{UID}"


@dataclass
class Subvolume:
    """A directory with a quota in bytes; None: without."""

    quota: int | None
    mode: str
    pool: str = "myfs-data0"
    snapshots: list[str] = field(default_factory=list)


class Ceph:
    """A cluster with file system myfs, number 7.

    Args:
        step: Entered for each command that changes something: it may die before or after.
    """

    def __init__(self, step: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self.step = step
        self.filesystems = {"myfs": "up:active"}
        self.groups = {"csi", "team"}
        self.subvolumes: dict[tuple[str, str], Subvolume] = {}
        self.down = 0
        self.fenced: list[str] = []
        self.asked: list[str] = []
        self.sessions: list[JsonObject] = []
        self.evicts = True
        """Whether MDS daemons follow the blocklist."""

    def path(self, group: str, name: str) -> str:
        return f"/volumes/{group}/{name}/0e81e9b4-61a5-4b20-b2a2-7e39ec1f6cd1"

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        if self.down:
            raise CephError(self.down, "no answer")
        if prefix == "osd blocklist":
            assert args["blocklistop"] == "add"
            with self.step():
                self.fenced.append(args["addr"])
            if self.evicts:
                self.sessions = [s for s in self.sessions if client_of(s) not in self.fenced]
            return None
        if prefix == "mon dump":
            addresses = [{"type": "v2", "addr": "10.0.0.1:3300"}, {"type": "v1", "addr": "10.0.0.1:6789"}]
            return {"fsid": "f", "mons": [{"public_addrs": {"addrvec": addresses}}]}
        assert prefix == "fs dump"
        return {"filesystems": [self._filesystem(name, state) for name, state in self.filesystems.items()]}

    async def mds(self, roles: Sequence[str], prefix: str, /, **_: Any) -> list[Any]:
        assert prefix == "session ls"
        if self.down:
            raise CephError(self.down, "no answer")
        for role in roles:
            assert self.filesystems[role.partition(":")[0]] == "up:active", "it would wait"
        return [list(self.sessions) for _ in roles]

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        assert self.filesystems[args["vol_name"]] == "up:active", "the mgr would wait"
        self.asked.append(prefix)
        if self.down:
            raise CephError(self.down, "no answer")
        group, name = args["group_name"], args["sub_name"]
        if group not in self.groups:
            raise CephError(errno.ENOENT, f"subvolume group '{group}' does not exist")
        if prefix == "fs subvolume create":
            with self.step():
                # An old one gets what a new one would have.
                old = self.subvolumes.get((group, name), Subvolume(None, ""))
                layout = args.get("pool_layout", "myfs-data0")
                self.subvolumes[group, name] = Subvolume(args["size"], args["mode"], layout, old.snapshots)
            return None
        found = self.subvolumes.get((group, name))
        if found is None:
            raise CephError(errno.ENOENT, f"subvolume '{name}' does not exist")
        if prefix == "fs subvolume info":
            quota = "infinite" if found.quota is None else found.quota
            return {"path": self.path(group, name), "bytes_quota": quota, "state": "complete"}
        if prefix == "fs subvolume snapshot ls":
            return [{"name": snapshot} for snapshot in found.snapshots]
        if prefix == "fs subvolume resize":
            with self.step():
                assert args["no_shrink"] is True
                found.quota = int(args["new_size"])
            return [{"bytes_used": 0}, {"bytes_quota": found.quota}, {"bytes_pcent": "0.00"}]
        assert prefix == "fs subvolume rm"
        if found.snapshots:
            raise CephError(errno.ENOTEMPTY, f"subvolume '{name}' has snapshots")
        with self.step():
            del self.subvolumes[group, name]
        return None

    def _filesystem(self, name: str, state: str) -> JsonObject:
        mds = {"gid_1": {"name": f"{name}-a", "rank": 0, "state": state}}
        ranks = {"max_mds": 1, "in": [0], "damaged": [], "flags": 18, "metadata_pool": 2, "data_pools": [3]}
        return {"id": 7, "mdsmap": {"fs_name": name, "info": mds, **ranks}}


def session(client: str, root: str, *, host: str = "", state: str = "open") -> JsonObject:
    """A client's session, as an MDS daemon tells of it: `client` is "10.0.0.1:0/123"."""
    address, _, nonce = client.partition("/")
    metadata = {"hostname": host, "root": root, "entity_id": "csi-cephfs-node"}
    addr = {"type": "v1", "addr": address, "nonce": int(nonce)}
    entity = {"name": {"type": "client", "num": 4305}, "addr": addr}
    return {"id": 4305, "entity": entity, "state": state, "client_metadata": metadata}


def client_of(session: JsonObject) -> str:
    address = session["entity"]["addr"]
    return f"{address['addr']}/{address['nonce']}"


def storage_class(provisioner: str = DRIVER, **parameters: str) -> StorageClass:
    given = {"clusterID": "rook-ceph", "fsName": "myfs", **parameters}
    return StorageClass(metadata=ObjectMeta(name="rook-cephfs"), provisioner=provisioner, parameters=given)


def backend(ceph: Ceph | None, *served: str, deleting: bool = False) -> CephfsBackend:
    """The backend of that cluster, in namespace rook-ceph; None: it has not been reached."""
    meta: JsonObject = {"namespace": "rook-ceph", "name": "c"}
    cluster = msgspec.convert({"metadata": meta, "spec": {}}, CephCluster)
    end = {"deletionTimestamp": "2027-01-15T08:00:00Z"} if deleting else {}
    spec = {"metadataPool": {}, "dataPools": [], "metadataServer": {"activeCount": 1}}
    filesystem = msgspec.convert({"metadata": {**meta, "name": "myfs", **end}, "spec": spec}, CephFilesystem)
    clusters: Any = SimpleNamespace(
        keys=lambda namespace: [("rook-ceph", "c")] if namespace in (None, "rook-ceph") else [],
        list=lambda namespace: [cluster] if namespace == "rook-ceph" else [],
    )
    filesystems: Any = SimpleNamespace(get=lambda *key: filesystem if key == ("rook-ceph", "myfs") else None)
    nothing: Any = SimpleNamespace(get=lambda *_: None)
    connections: Any = {"rook-ceph": ceph}
    return CephfsBackend(connections, clusters, filesystems, nothing, served or None, "rook")
