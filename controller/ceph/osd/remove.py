"""OSDs that leave, as `framework.scalein` orders it: purged when their data is elsewhere, then their Deployments go.

An OSD that is down is counted out by Ceph, or by a person; Ceph moves its data, and says when it is safe. The store is
left alone: the verdict on a device that held an OSD says that somebody has to wipe it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.osd.act import RemoveOsd
from controller.framework.children import delete
from controller.framework.plan import Step
from controller.framework.scalein import Act, Member, plan
from controller.runtime.kube import DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from controller.ceph.osd.objects import Osd
    from controller.ceph.osd.observation import OsdObservation
    from controller.ceph.osd.spec import OsdSpec


def removals(spec: OsdSpec, seen: OsdObservation, osds: Sequence[Osd]) -> Iterator[Step]:
    """What is next for each OSD that leaves. Pure.

    Args:
        spec: What is wanted.
        seen: What is there.
        osds: The cluster's OSDs.
    """
    numbers = {osd.osd_id for osd in osds}
    gone = [n for n, d in seen.deployments.items() if n not in numbers and d.metadata.deletion_timestamp is None]
    out = seen.removable if spec.removes else ()
    leaving = {
        **{n: _leaving(n, counted=False) for n in sorted(gone)},
        **{n: _leaving(n, counted=True) for n in sorted(out)},
    }
    by_name = {member.name: number for number, member in leaving.items()}
    for step in plan(tuple(leaving.values()), len(numbers), at_once=None).steps:
        name, number = step.member.name, by_name[step.member.name]
        if step.act is Act.REMOVE:
            reason = "down, out and safe to remove, and removeOSDsIfOutAndSafeToRemove is set"
            yield Step(subject=name, action=RemoveOsd(number), reason=reason)
            continue
        live = seen.live.get(("Deployment", seen.deployments[number].metadata.name))
        if live is not None:
            yield delete(DEPLOYMENT, live, subject=name, reason="the cluster no longer has an OSD with its UUID")


def _leaving(number: int, *, counted: bool) -> Member:
    """An OSD that is down and whose data is elsewhere, by what the cluster says."""
    return Member(name=f"osd.{number}", begun=True, counted=counted, elsewhere=True, serves=False)
