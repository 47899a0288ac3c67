"""Backups of real Cassandra in a real S3, and restores: into the same ring, and into another of a newer release."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.cassandra.access import roles
from controller.cassandra.access.answers import ClearSnapshot, Flush, JobState, TakeSnapshot
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.backup import __main__ as program
from controller.cassandra.backup.bucket import CorruptError, HopelessError
from controller.cassandra.backup.catalog import file_key
from controller.cassandra.backup.load import SCRATCH, Loaded
from controller.cassandra.backup.options import Options
from controller.cassandra.backup.seal import Sealed, read, read_members
from controller.cassandra.backup.upload import Uploaded
from tests.integration import minio
from tests.integration.cassandra import Lab, Node, done, serving, session
from tests.integration.minio import Minio

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="containers with addresses of their own need root"),
]
LOGIN = roles.DEFAULT
PREFIX = "cassandra/tests"
OPERATION = "0d9f7f6e-0000-4000-8000-000000000001"
INSERT = "INSERT INTO app.rows (id, word, gone) VALUES ({number}, '{word}', 'old')"
SCHEMA = (
    "CREATE KEYSPACE app WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}",
    "CREATE TYPE app.place (street text, number int)",
    "CREATE TABLE app.rows (id int PRIMARY KEY, word text, gone text, home frozen<place>) WITH comment = 'a; b'",
    "CREATE INDEX words ON app.rows (word)",
    "CREATE TABLE app.counts (id int PRIMARY KEY, n counter)",
    "CREATE TABLE app.nothing (id int PRIMARY KEY)",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Minio]:
    with minio.serving(tmp_path / "minio") as server:
        yield server


@pytest.fixture(autouse=True)
def open_to_all() -> Iterator[None]:
    """Cassandra opens what is loaded for writing, too; in a cluster, the Job has Cassandra's user."""
    before = os.umask(0)
    yield
    os.umask(before)


async def run(members: HttpMembers, node: Node, *statements: str) -> None:
    async with session(members, node, LOGIN) as cql:
        for statement in statements:
            await cql.query(statement)


async def rows(members: HttpMembers, node: Node) -> dict[int, str]:
    async with session(members, node, LOGIN) as cql:
        return {row["id"]: row["word"] for row in await cql.query("SELECT id, word FROM app.rows")}


@dataclass(frozen=True)
class Program:
    """The program of Jobs at a member, with what is mounted there."""

    node: Node
    server: Minio
    patch: pytest.MonkeyPatch

    async def run(self, command: str, backup: str, **options: object) -> Any:
        """What it tells."""
        directory = self.node.directory / "secrets"
        for name, login in {"login": LOGIN, "admin": self.node.door.login}.items():
            (directory / name).mkdir(parents=True, exist_ok=True)
            (directory / name / "username").write_text(login.user)
            (directory / name / "password").write_text(login.password)
        mounted = {"S3": self.server.credentials, "LOGIN": directory / "login", "ADMIN": directory / "admin"}
        for name, path in mounted.items():
            self.patch.setattr(program, name, path)
        self.patch.setattr(program, "DATA", str(self.node.directory / "data"))
        wanted = {
            "bucket": minio.BUCKET,
            "prefix": PREFIX,
            "endpoint": self.server.endpoint,
            "backup": backup,
            "operation": OPERATION,
            "cluster": "tests",
            "host": self.node.address,
            "ca": self.node.door.ca,
            "name": self.node.door.name,
            **options,
        }
        return await program.COMMANDS[command](Options(**wanted))  # type: ignore[arg-type]  # its own fields


async def back_up(members: HttpMembers, jobs: Program, name: str) -> tuple[Uploaded, Sealed]:
    """As the operator has it done."""
    node = jobs.node
    host_ids = ((await serving(members, node)).host_id,)
    # A snapshot leaves out what is on its way to disk at that moment.
    assert (await done(members, node, f"flush-{name}", Flush("app"))).state is JobState.SUCCEEDED
    taken = await done(members, node, f"snapshot-{name}", TakeSnapshot(name, ("app",)))
    assert taken.state is JobState.SUCCEEDED, taken.message
    brought = await jobs.run("upload", name, tag=name, host_ids=host_ids)
    sealed = await jobs.run("seal", name, host_ids=host_ids, keyspaces=("app",))
    assert (await done(members, node, f"clear-{name}", ClearSnapshot(name))).state is JobState.SUCCEEDED
    assert not [snapshot for snapshot in await members.member(node.door).snapshots() if snapshot.tag == name]
    return brought, sealed


async def bring_back(jobs: Program, name: str, operation: str) -> list[Loaded]:
    """As two members would do it, of whom each has a share."""
    return [
        await jobs.run("load", name, operation=f"{operation}-{number}", number=number, members=2) for number in range(2)
    ]


@pytest.mark.parametrize("lab", [True], indirect=True, ids=["tls"])
async def test_rows_come_back(lab: Lab, members: HttpMembers, server: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    node, bucket = lab.node(0), server.bucket(PREFIX)
    jobs = Program(node, server, monkeypatch)
    node.record(seeds=(node.address,), founder=True)
    await asyncio.to_thread(node.start, "cassandra-41")
    await serving(members, node)
    await run(members, node, *SCHEMA)
    first = {number: f"word {number}" for number in range(100)}
    for number, word in first.items():
        await run(members, node, INSERT.format(number=number, word=word))
    await run(members, node, "UPDATE app.counts SET n = n + 5 WHERE id = 1", "ALTER TABLE app.rows DROP gone")
    brought, sealed = await back_up(members, jobs, "monday")
    assert (brought.new_files, brought.new_bytes) == (brought.files, brought.bytes)
    assert (sealed.files, sealed.bytes, sealed.keyspaces) == (brought.files, brought.bytes, ("app",))

    # The next one brings only what is new; the first one stays as it was.
    await run(members, node, "INSERT INTO app.rows (id, word) VALUES (1000, 'late')", "DELETE FROM app.rows WHERE id=0")
    second = {**first, 1000: "late"}
    del second[0]
    brought, _ = await back_up(members, jobs, "tuesday")
    assert 0 < brought.new_files < brought.files

    # Into the same ring: rows that are there are not thrown away unless somebody said so.
    with pytest.raises(HopelessError, match=r"table app\.rows exists: name app in spec\.restore\.overwrite"):
        await jobs.run("check", "monday")
    assert await rows(members, node) == second
    await jobs.run("check", "monday", overwrite=("app",))
    await jobs.run("prepare", "monday", overwrite=("app",))
    assert await rows(members, node) == {}
    await bring_back(jobs, "monday", "first")
    assert await rows(members, node) == first
    assert list((node.directory / "data" / SCRATCH).iterdir()) == []

    # Into another ring, of a newer release and with another datacenter: its schema is made.
    other = lab.node(1)
    other.record(seeds=(other.address,), founder=True)
    await asyncio.to_thread(other.start, "cassandra-50", datacenter="east")
    await serving(members, other)
    there = Program(other, server, monkeypatch)
    await there.run("check", "tuesday")
    for _ in range(2):  # a Job that was killed does it again
        await there.run("prepare", "tuesday")
    # Tables that another one has made are in the way.
    with pytest.raises(HopelessError, match=r"table app\.rows exists"):
        await there.run("prepare", "tuesday", operation="another")
    # A damaged file brings nothing back.
    (member,) = read_members(bucket, read(bucket, "tuesday"))
    damaged = next(file for file in member.files if file.table == "rows" and file.name.endswith("Data.db"))
    key = file_key(member.host_id, damaged)
    content = bucket.get(key)
    assert content is not None
    bucket.put(key, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptError, match=f"{damaged.name} is damaged"):
        await bring_back(there, "tuesday", "damaged")
    assert await rows(members, other) == {}
    bucket.put(key, content)
    found = await bring_back(there, "tuesday", "good")
    assert sum(share.files for share in found) == len(member.files)
    assert await rows(members, other) == second
    async with session(members, other, LOGIN) as cql:
        assert [row["id"] for row in await cql.query("SELECT id FROM app.rows WHERE word = 'late'")] == [1000]
        assert [row["n"] for row in await cql.query("SELECT n FROM app.counts")] == [5]
        (keyspace,) = [k for k in await members.member(other.door).keyspaces() if k.name == "app"]
        assert keyspace.factors == {"east": 1}
