"""The Jobs of backups and restores. Pure.

They run in the operator's image as Cassandra's user, without access to the API, and with no more Secrets than they use.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from controller.cassandra.backup.options import ADMIN, HOPELESS, LOGIN, S3, S3_CA
from controller.cassandra.member.containers import DATA, pod_security
from controller.cassandra.member.objects import claim_name
from controller.cassandra.pods import POD_NAME_LABEL, account, admin_secret, superuser_secret
from controller.framework.names import label_value, object_name
from controller.framework.placement import HOSTNAME_LABEL, over
from controller.framework.workload import PodSettings, no_rights, pod_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.cassandra import CassandraCluster, RackSpec
    from controller.apis.cassandra.operation import S3Spec
    from controller.cassandra.backup.options import Options
    from controller.framework.workload import Owner
    from informers import JsonObject

APP = "rook-cassandra-operation"
OPERATION_LABEL = "cassandra.rook.io/operation"
CONTAINER = "backup"
DEADLINE = 7 * 24 * 3600
"""Seconds that a Job may take: a member with many terabytes takes days."""
RETRIES = 3
"""How often Kubernetes starts a Job's pod anew before the operator looks at it."""
RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
_PROGRAM = "controller.cassandra.backup"


class Verb(StrEnum):
    """What a Job does: the commands of the program."""

    UPLOAD = "upload"
    SEAL = "seal"
    CHECK = "check"
    PREPARE = "prepare"
    LOAD = "load"


def job_name(operation: str, piece: str, attempt: int) -> str:
    """The name of an Operation's Job for a piece of it; each attempt is another one."""
    return object_name("-".join(filter(None, (operation, piece, str(attempt or "")))))


def job(
    cluster: CassandraCluster,
    owner: Owner,
    name: str,
    verb: Verb,
    options: Options,
    s3: S3Spec,
    *,
    image: str,
    authentication: bool,
    member: str = "",
    rack: RackSpec | None = None,
) -> JsonObject:
    """A Job.

    Args:
        cluster: The cluster.
        owner: The Operation.
        name: The Job's.
        verb: What the Job does.
        options: What its program is told.
        s3: Where the Secrets are.
        image: The operator's.
        authentication: Whether members ask for a login.
        member: Whose files it handles, on the node of that member; empty: nobody's.
        rack: That of the member.
    """
    labels = {"app": APP, OPERATION_LABEL: label_value(owner.name)}
    secrets = {"s3": s3.credentials_secret_name}
    paths = {"s3": S3}
    if s3.ca_secret_name:
        secrets["s3-ca"], paths["s3-ca"] = s3.ca_secret_name, S3_CA
    if verb in (Verb.SEAL, Verb.CHECK, Verb.PREPARE) and authentication:
        secrets["login"], paths["login"] = superuser_secret(cluster), LOGIN
    if verb is Verb.LOAD:
        secrets["admin"], paths["admin"] = admin_secret(cluster), ADMIN
    volumes: list[JsonObject] = [
        {"name": key, "secret": {"secretName": secret, "defaultMode": 0o440}} for key, secret in secrets.items()
    ]
    mounts: list[JsonObject] = [{"name": key, "mountPath": str(path), "readOnly": True} for key, path in paths.items()]
    placement: Mapping[str, Any] = rack.placement if rack is not None else {}
    if rack is not None:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim_name(rack, member)}})
        mounts.append(_data(verb))
        placement = over({"tolerations": placement.get("tolerations", [])}, _beside(member))
    container: JsonObject = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", _PROGRAM, str(verb), msgspec.json.encode(options).decode()],
        "volumeMounts": mounts,
        "resources": RESOURCES,
        "securityContext": no_rights(),
        # Of a program that was killed, or that nobody foresaw the end of.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod_spec: JsonObject = {
        "restartPolicy": "Never",
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": volumes,
    }
    template = pod_template(PodSettings(), "", pod_spec, labels=labels, account=account(cluster), placement=placement)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owner.metadata(name, labels),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": DEADLINE,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [HOPELESS]},
                    },
                    # A drained node is nobody's failure.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": template,
        },
    }


def _data(verb: Verb) -> JsonObject:
    """A backup sees the tables' files alone, and cannot write; a restore has a directory of its own on the volume."""
    if verb is Verb.UPLOAD:
        return {"name": "data", "mountPath": f"{DATA}/data", "subPath": "data", "readOnly": True}
    return {"name": "data", "mountPath": DATA}


def _beside(member: str) -> JsonObject:
    """On the node of a member: its volume may be mounted on one node only."""
    term = {"labelSelector": {"matchLabels": {POD_NAME_LABEL: member}}, "topologyKey": HOSTNAME_LABEL}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
