"""Why a pod does not run, in one line that a person understands and that stays the same while the trouble does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.framework.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.runtime.kube import ContainerStatus, Deployment, Event, Pod

_LONGEST_MESSAGE = 240
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})


def warnings(events: Iterable[Event]) -> dict[str, str]:
    """The newest warning that something failed with an object, by the object's uid.

    A volume that cannot be mounted, and a pod that a Job may not make, are told of by events alone.
    """
    newest: dict[str, Event] = {}
    for event in events:
        if event.type != "Warning" or not event.reason.startswith("Failed"):
            continue
        before = newest.get(event.regarding.uid)
        if before is None or _time(before) <= _time(event):
            newest[event.regarding.uid] = event
    return {uid: f"{event.reason}: {_short(event.note)}" for uid, event in newest.items()}


def with_warnings(pods: Iterable[Pod], told: Mapping[str, str]) -> tuple[Pod, ...]:
    """The pods, of which those that do not run yet have what `warnings` tells of them as their message."""
    return tuple(_with_warning(pod, told.get(pod.metadata.uid, "")) for pod in pods)


def trouble(pods: Iterable[Pod], workload: Deployment | None = None) -> str:
    """What keeps the pods of one workload from running, or from being made; empty when nothing is known to."""
    for pod in sorted(pods, key=lambda p: p.metadata.creation_timestamp or "", reverse=True):
        found = _trouble(pod)
        if found:
            return f"pod {pod.metadata.name}: {found}"
    for condition in workload.status.conditions if workload is not None else ():
        if condition.type == "ReplicaFailure" and condition.status == "True":
            return f"no pod can be made: {_short(condition.message)}"
    return ""


def termination_message(pod: Pod) -> str | None:
    """What the pod's first container left as termination message; None while it has not ended."""
    for status in pod.status.container_statuses:
        if status.state.terminated is not None:
            return status.state.terminated.message
    return None


def succeeded(pod: Pod) -> bool:
    """Whether the pod's first container has ended, and well."""
    for status in pod.status.container_statuses:
        return status.state.terminated is not None and status.state.terminated.exit_code == 0
    return False


def _trouble(pod: Pod) -> str:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"not scheduled: {_short(condition.message)}"
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        found = _container_trouble(status)
        if found:
            return found
    if pod.status.phase == "Pending" and pod.status.message:
        return _short(pod.status.message)
    if pod.status.phase == "Failed":
        return _short(f"{pod.status.reason} {pod.status.message}".strip() or "failed")
    return ""


def _with_warning(pod: Pod, warning: str) -> Pod:
    if not warning or pod.status.phase != "Pending":
        return pod
    return msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, message=warning))


def _time(event: Event) -> str:
    last = event.series.last_observed_time if event.series is not None else ""
    return last or event.event_time or event.deprecated_last_timestamp or ""


def _container_trouble(status: ContainerStatus) -> str:
    waiting, ended = status.state.waiting, status.state.terminated or status.last_state.terminated
    failed = ended is not None and ended.exit_code != 0
    if waiting is not None and waiting.reason not in _STARTING and not failed:
        return f"container {status.name}: {waiting.reason}: {_short(waiting.message)}"
    if failed and ended is not None and not status.ready:
        why = _last_line(ended.message) or ended.reason
        return f"container {status.name} ended with code {ended.exit_code}: {_short(why)}"
    return ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _short(text: str) -> str:
    return cut(" ".join(text.split()), _LONGEST_MESSAGE)
