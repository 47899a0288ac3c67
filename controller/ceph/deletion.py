"""What happens when a CephCluster is deleted: nothing while something depends on it, and to data only with consent.

Without `cleanupPolicy.confirmation` the daemons go and the data stays: mon stores and OSDs on the nodes, claims, and
the identity (keys, endpoints, mon Services), so that a CephCluster of the same name brings the cluster back. With it, a
Job on every node that held data removes the data, and then the identity goes too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph import mon_objects
from controller.ceph.daemon import (
    ACCOUNTS,
    MON_CONFIG,
    Release,
    cluster_labels,
    image_fields,
    metadata,
)
from controller.ceph.devices import Verdict
from controller.ceph.keys import IDENTITY, PROTECTION
from controller.ceph.members import ENDPOINTS
from controller.framework.children import delete
from controller.framework.placement import HOSTNAME_LABEL, merged, pod_fields
from controller.framework.plan import Plan, Step
from controller.framework.pods import trouble
from controller.framework.resources import requirements
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, JOB, PVC, SECRET, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.apis.ceph import CephBlockPool, CephCluster
    from controller.ceph.observation import Observation
    from controller.runtime.kube import PersistentVolume
    from informers import JsonObject, Resource

FINALIZER = "cephcluster.ceph.rook.io"
CONFIRMATION = "yes-really-destroy-data"
APP = "rook-ceph-cleanup"
SUBJECT = "CephCluster"
LOOK_AGAIN = 10.0

MAX_NAME = 63
"""Characters of a Job's name, which becomes a label of its pods."""

REMOVE_DATA = """\
set -eu
for store in /data/mon-*; do
    if [ "$(cat "$store/data/rook-fsid" 2>/dev/null)" = "$FSID" ]; then rm -rf "$store"; fi
done
ours() { ceph-bluestore-tool show-label --dev "$1" 2>/dev/null | grep -q "\\"ceph_fsid\\": \\"$FSID\\""; }
for entry in /sys/class/block/*; do
    device=/dev/$(basename "$entry" | tr '!' /)
    if [ ! -b "$device" ] || ! ours "$device"; then continue; fi
    echo "removing the content of $device"
    if [ "$METHOD" = complete ]; then
        if [ "$SOURCE" = random ]; then shred -n "$ITERATIONS" "$device"; else shred -n 0 -z "$device"; fi
    else
        # The places where BlueStore keeps its label, as far as the device reaches.
        for gib in 0 1 10 100 1000; do
            dd "if=/dev/$( [ "$SOURCE" = random ] && echo urandom || echo zero )" "of=$device" bs=1M count=10 \\
                "seek=$((gib * 1024))" conv=fsync,nocreat,notrunc 2>/dev/null || [ "$gib" != 0 ]
        done
    fi
    wipefs --all "$device" >/dev/null
    if ours "$device"; then echo "$device still has the label of an OSD of this cluster" >&2; exit 1; fi
done
"""
"""Removes mon stores and OSDs by the fsid written in them, so that nothing of another cluster is touched."""


@dataclass(frozen=True, slots=True)
class DestroyData:
    """Start the Job that removes the cluster's data from a node.

    Its handler asks once more for the consent, and whether something uses the cluster.
    """

    node: str
    job: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class DestroyIdentity:
    """Delete an object by which the data could be used again. Its handler asks for the consent once more."""

    resource: Resource
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class LetGo:
    """Remove the finalizer, so that the CephCluster goes, and with it what it owns."""


def analyze(cluster: CephCluster, seen: Observation) -> Plan:
    """What is to do until the CephCluster may go. Pure."""
    if seen.dependents:
        waits_for = f"these to be deleted: {', '.join(seen.dependents)}"
        wait = Step(subject=SUBJECT, reason="deletion is blocked by what uses the cluster", waits_for=waits_for)
        return Plan(steps=(wait,), look_again=LOOK_AGAIN)
    destroys = cluster.spec.cleanup_policy.confirmation == CONFIRMATION
    steps = tuple(_destroy(cluster, seen)) if destroys else ()
    let_go = Step(subject=SUBJECT, action=LetGo(), reason="it is being deleted, and nothing holds it")
    return Plan(steps=steps or (let_go,), look_again=LOOK_AGAIN)


def dependents(
    cluster: CephCluster, pools: Iterable[CephBlockPool], volumes: Iterable[PersistentVolume]
) -> tuple[str, ...]:
    """What has to go before the cluster may, in words. Pure.

    Args:
        cluster: The cluster.
        pools: The CephBlockPools of its namespace.
        volumes: All PersistentVolumes.
    """
    namespace = cluster.metadata.namespace
    found = [f"CephBlockPool {pool.metadata.name}" for pool in pools]
    if not cluster.spec.cleanup_policy.allow_uninstall_with_volumes:
        found += [
            f"PersistentVolume {volume.metadata.name}"
            for volume in volumes
            if volume.spec.csi is not None and volume.spec.csi.volume_attributes.get("clusterID") == namespace
        ]
    return tuple(sorted(found))


def _destroy(cluster: CephCluster, seen: Observation) -> Iterator[Step]:
    daemons = [o for (kind, _), o in seen.live.items() if kind in ("Deployment", "Job") and not _is_cleanup(o)]
    for found in daemons:
        if found["metadata"].get("deletionTimestamp") is None:
            resource = DEPLOYMENT if found["kind"] == "Deployment" else JOB
            reason = "no daemon may run when its data is removed"
            yield delete(resource, found, subject=found["metadata"]["name"], reason=reason)
    ending = sorted(p.metadata.name for p in seen.pods if p.metadata.labels.get("app") != APP)
    waits_for = f"these pods to end: {', '.join(ending)}" if ending else ""
    cleaning = [s for s in (_clean(cluster, seen, n, waits_for) for n in nodes_with_data(cluster, seen)) if s]
    yield from cleaning
    if waits_for and not cleaning:
        yield Step(subject=SUBJECT, reason="daemons may still use what is to be removed", waits_for=waits_for)
    if not daemons and not ending and not cleaning:
        yield from _identity(seen)


def _clean(cluster: CephCluster, seen: Observation, node: str, waits_for: str) -> Step | None:
    """The step that removes the data from a node; None when that is done, or the node is gone with its data."""
    subject = f"data on node {node}"
    reason = f"spec.cleanupPolicy.confirmation is {CONFIRMATION}"
    job = seen.jobs.get(job_name(node))
    if node not in seen.mons.nodes or (job is not None and job.complete):
        return None
    if job is not None:
        own = [p for p in seen.pods if p.metadata.labels.get("job-name") == job.metadata.name]
        return Step(subject=subject, reason=reason, waits_for=trouble(own) or f"Job {job.metadata.name} to end")
    if seen.release is None or seen.identity is None:
        missing = "the release in spec.cephVersion.image" if seen.release is None else f"Secret {IDENTITY}"
        return Step(subject=subject, reason=reason, waits_for=f"{missing} to be known")
    node_labels = seen.mons.nodes[node].metadata.labels
    action = DestroyData(
        node, cleanup_job(cluster, seen.release, seen.identity.fsid, node, node_labels.get(HOSTNAME_LABEL, node))
    )
    return Step(subject=subject, action=action, reason=reason, waits_for=waits_for)


def _identity(seen: Observation) -> Iterator[Step]:
    """Removes what was kept so that the data could be used again."""
    # The last one would go with the CephCluster, but for `--cascade=orphan`; the mon ids in it are this cluster's.
    named = {
        (SECRET.kind, IDENTITY): SECRET,
        (CONFIG_MAP.kind, ENDPOINTS): CONFIG_MAP,
        (SECRET.kind, MON_CONFIG): SECRET,
    }
    of_mons = {SERVICE.kind: SERVICE, PVC.kind: PVC}
    for (kind, name), found in seen.live.items():
        meta = found["metadata"]
        resource = named.get((kind, name))
        if resource is None and meta.get("labels", {}).get("app") == mon_objects.APP:
            resource = of_mons.get(kind)
        stays = meta.get("deletionTimestamp") is None or PROTECTION in meta.get("finalizers", ())
        if resource is not None and stays:
            action = DestroyIdentity(resource, name, meta["uid"])
            yield Step(subject=f"{kind} {name}", action=action, reason="the data that it belongs to is gone")


def nodes_with_data(cluster: CephCluster, seen: Observation) -> tuple[str, ...]:
    """The nodes that may hold data of the cluster: those that mons are bound to, and those with a device for an OSD.

    A device that was accepted may have become one since; the Job removes nothing that is not this cluster's.
    """
    endpoints = seen.mons.endpoints
    nodes = {m.node for m in endpoints.mons if not m.has_claim} if endpoints is not None else set()
    chosen = (Verdict.IN_USE.value, Verdict.ACCEPTED.value)
    nodes |= {row.node for row in cluster.status.devices if row.verdict in chosen and row.node}
    return tuple(sorted(nodes))


def job_name(node: str) -> str:
    """The name of a node's cleanup Job; a long node name is cut and told apart by a digest."""
    name = f"cluster-cleanup-job-{node}"
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 9]}-{hashlib.sha256(node.encode()).hexdigest()[:8]}"


def cleanup_job(cluster: CephCluster, release: Release, fsid: str, node: str, hostname: str) -> JsonObject:
    """The Job that removes this cluster's mon stores and the content of its OSDs' devices from a node."""
    policy, labels = cluster.spec.cleanup_policy.sanitize_disks, cluster_labels(cluster, APP)
    volumes = {"dev": "/dev", "data": cluster.spec.data_dir_host_path or "/var/lib/rook"}
    container: JsonObject = {
        "name": "cleanup",
        **image_fields(cluster, release),
        "command": ["sh", "-c", REMOVE_DATA],
        "env": [
            {"name": "FSID", "value": fsid},
            {"name": "METHOD", "value": policy.method or "quick"},
            {"name": "SOURCE", "value": policy.data_source or "zero"},
            {"name": "ITERATIONS", "value": str(policy.iteration or 1)},
        ],
        "volumeMounts": [{"name": "dev", "mountPath": "/dev"}, {"name": "data", "mountPath": "/data"}],
        "securityContext": {"runAsUser": 0, "privileged": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    resources = requirements(cluster.spec.resources, "cleanup")
    if resources:
        container["resources"] = resources
    pod: JsonObject = {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": ACCOUNTS["osd"],
        **pod_fields(merged(cluster.spec.placement, "cleanup")),
        "nodeSelector": {HOSTNAME_LABEL: hostname},
        "containers": [container],
        "volumes": [{"name": name, "hostPath": {"path": path}} for name, path in volumes.items()],
    }
    # The data is on this node and nowhere else, whatever keeps other pods off it.
    pod["tolerations"] = [{"operator": "Exists"}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(cluster, job_name(node), labels),
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def _is_cleanup(obj: JsonObject) -> bool:
    return bool(obj["metadata"].get("labels", {}).get("app") == APP)
