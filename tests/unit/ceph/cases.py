"""Clusters, nodes and what runs on them, as tests describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephCluster
from controller.ceph.access.mons import Endpoints, Mon, MonState, id_number
from controller.ceph.mon.objects import budgets as mon_budgets
from controller.ceph.mon.objects import config_secret, endpoints_config_map, mon_deployment, service
from controller.ceph.mon.observe import MonObservation
from controller.ceph.pods import Context, Daemon, Release, context_of
from controller.ceph.releases import CephVersion
from controller.runtime.kube import Deployment, Node, Pod
from tests.unit.framework.applied import as_applied

if TYPE_CHECKING:
    from controller.framework.plan import Step
    from informers import JsonObject


FSID = "5f6a64d9-1b6c-4d0a-9b0e-1f6a1f3c2a10"
RELEASE = Release("ceph:v18", CephVersion(18, 2, 7))


def a_cluster(spec: JsonObject | None = None, **more: Any) -> CephCluster:
    """A CephCluster `rook-ceph/my-cluster` with this spec over a plain one."""
    obj = {
        "metadata": {"name": "my-cluster", "namespace": "rook-ceph", "uid": "u1", "generation": 3},
        "spec": {"cephVersion": {"image": RELEASE.image}, "dataDirHostPath": "/var/lib/rook", **(spec or {})},
        **more,
    }
    return msgspec.convert(obj, CephCluster)


def a_context(cluster: CephCluster, release: Release = RELEASE) -> Context:
    """What the parts of a cluster are given of it."""
    return context_of(cluster, FSID, release)


def a_node(name: str, *, zone: str = "", **spec: Any) -> Node:
    """A Ready node, whose host name differs from its name."""
    labels = {"kubernetes.io/hostname": f"{name}.example"} | ({"topology.kubernetes.io/zone": zone} if zone else {})
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": f"192.0.2.{1 + sum(map(ord, name)) % 200}"}],
    }
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}, Node)


def nodes(*names: str) -> dict[str, Node]:
    """Ready nodes."""
    return {name: a_node(name) for name in names}


def member(mon_id: str, node: str = "") -> Mon:
    """Mon a is on node n1 at 10.0.0.1, b on n2 at 10.0.0.2, and so on."""
    number = id_number(mon_id) + 1
    node = node or f"n{number}"
    return Mon(mon_id, f"10.0.0.{number}", node, f"{node}.example")


def live_object(obj: JsonObject) -> JsonObject:
    """What the API server has after `obj` was applied."""
    live = as_applied(obj)
    return {**live, "metadata": {**live["metadata"], "uid": f"uid-{obj['metadata']['name']}"}}


def live_objects(*objects: JsonObject | None) -> dict[tuple[str, str], JsonObject]:
    """The objects that exist."""
    return {(o["kind"], o["metadata"]["name"]): live_object(o) for o in objects if o is not None}


def deployment_view(obj: JsonObject, *, rolled_out: bool = True) -> Deployment:
    """The typed view of an applied Deployment."""
    status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": int(rolled_out)}
    return msgspec.convert({**obj, "status": status}, Deployment)


def a_pod(daemon: Daemon, *, waiting: str = "", labels: dict[str, str] | None = None) -> Pod:
    """A daemon's pod that runs, or whose container waits for this reason."""
    state = {"waiting": {"reason": waiting, "message": "why"}} if waiting else {"running": {}}
    obj = {
        "metadata": {"name": f"{daemon.name}-x", "labels": daemon.selector("rook-ceph") | (labels or {})},
        "status": {"containerStatuses": [{"name": daemon.type, "state": state, "ready": not waiting}]},
    }
    return msgspec.convert(obj, Pod)


def live_services(cluster: CephCluster, *mon_ids: str) -> dict[tuple[str, str], JsonObject]:
    """The Services of mons, with the addresses that the API server gave them."""
    found = live_objects(*(service(a_context(cluster), mon_id) for mon_id in mon_ids))
    for mon_id in mon_ids:
        obj = found["Service", f"rook-ceph-mon-{mon_id}"]
        obj["spec"] = {**obj["spec"], "clusterIP": member(mon_id).address}
    return found


def running_mons(
    cluster: CephCluster,
    members: str,
    *,
    quorum: str | None = None,
    monmap: str | None = None,
    joined: str | None = None,
    release: Release = RELEASE,
    **changes: Any,
) -> MonObservation:
    """Mons that run as they should.

    Args:
        cluster: Their cluster.
        members: Their ids, as in "abc".
        quorum: Who is in quorum; by default all of them.
        monmap: Who is in the monmap; by default all of them.
        joined: Who was noted to have been in quorum; by default all of them.
        release: What they run.
        changes: Other attributes of the observation.
    """
    endpoints = Endpoints(tuple(member(m) for m in members), max((id_number(m) for m in members), default=-1))
    in_quorum = members if quorum is None else quorum
    state = MonState({m: member(m).address for m in (members if monmap is None else monmap)}, frozenset(in_quorum))
    deployments = {m.id: mon_deployment(cluster.spec.mon, a_context(cluster, release), m) for m in endpoints.mons}
    found: dict[str, Any] = {
        "endpoints": endpoints,
        "state": state if in_quorum else None,
        "nodes": nodes("n1", "n2", "n3", "n4", "n5"),
        "deployments": {mon_id: deployment_view(obj) for mon_id, obj in deployments.items()},
        "live": live_objects(
            endpoints_config_map(a_context(cluster), endpoints),
            config_secret(a_context(cluster), endpoints, members if joined is None else joined),
            *mon_budgets(a_context(cluster), endpoints),
            *deployments.values(),
        )
        | live_services(cluster, *members),
    }
    return MonObservation(**{**found, **changes})


def told(steps: tuple[Step, ...]) -> list[str]:
    """The steps as "subject: Action", with what each waits for after an arrow."""
    return [f"{s.subject}: {s.title}" + (f" <- {s.waits_for}" if s.waits_for else "") for s in steps]
