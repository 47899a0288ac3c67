"""Schemas and rings that a backup is refused for, and CQL that is taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.cassandra.backup import prepare, schema
from controller.cassandra.backup.__main__ import MOST_MESSAGE
from controller.cassandra.backup.acts import sealed
from controller.cassandra.backup.bucket import HopelessError
from controller.cassandra.backup.catalog import Backup, Item, Keyspace, backup_key
from controller.cassandra.backup.seal import seal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROWS = "CREATE TABLE app.rows (\n    id int PRIMARY KEY,\n    gone int\n) WITH comment = 'a) WITH b'\n    AND x = 1"
OWN = str(schema.own_id("op", "app", "rows"))
APP = Keyspace(
    factors={"dc1": 3},
    durable_writes=False,
    items=(
        Item("type", "place", ("CREATE TYPE app.place (a int)",)),
        Item("table", "rows", (ROWS, "ALTER TABLE app.rows DROP gone")),
        Item("index", "words", ("CREATE INDEX words ON app.rows (word)",)),
    ),
    columns={"rows": {"id": "partition_key int", "word": "regular text"}},
)
BACKUP = Backup(
    name="monday",
    operation="u",
    cluster="c",
    datacenter="dc1",
    release="4.1.7",
    completed="",
    keyspaces={"app": APP, "two": APP},
    members=(),
)


@dataclass
class Cluster:
    """A session to a cluster with some tables; what changes it is noted."""

    release: str = "5.0.3"
    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    there: list[tuple[str, str]] = field(default_factory=list)
    id: str = "somebody's"
    asked: list[str] = field(default_factory=list)

    async def query(self, statement: str, *, quorum: bool = False) -> Sequence[Mapping[str, Any]]:
        if statement.startswith(("CREATE", "ALTER", "TRUNCATE")):
            self.asked.append(statement)
            return []
        if "system_schema.tables" in statement:
            return [{"table_name": name, "id": self.id} for name in self.tables]
        if "system_schema.columns" in statement:
            return [
                {"table_name": table, "column_name": name, "kind": kind.split()[0], "type": kind.split()[1]}
                for table, columns in self.tables.items()
                for name, kind in columns.items()
            ]
        if "system_schema.keyspaces" in statement:
            return [{"keyspace_name": "app"}] if self.there else []
        if statement.startswith("DESCRIBE"):
            return [{"type": kind, "name": name} for kind, name in self.there]
        return [{"release_version": self.release, "data_center": "east", "schema_version": "1"}]


class Bucket:
    """One that has a backup."""

    def get(self, key: str) -> bytes | None:
        return msgspec.json.encode(BACKUP) if key == backup_key("monday") else None


async def check(cluster: Cluster, **changes: Any) -> prepare.Restorable:
    wanted = {"backup": "monday", "keyspaces": ("app",), "overwrite": (), "operation": "op", **changes}
    return await prepare.check(Bucket(), cluster, **wanted)  # type: ignore[arg-type]  # as much as is needed


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("CREATE TABLE a (b int);", ["CREATE TABLE a (b int)"]),
        ("A 'x;''y' \"z;\";\nB $$ c; d $$;", ["A 'x;''y' \"z;\"", "B $$ c; d $$"]),
        (" ; ", []),
    ],
)
def test_statements_are_told_apart(text: str, statements: list[str]) -> None:
    assert list(schema.split(text)) == statements


async def test_what_can_be_restored_is_told() -> None:
    found = await check(Cluster(), keyspaces=())
    assert (found.release, found.keyspaces) == ("4.1.7", ("app", "two"))
    same = Cluster(tables={"rows": APP.columns["rows"]})
    assert (await check(same, overwrite=("app",))).keyspaces == ("app",)
    assert not same.asked


@pytest.mark.parametrize(
    ("cluster", "changes", "words"),
    [
        (Cluster(), {"backup": "sunday"}, "the bucket has no backup sunday"),
        (Cluster(), {"keyspaces": ("app", "none")}, "has no keyspace none; it has app, two"),
        (Cluster(), {"overwrite": ("two",)}, "overwrite names two, which is not to be restored"),
        (Cluster("4.0.11"), {}, r"is of Cassandra 4\.1\.7, which 4\.0\.11 cannot read"),
        (Cluster(tables={"rows": APP.columns["rows"]}), {}, r"app\.rows exists: name app in spec\.restore\.overwrite"),
        (
            Cluster(tables={"rows": {"id": "partition_key int", "word": "regular blob"}}),
            {"overwrite": ("app",)},
            r"column word is regular blob; the backup has regular text",
        ),
        (Cluster(tables={"rows": {"id": "partition_key int"}}), {"overwrite": ("app",)}, "column word is not there"),
    ],
)
async def test_what_cannot_be_restored_is_refused(cluster: Cluster, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(HopelessError, match=words):
        await check(cluster, **changes)
    assert not cluster.asked


async def make(cluster: Cluster, *overwrite: str) -> list[str]:
    await prepare.prepare(
        Bucket(),  # type: ignore[arg-type]  # as much as is needed
        cluster,
        backup="monday",
        keyspaces=("app",),
        overwrite=overwrite,
        members=2,
        operation="op",
    )
    return cluster.asked


async def test_what_is_absent_is_made_and_nothing_else() -> None:
    keyspace, *rest = await make(Cluster())
    assert "'east': '2'" in keyspace
    assert "durable_writes = false" in keyspace
    place, rows, *more = [statement for item in APP.items for statement in item.statements]
    assert rest == [place, rows.replace("\n) WITH ", f"\n) WITH ID = {OWN} AND "), *more]
    some = Cluster(there=[("type", "place"), ("table", "rows")], tables={"rows": {}}, id=OWN)
    assert await make(some) == ["CREATE INDEX words ON app.rows (word)"]


async def test_rows_are_thrown_away_by_consent_alone() -> None:
    whole = [("type", "place"), ("table", "rows"), ("index", "words")]
    assert await make(Cluster(there=whole, tables={"rows": {}, "mine": {}}, id=OWN)) == []
    # Tables that the backup does not have keep their rows.
    same = {"rows": APP.columns["rows"], "mine": {}}
    assert await make(Cluster(there=whole, tables=same), "app") == ['TRUNCATE "app"."rows"']


@pytest.mark.parametrize(
    ("columns", "overwrite", "words"),
    [
        (APP.columns["rows"], (), r"table app\.rows exists: name app in spec\.restore\.overwrite"),
        ({"id": "partition_key text"}, ("app",), "its column id is partition_key text"),
    ],
)
async def test_a_table_that_came_after_the_check_is_refused_and_keeps_its_rows(
    columns: dict[str, str], overwrite: tuple[str, ...], words: str
) -> None:
    cluster = Cluster(there=[("table", "rows")], tables={"rows": columns})
    with pytest.raises(HopelessError, match=words):
        await make(cluster, *overwrite)
    assert cluster.asked == []


def test_the_id_of_a_table_tells_the_restore_that_made_it() -> None:
    assert len({schema.own_id(*it) for it in (("o", "k", "t"), ("p", "k", "t"), ("o", "l", "t"), ("o", "k", "u"))}) == 4
    assert schema.own_id("o", "k", "t") == schema.own_id("o", "k", "t")


async def test_what_a_seal_tells_fits_into_a_termination_message_whole() -> None:
    names = [f"{number:048}" for number in range(256)]
    bucket: Any = Sealed(msgspec.structs.replace(BACKUP, keyspaces=dict.fromkeys(names, APP)))
    session: Any = None
    told = await seal(bucket, session, backup="monday", operation="u", cluster="c", host_ids=(), keyspaces=tuple(names))
    text = msgspec.json.encode(told).decode()
    assert len(text) < MOST_MESSAGE
    assert sealed(text) == told


class Sealed:
    """A bucket with a backup that is whole."""

    def __init__(self, backup: Backup) -> None:
        self._backup = backup

    def get(self, key: str) -> bytes:
        assert key == backup_key("monday")
        return msgspec.json.encode(self._backup)
