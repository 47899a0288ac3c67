"""Which Ceph release an image holds: found once by a Job that runs `ceph --version` in it, and kept in the status.

The gate decides whether this operator runs that release. Source: https://docs.ceph.com/en/latest/releases/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from controller.apis.ceph import CEPH_CLUSTER
from controller.framework.children import Live, delete, ensure
from controller.framework.labels import owner_reference, recommended
from controller.framework.placement import merged, pod_fields
from controller.framework.plan import Step
from controller.framework.pods import termination_message, trouble
from controller.framework.resources import requirements
from controller.runtime.kube import JOB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph import CephCluster
    from controller.runtime.kube import Pod

NAME = "rook-ceph-detect-version"
SUBJECT = "Ceph version"

type JsonObject = dict[str, Any]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True, order=True)
class CephVersion:
    """A release of Ceph. `build` counts a vendor's builds of it; zero where there is no such number."""

    major: int
    minor: int
    extra: int
    build: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that `ceph --version` or a status names: "ceph version 18.2.7 (6b0e…) reef (stable)", "18.2.7-0".

        Raises:
            ValueError: There is none in it.
        """
        match = _VERSION.search(text)
        if match is None:
            raise ValueError(f'{text.strip()!r} names no Ceph version: expected "ceph version 18.2.7 …"')
        major, minor, extra, build = match.group(1, 2, 3, 4)
        return cls(int(major), int(minor), int(extra), int(build or 0))

    @property
    def release(self) -> tuple[int, int]:
        """The stable release that it belongs to, e.g. (18, 2)."""
        return self.major, self.minor

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.extra}-{self.build}"


RELEASES = {(16, 2): "pacific", (17, 2): "quincy", (18, 2): "reef", (19, 2): "squid", (20, 2): "tentacle"}
"""The stable releases that this operator runs."""


def refusal(version: CephVersion, *, allow_unsupported: bool, running: CephVersion | None = None) -> str:
    """Why the operator does not run `version`, in words; empty when it does.

    Args:
        version: What the image holds.
        allow_unsupported: `spec.cephVersion.allowUnsupported`.
        running: What the cluster runs now. A release further than two away is refused, as Ceph itself does not
            support to skip more; allowUnsupported does not change that.
    """
    if running is not None and version.major - running.major > 2:
        return (
            f"Ceph {version} is more than two releases after {running}, which the cluster runs: "
            f"upgrade to {RELEASES.get((running.major + 2, 2), f'{running.major + 2}.2')} first"
        )
    if version.release in RELEASES or allow_unsupported:
        return ""
    known = ", ".join(f"{major}.{minor}" for major, minor in RELEASES)
    return (
        f"Ceph {version} is not a release that this operator knows ({known}): choose another cephVersion.image, "
        "or set cephVersion.allowUnsupported"
    )


@dataclass(frozen=True, slots=True)
class Detection:
    """What is known of the image's release, and what is still to do to know it.

    `version` is None until it is known; `refusal` says why it is not run.
    """

    version: CephVersion | None = None
    refusal: str = ""
    steps: tuple[Step, ...] = field(default=())


def analyze(cluster: CephCluster, live: Live, pods: Iterable[Pod]) -> Detection:
    """What release `spec.cephVersion.image` holds, by the status or by the Job that looks. Pure.

    Args:
        cluster: The cluster; its status remembers the last answer, so that a restarted operator needs no Job.
        live: The objects of the cluster's namespace.
        pods: The pods of the Job.
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
        return _judged(cluster, CephVersion.parse(known.version), done)
    if job is not None and job["metadata"].get("annotations", {}).get(IMAGE_ANNOTATION) != spec.image:
        return Detection(steps=(_removal(job, "it looks into another image"),))
    if job is None:
        return Detection(steps=ensure(live, detection_job(cluster), subject=SUBJECT, reason="the image is new"))
    own = [p for p in pods if p.metadata.deletion_timestamp is None]
    for pod in own:
        message = termination_message(pod)
        if message:
            return _judged(cluster, CephVersion.parse(message), ())
    waits_for = trouble(own) or f"Job {NAME} to look into the image"
    return Detection(steps=(Step(subject=SUBJECT, reason="the image is new", waits_for=waits_for),))


def _judged(cluster: CephCluster, version: CephVersion, steps: tuple[Step, ...]) -> Detection:
    known = cluster.status.version
    running = CephVersion.parse(known.version) if known.version else None
    problem = refusal(version, allow_unsupported=cluster.spec.ceph_version.allow_unsupported, running=running)
    return Detection(version=version, refusal=problem, steps=steps)


def _removal(job: JsonObject, reason: str) -> Step:
    return delete(JOB, job, subject=SUBJECT, reason=reason)


IMAGE_ANNOTATION = "rook.io/image"


def detection_job(cluster: CephCluster) -> JsonObject:
    """The Job that runs `ceph --version` in the image and leaves the answer as its termination message."""
    meta, spec = cluster.metadata, cluster.spec
    labels = {
        **recommended(name=NAME, instance=meta.name, component="cephclusters.ceph.rook.io", part_of=meta.name),
        "app": NAME,
        "rook_cluster": meta.namespace,
    }
    container: JsonObject = {
        "name": "detect-version",
        "image": spec.ceph_version.image,
        "imagePullPolicy": spec.ceph_version.image_pull_policy,
        "command": ["sh", "-c", "ceph --version > /dev/termination-log"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    resources = requirements(spec.resources, "cmd-reporter")
    if resources:
        container["resources"] = resources
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": NAME,
            "namespace": meta.namespace,
            "labels": labels,
            "annotations": {IMAGE_ANNOTATION: spec.ceph_version.image},
            "ownerReferences": [owner_reference(CEPH_CLUSTER, meta)],
        },
        "spec": {
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "OnFailure",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    **pod_fields(merged(spec.placement, "mon")),
                    "containers": [container],
                },
            },
        },
    }
