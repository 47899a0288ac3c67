"""What the program in a member's pod is told: how its Cassandra is to be started, by the roster of the ring. Pure.

The roster's ConfigMap has, beside the roster, a key `<member>.json` for each member with a pod: its `Orders`. The
program waits until that is there, and refuses what would do harm: a volume with the data of another host ID, an empty
volume where data should be. One's own address among the seeds makes Cassandra join without its data, or found a second
ring, where the volume is empty: only the founder and members that have joined are told theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.meta import ApiStruct
from controller.cassandra.member.roster import RUNNING, Roster, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SEEDS = 3
"""Seeds that a member is told; more of them only make gossip slower."""


class Orders(ApiStruct, frozen=True, kw_only=True, omit_defaults=False):
    """How a member is to be started.

    Attributes:
        address: By which the others know it.
        seeds: Addresses of members that have joined, and so know the ring.
        founder: Whether it makes the ring, alone.
        host_id: Whose data its volume must have; empty: nobody's, or those of a join that was interrupted.
        replace: The address of the member whose place it takes, on an empty volume.
    """

    address: str = ""
    seeds: tuple[str, ...] = ()
    founder: bool = False
    host_id: str = ""
    replace: str = ""


def orders(roster: Roster, addresses: Mapping[str, str], claims: Mapping[str, str]) -> dict[str, Orders]:
    """What each member is told that is to have a pod, by name; nothing before it has an address.

    A member that is to be replaced is told nothing either, until the volume is gone that is given up.

    Args:
        roster: Who belongs to the ring.
        addresses: Of members, by name.
        claims: The uids of their volumes' claims, by name.
    """
    seeds = _seeds(roster)
    found: dict[str, Orders] = {}
    for name, seat in roster.seats.items():
        address, standing = addresses.get(name, ""), seat.standing
        replaced = standing is Standing.REPLACING
        if standing not in RUNNING or not address or (replaced and seat.volume and claims.get(name) == seat.volume):
            continue
        founder = standing is Standing.FOUNDING
        known = (address,) if founder else tuple(addresses[seed] for seed in seeds if addresses.get(seed))
        found[name] = Orders(
            address=address,
            seeds=known,
            founder=founder,
            host_id="" if replaced else seat.host_id,
            replace=seat.replaces if replaced else "",
        )
    return found


def _seeds(roster: Roster) -> list[str]:
    """Members that have joined, of each rack the first before any rack's second."""
    order: list[tuple[int, str, str]] = []
    ranks: dict[str, int] = {}
    for name, seat in sorted(roster.members.items(), key=lambda item: (item[1].rack, item[1].ordinal)):
        ranks[seat.rack] = ranks.get(seat.rack, -1) + 1
        order.append((ranks[seat.rack], seat.rack, name))
    return [name for _, _, name in sorted(order)][:MOST_SEEDS]
