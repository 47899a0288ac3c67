"""OSDs are where they were made, in CRUSH, until somebody agrees that they go elsewhere and their data with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.crush import place, spelled
from controller.ceph.osd.observation import MAX_NAMED
from controller.ceph.osd.spec import MOVE_ANNOTATION
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from controller.ceph.osd.objects import Osd
    from controller.ceph.osd.observation import OsdObservation
    from controller.ceph.osd.spec import OsdSpec


def moves(spec: OsdSpec, seen: OsdObservation, osds: Sequence[Osd]) -> Iterator[Step]:
    """What has to be agreed to: OSDs that are elsewhere in CRUSH than the labels of their nodes say by now."""
    if spec.may_move:
        return
    places = {node.metadata.name: place(node.metadata.labels) for node in seen.nodes}
    found: dict[tuple[str, str, str], list[int]] = {}
    for osd in osds:
        there = places.get(osd.node, {})
        if osd.place and "host" in there and dict(osd.place) != there:
            found.setdefault((osd.node, spelled(osd.place), spelled(there)), []).append(osd.osd_id)
    for (node, at, by_labels), ids in sorted(found.items()):
        names = some([f"osd.{n}" for n in ids], MAX_NAMED)
        yield Step(
            subject=f"OSDs of node {node}",
            reason=f"{names} at {at}, and the node's labels say {by_labels} by now: data would move",
            waits_for="the labels to be as they were, or consent",
            consent=f'annotation {MOVE_ANNOTATION}: "true"',
        )
