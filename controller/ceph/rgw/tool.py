"""Jobs that run `radosgw-admin`, in the image of the Ceph that runs: what gateways' own API cannot do.

A Job that has done its work stays, and tells by a digest for what: it is made anew when something else is wanted, and
not because the operator started again or the cluster got another release. Its result is its termination message.
Nothing secret is in its input; the keys of a user are mounted from a Secret. See `pod/`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.pods import (
    ACCOUNT,
    environment,
    image_fields,
    security_context,
    volume_mounts,
    volumes,
)
from controller.ceph.rgw.names import KEY
from controller.framework import install, jobs
from controller.framework.install import DIRECTORY
from controller.framework.plan import Step
from controller.framework.pods import with_warnings
from controller.framework.workload import pod_template
from controller.runtime.kube import JOB, Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.pods import Context
    from controller.ceph.rgw.names import Place
    from controller.framework.children import Live
    from controller.framework.jobs import Run
    from controller.runtime.kube import Pod
    from informers import JsonObject

CONVERGE, REMOVE = "converge", "remove"
"""What the program does for a store; see its functions."""

_PACKAGE = "controller.ceph.rgw.pod"
"""The program in the operator's image."""
_MODULE = "rook_rgw"
"""What its copy is called."""
WANTED_ANNOTATION = "rook.io/wanted"
"""On a Job: a digest of what it was made for."""
RESULT_PATH = "/run/ceph/result"
CREDENTIALS_DIR = "/etc/rook/rgw"
DEADLINE = 900
"""Seconds that a Job may take: nearly all of it is for a cluster that is slow to answer."""
MAX_RETRIES = 3
"""How often Kubernetes tries again within a Job."""
USER = 2016
"""As which the container runs that hands out the program; the operator's own."""
_VOLUME = "program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done by a Job.

    Attributes:
        name: The Job's.
        what: `CONVERGE`, `REMOVE`, or another act of the program.
        place: The realm, zone group and zone that every call names.
        wanted: The program's input beside these.
        entity: The cephx user that does it, such as "client.rgw.my-store.a".
        keyring: The Secret with its keyring.
        credentials: The Secret with the keys of the user in `wanted`; empty: there is none.
        labels: Of the Job and its pod.
        uid: Of the object that the work is done for: the Job of an earlier one of its name did it for that one.
    """

    name: str
    what: str
    place: Place
    wanted: Mapping[str, Any] = field(default_factory=dict)
    entity: str
    keyring: str
    credentials: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    uid: str = ""

    @property
    def input(self) -> str:
        """The program's input, as JSON."""
        place = self.place
        names = {"realm": place.realm, "zonegroup": place.zonegroup, "zone": place.zone}
        return json.dumps({"names": names, **self.wanted}, sort_keys=True)

    @property
    def digest(self) -> str:
        """Tells this work from other work."""
        what = "\0".join((self.what, self.input, self.credentials, self.uid))
        return hashlib.sha256(what.encode()).hexdigest()[:16]


def tool_job(context: Context, work: Work, image: str) -> JsonObject:
    """The Job that does `work`.

    Args:
        context: The cluster, and the object for which the work is done.
        work: What is to be done.
        image: The operator's, which has the program.
    """
    resources = context.pods.container_resources("cmd-reporter")
    mounts = [*volume_mounts(), {"name": _VOLUME, "mountPath": DIRECTORY, "readOnly": True}]
    found = [*volumes(work.keyring), {"name": _VOLUME, "emptyDir": {}}]
    if work.credentials:
        mounts.append({"name": "credentials", "mountPath": CREDENTIALS_DIR, "readOnly": True})
        found.append({"name": "credentials", "secret": {"secretName": work.credentials}})
    container: JsonObject = {
        "name": "radosgw-admin",
        "command": ["python3", "-m", _MODULE, work.what],
        "workingDir": DIRECTORY,
        **image_fields(context),
        "env": [
            *environment(),
            {"name": "ROOK_RESULT", "value": RESULT_PATH},
            {"name": "ROOK_RGW_ENTITY", "value": work.entity},
            {"name": "ROOK_RGW_WANTED", "value": work.input},
        ],
        "volumeMounts": mounts,
        "securityContext": security_context(()),
        "terminationMessagePath": RESULT_PATH,
        **resources,
    }
    copy = ["python3", "-I", "-m", _PACKAGE, "install", f"{DIRECTORY}/{_MODULE}"]
    pod: JsonObject = {
        # Pods that have failed stay, and what they say with them.
        "restartPolicy": "Never",
        "initContainers": [
            install.install_container("copy-program", image, copy, resources, volume=_VOLUME, user=USER),
        ],
        "containers": [container],
        "volumes": found,
    }
    template = pod_template(context.pods, KEY, pod, labels=work.labels, account=ACCOUNT)
    annotations = {WANTED_ANNOTATION: work.digest}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": context.owner.metadata(work.name, work.labels, annotations=annotations),
        "spec": {"backoffLimit": MAX_RETRIES, "activeDeadlineSeconds": DEADLINE, "template": template},
    }


def look(live: Live, pods: Iterable[Pod], name: str, now: float, warned: Mapping[str, str] | None = None) -> Run:
    """The Job of this name as it is seen. Pure.

    Args:
        live: The objects of the namespace, Jobs among them.
        pods: The pods there.
        name: The Job's.
        now: Seconds since the epoch.
        warned: What events tell of Jobs, by uid.
    """
    there = live.get((JOB.kind, name))
    job = None if there is None else msgspec.convert(there, Job)
    own = jobs.by_job(pods).get(job.metadata.uid, ()) if job is not None else ()
    told = warned or {}
    return jobs.read(job, with_warnings(own, told), told, now)


def is_done(run: Run, work: Work) -> bool:
    """Whether just this work has been done."""
    return run.phase is jobs.Phase.COMPLETE and _is_of(run, work)


def ensure(run: Run, context: Context, work: Work, image: str, *, subject: str, reason: str) -> tuple[Step, ...]:
    """The step by which work is done, or none when it is. Pure.

    Args:
        run: The Job as it is seen.
        context: As for `tool_job`.
        work: What is to be done.
        image: As for `tool_job`.
        subject: As `Step.subject`.
        reason: Why it is to be done.
    """
    job = tool_job(context, work, image)
    if run.job is not None and not _is_of(run, work):
        if run.phase is jobs.Phase.RUNNING and not run.stalled:
            # Two that write at once could undo each other's work.
            return (Step(subject=subject, reason=reason, waits_for=f"Job {work.name} to end what it was made for"),)
        return (Step(subject=subject, action=jobs.RunJob(job, run.afresh), reason=reason),)
    return jobs.ensure(run, job, subject=subject, reason=reason)


def answer(run: Run) -> dict[str, Any]:
    """What a Job that has done its work left; empty where nobody has its pod any more."""
    try:
        found: dict[str, Any] = json.loads(run.result) if run.result else {}
    except ValueError:
        return {}
    return found


def _is_of(run: Run, work: Work) -> bool:
    return run.job is not None and run.job.metadata.annotations.get(WANTED_ANNOTATION) == work.digest
