"""A member's part of a backup: the files of its snapshot that the bucket has not yet, and the list of all of them."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched, groupby
from typing import TYPE_CHECKING

import msgspec

from controller.cassandra.backup.bucket import HopelessError
from controller.cassandra.backup.catalog import (
    File,
    Index,
    Known,
    MemberFiles,
    UnreadableError,
    backup_key,
    decoded,
    file_key,
    index_key,
    member_key,
    table_prefix,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from controller.cassandra.backup.bucket import Bucket

WORKERS = 4
BATCH = 64
SAVE_SECONDS = 120.0
"""How often what is known of files is written to the bucket, so that a Job that is killed does not begin anew."""
_NO_FILES = frozenset({"manifest.json", "schema.cql"})
"""What Cassandra writes into a snapshot beside the table's files. The backup has the schema in one place."""


class Uploaded(msgspec.Struct, frozen=True):
    """What a member has brought.

    Attributes:
        files: That belong to the backup.
        bytes: Of these.
        new_files: Those that the bucket did not have.
        new_bytes: Of these.
    """

    files: int = 0
    bytes: int = 0
    new_files: int = 0
    new_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a snapshot."""

    path: Path
    keyspace: str
    directory: str
    size: int
    modified: int

    @property
    def table(self) -> str:
        """The table's name: its directory also has its ID."""
        return self.directory.rpartition("-")[0]


def upload(bucket: Bucket, data: Path, *, backup: str, tag: str, host_id: str, say: Callable[[str], None]) -> Uploaded:
    """Brings the snapshot's files, then the list of them. What is there already is not brought again.

    Args:
        bucket: Where to.
        data: The member's directory of keyspaces.
        backup: Its name in the bucket.
        tag: Of the snapshot.
        host_id: Of the member.
        say: Writes a line about how far it is.

    Raises:
        HopelessError: There is no such snapshot, or the bucket has a backup of this name.
        BucketError: The bucket does not take it now.
    """
    if bucket.get(backup_key(backup)) is not None:
        raise HopelessError(f"the bucket has a backup {backup} already")
    found = sorted(snapshot(data, tag), key=lambda file: (file.keyspace, file.directory, file.path.name))
    if not any(data.glob(f"*/*/snapshots/{tag}")):
        raise HopelessError(f"the member has no snapshot {tag}")
    job = _Job(bucket, host_id, len(found), sum(file.size for file in found), say)
    with ThreadPoolExecutor(WORKERS) as pool:
        files = tuple(file for batch in _batches(found) for file in job.bring(pool, batch))
    job.save(whole=True)
    content = msgspec.json.encode(MemberFiles(host_id, files))
    bucket.put(member_key(backup, host_id), content)
    return job.done


def snapshot(data: Path, tag: str) -> Iterator[Found]:
    """The files of a snapshot. Those of secondary indexes, in directories of their own, are made anew at a restore."""
    for path in data.glob(f"*/*/snapshots/{tag}/*"):
        if path.is_file() and path.name not in _NO_FILES:
            state = path.stat()
            keyspace, directory = path.parts[-5:-3]
            yield Found(path, keyspace, directory, state.st_size, state.st_mtime_ns)


def _batches(found: list[Found]) -> Iterator[tuple[Found, ...]]:
    """Some files of one table at a time."""
    for _, group in groupby(found, key=lambda file: (file.keyspace, file.table)):
        yield from batched(group, BATCH)


class _Job:
    """What is known while a member's files are brought."""

    def __init__(self, bucket: Bucket, host_id: str, files: int, size: int, say: Callable[[str], None]) -> None:
        self._bucket, self._host_id, self._say = bucket, host_id, say
        self._files, self._size = files, size
        content = bucket.get(index_key(host_id))
        try:
            index = decoded(content, Index, index_key(host_id)) if content else Index()
        except UnreadableError as error:
            say(f"{error}; all files are read again")
            index = Index()
        self._before = {_identity(known): known.sha256 for known in index.files}
        self._known: list[Known] = []
        self._table, self._there = "", dict[str, int]()
        self._saved = time.monotonic()
        self.done = Uploaded()

    def bring(self, pool: ThreadPoolExecutor, found: tuple[Found, ...]) -> list[File]:
        """Brings some files of one table."""
        prefix = table_prefix(self._host_id, found[0].keyspace, found[0].table)
        if prefix != self._table:
            # The bucket has all files of all backups; those of one table at a time are few enough.
            self._table, self._there = prefix, self._bucket.sizes(prefix)
        brought = []
        for file, known, new in pool.map(self._bring, found):
            brought.append(file)
            self._known.append(known)
            self.done = Uploaded(
                self.done.files + 1,
                self.done.bytes + file.size,
                self.done.new_files + new,
                self.done.new_bytes + new * file.size,
            )
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()
        self._say(
            f"{self.done.files} of {self._files} files, {self.done.bytes} of {self._size} bytes; "
            f"of these {self.done.new_bytes} were not there before"
        )
        return brought

    def save(self, *, whole: bool = False) -> None:
        """Writes down which checksums are known; until all is done, also those of files that were not yet looked at."""
        known = {} if whole else {identity: Known(*identity, sha256) for identity, sha256 in self._before.items()}
        known |= {_identity(file): file for file in self._known}
        self._bucket.put(index_key(self._host_id), msgspec.json.encode(Index(tuple(known.values()))))
        self._saved = time.monotonic()

    def _bring(self, found: Found) -> tuple[File, Known, bool]:
        identity = (found.keyspace, found.directory, found.path.name, found.size, found.modified)
        sha256 = self._before.get(identity) or _checksum(found.path)
        file = File(found.keyspace, found.table, found.path.name, found.size, sha256)
        key = file_key(self._host_id, file)
        new = self._there.get(key) != found.size
        if new:
            self._bucket.upload(found.path, key)
        return file, Known(*identity, sha256), new


def _identity(known: Known) -> tuple[str, str, str, int, int]:
    return known.keyspace, known.directory, known.name, known.size, known.modified


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
