"""What happens when a CephCluster is deleted: nothing while something depends on it, and to data only with consent.

Without `cleanupPolicy.confirmation` the daemons go and the data stays: mon stores and OSDs on the nodes, claims, and
the identity (keys, endpoints, mon Services), so that a CephCluster of the same name brings the cluster back. With it, a
Job on every node that held data removes the data, and then the identity goes too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER
from controller.ceph.access.identity import IDENTITY, PROTECTION
from controller.ceph.cluster.cleanup import APP, cleanup_job, deadline, job_name
from controller.ceph.pods import context_of
from controller.framework import jobs
from controller.framework.children import delete
from controller.framework.consent import NoConsentError, read_deleted
from controller.framework.deletion import delete_protected
from controller.framework.kind import LetGo
from controller.framework.placement import hostname
from controller.framework.plan import Plan, Step
from controller.framework.text import some
from controller.runtime import resource_of
from controller.runtime.kube import DEPLOYMENT, JOB, SECRET
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from controller.apis.ceph import CephCluster
    from controller.ceph.part import Ground, Observation
    from controller.framework.deletion import Dependents
    from controller.framework.plan import Handler
    from controller.runtime.kube import Pod
    from informers import Client, JsonObject, Resource

CLUSTERS = resource_of(CEPH_CLUSTER)
FINALIZER = "cephcluster.ceph.rook.io"
CONFIRMATION = "yes-really-destroy-data"
SUBJECT = "CephCluster"
LOOK_AGAIN = 10.0

MAX_NAMED = 20
"""Of what uses the cluster, so many are named."""


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
    context, host = context_of(cluster, ground.identity.fsid, ground.release), hostname(ground.nodes[node])
    wanted = cleanup_job(cluster, context, node, host, seconds)
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


def handlers(cluster: CephCluster, client: Client, dependents: Dependents[CephCluster]) -> dict[type, Handler]:
    """How the actions of this module are carried out; each asks for the consent once more.

    Args:
        cluster: The cluster.
        client: Asks the API server, and tells it.
        dependents: What uses clusters.
    """
    namespace, in_use = cluster.metadata.namespace, dependents.asking(client, cluster)

    async def confirm() -> None:
        fresh = await read_deleted(client, CLUSTERS, cluster)
        confirmation = fresh["spec"].get("cleanupPolicy", {}).get("confirmation", "")
        if confirmation != CONFIRMATION:
            raise NoConsentError(
                f"CephCluster {namespace}/{cluster.metadata.name}: spec.cleanupPolicy.confirmation is "
                f"{confirmation!r}, not {CONFIRMATION!r}: nothing is destroyed"
            )

    async def destroy_data(action: DestroyData) -> None:
        await confirm()
        if users := await in_use():
            raise NoConsentError(f"the data is used by {', '.join(users)}: it stays")
        await jobs.start(client, action.job, action.attempt)

    async def stop(action: Stop) -> None:
        await confirm()
        body = {"metadata": {"uid": action.uid}, "spec": {"replicas": 0}}
        await client.patch(DEPLOYMENT, namespace, action.name, body, content_type=MERGE_PATCH)

    async def destroy_identity(action: DestroyIdentity) -> None:
        await confirm()
        await delete_protected(client, action.resource, namespace, action.name, action.uid, finalizer=PROTECTION)

    return {
        DestroyData: destroy_data,
        DestroyIdentity: destroy_identity,
        Stop: stop,
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
