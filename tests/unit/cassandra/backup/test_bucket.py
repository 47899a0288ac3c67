"""Buckets that cannot be, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cassandra.backup import options
from controller.cassandra.backup.bucket import ACCESS_KEY, SECRET_KEY, Bucket, HopelessError, Location


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (
            Location(bucket="backups", endpoint="minio:9000"),
            "s3.endpoint is minio:9000 and s3.region us-east-1: Invalid",
        ),
        (Location(bucket="backups", endpoint="http://[::1"), "s3.endpoint is http://[::1"),
        (Location(bucket="backups", region="us east"), "s3.endpoint is not set and s3.region us east: "),
    ],
)
def test_a_location_that_means_nothing_is_named_and_not_tried_again(
    location: Location, words: str, tmp_path: Path
) -> None:
    for key in (ACCESS_KEY, SECRET_KEY):
        (tmp_path / key).write_text("secret")
    with pytest.raises(HopelessError) as error:
        Bucket(location, tmp_path)
    assert str(error.value).startswith(words)
    assert "secret" not in str(error.value)


def test_a_secret_for_an_authority_that_has_none_is_not_taken_for_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "S3_CA", tmp_path / "s3-ca")
    told = options.Options(bucket="backups", backup="monday", operation="u")
    assert told.location.ca == ""
    (tmp_path / "s3-ca").mkdir()
    for name, content in (("tls.crt", "PEM"), ("ca.crt", "")):
        (tmp_path / "s3-ca" / name).write_text(content)
        with pytest.raises(HopelessError, match=r"the Secret of s3\.caSecretName has nothing under the key ca\.crt"):
            _ = told.location
    (tmp_path / "s3-ca/ca.crt").write_text("PEM")
    assert told.location.ca == str(tmp_path / "s3-ca/ca.crt")


def test_an_authority_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    for key in (ACCESS_KEY, SECRET_KEY):
        (tmp_path / key).write_text("secret")
    (tmp_path / "ca.crt").write_text("no PEM")
    location = Location(bucket="backups", endpoint="https://127.0.0.1:1", ca=str(tmp_path / "ca.crt"))
    with pytest.raises(HopelessError, match=r"s3\.caSecretName"):
        Bucket(location, tmp_path).get("any")


def test_credentials_that_are_empty_are_not_tried(tmp_path: Path) -> None:
    for key in (ACCESS_KEY, SECRET_KEY):
        (tmp_path / key).write_text("\n")
    with pytest.raises(HopelessError, match=f"has nothing under the key {ACCESS_KEY}"):
        Bucket(Location(bucket="backups"), tmp_path)
