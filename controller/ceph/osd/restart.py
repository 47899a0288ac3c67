"""The order in which OSDs are restarted, as `framework.rollout` decides it: node by node, and who is waited for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from controller.framework import rollout
from controller.framework.rollout import Leave, Member, Policy, decide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.osd.observation import OsdObservation, OsdState
    from controller.ceph.osd.spec import OsdSpec
    from controller.runtime.kube import Deployment

LEAST_FOR_CHECKS = 3
"""OSDs below which none can be restarted without a pause in service, so that asking is of no use; upstream's number."""
RETURN_SECONDS = 600.0
"""How long the others wait for an OSD that was restarted to be up again; as long as Kubernetes waits for its pod."""


def asks(spec: OsdSpec, seen: OsdObservation) -> bool:
    """Whether Ceph is asked if it can do without those that are to be restarted. Order and number are kept anyway."""
    return len(seen.states or {}) >= LEAST_FOR_CHECKS and spec.asks


def next_batch(spec: OsdSpec, seen: OsdObservation) -> tuple[int, ...]:
    """The OSDs to restart next, all on one node; none while those before them are not back. Pure."""
    return tuple(int(name.removeprefix("osd.")) for name in rollout.next_batch(_rollout(seen), _policy(spec)))


def waits(spec: OsdSpec, seen: OsdObservation, hold: str) -> Mapping[str, str]:
    """What each OSD that is out of date waits for before it is restarted, in words; empty: it may be restarted now.

    Args:
        spec: What is wanted.
        seen: What is there, and which OSDs Ceph can do without.
        hold: What has to happen before one that runs is restarted; empty: nothing.
    """
    leave = Leave([f"osd.{number}" for number in seen.stoppable], seen.unstoppable)
    return decide(_rollout(seen), _policy(spec), hold=hold, leave=leave)


def _policy(spec: OsdSpec) -> Policy:
    return Policy(batch=spec.storage.osd_max_updates_in_parallel)


def _rollout(seen: OsdObservation) -> tuple[Member, ...]:
    """The OSDs that are to be restarted, node by node, and those that are waited for."""
    returning = dict.fromkeys(seen.assessed.returning, "to be restarted")
    changes = {number: change for number, change in seen.assessed.changes.items() if number in seen.deployments}
    outdated = [
        Member(
            name=f"osd.{number}",
            domain=change.osd.node,
            outdated=True,
            serves=_serves(seen, number),
            awaited=returning.pop(number, ""),
        )
        for number, change in sorted(changes.items(), key=lambda item: (item[1].osd.node, item[0]))
    ]
    awaited = [Member(name=f"osd.{number}", serves=False, awaited=why) for number, why in sorted(returning.items())]
    return (*awaited, *outdated)


def _serves(seen: OsdObservation, osd_id: int) -> bool:
    """Whether an OSD is up, so that restarting it takes something away."""
    state = (seen.states or {}).get(osd_id)
    return osd_id in seen.deployments and state is not None and state.up


def returning(seen: OsdObservation) -> frozenset[int]:
    """OSDs that were (re)started and are not back yet.

    Those too of which the cluster's map does not know yet that they stop: until it does, its answers are too good. One
    that does not come back within `RETURN_SECONDS` is not waited for, nor one that was well and went down by itself:
    whether others may stop beside it is Ceph's to say.
    """
    states = seen.states or {}
    return frozenset(n for n, d in seen.deployments.items() if n in states and _is_returning(d, states[n], seen.now))


def _is_returning(deployment: Deployment, state: OsdState, now: float) -> bool:
    progress = next((c for c in deployment.status.conditions if c.type == "Progressing"), None)
    if not deployment.rolled_out:
        if deployment.status.observed_generation < deployment.metadata.generation or progress is None:
            return True
        return progress.reason not in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable")
    if state.up or deployment.spec.replicas == 0 or progress is None or not progress.last_update_time:
        return False
    return now - datetime.fromisoformat(progress.last_update_time).timestamp() < RETURN_SECONDS
