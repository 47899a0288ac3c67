"""What the members together say of the ring. Pure.

Each member speaks for itself only; that another is well is the word of all others. An answer that did not come says
nothing: neither that somebody is gone, nor that something is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from controller.cassandra.access.answers import UNREACHABLE, Bootstrap, JobState, Mode, Phase
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from controller.cassandra.access.answers import Job, Keyspace, Look, Ring, State
    from controller.cassandra.member.roster import Roster

MAX_NAMED = 3
BULK_LOAD = "Bulk Load"
"""What Cassandra calls the streams of one (`StreamOperation`)."""


class Problem(StrEnum):
    """Why a cluster is degraded, as the condition's reason has it."""

    MEMBER_DOWN = "MemberDown"
    MEMBER_ZOMBIE = "MemberZombie"
    MEMBER_LEFT = "MemberLeft"
    DISK_FAILURE = "DiskFailure"
    VOLUME_MISMATCH = "VolumeMismatch"
    PEERS_DISAGREE = "PeersDisagree"
    UNKNOWN_MEMBER = "UnknownMember"
    OTHER_MOVE = "OtherMove"
    SCHEMA_DISAGREEMENT = "SchemaDisagreement"
    VERSION_MIXED = "VersionMixed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: why, with whom (empty: with the ring), and in words."""

    problem: Problem
    member: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A member as it was found.

    Attributes:
        address: By which the others are to know it; empty while it has none.
        look: What it told; None: it did not answer.
        trouble: Why not, in words.
        pod: The uid of its pod; empty: it has none.
        claim: The uid of its volume's claim; empty: there is none.
        service: The uid of the Service that its address is of; empty: there is none.
    """

    address: str = ""
    look: Look | None = None
    trouble: str = ""
    pod: str = ""
    claim: str = ""
    service: str = ""

    @property
    def state(self) -> State | None:
        """What its Cassandra told; None where none answers."""
        return self.look.state if self.look is not None else None

    @property
    def serves(self) -> bool:
        """Whether it is in the ring and serves clients, by its own word."""
        return self.state is not None and self.state.is_serving

    @property
    def has_left(self) -> bool:
        """Whether it left the ring for good, as it has written down on its volume."""
        state = self.state
        if state is not None and (state.bootstrap is Bootstrap.DECOMMISSIONED or state.mode is Mode.DECOMMISSIONED):
            return True
        return self.look is not None and self.look.report.phase is Phase.LEFT

    @property
    def host_id(self) -> str:
        """Whose data it has; empty: nobody's, or that is not known."""
        if self.state is not None and self.state.host_id:
            return self.state.host_id
        return self.look.report.host_id if self.look is not None else ""


ABSENT = Seen()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What was found of a cluster's members.

    Attributes:
        now: Seconds since the epoch.
        seen: By member; also such as are not in the ring yet, or any more.
        keyspaces: Those that have copies; None where nobody could tell.
        jobs: What members said of the jobs that were asked for, by member and ID: None: the member knows of none. Of
            those that did not answer, nothing is here.
        strangers: Claims of members that the roster does not have, by member: their uid.
    """

    now: float
    seen: Mapping[str, Seen] = field(default_factory=dict)
    keyspaces: tuple[Keyspace, ...] | None = None
    jobs: Mapping[tuple[str, str], Job | None] = field(default_factory=dict)
    strangers: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str) -> Seen:
        """A member as it was found."""
        return self.seen.get(name, ABSENT)


def serving(roster: Roster, scene: Scene) -> list[str]:
    """The members that serve, whose word of others counts."""
    return [name for name in roster.members if scene.of(name).serves]


def unrest(roster: Roster, scene: Scene, *, but: Collection[str] = ()) -> str:
    """Why nobody may join, leave or be restarted now, in words; empty: all see each other well, and nothing moves.

    Args:
        roster: Who belongs to the ring.
        scene: What they tell.
        but: Those that need not be well: they are what the change is about.
    """
    found = [finding.text for finding in findings(roster, scene, but=but)]
    return some(found, MAX_NAMED)


def findings(roster: Roster, scene: Scene, *, but: Collection[str] = ()) -> tuple[Finding, ...]:
    """Whatever keeps the ring from being well; `but` as of `unrest`."""
    away = [finding for name in roster.members if name not in but for finding in _own(name, roster, scene)]
    views = [*away]
    for viewer in serving(roster, scene):
        if viewer not in but:
            views += _view(viewer, roster, scene, but, frozenset(finding.member for finding in away))
    return (*views, *_schema(roster, scene, but), *_versions(roster, scene))


def _own(name: str, roster: Roster, scene: Scene) -> Iterator[Finding]:
    """What is wrong with a member by its own word."""
    seen, wanted = scene.of(name), roster.seats[name].host_id
    if seen.has_left:
        yield Finding(Problem.MEMBER_LEFT, name, f"{name} has left the ring without being told to")
    elif seen.host_id and seen.host_id != wanted:
        text = f"{name} has the data of host ID {seen.host_id}, and not of {wanted}"
        yield Finding(Problem.VOLUME_MISMATCH, name, text)
    elif seen.look is None:
        why = f": {seen.trouble}" if seen.trouble else ""
        yield Finding(Problem.MEMBER_DOWN, name, f"{name} does not answer{why}")
    elif not seen.serves and seen.look.report.volume_trouble:
        yield Finding(Problem.DISK_FAILURE, name, f"{name} does not serve: {seen.look.report.volume_trouble}")
    elif seen.state is None:
        why = seen.look.report.message or seen.trouble
        yield Finding(Problem.MEMBER_DOWN, name, f"{name} runs no Cassandra{f': {why}' if why else ''}")
    elif not seen.serves:
        mode = seen.state.mode
        if mode in (Mode.NORMAL, Mode.DECOMMISSION_FAILED):
            off = "gossip" if not seen.state.gossip_running else "its port for clients"
            yield Finding(Problem.MEMBER_ZOMBIE, name, f"{name} runs with {off} off")
        else:
            yield Finding(Problem.MEMBER_DOWN, name, f"{name} is {mode}")
    elif seen.state.mode is Mode.LEAVING:
        text = f"{name} leaves the ring, told by hand{halted(seen.state)}"
        yield Finding(Problem.OTHER_MOVE, name, text)


def halted(state: State) -> str:
    """What a person can do where one that leaves may have stopped, which 4.1 does not say; empty: it streams."""
    return "" if state.streams else "; it streams nothing: if it has stopped, delete its pod, which takes that back"


def _view(viewer: str, roster: Roster, scene: Scene, but: Collection[str], away: Collection[str]) -> Iterator[Finding]:
    """What a member sees of others that is not well; those that are `away` by their own word are named already."""
    state = scene.of(viewer).state
    if state is None:
        return
    ring, moving = state.ring, roster.moving
    for name, seat in roster.members.items():
        if name in but or name == viewer or name in away:
            continue
        if not _is_live(ring, seat.host_id, scene.of(name).address):
            yield Finding(Problem.PEERS_DISAGREE, viewer, f"{viewer} does not see {name} up")
    known = {seat.host_id for seat in roster.seats.values()}
    mine = {scene.of(name).host_id for name in (*but, *([moving[0]] if moving else []))}
    addresses = {scene.of(name).address for name in (*but, *([moving[0]] if moving else []))}
    strangers = [(a, host_id) for a, host_id in ring.host_ids.items() if host_id not in known and host_id not in mine]
    for address, host_id in sorted(strangers):
        text = f"{viewer} sees a member at {address} with host ID {host_id} that is not the operator's"
        yield Finding(Problem.UNKNOWN_MEMBER, viewer, text)
    for what, who in (("joins", ring.joining), ("leaves", ring.leaving), ("moves", ring.moving)):
        for address in sorted(who - addresses):
            yield Finding(Problem.OTHER_MOVE, viewer, f"{viewer} sees that {_name(address, scene)} {what}")


def _schema(roster: Roster, scene: Scene, but: Collection[str]) -> Iterator[Finding]:
    # Two releases have two schemas, for their own tables are others.
    release = {scene.of(name).address: s.release for name in roster.seats if (s := scene.of(name).state) is not None}
    versions: dict[str, set[str]] = {}
    # Whoever has left is unreachable for three days to those that remember it.
    asked = {scene.of(name).address for name in roster.seats if name not in but}
    for viewer in serving(roster, scene):
        state = scene.of(viewer).state
        for version, addresses in state.ring.schema.items() if state is not None else ():
            if version != UNREACHABLE:
                for address in addresses & release.keys():
                    versions.setdefault(release[address], set()).add(version)
            elif addresses & asked:
                names = some([_name(address, scene) for address in sorted(addresses & asked)], MAX_NAMED)
                text = f"{viewer} does not know which schema {names} has"
                yield Finding(Problem.SCHEMA_DISAGREEMENT, viewer, text)
    most = max(map(len, versions.values()), default=0)
    if most > 1:
        text = f"members have {most} versions of the schema"
        yield Finding(Problem.SCHEMA_DISAGREEMENT, "", text)


def _versions(roster: Roster, scene: Scene) -> Iterator[Finding]:
    found = releases(roster, scene)
    if len(found) > 1:
        yield Finding(Problem.VERSION_MIXED, "", f"members run {' and '.join(found)}")


def releases(roster: Roster, scene: Scene) -> tuple[str, ...]:
    """The versions that members run, as they say."""
    states = (scene.of(name).state for name in roster.seats)
    return tuple(sorted({state.release for state in states if state is not None and state.release}))


def blind(name: str, host_id: str, roster: Roster, scene: Scene, *, but: Collection[str] = ()) -> list[str]:
    """The members that do not see `name` up with this host ID; such as did not answer do not either.

    Args:
        name: Who is to be seen.
        host_id: Its host ID.
        roster: Who belongs to the ring.
        scene: What they tell.
        but: Members that are lost: nobody waits for their word.
    """
    found = []
    for viewer in roster.members:
        state = scene.of(viewer).state
        if viewer == name or viewer in but:
            continue
        if state is None or not scene.of(viewer).serves or not _is_live(state.ring, host_id, scene.of(name).address):
            found.append(viewer)
    return found


def keepers(host_id: str, address: str, roster: Roster, scene: Scene) -> list[str] | None:
    """The members that still count a host ID, or whoever is or moves at an address; None: nobody said anything."""
    viewers = [name for name in serving(roster, scene) if roster.seats[name].host_id != host_id]
    found, answered = [], False
    for viewer in viewers:
        state = scene.of(viewer).state
        if state is None or not state.ring.host_ids:
            continue
        answered = True
        ring = state.ring
        there = ring.host_ids.keys() | ring.joining | ring.leaving | ring.moving
        if (address and address in there) or (host_id and host_id in ring.host_ids.values()):
            found.append(viewer)
    return found if answered else None


def joined_unseen(name: str, roster: Roster, scene: Scene, *, but: Collection[str] = ()) -> str:
    """The host ID of a member that all others count, though nobody wrote down that it joined; empty: they do not.

    Args:
        name: Who was to join.
        roster: Who belongs to the ring.
        scene: What they tell.
        but: Members that are lost: nobody waits for their word.
    """
    address, found = scene.of(name).address, set()
    for viewer in roster.members.keys() - set(but):
        state = scene.of(viewer).state
        if state is None or not scene.of(viewer).serves or address in state.ring.joining | state.ring.leaving:
            return ""
        found.add(state.ring.host_ids.get(address, ""))
    known = {seat.host_id for seat in roster.seats.values()}
    return found.pop() if address and len(found) == 1 and not found & known else ""


def believers(host_id: str, roster: Roster, scene: Scene) -> list[str]:
    """The members that take a host ID for one that is up."""
    found = []
    for viewer in serving(roster, scene):
        state = scene.of(viewer).state
        if state is not None and roster.seats[viewer].host_id != host_id and _is_live(state.ring, host_id):
            found.append(viewer)
    return found


def address_of(host_id: str, roster: Roster, scene: Scene) -> str:
    """The address by which members know a host ID; empty where they do not all know it by one."""
    found = set()
    for viewer in serving(roster, scene):
        state = scene.of(viewer).state
        known = state.ring.host_ids.items() if state is not None else ()
        found |= {address for address, known_id in known if known_id == host_id} or {""}
    return found.pop() if len(found) == 1 else ""


def busy(roster: Roster, scene: Scene) -> str:
    """What a member does that nobody must join, leave or be restarted during; empty: nothing."""
    running = [
        f"{member} does {job.id}"
        for (member, _), job in scene.jobs.items()
        if job is not None and job.state is JobState.RUNNING
    ]
    streams = [f"{n} streams data" for n in roster.members if (s := scene.of(n).state) is not None and s.streams]
    return some([*running, *streams], 3)


def bulk_loading(roster: Roster, scene: Scene) -> list[str]:
    """The members between which rows are on their way that a bulk load brings."""
    states = {name: state for name in sorted(roster.members) if (state := scene.of(name).state) is not None}
    return [name for name, state in states.items() if any(s.operation == BULK_LOAD for s in state.streams)]


def _is_live(ring: Ring, host_id: str, likely: str = "") -> bool:
    """Whether a host ID is up, and does not move; `likely`: its address, as far as that is known."""
    moving = ring.joining | ring.leaving | ring.moving
    if ring.host_ids.get(likely) == host_id and likely in ring.live and likely not in moving:
        return True  # of a thousand members, each looks at each other one
    return any(known == host_id and a in ring.live and a not in moving for a, known in ring.host_ids.items())


def _name(address: str, scene: Scene) -> str:
    return next((name for name, seen in scene.seen.items() if seen.address == address), address)
