"""The beginning of a restore: whether a backup can be restored here, and what has to be there before files are loaded.

`check` changes nothing. `prepare` is for what passed it, and may be done again until files are loaded, and never after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import msgspec

from controller.cassandra.access.answers import UnansweredError
from controller.cassandra.access.roles import quoted
from controller.cassandra.backup import schema
from controller.cassandra.backup.bucket import HopelessError
from controller.cassandra.backup.seal import read, read_members
from controller.cassandra.releases import CassandraVersion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.cassandra.access.members import Session
    from controller.cassandra.backup.bucket import Bucket
    from controller.cassandra.backup.catalog import Backup, Keyspace

MOST_TOLD = 5
"""Most refusals that an error names."""
AGREEMENT_SECONDS = 120.0
"""How long members may take to know one schema."""


class Restorable(msgspec.Struct, frozen=True):
    """What is to be restored.

    Attributes:
        bytes: Of the whole backup.
        release: Of Cassandra, that made it.
    """

    bytes: int
    files: int
    release: str
    keyspaces: tuple[str, ...]


async def check(
    bucket: Bucket, session: Session, *, backup: str, keyspaces: Iterable[str], overwrite: Iterable[str], operation: str
) -> Restorable:
    """Whether a backup can be restored here.

    Args:
        bucket: Where it is.
        session: To a member.
        backup: Its name.
        keyspaces: Those to restore; none: all.
        overwrite: Those whose rows may be thrown away.
        operation: The uid of the Operation.

    Raises:
        HopelessError: It cannot be; the message says why.
    """
    found, wanted = _wanted(bucket, backup, keyspaces)
    for _ in read_members(bucket, found):
        pass
    (local,) = await session.query("SELECT release_version FROM system.local")
    own, written = (CassandraVersion.parse(text) for text in (local["release_version"], found.release))
    if own.release < written.release:
        raise HopelessError(
            f"backup {backup} is of Cassandra {found.release}, which {local['release_version']} cannot read"
        )
    overwrite = tuple(overwrite)
    if strangers := sorted(set(overwrite) - wanted.keys()):
        raise HopelessError(f"spec.restore.overwrite names {', '.join(strangers)}, which is not to be restored")
    await _refuse(session, wanted, overwrite, operation)
    return Restorable(found.bytes, found.files, found.release, tuple(sorted(wanted)))


async def prepare(
    bucket: Bucket,
    session: Session,
    *,
    backup: str,
    keyspaces: Iterable[str],
    overwrite: Iterable[str],
    members: int,
    operation: str,
) -> Restorable:
    """Makes what is absent of the schema, and throws away the rows of tables that were there before.

    Tables may have come since the check, so they are looked at once more. Those that an earlier try of the same
    operation has made are known by their IDs.

    Args:
        bucket: Where the backup is.
        session: To a member.
        backup: Its name.
        keyspaces: Those to restore; none: all.
        overwrite: Those whose rows are thrown away: the user's consent.
        members: How many members the cluster has.
        operation: The uid of the Operation.

    Raises:
        HopelessError: A table that somebody has made is in the way.
        AccessError: Cassandra does not do it; it may be tried again.
    """
    found, wanted = _wanted(bucket, backup, keyspaces)
    (local,) = await session.query("SELECT data_center FROM system.local")
    overwrite = set(overwrite)
    await _refuse(session, wanted, overwrite, operation)
    for name, keyspace in wanted.items():
        there = await schema.tables(session, name)
        await schema.make(
            session, name, keyspace, datacenter=local["data_center"], members=members, operation=operation
        )
        for table in sorted(there.keys() & keyspace.columns.keys()) if name in overwrite else ():
            await session.query(f"TRUNCATE {quoted(name)}.{quoted(table)}")
    await _agreed(session)
    return Restorable(found.bytes, found.files, found.release, tuple(sorted(wanted)))


async def _refuse(session: Session, wanted: dict[str, Keyspace], overwrite: Iterable[str], operation: str) -> None:
    refused = await schema.refusals(session, wanted, overwrite, operation)
    if refused:
        more = f"; and {len(refused) - MOST_TOLD} more" if len(refused) > MOST_TOLD else ""
        raise HopelessError("; ".join(refused[:MOST_TOLD]) + more)


def _wanted(bucket: Bucket, backup: str, keyspaces: Iterable[str]) -> tuple[Backup, dict[str, Keyspace]]:
    found = read(bucket, backup)
    names = tuple(keyspaces) or tuple(found.keyspaces)
    if strangers := sorted(set(names) - found.keyspaces.keys()):
        raise HopelessError(
            f"backup {backup} has no keyspace {', '.join(strangers)}; it has {', '.join(sorted(found.keyspaces))}"
        )
    return found, {name: found.keyspaces[name] for name in names}


async def _agreed(session: Session) -> None:
    """Waits until all members know one schema: a member that does not know a table cannot take its rows."""
    with anyio.move_on_after(AGREEMENT_SECONDS):
        while True:
            rows = [
                *await session.query("SELECT schema_version FROM system.local"),
                *await session.query("SELECT schema_version FROM system.peers_v2"),
            ]
            if len({row["schema_version"] for row in rows}) == 1:
                return
            await anyio.sleep(1)
    raise UnansweredError(f"members do not agree on one schema within {AGREEMENT_SECONDS:g} s")
