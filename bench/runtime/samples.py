"""The objects of the bench: Pods as a Ceph cluster has them, and custom resources of 5.4 KB.

A Pod is 7.7 KB of JSON, of which 3.3 KB are managedFields of two managers. What differs between objects of a kind is
text of a fixed length, so that an object's stored form can be made from another's by replacing it.
"""

from __future__ import annotations

from typing import Any

from bench.runtime.peers.common import GROUP as GROUP
from bench.runtime.peers.common import SEQUENCE as SEQUENCE
from bench.runtime.peers.common import VERSION
from controller.runtime.kube import POD
from informers import Resource

NAMESPACES = 20
WIDGET = Resource(GROUP, VERSION, "Widget", "widgets")
RESOURCES = {"pods": POD, "widgets": WIDGET}
TIME = "2026-01-02T03:04:05Z"
DISKS = 8


def namespace(number: int) -> str:
    """The namespace of an object."""
    return f"bench-{number % NAMESPACES:02d}"


def index(number: int) -> str:
    """What stands for an object's number in its texts."""
    return f"i{number:05d}"


def node(number: int) -> str:
    """The node of an object."""
    return f"worker-{number % 400:04d}.example.com"


def name(number: int) -> str:
    """The name of an object."""
    return f"rook-ceph-osd-{index(number)}-7d9c6b8f4"


def address(number: int) -> str:
    """The IP address of a Pod."""
    return f"10.{100 + number // 22500 % 150}.{100 + number // 150 % 150}.{100 + number % 150}"


def pod(number: int) -> dict[str, Any]:
    """A Pod as its Deployment makes it."""
    labels = {
        "app": "rook-ceph-osd",
        "app.kubernetes.io/instance": index(number),
        "app.kubernetes.io/managed-by": "rook-ceph-operator",
        "app.kubernetes.io/part-of": "rook-ceph",
        "ceph-osd-id": index(number),
        "ceph_daemon_type": "osd",
        "osd": index(number),
        "rook_cluster": "rook-ceph",
        "topology-location-host": node(number),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name(number),
            "namespace": namespace(number),
            "labels": labels,
            "annotations": {SEQUENCE: ""},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"rook-ceph-osd-{index(number)}",
                    "uid": "6a3f0c1e-3b3c-4a52-9d2b-6a1a5d3b7c11",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "nodeName": node(number),
            "serviceAccountName": "rook-ceph-osd",
            "automountServiceAccountToken": False,
            "hostPID": True,
            "initContainers": [_init_container()],
            "containers": [_container(number)],
            "tolerations": [{"key": "storage-node", "operator": "Exists"}],
            "volumes": [
                {"name": "rook-data", "hostPath": {"path": "/var/lib/rook", "type": ""}},
                {"name": "rook-config-override", "configMap": {"name": "rook-config-override"}},
                {"name": "devices", "hostPath": {"path": "/dev", "type": ""}},
            ],
        },
    }


def _init_container() -> dict[str, Any]:
    return {
        "name": "chown-container-data-dir",
        "image": "quay.io/ceph/ceph:v19.2.3",
        "command": ["chown", "--recursive", "ceph:ceph", "/var/lib/rook"],
        "volumeMounts": [{"name": "rook-data", "mountPath": "/var/lib/rook"}],
    }


def _container(number: int) -> dict[str, Any]:
    return {
        "name": "osd",
        "image": "quay.io/ceph/ceph:v19.2.3",
        "imagePullPolicy": "IfNotPresent",
        "command": ["ceph-osd"],
        "args": ["--foreground", "--id", index(number), "--fsid", "4775b1a2-6a07-4dd1-b4cf-0b2b1bb2fa3b"],
        "env": [
            {"name": "ROOK_OSD_ID", "value": index(number)},
            {"name": "ROOK_NODE_NAME", "value": node(number)},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        ],
        "resources": {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
        "securityContext": {"readOnlyRootFilesystem": True, "runAsUser": 167},
        "volumeMounts": [
            {"name": "rook-data", "mountPath": "/var/lib/rook"},
            {"name": "rook-config-override", "mountPath": "/etc/ceph", "readOnly": True},
            {"name": "devices", "mountPath": "/dev"},
        ],
    }


def pod_status(number: int) -> dict[str, Any]:
    """What the kubelet reports of that Pod."""
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ran = {"startedAt": TIME, "finishedAt": TIME, "exitCode": 0, "reason": "Completed"}
    return {
        "phase": "Running",
        "conditions": [
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": TIME} for kind in conditions
        ],
        "hostIP": address(number),
        "hostIPs": [{"ip": address(number)}],
        "podIP": address(number),
        "podIPs": [{"ip": address(number)}],
        "startTime": TIME,
        "qosClass": "Burstable",
        "initContainerStatuses": [_container_status("chown-container-data-dir", {"terminated": ran}, number)],
        "containerStatuses": [_container_status("osd", {"running": {"startedAt": TIME}}, number)],
    }


def _container_status(name: str, state: dict[str, Any], number: int) -> dict[str, Any]:
    digest = "7d6bd0fa0f6f2b3c5f7b7f1d0b1a4b0d0c6c3f5d9e8a7b6c5d4e3f2a1b0c9d8e"
    return {
        "name": name,
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": state,
        "lastState": {},
        "image": "quay.io/ceph/ceph:v19.2.3",
        "imageID": f"quay.io/ceph/ceph@sha256:{digest}",
        "containerID": f"containerd://{index(number)}{digest[6:]}",
    }


def widget(number: int) -> dict[str, Any]:
    """A custom resource."""
    return {
        "apiVersion": WIDGET.api_version,
        "kind": WIDGET.kind,
        "metadata": {
            "name": name(number),
            "namespace": namespace(number),
            "labels": {"app": "widget", "app.kubernetes.io/instance": index(number)},
            "annotations": {SEQUENCE: ""},
        },
        "spec": {
            "title": f"The widget {index(number)}",
            "replicas": 3,
            "settings": {f"osd_setting_number_{n}": f"value {n} of {index(number)}" for n in range(16)},
            "disks": [
                {
                    "node": node(number),
                    "device": f"/dev/disk/by-id/wwn-0x5000c500a1b2c{n:03d}",
                    "size": 4_000_787_030_016,
                    "options": {"deviceClass": "hdd", "encrypted": "false", "metadataDevice": "nvme0n1"},
                }
                for n in range(DISKS)
            ],
        },
    }


def widget_status(number: int) -> dict[str, Any]:
    """What its controller reports of it."""
    kinds = ("Ready", "Progressing", "Degraded", "Available")
    return {
        "token": "",
        "observedGeneration": 1,
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": "AsExpected",
                "message": f"All disks of {index(number)} are in the state that was asked for",
                "lastTransitionTime": TIME,
                "observedGeneration": 1,
            }
            for kind in kinds
        ],
        "disks": [
            {"node": node(number), "device": f"/dev/disk/by-id/wwn-0x5000c500a1b2c{n:03d}", "state": "up", "osd": n}
            for n in range(DISKS)
        ],
    }


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


STRING = {"type": "string"}
INTEGER = {"type": "integer"}
LONG = {"type": "integer", "format": "int64"}
TEXTS = {"type": "object", "additionalProperties": STRING}

WIDGET_DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{WIDGET.plural}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": WIDGET.kind, "plural": WIDGET.plural, "singular": "widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": _object(
                        spec=_object(
                            title=STRING,
                            replicas=INTEGER,
                            settings=TEXTS,
                            disks=_list(_object(node=STRING, device=STRING, size=LONG, options=TEXTS)),
                        ),
                        status=_object(
                            token=STRING,
                            observedGeneration=LONG,
                            conditions=_list(
                                _object(
                                    type=STRING,
                                    status=STRING,
                                    reason=STRING,
                                    message=STRING,
                                    lastTransitionTime={"type": "string", "format": "date-time"},
                                    observedGeneration=LONG,
                                )
                            ),
                            disks=_list(_object(node=STRING, device=STRING, state=STRING, osd=INTEGER)),
                        ),
                    )
                },
            }
        ],
    },
}
