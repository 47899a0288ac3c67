"""How a Cluster goes: its members' volumes stay, with the roster beside them, unless the spec gives them up. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.cassandra.cluster import DELETE
from controller.cassandra.pods import authority_name, is_ours, roster_name, superuser_secret
from controller.framework.children import delete
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.runtime.kube import CONFIG_MAP, SECRET, STATEFULSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.cassandra import CassandraCluster
    from controller.cassandra.cluster.observe import Observation

FINALIZER = "cluster.cassandra.rook.io"
LANE = "deletion"
WHILE_WAITING = 5.0


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """Delete a member's claim, by its uid, and with it all data of the member."""

    name: str
    uid: str


def analyze(cluster: CassandraCluster, seen: Observation) -> Plan:
    """The plan for a Cluster that is being deleted."""
    return Plan(steps=tuple(_steps(cluster, seen)), look_again=WHILE_WAITING)


def _steps(cluster: CassandraCluster, seen: Observation) -> Iterator[Step]:
    name = cluster.metadata.name
    wiped = cluster.spec.claim_retention.when_deleted == DELETE
    if wiped:
        reason = "the Cluster is being deleted, and spec.claimRetention.whenDeleted is Delete"
        ours = {key: obj for key, obj in seen.live.items() if is_ours(obj["metadata"].get("labels") or {}, name)}
        sets = [obj for (kind, _), obj in ours.items() if kind == STATEFULSET.kind]
        for found in sets:
            yield delete(STATEFULSET, found, subject=f"StatefulSet {found['metadata']['name']}", reason=reason)
        if sets:
            return
        if seen.pods:
            waits_for = f"{len(seen.pods)} pods to end"
            yield Step(subject="members", reason="they are being stopped", waits_for=waits_for, lane=LANE)
            return
        for member, claim in sorted(seen.claims.items()):
            action = DeleteClaim(claim.metadata.name, claim.metadata.uid)
            yield Step(subject=f"volume of {member}", reason=reason, action=action)
        if seen.claims:
            return
        secrets = (superuser_secret(cluster), authority_name(cluster))
        kept = ((CONFIG_MAP, roster_name(cluster)), *((SECRET, name) for name in secrets))
        for resource, child in kept:
            obj = ours.get((resource.kind, child))
            if obj is not None:
                yield delete(resource, obj, subject=f"{resource.kind} {child}", reason=reason, lane=LANE)
    reason = (
        "nothing is left of it" if wiped else f"{len(seen.claims)} volumes are kept, for a Cluster of the same name"
    )
    yield Step(subject="Cluster", reason=reason, action=LetGo(), lane=LANE)
