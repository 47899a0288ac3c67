"""Which Ceph release an image holds, by a Job that runs `ceph --version` in it, and which one daemons should run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.pods import ACCOUNT, Release, cluster_labels, owner_of, pod_settings
from controller.ceph.releases import CephVersion, Running, Upgrade, refusal
from controller.framework import image, jobs
from controller.framework.image import Found, Known
from controller.framework.plan import Step
from controller.framework.upgrade import judge
from controller.framework.workload import pod_template
from controller.runtime.kube import JOB, Job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.framework.children import Live
    from controller.runtime.kube import Pod
    from informers import JsonObject

NAME = "rook-ceph-detect-version"
SUBJECT = "Ceph version"
KEY = "cmdreporter"
"""Under which the spec has labels and annotations of the Job's pod, besides those for all."""


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
    spec, known = cluster.spec.ceph_version, cluster.status.version
    if not spec.image:
        wait = Step(subject=SUBJECT, reason="no image to run", waits_for="spec.cephVersion.image to be set")
        return Found(steps=(wait,))
    there = live.get((JOB.kind, NAME))
    job = None if there is None else msgspec.convert(there, Job)
    own = jobs.by_job(pods).get(job.metadata.uid, ()) if job is not None else ()
    run = jobs.read(job, own, warned or {}, now)
    remembered = Known(known.image, known.version)
    return image.find(spec.image, remembered, run, detection_job(cluster), subject=SUBJECT)


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
    allowed = partial(refusal, allow_unsupported=spec.allow_unsupported)
    return judge(wanted, running, declared, allowed, accepted=accepted)


def detection_job(cluster: CephCluster) -> JsonObject:
    """The Job that runs `ceph --version` in the image and leaves the answer as its termination message."""
    spec, pods = cluster.spec.ceph_version, pod_settings(cluster)
    owner = owner_of(cluster)
    labels = cluster_labels(owner, NAME)
    container = image.container("detect-version", spec.image, spec.image_pull_policy, "ceph --version")
    template = pod_template(
        replace(pods, host_network=False),  # it talks to nobody
        KEY,
        # Pods that have failed stay, and what they say with them.
        {"restartPolicy": "Never", "containers": [{**container, **pods.container_resources("cmd-reporter")}]},
        labels=labels,
        account=ACCOUNT,
        placement=pods.placement_of("mon"),
    )
    return image.probe_job(owner.metadata(NAME, labels), spec.image, template)
