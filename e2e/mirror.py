"""A second, small Ceph cluster beside the environment's, and a pool that the two mirror with each other."""

import json
from typing import Any

from e2e import binaries
from e2e import environment as env
from e2e.api import Manifest, condition, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

FIRST, SECOND = env.NAMESPACE, "rook-ceph-second"
"""The namespaces of the two clusters."""
POOL = "mirrored-pool"
CLASS = "mirrored"
"""The StorageClass of volumes in the first cluster's pool, and the VolumeReplicationClass."""
DAEMONS = "my-rbd-mirror"
_MODULE = "github.com/csi-addons/kubernetes-csi-addons"
_READY_SECONDS = 240.0


def install_kinds(environment: Environment) -> None:
    """Install csi-addons' kinds of replication, as its module has them; its controller is not needed."""
    kinds = binaries.module_directory("csi-addons", _MODULE) / "config" / "crd" / "bases"
    for name in ("volumereplications", "volumereplicationclasses"):
        file = kinds / f"replication.storage.openshift.io_{name}.yaml"
        environment.run("kubectl", "apply", "--server-side", "--filename", file)


def make_second_cluster(environment: Environment) -> None:
    """One mon, one mgr, and one OSD on the second disk of the first worker; wait until it is Ready."""
    manifests = list(load(env.EXAMPLES / "cluster-test.yaml"))
    for manifest in manifests:
        manifest["metadata"]["namespace"] = SECOND
    spec = next(m["spec"] for m in manifests if m["kind"] == "CephCluster")
    node = environment.workers[0]
    spec["cephVersion"] = {"image": environment.images["ceph"], "imagePullPolicy": "IfNotPresent"}
    spec["dataDirHostPath"] = f"/var/lib/{SECOND}"
    spec["mon"]["count"] = 1
    spec["mgr"]["modules"] = [{"name": "restful", "enabled": False}]
    spec["cephConfig"]["mon"]["mon_data_avail_warn"] = "5"
    spec["cephConfig"]["global"] |= {"mon_allow_pool_size_one": "true", "mon_warn_on_pool_no_redundancy": "false"}
    spec["storage"]["nodes"] = [{"name": node, "devices": [{"name": environment.devices[node][1]}]}]
    for manifest in manifests:
        environment.api.apply(manifest)
    wait_ready(environment, "CephCluster", env.CLUSTER, SECOND, deadline=_READY_SECONDS)


def make_pools(environment: Environment) -> None:
    """In both clusters, the mirrored pool and the daemons; each learns of the other by the token of the first."""
    for namespace, copies in ((FIRST, 3), (SECOND, 1)):
        (pool,) = load(env.EXAMPLES / "pool-mirrored.yaml")
        (daemons,) = load(env.EXAMPLES / "rbdmirror.yaml")
        pool["metadata"]["namespace"] = daemons["metadata"]["namespace"] = namespace
        pool["spec"] |= {
            "failureDomain": "host" if copies > 1 else "osd",
            "replicated": {"size": copies, "requireSafeReplicaSize": copies > 1},
            # Few placement groups: the second cluster has one OSD.
            "parameters": {"pg_num": "8", "pg_autoscale_mode": "off"},
        }
        daemons["spec"]["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}}
        environment.api.apply(pool)
        environment.api.apply(daemons)
    for namespace in (FIRST, SECOND):
        wait_ready(environment, "CephBlockPool", POOL, namespace)
        wait_ready(environment, "CephRBDMirror", DAEMONS, namespace)
    token = environment.api.get("Secret", f"pool-peer-token-{POOL}", FIRST)["data"]
    peer = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "peer", "namespace": SECOND},
        "data": {key: token[key] for key in ("token", "pool")},
    }
    environment.api.apply(peer)
    peers = {"spec": {"mirroring": {"peers": {"secretNames": ["peer"]}}}}
    environment.api.patch("CephBlockPool", POOL, SECOND, peers)
    wait_ready(environment, "CephBlockPool", POOL, SECOND)
    for namespace in (FIRST, SECOND):
        wait_for_daemons(environment, namespace)


def wait_for_daemons(environment: Environment, namespace: str) -> None:
    """Wait until the status of a cluster's pool has a peer, and daemons that are well."""

    def look() -> None:
        status = environment.api.get("CephBlockPool", POOL, namespace)["status"]
        summary = status.get("mirroringStatus", {}).get("summary", {})
        if not status.get("mirroringInfo", {}).get("peers") or summary.get("daemon_health") != "OK":
            raise NotYetError(f"{status.get('mirroringInfo')} {status.get('mirroringStatus')}")

    eventually(f"mirroring of {namespace}/{POOL}", look, deadline=120)


def make_classes(environment: Environment) -> None:
    """The StorageClass of volumes in the first cluster's pool, and the class by which they are replicated."""
    (storage_class,) = load(env.EXAMPLES / "storageclass.yaml")
    storage_class["metadata"]["name"] = CLASS
    storage_class["parameters"]["pool"] = POOL
    environment.api.apply(storage_class)
    environment.api.apply(
        {
            "apiVersion": "replication.storage.openshift.io/v1alpha1",
            "kind": "VolumeReplicationClass",
            "metadata": {"name": CLASS},
            "spec": {
                "provisioner": storage_class["provisioner"],
                "parameters": {"mirroringMode": "snapshot", "schedulingInterval": "1m"},
            },
        }
    )


def claim_the_copy(environment: Environment, namespace: str, name: str, source: Manifest) -> None:
    """A claim with a PersistentVolume made by hand: the image of another one, in the second cluster."""
    csi = source["spec"]["csi"]
    image = csi["volumeAttributes"]["imageName"]
    attributes = {"clusterID": SECOND, "pool": POOL, "staticVolume": "true", "imageFeatures": "layering"}
    common = {"storageClassName": "", "accessModes": ["ReadWriteOnce"]}
    size = source["spec"]["capacity"]["storage"]
    volume = f"second-{namespace}"
    environment.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **common,
                "capacity": {"storage": size},
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": namespace, "name": name},
                "csi": {
                    "driver": csi["driver"],
                    "volumeHandle": image,
                    "fsType": "ext4",
                    "volumeAttributes": attributes,
                    "nodeStageSecretRef": {"name": "rook-csi-rbd-node", "namespace": SECOND},
                },
            },
        }
    )
    environment.api.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**common, "volumeName": volume, "resources": {"requests": {"storage": size}}},
        }
    )


def replicate(environment: Environment, namespace: str, claim: str, state: str) -> None:
    """Say what a claim's volume is to be; its VolumeReplication is made where there is none."""
    environment.api.apply(
        {
            "apiVersion": "replication.storage.openshift.io/v1alpha1",
            "kind": "VolumeReplication",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {
                "volumeReplicationClass": CLASS,
                "replicationState": state,
                "autoResync": False,
                "dataSource": {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": claim},
            },
        }
    )


def annotate(environment: Environment, namespace: str, claim: str, name: str, value: str) -> None:
    """Annotate the VolumeReplication of a claim."""
    found = {"metadata": {"annotations": {f"replication.rook.io/{name}": value}}}
    environment.api.patch("VolumeReplication", claim, namespace, found)


def wait_for_state(
    environment: Environment, namespace: str, claim: str, state: str, *, degraded: str = "", message: str = ""
) -> Manifest:
    """Wait until a VolumeReplication is in a state for its newest spec, with this Degraded and this message."""

    def look() -> Manifest:
        found = environment.api.get("VolumeReplication", claim, namespace)
        status = found.get("status", {})
        now = condition(found, "Degraded").get("status")
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        if not seen or status.get("state") != state or (degraded and now != degraded):
            raise NotYetError(f"{status.get('state')}, Degraded {now}: {status.get('message')}")
        if message not in status.get("message", ""):
            raise NotYetError(f"{status.get('message')}")
        return found

    return eventually(f"VolumeReplication {claim} to be {state}", look, deadline=120)


def sync(environment: Environment, namespace: str, image: str) -> None:
    """Make a snapshot of an image in the cluster of a namespace, and wait until the other one has it."""
    rbd(environment, namespace, "mirror", "image", "snapshot", f"{POOL}/{image}")
    newest = max(snap["id"] for snap in _snapshots(environment, namespace, image))
    other = SECOND if namespace == FIRST else FIRST

    def look() -> None:
        found = _snapshots(environment, other, image)
        copied = [
            snap
            for snap in found
            if snap["namespace"].get("primary_snap_id") == newest and snap["namespace"].get("complete")
        ]
        if not copied:
            raise NotYetError(f"snapshot {newest}: {[snap['namespace'] for snap in found]}")

    eventually(f"snapshot {newest} of {image} in {other}", look, deadline=90)


def _snapshots(environment: Environment, namespace: str, image: str) -> list[dict[str, Any]]:
    listed = rbd(environment, namespace, "snap", "ls", "--all", "--format", "json", f"{POOL}/{image}")
    found: list[dict[str, Any]] = json.loads(listed)
    return found


def rbd(environment: Environment, namespace: str, *command: str) -> str:
    """What the command `rbd` wrote in the toolbox of a cluster, which is made if missing."""
    pods = _toolboxes(environment, namespace)
    if not pods:
        for manifest in load(env.EXAMPLES / "toolbox.yaml"):
            manifest["metadata"]["namespace"] = namespace
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                container["image"] = environment.images["ceph"]
            environment.api.apply(manifest)

        def look() -> list[str]:
            if not (found := _toolboxes(environment, namespace)):
                raise NotYetError("its pod to be ready")
            return found

        pods = eventually(f"the toolbox of {namespace}", look, deadline=60)
    return environment.execute(pods[0], "rbd", *command, namespace=namespace)


def _toolboxes(environment: Environment, namespace: str) -> list[str]:
    found = env.running(environment.api.list("Pod", namespace, labels="app=rook-ceph-tools"))
    return [pod["metadata"]["name"] for pod in found]


def wait_ready(environment: Environment, kind: str, name: str, namespace: str, *, deadline: float = 120.0) -> None:
    """Wait until an object of a kind of Ceph is Ready for its newest spec, in whichever namespace."""

    def look() -> None:
        found = environment.api.get(kind, name, namespace)
        status: dict[str, Any] = found.get("status", {})
        if status.get("phase") != "Ready" or status.get("observedGeneration") != found["metadata"]["generation"]:
            raise NotYetError(env.progress(found))

    eventually(f"{kind} {namespace}/{name}", look, deadline=deadline)


def remove(environment: Environment) -> None:
    """Delete the pools, the daemons and the second cluster with its data, and wait until they are gone."""
    force = {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}}
    for namespace in (SECOND, FIRST):
        environment.api.delete("CephRBDMirror", DAEMONS, namespace)
        if environment.api.find("CephBlockPool", POOL, namespace) is not None:
            environment.api.patch("CephBlockPool", POOL, namespace, force)
            environment.api.delete("CephBlockPool", POOL, namespace)
    for namespace in (SECOND, FIRST):
        env.gone(environment, "CephRBDMirror", DAEMONS, namespace, deadline=120)
        env.gone(environment, "CephBlockPool", POOL, namespace, deadline=120)
    for kind in ("VolumeReplicationClass", "StorageClass"):
        environment.api.delete(kind, CLASS)
    if environment.api.find("CephCluster", env.CLUSTER, SECOND) is not None:
        consent = {"spec": {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}}
        environment.api.patch("CephCluster", env.CLUSTER, SECOND, consent)
        environment.api.delete("CephCluster", env.CLUSTER, SECOND)
        env.gone(environment, "CephCluster", env.CLUSTER, SECOND, deadline=env.GONE_SECONDS)
