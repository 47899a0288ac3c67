"""Jobs of backups and restores are what a real API server takes, field by field."""

import msgspec
import pytest

from controller.apis.cassandra import CassandraCluster
from controller.apis.cassandra.operation import CASSANDRA_OPERATION, S3Spec
from controller.cassandra.backup.objects import Verb, job
from controller.cassandra.backup.options import Options
from controller.framework.workload import Owner
from controller.runtime.kube import JOB
from informers import Client
from tests.unit.cassandra.life import spec


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_job_is_taken_as_it_is(client: Client, namespace: str, verb: Verb) -> None:
    meta = {"name": "store", "namespace": namespace, "uid": "u"}
    cluster = msgspec.convert({"metadata": meta, "spec": spec(a=1)}, CassandraCluster)
    (rack,) = cluster.spec.datacenter.racks
    at_member = verb in (Verb.UPLOAD, Verb.LOAD)
    wanted = job(
        cluster,
        Owner(CASSANDRA_OPERATION, namespace, "nightly", "0d9f7f6e-0000-4000-8000-000000000001"),
        f"nightly-{verb}",
        verb,
        Options(bucket="backups", backup="nightly", operation="u"),
        S3Spec(bucket="backups", credentials_secret_name="s3", ca_secret_name="s3-ca"),
        image="rook:1",
        authentication=True,
        member="store-dc1-a-0" if at_member else "",
        rack=rack if at_member else None,
    )
    made = await client.create(JOB, wanted, field_validation="Strict")
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert made["spec"]["podFailurePolicy"]["rules"][0]["action"] == "FailJob"
