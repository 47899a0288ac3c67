"""Buckets that cannot be, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

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
