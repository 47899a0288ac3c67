"""Backups and restores piece by piece: in which order, by whose consent, and whatever dies in between."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.cassandra import CassandraCluster
from controller.apis.cassandra.operation import CASSANDRA_OPERATION, S3Spec
from controller.cassandra.access.answers import Command, Flush, JobState, Keyspace, TakeSnapshot
from controller.cassandra.access.answers import Job as MemberJob
from controller.cassandra.access.members import Door, Login
from controller.cassandra.backup.analyze import (
    ATTEMPTS,
    MOST_AT_ONCE,
    Course,
    Ground,
    PrepareRestore,
    asked_jobs,
    backup,
    restore,
)
from controller.cassandra.backup.options import Options
from controller.cassandra.member.ring import Scene
from controller.cassandra.member.roster import Roster, Seat
from controller.cassandra.member.steps import Tell
from controller.framework.jobs import Phase, Run, RunJob
from controller.framework.workload import Owner
from controller.runtime.kube import Job
from tests.unit.cassandra.life import spec

UID = "0d9f7f6e-0000-4000-8000-000000000001"
S3 = S3Spec(bucket="backups", endpoint="http://minio:9000", credentials_secret_name="s3")
APP = Keyspace("app", "NetworkTopologyStrategy", {"dc1": 1})
AUTH = Keyspace("system_auth", "NetworkTopologyStrategy", {"dc1": 1})
SEALED = '{"bytes": 7, "files": 3, "release": "5.0.3", "keyspaces": ["app"]}'


def failed(reason: str) -> Job:
    condition = {"type": "Failed", "status": "True", "reason": reason}
    return msgspec.convert({"metadata": {"uid": "j"}, "status": {"conditions": [condition]}}, Job)


@dataclass
class World:
    """Members that remember jobs until they are restarted, Jobs that end as they are told, and a status."""

    count: int = 2
    jobs: dict[tuple[str, str], MemberJob] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    options: dict[str, Options] = field(default_factory=dict)
    finished: frozenset[str] = frozenset()
    told: list[tuple[str, Command]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    snapshots: set[str] = field(default_factory=set)
    keyspaces: tuple[Keyspace, ...] | None = (APP, AUTH)
    silent: set[str] = field(default_factory=set)
    act: str = "backup"
    named: tuple[str, ...] = ()
    overwrite: tuple[str, ...] = ()

    @property
    def members(self) -> list[str]:
        return [f"store-dc1-a-{number}" for number in range(self.count)]

    def ground(self) -> Ground:
        names = [keyspace.name for keyspace in self.keyspaces or () if not keyspace.is_system]
        asked = asked_jobs(UID, self.members, self.named or names, self.finished)
        meta = {"name": "store", "namespace": "db", "uid": "u"}
        return Ground(
            owner=Owner(CASSANDRA_OPERATION, "db", "nightly", UID),
            cluster=msgspec.convert({"metadata": meta, "spec": spec(a=self.count)}, CassandraCluster),
            roster=Roster(seats={m: Seat(rack="a", ordinal=i, host_id=f"h{i}") for i, m in enumerate(self.members)}),
            scene=Scene(
                now=0.0,
                keyspaces=self.keyspaces,
                jobs={key: self.jobs.get(key) for key in asked if key[0] not in self.silent},
            ),
            doors={m: Door(f"10.0.0.{i}", Login("u", "p"), ca="PEM", name="n") for i, m in enumerate(self.members)},
            queried=Door("10.0.0.0", Login("u", "p"), ca="PEM", name="n"),
            runs=self.runs,
            finished=self.finished,
            image="rook:1",
        )

    def look(self) -> Course:
        ground = self.ground()
        if self.act == "backup":
            course = backup(ground, S3, self.named)
        else:
            course = restore(ground, S3, "nightly", self.named, self.overwrite)
        self.finished = course.finished
        return course

    def carry_out(self, course: Course) -> None:
        for step in course.steps:
            match step.action:
                case Tell(member, job_id, command):
                    self.told.append((member, command))
                    if isinstance(command, TakeSnapshot):
                        self.snapshots.add(member)
                    elif not isinstance(command, Flush):
                        self.snapshots.discard(member)
                    self.jobs[member, job_id] = MemberJob(job_id, JobState.RUNNING)
                case RunJob(job, _) | PrepareRestore(job, _, _) if not step.waits_for:
                    name = job["metadata"]["name"]
                    self.made.append(name)
                    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
                    self.options[name] = msgspec.json.decode(command[4], type=Options)
                    self.runs[name] = Run(job=msgspec.convert({"metadata": {"uid": "j"}}, Job), phase=Phase.RUNNING)

    def end_jobs(self) -> None:
        for key, job in self.jobs.items():
            if job.state is JobState.RUNNING:
                self.jobs[key] = MemberJob(job.id, JobState.SUCCEEDED)
        for name, run in self.runs.items():
            if run.phase is Phase.RUNNING:
                self.runs[name] = Run(job=run.job, phase=Phase.COMPLETE, result=SEALED)

    def end(self) -> Course:
        for _ in range(60):
            course = self.look()
            if course.succeeded or course.failed:
                return course
            self.carry_out(course)
            self.end_jobs()
        raise AssertionError(f"it never ends: {course}")


def test_a_backup_is_snapshots_of_all_then_files_then_the_seal() -> None:
    world = World(count=MOST_AT_ONCE + 2)
    course = world.end()
    assert (course.succeeded, course.done, course.members) == (True, world.count, world.count)
    assert course.result is not None
    assert (course.result.bytes, course.result.keyspaces) == (7, ("app",))
    uploads = [f"nightly-upload-{member}" for member in world.members]
    assert world.made == [*uploads, "nightly-seal"]
    first = [command for member, command in world.told if member == world.members[0]]
    assert [type(command).__name__ for command in first] == ["ClearSnapshot", "Flush", "TakeSnapshot", "ClearSnapshot"]
    assert world.snapshots == set()
    options = world.options["nightly-upload-store-dc1-a-1"]
    assert (options.tag, options.host_ids, options.path_style) == (f"rook-backup-{UID}", ("h1",), True)
    seal = world.options["nightly-seal"]
    assert (seal.host, seal.ca, seal.name, seal.keyspaces) == ("10.0.0.0", "PEM", "n", ("app",))
    assert seal.host_ids == tuple(f"h{number}" for number in range(world.count))


def test_few_bring_files_at_once() -> None:
    world = World(count=MOST_AT_ONCE + 2)
    while not world.made:
        world.carry_out(world.look())
        if not world.made:
            world.end_jobs()
    assert len(world.made) == MOST_AT_ONCE
    world.carry_out(world.look())
    assert len(world.made) == MOST_AT_ONCE


@pytest.mark.parametrize(
    ("named", "keyspaces", "words"),
    [
        (("none",), (APP,), "spec.backup.keyspaces names none, which is not there"),
        (("system_auth",), (APP, AUTH), "Cassandra's own keyspaces cannot be restored"),
        ((), (AUTH,), "there is no keyspace but Cassandra's own"),
    ],
)
def test_what_cannot_be_backed_up_is_refused(
    named: tuple[str, ...], keyspaces: tuple[Keyspace, ...], words: str
) -> None:
    world = World(named=named, keyspaces=keyspaces)
    assert words in world.end().failed
    assert not world.told


def test_nobody_knows_the_keyspaces() -> None:
    (step,) = World(keyspaces=None).look().steps
    assert step.waits_for == "a member to tell which keyspaces there are"


def run_until(world: World, name: str) -> None:
    while name not in world.made:
        world.carry_out(world.look())
        if name not in world.made:
            world.end_jobs()


@pytest.mark.parametrize("reason", ["PodFailurePolicy", "BackoffLimitExceeded"])
def test_a_backup_that_failed_leaves_no_snapshot(reason: str) -> None:
    world = World()
    name = f"nightly-upload-{world.members[1]}"
    run_until(world, name)
    tries = 1 if reason == "PodFailurePolicy" else ATTEMPTS
    for _ in range(tries):
        assert not world.look().failed
        before = world.runs[name].job
        number = str(world.made.count(name))
        wrong = failed(reason)
        wrong = msgspec.structs.replace(
            wrong, metadata=msgspec.structs.replace(wrong.metadata, annotations={"rook.io/attempt": number})
        )
        assert before is not None
        world.runs[name] = Run(job=wrong, phase=Phase.FAILED, trouble="no bucket")
        world.carry_out(world.look())
    assert world.made.count(name) == tries
    course = world.end()
    assert course.failed == f"{world.members[1]}: no bucket"
    assert world.snapshots == set()
    assert "nightly-seal" not in world.made


def test_who_does_not_answer_is_waited_for() -> None:
    world = World(silent={"store-dc1-a-1"})
    for _ in range(10):
        course = world.look()
        world.carry_out(course)
        world.end_jobs()
    (step,) = course.steps
    assert (step.subject, step.waits_for) == ("store-dc1-a-1", "it to say how far it is")
    assert not world.made
    world.silent.clear()
    assert world.end().succeeded


def restoring(**changes: Any) -> World:
    return World(**{"act": "restore", "keyspaces": None, **changes})


def test_a_restore_is_checked_then_prepared_then_loaded() -> None:
    world = restoring(count=3, named=("app",), overwrite=("app",))
    course = world.end()
    assert (course.succeeded, course.done) == (True, 3)
    loads = [f"nightly-load-{member}" for member in world.members]
    assert world.made == ["nightly-check", "nightly-prepare", *loads]
    assert [world.options[name].number for name in loads] == [0, 1, 2]
    assert {world.options[name].members for name in loads} == {3}
    assert [world.options[name].host for name in loads] == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    assert world.options["nightly-prepare"].overwrite == ("app",)


def test_rows_are_thrown_away_by_an_act_that_asks_for_consent() -> None:
    world = restoring(overwrite=("app",))
    world.carry_out(world.look())
    world.end_jobs()
    (step,) = world.look().steps
    assert isinstance(step.action, PrepareRestore)
    assert step.action.overwrite == ("app",)


def test_what_was_prepared_is_never_prepared_again() -> None:
    """It would throw away what was loaded."""
    world = restoring()
    run_until(world, f"nightly-load-{world.members[0]}")
    world.runs.clear()  # by hand
    course = world.end()
    assert course.succeeded
    assert world.made.count("nightly-prepare") == 1


def test_another_number_of_members_is_another_restore() -> None:
    """Each has a share by that number, so some files would be nobody's."""
    world = restoring()
    run_until(world, f"nightly-load-{world.members[0]}")
    world.end_jobs()
    world.look()
    world.count = 3
    assert "the cluster has 3 members now, and had another number when it began" in world.end().failed


def test_a_restore_has_failed_when_nobody_brings_rows_any_more() -> None:
    world = restoring()
    first, second = (f"nightly-load-{member}" for member in world.members)
    run_until(world, first)
    world.runs[first] = Run(job=failed("PodFailurePolicy"), phase=Phase.FAILED, trouble="no room")
    course = world.look()
    assert not course.failed
    assert [step.waits_for for step in course.steps] == ["its Job to end"]
    world.runs[second] = Run(job=failed("x"), phase=Phase.COMPLETE)
    course = world.look()
    assert course.failed.startswith(f"{world.members[0]}: no room; some rows may be back")


@given(st.sampled_from(("backup", "restore")), st.integers(1, 3), st.integers(0, 2**32))
def test_whatever_dies_it_ends_and_the_order_holds(act: str, count: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # not a secret
    world = World(count=count, act=act)
    for _ in range(40):
        written = world.finished
        course = world.look()
        if course.succeeded:
            break
        event = chance.choice(("go on", "go on", "end jobs", "restart", "operator dies", "silence", "answer"))
        match event:
            case "end jobs":
                world.end_jobs()
            case "restart":
                gone = chance.choice(world.members)
                world.jobs = {key: job for key, job in world.jobs.items() if key[0] != gone}
            case "operator dies":
                world.finished = written  # before it wrote down what it found
            case "silence":
                world.silent.add(chance.choice(world.members))
            case "answer":
                world.silent.clear()
            case _:
                world.carry_out(course)
        made = world.made
        if act == "backup" and any("upload" in name for name in made) and "seal" not in world.finished:
            assert world.snapshots == set(world.members)
        if "nightly-seal" in made:
            assert all(f"upload/{member}" in world.finished | written for member in world.members)
    world.silent.clear()
    assert world.end().succeeded
    assert world.snapshots == set()
    assert len(world.made) == len(set(world.made)), "a piece was done twice"
