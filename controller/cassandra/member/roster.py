"""Who belongs to the ring: the roster that every start and every change of members goes by.

It is kept in a ConfigMap beside the data, and stays as long as they do: a cluster whose pods are all gone is not
founded anew, and a Cluster that was deleted and made again finds its members. What is done is written down before it is
begun, so that whoever comes later knows what to go on with.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import field
from msgspec.structs import replace

from controller.apis.cassandra.cluster import CASSANDRA_4
from controller.apis.meta import ApiStruct
from controller.cassandra.member.encryption import Encryption


class Standing(StrEnum):
    """How a member belongs to the ring."""

    FOUNDING = "Founding"
    """It makes the ring, alone. There is one in a cluster's life."""
    JOINING = "Joining"
    """It takes over data from others. Nothing is lost with it."""
    MEMBER = "Member"
    """It has joined."""
    REPLACING = "Replacing"
    """It takes the place of a member that is lost: of itself, with the host ID that the roster still has."""
    LEAVING = "Leaving"
    """It hands on its data, or, where it is lost, others make its copies anew."""
    LEFT = "Left"
    """It has left, by its own word. Its pod runs until the others know it."""
    STOPPING = "Stopping"
    """All know that it has left. Its pod ends, and then its volume goes or is kept."""


MOVES = frozenset(Standing) - {Standing.MEMBER}
"""Standings of which a ring bears one at a time."""
COMING = frozenset({Standing.FOUNDING, Standing.JOINING, Standing.REPLACING})
"""Standings of who has no place in the ring yet."""
RUNNING = frozenset(Standing) - {Standing.STOPPING}
"""Standings with which a member has a pod."""


class ChoreKind(StrEnum):
    """What is left to do after members came or went."""

    CLEANUP = "Cleanup"
    """Delete rows that belong to a member which joined."""
    REPAIR = "Repair"
    """Make the copies of a member that was replaced like the others."""
    REPAIR_SYSTEM = "RepairSystem"
    """Make the copies of Cassandra's own keyspaces, of which there are more now."""
    UPGRADE = "Upgrade"
    """Write the files anew that an earlier version has written."""


class Chore(ApiStruct, frozen=True, kw_only=True, order=True):
    """Something that is left to do on a member.

    Attributes:
        kind: What.
        member: On whom.
        cause: What for: the host ID of who came, the number of copies, or the version.
        attempt: How often it was tried before, in vain.
        done_to: The keyspaces up to this one, by name, are done; empty: none.
    """

    kind: ChoreKind = ChoreKind.CLEANUP
    member: str = ""
    cause: str = ""
    attempt: int = 0
    done_to: str = ""


class Seat(ApiStruct, frozen=True, kw_only=True):
    """A place in the ring.

    Attributes:
        rack: Its rack.
        ordinal: Its number in the rack; the last one leaves first.
        standing: How it belongs to the ring.
        host_id: Of the member whose data it has, or had; empty before it has joined.
        attempt: How often it was told to leave before, in vain.
        lost: Of one that leaves: it cannot hand on its data itself.
        replaces: Of one that is replaced: the address by which the others know the member that is lost.
        volume: Of one that is replaced, or stops before it has joined: the uid of the claim that is given up; empty:
            there is none.
    """

    rack: str = ""
    ordinal: int = 0
    standing: Standing = Standing.MEMBER
    host_id: str = field(name="hostID", default="")
    attempt: int = 0
    lost: bool = False
    replaces: str = ""
    volume: str = ""


class Roster(ApiStruct, frozen=True, kw_only=True):
    """What is known of a cluster for good.

    Attributes:
        cluster: Its name in Cassandra.
        datacenter: The datacenter's.
        num_tokens: Of each member.
        authentication: Whether clients need a role.
        founded: Whether the ring was made. It never becomes false again.
        version: The version that all members have run last.
        storage_mode: How members write files, or are about to.
        encryption: The step that members are at, or are being restarted for.
        seats: Who belongs to it, by name.
        chores: What is left to do.
    """

    cluster: str = ""
    datacenter: str = ""
    num_tokens: int = 0
    authentication: bool = False
    founded: bool = False
    version: str = ""
    storage_mode: str = CASSANDRA_4
    encryption: Encryption = Encryption()
    seats: dict[str, Seat] = field(default_factory=dict)
    chores: tuple[Chore, ...] = ()

    def rack(self, name: str) -> dict[str, Seat]:
        """The seats of a rack by member, in the order of their ordinals."""
        found = {member: seat for member, seat in self.seats.items() if seat.rack == name}
        return dict(sorted(found.items(), key=lambda item: item[1].ordinal))

    @property
    def moving(self) -> tuple[str, Seat] | None:
        """The member that comes, goes or is replaced; there is one at most."""
        return next(((name, seat) for name, seat in self.seats.items() if seat.standing in MOVES), None)

    @property
    def members(self) -> dict[str, Seat]:
        """Those that have joined and do not leave, by name."""
        return {name: seat for name, seat in self.seats.items() if seat.standing is Standing.MEMBER}

    def replicas(self, rack: str) -> int:
        """How many pods a rack has."""
        return max((s.ordinal + 1 for s in self.rack(rack).values() if s.standing in RUNNING), default=0)

    def seated(self, name: str, seat: Seat | None) -> Roster:
        """The roster with this seat for a member; None: without one."""
        seats = {member: found for member, found in self.seats.items() if member != name}
        chores = self.chores
        if seat is not None:
            seats[name] = seat
        else:
            chores = tuple(chore for chore in chores if chore.member != name)
        return replace(self, seats=dict(sorted(seats.items())), chores=chores)

    def joined(self, name: str, host_id: str) -> Roster:
        """The roster with a member that has joined: rows which belong to it now are to be deleted on the others."""
        cleanups = [Chore(kind=ChoreKind.CLEANUP, member=old, cause=host_id) for old in self.members]
        placed = replace(self.seats[name], standing=Standing.MEMBER, host_id=host_id, volume="")
        return self.seated(name, placed).with_chores(*cleanups)

    def with_chores(self, *chores: Chore) -> Roster:
        """The roster with more to do; the same work for an earlier cause is done with it."""
        same = {(chore.kind, chore.member) for chore in chores}
        kept = [chore for chore in self.chores if (chore.kind, chore.member) not in same]
        return replace(self, chores=tuple(sorted([*kept, *chores])))

    def without_chore(self, done: Chore) -> Roster:
        """The roster with one thing done."""
        same = (done.kind, done.member)
        return replace(self, chores=tuple(chore for chore in self.chores if (chore.kind, chore.member) != same))


KEY = "roster"
"""Under which the ConfigMap has it."""


def encoded(roster: Roster) -> str:
    """The roster as the ConfigMap has it."""
    return msgspec.json.encode(roster, order="sorted").decode()


def decoded(text: str) -> Roster:
    """The roster in a ConfigMap.

    Raises:
        ValueError: It is none.
    """
    try:
        return msgspec.json.decode(text, type=Roster)
    except msgspec.DecodeError as error:
        raise ValueError(f"key {KEY} is no roster of a ring: {error}") from error
