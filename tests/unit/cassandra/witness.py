"""Who watches an operator: whether what it is about to do may be done, by what is true in the world and not by its own
rules.

Members that do not answer are not known to be well; what members see of each other may be old, and counts as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.access.answers import UNREACHABLE, Decommission, Mode, Phase, RemoveNode
from controller.cassandra.member.roster import MOVES, Seat, Standing
from controller.cassandra.member.steps import DeleteVolume, NewAddress, Replicate, Restart, Tell, WriteRoster
from tests.unit.cassandra.daemons import leaving_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from controller.cassandra.access.answers import Command
    from controller.cassandra.member.roster import Roster
    from controller.cassandra.member.steps import Wish
    from tests.unit.cassandra.daemons import Process
    from tests.unit.cassandra.world import World


class Witness:
    """What may be done to a world with this roster, by this wish."""

    def __init__(self, world: World, wish: Wish, roster: Roster) -> None:
        self._world = world
        self._wish = wish
        self._roster = roster

    def objections(self, action: object) -> Iterator[str]:
        """Why something must not be done."""
        match action:
            case WriteRoster(roster):
                yield from self._written(roster)
            case Tell(member, _, command):
                yield from self._told(member, command)
            case Replicate(_, keyspace, _, _):
                if not self._world.keyspaces[keyspace].is_system:
                    yield f"keyspace {keyspace} is the user's, and is written"
                for why in self._unwell():
                    yield f"the schema is changed while {why}"
            case DeleteVolume(member, claim, _, lost):
                yield from self._deleted(member, claim, lost)
            case NewAddress(member, _, lost):
                if lost != self._wish.lost.get(member):
                    yield f"{member} gets another address, and nobody has given it up"
            case Restart(member, _):
                if any(self._world.up(s.host_id) is None for n, s in self._roster.members.items() if n != member):
                    yield f"{member} is restarted while another is down"

    def _told(self, member: str, command: Command) -> Iterator[str]:
        """Why a member must not be told something."""
        world = self._world
        if isinstance(command, Decommission):
            process = world.processes[member]
            if process.volume.left or process.mode is Mode.LEAVING or leaving_jobs(process):
                yield f"{member} is told to leave once more"
            yield from (f"{member} is told to leave, and {why}" for why in self._unwell(member))
            most = max(k.factors.get("dc1", 0) for k in world.keyspaces.values() if k.is_system)
            if most > len(world.ring) - 1:
                yield f"{member} is told to leave before there are fewer copies of Cassandra's own keyspaces"
            if command.force and not self._wish.lose_copies:
                yield f"{member} is told to leave whatever copies are lost"
        if isinstance(command, RemoveNode) and command.host_id not in self._wish.lost.values():
            yield f"{command.host_id} is taken out of the ring, and nobody has given it up"

    def _written(self, roster: Roster) -> Iterator[str]:
        moving = [name for name, seat in roster.seats.items() if seat.standing in MOVES]
        if len(moving) > 1:
            yield f"{moving} are to move at once"
        if self._roster.founded and not roster.founded:
            yield "the ring is not founded any more"
        if roster.founded and not self._roster.founded and not self._world.ring:
            yield "the ring is founded before it is there"
        for name in {*self._roster.seats, *roster.seats}:
            before, after = self._roster.seats.get(name), roster.seats.get(name)
            change = before.standing if before else None, after.standing if after else None
            if change[0] == change[1]:
                yield from self._forgotten(name, before or Seat(), after or Seat())
                continue
            judge = _CHANGES.get(change)
            if judge is None:
                yield f"{name} changes from {change[0]} to {change[1]}"
            else:
                yield from judge(self, name, before or Seat(), after or Seat())

    def _founds(self, name: str, _: Seat, __: Seat) -> Iterator[str]:
        if self._roster.founded or self._world.ring or self._roster.seats:
            yield f"{name} is to make a ring, and there is one"

    def _founded(self, name: str, _: Seat, __: Seat) -> Iterator[str]:
        process = self._world.processes.get(name)
        if process is None or not process.serves:
            yield f"{name} is to have made the ring, and does not serve"

    def _joins(self, name: str, _: Seat, __: Seat) -> Iterator[str]:
        yield from (f"{name} is to join, and {why}" for why in self._unwell())

    def _forgotten(self, name: str, before: Seat, after: Seat) -> Iterator[str]:
        """Whether somebody still counts one whose place is not to be taken any more."""
        counting = [peer.name for peer in self._peers(name) if before.host_id in peer.view.host_ids.values()]
        if before.replaces and not after.replaces and counting:
            yield f"{name} is to join, and {counting} count the one that it replaces"

    def _joined(self, name: str, _: Seat, after: Seat) -> Iterator[str]:
        host_id, address = after.host_id, self._world.ring.get(after.host_id, "")
        if not address:
            yield f"{name} is to be a member, and has no place in the ring"
        peers = self._peers(name)
        unaware = [p.name for p in peers if p.view.host_ids.get(address) != host_id or address in p.view.joining]
        if unaware or (not peers and len(self._roster.seats) > 1):
            yield f"{name} is to be a member, and {unaware or 'nobody'} counts it"
        process = self._answering(name)
        blind = [peer.name for peer in peers if not self._sees_up(peer, host_id)]
        if process is not None and process.serves and blind:
            yield f"{name} is to be a member, and {blind} do not see it up"

    def _taken_back(self, name: str, _: Seat, after: Seat) -> Iterator[str]:
        process = self._world.processes.get(name)
        given_up = bool(after.volume) and self._wish.lost.get(name) == after.volume
        if process is not None and process.phase is not Phase.WAITING and not given_up:
            yield f"{name} is to be stopped while it joins"
        if process is not None and process.volume.bootstrapped:
            yield f"{name} is to be stopped as one that has not joined, and it has"

    def _stays(self, name: str, _: Seat, __: Seat) -> Iterator[str]:
        process = self._world.processes.get(name)
        lost = process is None or not process.serves
        if process is not None and (process.mode is Mode.LEAVING or process.volume.left or leaving_jobs(process)):
            yield f"{name} is to stay, and it leaves"
        if lost and name not in self._wish.lost:
            yield f"{name} is to be lost, and nobody has said so"

    def _leaves(self, name: str, before: Seat, after: Seat) -> Iterator[str]:
        if after.lost:
            yield from self._given_up(name, before, after)
        else:
            yield from (f"{name} is to leave, and {why}" for why in self._unwell(name))

    def _left(self, name: str, _: Seat, __: Seat) -> Iterator[str]:
        process = self._world.processes.get(name)
        if process is None or not process.volume.left:
            yield f"{name} is to have left, and its volume does not say so"

    def _stops(self, name: str, before: Seat, _: Seat) -> Iterator[str]:
        told = [peer for peer in self._peers(name) if peer.view.host_ids]
        unaware = [peer.name for peer in told if before.host_id in peer.view.host_ids.values()]
        if unaware or not told:
            yield f"{name} is to be stopped, and {unaware or 'nobody'} has not seen that it left"
        if not before.lost and before.standing is not Standing.LEFT:
            yield f"{name} is to be stopped before it has said that it left"

    def _goes(self, name: str, _: Seat, __: Seat) -> Iterator[str]:
        if name in self._world.processes:
            yield f"{name} is to be gone, and its pod runs"

    def _given_up(self, name: str, seat: Seat, _: Seat) -> Iterator[str]:
        """Why a member is not lost."""
        if self._wish.lost.get(name) != seat.host_id:
            yield f"{name} is given up, and nobody has said so"
        process = self._world.processes.get(name)
        if process is not None and process.serves and process.volume.host_id == seat.host_id:
            yield f"{name} is given up, and serves"
        believers = [peer.name for peer in self._peers(name) if self._sees_up(peer, seat.host_id)]
        if believers or not self._peers(name):
            yield f"{name} is given up, and {believers or 'nobody else'} sees it down"

    def _deleted(self, member: str, claim: str, lost: str) -> Iterator[str]:
        """Why a volume must stay: a member of the ring has its data there, or nobody has agreed to it."""
        world, seat = self._world, self._roster.seats.get(member)
        volume = world.volumes.get(claim)
        if volume is not None and volume.host_id in world.ring and volume.bootstrapped and volume.host_id != lost:
            yield f"the volume of {member} is deleted, with data of the ring"
        allowed = (Standing.REPLACING, Standing.STOPPING) if lost else (Standing.STOPPING,)
        if seat is not None and seat.standing not in allowed:
            yield f"the volume of {member} is deleted while it is {seat.standing}"
        if self._wish.lost.get(member) != lost if lost else not self._wish.wipe:
            yield f"the volume of {member} is deleted, and nobody has agreed to that"
        if not lost and any(p.volume is volume for p in world.processes.values()) and seat is not None:
            yield f"the volume of {member} is deleted while its pod runs"

    def _peers(self, name: str) -> list[Process]:
        """The other members that answer and serve, whose word counts."""
        found = (self._answering(other) for other in self._roster.members if other != name)
        return [process for process in found if process is not None and process.serves]

    def _answering(self, name: str) -> Process | None:
        return None if name in self._world.frozen | self._world.silent else self._world.processes.get(name)

    def _unwell(self, *but: str) -> Iterator[str]:
        """Why nothing may change: what is wrong with the members, but for those that it is about."""
        addresses = {p.address for name in but if (p := self._world.processes.get(name)) is not None}
        members = {name: seat for name, seat in self._roster.members.items() if name not in but}
        versions, schemas = set(), set()
        for name, seat in members.items():
            process = self._answering(name)
            if process is None or not process.serves or process.volume.host_id != seat.host_id:
                yield f"{name} is not well"
                continue
            view = process.view
            versions.add(process.version)
            schemas |= view.schema.keys() - {UNREACHABLE}
            blind = [n for n, other in members.items() if n != name and not self._sees_up(process, other.host_id)]
            if blind:
                yield f"{name} does not see {blind} up"
            others = (view.joining | view.leaving | view.moving) - addresses
            if others:
                yield f"{name} sees {sorted(others)} move"
        if len(schemas) > 1:
            yield "schemas differ"
        if len(versions) > 1:
            yield "versions are mixed"

    def _sees_up(self, viewer: Process, host_id: str) -> bool:
        found = {address for address, known in viewer.view.host_ids.items() if known == host_id}
        return bool(found & viewer.view.live)


_CHANGES: dict[tuple[Standing | None, Standing | None], Callable[[Witness, str, Seat, Seat], Iterator[str]]] = {
    (None, Standing.FOUNDING): Witness._founds,
    (Standing.FOUNDING, Standing.MEMBER): Witness._founded,
    (None, Standing.JOINING): Witness._joins,
    (Standing.JOINING, Standing.MEMBER): Witness._joined,
    (Standing.JOINING, Standing.STOPPING): Witness._taken_back,
    (Standing.STOPPING, Standing.MEMBER): Witness._joined,
    (Standing.LEAVING, Standing.MEMBER): Witness._stays,
    (Standing.MEMBER, Standing.REPLACING): Witness._given_up,
    (Standing.REPLACING, Standing.MEMBER): Witness._joined,
    (Standing.MEMBER, Standing.LEAVING): Witness._leaves,
    (Standing.LEAVING, Standing.LEFT): Witness._left,
    (Standing.LEAVING, Standing.STOPPING): Witness._stops,
    (Standing.LEFT, Standing.STOPPING): Witness._stops,
    (Standing.STOPPING, None): Witness._goes,
}
"""What is asked of each change of a seat; there are no others."""
