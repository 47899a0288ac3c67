"""The Kubernetes objects of members: a StatefulSet for each rack, a Service for each member. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from controller.cassandra.pods import (
    CQL_PORT,
    CQL_TLS_PORT,
    MEMBER_LABEL,
    PEER_PORT,
    PEER_TLS_PORT,
    POD_NAME_LABEL,
    SEED_LABEL,
    USER,
    account,
    admin_secret,
    labels,
    owner,
    rack_name,
    roster_name,
    selector,
)
from controller.framework.placement import keep_apart
from controller.framework.workload import ALL, PodSettings, pod_template, stateful_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.apis.cassandra import CassandraCluster, RackSpec
    from informers import JsonObject

TEMPLATE_ANNOTATION = "cassandra.rook.io/template"
"""On a pod: which pod template it was made from. One with another is out of date."""
VERSION_LABEL = "cassandra.rook.io/version"
VOLUME = "/var/lib/cassandra"
INSTALL = "rook-install"
PROBE_PORT = 8080
GRACE = 300
"""Seconds that a member has to write what is in memory to its volume before it is killed."""


def member_service(cluster: CassandraCluster, rack: str, name: str, *, seed: bool) -> JsonObject:
    """The Service that is a member's identity: its address stays the same wherever its pod runs."""
    ports = {"peers": PEER_PORT, "peers-ssl": PEER_TLS_PORT, "cql": CQL_PORT, "cql-ssl": CQL_TLS_PORT}
    own = {**labels(cluster, rack), MEMBER_LABEL: name, **({SEED_LABEL: "true"} if seed else {})}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner(cluster).metadata(name, own),
        "spec": {
            "publishNotReadyAddresses": True,
            "selector": {POD_NAME_LABEL: name},
            "ports": [{"name": port, "port": number} for port, number in ports.items()],
        },
    }


def claim_name(rack: RackSpec, member: str) -> str:
    """The claim of a member."""
    return f"{_template_name(rack)}-{member}"


def resources(rack: RackSpec) -> JsonObject:
    """What a member may use: in 2018 that could be below the container's name, too."""
    found = rack.resources
    below = found.get("cassandra")
    return dict(below) if isinstance(below, dict) else {k: v for k, v in found.items() if k in ("limits", "requests")}


def rack_template(cluster: CassandraCluster, rack: RackSpec, *, image: str, installer: str, config: str) -> JsonObject:
    """The pod template of a rack's members.

    Args:
        cluster: The cluster.
        rack: The rack.
        image: Cassandra's.
        installer: The operator's image, out of which comes the program that starts Cassandra.
        config: The ConfigMap with the rack's configuration.
    """
    spec = cluster.spec
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    pull = {"imagePullPolicy": spec.image_pull_policy} if spec.image_pull_policy else {}
    own_resources = resources(rack)
    pod_spec: JsonObject = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": GRACE,
        "initContainers": [
            {
                "name": INSTALL,
                "image": installer,
                "command": ["python3", "-m", "controller.cassandra.member.pod", "install"],
                "securityContext": security,
                "volumeMounts": [{"name": "program", "mountPath": "/opt/rook"}],
            }
        ],
        "containers": [
            {
                "name": "cassandra",
                "image": image,
                **pull,
                "command": ["python3", "-m", "rook_member", "run"],
                "env": [
                    {"name": "PYTHONPATH", "value": "/opt/rook"},
                    _from_pod("ROOK_POD_IP", "status.podIP"),
                    _from_pod("ROOK_MEMBER", "metadata.name"),
                ],
                "ports": [
                    {"name": "peers", "containerPort": PEER_PORT},
                    {"name": "peers-ssl", "containerPort": PEER_TLS_PORT},
                    {"name": "cql", "containerPort": CQL_PORT},
                    {"name": "cql-ssl", "containerPort": CQL_TLS_PORT},
                    {"name": "probes", "containerPort": PROBE_PORT},
                ],
                **({"resources": own_resources} if own_resources else {}),
                "securityContext": security,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "livenessProbe": _probe("/healthz", periodSeconds=30, timeoutSeconds=10, failureThreshold=4),
                "readinessProbe": _probe("/readyz", periodSeconds=5, timeoutSeconds=5, failureThreshold=2),
                "volumeMounts": [
                    {"name": _template_name(rack), "mountPath": VOLUME},
                    {"name": "members", "mountPath": "/etc/rook/members", "readOnly": True},
                    {"name": "config", "mountPath": "/etc/rook/cassandra", "readOnly": True},
                    {"name": "admin", "mountPath": "/etc/rook/admin", "readOnly": True},
                    {"name": "program", "mountPath": "/opt/rook", "readOnly": True},
                    {"name": "run", "mountPath": "/run/rook"},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the pod's own
                ],
            }
        ],
        "volumes": [
            {"name": "members", "configMap": {"name": roster_name(cluster)}},
            {"name": "config", "configMap": {"name": config}},
            {"name": "admin", "secret": {"secretName": admin_secret(cluster)}},
            {"name": "program", "emptyDir": {}},
            {"name": "run", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    settings = PodSettings(
        placement={ALL: rack.placement},
        labels={ALL: spec.labels},
        annotations={ALL: {**spec.annotations, **rack.annotations}},
        priority_class_names={ALL: spec.priority_class_name} if spec.priority_class_name else {},
    )
    own_labels = {**labels(cluster, rack.name), VERSION_LABEL: spec.version}
    template = pod_template(settings, rack.name, pod_spec, labels=own_labels, account=account(cluster))
    keep_apart(template["spec"], selector(cluster), strictly=False)
    annotations = template["metadata"].setdefault("annotations", {})
    annotations[TEMPLATE_ANNOTATION] = template_hash(cluster, rack, image)
    return template


def template_hash(cluster: CassandraCluster, rack: RackSpec, image: str) -> str:
    """What tells a pod template from others: all that the user asks for which needs a restart.

    What another release of the operator does otherwise is no part of it, so that none restarts a database.
    """
    spec = cluster.spec
    asked = (
        image,
        spec.image_pull_policy,
        spec.annotations,
        spec.labels,
        spec.priority_class_name,
        spec.config,
        spec.jvm,
        spec.encryption,
        spec.monitoring,
        spec.upgrade.restart,
        rack.annotations,
        rack.placement,
        rack.resources,
    )
    return sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()[:16]


def rack_stateful_set(
    cluster: CassandraCluster, rack: RackSpec, template: JsonObject, claims: Sequence[JsonObject], *, replicas: int
) -> JsonObject:
    """The StatefulSet of a rack. Its pods are restarted by the operator alone, in an order through all racks."""
    meta = owner(cluster).metadata(rack_name(cluster, rack.name), labels(cluster, rack.name))
    service = f"{cluster.metadata.name}-members"
    return stateful_set(meta, selector(cluster, rack.name), template, replicas=replicas, service=service, claims=claims)


def claim_template(cluster: CassandraCluster, rack: RackSpec) -> JsonObject:
    """The claim that each member of a rack gets."""
    template: dict[str, Any] = dict(rack.storage.volume_claim_templates[0])
    meta = dict(template.get("metadata") or {})
    spec = {"accessModes": ["ReadWriteOnce"], **(template.get("spec") or {})}
    own = {**(meta.get("labels") or {}), **selector(cluster, rack.name)}
    annotations = {"annotations": meta["annotations"]} if meta.get("annotations") else {}
    return {"metadata": {"name": _template_name(rack), "labels": own, **annotations}, "spec": spec}


def _template_name(rack: RackSpec) -> str:
    template = rack.storage.volume_claim_templates[0] if rack.storage.volume_claim_templates else {}
    return str((template.get("metadata") or {}).get("name") or "data")


def _from_pod(name: str, path: str) -> JsonObject:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _probe(path: str, **more: int) -> JsonObject:
    return {"httpGet": {"path": path, "port": "probes"}, **more}
