"""How people learn of steps as they are carried out: by an event on the object and a log entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from controller.framework.plan import StepState
from controller.runtime import object_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.framework.plan import StepResult
    from controller.runtime import EventRecorder
    from controller.runtime.kube import ObjectMeta
    from informers import Resource

log = structlog.get_logger(__name__)


def journal(events: EventRecorder, resource: Resource, metadata: ObjectMeta) -> Callable[[StepResult], None]:
    """Returns the function that `execute` should call with each step of the plan for an object.

    Args:
        events: Where events go.
        resource: The object's kind.
        metadata: Which object it is.
    """
    regarding = object_reference(metadata, resource)

    def record(result: StepResult) -> None:
        step, failed = result.step, result.state is StepState.FAILED
        if result.state is StepState.WAITING:  # under way: the status shows how far it is
            return
        if failed:
            log.warning("Step failed", subject=step.subject, action=step.title, reason=step.reason, error=result.error)
        else:
            log.info("Step carried out", subject=step.subject, action=step.title, reason=step.reason)
        note = f"{step.subject}: {step.reason}" + (f"; failed: {result.error}" if failed else "")
        reason = f"{step.title}Failed" if failed else step.title
        events.event(regarding, "Warning" if failed else "Normal", reason, note, step.title)

    return record
