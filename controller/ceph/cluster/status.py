"""`status` of a CephCluster: what all kinds show, what its parts report, and Ceph's own health.

Reasons of conditions, phases and states are upstream's words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.status import ClusterVersion
from controller.ceph.access.health import HEALTH_ERR, ceph_status
from controller.ceph.access.identity import IDENTITY
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.cluster.served import absent
from controller.framework import honoured
from controller.framework.children import altered
from controller.framework.plan import PLAN_ONLY
from controller.framework.status import (
    DELETING,
    FAILURE,
    PROGRESSING,
    READY,
    Words,
    conditions,
    fields,
    stage_of,
    timestamp,
)
from controller.framework.text import brief, some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.apis.ceph import CephCluster, CephClusterStatus
    from controller.ceph.cluster.part import Observation, Report
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome
    from controller.framework.status import Stage

MAX_NAMED = 10
"""Dependents that a condition's message names."""

WORDS = Words(
    well="Cluster created successfully",
    leaving="The CephCluster is being deleted",
    ready="ClusterCreated",
    progressing="ClusterProgressing",
    deleting="ClusterDeleting",
)
STATES = {READY: "Created", FAILURE: "Error", DELETING: "Deleting"}
"""Upstream's older words for phases, but for `PROGRESSING`."""

NAMESPACE_GOES = (
    "the namespace is being deleted: Kubernetes removes daemons and services in it now, whatever the CephCluster's "
    "deletion waits for, and the data stays on devices and in claims that are kept"
)
"""What the message of a CephCluster says whose namespace goes."""


def build(
    look: Look[CephCluster],
    seen: Observation,
    outcome: Outcome,
    *,
    unserved: Sequence[str],
    invalid: Sequence[str] = (),
) -> CephClusterStatus:
    """The status to show, equal to the present one where nothing changed.

    Args:
        look: The look at the cluster.
        seen: What was seen.
        outcome: What became of the plan.
        unserved: Paths of the spec that are set but not served.
        invalid: Values of the spec that mean nothing, in words.
    """
    ground, present = seen.ground, look.obj.status
    reports = tuple(part.report(ground, found) for part, found in seen.parts)
    words = replace(WORDS, well=WORDS.well + _beside(seen, reports))
    stage = stage_of(look, outcome, words)
    blocked = f"to be deleted first: {some(seen.dependents, MAX_NAMED)}" if seen.dependents else ""
    found = (
        *(condition for report in reports for condition in report.conditions),
        *conditions(stage, words, blocked=blocked, beside=_meddled(seen)),
        honoured.condition(unserved, absent(look.obj.spec), look.obj.metadata.generation, invalid=invalid),
    )
    version, upgrade = present.version, ground.upgrade
    if upgrade.wanted is not None and not upgrade.refusal:
        version = ClusterVersion(image=upgrade.wanted.image, version=str(upgrade.wanted.version))
    fsid = ground.identity.fsid if ground.identity is not None else ""
    own = {name: value for report in reports for name, value in report.fields.items()}
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        state=_state(look, stage),
        message=f"{NAMESPACE_GOES}; {stage.message}" if _namespace_goes(seen) else stage.message,
        ceph=ceph_status(ground.health, present.ceph, fsid, timestamp(look.now)),
        version=version,
        timers={name: since for report in reports for name, since in report.timers.items()},
        **own,
    )


def _state(look: Look[CephCluster], stage: Stage) -> str:
    """The phase in upstream's older words."""
    before = look.obj.status.state
    if stage.phase == PROGRESSING:
        if look.mode == PLAN_ONLY:
            return before or "Creating"
        return "Updating" if before in ("Created", "Updating") else "Creating"
    return STATES[stage.phase]


def _namespace_goes(seen: Observation) -> bool:
    """Whether the namespace is being deleted: what outlives mistaken deletions is all on its way out at once."""
    kept = [seen.ground.live.get(key) for key in (("Secret", IDENTITY), ("ConfigMap", ENDPOINTS))]
    deleting = seen.ground.cluster.metadata.deletion_timestamp is not None
    return deleting and all(obj is not None and obj["metadata"].get("deletionTimestamp") for obj in kept)


def _beside(seen: Observation, reports: Sequence[Report]) -> str:
    """What a cluster that is as its spec wants it reports all the same."""
    told = "".join(f"; {report.beside}" for report in reports if report.beside)
    health = seen.ground.health
    if health is not None and health.status == HEALTH_ERR:
        told += f"; Ceph reports {HEALTH_ERR} ({', '.join(health.errors)})"
    return told


def _meddled(seen: Observation) -> str:
    """What does not become as it is applied, as the end of a message; empty where all does."""
    others = altered(seen.ground.live)
    if not others:
        return ""
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    return f"; something changes what is applied, such as an admission webhook: {brief(others[0])}{more}"
