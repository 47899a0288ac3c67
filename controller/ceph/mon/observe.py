"""What there is of a cluster's mons, and what follows from it about who they are."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph.access.mons import ENDPOINTS, Endpoints, Mon, MonState, id_name, id_number
from controller.ceph.mon.objects import APP, JOINED, MAX_ID_ANNOTATION
from controller.ceph.pods import MON_CONFIG, Daemon, is_kept
from controller.framework.children import Live
from controller.framework.placement import HOSTNAME_LABEL
from controller.framework.timers import elapsed
from controller.runtime.kube import PVC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.part import Ground
    from controller.runtime.kube import Deployment, Node, Pod, StorageClass

NOT_IN_QUORUM = "not in quorum"
"""Reason of the step that waits for a mon."""
OUT_OF_QUORUM = "MonOutOfQuorum"
"""Topic of the timers by which mons are replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonObservation:
    """What `analyze` decides by.

    Attributes:
        endpoints: The members; None when the ConfigMap does not exist.
        state: What the mons say; None when they do not answer, for want of a quorum or of any mon.
        nodes: All nodes by name.
        deployments: The mons' Deployments by mon id.
        pods: The mons' pods by mon id.
        live: The objects of the cluster's namespace.
        classes: The StorageClasses, by name.
        seconds_out: For how long each mon has been out of quorum, as far as is known.
        remnants: What there is of the cluster beside its mons, in words: it was made by mons that there were before.
        occupied: The nodes that no new mon may be on for a mon of another cluster there, and why.
    """

    endpoints: Endpoints | None = None
    state: MonState | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict)
    classes: Mapping[str, StorageClass] = field(default_factory=dict)
    seconds_out: Mapping[str, float] = field(default_factory=dict)
    remnants: tuple[str, ...] = ()
    occupied: Mapping[str, str] = field(default_factory=dict)


async def observe(ground: Ground) -> MonObservation:
    """What there is of a cluster's mons."""
    return MonObservation(
        endpoints=ground.endpoints,
        state=ground.quorum,
        nodes=ground.nodes,
        deployments=ground.daemons(APP),
        pods=ground.pods_of(APP),
        live=ground.live,
        classes=ground.classes,
        seconds_out=elapsed(timers(ground.cluster), OUT_OF_QUORUM, ground.now),
        remnants=ground.remnants,
        occupied=ground.occupied,
    )


def timers(cluster: CephCluster) -> dict[str, str]:
    """The timers in the status, which outlive the operator; where an operator before timers wrote it, by its plan."""
    waiting = {
        f"{OUT_OF_QUORUM}/{step.subject.removeprefix('mon ')}": step.since
        for step in cluster.status.plan.steps
        if step.subject.startswith("mon ") and step.action == "Wait" and step.reason == NOT_IN_QUORUM and step.since
    }
    return {**waiting, **cluster.status.timers}


def out_of_quorum(seen: MonObservation) -> frozenset[str] | None:
    """The members that are not in quorum, whatever else is to be done for them; None while the mons do not answer.

    One that somebody works on does not count: it gets its time to come back from when that ends.
    """
    if seen.state is None or seen.endpoints is None:
        return None
    kept = {mon_id for mon_id, found in seen.deployments.items() if is_kept(found)}
    return frozenset(seen.endpoints.ids) - seen.state.in_quorum - kept


def joined(seen: MonObservation) -> frozenset[str]:
    """The mons that have been in quorum: that are now, or were once by the Secret that says so."""
    noted = seen.live.get(("Secret", MON_CONFIG), {}).get("data", {}).get(JOINED, "")
    in_quorum = seen.state.in_quorum if seen.state is not None else frozenset()
    return in_quorum | set(base64.b64decode(noted).decode().split(","))


def claimed(live: Live) -> Iterator[str]:
    """The mons that have claims, members or not."""
    prefix = Daemon(type="mon", id="").name
    return (name.removeprefix(prefix) for kind, name in live if kind == PVC.kind and name.startswith(prefix))


def recover(seen: MonObservation) -> Endpoints:
    """The members by what runs, for when the ConfigMap that lists them was deleted.

    A new mon by an id that was there before would find that one's store, and maybe its place in the monmap. So the
    newest id is looked for in all that only members ever had (a Service comes before its mon is one).
    """
    mons: list[Mon] = []
    for mon_id in sorted(seen.deployments, key=id_number):
        live = seen.live.get(("Deployment", Daemon(type="mon", id=mon_id).name))
        if live is None:
            continue
        pod = live["spec"]["template"]["spec"]
        hostname = pod.get("nodeSelector", {}).get(HOSTNAME_LABEL, "")
        node = next((n for n, o in seen.nodes.items() if o.metadata.labels.get(HOSTNAME_LABEL) == hostname), "")
        address = next(
            (a.partition("=")[2] for a in pod["containers"][0].get("args", ()) if a.startswith("--public-addr=")), ""
        )
        if address:
            on_claim = any("persistentVolumeClaim" in volume for volume in pod["volumes"]) and bool(hostname)
            mons.append(Mon(mon_id, address, node or hostname, hostname, on_claim))
    noted = seen.live.get(("Secret", MON_CONFIG), {}).get("metadata", {}).get("annotations", {})
    used = [int(noted.get(MAX_ID_ANNOTATION, -1)), *map(id_number, (*seen.deployments, *claimed(seen.live)))]
    return Endpoints(tuple(mons), max(used))


def mons_before(endpoints: Endpoints, seen: MonObservation) -> str:
    """How it is known that there were mons, where no member is known; empty: the cluster is new, or has members.

    A first mon makes an empty map of OSDs. With the fsid and keys of those before, nothing tells it from theirs.
    """
    if endpoints.mons:
        return ""
    noted = f"ConfigMap {ENDPOINTS}, Secret {MON_CONFIG} or what is left of it"
    newest = [f"id {id_name(endpoints.max_id)} (by {noted})"] if endpoints.max_id >= 0 else []
    return ", ".join([*newest, *seen.remnants])
