"""`status` of a CephNFS: what all kinds show, and the database of grace periods. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.nfs import GraceMember, GraceStatus
from controller.apis.meta import Condition
from controller.ceph.nfs.act import MAX_NAMED
from controller.ceph.nfs.spec import problems, unserved
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, is_settled, stage_of
from controller.framework.text import some
from controller.runtime.conditions import find_condition

if TYPE_CHECKING:
    from controller.apis.ceph import CephNFS, CephNFSStatus
    from controller.ceph.access.ganesha import Grace
    from controller.ceph.nfs.observe import NfsObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The NFS servers are as the spec has them", leaving="The CephNFS is being deleted")
GRACE = "GracePeriod"
"""Whether a grace period is in effect: clients take back what they had, and get nothing new."""
TOO_LONG = 300.0
"""Seconds after which a grace period has something that keeps it from ending; it takes 90 s at most by itself."""


def show(look: Look[CephNFS], seen: NfsObservation, outcome: Outcome) -> CephNFSStatus:
    """See `controller.framework.kind.ControlLoop`."""
    nfs, present = look.obj, look.obj.status
    if is_settled(present, look, outcome):
        return present
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(nfs)))
    told = honoured.differing((), unserved(look.spec, nfs.metadata.name), nfs.metadata.generation)
    grace = seen.shared.grace
    found = [*conditions(stage, WORDS, blocked=_blocked(seen, outcome)), told]
    if grace is not None:
        found.append(_grace(present, grace, look.now))
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        grace=present.grace if seen.waits_for else _shown(grace),
    )


def _shown(grace: Grace | None) -> GraceStatus:
    if grace is None:
        return GraceStatus()
    members = (
        GraceMember(id=name, needs_grace=server.needs_grace, enforcing=server.enforcing, clients=len(server.clients))
        for name, server in sorted(grace.servers.items())
    )
    return GraceStatus(current=grace.current, recovering=grace.recovering, members=tuple(members))


def _grace(present: CephNFSStatus, grace: Grace, now: float) -> Condition:
    if not grace.in_effect:
        return Condition(type=GRACE, status="False", reason="NotInEffect")
    awaited = some(sorted(name for name, server in grace.servers.items() if server.needs_grace), MAX_NAMED)
    before = find_condition(present.conditions, GRACE)
    since = before.last_transition_time if before is not None and before.status == "True" else ""
    message = f"until {awaited or 'a server'} has its clients back, files are not opened and locked anew"
    if since and now - datetime.fromisoformat(since).timestamp() > TOO_LONG:
        return Condition(type=GRACE, status="True", reason="InGraceTooLong", message=message)
    return Condition(type=GRACE, status="True", reason="InEffect", message=message)


def _blocked(seen: NfsObservation, outcome: Outcome) -> str:
    """What the deletion is held back by, and what may be done about it, in words; empty: by nothing."""
    if seen.users:
        return f"to be deleted first: {some(seen.users, MAX_NAMED)}"
    held = next((r.step for r in outcome.results if r.state is StepState.NEEDS_CONSENT), None)
    return f"{held.subject}: {held.reason}; or set {held.consent}" if held is not None else ""
