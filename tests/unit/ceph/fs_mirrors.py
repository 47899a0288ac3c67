"""Clusters whose file systems are mirrored with each other, as mons and mgr show them; nothing is copied.

What the mgr refuses, it refuses here: see `mirroring/fs/snapshot_mirror.py` and `snap_schedule/fs/schedule.py` of Ceph.
"""

from __future__ import annotations

import base64
import errno
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.filesystem.mirroring.observe import ENABLED, MODULE, MirroringObservation
from controller.ceph.filesystem.mirroring.schedules import MODULE as SCHEDULING
from controller.ceph.mirroring import tokens
from controller.ceph.mirroring.objects import peer_user
from controller.ceph.mirroring.sources import Offer, Source
from controller.framework.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.filesystem.mirroring.wanted import Wanted
    from controller.ceph.mirroring.tokens import Token
    from informers import JsonObject

FSIDS = {"a": "5f6a64d9-1b6c-4d0a-9b0e-1f6a1f3c2a10", "b": "770687f1-9c84-4010-8018-2a4e8f74eb9f"}
ON = frozenset({MODULE, SCHEDULING})
NAME = "myfs"


def a_token(site: str, *, key: str = "key-1", host: str = "", filesystem: str = NAME) -> Token:
    """The token of a file system of another cluster."""
    text = tokens.for_files(
        fsid=FSIDS[site],
        user=peer_user(filesystem),
        key=key,
        mon_host=host or f"[v2:10.0.0.{ord(site)}:3300]",
        filesystem=filesystem,
    )
    return tokens.read({tokens.TOKEN_KEY: text.encode()})


def seen(wanted: Wanted, token: Token, **fields: Any) -> MirroringObservation:
    """What there is where a file system is mirrored with that of a token, and nothing else is asked for."""
    found: dict[str, Any] = {
        "fsid": FSIDS["a"],
        "modules": ON,
        "owned": {ENABLED: Owned("true", "")},
        "ways": {"u1": token.way_digest},
        "sources": tuple(Source(name, token) for name in wanted.secrets),
        "offer": Offer("s1", current=True),
        "live": (),
        "directories": (),
        "daemons": (),
        **fields,
    }
    return MirroringObservation(**found)


class Site:
    """A cluster with one file system: what its mons and its mgr answer."""

    def __init__(self, name: str, network: dict[str, Site]) -> None:
        self.fsid, self.network = FSIDS[name], network
        self.host = f"[v2:10.0.0.{ord(name)}:3300]"
        network[self.host] = self
        self.mirrored = self.down = self.mgr_down = False
        self.peers: dict[str, JsonObject] = {}
        self.mark = ""
        """Which cluster mirrors into the file system: its attribute `ceph.mirror.info`."""
        self.modules: set[str] = set()
        self.keys: dict[str, str] = {}
        self.users: dict[str, JsonObject] = {}
        self.config: dict[str, str] = {}
        self.directories: list[str] = []
        self.rows: list[JsonObject] = []
        self.kept: dict[str, dict[str, int]] = {}
        self.daemons: list[JsonObject] = []
        self.commands: list[str] = []
        self._numbers = itertools.count(1)

    def rotate(self) -> None:
        """Gives the user that others come with another key."""
        self.users[peer_user(NAME)]["key"] = f"key-{next(self._numbers)}"

    def move(self) -> None:
        """Gives the mons other addresses."""
        del self.network[self.host]
        self.host = f"[v2:10.1.0.{next(self._numbers)}:3300]"
        self.network[self.host] = self

    def asked(self) -> list[str]:
        """The commands that changed something since the last time, without those of records."""
        found, self.commands = self.commands, []
        return [one for one in found if not one.startswith("config-key")]

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        if self.down:
            raise CephError(errno.ETIMEDOUT, "no answer")
        match prefix:
            case "config-key dump":
                return {key: value for key, value in self.keys.items() if key.startswith(args["key"])}
            case "mon dump":
                address = {"type": "v2", "addr": self.host.removeprefix("[v2:").removesuffix("]")}
                return {"fsid": self.fsid, "mons": [{"public_addrs": {"addrvec": [address]}}]}
            case "mgr dump":
                return {"modules": sorted(self.modules), "always_on_modules": {"reef": ["volumes"]}}
            case "fs dump":
                return {"filesystems": [self._map()], "standbys": []}
            case "auth get":
                if args["entity"] not in self.users:
                    raise CephError(errno.ENOENT, "no such user")
                return [self.users[args["entity"]]]
        self.commands.append(prefix)
        return self._written(prefix, args)

    def _written(self, prefix: str, args: JsonObject) -> Any:
        match prefix:
            case "config-key set":
                self.keys[args["key"]] = args["val"]
            case "config-key rm":
                self.keys.pop(args["key"], None)
            case "config set":
                self.config[args["name"]] = args["value"]
            case "mgr module enable":
                self.modules.add(args["module"])
            case "auth get-or-create":
                caps = dict(zip(args["caps"][::2], args["caps"][1::2], strict=True))
                made = {"key": f"key-{next(self._numbers)}", "caps": caps}
                return [self.users.setdefault(args["entity"], made)]
            case "auth rm":
                self.users.pop(args["entity"], None)
            case "fs mirror peer_remove":
                self.peers.pop(args["uuid"], None)
            case _:
                raise AssertionError(prefix)
        return None

    def _map(self) -> JsonObject:
        mds_map: JsonObject = {
            "fs_name": NAME,
            "max_mds": 1,
            "flags": 0,
            "in": [0],
            "damaged": [],
            "info": {"gid_1": {"name": "myfs-a", "rank": 0, "state": "up:active"}},
            "metadata_pool": 1,
            "data_pools": [2],
        }
        mirror = {"mirror_info": {"peers": self.peers}} if self.mirrored else {}
        return {"id": 1, "mdsmap": mds_map, **mirror}

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        if self.mgr_down:
            raise CephError(errno.ETIMEDOUT, "no mgr answers")
        module, _, verb = prefix.removeprefix("fs ").partition(" ")
        if (SCHEDULING if module == "snap-schedule" else MODULE) not in self.modules:
            raise CephError(errno.ENOTSUP, f"Module of {prefix} is not enabled")
        reads: dict[str, Callable[[JsonObject], Any]] = {
            "status": self._status,
            "mirror ls": self._listed,
            "mirror daemon status": lambda _: self.daemons,
        }
        if verb in reads:
            return reads[verb](args)
        self.commands.append(prefix)
        writes: dict[str, Callable[[JsonObject], Any]] = {
            "mirror enable": self._enable,
            "mirror disable": self._disable,
            "mirror peer_bootstrap import": self._import,
            "mirror peer_remove": self._remove,
            "mirror add": self._add_directory,
            "mirror remove": self._remove_directory,
            "add": self._add,
            "remove": self._remove_schedule,
            "retention add": self._retain,
            "retention remove": self._release,
        }
        return writes[verb](args)

    def _enable(self, _: JsonObject) -> None:
        self.mirrored = True

    def _disable(self, _: JsonObject) -> None:
        self.mirrored, self.peers = False, {}

    def _mirrored(self) -> None:
        if not self.mirrored:
            raise CephError(errno.EINVAL, f"filesystem {NAME} is not mirrored")

    def _reach(self, way: JsonObject, user: str) -> Site:
        remote = self.network.get(way["mon_host"])
        if remote is None or remote.users.get(user, {}).get("key") != way["key"]:
            raise CephError(errno.ETIMEDOUT, "failed to add peer")
        return remote

    def _import(self, args: JsonObject) -> None:
        self._mirrored()
        way = json.loads(base64.b64decode(args["token"]))
        user, site, filesystem = way.pop("user"), way.pop("site_name"), way.pop("filesystem")
        found = {"client_name": user, "cluster_name": site, "fs_name": filesystem}
        if any(peer["remote"] == found for peer in self.peers.values()):
            return
        remote = self._reach(way, user)
        if remote.mark not in ("", self.fsid):
            raise CephError(errno.EEXIST, "already an active peer")
        if self.mark == remote.fsid:
            raise CephError(errno.EINVAL, "file system is an active peer for file system: myfs")
        remote.mark = self.fsid
        uuid = f"u{next(self._numbers)}"
        self.peers[uuid] = {"remote": found}
        self.keys[f"cephfs/mirror/peer/{NAME}/{uuid}"] = json.dumps(way)

    def _remove(self, args: JsonObject) -> None:
        self._mirrored()
        uuid = args["peer_uuid"]
        if uuid not in self.peers:
            return
        key = f"cephfs/mirror/peer/{NAME}/{uuid}"
        self._reach(json.loads(self.keys[key]), self.peers[uuid]["remote"]["client_name"]).mark = ""
        del self.peers[uuid], self.keys[key]

    def _listed(self, _: JsonObject) -> list[str]:
        self._mirrored()
        return self.directories

    def _add_directory(self, args: JsonObject) -> None:
        self._mirrored()
        if args["path"] in self.directories:
            raise CephError(errno.EEXIST, f"directory {args['path']} is already tracked")
        self.directories.append(args["path"])

    def _remove_directory(self, args: JsonObject) -> None:
        self._mirrored()
        if args["path"] not in self.directories:
            raise CephError(errno.ENOENT, f"directory {args['path']} id not tracked")
        self.directories.remove(args["path"])

    def _status(self, args: JsonObject) -> list[JsonObject]:
        return [{**row, "retention": self.kept[row["path"]]} for row in self.rows if row["path"] == args["path"]]

    def _add(self, args: JsonObject) -> str:
        if args["snap_schedule"].endswith("m") and self.config.get("mgr/snap_schedule/allow_m_granularity") != "true":
            raise CephError(errno.ENOENT, "invalid schedule specified - multiplier should be one of h,d,w,M,y")
        row = {"path": args["path"], "schedule": args["snap_schedule"], "start": args["start"]}
        if any({**found, **row} == found for found in self.rows):
            raise CephError(errno.EEXIST, "Found existing schedule")
        self.rows.append({"fs": NAME, "rel_path": args["path"], "subvol": None, "active": True, "first": None, **row})
        self.kept.setdefault(args["path"], {})
        return "Schedule set"

    def _remove_schedule(self, args: JsonObject) -> str:
        row = {"path": args["path"], "schedule": args["repeat"], "start": args["start"]}
        found = [one for one in self.rows if {**one, **row} == one]
        if not found:
            raise CephError(errno.ENOENT, "No schedule found")
        self.rows.remove(found[0])
        if not self._status(args):
            del self.kept[args["path"]]
        return "Schedule removed"

    def _counts(self, args: JsonObject) -> tuple[dict[str, int], dict[str, int]]:
        if args["path"] not in self.kept:
            raise CephError(errno.ENOENT, "No schedule found")
        spec = re.findall(r"(\d+)([nmhdwMy])", args["retention_spec_or_period"])
        return self.kept[args["path"]], {period: int(count) for count, period in spec}

    def _retain(self, args: JsonObject) -> None:
        kept, counts = self._counts(args)
        if kept.keys() & counts.keys():
            raise CephError(errno.EIO, "Retention is already present")
        kept.update(counts)

    def _release(self, args: JsonObject) -> None:
        kept, counts = self._counts(args)
        if not counts.items() <= kept.items():
            raise CephError(errno.ENOENT, "Retention was not set")
        for period in counts:
            del kept[period]
