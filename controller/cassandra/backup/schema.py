"""The schema of keyspaces: read for a backup, compared with what is there, and made where it is absent.

It is told by Cassandra's own DESCRIBE, with dropped columns, without which files that have them cannot be read:
https://cassandra.apache.org/doc/5.0/cassandra/reference/cql-commands/describe-keyspace.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from controller.cassandra.access.roles import literal, quoted
from controller.cassandra.backup.catalog import Item, Keyspace, copies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.cassandra.access.members import Session

_TABLE_ID = re.compile(r"\bWITH ID = [0-9a-f-]{36}\s+AND\b")
"""A table made anew gets an ID of its own: what members still have of an earlier one is not taken for its data."""
_OPTIONS = re.compile(r"^\) WITH ", re.MULTILINE)
"""Where the options of a table begin: after its columns, each of which has a line."""
_LITERALS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$|;", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is there.

    Attributes:
        columns: Their kinds and types by name, such as "partition_key int".
        id: By which members tell it from another one of that name.
    """

    columns: dict[str, str]
    id: str = ""


def own_id(operation: str, keyspace: str, table: str) -> UUID:
    """The ID of a table that a restore makes: so its next try knows it from one that somebody else has made.

    Args:
        operation: The uid of the Operation.
        keyspace: The table's.
        table: Its name.
    """
    return uuid5(NAMESPACE_URL, f"https://rook.io/cassandra/restore/{operation}/{keyspace}/{table}")


async def read(session: Session, names: Iterable[str]) -> dict[str, Keyspace]:
    """How keyspaces are made.

    Raises:
        AccessError: Cassandra does not say, or there is no such keyspace.
    """
    return {name: await _keyspace(session, name) for name in sorted(names)}


async def _keyspace(session: Session, name: str) -> Keyspace:
    rows = await session.query(
        f"SELECT * FROM system_schema.keyspaces WHERE keyspace_name = {literal(name)}",  # noqa: S608  # quoted
    )
    described = await session.query(f"DESCRIBE KEYSPACE {quoted(name)} WITH INTERNALS")
    items = [
        Item(row["type"], row["name"], tuple(split(_TABLE_ID.sub("WITH", row["create_statement"], count=1))))
        for row in described
        if row["type"] != "keyspace"
    ]
    (own,) = rows
    replication = dict(own["replication"])
    replication.pop("class", None)
    factors = {"" if key == "replication_factor" else key: int(v.partition("/")[0]) for key, v in replication.items()}
    columns = {table: found.columns for table, found in (await tables(session, name)).items()}
    return Keyspace(factors, bool(own["durable_writes"]), tuple(items), columns)


def split(text: str) -> Iterator[str]:
    """The single statements of a text, without the semicolons between them."""
    start = 0
    for found in _LITERALS.finditer(text):
        if found.group() == ";":
            if statement := text[start : found.start()].strip():
                yield statement
            start = found.end()
    if statement := text[start:].strip():
        yield statement


async def tables(session: Session, name: str) -> dict[str, Table]:
    """The tables of a keyspace; none where there is no such one. Views are made by Cassandra out of them."""
    where = f"WHERE keyspace_name = {literal(name)}"
    names = await session.query(f"SELECT table_name, id FROM system_schema.tables {where}")  # noqa: S608  # quoted
    found = {row["table_name"]: Table({}, str(row["id"])) for row in names}
    rows = await session.query(
        f"SELECT table_name, column_name, kind, type FROM system_schema.columns {where}"  # noqa: S608  # quoted
    )
    for row in rows:
        if row["table_name"] in found:
            found[row["table_name"]].columns[row["column_name"]] = f"{row['kind']} {row['type']}"
    return found


async def refusals(
    session: Session, wanted: Mapping[str, Keyspace], overwrite: Iterable[str], operation: str
) -> list[str]:
    """Why keyspaces cannot be restored here, in words; nothing: they can be.

    Args:
        session: To a member.
        wanted: What is to be restored.
        overwrite: Keyspaces whose rows may be thrown away.
        operation: The uid of the Operation; tables that it has made itself are no reason.
    """
    allowed = set(overwrite)
    found = []
    for name, keyspace in wanted.items():
        there = await tables(session, name)
        for table, columns in keyspace.columns.items():
            if table not in there or there[table].id == str(own_id(operation, name, table)):
                continue
            if name not in allowed:
                found.append(
                    f"table {name}.{table} exists: name {name} in spec.restore.overwrite to have its rows thrown away, "
                    "or drop it"
                )
            for column, kind in columns.items():
                present = there[table].columns.get(column, "not there")
                if present != kind:
                    found.append(
                        f"table {name}.{table} exists, and its column {column} is {present}; the backup has {kind}: "
                        "alter or drop the table"
                    )
    return found


async def make(
    session: Session, name: str, keyspace: Keyspace, *, datacenter: str, members: int, operation: str
) -> None:
    """Makes what is absent of a keyspace.

    Args:
        session: To a member.
        name: The keyspace's.
        keyspace: How it was made.
        datacenter: The one that it gets its copies in, whatever the earlier one was called.
        members: Most copies that there can be.
        operation: The uid of the Operation, which its tables tell.
    """
    rows = await session.query(
        f"SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = {literal(name)}"  # noqa: S608
    )
    if not rows:
        options = {"class": "NetworkTopologyStrategy", datacenter: str(copies(keyspace.factors, members))}
        text = ", ".join(f"{literal(key)}: {literal(value)}" for key, value in options.items())
        durable = str(keyspace.durable_writes).lower()
        await session.query(
            f"CREATE KEYSPACE IF NOT EXISTS {quoted(name)} WITH replication = {{{text}}} AND durable_writes = {durable}"
        )
    described = await session.query(f"DESCRIBE KEYSPACE {quoted(name)}")
    there = {(row["type"], row["name"]) for row in described}
    for item in keyspace.items:
        for statement in _statements(item, name, operation) if (item.type, item.name) not in there else ():
            await session.query(statement)


def _statements(item: Item, keyspace: str, operation: str) -> Iterator[str]:
    """What makes an item; a table gets an ID that tells who made it."""
    for statement in item.statements:
        if item.type == "table" and statement.startswith("CREATE TABLE"):
            table = item.name.strip('"').replace('""', '"')
            options = f") WITH ID = {own_id(operation, keyspace, table)} AND "
            yield _OPTIONS.sub(options, statement, count=1)
        else:
            yield statement
