"""What a restore leaves on a member's volume when it ends before its time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.cassandra.backup.bucket import BucketError, CorruptError
from controller.cassandra.backup.catalog import BackedUp, Backup, File, Keyspace, MemberFiles, backup_key, member_key
from controller.cassandra.backup.load import SCRATCH, load

if TYPE_CHECKING:
    from pathlib import Path

FILES = msgspec.json.encode(MemberFiles("h", (File("app", "rows", "nb-1-big-Data.db", 7, "0" * 64),)))
BACKUP = Backup(
    name="monday",
    operation="u",
    cluster="c",
    datacenter="dc1",
    release="5.0.3",
    completed="",
    keyspaces={"app": Keyspace({"dc1": 1}, durable_writes=True, items=(), columns={"rows": {}})},
    members=(BackedUp("h", "a", (), 1, 7, hashlib.sha256(FILES).hexdigest()),),
)


class Bucket:
    """One whose files come only in part."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get(self, key: str) -> bytes:
        return {backup_key("monday"): msgspec.json.encode(BACKUP), member_key("monday", "h"): FILES}[key]

    def download(self, key: str, path: Path, *, size: int, sha256: str) -> None:
        path.with_name(f"{path.name}.part").write_bytes(b"half")
        raise self._error


@pytest.mark.parametrize(
    ("error", "left"), [(CorruptError("damaged"), []), (BucketError("no answer"), ["nb-1-big-Data.db.part"])]
)
async def test_only_what_the_next_try_goes_on_with_is_left(error: Exception, left: list[str], tmp_path: Path) -> None:
    bucket: Any = Bucket(error)
    member: Any = None
    with pytest.raises(type(error)):
        await load(
            bucket,
            member,
            tmp_path,
            backup="monday",
            operation="op",
            keyspaces=(),
            number=0,
            members=1,
            say=lambda _: None,
        )
    assert [path.name for path in (tmp_path / SCRATCH).rglob("*") if path.is_file()] == left
