"""Where a cluster's own daemons are, and this operator: a fence around them would shut out what serves all others.

Daemons are clients, too: the active mgr and what mirrors images have connections to OSDs, and MDS daemons keep their
metadata there. One that is down counts for nothing: a node that is dead may be fenced though OSDs were on it.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from controller.ceph.access.blocklist import within
from controller.ceph.access.threads import Lane
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.ceph.access.rados import RadosCluster

OPERATOR = "this operator"
MAX_NAMED = 5
"""Daemons that are named."""
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|\d+\.\d+\.\d+\.\d+):\d+")
_SECONDS = 30.0

type Places = Mapping[str, frozenset[str]]
"""The addresses of each daemon, by what it is called: "osd.3"."""


async def places(cluster: RadosCluster) -> Places:
    """Where the daemons are that are up, and this operator.

    Raises:
        CephError: The mons do not answer in time.
    """
    mons = await cluster.mon("mon dump")
    mgrs = await cluster.mon("mgr dump")
    standbys = await cluster.mon("mgr metadata")
    osds = await cluster.mon("osd dump")
    of_osds = await cluster.mon("osd metadata")
    filesystems = await cluster.mon("fs dump")
    services = await cluster.mon("service dump")
    own = await cluster.use(lambda handle: str(handle.get_addrs()), lane=Lane.CONTROL, seconds=_SECONDS)
    up = frozenset(osd["osd"] for osd in osds["osds"] if osd["up"])
    found: dict[str, frozenset[str]] = {OPERATOR: frozenset(_addresses(own))}
    found |= {f"mon.{mon['name']}": frozenset(_addresses(mon)) for mon in mons["mons"]}
    found |= {f"mgr.{mgr['name']}": frozenset(_addresses(mgr)) for mgr in standbys}
    active = frozenset(_addresses([mgrs.get("active_addrs"), mgrs.get("active_addr"), mgrs.get("active_clients")]))
    found["the active mgr"] = active
    found |= {f"osd.{osd['id']}": frozenset(_addresses(osd)) for osd in of_osds if osd.get("id") in up}
    found |= {f"mds.{mds['name']}": frozenset(_addresses(mds)) for mds in _mdss(filesystems)}
    for kind, service in services["services"].items():
        daemons = service["daemons"].items()
        found |= {f"{kind}.{id_}": frozenset(_addresses(told)) for id_, told in daemons if isinstance(told, dict)}
    return found


def inside(range_: str, known: Places) -> str:
    """Those that are in a range, in words; empty: nobody is. Pure."""
    return some([name for name, addresses in sorted(known.items()) if within(range_, addresses)], MAX_NAMED)


def _mdss(dump: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from dump.get("standbys", ())
    for filesystem in dump.get("filesystems", ()):
        yield from filesystem["mdsmap"]["info"].values()


def _addresses(told: object) -> Iterator[str]:
    """All addresses in an answer, but for those of nobody, as of a daemon that is down."""
    for text in _texts(told):
        for found in (text, *(match.group(1).strip("[]") for match in _ADDRESS.finditer(text))):
            try:
                address = ip_address(found)
            except ValueError:
                continue
            if not address.is_unspecified:
                yield str(address)


def _texts(told: object) -> Iterable[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        for value in told.values():
            yield from _texts(value)
    elif isinstance(told, list):
        for value in told:
            yield from _texts(value)
