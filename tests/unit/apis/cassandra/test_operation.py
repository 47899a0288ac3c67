"""What an Operation's schema refuses."""

from __future__ import annotations

import pytest

from controller.apis.cassandra import CassandraOperation
from controller.apis.schema import schema_of
from tests.unit.apis.structural import violations


@pytest.mark.parametrize(
    ("field", "value", "good"),
    [
        ("endpoint", "https://minio.example.org:9000", True),
        ("endpoint", "http://[fd00::1]:9000/store", True),
        ("endpoint", "", True),
        ("endpoint", "minio:9000", False),
        ("endpoint", "https://key:secret@minio:9000", False),  # it would stand in arguments and messages
        ("endpoint", "https://minio:9000?key=secret", False),
        ("bucket", "my.backups-1", True),
        ("bucket", "my/backups", False),
        ("region", "eu-central-1", True),
        ("region", "eu central", False),
    ],
)
def test_a_place_that_means_nothing_or_has_credentials_is_refused(field: str, value: str, good: bool) -> None:
    s3 = {"bucket": "backups", "credentialsSecretName": "s3", field: value}
    spec = {"cluster": "store", "backup": {"destination": {"s3": s3}}}
    document = {
        "apiVersion": "cassandra.rook.io/v1alpha1",
        "kind": "Operation",
        "metadata": {"name": "monday"},
        "spec": spec,
    }
    found = list(violations(document, schema_of(CassandraOperation)))
    assert not found if good else f"s3.{field}" in found[0], found
