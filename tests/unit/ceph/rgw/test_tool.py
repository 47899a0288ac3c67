"""The Job that runs `radosgw-admin`: what it may, what it is given, and when it is made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.rgw import tool
from controller.ceph.rgw.names import own_place
from controller.ceph.rgw.tool import CONVERGE, WANTED_ANNOTATION, Work, tool_job
from controller.framework.jobs import Phase, Run, RunJob
from controller.runtime.kube import Job
from tests.unit.ceph.cases import a_cluster, a_context
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from informers import JsonObject

CONTEXT = a_context(a_cluster())
WORK = Work(
    name="rook-ceph-rgw-s-setup",
    what=CONVERGE,
    place=own_place("s"),
    wanted={"zone": {"endpoints": ["http://a:80"]}},
    entity="client.rgw.s.a",
    keyring="rook-ceph-rgw-s-a-keyring",
    credentials="rgw-admin-ops-user-s",
    labels={"app": "rook-ceph-rgw-setup"},
)


def a_run(phase: Phase, digest: str = WORK.digest, **more: Any) -> Run:
    meta: JsonObject = {"name": WORK.name, "uid": "j1", "annotations": {WANTED_ANNOTATION: digest}}
    return Run(job=msgspec.convert({"metadata": meta}, Job), phase=phase, **more)


def test_the_job() -> None:
    assert_matches_snapshot(tool_job(CONTEXT, WORK, "rook:1"), "rgw-tool-job")


def test_the_job_has_no_rights_and_no_secret_in_its_input() -> None:
    spec = tool_job(CONTEXT, WORK, "rook:1")["spec"]["template"]["spec"]
    (container,) = spec["containers"]

    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": []}
    assert spec["automountServiceAccountToken"] is False
    assert {"name": "credentials", "secret": {"secretName": "rgw-admin-ops-user-s"}} in spec["volumes"]


@pytest.mark.parametrize(
    ("run", "step"),
    [
        (Run(), "RunJob"),
        (a_run(Phase.RUNNING), "Job rook-ceph-rgw-s-setup to end"),
        (a_run(Phase.COMPLETE), ""),
        (a_run(Phase.COMPLETE, "other"), "RunJob"),
        (a_run(Phase.RUNNING, "other"), "Job rook-ceph-rgw-s-setup to end what it was made for"),
        (a_run(Phase.FAILED, "other"), "RunJob"),
        (a_run(Phase.FAILED, pause="the next try, at 08:00:00Z"), "the next try, at 08:00:00Z"),
    ],
    ids=["none", "runs", "done", "other done", "other runs", "other failed", "failed"],
)
def test_when_it_is_made(run: Run, step: str) -> None:
    steps = tool.ensure(run, CONTEXT, WORK, "rook:1", subject="store s", reason="to be set up")

    told = [s.waits_for or type(s.action).__name__ for s in steps]
    assert told == ([step] if step else [])
    assert tool.is_done(run, WORK) == (not step)
    if step == "RunJob" and run.job is not None:
        (action,) = (s.action for s in steps)
        assert isinstance(action, RunJob)
        assert action.attempt.replaces == "j1"


def test_the_operators_image_is_no_other_work_and_other_input_is() -> None:
    other = Work(name=WORK.name, what=CONVERGE, place=own_place("s"), entity=WORK.entity, keyring=WORK.keyring)

    assert WORK.digest != other.digest
    first, second = (tool_job(CONTEXT, WORK, image)["metadata"]["annotations"] for image in ("rook:1", "rook:2"))
    assert first == second


@pytest.mark.parametrize(("result", "answer"), [("", {}), ("killed", {}), ('{"realm": "r-1"}', {"realm": "r-1"})])
def test_what_it_left(result: str, answer: JsonObject) -> None:
    assert tool.answer(Run(result=result)) == answer
