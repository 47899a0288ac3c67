"""Which Ceph release an image holds: found once by a Job that runs `ceph --version` in it, and kept in the status."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.pods import ACCOUNT, VERSION_LABEL, Release, cluster_labels, owner_of, pod_settings
from controller.ceph.releases import CephVersion, Running, refusal
from controller.framework import jobs
from controller.framework.children import Live, delete
from controller.framework.plan import Step
from controller.framework.workload import pod_template
from controller.runtime.kube import JOB, Job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.runtime.kube import Deployment, Pod
    from informers import JsonObject

NAME = "rook-ceph-detect-version"
SUBJECT = "Ceph version"
KEY = "cmdreporter"
"""Under which the spec has labels and annotations of the Job's pod, besides those for all."""
IMAGE_ANNOTATION = "rook.io/image"
DEADLINE = 3600.0
"""Seconds that the Job may take: nearly all of it is for fetching the image."""
MAX_RETRIES = 3


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
    job = live.get(("Job", NAME))
    if known.image == spec.image and known.version:
        done = (
            () if job is None or job["metadata"].get("deletionTimestamp") else (_removal(job, "the version is known"),)
        )
        return _judged(cluster, CephVersion.parse(known.version), running, done)
    found, wanted = None if job is None else msgspec.convert(job, Job), detection_job(cluster)
    own = jobs.by_job(pods).get(found.metadata.uid, ()) if found is not None else ()
    run = jobs.read(found, own, warned or {}, now)
    if found is not None and found.metadata.annotations.get(IMAGE_ANNOTATION) != spec.image:
        replacement = jobs.RunJob(wanted, run.afresh)
        steps: tuple[Step, ...] = (Step(subject=SUBJECT, action=replacement, reason="it looks into another image"),)
    elif run.result:
        return _judged(cluster, CephVersion.parse(run.result), running, ())
    else:
        steps = jobs.ensure(run, wanted, subject=SUBJECT, reason="the image is new")
    return Detection(steps=tuple(replace(step, observes=True) for step in steps))


def intended(cluster: CephCluster, detection: Detection, declared: Collection[Release]) -> Release | None:
    """What daemons should run: the image's release once it is known and not refused.

    Until then it is the newest of `declared`, what Deployments of daemons have: an upgrade that was under way goes on,
    as no daemon can go back.
    """
    if detection.version is not None and not detection.refusal:
        return Release(cluster.spec.ceph_version.image, detection.version)
    accepted = cluster.status.version.image
    return max(declared, key=lambda release: (release.version, release.image == accepted, release.image), default=None)


def declared(deployments: Iterable[Deployment]) -> frozenset[Release]:
    """The releases that the Deployments of daemons have."""
    found: set[tuple[str, str]] = set()
    for deployment in deployments:
        labels, containers = deployment.metadata.labels, deployment.spec.template.spec.containers
        if labels.get("ceph_daemon_type") and labels.get(VERSION_LABEL) and containers:
            found.add((containers[0].image, labels[VERSION_LABEL]))
    return frozenset(Release(image, CephVersion.parse(version)) for image, version in found)


def _judged(cluster: CephCluster, version: CephVersion, running: Running | None, steps: tuple[Step, ...]) -> Detection:
    problem = refusal(version, allow_unsupported=cluster.spec.ceph_version.allow_unsupported, running=running)
    return Detection(version=version, refusal=problem, steps=steps)


def _removal(job: JsonObject, reason: str) -> Step:
    return replace(delete(JOB, job, subject=SUBJECT, reason=reason), observes=True)


def detection_job(cluster: CephCluster) -> JsonObject:
    """The Job that runs `ceph --version` in the image and leaves the answer as its termination message."""
    image, pods = cluster.spec.ceph_version, pod_settings(cluster)
    owner = owner_of(cluster)
    labels = cluster_labels(owner, NAME)
    container: JsonObject = {
        "name": "detect-version",
        "image": image.image,
        "imagePullPolicy": image.image_pull_policy,
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
        "metadata": owner.metadata(NAME, labels, annotations={IMAGE_ANNOTATION: image.image}),
        "spec": {"backoffLimit": MAX_RETRIES, "activeDeadlineSeconds": int(DEADLINE), "template": template},
    }
