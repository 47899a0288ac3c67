"""The end of a backup: when all members have brought theirs, the object is written that says that it is whole."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from controller.cassandra.backup import schema
from controller.cassandra.backup.bucket import BucketError, HopelessError
from controller.cassandra.backup.catalog import BackedUp, Backup, MemberFiles, backup_key, decoded, member_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.cassandra.access.members import Session
    from controller.cassandra.backup.bucket import Bucket

MOST_NAMED = 60
"""Keyspaces that a result names: it is the pod's termination message, which has 4096 bytes at most."""


class Sealed(msgspec.Struct, frozen=True):
    """What a backup has; of its keyspaces the first ones."""

    bytes: int
    files: int
    release: str
    keyspaces: tuple[str, ...]


async def seal(
    bucket: Bucket,
    session: Session,
    *,
    backup: str,
    operation: str,
    cluster: str,
    host_ids: Iterable[str],
    keyspaces: Iterable[str],
) -> Sealed:
    """Writes the backup's object; where this operation has written it, it stays as it is.

    Args:
        bucket: Where the members' parts are.
        session: To a member.
        backup: Its name.
        operation: The uid of the Operation.
        cluster: The cluster's name.
        host_ids: Of the members whose parts belong to it.
        keyspaces: That were backed up.

    Raises:
        HopelessError: The backup of this name is another operation's.
        BucketError: A part is missing, or the bucket does not answer.
        AccessError: Cassandra does not tell the schema or the ring.
    """
    content = bucket.get(backup_key(backup))
    found = decoded(content, Backup, backup_key(backup)) if content is not None else None
    if found is not None and found.operation != operation:
        raise HopelessError(f"the bucket has a backup {backup} already, of {found.completed}")
    if found is None:
        (local,) = await session.query("SELECT host_id, rack, tokens, data_center, release_version FROM system.local")
        peers = await session.query("SELECT host_id, rack, tokens FROM system.peers_v2")
        ring = {str(row["host_id"]): row for row in (local, *peers)}
        members = []
        for host_id in sorted(host_ids):
            key = member_key(backup, host_id)
            part = bucket.get(key)
            if part is None or host_id not in ring:
                raise BucketError(f"{key} is not there" if part is None else f"nobody has host ID {host_id}")
            files = decoded(part, MemberFiles, key).files
            row, digest = ring[host_id], hashlib.sha256(part).hexdigest()
            tokens = tuple(sorted(row["tokens"], key=int))
            size = sum(file.size for file in files)
            members.append(BackedUp(host_id, row["rack"], tokens, len(files), size, digest))
        found = Backup(
            name=backup,
            operation=operation,
            cluster=cluster,
            datacenter=local["data_center"],
            release=local["release_version"],
            completed=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            keyspaces=await schema.read(session, keyspaces),
            members=tuple(members),
        )
        bucket.put(backup_key(backup), msgspec.json.encode(found))
    return Sealed(found.bytes, found.files, found.release, tuple(sorted(found.keyspaces)[:MOST_NAMED]))


def read(bucket: Bucket, backup: str) -> Backup:
    """A backup that is whole.

    Raises:
        HopelessError: There is none of this name.
    """
    content = bucket.get(backup_key(backup))
    if content is None:
        raise HopelessError(f"the bucket has no backup {backup}")
    return decoded(content, Backup, backup_key(backup))


def read_members(bucket: Bucket, backup: Backup) -> Iterator[MemberFiles]:
    """The files of its members, one after the other: those of all of them are more than a Job can hold.

    Raises:
        HopelessError: They are not those that the backup was made with.
    """
    for member in backup.members:
        key = member_key(backup.name, member.host_id)
        content = bucket.get(key)
        if content is None or hashlib.sha256(content).hexdigest() != member.manifest:
            raise HopelessError(f"{key} is {'not there' if content is None else 'damaged'}")
        yield decoded(content, MemberFiles, key)
