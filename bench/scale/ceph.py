"""A simulated Ceph cluster in the place of librados: it answers what the operator asks, at the size of a real cluster.

The operator's own code does everything else: its connections, threads and decoding are the real ones.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from controller.ceph.access.rados import CephError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OSDS_PER_NODE = 20
VERSION = "ceph version 18.2.7 (0000) reef (stable)"


def node_name(index: int) -> str:
    """The name of a storage node."""
    return f"node-{index:04d}"


@dataclass
class SimulatedCeph:
    """A cluster of so many OSDs, which is as well as can be.

    Attributes:
        osds: How many OSDs it has.
        mons: Tells the mons in quorum, by id, with their addresses.
        asked: How often each command was asked.
    """

    osds: int
    mons: Callable[[], Mapping[str, str]]
    asked: Counter[str] = field(default_factory=Counter)
    config: dict[tuple[str, str], str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.uuids = [str(uuid.UUID(int=number + 1)) for number in range(self.osds)]
        # Made once: the simulation must cost nothing while the operator is measured.
        self._long = {
            "osd dump": orjson.dumps(self._osd_dump()),
            "osd tree": orjson.dumps({"nodes": self._tree(), "stray": []}),
            "osd crush rule dump": orjson.dumps([RULE]),
        }

    def install(self) -> None:
        """Puts the simulation in the place of the system's librados."""
        simulation = self

        class Rados:
            def __init__(self, **_: object) -> None: ...

            def connect(self) -> None: ...

            def shutdown(self) -> None: ...

            def mon_command(self, command: str, _: bytes, __: int) -> tuple[int, bytes, str]:
                try:
                    return 0, simulation.answer(json.loads(command)), ""
                except CephError as error:
                    return -error.errno, b"", error.message

            mgr_command = mon_command

        module = ModuleType("rados")
        module.Rados = Rados  # type: ignore[attr-defined]
        sys.modules["rados"] = module

    def answer(self, command: dict[str, Any]) -> bytes:
        """What the cluster answers to a command."""
        prefix = command["prefix"]
        self.asked[prefix] += 1
        if prefix in self._long:
            return self._long[prefix]
        found = self._short(prefix, command)
        return b"" if found is None else orjson.dumps(found)

    def _short(self, prefix: str, command: dict[str, Any]) -> Any:
        match prefix:
            case "quorum_status" | "mon dump":
                return self._quorum()
            case "status":
                return self._status()
            case "mgr dump":
                standbys = [{"name": "b"}]
                return {"active_name": "a", "available": True, "standbys": standbys, "modules": ["prometheus"]}
            case "versions":
                counts = {"mon": {VERSION: 3}, "mgr": {VERSION: 2}, "osd": {VERSION: self.osds}}
                return {**counts, "overall": {VERSION: self.osds + 5}}
            case "config dump":
                return [{"section": who, "name": name, "value": v} for (who, name), v in self.config.items()]
            case "config set":
                self.config[command["who"], command["name"]] = command["value"]
            case "config-key dump":
                return {key: value for key, value in self.keys.items() if key.startswith(command["key"])}
            case "config-key set":
                self.keys[command["key"]] = command["val"]
            case "auth get-or-create" | "auth get":
                return [{"entity": command["entity"], "key": "AQ==", "caps": {}}]
            case "osd crush class ls":
                return ["hdd"]
            case "osd count-metadata":
                return {{"ceph_release": "reef", "osd_objectstore": "bluestore"}[command["property"]]: self.osds}
        return None

    def _quorum(self) -> dict[str, Any]:
        mons = [
            {"name": name, "public_addrs": {"addrvec": [{"type": "v2", "addr": f"{address}:3300", "nonce": 0}]}}
            for name, address in self.mons().items()
        ]
        return {
            "quorum_names": [m["name"] for m in mons],
            "monmap": {"epoch": 1, "mons": mons},
            "fsid": "",
            "mons": mons,
        }

    def _status(self) -> dict[str, Any]:
        number, size = self.osds, 10 << 40
        return {
            "fsid": "",
            "health": {"status": "HEALTH_OK", "checks": {}},
            "election_epoch": 4,
            "quorum_names": list(self.mons()),
            "monmap": {"epoch": 1, "num_mons": 3},
            "osdmap": {"epoch": 1000, "num_osds": number, "num_up_osds": number, "num_in_osds": number},
            "pgmap": {"bytes_total": number * size, "bytes_used": number, "bytes_avail": number * (size - 1)},
            "mgrmap": {"available": True, "num_standbys": 1, "modules": ["prometheus"]},
        }

    def _osd_dump(self) -> dict[str, Any]:
        return {
            "epoch": 1000,
            "max_osd": self.osds,
            "require_osd_release": "reef",
            "crush_node_flags": {},
            "pools": [],
            "osds": [
                {
                    "osd": number,
                    "uuid": self.uuids[number],
                    "up": 1,
                    "in": 1,
                    "weight": 1.0,
                    "primary_affinity": 1.0,
                    **dict.fromkeys(TIMES, 0),
                    **{f"{name}_addrs": {"addrvec": [ADDRESS, ADDRESS]} for name in ADDRESSES},
                    **{f"{name}_addr": ADDRESS["addr"] for name in ADDRESSES},
                    "state": ["exists", "up"],
                }
                for number in range(self.osds)
            ],
        }

    def _tree(self) -> list[dict[str, Any]]:
        hosts = range(-(-self.osds // OSDS_PER_NODE))
        root = {"id": -1, "name": "default", "type": "root", "type_id": 11, "children": [-2 - host for host in hosts]}
        found: list[dict[str, Any]] = [root]
        for host in hosts:
            below = range(host * OSDS_PER_NODE, min((host + 1) * OSDS_PER_NODE, self.osds))
            found.append(
                {"id": -2 - host, "name": node_name(host), "type": "host", "type_id": 1, "children": list(below)}
            )
            found += [
                {
                    "id": number,
                    "device_class": "hdd",
                    "name": f"osd.{number}",
                    "type": "osd",
                    "type_id": 0,
                    "crush_weight": 10.0,
                    "depth": 2,
                    "exists": 1,
                    "status": "up",
                    "reweight": 1.0,
                    "primary_affinity": 1.0,
                }
                for number in below
            ]
        return found


TIMES = ("last_clean_begin", "last_clean_end", "up_from", "up_thru", "down_at", "lost_at")
ADDRESSES = ("public", "cluster", "heartbeat_back", "heartbeat_front")
ADDRESS = {"type": "v2", "addr": "10.0.0.1:6800", "nonce": 123456789}
RULE = {
    "rule_id": 0,
    "rule_name": "replicated_rule",
    "type": 1,
    "steps": [
        {"op": "take", "item": -1, "item_name": "default"},
        {"op": "chooseleaf_firstn", "num": 0, "type": "host"},
        {"op": "emit"},
    ],
}
