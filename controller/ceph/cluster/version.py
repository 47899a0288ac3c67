"""Which Ceph release an image holds, and which one daemons should run.

A tag says nothing of the release, so a Job runs `ceph --version` in the image once and leaves the answer as its
termination message. The status keeps the answer with the image's name: from then on nothing is run, not by a restarted
operator either, and the Job goes. Another image is looked into by another Job in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.csi.affinity import upgrade_problem
from controller.ceph.pods import ACCOUNT, Release, cluster_labels, owner_of, pod_settings
from controller.ceph.releases import CephVersion, Running, Upgrade, refusal
from controller.framework import jobs
from controller.framework.children import Delete
from controller.framework.plan import Step
from controller.framework.upgrade import judge
from controller.framework.workload import pod_template
from controller.runtime.kube import JOB, Job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.framework.children import Live
    from controller.framework.jobs import Run
    from controller.runtime.kube import Pod
    from informers import JsonObject

NAME = "rook-ceph-detect-version"
SUBJECT = "Ceph version"
KEY = "cmdreporter"
"""Under which the spec has labels and annotations of the Job's pod, besides those for all."""
IMAGE_ANNOTATION = "rook.io/image"
"""On the Job: the image that it looks into."""
DEADLINE = 3600
"""Seconds that the Job may take: nearly all of it is for fetching the image."""
MAX_RETRIES = 3
"""How often Kubernetes tries again within a Job."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of an image, and what is still to do.

    Attributes:
        answer: What `ceph --version` says in it; empty until that is known.
        steps: What finds it out, or takes away what did. They change nothing else, so they are carried out also where
            the plan is only shown.
    """

    answer: str = ""
    steps: tuple[Step, ...] = ()


def look(
    cluster: CephCluster, live: Live, pods: Iterable[Pod], warned: Mapping[str, str] | None = None, *, now: float
) -> Found:
    """What release `spec.cephVersion.image` holds, by the status or by the Job that looks. Pure.

    Args:
        cluster: The cluster; its status remembers the last answer.
        live: The objects of the cluster's namespace.
        pods: The pods of the Job.
        warned: What events tell of Jobs, by uid.
        now: Seconds since the epoch.
    """
    if not cluster.spec.ceph_version.image:
        wait = Step(subject=SUBJECT, reason="no image to run", waits_for="spec.cephVersion.image to be set")
        return Found(steps=(wait,))
    there = live.get((JOB.kind, NAME))
    job = None if there is None else msgspec.convert(there, Job)
    own = jobs.by_job(pods).get(job.metadata.uid, ()) if job is not None else ()
    found = _found(cluster, jobs.read(job, own, warned or {}, now))
    return replace(found, steps=tuple(replace(step, observes=True) for step in found.steps))


def _found(cluster: CephCluster, run: Run) -> Found:
    image, known = cluster.spec.ceph_version.image, cluster.status.version
    if image == known.image and known.version:
        return Found(known.version, _removal(run))
    job = detection_job(cluster)
    if run.job is not None and run.job.metadata.annotations.get(IMAGE_ANNOTATION) != image:
        action = jobs.RunJob(job, run.afresh)
        return Found(steps=(Step(subject=SUBJECT, action=action, reason="it looks into another image"),))
    if run.result:
        return Found(run.result)
    return Found(steps=tuple(jobs.ensure(run, job, subject=SUBJECT, reason="the image is new")))


def _removal(run: Run) -> tuple[Step, ...]:
    if run.job is None or run.job.metadata.deletion_timestamp is not None:
        return ()
    meta = run.job.metadata
    action = Delete(resource=JOB, namespace=meta.namespace, name=meta.name, uid=meta.uid)
    return (Step(subject=SUBJECT, action=action, reason="the version is known"),)


def upgrade_of(cluster: CephCluster, found: Found, running: Running, declared: Collection[Release]) -> Upgrade:
    """What daemons should run. Pure.

    Args:
        cluster: The cluster.
        found: What its image holds.
        running: What daemons run.
        declared: What their Deployments ask for.
    """
    spec, accepted = cluster.spec.ceph_version, cluster.status.version.image
    wanted = Release(spec.image, CephVersion.parse(found.answer)) if found.answer else None

    def allowed(version: CephVersion, runs: Running) -> str:
        unserved = refusal(version, runs, allow_unsupported=spec.allow_unsupported)
        return unserved or (upgrade_problem(version, runs) if cluster.spec.csi.read_affinity.enabled else "")

    return judge(wanted, running, declared, allowed, accepted=accepted)


def detection_job(cluster: CephCluster) -> JsonObject:
    """The Job that runs `ceph --version` in the image; it has no rights, and its termination message is the answer."""
    spec, pods = cluster.spec.ceph_version, pod_settings(cluster)
    owner = owner_of(cluster)
    labels = cluster_labels(owner, NAME)
    container = {
        "name": "detect-version",
        "image": spec.image,
        "imagePullPolicy": spec.image_pull_policy,
        "command": ["sh", "-c", "ceph --version > /dev/termination-log"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **pods.container_resources("cmd-reporter"),
    }
    template = pod_template(
        replace(pods, host_network=False),  # it talks to nobody
        KEY,
        # Pods that have failed stay, and what they say with them.
        {"restartPolicy": "Never", "containers": [container]},
        labels=labels,
        account=ACCOUNT,
        placement=pods.placement_of("mon"),
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owner.metadata(NAME, labels, annotations={IMAGE_ANNOTATION: spec.image}),
        "spec": {"backoffLimit": MAX_RETRIES, "activeDeadlineSeconds": DEADLINE, "template": template},
    }
