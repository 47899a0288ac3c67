"""What kinds have in common whose objects are daemons of a cluster: file systems, object stores, NFS servers, mirrors.

That is what their pods are given, how their objects are made, and what brings about a look at them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from controller.ceph.access import users
from controller.ceph.access.health import obstacles
from controller.ceph.access.reach import answers
from controller.ceph.order import FIRST
from controller.ceph.pods import context_of
from controller.framework import children
from controller.framework.changes import budget_changed, changed, deployment_changed, pod_changed
from controller.framework.workload import Owner
from controller.runtime import in_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.apis.meta import Kind, ObjectMeta
    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.pods import Context, Release
    from controller.framework.plan import Handler
    from controller.runtime import Controller, Manager, Request
    from controller.runtime.kube import Deployment, HasMetadata, Pod, PodDisruptionBudget, Secret
    from controller.runtime.mapping import ToRequests
    from informers import Informer


class PodSpec(Protocol):
    """What a spec says of the pods of its daemons."""

    @property
    def placement(self) -> Mapping[str, Any]:
        """Where they may run, over the cluster's placement for all."""

    @property
    def resources(self) -> Mapping[str, Any]:
        """Requests and limits of a daemon."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the pods."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """Annotations of the pods."""

    @property
    def priority_class_name(self) -> str:
        """The PriorityClass of the pods."""


class Caches(Protocol):
    """The informers that daemons are observed through."""

    deployments: Informer[Deployment]
    pods: Informer[Pod]
    budgets: Informer[PodDisruptionBudget]
    secrets: Informer[Secret]

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that the daemons' objects are of."""


def context_for(
    kind: Kind, meta: ObjectMeta, spec: PodSpec, key: str, cluster: CephCluster, release: Release
) -> Context:
    """What daemons are given of their cluster, with what their object says of their pods.

    Args:
        kind: The kind of their object.
        meta: Their object's.
        spec: What that says.
        key: Under which `PodSettings` speaks of these daemons.
        cluster: Their cluster, which answers.
        release: What they run.
    """
    given = context_of(cluster, cluster.status.ceph.fsid, release)
    pods = replace(
        given.pods,
        placement={**given.pods.placement, key: spec.placement},
        resources={**given.pods.resources, key: spec.resources},
        labels={**given.pods.labels, key: spec.labels},
        annotations={**given.pods.annotations, key: spec.annotations},
        priority_class_names={**given.pods.priority_class_names, key: spec.priority_class_name},
    )
    return replace(given, owner=Owner.of(kind, meta), pods=pods)


def with_network(context: Context, host_network: bool | None) -> Context:
    """The same in the network that a spec asks for; None: in that of the cluster's daemons."""
    if host_network is None:
        return context
    return replace(context, pods=replace(context.pods, host_network=host_network))


def handlers(
    manager: Manager, caches: Caches, ceph: RadosCluster | None, context: Context | None
) -> dict[type, Handler]:
    """How daemons' objects and keys are made and removed: objects alone while there is no way to the cluster."""
    own = children.handlers(manager.applier, manager.client, caches.children)
    if ceph is not None and context is not None:
        own |= users.handlers(context.owner, manager.applier, ceph)
    return own


def depends(cluster: CephCluster) -> tuple[object, ...]:
    """What daemons depend on of their cluster."""
    status = cluster.status
    seen = obstacles(status.ceph), status.ceph.health, status.version
    return answers(cluster), cluster.metadata.generation, *seen


def watch(
    controller: Controller,
    objects: Informer[Any],
    clusters: Informer[CephCluster],
    caches: Caches,
    own: ToRequests[HasMetadata],
    depends: Callable[[CephCluster], object] = depends,
) -> None:
    """Has `controller` look again where something changed that daemons depend on.

    Args:
        controller: Of the kind.
        objects: The cache of its objects.
        clusters: The cache of CephClusters.
        caches: What daemons are observed through.
        own: The object that a daemon's Deployment, pod, budget or key is made for; nothing for any other's.
        depends: What daemons depend on of their cluster.
    """
    neighbours = in_namespace(objects)

    def concerned(obj: HasMetadata) -> Iterable[Request]:
        """Deployments of daemons that get a release first matter to an upgrade."""
        return neighbours(obj) if obj.metadata.labels.get("ceph_daemon_type") in FIRST else own(obj)

    controller.watch(clusters, neighbours, predicate=changed(depends))
    controller.watch(caches.deployments, concerned, predicate=deployment_changed)
    controller.watch(caches.pods, own, predicate=pod_changed)
    controller.watch(caches.budgets, own, predicate=budget_changed)
    controller.watch(caches.secrets, own)
