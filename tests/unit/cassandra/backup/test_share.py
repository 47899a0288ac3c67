"""Shares of a backup: all of it, once, and little memory for lists of many files."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cassandra.backup.bucket import HopelessError
from controller.cassandra.backup.catalog import BackedUp, Backup, File, Keyspace, MemberFiles, member_key
from controller.cassandra.backup.share import Share, share_of

DIGEST = "0123456789abcdef" * 4
PARTS = (
    "Data.db",
    "Index.db",
    "Filter.db",
    "Summary.db",
    "Statistics.db",
    "CompressionInfo.db",
    "Digest.crc32",
    "TOC.txt",
)


class Bucket:
    """One that makes the lists of files when it is asked for them, and counts how often it was."""

    def __init__(self, members: int, tables: int) -> None:
        self._tables = tables
        self.asked: Counter[str] = Counter()
        self.hosts = [f"host-{number}" for number in range(members)]

    def content(self, host: str) -> bytes:
        files = tuple(
            File("app", ("rows", "more", "view")[number % 3], f"nb-{number}-big-{part}", 1000 + number % 7, DIGEST)
            for number in range(self._tables)
            for part in PARTS
        )
        return msgspec.json.encode(MemberFiles(host, files))

    def get(self, key: str) -> bytes | None:
        self.asked[key] += 1
        return self.content(key.split("/")[-1].removesuffix(".json"))

    def backup(self) -> Backup:
        members = tuple(
            BackedUp(host, "a", (), 0, 0, hashlib.sha256(self.content(host)).hexdigest()) for host in self.hosts
        )
        app = Keyspace({"dc1": 2}, durable_writes=True, items=(), columns={"rows": {}, "more": {}, "none": {}})
        return Backup("monday", "u", "c", "dc1", "5.0.3", "", {"app": app}, members)


def shares(bucket: Any, count: int) -> list[Share]:
    return [share_of(bucket, bucket.backup(), (), number=number, members=count) for number in range(count)]


@given(st.integers(1, 3), st.integers(0, 9), st.integers(1, 4))
def test_each_file_is_in_one_share(members: int, tables: int, count: int) -> None:
    bucket = Bucket(members, tables)
    found = shares(bucket, count)
    brought = Counter(
        (sstable.host_id, file.name)
        for share in found
        for portion in share.portions
        for sstable in portion.sstables
        for file in sstable.files
    )
    assert brought == Counter(
        (host, f"nb-{number}-big-{part}")
        for host in bucket.hosts
        for number in range(tables)
        for part in PARTS
        if number % 3 != 2  # a view is made by Cassandra
    )
    for share in found:
        assert len({(portion.keyspace, portion.table) for portion in share.portions}) == len(share.portions)
        for portion in share.portions:
            files = [file for sstable in portion.sstables for file in sstable.files]
            assert {file.table for file in files} == {portion.table}
            assert (portion.files, portion.size) == (len(files), sum(file.size for file in files))
        sizes = [8 * (1000 + number % 7) for number in range(tables) if number % 3 != 2] * members
        assert share.streamed == sum(size * min(2, count) // count for size in sizes)


def test_lists_that_are_not_those_of_the_backup_are_refused() -> None:
    bucket: Any = Bucket(2, 1)
    whole = bucket.backup()
    wrong = msgspec.structs.replace(whole.members[1], manifest="0" * 64)
    damaged = msgspec.structs.replace(whole, members=(whole.members[0], wrong))
    with pytest.raises(HopelessError, match=f"{member_key('monday', 'host-1')} is damaged"):
        share_of(bucket, damaged, (), number=0, members=2)


def peak(members: int, tables: int, shares: int) -> float:
    """Bytes for each file of the backup that are needed to find a share of it."""
    bucket: Any = Bucket(members, tables)
    whole = bucket.backup()
    tracemalloc.start()
    try:
        share = share_of(bucket, whole, (), number=0, members=shares)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert share.portions
    assert set(bucket.asked.values()) == {2}
    return most / (members * tables * len(PARTS))


def test_one_list_is_held_at_a_time() -> None:
    """A Job has 1 GiB: lists of all members would fill it with some two million files."""
    assert peak(members=30, tables=100, shares=30) < peak(members=2, tables=1500, shares=30) / 4
