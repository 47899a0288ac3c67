"""`status` of a NetworkFence: the result and the words of csi-addons, and conditions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import Condition
from controller.ceph.networkfence.kinds import FAILED, FENCED, SUCCEEDED
from controller.framework.plan import StepState
from controller.framework.status import READY, timestamp, told
from controller.framework.text import some
from controller.runtime.conditions import set_conditions

if TYPE_CHECKING:
    from controller.ceph.networkfence.kinds import FenceStatus, NetworkFence
    from controller.ceph.networkfence.observe import FenceObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

DONE = {True: "fencing operation successful", False: "unfencing operation successful"}
"""`status.message` where nothing is left to do, by whether the ranges are to be fenced. Words that tools know."""
MAX_NAMED = 5
"""Ranges that are named."""


def show(look: Look[NetworkFence], seen: FenceObservation, outcome: Outcome) -> FenceStatus:
    """See `controller.framework.kind.ControlLoop`.

    What was done a moment ago is a success only once the next look finds it on the blocklist.
    """
    fence, now = look.obj, timestamp(look.now)
    left = [r for r in outcome.results if r.state is not StepState.DONE]
    doing = bool(outcome.results) and not left
    message = told((left or list(outcome.results))[0]) if outcome.results else _well(fence, seen)
    known = not seen.problem and not seen.waits_for
    inside = known and bool(seen.named) and all(range_ in seen.present for range_ in seen.named)
    reason = "Unknown" if not known else ("OnBlocklist" if inside else "NotOnBlocklist")
    ready = not outcome.results
    conditions = (
        _condition(FENCED, "Unknown" if not known else str(inside), reason, message, fence),
        _condition(READY, str(ready), "Reconciled" if ready else "Reconciling", message, fence),
    )
    return msgspec.structs.replace(
        fence.status,
        result="" if doing else (FAILED if left else SUCCEEDED),
        message=message,
        conditions=set_conditions(fence.status.conditions, conditions, now),
    )


def _well(fence: NetworkFence, seen: FenceObservation) -> str:
    message = DONE[fence.spec.fence_state == FENCED]
    others = [range_ for range_ in seen.wanted if range_ in seen.others]
    if not others:
        return message
    return f"{message}; {some(others, MAX_NAMED)} was on the blocklist before, and stays there when it is unfenced"


def _condition(type_: str, status: str, reason: str, message: str, fence: NetworkFence) -> Condition:
    generation = fence.metadata.generation
    return Condition(type=type_, status=status, reason=reason, message=message, observed_generation=generation)
