"""Backups and restores in the life of a cluster: the whole operator against a world that follows Cassandra's rules."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from controller.cassandra.access.answers import (
    ClearSnapshot,
    Decommission,
    Flush,
    Keyspace,
    TakeSnapshot,
    UnansweredError,
)
from controller.cassandra.backup.acts import AT_ONCE, TAG
from controller.cassandra.cluster.observe import OPERATIONS, SCHEDULES
from controller.runtime.kube import JOB, POD, SECRET
from controller.testkit import virtual_time
from tests.unit.cassandra.life import NAME, Life, living, operator, spec
from tests.unit.cassandra.operation.jobs import Jobs
from tests.unit.cassandra.talk import WorldMember
from tests.unit.cassandra.world import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.cassandra.access.answers import Command, Job

S3 = {"bucket": "backups", "prefix": "store/", "endpoint": "http://minio:9000", "credentialsSecretName": "s3"}
BACKUP: dict[str, Any] = {"destination": {"s3": S3}}
RESTORE: dict[str, Any] = {"source": {"s3": S3}, "backup": "monday"}
FOR_GOOD = 10**6


@asynccontextmanager
async def ring(
    *, operated: bool = True, seed: int = 0, encryption: dict[str, Any] | None = None, **racks: int
) -> AsyncIterator[tuple[Life, Jobs]]:
    """A ring in which nothing is left to do, and somebody who runs Jobs."""
    async with living(operated=operated, seed=seed) as life, anyio.create_task_group() as tasks:
        jobs = Jobs(life.server)

        async def go_on() -> None:
            while True:
                await anyio.sleep(1)
                jobs.tick()

        tasks.start_soon(go_on)
        secret(life, "s3", AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="key")
        wanted: dict[str, Any] = racks or {"a": 2}
        life.create({**spec(**wanted), **({"encryption": encryption} if encryption else {})})
        if operated:
            await life.ready()
            life.world.told.clear()
        yield life, jobs
        tasks.cancel_scope.cancel()


def secret(life: Life, name: str, **data: str) -> None:
    """Makes a Secret of the user's."""
    found = {key.replace("_crt", ".crt"): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    life.server.create(SECRET, {"metadata": {"name": name, "namespace": NAMESPACE}, "data": found})


def told(life: Life) -> list[tuple[str, str]]:
    """What members were told for backups, in order."""
    kinds = (ClearSnapshot, Flush, TakeSnapshot)
    return [
        (name.removeprefix("store-dc1-"), type(command).__name__)
        for name, command in life.world.told
        if isinstance(command, kinds)
    ]


def pause(life: Life, name: str, *, paused: bool) -> None:
    life.server.patch(OPERATIONS, NAMESPACE, name, {"spec": {"paused": paused}})


@virtual_time
async def test_a_backup_is_snapshots_of_all_then_files_then_the_seal() -> None:
    async with ring(a=3, b=3) as (life, jobs):
        life.order("monday", backup=BACKUP)
        await life.until(lambda: jobs.began)
        members = [f"{rack}-{number}" for rack in "ab" for number in range(3)]
        for member in members:
            own = [what for name, what in told(life) if name == member]
            assert own == ["ClearSnapshot", "Flush", "TakeSnapshot"]
        await life.ended("monday")

        assert jobs.commands() == [*["upload"] * 6, "seal"]
        assert jobs.most == AT_ONCE
        for member in members:
            assert [what for name, what in told(life) if name == member][3:] == ["ClearSnapshot"]
        status = life.operation("monday").status
        assert (status.act, status.progress.done, status.progress.total) == ("Backup", 19, 19)
        assert status.backup is not None
        assert (status.backup.name, status.backup.bytes, status.backup.keyspaces) == ("monday", 7, ("shop",))
        host_ids = {name: seat.host_id for name, seat in life.roster.members.items()}
        uploads = [options for command, options in jobs.began if command == "upload"]
        assert sorted(options.host_ids for options in uploads) == sorted((host_id,) for host_id in host_ids.values())
        assert {(o.tag, o.backup, o.prefix, o.path_style) for o in uploads} == {(TAG, "monday", "store", True)}
        _, seal = jobs.began[-1]
        assert seal.host_ids == tuple(sorted(host_ids.values()))
        assert (seal.keyspaces, seal.cluster) == (("shop",), "store")
        assert seal.host


@virtual_time
async def test_a_snapshot_that_a_restart_broke_off_is_taken_anew_from_its_first_part_on() -> None:
    async with ring(a=2) as (life, jobs):
        life.order("monday", backup=BACKUP)
        await life.until(lambda: ("a-1", "TakeSnapshot") in told(life))
        life.world.kill("store-dc1-a-1")
        await life.ended("monday")
        parts = [what for name, what in told(life) if name == "a-1"]
        assert parts[:3] == ["ClearSnapshot", "Flush", "TakeSnapshot"]
        assert parts[3:] in (
            ["ClearSnapshot", "Flush", "TakeSnapshot", "ClearSnapshot"],
            ["ClearSnapshot"],  # it was done when it died
        )
        assert jobs.commands() == ["upload", "upload", "seal"]


@virtual_time
async def test_what_fails_is_tried_again() -> None:
    async with ring(a=2) as (life, jobs):
        jobs.failing = {"upload": 2, "seal": 1}
        life.order("monday", backup=BACKUP)
        await life.ended("monday", within=3600)
        assert jobs.commands().count("seal") == 2
        assert jobs.commands().count("upload") == 4


@virtual_time
async def test_what_is_hopeless_is_not_and_no_snapshot_is_left() -> None:
    async with ring(a=2) as (life, jobs):
        jobs.failing = {"upload": FOR_GOOD}
        life.order("monday", backup=BACKUP)
        await life.ended("monday", "Failed")
        assert "there is no bucket backups" in life.operation("monday").status.message
        assert not life.operation("monday").status.message.startswith("failed 3 times")
        assert set(jobs.commands()) == {"upload"}
        assert len(jobs.began) == 2
        await life.until(lambda: {name for name, what in told(life)[-2:] if what == "ClearSnapshot"} == {"a-0", "a-1"})


@virtual_time
@pytest.mark.parametrize(
    ("keyspaces", "words"),
    [
        (["shoe"], "spec.backup.keyspaces has shoe"),
        (["system_auth"], "Cassandra's own keyspaces cannot be restored"),
    ],
)
async def test_what_cannot_be_backed_up_is_refused(keyspaces: list[str], words: str) -> None:
    async with ring(a=1) as (life, jobs):
        life.order("monday", backup={**BACKUP, "keyspaces": keyspaces})
        await life.ended("monday", "Failed")
        assert words in life.operation("monday").status.message
        assert (told(life), jobs.began) == ([], [])


@virtual_time
@pytest.mark.parametrize(
    ("act", "field", "data", "words"),
    [
        ("backup", "caSecretName", None, "which does not exist"),
        ("restore", "caSecretName", {"tls_crt": "CERTIFICATE"}, "which has nothing under the key ca.crt"),
        ("backup", "caSecretName", {"ca_crt": ""}, "which has nothing under the key ca.crt"),
        (
            "restore",
            "credentialsSecretName",
            {"AWS_ACCESS_KEY_ID": "id"},
            "nothing under the key AWS_SECRET_ACCESS_KEY",
        ),
    ],
)
async def test_a_secret_that_lacks_what_is_needed_of_it_is_named(
    act: str, field: str, data: dict[str, str] | None, words: str
) -> None:
    async with ring(a=1) as (life, jobs):
        if data is not None:
            secret(life, "other", **data)
        s3 = {**S3, field: "other"}
        life.order(
            "monday", **{act: {**RESTORE, "source": {"s3": s3}} if act == "restore" else {"destination": {"s3": s3}}}
        )
        path = "spec.restore.source.s3" if act == "restore" else "spec.backup.destination.s3"
        begin = f"{path}.{field} names Secret other, "
        await life.until(lambda: words in life.operation("monday").status.message)
        assert life.operation("monday").status.message.startswith(f"waits for a Secret: {begin}")
        await life.ended("monday", "Failed")
        (failed,) = [c for c in life.operation("monday").status.conditions if c.type == "Failed"]
        assert (failed.status, failed.message.startswith(begin), words in failed.message) == ("True", True, True)
        assert (told(life), jobs.began) == ([], [])


@virtual_time
async def test_a_secret_may_come_after_the_operation_that_names_it() -> None:
    async with ring(a=1) as (life, _):
        life.order("monday", backup={"destination": {"s3": {**S3, "caSecretName": "s3-ca"}}})
        await asyncio.sleep(60)
        secret(life, "s3-ca", ca_crt="CERTIFICATE")
        await life.ended("monday")


@virtual_time
async def test_a_schedule_with_the_longest_name_makes_backups() -> None:
    async with ring(a=1) as (life, jobs):
        meta = {"name": "s" * 253, "namespace": NAMESPACE}
        operation = {"cluster": NAME, "backup": BACKUP}
        life.server.create(SCHEDULES, {"metadata": meta, "spec": {"schedule": "*/10 * * * *", "operation": operation}})
        await life.until(lambda: jobs.commands() == ["upload", "seal"] * 2, within=3600)
        names = {options.backup for _, options in jobs.began}
        assert {len(name) for name in names} == {253}
        assert len(names) == 2
        made = [job["metadata"]["name"] for job in life.server.list(JOB, NAMESPACE)]
        assert max(map(len, made)) <= 63
        assert len(set(made)) == len(made) == 4


@virtual_time
async def test_only_the_keyspaces_that_are_named() -> None:
    async with ring(a=1) as (life, jobs):
        life.world.keyspaces["other"] = Keyspace("other", "NetworkTopologyStrategy", {"dc1": 1})
        life.order("monday", backup={**BACKUP, "keyspaces": ["shop"]})
        await life.ended("monday")
        assert [c for _, c in life.world.told if isinstance(c, Flush)] == [Flush("shop")]
        assert [c for _, c in life.world.told if isinstance(c, TakeSnapshot)] == [TakeSnapshot(TAG, ("shop",))]
        assert jobs.began[-1][1].keyspaces == ("shop",)


@virtual_time
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("act", ["backup", "restore"])
async def test_an_operator_that_dies_at_any_moment_goes_on_and_does_nothing_twice(act: str, seed: int) -> None:
    async with ring(operated=False, seed=seed, a=2) as (life, jobs):
        async with operator(life):
            await life.ready()
            life.world.told.clear()
            life.order("monday", **{act: BACKUP if act == "backup" else RESTORE})
            await life.until(lambda: life.operation("monday").status.phase)
        for _ in range(200):
            if life.operation("monday").status.completed:
                break
            async with operator(life):
                await asyncio.sleep(life.world.chance.uniform(0.05, 4))
            await asyncio.sleep(life.world.chance.uniform(0, 3))
        assert life.operation("monday").status.phase == "Succeeded", life.operation("monday").status
        expected = ["upload", "upload", "seal"] if act == "backup" else ["check", "prepare", "load", "load"]
        assert jobs.commands() == expected
        assert life.world.violations == []


@virtual_time
async def test_a_restore_is_checked_then_prepared_then_loaded_by_all() -> None:
    async with ring(a=3) as (life, jobs):
        life.order("back", restore={**RESTORE, "keyspaces": ["app"], "overwrite": ["app"]})
        await life.ended("back")
        assert jobs.commands() == ["check", "prepare", "load", "load", "load"]
        loads = [options for command, options in jobs.began if command == "load"]
        assert sorted((options.number, options.members) for options in loads) == [(0, 3), (1, 3), (2, 3)]
        assert len({options.host for options in loads}) == 3
        assert {(o.keyspaces, o.overwrite, o.backup) for _, o in jobs.began} == {(("app",), ("app",), "monday")}


@virtual_time
async def test_a_restore_that_is_refused_touches_nothing() -> None:
    async with ring(a=1) as (life, jobs):
        jobs.failing = {"check": FOR_GOOD}
        life.order("back", restore=RESTORE)
        await life.ended("back", "Failed")
        assert jobs.commands() == ["check"]


@virtual_time
async def test_rows_are_not_thrown_away_once_the_operation_is_being_deleted() -> None:
    async with ring(a=1) as (life, jobs):
        jobs.stuck = {"check"}
        life.order("back", restore={**RESTORE, "overwrite": ["app"]})
        await life.until(lambda: jobs.began)
        life.server.delete(OPERATIONS, NAMESPACE, "back")
        jobs.stuck = set()
        await life.until(lambda: life.server.find(OPERATIONS, NAMESPACE, "back") is None)
        assert jobs.commands() == ["check"]
        assert not [job for job in life.server.list(JOB, NAMESPACE) if "prepare" in job["metadata"]["name"]]


@virtual_time
async def test_a_restore_waits_for_what_cassandra_still_loads_of_one_that_was_broken_off() -> None:
    async with ring(a=3) as (life, jobs):
        jobs.stuck = {"load"}
        life.order("late", restore=RESTORE, deadlineSeconds=60)
        await life.until(lambda: "load" in jobs.commands())
        life.world.loading = {"store-dc1-a-0", "store-dc1-a-2"}
        await life.ended("late", "Failed")
        assert not jobs.running()
        jobs.began.clear()
        jobs.stuck = set()
        life.order("again", restore={**RESTORE, "overwrite": ["app"]})
        await asyncio.sleep(120)
        message = "store-dc1-a-0, store-dc1-a-2 to end a bulk load, as of a restore that was broken off"
        assert life.operation("again").status.message == f"waits for {message}"
        assert jobs.began == []
        life.world.loading = set()
        await life.until(lambda: "load" in jobs.commands())
        # Its own rows are on their way.
        life.world.loading = {"store-dc1-a-0"}
        await life.ended("again")


@virtual_time
async def test_a_deadline_ends_the_job_that_is_at_work() -> None:
    async with ring(a=1) as (life, jobs):
        jobs.stuck = {"upload"}
        life.order("monday", backup=BACKUP, deadlineSeconds=60)
        await life.ended("monday", "Failed")
        assert "deadlineSeconds" in life.operation("monday").status.message
        assert life.server.list(JOB, NAMESPACE) == []
        await life.until(lambda: told(life)[-1] == ("a-0", "ClearSnapshot"))


CORDONED: dict[str, Any] = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "message": "1 node(s) were unschedulable"}],
}
LOST: dict[str, Any] = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "False"}],
    "containerStatuses": [{"name": "backup", "ready": True, "state": {"running": {}}}],
}


@virtual_time
async def test_a_job_that_is_not_scheduled_is_given_up_after_a_while() -> None:
    async with ring(a=3) as (life, jobs):
        jobs.stuck, jobs.pods = {"upload"}, {"upload": CORDONED}
        life.order("monday", backup=BACKUP)
        await life.until(lambda: jobs.began)
        life.scale(a=2)
        await life.until(lambda: not jobs.running(), within=2400)
        reason = "upload: nothing is known of it any more: no pod of it has run for 30 min: pod monday-"
        (row, *_) = life.operation("monday").status.members.values()
        assert row.message.startswith(reason)
        assert "not scheduled: 1 node(s) were unschedulable" in row.message
        # Nobody holds the turn while there is nothing to do.
        await life.until(lambda: len(life.roster.seats) == 2, within=1200)


@virtual_time
async def test_nothing_is_begun_while_a_pod_whose_node_does_not_answer_may_be_at_work() -> None:
    async with ring(a=1) as (life, jobs):
        jobs.stuck, jobs.pods = {"prepare"}, {"prepare": LOST}
        life.order("back", restore={**RESTORE, "overwrite": ["app"]})
        await life.until(lambda: "prepare" in jobs.commands())
        # Only the kubelet ends a pod, and it does not answer.
        life.server.patch(POD, NAMESPACE, "back-prepare-x", {"metadata": {"finalizers": ["example.org/kubelet"]}})
        await life.until(lambda: not jobs.running(), within=2400)
        jobs.stuck, jobs.pods = set(), {}
        await asyncio.sleep(600)
        assert jobs.commands() == ["check", "prepare"]
        message = life.operation("back").status.message
        assert message == (
            "waits for pod back-prepare-x on node n1 to end, whose Job is gone: where the node is gone for good, "
            "delete the pod by force"
        )
        life.server.patch(POD, NAMESPACE, "back-prepare-x", {"metadata": {"finalizers": None}})
        await life.ended("back")
        assert jobs.commands() == ["check", "prepare", "prepare", "load"]


@virtual_time
async def test_the_ring_does_not_change_while_files_are_brought() -> None:
    async with ring(a=3) as (life, jobs):
        jobs.stuck = {"upload"}
        life.order("monday", backup=BACKUP)
        await life.until(lambda: jobs.began)
        life.scale(a=2)
        await asyncio.sleep(60)
        assert not [c for _, c in life.world.told if isinstance(c, Decommission)]
        jobs.stuck = set()
        await life.until(lambda: life.operation("monday").status.completed, within=3600)
        sealed = [options for command, options in jobs.began if command == "seal"]
        assert all(len(options.host_ids) == 3 for options in sealed)


@virtual_time
@pytest.mark.parametrize("part", ["upload", "seal"])
async def test_a_backup_is_not_whole_without_the_part_of_a_member_that_left_meanwhile(part: str) -> None:
    async with ring(a=3) as (life, jobs):
        jobs.stuck = {part}
        life.order("monday", backup=BACKUP)
        await life.until(lambda: part in jobs.commands())
        jobs.failing = {part: 1}
        pause(life, "monday", paused=True)
        jobs.stuck = set()
        await life.until(lambda: life.operation("monday").status.phase == "Paused")
        life.scale(a=2)
        await life.until(lambda: len(life.roster.seats) == 2, within=3600)
        pause(life, "monday", paused=False)
        await life.until(lambda: life.operation("monday").status.completed, within=3600)
        status = life.operation("monday").status
        assert (status.phase, status.backup) == ("Failed", None)
        assert "a-2 left the ring before the backup was whole" in status.message


async def paused_with_snapshots(life: Life, jobs: Jobs, name: str, **more: Any) -> None:
    """A backup that is paused when members have their snapshots, and one of them has brought its files."""
    jobs.stuck = {"upload"}
    life.order(name, backup=BACKUP, **more)
    await life.until(lambda: jobs.began)
    pause(life, name, paused=True)
    jobs.stuck = set()
    await life.until(lambda: life.operation(name).status.phase == "Paused")
    life.world.told.clear()


@virtual_time
async def test_no_other_backup_takes_the_snapshots_of_one_that_is_paused() -> None:
    async with ring(a=AT_ONCE + 1) as (life, jobs):
        await paused_with_snapshots(life, jobs, "monday")
        life.order("tuesday", backup=BACKUP)
        await asyncio.sleep(120)
        assert life.operation("tuesday").status.message == (
            "waits for Operation monday, whose snapshots members keep, to end"
        )
        assert told(life) == []
        life.order("weekly", repair={"keyspaces": ["shop"]})  # it need not wait behind the second one
        await life.ended("weekly")
        pause(life, "monday", paused=False)
        await life.ended("monday")
        await life.ended("tuesday")
        assert jobs.commands() == [*["upload"] * (AT_ONCE + 1), "seal"] * 2


@virtual_time
@pytest.mark.parametrize("end", ["deleted", "late"])
async def test_no_snapshot_is_left_of_one_that_is_given_up_while_it_is_paused(end: str) -> None:
    async with ring(a=2) as (life, jobs):
        await paused_with_snapshots(life, jobs, "monday", **({"deadlineSeconds": 300} if end == "late" else {}))
        if end == "deleted":
            life.server.delete(OPERATIONS, NAMESPACE, "monday")
            await life.until(lambda: life.server.find(OPERATIONS, NAMESPACE, "monday") is None)
        else:
            await life.ended("monday", "Failed", within=3600)
        assert sorted(told(life)) == [("a-0", "ClearSnapshot"), ("a-1", "ClearSnapshot")]


@virtual_time
async def test_a_snapshot_is_cleared_though_its_member_does_not_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start, left = WorldMember.start, [3]

    async def deaf(member: WorldMember, job: str, command: Command) -> Job:
        if isinstance(command, ClearSnapshot) and "-clear" in job and left[0]:
            left[0] -= 1
            raise UnansweredError("no answer")
        return await start(member, job, command)

    monkeypatch.setattr(WorldMember, "start", deaf)
    async with ring(a=2) as (life, jobs):
        jobs.failing = {"upload": FOR_GOOD}
        life.order("monday", backup=BACKUP)
        await life.ended("monday", "Failed")
        await life.until(lambda: sorted(told(life)[-2:]) == [("a-0", "ClearSnapshot"), ("a-1", "ClearSnapshot")])
        life.order("weekly", repair={"keyspaces": ["shop"]})
        await life.ended("weekly")


@virtual_time
@pytest.mark.parametrize(
    ("encryption", "door", "clients"),
    [({"internode": True, "client": "Required"}, True, True), ({"internode": True, "client": ""}, True, False)],
    ids=["all", "members alone"],
)
async def test_jobs_speak_tls_where_members_do(encryption: dict[str, Any], door: bool, clients: bool) -> None:
    async with ring(encryption=encryption, a=1) as (life, jobs):
        life.order("back", restore=RESTORE)
        await life.ended("back")
        options = dict(jobs.began)
        assert ("BEGIN CERTIFICATE" in options["load"].ca, bool(options["load"].name)) == (door, door)
        assert ("BEGIN CERTIFICATE" in options["prepare"].ca, bool(options["prepare"].name)) == (clients, clients)
