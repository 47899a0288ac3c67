"""A Ceph cluster's blocklist in memory, as the mons of 18.2.7 and 20.2.4 keep it when they are asked.

Ranges are kept by their own words; a second entry of the same words takes the place of the first; what is not there is
removed without an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_interface
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATOR = "operator"
FSID = "2bbfb82e-ffe1-432b-8031-02cb80b2dacf"


@dataclass(slots=True)
class Ceph:
    """A cluster. `by`: who made the entry of each range. `before`: called before each write of the operator's."""

    clock: Callable[[], float]
    ranges: dict[str, float] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)
    clients: set[str] = field(default_factory=set)
    writes: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    version: str = "ceph version 20.2.4 (7f79) tentacle (stable)"
    osds: dict[int, tuple[str, bool]] = field(default_factory=lambda: {0: ("10.0.9.1", True)})
    fsid: str = FSID

    @property
    def access(self) -> Any:
        """The way to it."""
        return SimpleNamespace(fsid=self.fsid)

    def add(self, range_: str, seconds: float, who: str) -> None:
        """Puts a range on the blocklist."""
        self.ranges[range_], self.by[range_] = self.clock() + seconds, who

    def remove(self, range_: str) -> None:
        """Takes a range off."""
        self.ranges.pop(range_, None)
        self.by.pop(range_, None)

    async def use(self, function: Callable[[Any], Any], **_: Any) -> Any:
        """See `controller.ceph.access.rados.RadosCluster.use`."""
        return function(SimpleNamespace(get_addrs=lambda: "10.0.9.9:0/77"))

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        """See `controller.ceph.access.rados.Cluster.mon`."""
        if prefix == "osd blocklist":
            self._change(args)
            return None
        return self._answers()[prefix]()

    def _change(self, args: dict[str, Any]) -> None:
        what = f"{args['blocklistop']} {args['addr']}"
        self.before(what)
        self.writes.append(what)
        if "range" not in args:
            assert args["blocklistop"] == "add", "no client is ever let in again"
            self.clients.add(args["addr"])
        elif args["blocklistop"] == "add":
            self.add(args["addr"], args["expire"], OPERATOR)
        else:
            self.remove(args["addr"])

    def _answers(self) -> dict[str, Callable[[], Any]]:
        return {
            "osd blocklist ls": self._blocklist,
            "versions": lambda: {"overall": {self.version: 3}},
            "mon dump": lambda: {"mons": [{"name": "a", "public_addr": "10.0.9.2:6789/0"}]},
            "mgr dump": lambda: {
                "active_addr": "10.0.9.3:6801/1",
                "active_addrs": {"addrvec": [{"type": "v2", "addr": "10.0.9.3:6800", "nonce": 1}]},
                "active_clients": [{"name": "rbd_support", "addrvec": [{"addr": "10.0.9.4:0", "nonce": 2}]}],
            },
            "mgr metadata": lambda: [{"name": "b", "addr": "fd00::9", "addrs": "[fd00::9]:0/3"}],
            "osd dump": lambda: {"osds": [{"osd": i, "up": up} for i, (_, up) in self.osds.items()]},
            "osd metadata": lambda: [
                {"id": i, "front_addr": f"[v2:{a}:6802/3,v1:{a}:6803/3]", "hb_back_addr": "[v2:0.0.0.0:0/0]"}
                for i, (a, _) in self.osds.items()
            ],
            "fs dump": lambda: {
                "standbys": [{"name": "s", "addr": "10.0.9.5:6811/1"}],
                "filesystems": [{"mdsmap": {"info": {"gid_1": {"name": "m", "addr": "10.0.9.6:6811/1"}}}}],
            },
            "service dump": lambda: {
                "services": {"rbd-mirror": {"daemons": {"summary": "", "4": {"addr": "10.0.9.7:0/1"}}}}
            },
        }

    def _blocklist(self) -> str:
        clients = [{"addr": client, "until": _time(self.clock() + 1)} for client in sorted(self.clients)]
        ranges = [{"range": _words(r), "until": _time(until)} for r, until in self.ranges.items()]
        return f"{json.dumps(clients)}{json.dumps(ranges)}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def _words(range_: str) -> str:
    found = ip_interface(range_)
    address = f"[{found.ip}]" if found.version == 6 else str(found.ip)
    return f"{address}:0/{found.network.prefixlen}"
