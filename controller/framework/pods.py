"""Why a pod does not run, in one line that a person understands and that stays the same while the trouble does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.runtime.kube import ContainerStatus, Pod

_LONGEST_MESSAGE = 240
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})


def trouble(pods: Iterable[Pod]) -> str:
    """What keeps the pods of one workload from running; empty when nothing is known to."""
    for pod in sorted(pods, key=lambda p: p.metadata.creation_timestamp or "", reverse=True):
        found = _trouble(pod)
        if found:
            return f"pod {pod.metadata.name}: {found}"
    return ""


def termination_message(pod: Pod) -> str | None:
    """What the pod's first container left as termination message; None while it has not ended."""
    for status in pod.status.container_statuses:
        if status.state.terminated is not None:
            return status.state.terminated.message
    return None


def _trouble(pod: Pod) -> str:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"not scheduled: {_short(condition.message)}"
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        found = _container_trouble(status)
        if found:
            return found
    if pod.status.phase == "Failed":
        return _short(f"{pod.status.reason} {pod.status.message}".strip() or "failed")
    return ""


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
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"
