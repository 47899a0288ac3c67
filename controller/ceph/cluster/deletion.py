"""What happens when a CephCluster is deleted: nothing while something depends on it, and to data only with consent.

Without `cleanupPolicy.confirmation` the daemons go and the data stays: mon stores and OSDs on the nodes, claims, and
the identity (keys, endpoints, mon Services), so that a CephCluster of the same name brings the cluster back. With it, a
Job on every node that held data removes the data, and then the identity goes too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph.access.identity import IDENTITY, PROTECTION
from controller.ceph.pods import Daemon, context_of, image_fields, pod_template
from controller.framework import jobs
from controller.framework.children import delete
from controller.framework.kind import LetGo
from controller.framework.names import label_value, object_name
from controller.framework.placement import HOSTNAME_LABEL
from controller.framework.plan import Plan, Step
from controller.framework.text import some
from controller.runtime.kube import DEPLOYMENT, JOB, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from controller.apis.ceph import CephCluster
    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.cluster.part import Ground, Observation
    from controller.ceph.pods import Context
    from controller.runtime.kube import Pod
    from informers import JsonObject, Resource

FINALIZER = "cephcluster.ceph.rook.io"
CONFIRMATION = "yes-really-destroy-data"
TYPE = "cleanup"
APP = "rook-ceph-cleanup"
SUBJECT = "CephCluster"
LOOK_AGAIN = 10.0

QUICK = 3600.0
"""Seconds that a cleanup Job may take for what is quick: mon stores, and the places where devices have their labels."""

SLOWEST = 20e6
"""Bytes a second at which a whole device is overwritten at least."""

UNSEEN = 7 * 24 * 3600.0
"""Seconds that whole devices may take of which nobody knows the size."""

MAX_RETRIES = 3
"""Times that Kubernetes tries a Job again by itself."""

MAX_NAMED = 20
"""Of what uses the cluster, so many are named."""

REMOVE_DATA = """\
set -eu
for store in /data/mon-*; do
    if [ "$(cat "$store/data/rook-fsid" 2>/dev/null)" = "$FSID" ]; then rm -rf "$store"; fi
done
ours() { ceph-bluestore-tool show-label --dev "$1" 2>/dev/null | grep -q "\\"ceph_fsid\\": \\"$FSID\\""; }
sanitize() {
    if [ "$METHOD" = complete ]; then
        pass=0
        while [ "$pass" -lt "$ITERATIONS" ]; do
            pass=$((pass + 1))
            if [ "$SOURCE" = random ]; then shred -n 1 "$1" || return 1; else shred -n 0 -z "$1" || return 1; fi
        done
    else
        # The places where BlueStore keeps its label, as far as the device reaches.
        for gib in 0 1 10 100 1000; do
            dd "if=/dev/$( [ "$SOURCE" = random ] && echo urandom || echo zero )" "of=$1" bs=1M count=10 \\
                "seek=$((gib * 1024))" conv=fsync,nocreat,notrunc 2>/dev/null || [ "$gib" != 0 ] || return 1
        done
    fi
    wipefs --all "$1" >/dev/null || return 1
    if ours "$1"; then echo "$1 still has the label of an OSD of this cluster" >&2; return 1; fi
}
failed=
for entry in /sys/class/block/*; do
    device=/dev/$(basename "$entry" | tr '!' /)
    # A path of a multipath device has its label, too: what was made of it is overwritten, once.
    if [ -n "$(ls "$entry/holders" 2>/dev/null)" ] || [ ! -b "$device" ] || ! ours "$device"; then continue; fi
    echo "removing the content of $device"
    sanitize "$device" || failed="$failed $device"
done
if [ -n "$failed" ]; then echo "content that cannot be removed is on$failed" >&2; exit 1; fi
"""
"""Removes mon stores and OSDs by the fsid written in them, so that nothing of another cluster is touched.

A device that fails leaves the others to be done.
"""


@dataclass(frozen=True, slots=True)
class DestroyData:
    """Start the Job that removes the cluster's data from a node.

    Its handler asks once more for the consent, and whether something uses the cluster.
    """

    node: str
    job: JsonObject = field(repr=False)
    attempt: jobs.Attempt = jobs.FIRST


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a daemon for good, and keep its Deployment, which tells on which node its data is."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DestroyIdentity:
    """Delete an object by which the data could be used again. Its handler asks for the consent once more."""

    resource: Resource
    name: str
    uid: str


def analyze(seen: Observation) -> Plan:
    """What is to do until the CephCluster may go. Pure."""
    if seen.dependents:
        waits_for = f"these to be deleted: {some(seen.dependents, MAX_NAMED)}"
        reason = "deletion is blocked by what uses the cluster"
        if any(_is_kept(found) for found in seen.ground.live.values()):
            # As when the namespace is deleted: Kubernetes asks nobody about Deployments.
            reason += (
                "; its objects are being deleted all the same, as with their namespace: what opens its data is kept"
            )
        wait = Step(subject=SUBJECT, reason=reason, waits_for=waits_for)
        return Plan(steps=(wait,), look_again=LOOK_AGAIN)
    destroys = seen.ground.cluster.spec.cleanup_policy.confirmation == CONFIRMATION
    steps = tuple(_destroy(seen)) if destroys else ()
    let_go = Step(subject=SUBJECT, action=LetGo(), reason="it is being deleted, and nothing holds it")
    return Plan(steps=steps or (let_go,), look_again=LOOK_AGAIN)


def _destroy(seen: Observation) -> Iterator[Step]:
    ground = seen.ground
    daemons = [o for (kind, _), o in ground.live.items() if kind in ("Deployment", "Job") and _is_daemon(o, ground)]
    ending = sorted(p.metadata.name for p in ground.pods if p.metadata.labels.get("app") != APP)
    waits_for = f"these pods to end: {', '.join(ending)}" if ending else ""
    of_jobs = jobs.by_job(ground.pods)
    cleaning = [s for s in (_clean(ground, node, of_jobs, waits_for) for node in nodes_with_data(seen)) if s]
    # They tell where the data is.
    holders = frozenset(app for part, _ in seen.parts for app in part.holders) if cleaning else frozenset()
    for found in daemons:
        yield from _end(found, keep=any(_is(found, app) for app in holders))
    yield from cleaning
    if waits_for and not cleaning:
        yield Step(subject=SUBJECT, reason="daemons may still use what is to be removed", waits_for=waits_for)
    if not daemons and not ending and not cleaning:
        yield from _identity(seen)


def _end(found: JsonObject, *, keep: bool) -> Iterator[Step]:
    """Ends a daemon; `keep`: its Deployment stays for now."""
    meta, reason = found["metadata"], "no daemon may run when its data is removed"
    if meta.get("deletionTimestamp") is not None:
        return
    if not keep:
        resource = DEPLOYMENT if found["kind"] == "Deployment" else JOB
        yield delete(resource, found, subject=meta["name"], reason=reason)
    elif found["spec"].get("replicas", 1):
        yield Step(subject=meta["name"], action=Stop(meta["name"], meta["uid"]), reason=reason)


def _clean(ground: Ground, node: str, pods: Mapping[str, Sequence[Pod]], waits_for: str) -> Step | None:
    """The step that removes the data from a node; None when that is done, or the node is gone with its data.

    `pods`: those of Jobs, by the Job's uid.
    """
    cluster = ground.cluster
    subject = f"data on node {node}"
    reason = f"spec.cleanupPolicy.confirmation is {CONFIRMATION}"
    job = ground.jobs.get(job_name(node))
    if node not in ground.nodes or (job is not None and job.complete):
        return None
    seconds = deadline(cluster, ground.reports.get(node))
    run = jobs.read(job, pods.get(job.metadata.uid, ()) if job is not None else (), ground.warnings, ground.now)
    if later := _job_waits_for(run):
        return Step(subject=subject, reason=reason, waits_for=later)
    if ground.release is None or ground.identity is None:
        missing = "the release in spec.cephVersion.image" if ground.release is None else f"Secret {IDENTITY}"
        return Step(subject=subject, reason=reason, waits_for=f"{missing} to be known")
    hostname = ground.nodes[node].metadata.labels.get(HOSTNAME_LABEL, node)
    wanted = cleanup_job(cluster, context_of(cluster, ground.identity.fsid, ground.release), node, hostname, seconds)
    action = DestroyData(node, wanted, run.next)
    return Step(subject=subject, action=action, reason=reason, waits_for=waits_for)


def _job_waits_for(run: jobs.Run) -> str:
    """What a node's Job that is there waits for; empty when it is to be made anew."""
    if run.job is None:
        return ""
    name = f"Job {run.job.metadata.name}"
    way_on = "or spec.cleanupPolicy.confirmation to be taken away, which leaves the data where it is"
    if run.phase is jobs.Phase.RUNNING:
        return run.trouble or f"{name} to end"
    if run.phase is jobs.Phase.OVERDUE:
        # It may still write, so there is no other beside it.
        return f"{name} to end, {way_on}; {run.failure}{'' if run.trouble else ': a device of the node may hang'}"
    return f"{run.pause}, {way_on}; {name} failed: {run.failure}" if run.pause else ""


def _identity(seen: Observation) -> Iterator[Step]:
    """Removes what was kept so that the data could be used again; the keys, which name the cluster, at the very end."""
    found = [key for part, _ in seen.parts for key in part.keys(seen.ground)]
    identity = seen.ground.live.get((SECRET.kind, IDENTITY))
    for resource, obj in found or ([(SECRET, identity)] if identity is not None else []):
        meta = obj["metadata"]
        subject = f"{resource.kind} {meta['name']}"
        if meta.get("deletionTimestamp") is None or PROTECTION in meta.get("finalizers", ()):
            action = DestroyIdentity(resource, meta["name"], meta["uid"])
            yield Step(subject=subject, action=action, reason="the data that it belongs to is gone")
        else:
            yield Step(subject=subject, reason="it is being deleted", waits_for="it to be gone")


def nodes_with_data(seen: Observation) -> tuple[str, ...]:
    """The nodes that may hold data of the cluster, by all its parts. The Job removes nothing that is another's."""
    return tuple(sorted({node for part, found in seen.parts for node in part.nodes(seen.ground, found)}))


def job_name(node: str) -> str:
    """The name of a node's cleanup Job."""
    return object_name(f"cluster-cleanup-job-{node}")


def deadline(cluster: CephCluster, devices: Iterable[BlockDevice] | None) -> float:
    """Seconds that the cleanup of a node may take: what hangs is told, and what just takes long is not cut off.

    Args:
        cluster: The cluster.
        devices: The node's; None: not known.
    """
    policy = cluster.spec.cleanup_policy.sanitize_disks
    if policy.method != "complete":
        return QUICK
    times = policy.iteration or 1
    if devices is None:
        return QUICK + times * UNSEEN
    return QUICK + times * sum(device.size for device in devices if not device.parent) / SLOWEST


def cleanup_job(cluster: CephCluster, context: Context, node: str, hostname: str, seconds: float) -> JsonObject:
    """The Job that removes this cluster's mon stores and the content of its OSDs' devices from a node.

    `seconds`: how long that may take.
    """
    policy, own = cluster.spec.cleanup_policy.sanitize_disks, Daemon(type=TYPE, id=label_value(hostname))
    volumes = {"dev": "/dev", "data": context.data_dir or "/var/lib/rook"}
    container: JsonObject = {
        "name": "cleanup",
        **image_fields(context),
        "command": ["sh", "-c", REMOVE_DATA],
        "env": [
            {"name": "FSID", "value": context.fsid},
            {"name": "METHOD", "value": policy.method or "quick"},
            {"name": "SOURCE", "value": policy.data_source or "zero"},
            {"name": "ITERATIONS", "value": str(policy.iteration or 1)},
        ],
        "volumeMounts": [{"name": "dev", "mountPath": "/dev"}, {"name": "data", "mountPath": "/data"}],
        "securityContext": {"runAsUser": 0, "privileged": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources("cleanup"),
    }
    pod: JsonObject = {
        # Pods that have failed stay, and what they say with them.
        "restartPolicy": "Never",
        # The data is on this node and nowhere else, whatever keeps other pods off it.
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {HOSTNAME_LABEL: hostname},
        "containers": [container],
        "volumes": [{"name": name, "hostPath": {"path": path}} for name, path in volumes.items()],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": context.owner.metadata(job_name(node), own.labels(context.owner)),
        "spec": {
            "backoffLimit": MAX_RETRIES,
            "activeDeadlineSeconds": int(seconds),
            "template": pod_template(context, own, pod),
        },
    }


def _is_kept(obj: JsonObject) -> bool:
    """Whether an object was deleted, and is there only because it is protected."""
    meta = obj["metadata"]
    return meta.get("deletionTimestamp") is not None and PROTECTION in meta.get("finalizers", ())


def _is_daemon(obj: JsonObject, ground: Ground) -> bool:
    """Whether it is the cluster's to end: not what another kind runs in it, or somebody made beside it."""
    owners = obj["metadata"].get("ownerReferences", ())
    return not _is(obj, APP) and any(owner["uid"] == ground.cluster.metadata.uid for owner in owners)


def _is(obj: JsonObject, app: str) -> bool:
    return bool(obj["metadata"].get("labels", {}).get("app") == app)
