"""What is in a bucket: files that backups of a member share, and what belongs to each backup. Pure.

Below the prefix that a user gives:

    files/HOST-ID/KEYSPACE/TABLE/SHA256-NAME    a file of a member, as often as its content changed
    index/HOST-ID.json                          checksums of the member's files, so that they are not read again
    backups/NAME/members/HOST-ID.json           the files of a member that belong to a backup
    backups/NAME/backup.json                    the backup; written last, and without it there is none

Files of Cassandra's tables never change once they are complete, so a later backup brings only those that are new.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

FORMAT = 1
"""The version of what this module describes. A later one is refused."""
RANDOM_ENOUGH = 32
"""Characters of a checksum that tell two files of one name apart."""


class UnreadableError(Exception):
    """What the bucket has is not what this release can read."""


type Segment = Annotated[str, Meta(pattern=r"^[^/\0]+$")]
"""A part of a path: a restore writes what the bucket names, and nowhere else."""


class File(msgspec.Struct, frozen=True):
    """A file of a table.

    Attributes:
        name: As Cassandra calls it, such as `nb-12-big-Data.db`.
        size: Bytes.
        sha256: Of its content, in hexadecimal digits.
    """

    keyspace: Annotated[str, Meta(pattern=r"^\w+$")]
    table: Annotated[str, Meta(pattern=r"^\w+$")]
    name: Segment
    size: int
    sha256: str

    @property
    def sstable(self) -> str:
        """What the files have in common that Cassandra writes and reads together: version, number, format."""
        return "-".join(self.name.split("-")[:3])


class Known(msgspec.Struct, frozen=True):
    """A file whose checksum is known by what the file system says of it.

    Attributes:
        directory: Of the table, with its ID, so that a table made anew is another.
        modified: Nanoseconds since the epoch.
    """

    keyspace: str
    directory: str
    name: str
    size: int
    modified: int
    sha256: str


class Index(msgspec.Struct, frozen=True):
    """What is known of a member's files. Nothing is lost with it: files are read again."""

    files: tuple[Known, ...] = ()
    format: int = FORMAT


class MemberFiles(msgspec.Struct, frozen=True, rename="camel"):
    """The files of a member that belong to a backup."""

    host_id: str
    files: tuple[File, ...]
    format: int = FORMAT


class Item(msgspec.Struct, frozen=True):
    """Something in a keyspace, as Cassandra describes it.

    Attributes:
        type: Such as "table".
        name: As in CQL, so with quotes where it needs them.
        statements: CQL that makes it, in order.
    """

    type: str
    name: str
    statements: tuple[str, ...]


class Keyspace(msgspec.Struct, frozen=True, rename="camel"):
    """How a keyspace is made.

    Attributes:
        factors: Copies by datacenter; of `SimpleStrategy` under the key "".
        durable_writes: Whether its writes go to the commit log.
        items: All that is in it, in the order in which it is made.
        columns: By table and column its kind and type, such as "partition_key int".
    """

    factors: dict[str, int]
    durable_writes: bool
    items: tuple[Item, ...]
    columns: dict[str, dict[str, str]]


class BackedUp(msgspec.Struct, frozen=True, rename="camel"):
    """A member of the cluster as it was.

    Attributes:
        manifest: SHA-256 of the object with its files.
    """

    host_id: str
    rack: str
    tokens: tuple[str, ...]
    files: int
    bytes: int
    manifest: str


class Backup(msgspec.Struct, frozen=True):
    """A backup that is whole.

    Attributes:
        operation: The uid of the Operation that made it.
        release: Of Cassandra, such as "5.0.3".
        completed: When it was whole, in RFC 3339.
    """

    name: str
    operation: str
    cluster: str
    datacenter: str
    release: str
    completed: str
    keyspaces: dict[str, Keyspace]
    members: tuple[BackedUp, ...]
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(member.bytes for member in self.members)

    @property
    def files(self) -> int:
        """How many there are."""
        return sum(member.files for member in self.members)


def backup_key(name: str) -> str:
    """The object that says that a backup is whole."""
    return f"backups/{name}/backup.json"


def member_key(name: str, host_id: str) -> str:
    """The object with a member's files."""
    return f"backups/{name}/members/{host_id}.json"


def index_key(host_id: str) -> str:
    """The object with what is known of a member's files."""
    return f"index/{host_id}.json"


def table_prefix(host_id: str, keyspace: str, table: str) -> str:
    """What the keys of a member's files of a table begin with."""
    return f"files/{host_id}/{keyspace}/{table}/"


def file_key(host_id: str, file: File) -> str:
    """The object with a file's content."""
    return f"{table_prefix(host_id, file.keyspace, file.table)}{file.sha256[:RANDOM_ENOUGH]}-{file.name}"


def decoded[T: (Index, MemberFiles, Backup)](content: bytes, kind: type[T], where: str) -> T:
    """An object of the bucket.

    Raises:
        UnreadableError: It is damaged, or of a later release.
    """
    try:
        found = msgspec.json.decode(content, type=_Format)
        if found.format == FORMAT:
            return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise UnreadableError(f"{where} cannot be read: {error}") from error
    raise UnreadableError(f"{where} has format {found.format}, and this release of the operator reads {FORMAT}")


class _Format(msgspec.Struct, frozen=True):
    format: int


class Key(NamedTuple):
    """Tells an SSTable from all others of a backup."""

    keyspace: str
    table: str
    host_id: str
    sstable: str


class SSTable(msgspec.Struct, frozen=True):
    """Files that are read together.

    Attributes:
        host_id: Whose they were.
    """

    host_id: str
    files: tuple[File, ...]

    @property
    def bytes(self) -> int:
        """Of its files."""
        return sum(file.size for file in self.files)

    @property
    def key(self) -> Key:
        """What it is."""
        first = self.files[0]
        return Key(first.keyspace, first.table, self.host_id, first.sstable)


def sstables(member: MemberFiles, tables: Container[tuple[str, str]]) -> Iterator[SSTable]:
    """What a member has of some tables, each given as keyspace and name."""
    found: dict[tuple[str, str, str], list[File]] = {}
    for file in member.files:
        if (file.keyspace, file.table) in tables:
            found.setdefault((file.keyspace, file.table, file.sstable), []).append(file)
    for files in found.values():
        yield SSTable(member.host_id, tuple(sorted(files, key=lambda file: file.name)))


def dealt(sizes: Mapping[Key, int], members: int) -> tuple[tuple[Key, ...], ...]:
    """Which SSTables each of so many members brings back, table by table: alike many bytes, and each by one member.

    Everybody who asks with the same arguments gets the same answer.

    Args:
        sizes: All of them, with their bytes.
        members: How many members there are.
    """
    shares: list[list[Key]] = [[] for _ in range(members)]
    loads = [(0, number) for number in range(members)]
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        load, number = heapq.heappop(loads)
        shares[number].append(key)
        heapq.heappush(loads, (load + sizes[key], number))
    return tuple(tuple(sorted(share, key=lambda key: (key[:3], -sizes[key], key))) for share in shares)


def renumbered(file: File, number: int) -> str:
    """The name of a file beside those of other members, which may have the same number."""
    version, _, rest = file.name.split("-", 2)
    return f"{version}-{number}-{rest}"


def copies(factors: Mapping[str, int], members: int) -> int:
    """How many copies of a row there can be where there are so many members."""
    return max(1, min(members, max(factors.values(), default=1)))
