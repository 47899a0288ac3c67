"""A member's share of a backup. A backup may have millions of files, so its lists of files are read twice and not kept.

First all SSTables are counted and dealt out; then those of one share are picked. They are kept in JSON, as the bucket
has them: as objects they need several times the memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from controller.cassandra.backup.catalog import Key, SSTable, copies, dealt, sstables
from controller.cassandra.backup.seal import read_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.cassandra.backup.bucket import Bucket
    from controller.cassandra.backup.catalog import Backup


@dataclass(frozen=True, slots=True)
class Portion:
    """What a share has of one table.

    Attributes:
        keyspace: Its keyspace.
        table: Its name.
        size: Bytes of all of its files.
        files: How many there are.
        packed: Its SSTables, in an order that is always the same.
    """

    keyspace: str
    table: str
    size: int
    files: int
    packed: tuple[bytes, ...] = field(repr=False)

    @property
    def sstables(self) -> Iterator[SSTable]:
        """Its SSTables."""
        return (msgspec.json.decode(packed, type=SSTable) for packed in self.packed)


@dataclass(frozen=True, slots=True)
class Share:
    """What a member brings back.

    Attributes:
        portions: Table by table.
        streamed: Bytes that come to each member from all of them.
    """

    portions: tuple[Portion, ...]
    streamed: int


def share_of(bucket: Bucket, whole: Backup, keyspaces: Iterable[str], *, number: int, members: int) -> Share:
    """One of the shares of a backup.

    Args:
        bucket: Where the backup is.
        whole: The backup.
        keyspaces: Those to restore; none: all.
        number: Which of the shares, from 0.
        members: How many shares there are.

    Raises:
        HopelessError: The lists of files are not those that the backup was made with.
        BucketError: The bucket does not answer now.
    """
    names = tuple(keyspaces) or tuple(whole.keyspaces)
    # Views are made by Cassandra out of their tables.
    tables = {(name, table) for name in names for table in whole.keyspaces[name].columns}
    known = {text: text for table in tables for text in table}
    sizes: dict[Key, int] = {}
    streamed = 0
    for member in read_members(bucket, whole):
        for found in sstables(member, tables):
            key, size = found.key, found.bytes
            # Each file has its table's name as a text of its own.
            sizes[key._replace(keyspace=known[key.keyspace], table=known[key.table], host_id=member.host_id)] = size
            streamed += size * copies(whole.keyspaces[key.keyspace].factors, members) // members
    own = dealt(sizes, members)[number]
    packed = dict.fromkeys(own, b"")
    files = dict.fromkeys(tables, 0)
    for member in read_members(bucket, whole):
        for found in sstables(member, tables):
            if found.key in packed:
                packed[found.key] = msgspec.json.encode(found)
                files[found.key[:2]] += len(found.files)
    portions = []
    for (keyspace, table), group in groupby(own, key=lambda key: key[:2]):
        keys = tuple(group)
        size = sum(sizes[key] for key in keys)
        portions.append(Portion(keyspace, table, size, files[keyspace, table], tuple(packed[key] for key in keys)))
    return Share(tuple(portions), streamed)
