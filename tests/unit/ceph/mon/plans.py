"""What the analysis plans for mons, in short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from controller.ceph.access.mons import Mon
from controller.ceph.mon.act import RetireMon, StartMon
from controller.ceph.mon.analyze import analyze
from controller.ceph.mon.objects import claim
from controller.ceph.mon.observe import MonObservation
from controller.ceph.pods import Release
from controller.ceph.releases import CephVersion
from tests.unit.ceph.cases import a_context, live_objects, running_mons, told

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster

NEWER = Release("ceph:v19", CephVersion(19, 2, 3))
ON_CLAIMS = {"mon": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}}


def plan(cluster: CephCluster, seen: MonObservation) -> list[str]:
    return told(analyze(cluster.spec.mon, a_context(cluster), seen))


def started(cluster: CephCluster, seen: MonObservation) -> list[tuple[str, str]]:
    steps = analyze(cluster.spec.mon, a_context(cluster), seen)
    return [(s.action.mon_id, s.action.node) for s in steps if isinstance(s.action, StartMon) and not s.waits_for]


def retired(cluster: CephCluster, seen: MonObservation) -> list[tuple[str, str]]:
    steps = analyze(cluster.spec.mon, a_context(cluster), seen)
    return [(s.action.mon_id, s.waits_for) for s in steps if isinstance(s.action, RetireMon)]


def on_claims(cluster: CephCluster, members: str, monmap: str, **changes: Any) -> MonObservation:
    """Mons on claims; whoever is in the monmap and not a member was removed. `changes`: of the claims' metadata."""
    seen = running_mons(cluster, members, monmap=monmap)
    assert seen.endpoints is not None
    mons = tuple(Mon(m.id, m.address, on_claim=True) for m in seen.endpoints.mons)
    claims = [claim(cluster.spec.mon, a_context(cluster), mon_id) for mon_id in monmap]
    for made in claims:
        assert made is not None
        made["metadata"] = {**made["metadata"], "uid": "p1", **changes}
    live = {**seen.live, **live_objects(*(c for c in claims if c is not None))}
    return replace(seen, endpoints=replace(seen.endpoints, mons=mons), live=live)
