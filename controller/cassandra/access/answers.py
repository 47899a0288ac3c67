"""What a member of a Cassandra cluster answers, and what it can be told to do.

A member knows its own state; of all others it has an opinion, which may be old or wrong. So what is said of the ring is
always said by somebody, and an answer that did not come says nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


UNREACHABLE = "UNREACHABLE"
"""The key under which a member names those whose version of the schema it does not know."""


class AccessError(Exception):
    """A member did not do what it was asked to."""


class UnansweredError(AccessError):
    """No answer came, or none that can be read. What was asked for may have been done, or may still be done."""


class RefusedError(AccessError):
    """The member answered that it does not do this. The message is its own."""


class Mode(StrEnum):
    """What a Cassandra process says that it is doing. It does not outlive the process."""

    STARTING = "STARTING"
    NORMAL = "NORMAL"
    JOINING = "JOINING"
    JOINING_FAILED = "JOINING_FAILED"
    LEAVING = "LEAVING"
    DECOMMISSIONED = "DECOMMISSIONED"
    DECOMMISSION_FAILED = "DECOMMISSION_FAILED"
    MOVING = "MOVING"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"
    UNKNOWN = "UNKNOWN"
    """None of those that are known here."""


class Bootstrap(StrEnum):
    """How far a member has come with joining the ring, as it keeps it on its volume."""

    NEEDED = "NEEDS_BOOTSTRAP"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    DECOMMISSIONED = "DECOMMISSIONED"
    UNKNOWN = "UNKNOWN"
    """Cassandra 4.1 does not tell in every mode."""


class Phase(StrEnum):
    """What the program is at that runs Cassandra in a member's pod (`controller.cassandra.member.script`)."""

    WAITING = "Waiting"
    """The operator has not yet said how this member is to be started."""
    REFUSED = "Refused"
    """It does not start Cassandra, because that would do harm: `Report.message` says which."""
    RUNNING = "Running"
    """Cassandra's process runs."""
    LEFT = "Left"
    """The member has left the ring for good, so Cassandra is not started any more."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a member's program says, whether or not Cassandra runs.

    Attributes:
        phase: What it is at.
        message: Why, where it does not run Cassandra.
        host_id: That of the ring's member whose data are on the volume; empty where nobody's are.
        volume_size: Bytes of the volume that Cassandra uses or may use; what is reserved for root is not among them.
        volume_free: Bytes of them that Cassandra may still write.
        volume_trouble: Why Cassandra cannot do with the volume, in words; empty: it can.
        certificates: Tells the certificate and authorities that Cassandra was given last from others; empty: none.
    """

    phase: Phase
    message: str = ""
    host_id: str = ""
    volume_size: int = 0
    volume_free: int = 0
    volume_trouble: str = ""
    certificates: str = ""


@dataclass(frozen=True, slots=True)
class Ring:
    """The ring in the eyes of one member, itself included. Addresses are those that members know each other by.

    Attributes:
        host_ids: By address, the host ID of each member that has tokens, whether or not it is up.
        live: Addresses that are up.
        unreachable: Addresses that are down.
        joining: Addresses that take over data to join.
        leaving: Addresses that hand on their data to leave.
        moving: Addresses that change their tokens.
        schema: Addresses by version of the schema; those that did not tell theirs have the key `UNREACHABLE`.
    """

    host_ids: Mapping[str, str]
    live: frozenset[str] = frozenset()
    unreachable: frozenset[str] = frozenset()
    joining: frozenset[str] = frozenset()
    leaving: frozenset[str] = frozenset()
    moving: frozenset[str] = frozenset()
    schema: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """Data on their way between a member and others.

    Attributes:
        operation: What for, such as "Bootstrap" or "Unbootstrap".
        received: Bytes of `to_receive` that have come.
        sent: Bytes of `to_send` that have gone.
    """

    operation: str
    received: int = 0
    to_receive: int = 0
    sent: int = 0
    to_send: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What a Cassandra process says of itself and of the ring.

    Attributes:
        mode: What it is doing.
        bootstrap: How far it has come with joining.
        host_id: Its own; empty while it has none.
        release: Its version, such as "5.0.3".
        cluster_name: As on its volume.
        datacenter: Its own, and `rack` likewise.
        tokens: How many it has.
        load: Bytes of data that it holds.
        gossip_running: Whether it speaks with the other members.
        native_running: Whether it serves clients.
        seeds: Addresses that it takes for seeds; never its own.
        ring: The ring as it sees it.
        streams: Data on their way.
        hints: Writes that it keeps for members that were away, by their host IDs: bytes.
    """

    mode: Mode
    bootstrap: Bootstrap
    host_id: str
    release: str
    cluster_name: str
    datacenter: str
    rack: str
    tokens: int
    load: int
    gossip_running: bool
    native_running: bool
    seeds: tuple[str, ...]
    ring: Ring
    streams: tuple[Stream, ...] = ()
    hints: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_serving(self) -> bool:
        """Whether it is in the ring and serves clients, by its own word.

        The mode does not say: a decommission that was refused leaves a failure there, though all goes on.
        """
        return self.gossip_running and self.native_running and self.bootstrap is Bootstrap.COMPLETED


@dataclass(frozen=True, slots=True)
class Look:
    """All that a member tells at one look: `state` is None while no Cassandra process answers in its pod."""

    report: Report
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Keyspace:
    """A keyspace, and how many copies there are of its rows.

    Attributes:
        strategy: The class that places copies, without its package.
        factors: Copies by datacenter. `SimpleStrategy` knows no datacenters: its number has the key "".
    """

    name: str
    strategy: str
    factors: Mapping[str, int]

    @property
    def is_system(self) -> bool:
        """Whether Cassandra made it for itself, so that its replication is the operator's to set."""
        return self.name in SYSTEM_KEYSPACES


SYSTEM_KEYSPACES = frozenset({"system_auth", "system_distributed", "system_traces"})
"""Cassandra's own keyspaces that are replicated."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot on a member's volume, and the keyspaces whose files it has."""

    tag: str
    keyspaces: frozenset[str]


class JobState(StrEnum):
    """How a job is."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Job:
    """Something that a member was told to do.

    Attributes:
        id: As it was given by who told it.
        message: Why it failed; or how far it is, where that can be told.
        started: Seconds since the epoch, by the member's clock; `ended` likewise, None while it runs.
    """

    id: str
    state: JobState
    message: str = ""
    started: float = 0.0
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """Write all that is in memory to disk, and stop serving. Only a restart ends that."""


@dataclass(frozen=True, slots=True)
class Decommission:
    """Hand on all data and leave the ring for good.

    Refused where a keyspace wants more copies than members stay, unless `force`, which gives up such copies.
    Safe to be told once only: look first whether it is under way or was done.
    """

    force: bool = False


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Take a dead member out of the ring; the copies that it had are made anew from other copies."""

    host_id: str


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Delete rows of a keyspace that belong to others since they joined."""

    keyspace: str


@dataclass(frozen=True, slots=True)
class UpgradeSSTables:
    """Write the files of a keyspace anew that another version has written."""

    keyspace: str


@dataclass(frozen=True, slots=True)
class Flush:
    """Write to disk what is in memory of a keyspace."""

    keyspace: str


@dataclass(frozen=True, slots=True)
class Repair:
    """Compare the copies of a keyspace with those of others, and make them alike.

    Attributes:
        primary: Only those ranges of which this member has the first copy: enough when each member is told to.
        incremental: Compare only what was written since the last incremental repair.
    """

    keyspace: str
    primary: bool = True
    incremental: bool = False


@dataclass(frozen=True, slots=True)
class StopRepairs:
    """Break off all repairs that this member takes part in. Those that it was told to do fail."""


@dataclass(frozen=True, slots=True)
class StopCleanups:
    """Break off all cleanups of this member. Those that it was told to do fail."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Keep the files of keyspaces (all, where none is named) as they are now, under a tag.

    What is in memory is written to disk first; what was on its way there already is left out, unless `Flush` came
    before.
    """

    tag: str
    keyspaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClearSnapshot:
    """Delete the snapshot of that tag. It is no error that there is none."""

    tag: str


@dataclass(frozen=True, slots=True)
class BulkLoad:
    """Stream the rows in files to their owners.

    Attributes:
        directory: On the member's volume, with the files of one table: `.../KEYSPACE/TABLE`.
    """

    directory: str


@dataclass(frozen=True, slots=True)
class ResumeBootstrap:
    """Go on with a join that failed."""


type Command = (
    Drain
    | Decommission
    | RemoveNode
    | Cleanup
    | UpgradeSSTables
    | Flush
    | Repair
    | StopRepairs
    | StopCleanups
    | TakeSnapshot
    | ClearSnapshot
    | BulkLoad
    | ResumeBootstrap
)
"""What a member can be told to do."""
