"""Images: which version of a program one holds, found by running it there once, and remembered in the status.

A tag says nothing of it. A Job runs the program, which leaves its answer as termination message. The caller keeps the
answer in the status with the image's name, and hands both in at the next look: then nothing is run any more, not by a
restarted operator either, and the Job goes. Another image is looked into by another Job in its place.

The steps only find something out, so they are carried out also where the plan is only shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controller.framework import jobs
from controller.framework.children import Delete
from controller.framework.plan import Step
from controller.runtime.kube import JOB

if TYPE_CHECKING:
    from controller.framework.jobs import Run
    from informers import JsonObject

IMAGE_ANNOTATION = "rook.io/image"
"""On the Job: the image that it looks into."""
DEADLINE = 3600.0
"""Seconds that the Job may take: nearly all of it is for fetching the image."""
MAX_RETRIES = 3
"""How often Kubernetes tries again within a Job."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a program in an image says of itself; both empty: nothing is known."""

    image: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of an image, and what is still to do.

    Attributes:
        answer: What its program says; empty until that is known.
        steps: What finds it out, or takes away what did.
    """

    answer: str = ""
    steps: tuple[Step, ...] = ()


def find(image: str, known: Known, run: Run, job: JsonObject, *, subject: str) -> Found:
    """What an image holds. Pure.

    Args:
        image: The image.
        known: What is remembered.
        run: The Job as it is seen.
        job: The Job as it is wanted for this image, by `probe_job`.
        subject: What it is about, as `Step.subject`.
    """
    if image == known.image and known.answer:
        return _found(known.answer, *_removal(run, subject))
    if run.job is not None and run.job.metadata.annotations.get(IMAGE_ANNOTATION) != image:
        action = jobs.RunJob(job, run.afresh)
        return _found("", Step(subject=subject, action=action, reason="it looks into another image"))
    if run.result:
        return _found(run.result)
    return _found("", *jobs.ensure(run, job, subject=subject, reason="the image is new"))


def container(name: str, image: str, pull_policy: str, program: str) -> JsonObject:
    """A container that runs a program of an image without any right, and leaves its answer as termination message.

    Args:
        name: The container's.
        image: The image, which has a shell.
        pull_policy: When a node pulls it.
        program: With its arguments, as a shell reads it: "ceph --version".
    """
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": ["sh", "-c", f"{program} > /dev/termination-log"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def probe_job(metadata: JsonObject, image: str, template: JsonObject) -> JsonObject:
    """The Job that looks into an image.

    Args:
        metadata: Its metadata.
        image: The image.
        template: The template of its pod, whose container is by `container`. Pods that have failed should stay, and
            what they say with them: `restartPolicy` is Never.
    """
    annotations = {**metadata.get("annotations", {}), IMAGE_ANNOTATION: image}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "annotations": annotations},
        "spec": {"backoffLimit": MAX_RETRIES, "activeDeadlineSeconds": int(DEADLINE), "template": template},
    }


def _removal(run: Run, subject: str) -> tuple[Step, ...]:
    if run.job is None or run.job.metadata.deletion_timestamp is not None:
        return ()
    meta = run.job.metadata
    action = Delete(resource=JOB, namespace=meta.namespace, name=meta.name, uid=meta.uid)
    return (Step(subject=subject, action=action, reason="the version is known"),)


def _found(answer: str, *steps: Step) -> Found:
    return Found(answer, tuple(replace(step, observes=True) for step in steps))
