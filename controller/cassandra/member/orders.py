"""How each member is to be started, by the roster of the ring. Pure.

One's own address among the seeds makes Cassandra join without its data, or found a second ring, where the volume is
empty: only the founder and members that have joined are told theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.member.record import Record, copies
from controller.cassandra.member.roster import RUNNING, Roster, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SEEDS = 3
"""Seeds that a member is told; more of them only make gossip slower."""


def orders(roster: Roster, addresses: Mapping[str, str], claims: Mapping[str, str]) -> dict[str, Record]:
    """What each member is told that is to have a pod, by name; nothing before it has an address.

    A member that is to be replaced is told nothing either, until the volume is gone that is given up, and it has
    another address than the lost one.

    Args:
        roster: Who belongs to the ring.
        addresses: Of members, by name.
        claims: The uids of their volumes' claims, by name.
    """
    known = tuple(addresses[name] for name in seeds(roster) if addresses.get(name))
    found: dict[str, Record] = {}
    for name, seat in roster.seats.items():
        address, standing = addresses.get(name, ""), seat.standing
        replaced = standing is Standing.REPLACING
        if standing not in RUNNING or not address:
            continue
        if replaced and (address == seat.replaces or (seat.volume and claims.get(name) == seat.volume)):
            continue
        founder = standing is Standing.FOUNDING
        found[name] = Record(
            address=address,
            seeds=(address,) if founder else known,
            copies=copies(len({member.rack for member in roster.members.values()})),
            founder=founder,
            host_id="" if replaced else seat.host_id,
            replace=seat.replaces if replaced else "",
        )
    return found


def seeds(roster: Roster) -> list[str]:
    """Members that have joined, of each rack the first before any rack's second."""
    order: list[tuple[int, str, str]] = []
    ranks: dict[str, int] = {}
    for name, seat in sorted(roster.members.items(), key=lambda item: (item[1].rack, item[1].ordinal)):
        ranks[seat.rack] = ranks.get(seat.rack, -1) + 1
        order.append((ranks[seat.rack], seat.rack, name))
    return [name for _, _, name in sorted(order)][:MOST_SEEDS]
