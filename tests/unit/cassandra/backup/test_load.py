"""What a restore leaves on a member's volume when it ends before its time."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from controller.cassandra.access.answers import BulkLoad, Job, JobState, UnansweredError
from controller.cassandra.backup.bucket import BucketError, CorruptError
from controller.cassandra.backup.catalog import BackedUp, Backup, File, Keyspace, MemberFiles, backup_key, member_key
from controller.cassandra.backup.load import SCRATCH, load
from controller.cassandra.member.containers import DATA
from controller.testkit import until, virtual_time

if TYPE_CHECKING:
    from pathlib import Path

    from controller.cassandra.access.answers import Command

FILES = msgspec.json.encode(MemberFiles("h", (File("app", "rows", "nb-1-big-Data.db", 7, "0" * 64),)))
BACKUP = Backup(
    name="monday",
    operation="u",
    cluster="c",
    datacenter="dc1",
    release="5.0.3",
    completed="",
    keyspaces={"app": Keyspace({"dc1": 1}, durable_writes=True, items=(), columns={"rows": {}})},
    members=(BackedUp("h", "a", (), 1, 7, hashlib.sha256(FILES).hexdigest()),),
)


class Bucket:
    """One whose files come only in part."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get(self, key: str) -> bytes:
        return {backup_key("monday"): msgspec.json.encode(BACKUP), member_key("monday", "h"): FILES}[key]

    def download(self, key: str, path: Path, *, size: int, sha256: str) -> None:
        path.with_name(f"{path.name}.part").write_bytes(b"half")
        raise self._error


@pytest.mark.parametrize(
    ("error", "left"), [(CorruptError("damaged"), []), (BucketError("no answer"), ["nb-1-big-Data.db.part"])]
)
async def test_only_what_the_next_try_goes_on_with_is_left(error: Exception, left: list[str], tmp_path: Path) -> None:
    bucket: Any = Bucket(error)
    member: Any = None
    with pytest.raises(type(error)):
        await load(
            bucket,
            member,
            tmp_path,
            backup="monday",
            operation="op",
            keyspaces=(),
            number=0,
            members=1,
            say=lambda _: None,
        )
    assert [path.name for path in (tmp_path / SCRATCH).rglob("*") if path.is_file()] == left


class Whole(Bucket):
    """One whose files come whole, and that notes which came."""

    def __init__(self) -> None:
        super().__init__(AssertionError())
        self.came: list[str] = []

    def download(self, key: str, path: Path, *, size: int, sha256: str) -> None:
        self.came.append(path.name)
        path.write_bytes(b"content")


@dataclass
class Cassandra:
    """A member that does what it is told when the test says so, and notes what is there while it loads."""

    volume: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    loaded: list[str] = field(default_factory=list)

    def end(self, name: str, state: JobState = JobState.SUCCEEDED) -> None:
        self.jobs[name] = Job(name, state, ended=1.0)

    async def job(self, name: str) -> Job | None:
        self.asked[name] += 1
        return self.jobs.get(name)

    async def start(self, name: str, command: Command) -> Job:
        assert isinstance(command, BulkLoad)
        if name not in self.jobs:
            self.loaded.append(command.directory)
            self.end(name)
        return self.jobs[name]


async def bring(
    bucket: Any, member: Any, volume: Path, *, operation: str = "op", number: int = 0, members: int = 1
) -> Any:
    return await load(
        bucket,
        member,
        volume,
        backup="monday",
        operation=operation,
        keyspaces=(),
        number=number,
        members=members,
        say=lambda _: None,
    )


def left_by(operation: str, volume: Path) -> Path:
    """Files that an earlier try has brought, and that nobody has deleted."""
    directory = volume / SCRATCH / operation / "app" / "rows"
    directory.mkdir(parents=True)
    (directory / "nb-1-big-Data.db").write_bytes(b"earlier")
    return directory


@pytest.mark.parametrize("earlier", ["before-1-of-1", "op-1-of-2"], ids=["another restore", "another share"])
@virtual_time
async def test_what_cassandra_still_loads_is_waited_for_and_left_alone(earlier: str, tmp_path: Path) -> None:
    bucket, member = Whole(), Cassandra(tmp_path)
    directory = left_by(earlier, tmp_path)
    member.end(f"load-{earlier}-app-rows-1", JobState.FAILED)
    member.jobs[f"load-{earlier}-app-rows-2"] = Job("it", JobState.RUNNING)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bring, bucket, member, tmp_path)
        await until(lambda: member.asked[f"load-{earlier}-app-rows-2"] > 300, within=600)
        assert (list(directory.iterdir()) != [], bucket.came, member.loaded) == (True, [], [])
        member.end(f"load-{earlier}-app-rows-2")
    assert member.loaded == [f"{DATA}/{SCRATCH}/op-1-of-1/app/rows"]
    assert list((tmp_path / SCRATCH).iterdir()) == []


async def test_what_was_loaded_of_one_share_says_nothing_of_another(tmp_path: Path) -> None:
    bucket, member = Whole(), Cassandra(tmp_path)
    await bring(bucket, member, tmp_path, members=2)
    await bring(bucket, member, tmp_path, members=1)
    assert [path.split("/")[-3] for path in member.loaded] == ["op-1-of-2", "op-1-of-1"]


@virtual_time
async def test_two_jobs_never_load_at_one_member_at_once(tmp_path: Path) -> None:
    bucket, member = Whole(), Cassandra(tmp_path)
    member.jobs["load-op-1-of-1-app-rows-1"] = Job("it", JobState.RUNNING)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bring, bucket, member, tmp_path)
        await until(lambda: bucket.came, within=60)
        with pytest.raises(UnansweredError, match="another Job brings files to this member"):
            await bring(Whole(), Cassandra(tmp_path), tmp_path, operation="other")
        assert [path.name for path in (tmp_path / SCRATCH).iterdir()] == ["op-1-of-1"]
        member.end("load-op-1-of-1-app-rows-1")
