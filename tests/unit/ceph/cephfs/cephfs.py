"""A Ceph cluster in memory, as far as subvolumes go: mons and mgr answer as those of Ceph 18.2 do.

https://docs.ceph.com/en/reef/cephfs/fs-volumes/. Copies go on by `Ceph.work`, as far as a test lets them.
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
from controller.framework.settings import Served
from controller.runtime.kube import ObjectMeta, StorageClass

if TYPE_CHECKING:
    from informers import JsonObject

DRIVER = "rook-ceph.cephfs.csi.ceph.com"
UID = "11111111-2222-3333-4444-555555555555"
NAME = f"csi-vol-{UID}"
HANDLE = f"0001-0009-rook-ceph-0000000000000007-{UID}"

PENDING, RUNNING, COMPLETE, FAILED, CANCELED = "pending", "in-progress", "complete", "failed", "canceled"
RETAINED = "snapshot-retained"

type Key = tuple[str, str]
"""Group and name of a subvolume."""


@dataclass
class Subvolume:
    """A directory with a quota in bytes; None: without.

    Attributes:
        data: What is in it; it counts as content, whatever it is.
        snapshots: By name, what each has.
        origin: The subvolume and snapshot that it is a copy of, while it is being made.
    """

    quota: int | None
    mode: str
    pool: str = "myfs-data0"
    snapshots: dict[str, Point] = field(default_factory=dict)
    data: str = ""
    state: str = COMPLETE
    is_clone: bool = False
    origin: tuple[Key, str] | None = None
    retains: bool = True


@dataclass(frozen=True)
class Point:
    """What a snapshot has."""

    data: str = ""
    quota: int | None = None
    mode: str = "777"
    created: str = "2027-01-15 08:00:00.123456"


class Ceph:
    """A cluster with file system myfs, number 7.

    Args:
        step: Entered for each command that changes something: it may die before or after.
    """

    def __init__(self, step: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self.step = step
        self.filesystems = {"myfs": "up:active"}
        self.groups = {"csi", "team"}
        self.subvolumes: dict[Key, Subvolume] = {}
        self.down = 0
        self.fenced: list[str] = []
        self.asked: list[str] = []
        self.questions = 0
        """How often mons and mgr were asked for anything."""
        self.max_clones, self.max_snaps = 4, 100
        self.free = {"myfs-metadata": 500, "myfs-data0": 1000, "other": 7}
        """By pool, the bytes that can be written."""
        self.waits = True
        """Whether it begins no more copies than it works on, as since 18.2.4."""
        self.names_copies = True
        self.most_running = 0
        self.cancelling: set[Key] = set()
        """Copies that are to be stopped."""
        self.sessions: list[JsonObject] = []
        self.evicts = True
        """Whether MDS daemons follow the blocklist."""

    def path(self, group: str, name: str) -> str:
        return f"/volumes/{group}/{name}/0e81e9b4-61a5-4b20-b2a2-7e39ec1f6cd1"

    def listed(self) -> list[str]:
        return [name for _, name in sorted(self.subvolumes)]

    def copying(self) -> list[Key]:
        return [key for key, found in self.subvolumes.items() if found.state in (PENDING, RUNNING)]

    def work(self, *, to: str = COMPLETE) -> None:
        """Works on copies: those that wait begin, as many as may, and those that were under way come to an end."""
        for key in self.copying():
            found = self.subvolumes[key]
            if found.state == RUNNING and found.origin is not None:
                (source, snapshot), found.state = found.origin, to
                point = self.subvolumes[source].snapshots[snapshot]
                if to == COMPLETE:
                    found.data, found.quota, found.origin = point.data, point.quota, None
        for key in self.copying():
            if self._running() < self.max_clones:
                self.subvolumes[key].state = RUNNING
        self.most_running = max(self.most_running, self._running())

    def _running(self) -> int:
        return sum(found.state == RUNNING for found in self.subvolumes.values())

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        self.questions += 1
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
        if prefix == "config get":
            values = {"mgr mgr/volumes/max_concurrent_clones": self.max_clones, "mds mds_max_snaps_per_dir": 100}
            return values[f"{args['who']} {args['key']}"]
        if prefix == "df":
            named = zip((2, 3, 4), ("myfs-metadata", "myfs-data0", "other"), strict=True)
            return {"pools": [{"name": n, "id": i, "stats": {"max_avail": self.free[n]}} for i, n in named]}
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
        self.questions += 1
        if self.down:
            raise CephError(self.down, "no answer")
        group = args["group_name"]
        if group not in self.groups:
            raise CephError(errno.ENOENT, f"subvolume group '{group}' does not exist")
        key = (group, args.get("sub_name") or args["clone_name"])
        if prefix == "fs subvolume create":
            with self.step():
                # An old one gets what a new one would have.
                old = self.subvolumes.get(key, Subvolume(None, ""))
                layout = args.get("pool_layout", "myfs-data0")
                self.subvolumes[key] = Subvolume(args["size"], args["mode"], layout, old.snapshots)
            return None
        found = self.subvolumes.get(key)
        if found is None:
            raise CephError(errno.ENOENT, f"subvolume '{key[1]}' does not exist")
        commands: dict[str, Callable[[Key, Subvolume, dict[str, Any]], Any]] = {
            "fs subvolume info": self._info,
            "fs subvolume resize": self._resize,
            "fs subvolume rm": self._remove,
            "fs subvolume snapshot ls": lambda key, found, args: [{"name": name} for name in found.snapshots],
            "fs subvolume snapshot create": self._snap,
            "fs subvolume snapshot info": self._snap_info,
            "fs subvolume snapshot rm": self._snap_remove,
            "fs subvolume snapshot clone": self._clone,
            "fs clone status": self._clone_status,
            "fs clone cancel": self._clone_cancel,
        }
        return commands[prefix](key, found, args)

    def _ready(self, key: Key, found: Subvolume, operation: str) -> None:
        if found.state == RETAINED:
            raise CephError(errno.ENOENT, f"subvolume '{key[1]}' is removed and has only snapshots retained")
        if found.state != COMPLETE:
            raise CephError(errno.EAGAIN, f"subvolume '{key[1]}' is not ready for operation {operation}")

    def _info(self, key: Key, found: Subvolume, args: dict[str, Any]) -> Any:
        features = ["snapshot-clone", "snapshot-autoprotect", *(["snapshot-retention"] if found.retains else [])]
        if found.state == RETAINED:
            return {"type": "subvolume", "features": features, "state": RETAINED}
        self._ready(key, found, "info")
        quota = "infinite" if found.quota is None else found.quota
        return {"path": self.path(*key), "bytes_quota": quota, "state": found.state, "features": features}

    def _resize(self, key: Key, found: Subvolume, args: dict[str, Any]) -> Any:
        self._ready(key, found, "resize")
        with self.step():
            assert args["no_shrink"] is True
            found.quota = int(args["new_size"])
        return [{"bytes_used": 0}, {"bytes_quota": found.quota}, {"bytes_pcent": "0.00"}]

    def _remove(self, key: Key, found: Subvolume, args: dict[str, Any]) -> None:
        force = args.get("force", False)
        if found.state in (PENDING, RUNNING) or (found.state in (FAILED, CANCELED) and not force):
            raise CephError(errno.EAGAIN, f"subvolume '{key[1]}' is not ready for operation rm (use --force)")
        if found.snapshots and not args.get("retain_snapshots"):
            raise CephError(errno.ENOTEMPTY, f"subvolume '{key[1]}' has snapshots")
        with self.step():
            if found.snapshots:
                assert found.retains
                found.state, found.data = RETAINED, ""
            else:
                del self.subvolumes[key]

    def _snap(self, key: Key, found: Subvolume, args: dict[str, Any]) -> None:
        self._ready(key, found, "snapshot create")
        if args["snap_name"] in found.snapshots:
            raise CephError(errno.EEXIST, "File exists")
        if len(found.snapshots) >= self.max_snaps:
            raise CephError(errno.EMLINK, "Too many links")
        with self.step():
            found.snapshots[args["snap_name"]] = Point(found.data, found.quota, found.mode)

    def _copies(self, key: Key, snapshot: str) -> list[Key]:
        return [copy for copy in self.copying() if self.subvolumes[copy].origin == (key, snapshot)]

    def _there(self, found: Subvolume, name: str) -> None:
        if name not in found.snapshots:
            raise CephError(errno.ENOENT, f"snapshot '{name}' does not exist")

    def _snap_info(self, key: Key, found: Subvolume, args: dict[str, Any]) -> Any:
        self._there(found, args["snap_name"])
        info: dict[str, Any] = {"created_at": found.snapshots[args["snap_name"]].created, "has_pending_clones": "no"}
        if copies := self._copies(key, args["snap_name"]):
            info["has_pending_clones"] = "yes"
            if self.names_copies:
                info["pending_clones"] = [
                    {"name": name, **({"target_group": group} if group != key[0] else {})} for group, name in copies
                ]
        return info

    def _snap_remove(self, key: Key, found: Subvolume, args: dict[str, Any]) -> None:
        self._there(found, args["snap_name"])
        if self._copies(key, args["snap_name"]):
            raise CephError(errno.EAGAIN, f"snapshot '{args['snap_name']}' has pending clones")
        with self.step():
            del found.snapshots[args["snap_name"]]
        if found.state == RETAINED and not found.snapshots:
            with self.step():
                del self.subvolumes[key]

    def _clone(self, key: Key, found: Subvolume, args: dict[str, Any]) -> None:
        if self.waits and len(self.copying()) >= self.max_clones:
            raise CephError(errno.EAGAIN, "all cloner threads are busy, please try again later")
        self._there(found, args["snap_name"])
        target = (args["target_group_name"], args["target_sub_name"])
        if target[0] not in self.groups:
            raise CephError(errno.ENOENT, f"subvolume group '{target[0]}' does not exist")
        if target in self.subvolumes:
            raise CephError(errno.EEXIST, f"subvolume '{target[1]}' exists")
        point = found.snapshots[args["snap_name"]]
        with self.step():
            self.subvolumes[target] = Subvolume(
                None,
                point.mode,
                args.get("pool_layout", found.pool),
                state=PENDING,
                is_clone=True,
                origin=(key, args["snap_name"]),
            )

    def _clone_status(self, key: Key, found: Subvolume, args: dict[str, Any]) -> Any:
        if not found.is_clone:
            raise CephError(errno.EOPNOTSUPP, "operation 'clone-status' is not allowed on subvolume of type subvolume")
        status: dict[str, Any] = {"state": found.state}
        if found.state == FAILED:
            status["failure"] = {"errno": "28", "error_msg": "No space left on device"}
        if found.state == RUNNING:
            status["progress_report"] = {"percentage cloned": "12.24%", "amount cloned": "376M/3.0G"}
        return {"status": status}

    def _clone_cancel(self, key: Key, found: Subvolume, args: dict[str, Any]) -> None:
        if found.state not in (PENDING, RUNNING):
            raise CephError(errno.EINVAL, "cannot cancel -- clone finished (check clone status)")
        with self.step():
            if found.state == PENDING:
                found.state, found.origin = CANCELED, None
            else:  # whoever copies it sees this later
                self.cancelling.add(key)

    def stop(self) -> None:
        """Stops the copies that are to be stopped."""
        for key in self.cancelling & set(self.copying()):
            self.subvolumes[key].state, self.subvolumes[key].origin = CANCELED, None
        self.cancelling.clear()

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
    namespaces = Served(named=served or ("rook-ceph",), everywhere=not served)
    return CephfsBackend(connections, clusters, filesystems, nothing, namespaces, "rook")
