"""The schema of keyspaces: read for a backup, compared with what is there, and made where it is absent.

It is told by Cassandra's own DESCRIBE, with dropped columns, without which files that have them cannot be read:
https://cassandra.apache.org/doc/5.0/cassandra/reference/cql-commands/describe-keyspace.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from controller.cassandra.access.roles import literal, quoted
from controller.cassandra.backup.catalog import Item, Keyspace, copies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.cassandra.access.members import Session

_TABLE_ID = re.compile(r"\bWITH ID = [0-9a-f-]{36}\s+AND\b")
"""A table made anew gets an ID of its own: what members still have of an earlier one is not taken for its data."""
_LITERALS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$|;", re.DOTALL)


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
    return Keyspace(factors, bool(own["durable_writes"]), tuple(items), await _columns(session, name))


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


async def tables(session: Session, name: str) -> frozenset[str]:
    """The names of a keyspace's tables; none where there is no such keyspace."""
    return frozenset(await _columns(session, name))


async def _columns(session: Session, name: str) -> dict[str, dict[str, str]]:
    """Kinds and types of the columns of a keyspace's tables; views are made by Cassandra out of these."""
    where = f"WHERE keyspace_name = {literal(name)}"
    tables = await session.query(f"SELECT table_name FROM system_schema.tables {where}")  # noqa: S608  # quoted
    found: dict[str, dict[str, str]] = {row["table_name"]: {} for row in tables}
    rows = await session.query(
        f"SELECT table_name, column_name, kind, type FROM system_schema.columns {where}"  # noqa: S608  # quoted
    )
    for row in rows:
        if row["table_name"] in found:
            found[row["table_name"]][row["column_name"]] = f"{row['kind']} {row['type']}"
    return found


async def refusals(session: Session, wanted: Mapping[str, Keyspace], overwrite: Iterable[str]) -> list[str]:
    """Why keyspaces cannot be restored here, in words; nothing: they can be.

    Args:
        session: To a member.
        wanted: What is to be restored.
        overwrite: Keyspaces whose rows may be thrown away.
    """
    allowed = set(overwrite)
    found = []
    for name, keyspace in wanted.items():
        there = await _columns(session, name)
        for table, columns in keyspace.columns.items():
            if table not in there:
                continue
            if name not in allowed:
                found.append(
                    f"table {name}.{table} exists: name {name} in spec.restore.overwrite to have its rows thrown away, "
                    "or drop it"
                )
            for column, kind in columns.items():
                if there[table].get(column) != kind:
                    found.append(
                        f"table {name}.{table} exists, and its column {column} is "
                        f"{there[table].get(column, 'not there')}; the backup has {kind}: alter or drop the table"
                    )
    return found


async def make(session: Session, name: str, keyspace: Keyspace, *, datacenter: str, members: int) -> None:
    """Makes what is absent of a keyspace.

    Args:
        session: To a member.
        name: The keyspace's.
        keyspace: How it was made.
        datacenter: The one that it gets its copies in, whatever the earlier one was called.
        members: Most copies that there can be.
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
        for statement in item.statements if (item.type, item.name) not in there else ():
            await session.query(statement)
