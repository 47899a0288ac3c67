"""`status` of a CephBlockPool: what all kinds show, and upstream's words for what holds back a deletion. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import Condition
from controller.ceph.pool.act import MAX_NAMED
from controller.ceph.pool.spec import unserved
from controller.ceph.pools.analyze import kept
from controller.ceph.pools.spec import is_erasure_coded, problems
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, is_settled, stage_of
from controller.framework.text import some
from controller.runtime.conditions import remove_condition

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPool
    from controller.apis.ceph.status import CephBlockPoolStatus
    from controller.ceph.pools.observe import PoolObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The pool is as the spec has it", leaving="The CephBlockPool is being deleted")
TYPES = {True: "Erasure Coded", False: "Replicated"}
"""What `status.info.type` says of a pool, by whether it is erasure-coded."""
NOT_EMPTY = "PoolDeletionIsBlocked"
"""Upstream's condition beside DeletionIsBlocked."""


def show(look: Look[CephBlockPool], seen: PoolObservation, outcome: Outcome) -> CephBlockPoolStatus:
    """See `controller.framework.kind.ControlLoop`."""
    pool, present = look.obj, look.obj.status
    if is_settled(present, look, outcome):
        return present
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(pool.spec)))
    blocked = _blocked(seen, outcome)
    found = [
        *conditions(stage, WORDS, blocked=blocked),
        honoured.differing(kept(pool.spec, seen), unserved(look.spec), pool.metadata.generation),
    ]
    if pool.metadata.deletion_timestamp is not None:
        reason = "PoolNotEmpty" if blocked else "PoolEmpty"
        found.append(Condition(type=NOT_EMPTY, status=str(bool(blocked)), reason=reason, message=blocked))
    else:
        present = msgspec.structs.replace(present, conditions=remove_condition(present.conditions, NOT_EMPTY))
    info = {"type": TYPES[is_erasure_coded(pool.spec)], "failureDomain": pool.spec.failure_domain}
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        pool_id=seen.state.pool_id if seen.state is not None else present.pool_id,
        info={**(present.info or {}), **info},
    )


def _blocked(seen: PoolObservation, outcome: Outcome) -> str:
    """What the deletion is held back by, and what may be done about it, in words; empty: by nothing."""
    if seen.users:
        return f"The pool is used by {some(seen.users, MAX_NAMED)}: delete them"
    consent = next((r.step.consent for r in outcome.results if r.state is StepState.NEEDS_CONSENT), "")
    return f"The pool has {some(seen.contents, MAX_NAMED)}: delete them, or set {consent}" if consent else ""
