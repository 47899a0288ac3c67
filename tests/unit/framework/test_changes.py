"""What wakes a reconciler: changes that can matter, and not all that a kubelet reports."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.framework.changes import deployment_changed, job_changed, pod_changed
from controller.runtime.kube import Deployment, Job, Pod
from informers import Delta


def delta[T](view: type[T], before: dict[str, Any] | None, after: dict[str, Any] | None) -> Delta[T]:
    found: Any = Delta.__new__(Delta)
    found.__dict__ |= {
        "old": None if before is None else msgspec.convert(before, view),
        "new": None if after is None else msgspec.convert(after, view),
    }
    typed: Delta[T] = found
    return typed


RUNNING: dict[str, Any] = {
    "metadata": {"name": "p", "labels": {"app": "rook-ceph-osd"}},
    "spec": {"nodeName": "n1"},
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "containerStatuses": [{"name": "osd", "ready": True, "restartCount": 0, "state": {"running": {}}}],
    },
}


def with_status(**changes: Any) -> dict[str, Any]:
    return {**RUNNING, "status": {**RUNNING["status"], **changes}}


WAITING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}


@pytest.mark.parametrize(
    ("after", "matters"),
    [
        (with_status(podIP="10.0.0.2"), False),
        (with_status(startTime="2026-01-01T00:00:01Z"), False),
        ({**RUNNING, "metadata": {**RUNNING["metadata"], "resourceVersion": "9"}}, False),
        (with_status(conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": "2027"}]), False),
        (with_status(conditions=[{"type": "Ready", "status": "False"}]), True),
        (with_status(phase="Failed"), True),
        (with_status(containerStatuses=[{"name": "osd", "restartCount": 1, "state": {"running": {}}}]), True),
        (with_status(containerStatuses=[{"name": "osd", "restartCount": 0, "state": WAITING}]), True),
        ({**RUNNING, "metadata": {**RUNNING["metadata"], "labels": {}}}, True),
        ({**RUNNING, "metadata": {**RUNNING["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}, True),
        (None, True),
    ],
)
def test_a_pod_wakes_by_what_can_matter(after: dict[str, Any] | None, matters: bool) -> None:
    assert pod_changed(delta(Pod, RUNNING, after)) is matters
    assert pod_changed(delta(Pod, None, RUNNING))


def a_deployment(available: int, **status: Any) -> dict[str, Any]:
    counts = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}
    return {"metadata": {"name": "d", "generation": 2}, "spec": {"replicas": 1}, "status": {**counts, **status}}


def test_a_deployment_wakes_when_it_is_rolled_out_or_no_more() -> None:
    assert deployment_changed(delta(Deployment, a_deployment(0), a_deployment(1)))
    assert not deployment_changed(delta(Deployment, a_deployment(1), a_deployment(1, readyReplicas=1)))


def test_a_job_wakes_when_it_ends() -> None:
    running: dict[str, Any] = {"metadata": {"name": "j"}, "status": {"active": 1}}
    ended = {**running, "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}}
    assert not job_changed(delta(Job, {**running, "status": {}}, running))
    assert job_changed(delta(Job, running, ended))
