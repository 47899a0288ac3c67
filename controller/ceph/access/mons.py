"""Who a cluster's mons are: the ConfigMap `rook-ceph-mon-endpoints`, and what the mons themselves say.

The ConfigMap has upstream's form, which other tools read: https://rook.io/docs/rook/latest/Troubleshooting/disaster-recovery/
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import mon_hosts
from controller.ceph.pods import Daemon

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph.network import NetworkSpec

ENDPOINTS = "rook-ceph-mon-endpoints"
PORT_V1 = 6789
PORT_V2 = 3300


@dataclass(frozen=True, slots=True)
class Mon:
    """A member: its id ("a"), its address, the node it is bound to (empty: none), and where its data is.

    One that is bound to no node has its data on a claim, one with `on_claim` too: its address is the node's.
    """

    id: str
    address: str
    node: str = ""
    hostname: str = ""
    on_claim: bool = False

    @property
    def daemon(self) -> Daemon:
        """The same as a daemon."""
        return Daemon(type="mon", id=self.id)

    @property
    def has_claim(self) -> bool:
        """Whether its data is on a claim; else it is in `dataDirHostPath` of its node."""
        return not self.node or self.on_claim


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The members, and the number of the newest id ever given to one: ids are not used again."""

    mons: tuple[Mon, ...] = ()
    max_id: int = -1

    def get(self, mon_id: str) -> Mon | None:
        """The member of that id, or None."""
        return next((m for m in self.mons if m.id == mon_id), None)

    @property
    def ids(self) -> tuple[str, ...]:
        """The members' ids."""
        return tuple(m.id for m in self.mons)

    def with_mon(self, mon: Mon) -> Endpoints:
        """These and `mon`."""
        return Endpoints((*self.mons, mon), max(self.max_id, id_number(mon.id)))

    def without(self, mon_id: str) -> Endpoints:
        """These but for one."""
        return Endpoints(tuple(m for m in self.mons if m.id != mon_id), self.max_id)


@dataclass(frozen=True, slots=True)
class MonState:
    """What the mons themselves say: who is in their map, with addresses, and who is in quorum.

    `ciphers`: types of keys, by what the map says of them; empty before Ceph 19.2.6 and 20.2.4, which know one only.
    """

    monmap: Mapping[str, str]
    in_quorum: frozenset[str]
    ciphers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> MonState:
        """From the answer to `quorum_status`."""
        monmap = {mon["name"]: _address(mon) for mon in answer["monmap"]["mons"]}
        ciphers = {name: _names(value) for name, value in answer["monmap"].items() if "_cipher" in name}
        return cls(monmap=monmap, in_quorum=frozenset(answer["quorum_names"]), ciphers=ciphers)

    def keeps_quorum_without(self, *mon_ids: str) -> bool:
        """Whether those in quorum, but for `mon_ids`, are a majority once these have left the map."""
        rest = set(self.monmap).difference(mon_ids)
        return len(self.in_quorum & rest) > len(rest) // 2


def id_number(mon_id: str) -> int:
    """The number of an id: a is 0, z is 25, aa is 26."""
    number = 0
    for letter in mon_id:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


def id_name(number: int) -> str:
    """The id of a number; the reverse of `id_number`."""
    name = ""
    number += 1
    while number > 0:
        number, letter = divmod(number - 1, 26)
        name = chr(ord("a") + letter) + name
    return name


def parse_endpoints(data: Mapping[str, str]) -> Endpoints:
    """The members that the ConfigMap's data names, be it ours or upstream's.

    Raises:
        ValueError: It cannot be read.
    """
    nodes = json.loads(data.get("mapping") or "{}").get("node") or {}
    mons: list[Mon] = []
    for entry in filter(None, data.get("data", "").split(",")):
        mon_id, equals, address = entry.partition("=")
        if not equals:
            raise ValueError(f'ConfigMap {ENDPOINTS} has {entry!r} in key "data": expected "a=10.0.0.1:6789,…"')
        node = nodes.get(mon_id) or {}
        host = address.rpartition(":")[0].strip("[]")
        mons.append(Mon(mon_id, host, node.get("Name", ""), node.get("Hostname", ""), bool(node.get("Claim"))))
    max_id = int(data.get("maxMonId") or -1)
    return Endpoints(tuple(mons), max([max_id, *(id_number(m.id) for m in mons)]))


def render_endpoints(endpoints: Endpoints, namespace: str, network: NetworkSpec) -> dict[str, str]:
    """The data of the ConfigMap in a cluster's namespace, in upstream's form, which other tools read."""
    port = PORT_V2 if requires_msgr2(network) else PORT_V1
    addresses = {m.id: f"[{m.address}]:{port}" if ":" in m.address else f"{m.address}:{port}" for m in endpoints.mons}
    nodes = {m.id: _place(m) for m in endpoints.mons}
    csi = [
        {
            "clusterID": namespace,
            "monitors": list(addresses.values()),
            "namespace": namespace,
        }
    ]
    return {
        "data": ",".join(f"{mon_id}={address}" for mon_id, address in addresses.items()),
        "maxMonId": str(endpoints.max_id),
        "mapping": json.dumps({"node": nodes}, separators=(",", ":")),
        "csi-cluster-config-json": json.dumps(csi, separators=(",", ":")),
    }


def _place(mon: Mon) -> dict[str, str] | None:
    if not mon.node:
        return None
    # The last key is ours; upstream does not know it, and leaves it alone.
    claim = {"Claim": mon.daemon.name} if mon.on_claim else {}
    return {"Name": mon.node, "Hostname": mon.hostname, "Address": mon.address, **claim}


def requires_msgr2(network: NetworkSpec) -> bool:
    """Whether mons speak the second protocol version only: asked for, or needed for encryption or compression."""
    connections = network.connections
    return connections.require_msgr2 or connections.encryption.enabled or connections.compression.enabled


def hosts(network: NetworkSpec, endpoints: Endpoints) -> tuple[str, ...]:
    """The members' addresses as the option `mon_host` lists them."""
    return mon_hosts([m.address for m in endpoints.mons], msgr2_only=requires_msgr2(network))


def _names(value: Any) -> tuple[str, ...]:
    found = value if isinstance(value, list) else [value]
    return tuple(cipher["name"] for cipher in found if isinstance(cipher, dict))


def _address(mon: Mapping[str, Any]) -> str:
    vector = mon.get("public_addrs", {}).get("addrvec") or ()
    text = str(vector[0]["addr"]) if vector else str(mon.get("addr", ""))
    return text.partition("/")[0].rpartition(":")[0].strip("[]")
