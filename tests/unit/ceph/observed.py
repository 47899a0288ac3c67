"""What there is of a cluster, as tests describe it: part by part, whatever the cluster's spec is by now."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from controller.ceph.cluster import deletion, kind, status
from controller.ceph.cluster.observe import remnants
from controller.ceph.cluster.settings import SettingsObservation
from controller.ceph.mgr.observe import MgrObservation
from controller.ceph.mon.observe import MonObservation
from controller.ceph.osd import disruption
from controller.ceph.osd import part as osds
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.part import Ground
from controller.ceph.part import Observation as Looked
from controller.ceph.releases import Upgrade
from controller.framework.kind import Look
from controller.framework.plan import APPLY
from controller.framework.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster, CephClusterStatus
    from controller.ceph.access.config import ConfigState
    from controller.ceph.access.health import Health
    from controller.ceph.access.identity import Identity
    from controller.framework.children import Live
    from controller.framework.plan import Outcome, Plan, Step
    from controller.runtime import Manager
    from controller.runtime.kube import Job, Pod

NOBODY = cast("Manager", SimpleNamespace(client=None, applier=None, program=SimpleNamespace(name="test")))
NO_FILESYSTEMS: Any = SimpleNamespace(keys=lambda _: [])
PARTS = kind.parts_of(NOBODY, Settings(operator_namespace="rook"), cast("Any", None), NO_FILESYSTEMS)
"""The parts of a cluster, whose plans and reports are looked at here."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What there is of a cluster, but for its spec."""

    live: Live = field(default_factory=dict)
    identity: Identity | None = None
    identity_problem: str = ""
    pods: tuple[Pod, ...] = ()
    jobs: Mapping[str, Job] = field(default_factory=dict)
    probing: tuple[Step, ...] = ()
    upgrade: Upgrade = field(default_factory=Upgrade)
    mons: MonObservation = field(default_factory=MonObservation)
    mgrs: MgrObservation = field(default_factory=MgrObservation)
    osds: OsdObservation = field(default_factory=lambda: OsdObservation(now=0.0))
    drains: disruption.Scene = field(default_factory=disruption.Scene)
    config: ConfigState | None = None
    health: Health | None = None
    secret_values: Mapping[tuple[str, str], str] = field(default_factory=dict)
    missing_secrets: tuple[str, ...] = ()
    dependents: tuple[str, ...] = ()

    def of(self, cluster: CephCluster, now: float | None = None) -> Looked:
        """The same as it would be found of this cluster."""
        daemons = (*self.mons.deployments.values(), *self.mgrs.deployments.values(), *self.osds.deployments.values())
        ground = Ground(
            cluster=cluster,
            now=self.osds.now if now is None else now,
            live=self.live,
            pods=self.pods,
            jobs=self.jobs,
            deployments=daemons,
            nodes=self.mons.nodes or {node.metadata.name: node for node in self.osds.nodes},
            reports=self.osds.reports,
            identity=self.identity,
            endpoints=self.mons.endpoints,
            quorum=self.mons.state,
            health=self.health,
            upgrade=self.upgrade,
            remnants=self.mons.remnants,
        )
        if self.identity is None and not ground.remnants:
            ground = replace(ground, remnants=remnants(PARTS, ground))
        settings = SettingsObservation(
            state=self.config, secret_values=self.secret_values, missing_secrets=self.missing_secrets
        )
        seen = {
            "mons": self.mons,
            "mgrs": self.mgrs,
            "settings": settings,
            "osds": osds.Seen(osds=self.osds, drains=self.drains),
        }
        return Looked(
            ground=ground,
            parts=tuple((part, seen.get(part.name)) for part in PARTS),
            identity_problem=self.identity_problem,
            probing=self.probing,
            dependents=self.dependents,
        )


def analyze(cluster: CephCluster, seen: Observation, now: float) -> Plan:
    """The plan for a cluster."""
    return kind.analyze(seen.of(cluster, now))


def analyze_deletion(cluster: CephCluster, seen: Observation) -> Plan:
    """The plan for a cluster that is being deleted."""
    return deletion.analyze(seen.of(cluster))


def build(
    cluster: CephCluster, seen: Observation, outcome: Outcome, *, at: float, mode: str = APPLY, **more: Any
) -> CephClusterStatus:
    """The status of a cluster at a time."""
    look = Look(obj=cluster, spec={}, mode=mode, now=at)
    return status.build(look, seen.of(cluster, at), outcome, **{"unserved": (), **more})
