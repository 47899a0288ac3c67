"""The containers of a member's pod, and the volumes that they mount.

The init container brings the program out of the operator's image (`controller.framework.install`); the other runs it in
Cassandra's image. Both have no rights: the user of the well-known image, and a root file system that is read-only.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from controller.framework import install
from controller.framework.install import DIRECTORY
from controller.framework.workload import no_rights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import JsonObject

CONTAINER = "cassandra"
INSTALL_CONTAINER = "rook-install"
"""As in 2018."""
VOLUME = "rook"
"""Where the program is."""
USER = 999
"""As which Cassandra runs in the well-known image; the pod's fsGroup, so that its volume can be written to."""
DATA = "/var/lib/cassandra"
GRACE_SECONDS = 300
"""How long Cassandra may write to disk what it has in memory before it is killed."""

PORTS = {
    "intra-node": 7000,
    "tls-intra-node": 7001,
    "cql": 9042,
    "admin": 8778,
    "probes": 8080,
    "metrics": 9500,
}
"""Where the pod listens, by name."""

PROGRAM_DIGEST = "rook.io/cassandra-program"
"""Annotation of a pod: which program it runs."""

_PACKAGE = "controller.cassandra.member.pod"
_MODULE = "rook_member"


@cache
def program_digest() -> str:
    """Tells the program of this operator from that of another."""
    return install.digest(_PACKAGE, [file for file in files(_PACKAGE).iterdir() if file.name.endswith(".py")])


def install_container(image: str, resources: Mapping[str, Any]) -> JsonObject:
    """The init container.

    Args:
        image: The operator's.
        resources: The field `resources` of the other container: it needs no more, and a quota may ask for some.
    """
    command = ["python3", "-m", _PACKAGE, "install"]
    own = {"resources": dict(resources)}
    return install.install_container(INSTALL_CONTAINER, image, command, own, volume=VOLUME)


def member_container(
    image: str, resources: Mapping[str, Any], *, claim: str, tls: bool, pull_policy: str = ""
) -> JsonObject:
    """The container that runs Cassandra.

    Args:
        image: Cassandra's.
        resources: Its requests and limits, as the Kubernetes type has them.
        claim: The name of the volume for the data.
        tls: Whether the volume `tls` is there.
        pull_policy: When nodes pull the image; empty: Kubernetes' own rule.
    """
    mounts = [
        {"name": claim, "mountPath": DATA},
        {"name": VOLUME, "mountPath": DIRECTORY, "readOnly": True},
        {"name": "run", "mountPath": "/run/rook"},
        {"name": "run", "mountPath": "/tmp", "subPath": "tmp"},  # noqa: S108  # the pod's own
        {"name": "configuration", "mountPath": "/etc/rook/cassandra", "readOnly": True},
        {"name": "members", "mountPath": "/etc/rook/members", "readOnly": True},
        {"name": "admin", "mountPath": "/etc/rook/admin", "readOnly": True},
    ]
    if tls:
        mounts.append({"name": "tls", "mountPath": "/etc/rook/tls", "readOnly": True})
    return {
        "name": CONTAINER,
        "image": image,
        **({"imagePullPolicy": pull_policy} if pull_policy else {}),
        "command": ["python3", "-m", _MODULE, "run"],
        "workingDir": DIRECTORY,
        "env": [
            {"name": "ROOK_MEMBER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "ROOK_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
        "volumeMounts": mounts,
        "resources": dict(resources),
        "livenessProbe": _probe("/healthz", period=20, failures=6),
        "readinessProbe": _probe("/readyz", period=5, failures=2),
        # The last lines of the log say why Cassandra did not start.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": no_rights(),
    }


def volumes(*, configuration: str, members: str, admin: str, tls: str = "") -> list[JsonObject]:
    """The pod's volumes beside that for the data.

    Args:
        configuration: The ConfigMap with the rack's files (`controller.cassandra.member.configuration.files`).
        members: The ConfigMap with the records of members (`controller.cassandra.member.record`).
        admin: The Secret with `username` and `password` of who is let in by the program.
        tls: The Secret with `tls.crt`, `tls.key` (PKCS 8) and `ca.crt`; empty: none.
    """
    wanted: list[JsonObject] = [
        {"name": VOLUME, "emptyDir": {}},
        {"name": "run", "emptyDir": {}},
        {"name": "configuration", "configMap": {"name": configuration}},
        # A pod may be made before its record: then the program waits.
        {"name": "members", "configMap": {"name": members, "optional": True}},
        {"name": "admin", "secret": {"secretName": admin}},
    ]
    if tls:
        wanted.append({"name": "tls", "secret": {"secretName": tls}})
    return wanted


def pod_security() -> JsonObject:
    """The pod's securityContext."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _probe(path: str, *, period: int, failures: int) -> JsonObject:
    return {
        "httpGet": {"path": path, "port": "probes"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
