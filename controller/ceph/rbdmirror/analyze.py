"""What a CephRBDMirror asks for against what there is: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.mirroring import analyze as mirroring
from controller.ceph.mirroring import daemon_plan
from controller.ceph.mirroring.daemon_plan import AT_REST, WHILE_WAITING
from controller.ceph.mirroring.observe import PEER_OF_DAEMON
from controller.ceph.mirroring.place import Mode, Place
from controller.ceph.mirroring.wanted import Wanted
from controller.ceph.rbdmirror.spec import DAEMON
from controller.framework.plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephRBDMirror
    from controller.ceph.rbdmirror.observe import RbdMirrorObservation

KIND = "CephRBDMirror"


def analyze(mirror: CephRBDMirror, seen: RbdMirrorObservation) -> Plan:
    """The plan for the daemons, and for the peers that are named with them."""
    deleting = mirror.metadata.deletion_timestamp is not None
    steps = tuple(daemon_plan.deletion(DAEMON, KIND, seen.daemons) if deleting else _steps(mirror, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(mirror: CephRBDMirror, seen: RbdMirrorObservation) -> Iterator[Step]:
    yield from daemon_plan.steps(DAEMON, KIND, seen.daemons, mirror.spec.count)
    for source in seen.sources:
        subject = f"Secret {source.secret}"
        if source.problem:
            yield Step(subject=subject, reason="it names another cluster", waits_for=source.problem)
            continue
        state = source.mirror.state
        if state is None or state.mode is Mode.DISABLED:
            waits_for = f"mirroring of CephBlockPool {source.pool}"
            yield Step(subject=subject, reason="it names another cluster", waits_for=waits_for)
            continue
        wanted = Wanted(mode=state.mode, secrets=(source.secret,))
        yield from mirroring.peers(Place(source.pool), wanted, source.mirror, record=PEER_OF_DAEMON)
