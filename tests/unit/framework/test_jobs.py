"""Jobs: how far one is, why it does not get on, what it left, and when it is made anew."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.framework.jobs import FIRST, Attempt, Phase, Run, RunJob, by_job, ensure, handlers, read, start
from controller.framework.pods import warnings, with_warnings
from controller.runtime.kube import JOB, Event, Job, Pod
from controller.testkit.server import ApiServer
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

MADE = "2027-01-15T08:00:00Z"
START = datetime.fromisoformat(MADE).timestamp()
WANTED = {"kind": "Job", "metadata": {"namespace": "default", "name": "work", "labels": {"app": "work"}}, "spec": {}}


def a_job(*, ended: str = "", reason: str = "", attempt: int = 1, deadline: int | None = 600, at: str = MADE) -> Job:
    """A Job as the caches have it, which was made at `MADE` and has `ended` ("Complete" or "Failed") at `at`."""
    condition = {"type": ended, "status": "True", "reason": reason, "lastTransitionTime": at}
    annotations = {"rook.io/attempt": str(attempt)} if attempt > 1 else {}
    return msgspec.convert(
        {
            "metadata": {"name": "work", "uid": "j1", "creationTimestamp": MADE, "annotations": annotations},
            "spec": {"activeDeadlineSeconds": deadline},
            "status": {"conditions": [condition] if ended else []},
        },
        Job,
    )


def a_pod(name: str = "p", *, job: str = "j1", made: str = MADE, **status: Any) -> Pod:
    meta = {"name": name, "uid": name, "creationTimestamp": made, "ownerReferences": [{"kind": "Job", "uid": job}]}
    return msgspec.convert({"metadata": meta, "status": {"phase": "Pending", **status}}, Pod)


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "main", "state": state}]}


def left(message: str, code: int = 0) -> dict[str, Any]:
    return container(terminated={"exitCode": code, "message": message, "reason": "Completed" if not code else "Error"})


def seen(job: Job, pods: Sequence[Pod] = (), events: Sequence[dict[str, Any]] = (), now: float = START) -> Run:
    """A Job as an observation reads it: with the events, which are told of pods and of the Job itself."""
    told = warnings(msgspec.convert({"type": "Warning", **event}, Event) for event in events)
    return read(job, by_job(with_warnings(pods, told)).get("j1", ()), told, now)


@pytest.mark.parametrize(
    ("job", "after", "phase"),
    [
        (a_job(), 0, Phase.RUNNING),
        (a_job(), 720, Phase.RUNNING),
        (a_job(), 721, Phase.OVERDUE),
        (a_job(deadline=None), 1e9, Phase.RUNNING),
        (a_job(ended="Complete"), 1e9, Phase.COMPLETE),
        (a_job(ended="Failed"), 0, Phase.FAILED),
    ],
)
def test_how_far_it_is(job: Job, after: float, phase: Phase) -> None:
    found = seen(job, now=START + after)
    assert (found.phase, found.over) == (phase, phase is not Phase.RUNNING)


def conditions(ready: bool, at: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": at}]}


RUNS: dict[str, Any] = {
    "phase": "Running",
    "containerStatuses": [{"name": "main", "ready": True, "state": {"running": {}}}],
}
UNSCHEDULED: dict[str, Any] = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "1 node was unschedulable", "lastTransitionTime": MADE}
    ]
}
LATER = "2027-01-15T09:00:00Z"


@pytest.mark.parametrize(
    ("pods", "after", "why"),
    [
        ([], 1799, ""),
        ([], 1800, "no pod of it has run for 30 min: nobody says why"),
        ([a_pod(**UNSCHEDULED)], 1799, ""),
        (
            [a_pod(**UNSCHEDULED)],
            1800,
            "no pod of it has run for 30 min: pod p: not scheduled: 1 node was unschedulable",
        ),
        ([a_pod(made=LATER)], 3600, ""),
        ([a_pod(made=LATER)], 7200, "no pod of it has run for 1 h: nobody says why"),
        ([a_pod(**RUNS)], 1e6, ""),
        ([a_pod(**RUNS, **conditions(ready=True, at=MADE))], 1e6, ""),
        ([a_pod(**RUNS, **conditions(ready=False, at=LATER))], 3600 + 1799, ""),
        (
            [a_pod(**RUNS, **conditions(ready=False, at=LATER))],
            3600 + 1800,
            "no pod of it has run for 30 min: pod p: node  does not answer",
        ),
        ([a_pod(**RUNS, **conditions(ready=False, at=MADE)), a_pod("q", **RUNS)], 1e6, ""),
    ],
)
def test_a_job_without_a_pod_at_work_has_stalled_after_a_while(pods: Sequence[Pod], after: float, why: str) -> None:
    assert seen(a_job(deadline=None), pods, now=START + after).stalled == why
    assert seen(a_job(deadline=None, ended="Failed"), pods, now=START + after).stalled == ""


def test_nothing_is_known_of_a_job_that_is_not_there() -> None:
    assert read(None, (), {}, START) == Run()


QUOTA = {"reason": "FailedCreate", "regarding": {"uid": "j1"}, "note": 'pods "work-x" is forbidden: exceeded quota'}
ADMISSION = {"reason": "FailedCreate", "regarding": {"uid": "j1"}, "note": "violates PodSecurity restricted"}
MOUNT = {"reason": "FailedMount", "regarding": {"uid": "p"}, "note": 'secret "keys" not found'}


@pytest.mark.parametrize(
    ("pods", "events", "why"),
    [
        (
            [a_pod(**container(waiting={"reason": "ErrImagePull", "message": "no such image"}))],
            (),
            "pod p: container main: ErrImagePull: no such image",
        ),
        ([], [QUOTA], 'FailedCreate: pods "work-x" is forbidden: exceeded quota'),
        ([], [ADMISSION], "FailedCreate: violates PodSecurity restricted"),
        (
            [a_pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}])],
            (),
            "pod p: not scheduled: 0/3 nodes are available",
        ),
        ([a_pod()], [MOUNT], 'pod p: FailedMount: secret "keys" not found'),
        ([a_pod(**left("a\nno space left\n", 3))], (), "pod p: container main ended with code 3: no space left"),
        ([a_pod(job="earlier", **left("it was the one before", 1))], (), ""),
    ],
    ids=["image", "quota", "admission", "scheduling", "mount", "exit", "not its own"],
)
def test_why_it_does_not_get_on(pods: Sequence[Pod], events: Sequence[dict[str, Any]], why: str) -> None:
    assert seen(a_job(), pods, events).trouble == why


@pytest.mark.parametrize(
    ("job", "pods", "after", "why"),
    [
        (a_job(ended="Failed"), [], 0, "it does not say why"),
        (a_job(ended="Failed"), [a_pod(**left("broken", 1))], 0, "pod p: container main ended with code 1: broken"),
        (a_job(ended="Failed", reason="DeadlineExceeded"), [], 0, "it did not end within 10 min"),
        (a_job(deadline=7200), [a_pod(**left("", 1))], 1e4, "it did not end within 2 h: pod p: container main ended"),
    ],
)
def test_why_it_failed(job: Job, pods: Sequence[Pod], after: float, why: str) -> None:
    found = seen(job, pods, now=START + after)
    assert found.failure.startswith(why)
    assert found.cut_off is ("did not end" in why)


@pytest.mark.parametrize(
    ("pods", "result"),
    [
        ([], ""),
        ([a_pod(**container(running={}))], ""),
        ([a_pod(**left("42"))], "42"),
        ([a_pod(**left("trace", 1))], ""),
        ([a_pod(job="earlier", **left("41"))], ""),
        ([a_pod("b", made="2027-01-15T08:01:00Z", **left("new")), a_pod("a", **left("old"))], "new"),
    ],
)
def test_the_result_is_what_its_pod_left_when_it_ended_well(pods: Sequence[Pod], result: str) -> None:
    assert seen(a_job(), pods).result == result


@pytest.mark.parametrize(
    ("attempt", "minutes"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 40), (10**9, 40)], ids=lambda n: f"{n:g}"
)
def test_the_pause_doubles_with_each_failure(attempt: int, minutes: float) -> None:
    job = a_job(ended="Failed", attempt=attempt)
    due = datetime.fromtimestamp(START + 60 * minutes, datetime.fromisoformat(MADE).tzinfo)
    assert seen(job, now=START + 60 * minutes - 1).pause == f"the next try, at {due:%H:%M:%SZ}"
    assert not seen(job, now=START + 60 * minutes).pause
    assert seen(job).next == Attempt("j1", attempt + 1)


def test_other_work_starts_to_count_anew() -> None:
    assert seen(a_job(ended="Failed", attempt=4)).afresh == Attempt("j1", 1)


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (Run(), (RunJob(WANTED, FIRST), "it is needed", "")),
        (seen(a_job()), (None, "it is needed", "Job work to end")),
        (seen(a_job(), [], [QUOTA]), (None, "it is needed", "FailedCreate: pods")),
        (
            seen(a_job(ended="Failed")),
            (RunJob(WANTED, Attempt("j1", 2)), "it is needed; Job work failed: it does not say why", "the next try"),
        ),
        (
            seen(a_job(), now=START + 1e4),
            (RunJob(WANTED, Attempt("j1", 2)), "it is needed; Job work failed: it did not end within 10 min", ""),
        ),
    ],
    ids=["absent", "running", "in trouble", "failed", "overdue"],
)
def test_the_step(found: Run, step: tuple[RunJob | None, str, str]) -> None:
    (planned,) = ensure(found, WANTED, subject="work", reason="it is needed")
    assert (planned.action, planned.reason) == step[:2]
    assert planned.waits_for.startswith(step[2])
    assert bool(planned.waits_for) is bool(step[2])


def test_work_that_is_done_is_not_done_again() -> None:
    assert ensure(seen(a_job(ended="Complete")), WANTED, subject="work", reason="it is needed") == ()


async def test_an_attempt_takes_the_place_of_the_one_before() -> None:
    server = ApiServer(namespaces=("default",))
    client = server.client()
    await handlers(client)[RunJob](RunJob(WANTED))
    first = server.get(JOB, "default", "work")["metadata"]
    assert "annotations" not in first
    await handlers(client)[RunJob](RunJob(WANTED, Attempt(first["uid"], 2)))
    second = server.get(JOB, "default", "work")["metadata"]
    assert second["uid"] != first["uid"]
    assert second["annotations"] == {"rook.io/attempt": "2"}
    assert read(msgspec.convert({"metadata": second}, Job), (), {}, START).next == Attempt(second["uid"], 3)


async def test_a_job_that_came_meanwhile_stays() -> None:
    server = ApiServer(namespaces=("default",))
    there = server.create(JOB, WANTED)["metadata"]["uid"]
    await start(server.client(), WANTED, FIRST)
    with pytest.raises(ApiError):
        await start(server.client(), WANTED, Attempt("another", 2))
    assert server.get(JOB, "default", "work")["metadata"]["uid"] == there
