"""The Kubernetes cluster that the operator is measured in: the test kit's API server, and what kubelets would do."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import msgspec

from bench.scale.ceph import OSDS_PER_NODE, VERSION, SimulatedCeph, node_name
from controller.apis.ceph import CEPH_CLUSTER
from controller.apis.registry import KINDS
from controller.apis.rook.node_report import NODE_REPORT, BlockDevice
from controller.runtime.kube import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NODE,
    POD,
    PV,
    PVC,
    SECRET,
    SERVICE,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    resource_of,
)
from controller.testkit import ApiServer
from controller.volumes.attachments.analyze import finalizer
from controller.volumes.attachments.observe import GIVEN_TO

if TYPE_CHECKING:
    from informers import JsonObject

NAMESPACE, CLUSTER = "rook-ceph", "rook-ceph"
CLUSTERS, REPORTS = resource_of(CEPH_CLUSTER), resource_of(NODE_REPORT)
DRIVER = f"{NAMESPACE}.rbd.csi.ceph.com"
IMAGE, NEW_IMAGE = "quay.io/ceph/ceph:v18.2.7", "quay.io/ceph/ceph:v18.2.8"
NOW = "2026-01-01T00:00:00Z"
KUBELET_SECONDS = 0.02


class World:
    """An API server with a cluster of so many OSDs and volumes.

    Attributes:
        server: The API server.
        ceph: The simulated cluster.
        follows: Whether Deployments are rolled out; Jobs and Services are served in any case.
    """

    def __init__(self, osds: int, system: type[SimulatedCeph] = SimulatedCeph) -> None:
        self.server = ApiServer(namespaces=(NAMESPACE, "apps"))
        self.ceph = system(osds, self._mons)
        self.follows = True
        self._changed = anyio.Event()
        self.server.storage.listeners.append(lambda: self._changed.set())
        for kind in KINDS:
            self.server.serve(resource_of(kind))
        for index in range(max(-(-osds // OSDS_PER_NODE), 3)):
            self.server.put(NODE, _node(node_name(index)))
        self.server.put(CLUSTERS, _cluster())

    def add_osds(self) -> None:
        """Has the agents report the devices of all OSDs, so that the operator runs them."""
        fsid = self._fsid()
        for index in range(-(-self.ceph.osds // OSDS_PER_NODE)):
            numbers = range(index * OSDS_PER_NODE, min((index + 1) * OSDS_PER_NODE, self.ceph.osds))
            devices = [
                BlockDevice(
                    name=f"sd{slot:02d}",
                    path=f"/dev/sd{slot:02d}",
                    type="disk",
                    size=10 << 40,
                    serial=f"S{number}",
                    ceph_fsid=fsid,
                    osd_id=number,
                    osd_uuid=self.ceph.uuids[number],
                    signatures=("ceph_bluestore",),
                )
                for slot, number in enumerate(numbers)
            ]
            meta = {"namespace": NAMESPACE, "name": node_name(index)}
            self.server.put(REPORTS, {"metadata": meta, "devices": msgspec.to_builtins(devices)})

    def add_volumes(self, count: int) -> None:
        """Claims and their volumes, bound, and each attached to a node."""
        self.server.put(STORAGE_CLASS, {"metadata": {"name": "block"}, "provisioner": DRIVER, "parameters": {}})
        for number in range(count):
            name = f"pvc-{number:05d}"
            self.server.put(PV, _volume(name))
            self.server.put(PVC, _claim(name))
            self.server.put(VOLUME_ATTACHMENT, _attachment(name, node_name(number // OSDS_PER_NODE)))

    def touch_pod(self, name: str) -> None:
        """A container of a pod is restarted, of which the kubelet tells."""
        pod = self.server.get(POD, NAMESPACE, name)
        pod["status"]["containerStatuses"][0]["restartCount"] += 1
        self.server.put(POD, pod)

    def change_image(self) -> None:
        """A user asks for another release."""
        self.server.patch(CLUSTERS, NAMESPACE, CLUSTER, {"spec": {"cephVersion": {"image": NEW_IMAGE}}})

    async def kubelets(self) -> None:
        """Does what controllers and kubelets do: addresses, rolled out Deployments, and pods."""
        seen: dict[tuple[str, str], str] = {}
        while True:
            await self._changed.wait()
            await anyio.sleep(KUBELET_SECONDS)
            self._changed = anyio.Event()
            for resource, serve in ((SERVICE, self._service), (JOB, self._job), (DEPLOYMENT, self._deployment)):
                if resource is DEPLOYMENT and not self.follows:
                    continue
                stored = self.server.storage.objects((resource.group, resource.plural))
                for key, obj in list(stored.items()):
                    version = obj["metadata"]["resourceVersion"]
                    if seen.get((resource.kind, "/".join(key))) == version:
                        continue
                    serve(obj)
                    now = stored.get(key)
                    seen[resource.kind, "/".join(key)] = now["metadata"]["resourceVersion"] if now else ""
                    await anyio.lowlevel.checkpoint()

    def status(self) -> JsonObject:
        """The CephCluster's status."""
        found: JsonObject = self.server.get(CLUSTERS, NAMESPACE, CLUSTER).get("status", {})
        return found

    def deployments(self) -> int:
        """How many Deployments there are."""
        return len(self.server.storage.objects((DEPLOYMENT.group, DEPLOYMENT.plural)))

    def _fsid(self) -> str:

        return base64.b64decode(self.server.get(SECRET, NAMESPACE, "rook-ceph-mon")["data"]["fsid"]).decode()

    def _mons(self) -> dict[str, str]:
        found = self.server.storage.objects((CONFIG_MAP.group, CONFIG_MAP.plural)).get(
            (NAMESPACE, "rook-ceph-mon-endpoints")
        )
        text = "" if found is None else found["data"]["data"]
        pairs = [member.split("=") for member in text.split(",") if member]
        return {name: address.rpartition(":")[0] for name, address in pairs}

    def _service(self, obj: JsonObject) -> None:
        if not obj["spec"].get("clusterIP"):
            number = int(obj["metadata"]["resourceVersion"])
            self.server.put(
                SERVICE, {**obj, "spec": {**obj["spec"], "clusterIP": f"10.96.{number >> 8}.{number & 255}"}}
            )

    def _job(self, obj: JsonObject) -> None:
        template = obj["spec"]["template"]
        ended = {"terminated": {"exitCode": 0, "message": VERSION if IMAGE in str(template) else NEW_VERSION}}
        self._pod(obj, template, "Succeeded", ended)

    def _deployment(self, obj: JsonObject) -> None:
        generation = obj["metadata"].get("generation", 1)
        if obj.get("status", {}).get("observedGeneration") == generation:
            return
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), 1)
        progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": NOW}
        status = {**counts, "observedGeneration": generation, "conditions": [progress]}
        self.server.put(DEPLOYMENT, {**obj, "status": status})
        self._pod(obj, obj["spec"]["template"], "Running", {"running": {"startedAt": NOW}})

    def _pod(self, owner: JsonObject, template: JsonObject, phase: str, state: JsonObject) -> None:
        meta = owner["metadata"]
        node = template["spec"].get("nodeSelector", {}).get("kubernetes.io/hostname", node_name(0))
        pod = {
            "metadata": {
                "namespace": meta["namespace"],
                "name": f"{meta['name']}-0",
                "labels": template["metadata"].get("labels", {}),
                "creationTimestamp": NOW,
                "ownerReferences": [
                    {
                        "apiVersion": owner["apiVersion"],
                        "kind": owner["kind"],
                        "name": meta["name"],
                        "uid": meta["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": {"nodeName": node, "containers": template["spec"]["containers"]},
            "status": {
                "phase": phase,
                "conditions": [{"type": "Ready", "status": "True" if phase == "Running" else "False"}],
                "containerStatuses": [
                    {"name": container["name"], "ready": phase == "Running", "restartCount": 0, "state": state}
                    for container in template["spec"]["containers"]
                ],
            },
        }
        self.server.put(POD, pod)


NEW_VERSION = "ceph version 18.2.8 (0001) reef (stable)"


def _node(name: str) -> JsonObject:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.1.0.1"}],
        "nodeInfo": {"bootID": name},
    }
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": status}


def _cluster() -> JsonObject:
    spec: dict[str, Any] = {
        "cephVersion": {"image": IMAGE},
        "dataDirHostPath": "/var/lib/rook",
        "mon": {"count": 3},
        "mgr": {"count": 2},
        "storage": {"useAllNodes": True, "useAllDevices": True},
    }
    return {"metadata": {"namespace": NAMESPACE, "name": CLUSTER}, "spec": spec}


def _volume(name: str) -> JsonObject:
    return {
        "metadata": {
            "name": name,
            "annotations": {
                "pv.kubernetes.io/provisioned-by": DRIVER,
                GIVEN_TO: f"csi-{name}/csi-{name}",
            },
            "finalizers": ["kubernetes.io/pv-protection", "external-provisioner.volume.kubernetes.io/finalizer"],
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "10Gi"},
            "claimRef": {"namespace": "apps", "name": name, "uid": name},
            "csi": {
                "driver": DRIVER,
                "volumeHandle": f"0001-0009-rook-ceph-{name}",
                "volumeAttributes": _attributes(name),
            },
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "block",
        },
        "status": {"phase": "Bound"},
    }


def _attachment(volume: str, node: str) -> JsonObject:
    return {
        "metadata": {"name": f"csi-{volume}", "uid": f"csi-{volume}", "finalizers": [finalizer(DRIVER)]},
        "spec": {"attacher": DRIVER, "nodeName": node, "source": {"persistentVolumeName": volume}},
        "status": {"attached": True, "attachmentMetadata": {"imageFeatures": "61"}},
    }


def _attributes(volume: str) -> dict[str, str]:
    return {"clusterID": NAMESPACE, "pool": "replicapool", "imageName": f"csi-vol-{volume}", "imageFormat": "2"}


def _claim(name: str) -> JsonObject:
    return {
        "metadata": {"namespace": "apps", "name": name, "uid": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
            "storageClassName": "block",
            "volumeMode": "Filesystem",
            "volumeName": name,
        },
        "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}},
    }
