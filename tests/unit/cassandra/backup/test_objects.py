"""Jobs of backups and restores: where they run, what they may do, and which Secrets they have."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from controller.apis.cassandra import CassandraCluster
from controller.apis.cassandra.operation import CASSANDRA_OPERATION, S3Spec
from controller.cassandra.backup.objects import Verb, job, job_name
from controller.cassandra.backup.options import Options
from controller.framework.workload import Owner
from tests.unit.cassandra.life import spec

S3 = S3Spec(bucket="backups", credentials_secret_name="s3", ca_secret_name="s3-ca")
OPTIONS = Options(bucket="backups", backup="nightly", operation="u")
MEMBER = "store-dc1-a-0"


def cluster() -> CassandraCluster:
    wanted = spec(a=2)
    wanted["datacenter"]["racks"][0]["placement"] = {
        "tolerations": [{"key": "storage"}],
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
    }
    meta = {"name": "store", "namespace": "db", "uid": "u"}
    return msgspec.convert({"metadata": meta, "spec": wanted}, CassandraCluster)


def made(task: Verb, *, authentication: bool = True, s3: S3Spec = S3) -> dict[str, Any]:
    own = cluster()
    owner = Owner(CASSANDRA_OPERATION, "db", "nightly", "op-uid")
    (rack,) = own.spec.datacenter.racks
    at_member: dict[str, Any] = {"member": MEMBER, "rack": rack} if task in (Verb.UPLOAD, Verb.LOAD) else {}
    found: dict[str, Any] = job(
        own, owner, "nightly-1", task, OPTIONS, s3, image="rook:1", authentication=authentication, **at_member
    )
    return found


def pod(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    ("task", "secrets"),
    [
        (Verb.UPLOAD, {"s3", "s3-ca"}),
        (Verb.SEAL, {"s3", "s3-ca", "store-superuser"}),
        (Verb.CHECK, {"s3", "s3-ca", "store-superuser"}),
        (Verb.PREPARE, {"s3", "s3-ca", "store-superuser"}),
        (Verb.LOAD, {"s3", "s3-ca", "store-admin"}),
    ],
)
def test_each_has_the_secrets_that_it_uses_and_no_rights(task: Verb, secrets: set[str]) -> None:
    found = made(task)
    assert {v["secret"]["secretName"] for v in pod(found)["volumes"] if "secret" in v} == secrets
    assert pod(found)["automountServiceAccountToken"] is False
    (container,) = pod(found)["containers"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert "env" not in container
    assert "envFrom" not in container
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod(found)["securityContext"]["runAsUser"], pod(found)["securityContext"]["fsGroup"]) == (999, 999)
    assert container["command"][:4] == ["python3", "-m", "controller.cassandra.backup", task]
    assert msgspec.json.decode(container["command"][4], type=Options) == OPTIONS
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod(found)["volumes"]}
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["kind"]) == ("op-uid", "Operation")


def test_without_authentication_there_is_no_login() -> None:
    assert "superuser" not in json.dumps(made(Verb.SEAL, authentication=False))


def test_a_backup_cannot_write_to_the_volume() -> None:
    found = made(Verb.UPLOAD)
    (mount,) = [mount for mount in pod(found)["containers"][0]["volumeMounts"] if mount["name"] == "data"]
    assert mount == {"name": "data", "mountPath": "/var/lib/cassandra/data", "subPath": "data", "readOnly": True}
    (claim,) = [v["persistentVolumeClaim"] for v in pod(found)["volumes"] if "persistentVolumeClaim" in v]
    assert claim == {"claimName": f"data-{MEMBER}"}


@pytest.mark.parametrize("task", [Verb.UPLOAD, Verb.LOAD])
def test_it_runs_where_the_member_does(task: Verb) -> None:
    spec = pod(made(task))
    (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"] == {"matchLabels": {"statefulset.kubernetes.io/pod-name": MEMBER}}
    assert spec["affinity"].keys() == {"podAffinity"}
    assert spec["tolerations"] == [{"key": "storage"}]


def test_what_is_hopeless_is_not_tried_again() -> None:
    fail, ignore = made(Verb.LOAD)["spec"]["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [3])
    assert ignore["action"] == "Ignore"


def test_pods_are_not_taken_for_members() -> None:
    labels = made(Verb.UPLOAD)["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app": "rook-cassandra-operation", "cassandra.rook.io/operation": "nightly"}


def test_names_are_valid_however_long() -> None:
    assert job_name("nightly", "seal", 0) == "nightly-seal"
    assert job_name("nightly", f"{MEMBER}-upload", 2) == f"nightly-{MEMBER}-upload-2"
    long = {job_name("n" * 60, f"store-dc1-a-{number}-upload", 0) for number in range(3)}
    assert len(long) == 3
    assert all(len(name) <= 63 for name in long)
