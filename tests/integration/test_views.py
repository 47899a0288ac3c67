"""Caches hold every kind as a real API server has it, and what they hold fits the views."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
import pytest

from controller.runtime import kube
from informers import ApiError, Client, InformerFactory, JsonObject, Resource
from tests.integration.test_informers import CATCH_UP, CRDS, MERGE, WithoutStreaming, crd_of, until_created
from tests.mirror import plain

GIZMOS = Resource("tests.example.org", "v1", "Gizmo", "gizmos")
STRATEGIC = "application/strategic-merge-patch+json"
T = "2026-11-24T10:00:00Z"
MICRO = "2026-11-24T10:00:00.123456Z"
APP = {"app": "sample"}
TEMPLATE_META = {"labels": APP, "annotations": {"a": "b"}}


def resource(group: str, kind: str, plural: str, *, version: str = "v1", namespaced: bool = True) -> Resource:
    return Resource(group, version, kind, plural, namespaced)


CONTAINER = {
    "name": "osd",
    "image": "example.org/ceph:v18",
    "command": ["ceph-osd"],
    "args": ["--foreground", "--id", "0"],
    "workingDir": "/",
    "ports": [{"name": "osd", "containerPort": 6800, "protocol": "TCP", "hostPort": 6800}],
    "envFrom": [{"prefix": "A_", "configMapRef": {"name": "a", "optional": True}}, {"secretRef": {"name": "b"}}],
    "env": [
        {"name": "PLAIN", "value": "1"},
        {"name": "EMPTY", "value": ""},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ],
    "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "4Gi", "cpu": "1"}},
    "volumeMounts": [
        {"name": "data", "mountPath": "/data", "subPath": "x", "readOnly": True, "mountPropagation": "None"},
        {"name": "empty", "mountPath": "/empty"},
    ],
    "livenessProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": 10, "failureThreshold": 3},
    "readinessProbe": {"httpGet": {"path": "/ready", "port": "osd", "httpHeaders": [{"name": "h", "value": "v"}]}},
    "startupProbe": {"tcpSocket": {"port": 6800}, "periodSeconds": 5},
    "lifecycle": {"preStop": {"sleep": {"seconds": 0}}},
    "securityContext": {
        "runAsUser": 0,
        "runAsNonRoot": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
POD_SPEC = {
    "containers": [CONTAINER],
    "initContainers": [{"name": "init", "image": "example.org/a:1", "restartPolicy": "Always"}],
    "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "empty", "emptyDir": {}},
        {"name": "sized", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "host", "hostPath": {"path": "/var", "type": ""}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0, "items": [{"key": "a", "path": "b"}]}},
        {
            "name": "projected",
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                    {"configMap": {"name": "c"}},
                    {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                ]
            },
        },
        {
            "name": "ephemeral",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                }
            },
        },
    ],
    "nodeSelector": {"kubernetes.io/hostname": "worker-1"},
    "tolerations": [
        {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
        {"operator": "Exists"},
    ],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"labelSelector": {"matchLabels": APP}, "topologyKey": "zone"}}
            ]
        },
    },
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": APP},
        }
    ],
    "securityContext": {"fsGroup": 0, "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]},
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}],
    "terminationGracePeriodSeconds": 0,
    "automountServiceAccountToken": False,
    "serviceAccountName": "osd",
    "dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
}
TEMPLATE = {"metadata": TEMPLATE_META, "spec": {key: value for key, value in POD_SPEC.items() if key != "ephemeral"}}
SELECTOR = {"matchLabels": APP, "matchExpressions": [{"key": "app", "operator": "Exists"}]}
STATE = {"running": {"startedAt": T}}
ENDED = {"terminated": {"exitCode": 137, "signal": 9, "reason": "Error", "message": "m", "startedAt": T}}
CLAIM_SPEC = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "10Gi"}},
    "storageClassName": "",
    "volumeMode": "Block",
    "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"},
}

NAMESPACE = "<namespace>"
"""Stands for the test's."""

SAMPLES: list[tuple[Resource, JsonObject, JsonObject]] = [
    (
        kube.POD,
        {"spec": POD_SPEC},
        {
            "phase": "Running",
            "podIP": "10.1.1.1",
            "podIPs": [{"ip": "10.1.1.1"}],
            "hostIP": "172.18.0.3",
            "startTime": T,
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "R", "message": "m", "lastTransitionTime": T},
                {"type": "Initialized", "status": "True", "lastProbeTime": T, "lastTransitionTime": T},
            ],
            "containerStatuses": [
                {
                    "name": "osd",
                    "ready": False,
                    "started": False,
                    "restartCount": 2,
                    "image": "i",
                    "imageID": "d",
                    "state": STATE,
                    "lastState": ENDED,
                }
            ],
        },
    ),
    (
        kube.NODE,
        {
            "spec": {
                "podCIDR": "10.2.0.0/24",
                "podCIDRs": ["10.2.0.0/24"],
                "taints": [{"key": "a", "effect": "NoSchedule"}],
            }
        },
        {
            "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
            "allocatable": {"cpu": "3900m"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": T, "lastTransitionTime": T}],
            "addresses": [{"type": "InternalIP", "address": "172.18.0.3"}],
            "nodeInfo": {"kernelVersion": "6.1", "osImage": "Debian", "kubeletVersion": "v1.36.3"},
            "volumesInUse": ["a"],
            "volumesAttached": [{"name": "a", "devicePath": ""}],
            "images": [{"names": ["a:1"], "sizeBytes": 123456789012}],
        },
    ),
    (kube.NAMESPACE, {}, {}),
    (
        kube.SERVICE,
        {
            "spec": {
                "selector": APP,
                "ports": [
                    {"name": "a", "port": 80, "targetPort": "http"},
                    {"name": "b", "port": 81, "targetPort": 8081, "protocol": "UDP", "appProtocol": "x"},
                ],
                "type": "LoadBalancer",
                "sessionAffinity": "ClientIP",
                "publishNotReadyAddresses": True,
            }
        },
        {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ports": [{"port": 80, "protocol": "TCP"}]}]}},
    ),
    (kube.SERVICE_ACCOUNT, {"automountServiceAccountToken": False, "imagePullSecrets": [{"name": "a"}]}, {}),
    (kube.CONFIG_MAP, {"data": {"a": "ä€", "empty": ""}, "binaryData": {"b": "AAH/"}, "immutable": False}, {}),
    (kube.SECRET, {"data": {"a": "AAH/", "empty": ""}, "type": "example.org/x", "immutable": True}, {}),
    (
        kube.PVC,
        {"spec": CLAIM_SPEC},
        {
            "phase": "Bound",
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "10Gi"},
            "conditions": [{"type": "Resizing", "status": "True", "lastTransitionTime": T}],
        },
    ),
    (
        kube.PV,
        {
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "csi": {
                    "driver": "rook-ceph.rbd.csi.ceph.com",
                    "volumeHandle": "h",
                    "volumeAttributes": {"pool": "p"},
                    "nodeStageSecretRef": {"name": "n", "namespace": "rook-ceph"},
                },
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "a", "name": "b", "uid": "u"},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
                        ]
                    }
                },
            }
        },
        {"phase": "Bound"},
    ),
    (
        kube.DEPLOYMENT,
        {
            "spec": {
                "replicas": 0,
                "selector": SELECTOR,
                "template": TEMPLATE,
                "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            }
        },
        {
            "observedGeneration": 1,
            "replicas": 2,
            "updatedReplicas": 1,
            "conditions": [{"type": "Available", "status": "True", "lastUpdateTime": T, "lastTransitionTime": T}],
        },
    ),
    (kube.DAEMONSET, {"spec": {"selector": SELECTOR, "template": TEMPLATE}}, {"numberReady": 1}),
    (
        kube.STATEFULSET,
        {
            "spec": {
                "replicas": 1,
                "serviceName": "s",
                "selector": SELECTOR,
                "template": TEMPLATE,
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM_SPEC}],
                "updateStrategy": {"rollingUpdate": {"partition": 0}},
            }
        },
        {"currentRevision": "a", "replicas": 1},
    ),
    (
        kube.JOB,
        {
            "spec": {
                "completions": 1,
                "backoffLimit": 0,
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}},
            }
        },
        {"active": 1, "startTime": T, "failed": 0},
    ),
    (kube.PDB, {"spec": {"maxUnavailable": "50%", "selector": SELECTOR}}, {"disruptedPods": {"a": T}}),
    (
        kube.LEASE,
        {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": MICRO, "renewTime": MICRO}},
        {},
    ),
    (
        kube.EVENT,
        {
            "eventTime": MICRO,
            "reportingController": "rook",
            "reportingInstance": "a",
            "type": "Normal",
            "reason": "R",
            "action": "A",
            "note": "n",
            "regarding": {"kind": "Pod", "namespace": NAMESPACE, "name": "a"},
            "series": {"count": 2, "lastObservedTime": MICRO},
        },
        {},
    ),
    (
        kube.STORAGE_CLASS,
        {
            "provisioner": "p",
            "parameters": {"pool": "p"},
            "mountOptions": ["a"],
            "allowVolumeExpansion": True,
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}],
        },
        {},
    ),
    (
        kube.VOLUME_ATTACHMENT,
        {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}},
        {"attached": True, "attachmentMetadata": {"a": "b"}, "detachError": {"time": T, "message": "m"}},
    ),
    (kube.CSI_DRIVER, {"spec": {"attachRequired": False, "tokenRequests": [{"audience": "a"}]}}, {}),
    (
        kube.CSI_NODE,
        {"spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": ["zone"], "allocatable": {"count": 0}}]}},
        {},
    ),
    (
        resource("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", namespaced=False),
        {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}]},
        {},
    ),
    (resource("rbac.authorization.k8s.io", "Role", "roles"), {}, {}),
    (
        resource("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
        {
            "spec": {
                "podSelector": {},
                "ingress": [
                    {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": "a", "protocol": "TCP"}]}
                ],
                "policyTypes": ["Ingress"],
            }
        },
        {},
    ),
    (
        resource("networking.k8s.io", "Ingress", "ingresses"),
        {
            "spec": {
                "rules": [
                    {
                        "host": "a.example.org",
                        "http": {
                            "paths": [
                                {
                                    "path": "/",
                                    "pathType": "Prefix",
                                    "backend": {"service": {"name": "a", "port": {"number": 80}}},
                                }
                            ]
                        },
                    }
                ]
            }
        },
        {},
    ),
    (
        resource("discovery.k8s.io", "EndpointSlice", "endpointslices"),
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": False}, "nodeName": "a"}],
            "ports": [{"name": "", "port": 80}],
        },
        {},
    ),
    (
        resource("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", version="v2"),
        {
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
                "maxReplicas": 3,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
                    }
                ],
            }
        },
        {},
    ),
    (
        resource("batch", "CronJob", "cronjobs"),
        {
            "spec": {
                "schedule": "* * * * *",
                "suspend": True,
                "jobTemplate": {
                    "spec": {
                        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
                    }
                },
            }
        },
        {"lastScheduleTime": T},
    ),
    (
        resource("apps", "ControllerRevision", "controllerrevisions"),
        {"revision": 0, "data": {"spec": {"any": [1, None, "x"]}}},
        {},
    ),
    (
        resource("scheduling.k8s.io", "PriorityClass", "priorityclasses", namespaced=False),
        {"value": -10, "preemptionPolicy": "Never", "description": "d"},
        {},
    ),
    (resource("", "ResourceQuota", "resourcequotas"), {"spec": {"hard": {"pods": "10"}}}, {}),
    (
        resource("", "LimitRange", "limitranges"),
        {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}}]}},
        {},
    ),
    (
        resource(
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            namespaced=False,
        ),
        {
            "webhooks": [
                {
                    "name": "a.example.org",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Ignore",
                    "clientConfig": {"service": {"namespace": "a", "name": "b"}},
                    "rules": [
                        {
                            "apiGroups": ["example.org"],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["nothing"],
                        }
                    ],
                }
            ]
        },
        {},
    ),
]


def view_of(found: Resource) -> type[Any]:
    """The typed view that controllers have of a kind, `dict` if they have none."""
    return getattr(kube, {"CSINode": "CsiNode"}.get(found.kind, found.kind), dict)


@pytest.fixture
async def samples(client: Client, namespace: str) -> AsyncIterator[None]:
    """One object of each kind, with as many fields as may be set."""
    made: list[tuple[Resource, str]] = []
    for found, obj, status in SAMPLES:
        place = namespace if found.namespaced else ""
        name = f"sample-{namespace}"
        metadata: JsonObject = {
            "name": name,
            "labels": APP,
            "annotations": {"empty": ""},
            "finalizers": [],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": False}],
        }
        if place:
            metadata["namespace"] = place
        whole = {"apiVersion": found.api_version, "kind": found.kind, "metadata": metadata, **obj}
        body = orjson.loads(orjson.dumps(whole).replace(NAMESPACE.encode(), namespace.encode()))
        await client.create(found, body)
        made.append((found, place))
        if status:
            await client.patch(found, place, name, {"status": status}, content_type=MERGE, subresource="status")
    yield
    for found, place in made:
        if found is not kube.NAMESPACE:
            await client.delete(found, place, f"sample-{namespace}")


@asynccontextmanager
async def running(factory: InformerFactory) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        with anyio.fail_after(CATCH_UP):
            await factory.wait_synced()
        yield
        tasks.cancel_scope.cancel()


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize("streaming", [True, False])
async def test_every_kind(client: Client, namespace: str, streaming: bool) -> None:
    api: Any = client if streaming else WithoutStreaming(client)
    factory = InformerFactory(api)
    informers = [factory.informer(found, view_of(found)) for found, _, _ in SAMPLES]
    async with running(factory):
        for informer in informers:
            place = namespace if informer.resource.namespaced else ""
            name = namespace if informer.resource == kube.NAMESPACE else f"sample-{namespace}"
            assert informer.raw(place, name) == plain(await client.get(informer.resource, place, name))
            for key in sorted(informer.keys()):
                assert informer.get(*key) is not None
            assert informer.cache.stats.undecodable == 0


@pytest.mark.parametrize("streaming", [True, False])
async def test_metadata_alone(client: Client, namespace: str, streaming: bool) -> None:
    with contextlib.suppress(ApiError):  # the same test with other parameters may have made it
        await client.create(CRDS, crd_of(GIZMOS))
    metadata: JsonObject = {"namespace": namespace, "name": "a", "labels": APP}
    gizmo = {"apiVersion": GIZMOS.api_version, "kind": GIZMOS.kind, "metadata": metadata}
    await until_created(client, GIZMOS, gizmo)
    await client.create(kube.SECRET, {"metadata": metadata, "data": {"key": "c2VjcmV0"}})
    api: Any = client if streaming else WithoutStreaming(client)
    factory = InformerFactory(api, namespaces=(namespace,))
    for found in (kube.SECRET, GIZMOS):
        factory.informer(found, kube.PartialObject, metadata_only=True)
    async with running(factory):
        for found in (kube.SECRET, GIZMOS):
            informer = factory.informer(found, kube.PartialObject, metadata_only=True)
            obj = informer.get(namespace, "a")
            assert obj is not None
            assert obj.metadata.labels == APP
            live = plain(await client.get(found, namespace, "a"))
            assert informer.raw(namespace, "a") == {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": live["metadata"],
            }
            patch = {"metadata": {"labels": {"b": "c"}}}
            changed = await client.patch(found, namespace, "a", patch, content_type=MERGE)
            informer.observe_write(changed)
            await informer.reached(int(changed["metadata"]["resourceVersion"]), CATCH_UP)
            obj = informer.get(namespace, "a")
            assert obj is not None
            assert obj.metadata.labels == APP | {"b": "c"}
