"""OSDs that leave: they are purged when their data is elsewhere, and then their Deployments go. Pure.

Ceph, or a person, counts out an OSD that is down; Ceph moves its data, and says when the OSD may go. Each look finds
out anew how far that is, so an operator that takes over goes on. The store is left alone: the verdict on a device that
held an OSD says that somebody has to wipe it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.osd.act import RemoveOsd
from controller.framework.children import delete
from controller.framework.plan import Step
from controller.runtime.kube import DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from controller.ceph.osd.objects import Osd
    from controller.ceph.osd.observation import OsdObservation
    from controller.ceph.osd.spec import OsdSpec


def removals(spec: OsdSpec, seen: OsdObservation, osds: Sequence[Osd]) -> Iterator[Step]:
    """What is next for each OSD that leaves.

    Args:
        spec: What is wanted.
        seen: What is there.
        osds: The cluster's OSDs.
    """
    out = seen.removable if spec.removes else frozenset()
    for number in sorted(seen.deployments.keys() - {osd.osd_id for osd in osds} - out):
        deployment = seen.deployments[number]
        live = seen.live.get((DEPLOYMENT.kind, deployment.metadata.name))
        if live is not None and deployment.metadata.deletion_timestamp is None:
            reason = "the cluster no longer has an OSD with its UUID"
            yield delete(DEPLOYMENT, live, subject=f"osd.{number}", reason=reason)
    for number in sorted(out):
        reason = "down, out and safe to remove, and removeOSDsIfOutAndSafeToRemove is set"
        yield Step(subject=f"osd.{number}", action=RemoveOsd(number), reason=reason)
