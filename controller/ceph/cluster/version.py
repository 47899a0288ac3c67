"""Which Ceph release an image holds: found once by a Job that runs `ceph --version` in it, and kept in the status."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.pods import ACCOUNT, Release, cluster_labels, owner_of, pod_settings
from controller.ceph.releases import CephVersion, Running, refusal
from controller.framework import image, jobs
from controller.framework.image import Known
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


@dataclass(frozen=True, slots=True)
class Detection:
    """What is known of the image's release, and what is still to do to know it.

    `version` is None until it is known; `refusal` says why it is not run.
    """

    version: CephVersion | None = None
    refusal: str = ""
    steps: tuple[Step, ...] = field(default=())


def analyze(
    cluster: CephCluster,
    live: Live,
    pods: Iterable[Pod],
    running: Running | None = None,
    warned: Mapping[str, str] | None = None,
    *,
    now: float,
) -> Detection:
    """What release `spec.cephVersion.image` holds, by the status or by the Job that looks. Pure.

    Its steps only find something out, so they are carried out also where the plan is only shown.

    Args:
        cluster: The cluster; its status remembers the last answer, so that a restarted operator needs no Job.
        live: The objects of the cluster's namespace.
        pods: The pods of the Job.
        running: What daemons run, by which it is judged whether they may run that release.
        warned: What events tell of Jobs, by uid.
        now: Seconds since the epoch.
    """
    spec, known = cluster.spec.ceph_version, cluster.status.version
    if not spec.image:
        wait = Step(subject=SUBJECT, reason="no image to run", waits_for="spec.cephVersion.image to be set")
        return Detection(steps=(wait,))
    there = live.get((JOB.kind, NAME))
    job = None if there is None else msgspec.convert(there, Job)
    own = jobs.by_job(pods).get(job.metadata.uid, ()) if job is not None else ()
    run = jobs.read(job, own, warned or {}, now)
    remembered = Known(known.image, known.version)
    found = image.find(spec.image, remembered, run, detection_job(cluster), subject=SUBJECT)
    if not found.answer:
        return Detection(steps=found.steps)
    version = CephVersion.parse(found.answer)
    problem = refusal(version, running or Running(), allow_unsupported=spec.allow_unsupported)
    return Detection(version, problem, found.steps)


def intended(cluster: CephCluster, detection: Detection, declared: Collection[Release]) -> Release | None:
    """What daemons should run: the image's release once it is known and not refused; until then what they run.

    See `controller.framework.upgrade`.
    """
    wanted = Release(cluster.spec.ceph_version.image, detection.version) if detection.version is not None else None
    accepted = cluster.status.version.image
    return judge(wanted, Running(), declared, lambda *_: detection.refusal, accepted=accepted).target


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
