"""Jobs that have ended: when, and when one that failed is made anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.runtime.kube import Job

RETRY_AFTER = 300.0
"""Seconds after which a Job that failed is made anew; within a Job, Kubernetes itself tries again."""


def ended_at(job: Job) -> float:
    """Seconds since the epoch at which a Job has ended; 0 where it does not say."""
    times = [c.last_transition_time for c in job.status.conditions if c.type in ("Complete", "Failed")]
    return max((datetime.fromisoformat(t).timestamp() for t in times if t), default=0.0)


def next_try(job: Job, now: float) -> str:
    """What a Job that has ended waits for before it is made anew, in words; empty when it is time."""
    due = ended_at(job) + RETRY_AFTER
    return f"the next try, at {datetime.fromtimestamp(due, UTC):%H:%M:%SZ}" if due > now else ""
