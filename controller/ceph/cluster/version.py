"""Which Ceph release an image holds: found once by a Job that runs `ceph --version` in it, and kept in the status."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from controller.ceph.pods import ACCOUNT, VERSION_LABEL, Release, cluster_labels, owner_of, pod_settings
from controller.ceph.releases import CephVersion, Running, refusal
from controller.framework.children import Apply, Live, delete
from controller.framework.plan import Step
from controller.framework.pods import termination_message, trouble
from controller.framework.workload import pod_template
from controller.runtime.kube import JOB

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
) -> Detection:
    """What release `spec.cephVersion.image` holds, by the status or by the Job that looks. Pure.

    Its steps only find something out, so they are carried out also where the plan is only shown.

    Args:
        cluster: The cluster; its status remembers the last answer, so that a restarted operator needs no Job.
        live: The objects of the cluster's namespace.
        pods: The pods of the Job.
        running: What daemons run, by which it is judged whether they may run that release.
        warned: What events tell of Jobs, by uid.
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
    if job is not None and job["metadata"].get("annotations", {}).get(IMAGE_ANNOTATION) != spec.image:
        return Detection(steps=(_removal(job, "it looks into another image"),))
    if job is None:
        look = Step(subject=SUBJECT, action=Apply(detection_job(cluster)), reason="the image is new", observes=True)
        return Detection(steps=(look,))
    # The pod of a Job that looked into another image can be there for a while when that Job is gone.
    own = [p for p in pods if any(owner.uid == job["metadata"].get("uid") for owner in p.metadata.owner_references)]
    for pod in own:
        message = termination_message(pod)
        if message:
            return _judged(cluster, CephVersion.parse(message), running, ())
    why = trouble(own) or (warned or {}).get(job["metadata"].get("uid", ""))
    waits_for = why or f"Job {NAME} to look into the image"
    return Detection(steps=(Step(subject=SUBJECT, reason="the image is new", waits_for=waits_for),))


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
        {"restartPolicy": "OnFailure", "containers": [container]},
        labels=labels,
        account=ACCOUNT,
        placement=pods.placement_of("mon"),
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owner.metadata(NAME, labels, annotations={IMAGE_ANNOTATION: image.image}),
        "spec": {"template": template},
    }
