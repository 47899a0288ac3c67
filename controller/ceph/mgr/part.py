"""Mgrs as a part of their cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from controller.ceph.cluster.part import Part, not_restarted
from controller.ceph.mgr import act
from controller.ceph.mgr.analyze import analyze
from controller.ceph.mgr.objects import APP
from controller.ceph.mgr.observe import MgrObservation, observe
from controller.ceph.pods import owner_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.ceph.cluster.part import Ground
    from controller.ceph.pods import Context
    from controller.framework.monitoring import Monitors
    from controller.framework.plan import Handler, Step
    from controller.runtime.apply import Applier
    from informers import Client


def part(client: Client, applier: Applier, monitors: Monitors) -> Part[MgrObservation]:
    """The part.

    Args:
        client: Asks the API server.
        applier: Writes.
        monitors: The ServiceMonitors.
    """

    def handlers(ground: Ground, _: MgrObservation) -> dict[type, Handler]:
        ways = monitors.handlers()
        if ground.ceph is not None:
            ways |= act.handlers(owner_of(ground.cluster), client, applier, ground.ceph)
        return ways

    return Part(
        name="mgrs",
        apps=frozenset({APP}),
        observe=partial(observe, monitors=monitors),
        analyze=_analyze,
        handlers=handlers,
        late=_late,
    )


def _analyze(ground: Ground, context: Context, seen: MgrObservation, hold: str) -> tuple[Step, ...]:
    return analyze(ground.cluster.spec.mgr, context, seen, hold=hold)


def _late(ground: Ground, seen: MgrObservation, steps: Sequence[Step]) -> str:
    image = ground.release.image if ground.release is not None else ""
    return not_restarted("mgr", seen.deployments, image, ground.live, steps)
