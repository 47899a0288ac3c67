"""The pieces of a backup and of a restore: in which order they are begun, and who does them. Pure.

A piece is done by a member, which is told to, or by a Job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from controller.cassandra.access.answers import ClearSnapshot, Flush, TakeSnapshot
from controller.cassandra.backup.objects import Verb, job, job_name
from controller.cassandra.backup.options import Options
from controller.cassandra.backup.seal import Sealed
from controller.cassandra.member.steps import Tell
from controller.framework.jobs import FIRST, RunJob
from controller.framework.pieces import Piece
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from controller.apis.cassandra import CassandraCluster
    from controller.apis.cassandra.operation import BackupSpec, RestoreSpec, S3Spec
    from controller.cassandra.access.answers import Command, Keyspace
    from controller.cassandra.member.roster import Roster
    from controller.framework.operations import Ledger
    from controller.framework.pieces import Task
    from controller.framework.workload import Owner
    from informers import JsonObject

TAG = "rook-backup"
"""Of all snapshots for backups: a cluster has one operation at a time, and whatever an earlier one left is stale."""
AT_ONCE = 4
"""Pieces that are done at the same time."""
UNIT = "Pieces"
_FLUSH = "flush "
_SNAPSHOT, _CLEAR, _ANEW = "snapshot", "clear", "anew"
MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class PrepareRestore:
    """Make the Job that makes the schema and throws away rows, if the Operation still says whose.

    Attributes:
        overwrite: Keyspaces whose rows it throws away.
    """

    job: JsonObject = field(repr=False)
    overwrite: tuple[str, ...] = ()


class Place(Protocol):
    """Where a member answers: see `controller.cassandra.access.members.Door`."""

    @property
    def host(self) -> str:
        """The pod's IP address."""

    @property
    def ca(self) -> str:
        """PEM of the authority that signed its certificate; empty: it speaks no TLS."""

    @property
    def name(self) -> str:
        """The host name in its certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What Jobs are made of.

    Attributes:
        cluster: The cluster.
        roster: Who belongs to its ring.
        door: How a member's program is reached; None: there is no way now.
        query: How a member is reached for CQL; None: no member serves clients.
        image: The operator's.
    """

    cluster: CassandraCluster
    roster: Roster
    door: Callable[[str], Place | None]
    query: Place | None
    image: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup: snapshots of all members, so that these are of one time; then their files; then the seal.

    Attributes:
        owner: The Operation.
        spec: What it wants.
    """

    owner: Owner
    spec: BackupSpec

    name = "Backup"
    at_once = AT_ONCE
    unit = UNIT

    @property
    def keyspaces(self) -> tuple[str, ...]:
        """Those that the spec names."""
        return self.spec.keyspaces

    def refusal(self, ledger: Ledger, roster: Roster | None) -> str:
        """Why it can never be carried out, in words; empty: it can.

        Who leaves the ring hands its rows to members whose snapshots are older, so its own part has to be sealed first.
        """
        system = sorted(name for name in self.keyspaces if name.startswith("system"))
        if system:
            return f"spec.backup.keyspaces has {some(system, MAX_NAMED)}: Cassandra's own keyspaces cannot be restored"
        if roster is None or Verb.SEAL in ledger.finished:
            return ""
        touched = (name.rpartition("/")[0] for name in (*ledger.finished, *ledger.rows) if name != Verb.SEAL)
        gone = sorted(set(touched) - roster.members.keys())
        if not gone:
            return ""
        return f"{some(gone, MAX_NAMED)} left the ring before the backup was whole, and had a part of it: make another"

    def pieces(self, roster: Roster, keyspaces: Iterable[Keyspace]) -> tuple[Piece, ...]:
        """Its pieces; none where there is no keyspace.

        Cassandra leaves out of a snapshot what is on its way to disk at that moment, so it is waited for first.
        """
        names, members = self._names(keyspaces), sorted(roster.members)
        if not names:
            return ()
        parts = (_ANEW, *(f"{_FLUSH}{name}" for name in names), _SNAPSHOT)
        snapshots = [Piece(f"{member}/{_SNAPSHOT}", parts, anew=True) for member in members]
        uploads = [
            Piece(f"{member}/{Verb.UPLOAD}", (Verb.UPLOAD,), tuple(piece.name for piece in snapshots))
            for member in members
        ]
        seal = Piece(Verb.SEAL, (Verb.SEAL,), tuple(piece.name for piece in uploads))
        clears = [Piece(f"{member}/{_CLEAR}", (_CLEAR,), (seal.name,)) for member in members]
        return *snapshots, *uploads, seal, *clears

    def way(self, task: Task, keyspaces: Iterable[Keyspace]) -> Tell | str:
        """What a member is told, or the name of the Job that does it."""
        member, _, verb = task.piece.rpartition("/")
        if verb in (Verb.UPLOAD, Verb.SEAL):
            return _job_name(self.owner, task)
        return self._tell(member, task.part, task.attempt, self._names(keyspaces))

    def job(self, task: Task, keyspaces: Iterable[Keyspace], ground: Ground) -> RunJob | str:
        """The action that makes a task's Job; or what it waits for, in words."""
        member, _, verb = task.piece.rpartition("/")
        options = _options(self.owner, self.spec.destination.s3, ground, self.owner.name)
        seats = ground.roster.members
        if verb == Verb.UPLOAD:
            options = replace(options, tag=TAG, host_ids=(seats[member].host_id,))
        elif ground.query is None:
            return _NOBODY
        else:
            host_ids = tuple(sorted(seat.host_id for seat in seats.values()))
            options = replace(_at(options, ground.query), host_ids=host_ids, keyspaces=self._names(keyspaces))
        return RunJob(_job(self.owner, self.spec.destination.s3, task, member, options, ground), FIRST)

    def reason(self, task: Task) -> str:
        """Why a task is done."""
        verb = task.piece.rpartition("/")[2]
        return {
            _SNAPSHOT: "its files are kept as they are now",
            Verb.UPLOAD: "new files go to the bucket",
            Verb.SEAL: "all files are there: the backup becomes whole",
            _CLEAR: "its snapshot is not needed any more",
        }[verb]

    def stop(self, task: Task) -> Tell | None:
        """What a member is told to break a task off: nothing of this takes long but Jobs."""
        return None

    def tidy(self, roster: Roster) -> Iterator[Tell]:
        """What members are told when it has failed."""
        for member in sorted(roster.members):
            yield self._tell(member, _CLEAR, 0, ())

    def _names(self, keyspaces: Iterable[Keyspace]) -> tuple[str, ...]:
        there = sorted(keyspace.name for keyspace in keyspaces if not keyspace.is_system)
        return tuple(name for name in there if not self.keyspaces or name in self.keyspaces)

    def _tell(self, member: str, part: str, attempt: int, names: tuple[str, ...]) -> Tell:
        command: Command = ClearSnapshot(TAG)
        if part == _SNAPSHOT:
            command = TakeSnapshot(TAG, names)
        elif part.startswith(_FLUSH):
            command = Flush(part.removeprefix(_FLUSH))
        words = part.replace("_", ".").replace(" ", "-")
        return Tell(member, f"backup-{self.owner.uid}-{attempt}-{words}", command)


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore: first whether it can be done; then the schema; then the rows, by all members.

    Attributes:
        owner: The Operation.
        spec: What it wants.
    """

    owner: Owner
    spec: RestoreSpec

    name = "Restore"
    at_once = AT_ONCE
    unit = UNIT
    keyspaces = ()
    """The Cluster need not have those that the spec names."""

    def refusal(self, ledger: Ledger, roster: Roster | None) -> str:
        """Why it can never be carried out; that is found out by a Job."""
        return ""

    def pieces(self, roster: Roster, keyspaces: Iterable[Keyspace]) -> tuple[Piece, ...]:
        """Its pieces. With another number of members, everything is dealt out and brought anew."""
        members = sorted(roster.members)
        loads = [
            Piece(f"{member}/{Verb.LOAD}-{number}-of-{len(members)}", (Verb.LOAD,), (Verb.PREPARE,))
            for number, member in enumerate(members, 1)
        ]
        prepare = Piece(Verb.PREPARE, (Verb.PREPARE,), (Verb.CHECK,))
        return Piece(Verb.CHECK, (Verb.CHECK,)), prepare, *loads

    def way(self, task: Task, keyspaces: Iterable[Keyspace]) -> Tell | str:
        """The name of the Job that does it."""
        return _job_name(self.owner, task)

    def job(self, task: Task, keyspaces: Iterable[Keyspace], ground: Ground) -> RunJob | PrepareRestore | str:
        """The action that makes a task's Job; or what it waits for, in words."""
        member, _, share = task.piece.rpartition("/")
        spec = self.spec
        options = replace(
            _options(self.owner, spec.source.s3, ground, spec.backup),
            keyspaces=spec.keyspaces,
            overwrite=spec.overwrite,
            members=len(ground.roster.members),
        )
        door = ground.door(member) if member else ground.query
        if door is None:
            return f"{member} to have an address" if member else _NOBODY
        options = _at(options, door)
        if member:
            options = replace(options, number=int(share.split("-")[1]) - 1)
        made = _job(self.owner, spec.source.s3, task, member, options, ground)
        return PrepareRestore(made, spec.overwrite) if task.part == Verb.PREPARE else RunJob(made, FIRST)

    def reason(self, task: Task) -> str:
        """Why a task is done."""
        return {
            Verb.CHECK: "whether it can be restored here",
            Verb.PREPARE: "keyspaces and tables are made",
            Verb.LOAD: "its share of the files comes, and its rows go to their owners",
        }[Verb(task.part)]

    def stop(self, task: Task) -> Tell | None:
        """What a member is told to break a task off: its Job is deleted."""
        return None

    def tidy(self, roster: Roster) -> Iterator[Tell]:
        """What members are told when it has failed: nothing."""
        yield from ()


_NOBODY = "a member to serve clients"


def sealed(text: str) -> Sealed | None:
    """What the Job told that sealed a backup; None: nothing that can be read."""
    try:
        return msgspec.json.decode(text, type=Sealed)
    except msgspec.MsgspecError:
        return None


def _options(owner: Owner, s3: S3Spec, ground: Ground, backup: str) -> Options:
    return Options(
        bucket=s3.bucket,
        prefix=s3.prefix.strip("/"),
        endpoint=s3.endpoint,
        region=s3.region,
        path_style=bool(s3.endpoint) if s3.path_style is None else s3.path_style,
        backup=backup,
        operation=owner.uid,
        cluster=ground.cluster.metadata.name,
    )


def _at(options: Options, place: Place) -> Options:
    return replace(options, host=place.host, ca=place.ca, name=place.name)


def _job(owner: Owner, s3: S3Spec, task: Task, member: str, options: Options, ground: Ground) -> JsonObject:
    racks = {rack.name: rack for rack in ground.cluster.spec.datacenter.racks}
    return job(
        ground.cluster,
        owner,
        _job_name(owner, task),
        Verb(task.part),
        options,
        s3,
        image=ground.image,
        authentication=ground.roster.authentication,
        member=member,
        rack=racks[ground.roster.seats[member].rack] if member else None,
    )


def _job_name(owner: Owner, task: Task) -> str:
    return job_name(owner.name, task.piece.replace("/", "-"), task.attempt)
