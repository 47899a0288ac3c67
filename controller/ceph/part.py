"""The parts of a CephCluster: mons, mgrs, settings, OSDs, users and whatever comes; each has a room of its own.

`cluster/kind.py` has them in their order. It knows nothing of what is in them: a part observes, analyzes and acts by
itself, on the ground that all of them share. A new part is a `Part`, made in its room, and a line in that order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.apis.meta import Condition
from controller.ceph.access.mons import Endpoints, MonState
from controller.ceph.releases import Upgrade
from controller.framework.children import Apply, Live, is_held

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster, CephClusterSpec
    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.access.health import Health
    from controller.ceph.access.identity import Identity
    from controller.ceph.access.rados import Cluster
    from controller.ceph.pods import Context, Release
    from controller.framework.plan import Handler, Step
    from controller.runtime.kube import Deployment, Job, Node, Pod, StorageClass
    from informers import JsonObject, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What there is of a cluster that more than one of its parts goes by.

    Attributes:
        cluster: The cluster, with the network that its mons have.
        now: Seconds since the epoch.
        live: The objects of its namespace.
        pods: The pods in its namespace that belong to it.
        warnings: What events tell of objects there that something failed with, by uid.
        jobs: The Jobs there, by name.
        deployments: The Deployments there.
        nodes: Every node, by name.
        reports: What agents reported of devices, by node.
        classes: The StorageClasses, by name.
        identity: Its fsid and keys; None while there are none.
        endpoints: Its mons; None while nobody knows of any.
        quorum: What the mons say of themselves; None while they do not answer.
        ceph: The way to it; None while the mons do not answer.
        mgr: What the mons say of the mgrs, as `mgr dump`; None while they do not answer.
        health: What Ceph says of its health; None while the mons do not answer.
        upgrade: What its daemons run, and what they should run.
        remnants: What only a cluster that has had mons leaves, in words.
        occupied: The nodes that no new mon may be on for a mon of another cluster there, and why.
    """

    cluster: CephCluster
    now: float
    live: Live = field(default_factory=dict, repr=False)
    pods: tuple[Pod, ...] = ()
    warnings: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    deployments: Sequence[Deployment] = ()
    nodes: Mapping[str, Node] = field(default_factory=dict)
    reports: Mapping[str, tuple[BlockDevice, ...]] = field(default_factory=dict)
    classes: Mapping[str, StorageClass] = field(default_factory=dict)
    identity: Identity | None = None
    endpoints: Endpoints | None = None
    quorum: MonState | None = None
    ceph: Cluster | None = None
    mgr: Mapping[str, Any] | None = field(default=None, repr=False)
    health: Health | None = None
    upgrade: Upgrade = field(default_factory=Upgrade)
    remnants: tuple[str, ...] = ()
    occupied: Mapping[str, str] = field(default_factory=dict)

    @property
    def release(self) -> Release | None:
        """What its daemons should run; None while that is not known."""
        return self.upgrade.target

    def pods_of(self, app: str) -> dict[str, tuple[Pod, ...]]:
        """The pods of daemons, by the daemon's id."""
        found: dict[str, tuple[Pod, ...]] = {}
        for pod in self.pods:
            labels = pod.metadata.labels
            if labels.get("app") == app:
                daemon_id = labels.get("ceph_daemon_id", "")
                found[daemon_id] = (*found.get(daemon_id, ()), pod)
        return found

    def daemons(self, app: str) -> dict[str, Deployment]:
        """Daemons' Deployments by id; not one that somebody made beside a daemon's, with its labels, to work on it."""
        ids = (
            (found, found.metadata.labels.get("ceph_daemon_id", ""))
            for found in self.deployments
            if found.metadata.labels.get("app") == app
        )
        return {daemon_id: found for found, daemon_id in ids if found.metadata.name == f"{app}-{daemon_id}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a part adds to the status of its cluster.

    Attributes:
        fields: Fields of the status, by name.
        conditions: Conditions; when they changed is not theirs to say.
        timers: Since when facts of the part's own topics have been true; see `controller.framework.timers`.
        beside: What is told of a cluster that is as its spec wants it all the same; empty: nothing.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    timers: Mapping[str, str] = field(default_factory=dict)
    beside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part[S]:
    """A part, as its cluster runs it.

    Attributes:
        name: The part's, among the others.
        apps: Values of the label `app` of its objects: by these, changes wake the cluster.
        observe: Takes together what there is of it. Changes nothing.
        analyze: What is to be done for it; `hold` is what has to happen before a daemon that runs is restarted, empty:
            nothing. Pure. Called once the cluster has an identity and a release.
        handlers: What carries out each action that it may have planned.
        invalid: Values of the spec that the API server takes and that mean nothing: the path, what was found, and what
            counts instead. Empty ones do not count.
        ignored: Paths of the spec that are set and have no effect beside others that are set.
        look_again: Seconds after which it has to be looked at again though no event came; None: only after one.
        late: What daemons of the parts after it have to wait for before they are restarted, by the steps that were
            planned for it; empty: nothing.
        report: What it adds to the status. Pure.
        remnants: What it leaves that only a cluster that has had mons leaves, in words.
        holders: Those of `apps` whose Deployments tell on which node their data is.
        nodes: The nodes that may hold data of it.
        keys: The objects by which its data could be used again.
        forget: Told of namespaces whose cluster is gone.
    """

    name: str
    apps: frozenset[str]
    observe: Callable[[Ground], Awaitable[S]]
    analyze: Callable[[Ground, Context, S, str], Iterable[Step]]
    handlers: Callable[[Ground, S], Mapping[type, Handler]]
    invalid: Callable[[CephClusterSpec], Iterable[str]] = lambda _: ()
    ignored: Callable[[CephClusterSpec], Iterable[str]] = lambda _: ()
    look_again: Callable[[S], float | None] = lambda _: None
    late: Callable[[Ground, S, Sequence[Step]], str] = lambda _ground, _seen, _steps: ""
    report: Callable[[Ground, S], Report] = lambda _ground, _seen: Report()
    remnants: Callable[[Ground], Iterable[str]] = lambda _: ()
    holders: frozenset[str] = frozenset()
    nodes: Callable[[Ground, S], Iterable[str]] = lambda _ground, _seen: ()
    keys: Callable[[Ground], Iterable[tuple[Resource, JsonObject]]] = lambda _: ()
    forget: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What there is of a cluster.

    Attributes:
        ground: What more than one part goes by.
        parts: Each part with what there is of it, in their order.
        identity_problem: Why the identity cannot be read; empty when it can, or when there is none.
        probing: What finds out which release the image holds.
        dependents: What has to go before the cluster may, in words.
        others: What the spec has otherwise than the cluster can have it, in words.
    """

    ground: Ground
    parts: tuple[tuple[Part[Any], Any], ...]
    identity_problem: str = ""
    probing: tuple[Step, ...] = ()
    dependents: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def not_restarted(
    kind: str, deployments: Mapping[str, Deployment], image: str, live: Live, steps: Iterable[Step]
) -> str:
    """Of daemons that are restarted after each other, the first that is not restarted yet, as others wait for it.

    Args:
        kind: "mon" or "mgr".
        deployments: Theirs, by id.
        image: What they should run.
        live: The objects of the cluster's namespace.
        steps: The plan for them.
    """
    to_apply = {s.action.obj["metadata"]["name"] for s in steps if isinstance(s.action, Apply)}

    def is_late(found: Deployment) -> bool:
        name = found.metadata.name
        if not found.rolled_out:
            return True
        # Where something puts another image in what is applied, that is as far as it comes.
        as_far_as_it_comes = is_held(live, ("Deployment", name)) and name not in to_apply
        return not as_far_as_it_comes and any(c.image != image for c in found.spec.template.spec.containers)

    late = sorted(daemon_id for daemon_id, found in deployments.items() if is_late(found))
    return f"{kind} {late[0]} to be restarted" if late else ""
