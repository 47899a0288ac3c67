"""Jobs: work that a pod does once, and what is known of it from the Job, its pods and the events about them.

- A Job is named by what it works on (`framework.names` ends a long name with a digest), so there is one at a time. It
  takes the place of an earlier one by that one's uid: a Job that came meanwhile stays.
- It has a deadline, `activeDeadlineSeconds`. One that has not ended `GRACE` seconds after it hangs in the kernel, or on
  a node that is gone, and never ends.
- Within a Job, Kubernetes tries again. One that failed is made anew after a pause that doubles with each failure.
- Its result is what its pod leaves as termination message.
- A message says why it does not get on, whatever the cause: a wrong image, a quota, admission, scheduling, a volume, or
  the program's last line.

`ensure` is the plan of a Job that nobody has to agree to. Where data is at stake, the caller's own action asks for
consent and then calls `start`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING

from controller.framework.plan import Handler, Step
from controller.framework.pods import succeeded, termination_message, trouble
from controller.runtime.kube import JOB
from informers import ApiError

if TYPE_CHECKING:
    from controller.runtime.kube import Job, Pod
    from informers import Client, JsonObject

FIRST_PAUSE, LAST_PAUSE = 300.0, 2400.0
"""Seconds after which a Job that failed is made anew: at first, and at most."""

STALL = 1800.0
"""Seconds without a pod at work after which a Job has stalled."""

GRACE = 120.0
"""Seconds after its deadline that a Job has to end."""

ATTEMPT_ANNOTATION = "rook.io/attempt"
"""On a Job: the how manieth it is of those that were made for the same work. The first one has none."""


class Phase(Enum):
    """How far a Job is."""

    ABSENT = auto()
    RUNNING = auto()
    OVERDUE = auto()
    """It should have ended, and has not."""
    FAILED = auto()
    COMPLETE = auto()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the Jobs that are made for the same work.

    Attributes:
        replaces: uid of the one before it; empty: there is none.
        number: The how manieth it is.
    """

    replaces: str = ""
    number: int = 1


FIRST = Attempt()
"""The one that takes nobody's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A Job as it is seen.

    Attributes:
        job: The Job; None: there is none.
        phase: How far it is.
        trouble: Why its pod does not run or has failed, in words; empty: nobody says.
        result: What its pod left when it had done its work; empty: it has not.
        pause: What the next attempt waits for, in words; empty: it may be made now.
        idle: Seconds for which none of its pods has been at work, as on a node that is cordoned or gone.
    """

    job: Job | None = None
    phase: Phase = Phase.ABSENT
    trouble: str = ""
    result: str = ""
    pause: str = ""
    idle: float = 0.0

    @property
    def stalled(self) -> str:
        """That none of its pods has been at work for `STALL` seconds, and why, in words; empty: that is not so."""
        if self.over or self.idle < STALL:
            return ""
        return f"no pod of it has run for {_words(self.idle)}: {self.trouble or 'nobody says why'}"

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return self.phase in (Phase.OVERDUE, Phase.FAILED, Phase.COMPLETE)

    @property
    def cut_off(self) -> bool:
        """Whether its deadline came before its end."""
        conditions = self.job.status.conditions if self.job is not None else ()
        late = any(c.type == "Failed" and c.status == "True" and c.reason == "DeadlineExceeded" for c in conditions)
        return self.phase is Phase.OVERDUE or late

    @property
    def is_final(self) -> bool:
        """Whether it failed by its own policy on failures, so that another attempt would fail, too."""
        conditions = self.job.status.conditions if self.job is not None else ()
        return any(c.type == "Failed" and c.status == "True" and c.reason == "PodFailurePolicy" for c in conditions)

    @property
    def failure(self) -> str:
        """Why it failed or is overdue, in words."""
        late = f"it did not end within {_words(_deadline(self.job))}" if self.cut_off else ""
        return ": ".join(filter(None, (late, self.trouble))) or "it does not say why"

    @property
    def next(self) -> Attempt:
        """The attempt that comes after it."""
        return Attempt(self.afresh.replaces, 1 if self.job is None else _number(self.job) + 1)

    @property
    def afresh(self) -> Attempt:
        """The first attempt at other work than its own, in its place."""
        return Attempt("" if self.job is None else self.job.metadata.uid)


def by_job(pods: Iterable[Pod]) -> dict[str, tuple[Pod, ...]]:
    """The pods by the uids of their Jobs; the pod of an earlier Job of the same name can be there for a while."""
    found: dict[str, tuple[Pod, ...]] = {}
    for pod in pods:
        for owner in pod.metadata.owner_references:
            if owner.kind == JOB.kind:
                found[owner.uid] = (*found.get(owner.uid, ()), pod)
    return found


def read(job: Job | None, pods: Sequence[Pod], told: Mapping[str, str], now: float) -> Run:
    """What is known of a Job. Pure.

    Args:
        job: The Job; None: there is none.
        pods: Its pods, with what `framework.pods.with_warnings` adds to them.
        told: What events tell of objects, by uid, as `framework.pods.warnings` makes it.
        now: Seconds since the epoch.
    """
    if job is None:
        return Run()
    newest_first = sorted(pods, key=lambda p: p.metadata.creation_timestamp or "", reverse=True)
    done = (termination_message(pod) for pod in newest_first if succeeded(pod))
    return Run(
        job=job,
        phase=_phase(job, now),
        trouble=trouble(pods) or told.get(job.metadata.uid, "") or _cut_off(pods),
        result=next(filter(None, done), ""),
        pause=_pause(job, now),
        idle=_idle(job, pods, now),
    )


@dataclass(frozen=True, slots=True)
class RunJob:
    """Make a Job, as the attempt that it is."""

    job: JsonObject = field(repr=False)
    attempt: Attempt = FIRST


def ensure(run: Run, job: JsonObject, *, subject: str, reason: str) -> tuple[Step, ...]:
    """The step by which work is done once, or none when it is. Pure.

    Args:
        run: The Job as it is seen.
        job: The Job as it is wanted, with its deadline.
        subject: What the work is for, as `Step.subject`.
        reason: Why it is to be done.
    """
    if run.phase is Phase.COMPLETE:
        return ()
    name = job["metadata"]["name"]
    if run.phase is Phase.RUNNING:
        return (Step(subject=subject, reason=reason, waits_for=run.trouble or f"Job {name} to end"),)
    if run.phase is not Phase.ABSENT:
        reason = f"{reason}; Job {name} failed: {run.failure}"
    return (Step(subject=subject, action=RunJob(job, run.next), reason=reason, waits_for=run.pause),)


async def start(client: Client, job: JsonObject, attempt: Attempt) -> None:
    """Makes a Job in place of the attempt before it; one that is there already is left alone.

    Raises:
        ApiError: The API server refuses, or the earlier attempt is another one by now.
    """
    meta = job["metadata"]
    if attempt.replaces:
        await client.delete(JOB, meta["namespace"], meta["name"], uid=attempt.replaces)
    if attempt.number > 1:
        annotations = {**meta.get("annotations", {}), ATTEMPT_ANNOTATION: str(attempt.number)}
        job = {**job, "metadata": {**meta, "annotations": annotations}}
    try:
        await client.create(JOB, job)
    except ApiError as error:
        # The caches may not have seen yet that an earlier look made it.
        if not error.is_already_exists:
            raise


def handlers(client: Client) -> dict[type, Handler]:
    """How the actions of this module are carried out."""

    async def run_job(action: RunJob) -> None:
        await start(client, action.job, action.attempt)

    return {RunJob: run_job}


def _phase(job: Job, now: float) -> Phase:
    if job.complete or job.failed:
        return Phase.COMPLETE if job.complete else Phase.FAILED
    made, deadline = job.metadata.creation_timestamp, _deadline(job)
    late = made and deadline and datetime.fromisoformat(made).timestamp() + deadline + GRACE < now
    return Phase.OVERDUE if late else Phase.RUNNING


def _idle(job: Job, pods: Sequence[Pod], now: float) -> float:
    """Seconds since a pod was at work or something else became of one; the Job's own age where there never was one."""
    if any(_at_work(pod) for pod in pods):
        return 0.0
    times = [job.metadata.creation_timestamp, *(pod.metadata.creation_timestamp for pod in pods)]
    times += [condition.last_transition_time for pod in pods for condition in pod.status.conditions]
    return max(now - max((datetime.fromisoformat(time).timestamp() for time in times if time), default=now), 0.0)


def _at_work(pod: Pod) -> bool:
    """Whether a pod runs; of one on a node that does not answer, the control plane sets Ready to false."""
    conditions = pod.status.conditions
    return pod.status.phase == "Running" and not any(c.type == "Ready" and c.status == "False" for c in conditions)


def _cut_off(pods: Sequence[Pod]) -> str:
    """Of a pod whose container runs, by the last word of a node that says nothing any more."""
    for pod in pods:
        runs = any(status.ready for status in pod.status.container_statuses)
        if runs and pod.status.phase == "Running" and not _at_work(pod):
            return f"pod {pod.metadata.name}: node {pod.spec.node_name} does not answer"
    return ""


def _deadline(job: Job | None) -> float:
    """Seconds that a Job may take; 0: as many as it needs."""
    return float((job.spec.active_deadline_seconds if job is not None else None) or 0)


def _number(job: Job) -> int:
    number = job.metadata.annotations.get(ATTEMPT_ANNOTATION, "")
    return int(number) if number.isdecimal() else 1


def _pause(job: Job, now: float) -> str:
    ended = [c.last_transition_time for c in job.status.conditions if c.type in ("Complete", "Failed")]
    if not any(ended):
        return ""
    # The exponent is bounded, since a float's is.
    seconds = min(FIRST_PAUSE * 2 ** min(_number(job) - 1, 16), LAST_PAUSE)
    due = max(datetime.fromisoformat(time).timestamp() for time in ended if time) + seconds
    return f"the next try, at {datetime.fromtimestamp(due, UTC):%H:%M:%SZ}" if due > now else ""


def _words(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
