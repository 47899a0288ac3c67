"""Runs a kind whose objects are daemons that mirror: what its controller is told, and what its status shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CEPH_CLUSTER
from controller.ceph import services
from controller.ceph.access.reach import answers
from controller.ceph.mirroring import daemon_plan
from controller.framework import honoured
from controller.framework.status import Words, conditions, fields, stage_of
from controller.runtime import in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.mirroring.daemon import MirrorDaemon
    from controller.ceph.mirroring.daemon_state import Caches, DaemonObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Handler, Outcome
    from controller.runtime import Controller, Manager, Request
    from controller.runtime.kube import HasMetadata
    from informers import Informer

CLUSTERS = resource_of(CEPH_CLUSTER)
WORDS = Words(well="The daemons run", leaving="The daemons are being removed")


def handlers(
    manager: Manager, caches: Caches, ceph: RadosCluster | None, seen: DaemonObservation
) -> dict[type, Handler]:
    """How daemons are made and removed; nothing is planned but to let go while there is no way to the cluster."""
    own = services.handlers(manager, caches, ceph, seen.context)
    return own if ceph is None else own | daemon_plan.handlers(ceph)


def shown(look: Look[Any], outcome: Outcome, unserved: Sequence[str]) -> dict[str, Any]:
    """The fields of the status of daemons.

    Args:
        look: The look at their object.
        outcome: What became of its plan.
        unserved: What is set of it and not served.
    """
    stage = stage_of(look, outcome, WORDS)
    told = honoured.condition(unserved, (), look.obj.metadata.generation)
    return fields(look.obj.status, look, outcome, stage, (*conditions(stage, WORDS), told))


def watch(
    controller: Controller,
    daemon: MirrorDaemon,
    caches: Caches,
    objects: Informer[Any],
    clusters: Informer[CephCluster],
) -> None:
    """Has `controller` look again where something changed that daemons depend on."""
    neighbours, app = in_namespace(objects), daemon.daemon.app

    def ours(obj: HasMetadata) -> Iterable[Request]:
        return neighbours(obj) if obj.metadata.labels.get("app") == app else ()

    services.watch(controller, objects, clusters, caches, ours, _of_cluster)


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What daemons depend on."""
    status = cluster.status
    return cluster.metadata.generation, answers(cluster), status.ceph.fsid, status.version
