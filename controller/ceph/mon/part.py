"""Mons as a part of their cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.meta import Condition
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.mon import act
from controller.ceph.mon.analyze import analyze, oversized
from controller.ceph.mon.membership import FAILOVER_TIMEOUT
from controller.ceph.mon.objects import APP
from controller.ceph.mon.observe import OUT_OF_QUORUM, MonObservation, observe, out_of_quorum, timers
from controller.ceph.part import Part, Report, not_restarted
from controller.ceph.pods import MON_CONFIG
from controller.framework.duration import duration_problem
from controller.framework.status import timestamp
from controller.framework.timers import advance
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, PVC, SECRET, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from controller.apis.ceph import CephClusterSpec
    from controller.ceph.part import Ground
    from controller.ceph.pods import Context
    from controller.framework.plan import Handler, Step
    from controller.runtime.apply import Applier
    from informers import Client, JsonObject, Resource


def part(client: Client, applier: Applier) -> Part[MonObservation]:
    """The part.

    Args:
        client: Asks the API server.
        applier: Writes.
    """

    def handlers(ground: Ground, seen: MonObservation) -> dict[type, Handler]:
        namespace = ground.cluster.metadata.namespace
        ways = act.handlers(namespace, seen.endpoints, client, applier)
        return ways if ground.ceph is None else {**ways, **act.monmap_handlers(namespace, client, ground.ceph)}

    return Part(
        name="mons",
        apps=frozenset({APP}),
        observe=observe,
        analyze=_analyze,
        handlers=handlers,
        invalid=_invalid,
        late=_late,
        report=report,
        remnants=_remnants,
        nodes=_nodes,
        keys=_keys,
    )


def report(ground: Ground, seen: MonObservation) -> Report:
    """What the status tells of mons."""
    if seen.state is not None:
        quorum = len(seen.state.in_quorum)
        connected = ("True", "ClusterConnected", f"{quorum} of {len(seen.state.monmap)} mons are in quorum")
    else:
        connected = ("False", "ClusterConnecting", "No mon answers")
    status, reason, message = connected
    return Report(
        beside="; ".join(oversized(ground.cluster.spec.mon, seen)),
        conditions=(Condition(type="Connected", status=status, reason=reason, message=message),),
        timers=advance(timers(ground.cluster), {OUT_OF_QUORUM: out_of_quorum(seen)}, timestamp(ground.now)),
    )


def _analyze(ground: Ground, context: Context, seen: MonObservation, hold: str) -> tuple[Step, ...]:
    return analyze(ground.cluster.spec.mon, context, seen, hold=hold)


def _invalid(spec: CephClusterSpec) -> Iterator[str]:
    timeout = spec.health_check.daemon_health.mon.timeout
    yield duration_problem("healthCheck.daemonHealth.mon.timeout", timeout, FAILOVER_TIMEOUT)
    if spec.mon.count % 2 == 0 and not spec.external.enable:
        better = spec.mon.count - 1
        yield f"mon.count: {spec.mon.count} mons can lose no more of them than {better}: an odd number is better"


def _late(ground: Ground, seen: MonObservation, steps: Sequence[Step]) -> str:
    image = ground.release.image if ground.release is not None else ""
    return not_restarted("mon", seen.deployments, image, ground.live, steps)


def _remnants(ground: Ground) -> Iterator[str]:
    yield from (f"{DEPLOYMENT.kind} {found.metadata.name}" for found in ground.daemons(APP).values())
    for (kind, name), obj in ground.live.items():
        if kind == PVC.kind and obj["metadata"].get("labels", {}).get("app") == APP:
            yield f"{kind} {name}"


def _nodes(ground: Ground, _: MonObservation) -> Iterable[str]:
    return [m.node for m in ground.endpoints.mons if not m.has_claim] if ground.endpoints is not None else ()


def _keys(ground: Ground) -> Iterator[tuple[Resource, JsonObject]]:
    """Who the members are, their addresses and what they have on claims: the cluster comes back by these."""
    # The last one would go with the CephCluster, but for `--cascade=orphan`; the mon ids in it are this cluster's.
    named = {(CONFIG_MAP.kind, ENDPOINTS): CONFIG_MAP, (SECRET.kind, MON_CONFIG): SECRET}
    labelled = {SERVICE.kind: SERVICE, PVC.kind: PVC}
    for key, obj in ground.live.items():
        of_mons = obj["metadata"].get("labels", {}).get("app") == APP
        resource = named.get(key) or (labelled.get(key[0]) if of_mons else None)
        if resource is not None:
            yield resource, obj
