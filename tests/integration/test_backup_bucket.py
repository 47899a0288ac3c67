"""What backups do with a bucket, against a real S3: files are brought once, and none is taken on trust."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controller.cassandra.backup import bucket as buckets
from controller.cassandra.backup import upload as uploads
from controller.cassandra.backup.bucket import Bucket, BucketError, CorruptError, HopelessError, Location
from controller.cassandra.backup.catalog import Index, MemberFiles, decoded, file_key, index_key, member_key
from controller.cassandra.backup.upload import Uploaded, upload
from tests.integration import minio
from tests.integration.minio import Minio

HOST_ID = "486fc1b7-c40d-4ba9-8432-4f6af292f2cc"
TAG = "rook-1"
UPLOAD = """
import sys
from pathlib import Path
import msgspec
from controller.cassandra.backup.bucket import Bucket, Location
from controller.cassandra.backup.upload import upload
location = msgspec.json.decode(sys.argv[1], type=Location)
bucket = Bucket(location, Path(sys.argv[2]))
upload(bucket, Path(sys.argv[3]), backup="b", tag=sys.argv[4], host_id=sys.argv[5], say=print)
"""


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Minio]:
    with minio.serving(tmp_path / "minio", tls=getattr(request, "param", False)) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a server that is gone as long as in a cluster."""
    monkeypatch.setattr(buckets, "TRIES", 2)


def snapshot(volume: Path, files: dict[str, bytes], *, tag: str = TAG, table: str = "rows-0123456789abcdef") -> Path:
    """A member's directory of keyspaces with a snapshot."""
    directory = volume / "data/app" / table / "snapshots" / tag
    (directory / ".rows_x_idx").mkdir(parents=True)
    (directory / ".rows_x_idx" / "nb-1-big-Data.db").write_bytes(b"made anew at a restore")
    (directory / "manifest.json").write_text("{}")
    for name, content in files.items():
        # The same file in every snapshot, as with Cassandra's links.
        source = volume / "data/app" / table / name
        if not source.exists():
            source.write_bytes(content)
        (directory / name).hardlink_to(source)
    return volume / "data"


def bring(bucket: Bucket, data: Path, backup: str, tag: str = TAG) -> Uploaded:
    return upload(bucket, data, backup=backup, tag=tag, host_id=HOST_ID, say=lambda text: None)


@pytest.mark.parametrize("server", [False, True], indirect=True, ids=["plain", "tls"])
def test_only_new_files_are_brought_and_all_come_back(server: Minio, tmp_path: Path) -> None:
    bucket = server.bucket("some/where")
    large = os.urandom(buckets.PART * 2 + 12345)
    first = {"nb-1-big-Data.db": large, "nb-1-big-TOC.txt": b"Data.db\n", "nb-1-big-Empty.db": b""}
    data = snapshot(tmp_path, first)
    size = sum(len(content) for content in first.values())
    assert bring(bucket, data, "monday") == Uploaded(3, size, 3, size)
    second = {**first, "nb-2-big-Data.db": b"new"}
    snapshot(tmp_path, second, tag="rook-2")
    assert bring(bucket, data, "tuesday", "rook-2") == Uploaded(4, size + 3, 1, 3)

    for name, wanted in {"monday": first, "tuesday": second}.items():
        content = bucket.get(member_key(name, HOST_ID))
        assert content is not None
        files = decoded(content, MemberFiles, name).files
        assert {file.name: file.sha256 for file in files} == {
            name: hashlib.sha256(content).hexdigest() for name, content in wanted.items()
        }
        for file in files:
            path = tmp_path / f"{name}-{file.name}"
            bucket.download(file_key(HOST_ID, file), path, size=file.size, sha256=file.sha256)
            assert path.read_bytes() == wanted[file.name]
    assert all(key.startswith("files/") for key in bucket.sizes("files/"))
    assert len(bucket.sizes("files/")) == 4


def test_a_name_that_is_used_again_is_another_file(server: Minio, tmp_path: Path) -> None:
    """Cassandra counts from 1 again in a table that was truncated."""
    bucket = server.bucket()
    data = snapshot(tmp_path, {"nb-1-big-Data.db": b"before"})
    bring(bucket, data, "monday")
    (tmp_path / "data/app/rows-0123456789abcdef/nb-1-big-Data.db").unlink()
    snapshot(tmp_path, {"nb-1-big-Data.db": b"after!"}, tag="rook-2")
    assert bring(bucket, data, "tuesday", "rook-2").new_files == 1
    assert len(bucket.sizes("files/")) == 2


def test_files_that_did_not_change_are_not_read_again(server: Minio, tmp_path: Path) -> None:
    bucket = server.bucket()
    data = snapshot(tmp_path, {"nb-1-big-Data.db": b"content"})
    bring(bucket, data, "monday")
    content = bucket.get(index_key(HOST_ID))
    assert content is not None
    (known,) = decoded(content, Index, "index").files
    # Who says something else of the checksum is believed, as long as the file has not changed.
    wrong = msgspec.structs.replace(known, sha256="0" * 64)
    bucket.put(index_key(HOST_ID), msgspec.json.encode(Index((wrong,))))
    assert bring(bucket, data, "tuesday").new_files == 1
    os.utime(data / "app/rows-0123456789abcdef/nb-1-big-Data.db", ns=(1, 1))
    assert bring(bucket, data, "wednesday").new_files == 0
    # An index that cannot be read costs time, and nothing else.
    bucket.put(index_key(HOST_ID), b"not JSON")
    assert bring(bucket, data, "thursday").new_files == 0


def test_what_is_known_is_not_lost_with_an_upload_that_breaks_off(
    server: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = server.bucket()
    data = snapshot(tmp_path, {f"nb-{number}-big-Data.db": b"content" for number in range(100)})
    bring(bucket, data, "monday")
    monkeypatch.setattr(uploads, "SAVE_SECONDS", -1)

    def break_off(text: str) -> None:
        raise InterruptedError(text)

    with pytest.raises(InterruptedError, match="64 of 100 files"):
        upload(bucket, data, backup="tuesday", tag=TAG, host_id=HOST_ID, say=break_off)
    content = bucket.get(index_key(HOST_ID))
    assert content is not None
    assert len(decoded(content, Index, "index").files) == 100


def test_a_killed_upload_goes_on(server: Minio, tmp_path: Path) -> None:
    files = {f"nb-{number}-big-Data.db": os.urandom(20_000) for number in range(300)}
    data = snapshot(tmp_path, files)
    arguments: list[str | Path] = [
        msgspec.json.encode(server.location()).decode(),
        server.credentials,
        data,
        TAG,
        HOST_ID,
    ]
    process = subprocess.Popen([sys.executable, "-u", "-c", UPLOAD, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as lines:
        assert b"of 300 files" in lines.readline()
        process.kill()
    process.wait()
    bucket = server.bucket()
    there = len(bucket.sizes("files/"))
    assert 64 <= there < 300
    assert bucket.get(member_key("b", HOST_ID)) is None
    done = bring(bucket, data, "b")
    assert (done.files, done.new_files) == (300, 300 - there)
    assert set(bucket.sizes("files/").values()) == {20_000}


def test_what_is_damaged_or_gone_is_not_brought_back(server: Minio, tmp_path: Path) -> None:
    bucket = server.bucket()
    bucket.put("good", b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    path = tmp_path / "file"
    bucket.download("good", path, size=7, sha256=digest)
    assert path.read_bytes() == b"content"
    path.unlink()
    bucket.put("good", b"c0ntent")
    with pytest.raises(CorruptError, match=r"s3://backups/good is damaged"):
        bucket.download("good", path, size=7, sha256=digest)
    bucket.put("good", b"cont")
    with pytest.raises(CorruptError, match="shorter than it was"):
        bucket.download("good", path, size=7, sha256=digest)
    with pytest.raises(CorruptError, match=r"s3://backups/none is not there"):
        bucket.download("none", path, size=7, sha256=digest)
    assert not path.exists()


def test_a_download_goes_on_where_it_ended(server: Minio, tmp_path: Path) -> None:
    bucket = server.bucket()
    bucket.put("object", b"0123456789")
    (tmp_path / "file.part").write_bytes(b"01234")
    bucket.download("object", tmp_path / "file", size=10, sha256=hashlib.sha256(b"0123456789").hexdigest())
    assert (tmp_path / "file").read_bytes() == b"0123456789"
    # What an earlier try left is checked like everything else.
    (tmp_path / "other.part").write_bytes(b"wrong")
    with pytest.raises(CorruptError):
        bucket.download("object", tmp_path / "other", size=10, sha256=hashlib.sha256(b"0123456789").hexdigest())
    assert not (tmp_path / "other.part").exists()


def test_a_backup_that_is_whole_is_never_written_to(server: Minio, tmp_path: Path) -> None:
    bucket = server.bucket()
    data = snapshot(tmp_path, {"nb-1-big-Data.db": b"content"})
    bucket.put("backups/monday/backup.json", b"{}")
    with pytest.raises(HopelessError, match="has a backup monday already"):
        bring(bucket, data, "monday")
    with pytest.raises(HopelessError, match="no snapshot rook-9"):
        bring(bucket, data, "tuesday", "rook-9")


def test_errors_say_what_to_change(server: Minio, tmp_path: Path) -> None:
    nowhere = Bucket(server.location(bucket="nowhere"), server.credentials)
    with pytest.raises(HopelessError, match="there is no bucket nowhere"):
        nowhere.put("key", b"")
    server.set_credentials(minio.USER, "wrong")
    with pytest.raises(HopelessError, match=r"secret key in the Secret of s3\.credentialsSecretName is wrong") as wrong:
        server.bucket().get("key")
    assert "wrong" not in str(wrong.value).removesuffix("is wrong")
    server.set_credentials("nobody", minio.PASSWORD)
    with pytest.raises(HopelessError, match="access key"):
        server.bucket().sizes("")
    with pytest.raises(HopelessError, match="has no key AWS_ACCESS_KEY_ID"):
        Bucket(server.location(), tmp_path)
    server.stop()
    with pytest.raises(BucketError, match=server.endpoint) as gone:
        server.bucket().get("key")
    assert not isinstance(gone.value, HopelessError)


@pytest.mark.parametrize("server", [True], indirect=True, ids=["tls"])
def test_a_server_that_nobody_vouches_for_gets_nothing(server: Minio) -> None:
    with pytest.raises(HopelessError, match=r"not trusted; see s3\.caSecretName"):
        Bucket(server.location(trust=False), server.credentials).get("key")


def test_amazon_is_where_no_endpoint_is_named(server: Minio) -> None:
    location = Location(bucket="b", region="eu-central-1", path_style=False)
    assert "eu-central-1" in Bucket(location, server.credentials)._client.meta.endpoint_url
