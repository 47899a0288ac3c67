"""What comes next in a backup or a restore. Pure.

What is done is written down as pieces in the Operation's status. A member forgets its jobs when it is restarted, and
Jobs may be deleted by hand; neither makes anybody do a piece again that is written down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from controller.cassandra.access.answers import ClearSnapshot, Flush, JobState, TakeSnapshot
from controller.cassandra.backup.objects import Task, job, job_name
from controller.cassandra.backup.options import Options
from controller.cassandra.backup.seal import Sealed
from controller.cassandra.member.steps import Tell
from controller.framework.jobs import Phase, Run, RunJob, ensure
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from controller.apis.cassandra import CassandraCluster, RackSpec
    from controller.apis.cassandra.operation import S3Spec
    from controller.cassandra.access.answers import Command
    from controller.cassandra.access.members import Door
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.roster import Roster, Seat
    from controller.framework.jobs import Attempt
    from controller.framework.workload import Owner
    from informers import JsonObject

MOST_AT_ONCE = 4
"""Members that bring files to the bucket, or back, at the same time."""
ATTEMPTS = 3
"""Jobs that are made for one piece before the operation has failed."""
ABSENT = Run()


@dataclass(frozen=True, slots=True)
class PrepareRestore:
    """Make the Job that makes the schema and throws away rows, if the Operation still says whose.

    Attributes:
        overwrite: Keyspaces whose rows it throws away.
    """

    job: JsonObject = field(repr=False)
    attempt: Attempt
    overwrite: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What backups and restores of an Operation go by.

    Attributes:
        owner: The Operation.
        cluster: The cluster.
        roster: Who belongs to its ring.
        scene: What was found of its members, with the jobs of `asked_jobs`.
        doors: How members' programs are reached, by member.
        queried: How a member is reached for CQL; None: no member serves clients.
        runs: The Jobs of the Operation, by name.
        finished: Pieces that are written down as done.
        image: The operator's.
    """

    owner: Owner
    cluster: CassandraCluster
    roster: Roster
    scene: Scene
    doors: Mapping[str, Door]
    queried: Door | None
    runs: Mapping[str, Run]
    finished: frozenset[str] = frozenset()
    image: str = ""

    @property
    def members(self) -> Mapping[str, Seat]:
        """Those whose files it is about, always in the same order."""
        return dict(sorted(self.roster.members.items()))

    def rack(self, member: str) -> RackSpec:
        """The rack of a member, as the spec has it."""
        name = self.roster.seats[member].rack
        return next(rack for rack in self.cluster.spec.datacenter.racks if rack.name == name)

    def run(self, task: Task, member: str = "") -> Run:
        """A Job as it is seen."""
        return self.runs.get(job_name(self.owner.name, task, member), ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far an operation is, and what comes next.

    Attributes:
        steps: What comes next.
        finished: All pieces that are done, also those that are not yet written down.
        failed: Why it is at its end, in words; empty: it has not failed.
        done: Members whose files are brought.
        members: Of how many.
        succeeded: Whether nothing is left to do.
        result: What was sealed, of a backup.
    """

    steps: tuple[Step, ...] = ()
    finished: frozenset[str] = frozenset()
    failed: str = ""
    done: int = 0
    members: int = 0
    succeeded: bool = False
    result: Sealed | None = None


@dataclass(slots=True)
class _Pieces:
    """Collects what is done, what comes next, and what went wrong for good."""

    ground: Ground
    s3: S3Spec
    options: Options
    finished: set[str]
    steps: list[Step] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def all_done(self, pieces: Iterable[str]) -> bool:
        return self.finished.issuperset(pieces)

    def job(self, piece: str, task: Task, options: Options, reason: str, member: str = "") -> None:
        """The piece that a Job does."""
        if piece in self.finished:
            return
        ground, run = self.ground, self.ground.run(task, member)
        if run.phase is Phase.COMPLETE:
            self.finished.add(piece)
        elif run.over and (_is_hopeless(run) or run.next.number > ATTEMPTS):
            self.failures.append(": ".join(filter(None, (member, run.failure))))
        else:
            wanted = job(
                ground.cluster,
                ground.owner,
                ground.owner.name,
                task,
                options,
                self.s3,
                image=ground.image,
                authentication=ground.roster.authentication,
                member=member,
                rack=ground.rack(member) if member else None,
            )
            self.steps += ensure(run, wanted, subject=member or "the backup", reason=reason)

    def told(self, piece: str, member: str, commands: Iterable[tuple[str, Command]], reason: str) -> None:
        """The piece that is commands to a member, one after the other."""
        if piece in self.finished:
            return
        jobs, following = self.ground.scene.jobs, None
        # A member remembers the newest of its jobs only: what is known of a later one is enough.
        for job_id, command in reversed(tuple(commands)):
            if (member, job_id) not in jobs:
                self.steps.append(Step(subject=member, reason=reason, waits_for="it to say how far it is"))
                return
            found = jobs[member, job_id]
            if found is None:
                following = Tell(member, job_id, command)
                continue
            if found.state is JobState.FAILED:
                self.failures.append(f"{member}: {type(command).__name__} failed: {found.message}")
                return
            if found.state is JobState.RUNNING:
                self.steps.append(Step(subject=member, reason=reason, waits_for=found.message or f"{job_id} to end"))
                return
            break
        if following is None:
            self.finished.add(piece)
        else:
            self.steps.append(Step(subject=member, reason=reason, action=following))

    def at_members(self, verb: str, one: Callable[[str, str], None]) -> bool:
        """A piece at each member, at a few of them at once; whether all are done."""
        pieces = {f"{verb}/{member}": member for member in self.ground.members}
        for piece, member in pieces.items():
            if len(self.steps) >= MOST_AT_ONCE:
                break
            one(piece, member)
        return self.all_done(pieces)

    def course(self, verb: str, **fields: object) -> Course:
        """How far it is by the pieces of a verb."""
        members = self.ground.members
        return Course(
            steps=tuple(self.steps),
            finished=frozenset(self.finished),
            done=sum(f"{verb}/{member}" in self.finished for member in members),
            members=len(members),
            **fields,  # type: ignore[arg-type]  # the other fields of a Course
        )


def tag(uid: str) -> str:
    """The tag of an Operation's snapshots."""
    return f"rook-backup-{uid}"


def asked_jobs(
    uid: str, members: Iterable[str], keyspaces: Iterable[str], finished: frozenset[str]
) -> set[tuple[str, str]]:
    """The jobs that members have to be asked for, by member and ID."""
    members, found = tuple(members), set()
    for member in members:
        commands = [*_snapshot(uid, keyspaces), *_clear(uid)]
        if f"snapshot/{member}" in finished:
            commands = list(_clear(uid))
        if f"clear/{member}" not in finished:
            found |= {(member, job_id) for job_id, _ in commands}
    return found


def _snapshot(uid: str, keyspaces: Iterable[str]) -> Iterator[tuple[str, Command]]:
    """What a member is told so that its snapshot has all that was written before: IDs of jobs, and their commands.

    Cassandra leaves out of a snapshot what is on its way to disk at that moment, so it is waited for first.
    """
    names = tuple(sorted(keyspaces))
    # Of an earlier try, which a restart of the member broke off.
    yield f"{uid}-anew", ClearSnapshot(tag(uid))
    for name in names:
        yield f"{uid}-flush-{name.replace('_', '.')}", Flush(name)
    yield f"{uid}-snapshot", TakeSnapshot(tag(uid), names)


def _clear(uid: str) -> Iterator[tuple[str, Command]]:
    yield f"{uid}-clear", ClearSnapshot(tag(uid))


def keyspaces_of(ground: Ground, named: Iterable[str]) -> tuple[str, ...]:
    """The keyspaces of a backup: those that are named, or all of the user's. Those that are named may not exist."""
    own = tuple(keyspace.name for keyspace in ground.scene.keyspaces or () if not keyspace.is_system)
    return tuple(sorted(named)) or own


def backup(ground: Ground, s3: S3Spec, named: Iterable[str]) -> Course:
    """How far a backup is, and what comes next.

    Args:
        ground: What it goes by.
        s3: Where it goes.
        named: The keyspaces that the spec names; none: all of the user's.
    """
    uid, options = ground.owner.uid, _options(ground, s3, ground.owner.name)
    pieces = _Pieces(ground, s3, options, set(ground.finished))
    keyspaces = keyspaces_of(ground, named)
    problem = _problem(ground, keyspaces)
    if problem and "seal" not in pieces.finished:
        pieces.failures.append(problem)
    elif ground.scene.keyspaces is None:
        pieces.steps.append(
            Step(subject="the backup", reason=_WHY, waits_for="a member to tell which keyspaces there are")
        )
        return pieces.course("upload")
    if not pieces.failures:
        _bring(pieces, keyspaces)
    if pieces.failures or "seal" in pieces.finished:
        # What is under way ends by itself, and what it brought is of use to the next backup.
        pieces.steps.clear()
        for member in ground.members:
            if f"snapshot/{member}" in pieces.finished or any(
                ground.scene.jobs.get((member, job_id)) for job_id, _ in _snapshot(uid, keyspaces)
            ):
                pieces.told(f"clear/{member}", member, _clear(uid), "the snapshot is not needed any more")
    over = not pieces.steps
    if pieces.failures and "seal" not in pieces.finished:
        return pieces.course("upload", failed=some(pieces.failures, 3) if over else "")
    sealed = _sealed(ground.run(Task.SEAL)) if over else None
    return pieces.course("upload", succeeded=over, result=sealed)


_WHY = "all of its files go to the bucket"


def _bring(pieces: _Pieces, keyspaces: tuple[str, ...]) -> None:
    """Snapshots of all members, so that these are of one time; then their files; then the seal."""
    ground, uid, options = pieces.ground, pieces.ground.owner.uid, pieces.options
    members = ground.members
    for member in members:
        pieces.told(f"snapshot/{member}", member, _snapshot(uid, keyspaces), "its files are kept as they are now")
    if pieces.failures or not pieces.all_done(f"snapshot/{member}" for member in members):
        return

    def upload(piece: str, member: str) -> None:
        own = msgspec.structs.replace(options, tag=tag(uid), host_ids=(members[member].host_id,))
        pieces.job(piece, Task.UPLOAD, own, "new files go to the bucket", member)

    if not pieces.at_members("upload", upload) or pieces.failures:
        return
    if "seal" not in pieces.finished and ground.queried is None:
        pieces.steps.append(Step(subject="the backup", reason=_WHY, waits_for="a member to serve clients"))
        return
    host_ids = tuple(sorted(seat.host_id for seat in members.values()))
    own = msgspec.structs.replace(_at(options, ground.queried), host_ids=host_ids, keyspaces=keyspaces)
    pieces.job("seal", Task.SEAL, own, "all files are there: it becomes whole")


def _problem(ground: Ground, keyspaces: tuple[str, ...]) -> str:
    """Why there is nothing to back up."""
    if ground.scene.keyspaces is None:
        return ""
    there = {keyspace.name for keyspace in ground.scene.keyspaces}
    if strangers := sorted(set(keyspaces) - there):
        return f"spec.backup.keyspaces names {some(strangers, 3)}, which is not there"
    if system := sorted(k.name for k in ground.scene.keyspaces if k.is_system and k.name in keyspaces):
        return f"spec.backup.keyspaces names {some(system, 3)}: Cassandra's own keyspaces cannot be restored"
    return "" if keyspaces else "there is no keyspace but Cassandra's own"


def restore(
    ground: Ground, s3: S3Spec, backup_name: str, keyspaces: tuple[str, ...], overwrite: tuple[str, ...]
) -> Course:
    """How far a restore is, and what comes next.

    Args:
        ground: What it goes by.
        s3: Where the backup is.
        backup_name: Its name.
        keyspaces: Those to restore; none: all.
        overwrite: Those of which tables that exist lose their rows.
    """
    members = ground.members
    options = msgspec.structs.replace(
        _options(ground, s3, backup_name), keyspaces=keyspaces, overwrite=overwrite, members=len(members)
    )
    pieces = _Pieces(ground, s3, options, set(ground.finished))
    prepared = f"prepare/{len(members)}"
    if any(piece.startswith("prepare/") for piece in pieces.finished) and prepared not in pieces.finished:
        pieces.failures.append(f"the cluster has {len(members)} members now, and had another number when it began")
    else:
        _load(pieces, prepared)
    if pieces.failures:
        # Whoever makes another one must not meet rows that this one still brings.
        running = [member for member in members if ground.run(Task.LOAD, member).phase is Phase.RUNNING]
        pieces.steps[:] = [Step(subject=m, reason="others have failed", waits_for="its Job to end") for m in running]
        if running:
            return pieces.course("load")
        began = any(piece.startswith("prepare/") for piece in pieces.finished)
        more = "; some rows may be back: make another Operation that overwrites them" if began else ""
        return pieces.course("load", failed=f"{some(pieces.failures, 3)}{more}")
    return pieces.course("load", succeeded=not pieces.steps)


def _load(pieces: _Pieces, prepared: str) -> None:
    """First whether it can be done; then schema and room for the rows; then the rows, by all members."""
    ground, members, options = pieces.ground, pieces.ground.members, pieces.options
    if "check" not in pieces.finished or prepared not in pieces.finished:
        if ground.queried is None:
            pieces.steps.append(
                Step(subject="the backup", reason="it is brought back", waits_for="a member to serve clients")
            )
            return
        queried = _at(options, ground.queried)
        pieces.job("check", Task.CHECK, queried, "whether it can be restored here")
        if "check" not in pieces.finished:
            return
        pieces.job(prepared, Task.PREPARE, queried, "keyspaces and tables are made")
        pieces.steps = [_by_consent(step, options.overwrite) for step in pieces.steps]
        if prepared not in pieces.finished:
            return
    order = list(members)

    def load(piece: str, member: str) -> None:
        if member not in ground.doors:
            pieces.steps.append(Step(subject=member, reason="it loads rows", waits_for="its pod to have an address"))
            return
        own = msgspec.structs.replace(_at(options, ground.doors[member]), number=order.index(member))
        pieces.job(
            piece, Task.LOAD, own, "it brings its share of the files, and streams the rows to their owners", member
        )

    pieces.at_members("load", load)


def _by_consent(step: Step, overwrite: tuple[str, ...]) -> Step:
    if not isinstance(step.action, RunJob):
        return step
    action = PrepareRestore(step.action.job, step.action.attempt, overwrite)
    return Step(subject=step.subject, reason=step.reason, action=action, waits_for=step.waits_for)


def _options(ground: Ground, s3: S3Spec, backup_name: str) -> Options:
    return Options(
        bucket=s3.bucket,
        prefix=s3.prefix.strip("/"),
        endpoint=s3.endpoint,
        region=s3.region,
        path_style=bool(s3.endpoint) if s3.path_style is None else s3.path_style,
        backup=backup_name,
        operation=ground.owner.uid,
        cluster=ground.cluster.metadata.name,
    )


def _at(options: Options, door: Door | None) -> Options:
    if door is None:
        return options
    return msgspec.structs.replace(options, host=door.host, ca=door.ca, name=door.name)


def _is_hopeless(run: Run) -> bool:
    """Whether the program said that trying again does not help."""
    conditions = run.job.status.conditions if run.job is not None else ()
    return any(c.type in ("Failed", "FailureTarget") and c.reason == "PodFailurePolicy" for c in conditions)


def _sealed(run: Run) -> Sealed | None:
    """What the Job told that sealed the backup; None: it is gone, or says nothing."""
    try:
        return msgspec.json.decode(run.result, type=Sealed)
    except msgspec.MsgspecError:
        return None
