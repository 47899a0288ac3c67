"""Names in a bucket, and how files are dealt out to members."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cassandra.backup.catalog import (
    Backup,
    File,
    Index,
    Key,
    MemberFiles,
    UnreadableError,
    copies,
    dealt,
    decoded,
    file_key,
    renumbered,
    sstables,
)

DIGEST = "0123456789abcdef" * 4


def file(name: str, size: int = 1, *, table: str = "rows", keyspace: str = "app") -> File:
    return File(keyspace, table, name, size, DIGEST)


def test_content_and_member_are_in_the_name() -> None:
    assert file_key("host", file("nb-1-big-Data.db")) == f"files/host/app/rows/{DIGEST[:32]}-nb-1-big-Data.db"


@pytest.mark.parametrize(
    ("name", "sstable", "new"),
    [
        ("nb-12-big-Data.db", "nb-12-big", "nb-7-big-Data.db"),
        ("oa-3g0a_1abc_2xyz-big-TOC.txt", "oa-3g0a_1abc_2xyz-big", "oa-7-big-TOC.txt"),
        ("nb-12-big-SAI+aa+a-b+Meta.db", "nb-12-big", "nb-7-big-SAI+aa+a-b+Meta.db"),
    ],
)
def test_files_are_numbered_anew(name: str, sstable: str, new: str) -> None:
    assert file(name).sstable == sstable
    assert renumbered(file(name), 7) == new


FILES = st.builds(
    File,
    keyspace=st.sampled_from(("app", "other")),
    table=st.sampled_from(("a", "b")),
    name=st.builds("nb-{}-big-{}".format, st.integers(1, 5), st.sampled_from(("Data.db", "TOC.txt"))),
    size=st.integers(0, 1000),
    sha256=st.just(DIGEST),
)
MEMBERS = st.lists(
    st.builds(
        MemberFiles,
        host_id=st.sampled_from(("x", "y", "z")),
        files=st.lists(FILES, max_size=12, unique_by=lambda f: (f.keyspace, f.table, f.name)).map(tuple),
    ),
    max_size=3,
    unique_by=lambda member: member.host_id,
)


TABLES = {("app", "a"), ("app", "b")}


def sizes(members: list[MemberFiles]) -> dict[Key, int]:
    return {sstable.key: sstable.bytes for member in members for sstable in sstables(member, TABLES)}


@given(MEMBERS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_each_file_goes_to_one_member_and_names_never_meet(members, count, chance) -> None:  # type: ignore[no-untyped-def]
    found = {sstable.key: sstable for member in members for sstable in sstables(member, TABLES)}
    shares = [[found[key] for key in share] for share in dealt(sizes(members), count)]
    assert len(shares) == count
    wanted = Counter((m.host_id, f.table, f.name) for m in members for f in m.files if f.keyspace == "app")
    assert Counter((t.host_id, f.table, f.name) for share in shares for t in share for f in t.files) == wanted
    for share in shares:
        tables: dict[tuple[str, str], list[str]] = {}
        numbers: Counter[tuple[str, str]] = Counter()
        for part in share:
            assert len({f.sstable for f in part.files}) == 1
            table = part.key.keyspace, part.key.table
            numbers[table] += 1
            tables.setdefault(table, []).extend(renumbered(f, numbers[table]) for f in part.files)
        assert all(len(names) == len(set(names)) for names in tables.values())
    # Nobody has more than its part and one more of the largest.
    most = max((part.bytes for part in found.values()), default=0)
    whole = sum(part.bytes for part in found.values())
    assert max(sum(part.bytes for part in share) for share in shares) <= whole / count + most
    # Whoever asks later, and hears of the members in another order, gets the same.
    mixed = list(members)
    chance.shuffle(mixed)
    assert dealt(sizes(mixed), count) == dealt(sizes(members), count)


def test_copies_are_at_most_as_many_as_members() -> None:
    assert [copies({"dc1": 3}, members) for members in (1, 2, 5)] == [1, 2, 3]
    assert copies({"": 2}, 3) == 2
    assert copies({}, 3) == 1


def test_what_a_later_release_wrote_is_refused() -> None:
    assert decoded(msgspec.json.encode(Index()), Index, "index") == Index()
    with pytest.raises(UnreadableError, match="backup has format 2, and this release of the operator reads 1"):
        decoded(b'{"format": 2}', Backup, "backup")
    with pytest.raises(UnreadableError, match="backup cannot be read"):
        decoded(b'{"format": 1, "name": 7}', Backup, "backup")
    with pytest.raises(UnreadableError, match="backup cannot be read"):
        decoded(b"", Backup, "backup")


@pytest.mark.parametrize(
    "wrong", [{"name": "nb-1-/../../data/x"}, {"keyspace": ".."}, {"table": "a/b"}], ids=["name", "keyspace", "table"]
)
def test_a_list_of_files_that_leads_elsewhere_is_refused(wrong: dict[str, str]) -> None:
    good = {"keyspace": "app", "table": "rows", "name": "nb-1-big-Data.db", "size": 1, "sha256": DIGEST}
    assert decoded(listed(good), MemberFiles, "it").files == (file("nb-1-big-Data.db"),)
    with pytest.raises(UnreadableError):
        decoded(listed({**good, **wrong}), MemberFiles, "it")


def listed(found: dict[str, object]) -> bytes:
    return msgspec.json.encode({"hostId": "h", "files": [found], "format": 1})
