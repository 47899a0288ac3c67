"""What a NetworkFence asks for against what is on the blocklist: the plan between the two. Pure.

Ranges are added before others are taken off, so that an address in both is never let in. What no NetworkFence has put
there stays there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.networkfence.act import Fence, Lift
from controller.ceph.networkfence.kinds import UNFENCED
from controller.ceph.networkfence.observe import wants
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.networkfence.kinds import NetworkFence
    from controller.ceph.networkfence.observe import FenceObservation

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at what is as it should be, and at what waits: no event tells of the blocklist."""
MAX_NAMED = 5
"""NetworkFences and ranges that are named."""
DEADLINE = 300.0
"""Seconds for a range: each client in it is shut out by itself before."""
LANE = "ranges"


def analyze(fence: NetworkFence, seen: FenceObservation) -> Plan:
    """The plan for a NetworkFence."""
    deleting = fence.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(fence, seen) if deleting else _steps(fence, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(fence: NetworkFence, seen: FenceObservation) -> Iterator[Step]:
    if seen.problem:
        yield Step(subject="spec", reason="it cannot be carried out", waits_for=seen.problem, lane=LANE)
        return
    if seen.waits_for:
        yield Step(subject="blocklist", reason="to be looked at", waits_for=seen.waits_for, lane=LANE)
        return
    for range_ in seen.wanted:
        if range_ in seen.owned or range_ in seen.others:
            continue
        names = seen.inside.get(range_, "")
        waits_for = f"{names} to be stopped, or at another address: it would be shut out, too" if names else ""
        reason = "its clients are to be shut out"
        yield Step(
            subject=range_, action=Fence(range_), reason=reason, waits_for=waits_for, lane=LANE, deadline=DEADLINE
        )
    yield from _lifts(seen, "it is not to be fenced any more")
    if not wants(fence):
        yield from _kept(seen)


def _lifts(seen: FenceObservation, reason: str) -> Iterator[Step]:
    for range_ in seen.recorded:
        if range_ not in seen.wanted:
            yield Step(subject=range_, action=Lift(range_), reason=reason, lane=LANE, deadline=DEADLINE)


def _kept(seen: FenceObservation) -> Iterator[Step]:
    """The ranges that are to be let in, and are not, as others have put them on the blocklist."""
    for range_ in seen.named:
        if range_ in seen.recorded:
            continue
        if range_ in seen.shared:
            names = some(seen.shared[range_], MAX_NAMED)
            waits_for = f"NetworkFence {names}, which fences it, too"
        elif range_ in seen.others:
            waits_for = f"whoever put it on the blocklist; by hand: ceph osd blocklist range rm {range_}"
        else:
            continue
        yield Step(subject=range_, reason="it is on the blocklist still", waits_for=waits_for)


def _deletion(fence: NetworkFence, seen: FenceObservation) -> Iterator[Step]:
    reason = "the NetworkFence is being deleted"
    release = Step(subject="NetworkFence", action=LetGo(), reason=reason, lane=LANE)
    if not seen.recorded or seen.gone:
        yield release
    elif fence.spec.fence_state != UNFENCED:
        named = some(seen.recorded, MAX_NAMED)
        waits_for = f"fenceState to be {UNFENCED}, which lets {named} in again"
        yield Step(subject="NetworkFence", reason=reason, waits_for=waits_for, lane=LANE)
    elif seen.waits_for:
        yield Step(subject="blocklist", reason=reason, waits_for=seen.waits_for, lane=LANE)
    else:
        yield from _lifts(seen, reason)
        yield release
