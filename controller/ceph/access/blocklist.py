"""The OSDs' blocklist: clients, and ranges of addresses, that may not read or write.

An entry of a range says nothing of who made it, only until when it holds. Ceph keeps ranges as they were written:
10.0.0.7/24 and 10.0.0.0/24 are two entries, and each is removed by its own words.
Source: https://docs.ceph.com/en/latest/rados/operations/control/ (`osd blocklist`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from controller.ceph.access.clients import address_of, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.ceph.access.rados import Cluster

FENCE_SECONDS = 5 * 365 * 24 * 3600
"""How long an entry holds, as Ceph has none without an end; as long as by Ceph's CSI driver. A node that was cut off,
not down, still has data to write when it is back. A client can never be shut out for longer than it should: a new one
has another nonce.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocklist:
    """What is on it.

    Attributes:
        ranges: The ranges as `range_of` writes them, with the seconds since the epoch at which each ends. Those that
            were written with bits of a host are not among them.
        clients: Single clients, by address and nonce.
    """

    ranges: Mapping[str, float] = field(default_factory=dict)
    clients: frozenset[str] = frozenset()


def range_of(text: str) -> str:
    """A range without bits of a host: 10.0.0.7/24 is 10.0.0.0/24.

    Raises:
        ValueError: It is none. The message says what would be right.
    """
    address, slash, bits = text.partition("/")
    if not slash or not bits.isdecimal():
        raise ValueError(f"{text!r} is no range of addresses: expected one such as 10.0.0.7/32 or fd00::7/128")
    try:
        found = ip_network(f"{address}/{bits}", strict=False)
    except ValueError as error:
        raise ValueError(f"{text!r} is no range of addresses: {error}") from None
    if found.prefixlen == 0:
        raise ValueError(f"{text!r} is all addresses there are: Ceph fences no such range")
    return str(found)


def within(range_: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """Those of some addresses that are in a range, as `range_of` writes it."""
    network = ip_network(range_)
    return tuple(address for address in addresses if ip_address(address) in network)


def clients_within(range_: str, clients: Iterable[str]) -> frozenset[str]:
    """Those of some clients whose address is in a range."""
    return frozenset(client for client in clients if within(range_, (address_of(client),)))


async def read(cluster: Cluster) -> Blocklist:
    """The blocklist.

    Raises:
        CephError: The mons do not answer in time.
    """
    return parse(await cluster.mon("osd blocklist ls"))


def parse(answer: object) -> Blocklist:
    """From the answer to `osd blocklist ls`: two lists without anything between them, of which Ceph 16 has one."""
    entries = list(_entries(answer))
    ranges = [(_canonical(entry["range"]), entry["until"]) for entry in entries if "range" in entry]
    return Blocklist(
        ranges={range_: datetime.fromisoformat(until).timestamp() for range_, until in ranges if range_},
        clients=frozenset(plain(entry["addr"]) for entry in entries if "addr" in entry),
    )


async def add_range(cluster: Cluster, range_: str) -> None:
    """Shuts out a range of addresses; MDS daemons end the sessions of their clients by that.

    Raises:
        CephError: The mons did not do it.
    """
    await cluster.mon("osd blocklist", range="range", blocklistop="add", addr=range_, expire=float(FENCE_SECONDS))


async def remove_range(cluster: Cluster, range_: str) -> None:
    """Lets a range of addresses in again. One that is not on the blocklist is no error.

    Raises:
        CephError: The mons did not do it.
    """
    await cluster.mon("osd blocklist", range="range", blocklistop="rm", addr=range_)


async def add_client(cluster: Cluster, client: str) -> None:
    """Shuts out one client for good: another that comes from its address has another nonce.

    Raises:
        CephError: The mons did not do it.
    """
    await cluster.mon("osd blocklist", blocklistop="add", addr=client, expire=float(FENCE_SECONDS))


def _entries(answer: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(answer, list):
        yield from answer
        return
    text, at = str(answer or ""), 0
    while at < len(text):
        found, at = json.JSONDecoder().raw_decode(text, at)
        yield from found
        at += len(text[at:]) - len(text[at:].lstrip())


def _canonical(text: str) -> str:
    """A range as Ceph writes it, "10.0.0.0:0/24" or "[fd00::]:0/64"; empty: one with bits of a host."""
    place, _, bits = text.rpartition("/")
    address = place.rpartition(":")[0].strip("[]")
    found = ip_interface(f"{address}/{bits}")
    return str(found.network) if found.ip == found.network.network_address else ""
