"""Durations, container resources, labels, and what is wrong with a pod."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.meta import ObjectMeta
from controller.framework.duration import DurationError, duration_or, duration_problem, parse_duration
from controller.framework.pods import termination_message, trouble, warnings, with_warnings
from controller.framework.resources import memory_bytes, requirements
from controller.runtime.kube import Deployment, Event, Pod


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5h", 1800),
        ("90", 90),
        ("0", 0),
        ("250ms", 0.25),
        ("100us", 1e-4),
        (" 10s ", 10),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert duration_or(text, 7) == pytest.approx(seconds)
    assert duration_problem("spec.interval", text, 7) == ""


NO_DURATIONS = ["soon", "10 minutes", "45 s", "1min", "10M", "1h 30m", "5x", "m5", "-5s", ".", "²"]


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_named_with_what_counts_instead(text: str) -> None:
    with pytest.raises(DurationError, match="is not a duration"):
        parse_duration(text)
    assert duration_or(text, 7) == 7
    problem = duration_problem("spec.interval", text, 7)
    assert problem.startswith(f"spec.interval: {text!r} is not a duration")
    assert problem.endswith("7 s is used")


def test_a_duration_that_is_not_set_is_the_default_and_no_problem() -> None:
    assert duration_or("", 7) == 7
    assert duration_problem("spec.interval", "", 7) == ""


def test_the_first_key_that_has_resources_counts() -> None:
    resources: dict[str, Any] = {"osd": {"limits": {"memory": "2Gi"}}, "osd-ssd": {}}
    assert requirements(resources, "osd-ssd", "osd") == {"limits": {"memory": "2Gi"}}
    assert requirements(resources, "mon") == {}


@pytest.mark.parametrize(
    ("resources", "found"),
    [({"limits": {"memory": "1.5Gi"}}, 1610612736), ({"limits": {"memory": 1024}}, 1024), ({}, None)],
)
def test_memory_in_bytes(resources: dict[str, Any], found: int | None) -> None:
    assert memory_bytes(resources) == found


def pod(status: dict[str, Any], name: str = "p", created: str = "2026-01-01T00:00:00Z") -> Pod:
    return msgspec.convert({"metadata": {"name": name, "creationTimestamp": created}, "status": status}, Pod)


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "c", "state": state, "ready": False}]}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"phase": "Running", **container(running={})}, ""),
        (container(waiting={"reason": "ContainerCreating"}), ""),
        (
            container(waiting={"reason": "ErrImagePull", "message": "not\n  found"}),
            "pod p: container c: ErrImagePull: not found",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]},
            "pod p: not scheduled: 0/3 nodes",
        ),
        (
            container(terminated={"exitCode": 1, "message": "one\nthe cause\n"}),
            "pod p: container c ended with code 1: the cause",
        ),
        (container(terminated={"exitCode": 0}), ""),
        (
            {
                "containerStatuses": [
                    {
                        "name": "c",
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ]
            },
            "pod p: container c ended with code 137: OOMKilled",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "no disk"}, "pod p: Evicted no disk"),
        (container(waiting={"reason": "X", "message": "y" * 500}), "pod p: container c: X: " + "y" * 239 + "…"),
    ],
)
def test_what_is_wrong_with_a_pod(status: dict[str, Any], told: str) -> None:
    assert trouble([pod(status)]) == told


MOUNT = {"reason": "FailedMount", "note": 'MountVolume failed for volume "store":\n timed out'}


def an_event(uid: str, time: str, **more: Any) -> Event:
    return msgspec.convert({"regarding": {"uid": uid}, "eventTime": time, "type": "Warning", **more}, Event)


def test_what_only_events_tell_of_a_pod_that_does_not_start_is_told() -> None:
    pending = msgspec.structs.replace(pod({"phase": "Pending"}), metadata=ObjectMeta(name="p", uid="u1"))
    events = [
        an_event("u1", "2026-01-01T00:00:00Z", reason="FailedAttachVolume", note="not yet"),
        an_event("u1", "2026-01-01T00:00:09Z", **MOUNT),
        an_event("u1", "2026-01-01T00:00:10Z", reason="BackOff", note="not a failure of its own"),
        an_event("u1", "2026-01-01T00:00:11Z", **MOUNT | {"type": "Normal"}),
        an_event("other", "2026-01-01T00:00:12Z", **MOUNT),
    ]
    told = trouble(with_warnings([pending], warnings(events)))
    assert told == 'pod p: FailedMount: MountVolume failed for volume "store": timed out'


def test_a_pod_that_runs_is_not_in_trouble_by_an_old_event() -> None:
    running = msgspec.structs.replace(pod({"phase": "Running"}), metadata=ObjectMeta(name="p", uid="u1"))
    assert trouble(with_warnings([running], {"u1": "FailedMount: old"})) == ""


def test_a_pod_that_may_not_be_made_is_told_of_by_its_deployment() -> None:
    quota = 'pods "mon-a" is forbidden: exceeded quota: storage'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": quota}
    deployment = msgspec.convert({"status": {"conditions": [condition]}}, Deployment)
    assert trouble([], deployment) == f"no pod can be made: {quota}"


def test_the_newest_pod_in_trouble_is_told_of() -> None:
    old = pod(container(waiting={"reason": "Old"}), "old")
    new = pod(container(waiting={"reason": "New"}), "new", "2026-02-01T00:00:00Z")
    assert trouble([old, new]).startswith("pod new: ")
    assert trouble([]) == ""


def test_a_termination_message_is_there_when_the_container_has_ended() -> None:
    assert termination_message(pod(container(running={}))) is None
    assert termination_message(pod(container(terminated={"exitCode": 0, "message": "m"}))) == "m"
