"""Finding out which version an image holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.framework.children import Delete
from controller.framework.image import DEADLINE, Known, container, find, probe_job
from controller.framework.jobs import Attempt, Phase, Run, RunJob
from controller.runtime.kube import JOB, Job

if TYPE_CHECKING:
    from informers import JsonObject

SUBJECT = "version"


def job(image: str = "db:5") -> JsonObject:
    template = {"spec": {"restartPolicy": "Never", "containers": [container("look", image, "Always", "db --version")]}}
    return probe_job({"name": "look", "namespace": "ns", "annotations": {"kept": "yes"}}, image, template)


def run(image: str = "db:5", phase: Phase = Phase.RUNNING, *, deleted: bool = False, **fields: Any) -> Run:
    obj = job(image)
    obj["metadata"] |= {"uid": "u1"} | ({"deletionTimestamp": "2027-01-15T08:00:00Z"} if deleted else {})
    return Run(job=msgspec.convert(obj, Job), phase=phase, **fields)


REMOVAL = Delete(resource=JOB, namespace="ns", name="look", uid="u1")


@pytest.mark.parametrize(
    ("known", "seen", "answer", "actions", "waits_for"),
    [
        pytest.param(Known(), Run(), "", [RunJob(job())], "", id="it is new"),
        pytest.param(Known("db:4", "4.1"), Run(), "", [RunJob(job())], "", id="it is another one"),
        pytest.param(Known("db:5", ""), Run(), "", [RunJob(job())], "", id="there was no answer"),
        pytest.param(Known("db:5", "5.0"), Run(), "5.0", [], "", id="it is known"),
        pytest.param(Known("db:5", "5.0"), run(), "5.0", [REMOVAL], "", id="the Job goes"),
        pytest.param(Known("db:5", "5.0"), run(deleted=True), "5.0", [], "", id="the Job is going"),
        pytest.param(Known(), run(), "", [None], "Job look to end", id="the Job looks"),
        pytest.param(Known(), run(trouble="no image"), "", [None], "no image", id="the Job is stuck"),
        pytest.param(Known(), run(phase=Phase.COMPLETE, result="5.0"), "5.0", [], "", id="the Job has an answer"),
        pytest.param(
            Known(),
            run("db:4", Phase.COMPLETE, result="4.1"),
            "",
            [RunJob(job(), Attempt("u1"))],
            "",
            id="the Job looked into another image",
        ),
        pytest.param(
            Known(),
            run(phase=Phase.FAILED, pause="noon"),
            "",
            [RunJob(job(), Attempt("u1", 2))],
            "noon",
            id="it failed",
        ),
    ],
)
def test_an_image_is_looked_into_once(
    known: Known, seen: Run, answer: str, actions: list[object], waits_for: str
) -> None:
    found = find("db:5", known, seen, job(), subject=SUBJECT)
    assert (found.answer, [step.action for step in found.steps]) == (answer, actions)
    assert all(step.observes for step in found.steps), "also where the plan is only shown"
    assert [step.waits_for for step in found.steps] == [waits_for] * len(actions)


def test_the_job_ends_and_keeps_what_it_is_given() -> None:
    made = job()
    assert made["spec"]["activeDeadlineSeconds"] == DEADLINE
    assert made["metadata"]["annotations"] == {"kept": "yes", "rook.io/image": "db:5"}
