"""Which jobs of members the plan goes by, so that members are asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.member import chores
from controller.cassandra.member.joining import resumption
from controller.cassandra.member.leaving import decommission, removal
from controller.cassandra.member.roster import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.cassandra.access.answers import Keyspace
    from controller.cassandra.member.roster import Roster


def asked_jobs(roster: Roster, pods: Mapping[str, str], keyspaces: Iterable[Keyspace]) -> set[tuple[str, str]]:
    """The jobs that members have to be asked for, by member and ID.

    Args:
        roster: Who belongs to the ring.
        pods: The uids of members' pods.
        keyspaces: Those that have copies.
    """
    found, moving = chores.asked_jobs(roster, keyspaces), roster.moving
    if moving is not None:
        name, seat = moving
        if seat.standing is Standing.LEAVING and seat.lost:
            found |= {(member, removal(seat)) for member in roster.members}
        elif seat.standing is Standing.LEAVING:
            found.add((name, decommission(seat)))
        elif seat.standing is Standing.JOINING and pods.get(name):
            found.add((name, resumption(pods[name])))
    return found
