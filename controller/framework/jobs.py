"""Jobs that have ended: when, and when one that failed is made anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.runtime.kube import Job

RETRY_AFTER = 300.0
"""Seconds after which a Job that failed is made anew; within a Job, Kubernetes itself tries again."""

GRACE = 120.0
"""Seconds after its deadline that a Job has to end."""


def ended_at(job: Job) -> float:
    """Seconds since the epoch at which a Job has ended; 0 where it does not say."""
    times = [c.last_transition_time for c in job.status.conditions if c.type in ("Complete", "Failed")]
    return max((datetime.fromisoformat(t).timestamp() for t in times if t), default=0.0)


def is_over(job: Job, deadline: float, now: float) -> bool:
    """Whether a Job has ended, or should have: what hangs in the kernel, or on a node that is gone, never ends.

    Args:
        job: The Job.
        deadline: Seconds that it may take.
        now: Seconds since the epoch.
    """
    if job.complete or job.failed:
        return True
    made = job.metadata.creation_timestamp
    return made is not None and datetime.fromisoformat(made).timestamp() + deadline + GRACE < now


def timed_out(job: Job) -> bool:
    """Whether a Job that is over was cut off, or has not even ended since."""
    ended = {c.type: c.reason for c in job.status.conditions if c.status == "True"}
    return "Complete" not in ended and ended.get("Failed", "DeadlineExceeded") == "DeadlineExceeded"


def next_try(job: Job, now: float) -> str:
    """What a Job that has ended waits for before it is made anew, in words; empty when it is time."""
    due = ended_at(job) + RETRY_AFTER
    return f"the next try, at {datetime.fromtimestamp(due, UTC):%H:%M:%SZ}" if due > now else ""
