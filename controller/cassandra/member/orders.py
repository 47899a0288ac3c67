"""What the program in a member's pod is told: how its Cassandra is to be started, by the record of the ring. Pure.

The record's ConfigMap has, beside the record, a key for each member with a pod: its name, and as value `Orders` as
JSON. The program waits until its key is there, and refuses what would do harm: a volume with the data of another host
ID, an empty volume where data should be. One's own address among the seeds makes Cassandra join without its data, or
found a second ring, where the volume is empty: only the founder and members that have joined are told theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import field

from controller.apis.meta import ApiStruct
from controller.cassandra.member.record import RUNNING, Record, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SEEDS = 3
"""Seeds that a member is told; more of them only make gossip slower."""


class Orders(ApiStruct, frozen=True, kw_only=True, omit_defaults=False):
    """How a member is to be started.

    Attributes:
        address: By which the others know it: listen on the pod's own, broadcast this.
        seeds: Addresses of members that have joined, and so know the ring.
        founds: Whether it makes the ring, alone.
        host_id: Whose data its volume must have; empty: nobody's, or those of a join that was interrupted.
        replaces: The address of the member whose place it takes, on an empty volume (`replace_address_first_boot`).
    """

    address: str = ""
    seeds: tuple[str, ...] = ()
    founds: bool = False
    host_id: str = field(name="hostID", default="")
    replaces: str = ""


def orders(record: Record, addresses: Mapping[str, str]) -> dict[str, Orders]:
    """What each member is told that is to have a pod, by name; nothing before it has an address.

    Args:
        record: Who belongs to the ring.
        addresses: Of members, by name.
    """
    seeds = _seeds(record)
    found: dict[str, Orders] = {}
    for name, seat in record.seats.items():
        address = addresses.get(name, "")
        if seat.standing not in RUNNING or not address:
            continue
        founds = seat.standing is Standing.FOUNDING
        known = (address,) if founds else tuple(addresses[seed] for seed in seeds if addresses.get(seed))
        found[name] = Orders(
            address=address,
            seeds=known,
            founds=founds,
            host_id="" if seat.standing is Standing.REPLACING else seat.host_id,
            replaces=seat.replaces if seat.standing is Standing.REPLACING else "",
        )
    return found


def _seeds(record: Record) -> list[str]:
    """Members that have joined, of each rack the first before any rack's second."""
    order: list[tuple[int, str, str]] = []
    ranks: dict[str, int] = {}
    for name, seat in sorted(record.members.items(), key=lambda item: (item[1].rack, item[1].ordinal)):
        ranks[seat.rack] = ranks.get(seat.rack, -1) + 1
        order.append((ranks[seat.rack], seat.rack, name))
    return [name for _, _, name in sorted(order)][:MOST_SEEDS]
