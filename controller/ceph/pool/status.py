"""`status` of a CephBlockPool: what all kinds show, and upstream's words for what holds back a deletion. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import Condition
from controller.ceph.mirroring import status as mirroring
from controller.ceph.mirroring.objects import TOKEN_OF_POOL
from controller.ceph.mirroring.place import Mode
from controller.ceph.mirroring.wanted import of_pool
from controller.ceph.pool.act import MAX_NAMED
from controller.ceph.pool.spec import problems, unserved
from controller.ceph.pools.analyze import kept
from controller.ceph.pools.spec import is_erasure_coded
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, is_settled, stage_of, timestamp
from controller.framework.text import some
from controller.runtime.conditions import remove_condition

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPool
    from controller.apis.ceph.status import CephBlockPoolStatus
    from controller.ceph.pool.observe import BlockPoolObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The pool is as the spec has it", leaving="The CephBlockPool is being deleted")
TYPES = {True: "Erasure Coded", False: "Replicated"}
"""What `status.info.type` says of a pool, by whether it is erasure-coded."""
NOT_EMPTY = "PoolDeletionIsBlocked"
"""Upstream's condition beside DeletionIsBlocked."""
PEER_SECRET = "rbdMirrorBootstrapPeerSecretName"  # noqa: S105  a name in `status.info`
"""What `status.info` calls the Secret with the token for other clusters."""


def show(look: Look[CephBlockPool], seen: BlockPoolObservation, outcome: Outcome) -> CephBlockPoolStatus:
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
    wanted = of_pool(pool.spec)
    info = {"type": TYPES[is_erasure_coded(pool.spec)], "failureDomain": pool.spec.failure_domain}
    if wanted.mode is not Mode.DISABLED:
        info[PEER_SECRET] = f"{TOKEN_OF_POOL}{pool.metadata.name}"
    kept_info = {name: value for name, value in (present.info or {}).items() if name != PEER_SECRET}
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        pool_id=seen.state.pool_id if seen.state is not None else present.pool_id,
        info={**kept_info, **info},
        **mirroring.fields(present, wanted, seen.mirror, timestamp(look.now)),
    )


def _blocked(seen: BlockPoolObservation, outcome: Outcome) -> str:
    """What the deletion is held back by, and what may be done about it, in words; empty: by nothing."""
    if seen.users:
        return f"The pool is used by {some(seen.users, MAX_NAMED)}: delete them"
    consent = next((r.step.consent for r in outcome.results if r.state is StepState.NEEDS_CONSENT), "")
    return f"The pool has {some(seen.contents, MAX_NAMED)}: delete them, or set {consent}" if consent else ""
