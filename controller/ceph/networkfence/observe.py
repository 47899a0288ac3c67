"""What of a NetworkFence's ranges is on the blocklist, who put it there, and which daemons are in the others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access import blocklist
from controller.ceph.access.rados import CephError
from controller.ceph.networkfence import daemons
from controller.ceph.networkfence.kinds import FENCED, UNFENCED, FenceClassSpec
from controller.ceph.networkfence.record import Record, record_of
from controller.ceph.releases import CephVersion
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from controller.ceph.access.blocklist import Blocklist
    from controller.ceph.access.rados import Cluster, Connections, RadosCluster
    from controller.ceph.networkfence.kinds import NetworkFence, NetworkFenceClass
    from informers import Informer

log = structlog.get_logger(__name__)

CLUSTER_ID = "clusterID"
_PREFIX = "csiaddons.openshift.io/"
"""What parameters of a class begin with that name Secrets, which are not needed."""
_LEAST = 17
"""The first major release of Ceph that knows ranges. One before it takes a range's bits for a client's nonce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceObservation:
    """What `analyze` decides by.

    Attributes:
        problem: What of the spec cannot be, in words; nothing is added then.
        waits_for: What has to happen before the cluster can be asked; nothing is known of the ranges then.
        gone: Whether the cluster is gone, and the blocklist with it.
        namespace: Where the CephCluster is.
        wanted: The ranges that are to be fenced.
        named: The ranges of the spec.
        present: The ranges that are on the blocklist.
        recorded: The ranges that this object has on its record.
        owned: Those of `present` that it has put there.
        others: Those of `present` that no NetworkFence has put there.
        shared: Those of `present` that other NetworkFences have put there, too, with the names of these.
        inside: The daemons in ranges that are wanted, and not on the blocklist, in words.
    """

    problem: str = ""
    waits_for: str = ""
    gone: bool = False
    namespace: str = ""
    wanted: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()
    recorded: tuple[str, ...] = ()
    owned: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    inside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Tells by which driver a NetworkFence is fenced, and in which cluster.

    Attributes:
        classes: The cache of NetworkFenceClasses.
        namespace_of: The Kubernetes namespace of the cluster that a clusterID stands for.
    """

    classes: Informer[NetworkFenceClass]
    namespace_of: Callable[[str], str]

    def way(self, fence: NetworkFence) -> FenceClassSpec | None:
        """Its class's driver and parameters, or its own where it names none; None: there is no such class."""
        spec = fence.spec
        if not spec.network_fence_class_name:
            return FenceClassSpec(provisioner=spec.driver, parameters=spec.parameters)
        found = self.classes.get("", spec.network_fence_class_name)
        if found is None:
            return None
        return FenceClassSpec(
            provisioner=found.spec.provisioner, parameters={**spec.parameters, **found.spec.parameters}
        )

    def namespace(self, fence: NetworkFence) -> str:
        """Where the CephCluster is whose clients it is to fence; empty: it does not say."""
        way = self.way(fence)
        return self.namespace_of(way.parameters.get(CLUSTER_ID, "")) if way is not None else ""

    def problem(self, fence: NetworkFence) -> str:
        """What of its spec cannot be, in words; empty: nothing."""
        spec, way = fence.spec, self.way(fence)
        if way is None:
            return f"NetworkFenceClass {spec.network_fence_class_name} (networkFenceClassName) does not exist"
        whose = f"NetworkFenceClass {spec.network_fence_class_name}" if spec.network_fence_class_name else "spec"
        if not way.parameters.get(CLUSTER_ID):
            return f"{whose} has no parameter {CLUSTER_ID}: expected the namespace of a CephCluster"
        unknown = sorted(key for key in way.parameters if key != CLUSTER_ID and not key.startswith(_PREFIX))
        if unknown:
            return f"{whose} has parameters that are not served: {', '.join(unknown)}"
        if spec.fence_state not in (FENCED, UNFENCED):
            return f"fenceState is {spec.fence_state!r}: expected {FENCED} or {UNFENCED}"
        if not spec.cidrs:
            return "cidrs is empty: expected at least one range of addresses"
        for at, cidr in enumerate(spec.cidrs):
            try:
                blocklist.range_of(cidr)
            except ValueError as error:
                return f"cidrs[{at}]: {error}"
        return ""


@dataclass(frozen=True, slots=True)
class Observer:
    """Observes NetworkFences.

    Attributes:
        fences: The cache of NetworkFences.
        resolver: Tells in which cluster they are.
        has_cluster: Whether there is a CephCluster in a namespace that is served.
        connections: Ways to the clusters.
    """

    fences: Informer[NetworkFence]
    resolver: Resolver
    has_cluster: Callable[[str], bool]
    connections: Connections

    async def observe(self, fence: NetworkFence, _: float) -> FenceObservation:
        """What there is, or why it cannot be looked at."""
        record = record_of(fence)
        seen = _asked(fence, record, self.resolver)
        if not seen.namespace:
            return seen
        if not self.has_cluster(seen.namespace):
            why = f"there is no CephCluster in namespace {seen.namespace!r} ({CLUSTER_ID})"
            return replace(seen, gone=True, problem=seen.problem or why)
        cluster = self.connections.get(seen.namespace)
        if cluster is None:
            return replace(seen, waits_for=f"the CephCluster in namespace {seen.namespace} to be reached")
        try:
            return await _look(seen, record, cluster, (f for f in self.fences.list() if f is not fence))
        except CephError as error:
            log.info("Blocklist cannot be looked at", name=fence.metadata.name, error=str(error))
            return replace(seen, waits_for=f"Ceph: {brief(error)}")


def ranges_of(fence: NetworkFence) -> tuple[str, ...]:
    """The ranges of a spec that has no problem, each once."""
    return tuple(dict.fromkeys(blocklist.range_of(cidr) for cidr in fence.spec.cidrs))


def wants(fence: NetworkFence) -> bool:
    """Whether its ranges are to be fenced. One that is being deleted keeps what it has, and adds nothing."""
    return fence.spec.fence_state == FENCED and fence.metadata.deletion_timestamp is None


async def too_old(cluster: Cluster) -> str:
    """The oldest version that runs, if that does not know ranges, in words; empty: all daemons know them.

    Raises:
        CephError: The mons do not answer in time.
    """
    running = (await cluster.mon("versions")).get("overall", {})
    oldest = min((CephVersion.parse(text) for text in running), default=None)
    return f"Ceph {_LEAST} or later: daemons run {oldest}" if oldest is not None and oldest.major < _LEAST else ""


def _asked(fence: NetworkFence, record: Record, resolver: Resolver) -> FenceObservation:
    problem = resolver.problem(fence)
    resolved = resolver.namespace(fence)
    if not problem and wants(fence) and record.namespace and record.namespace != resolved:
        problem = (
            f"{CLUSTER_ID} is of namespace {resolved}, but its ranges are fenced in {record.namespace}: set fenceState "
            f"to {UNFENCED} first"
        )
    named = ranges_of(fence) if not problem else ()
    return FenceObservation(
        problem=problem,
        namespace=record.namespace or resolved,
        wanted=named if wants(fence) else (),
        named=named,
        recorded=tuple(record.ranges),
    )


async def _look(
    seen: FenceObservation, record: Record, cluster: RadosCluster, beside: Iterable[NetworkFence]
) -> FenceObservation:
    found = await blocklist.read(cluster)
    fsid = cluster.access.fsid
    owned = made_by(record, fsid, found)
    shared: dict[str, tuple[str, ...]] = {}
    for other in beside:
        for range_ in made_by(record_of(other), fsid, found):
            shared[range_] = (*shared.get(range_, ()), other.metadata.name)
    missing = [range_ for range_ in seen.wanted if range_ not in found.ranges]
    inside: dict[str, str] = {}
    if missing:
        old = await too_old(cluster)
        if old:
            return replace(seen, waits_for=old)
        known = await daemons.places(cluster)
        inside = {range_: names for range_ in missing if (names := daemons.inside(range_, known))}
    present = frozenset(found.ranges)
    return replace(
        seen,
        present=present,
        owned=owned,
        others=present - owned - frozenset(shared),
        shared=shared,
        inside=inside,
        recorded=seen.recorded if record.fsid == fsid else (),
    )


def made_by(record: Record, fsid: str, found: Blocklist) -> frozenset[str]:
    """The ranges on a cluster's blocklist that are of a record."""
    return record.made(found.ranges) if record.fsid == fsid else frozenset()
