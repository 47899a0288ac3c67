"""What can be done to a range of a NetworkFence, and how: what is asked for, and who else asks for it, is read anew.

Clients that are known to be in a range are shut out by themselves, too, and for good. So when the range is let in
again, new clients come in from it, and those that were cut off do not: what these have not written yet may be older
than what others have written since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from controller.apis.rook.node_report import NodeReport
from controller.ceph.access import blocklist
from controller.ceph.access.rados import CephError
from controller.ceph.networkfence import daemons
from controller.ceph.networkfence.kinds import FENCES, UNFENCED, NetworkFence
from controller.ceph.networkfence.observe import made_by, ranges_of, too_old, wants
from controller.ceph.networkfence.record import ANNOTATION, Entry, Record, record_of
from controller.framework.consent import NoConsentError, read_same
from controller.framework.plan import UnderWayError
from controller.framework.reports import REPORTS
from controller.framework.text import some
from controller.volumes.clients import clients_of
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from controller.ceph.access.blocklist import Blocklist
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.networkfence.observe import FenceObservation, Resolver
    from controller.framework.plan import Handler
    from informers import Client

log = structlog.get_logger(__name__)

MAX_NAMED = 5
"""NetworkFences that are named."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Shut a range out, and put it on the record; one that another NetworkFence has shut out just on the record."""

    range: str


@dataclass(frozen=True, slots=True)
class Lift:
    """Let a range in again that is on the record and no other NetworkFence's, and take it off the record."""

    range: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Carries out what is planned for NetworkFences, one at a time.

    Attributes:
        client: Asks the API server.
        connections: Ways to the clusters.
        resolver: Tells in which cluster NetworkFences are.
        home: The operator's own namespace, where the agents' reports are.
        sessions: The clients of a cluster's file systems, as far as they can be known now.
        clock: Seconds since the epoch.
    """

    client: Client
    connections: Connections
    resolver: Resolver
    home: str
    sessions: Callable[[RadosCluster], Awaitable[frozenset[str]]]
    clock: Callable[[], float]

    def handlers(self, fence: NetworkFence, seen: FenceObservation) -> Mapping[type, Handler]:
        """How the actions are carried out."""

        async def shut(action: Fence) -> None:
            await self._fence(fence, seen.namespace, action.range)

        async def lift(action: Lift) -> None:
            await self._lift(fence, seen.namespace, action.range)

        return {Fence: shut, Lift: lift}

    async def _fence(self, fence: NetworkFence, namespace: str, range_: str) -> None:
        cluster, fresh = self._cluster(namespace), await self._fresh(fence)
        if self.resolver.namespace(fresh) != namespace or not self._wants(fresh, range_):
            raise NoConsentError(f"{range_} is not to be fenced any more: it is not")
        found = await blocklist.read(cluster)
        record = _of_cluster(record_of(fresh), fresh, namespace, cluster)
        if range_ in found.ranges:
            others = await self._others(fresh)
            if any(range_ in made_by(record_of(other), cluster.access.fsid, found) for other in others):
                await self._write(fresh, record.with_range(range_, Entry(until=found.ranges[range_])))
            return
        if old := await too_old(cluster):
            raise CephError(0, f"{range_} is not fenced: it takes {old}")
        if names := daemons.inside(range_, await daemons.places(cluster)):
            raise NoConsentError(f"{names} is in {range_} by now: it is not fenced")
        # First, as an MDS daemon forgets the clients that it evicts for the range.
        await self._shut_out(cluster, range_, found, await self.sessions(cluster))
        entry = Entry(begun=self.clock())
        fresh = await self._write(fresh, record.with_range(range_, entry))
        await blocklist.add_range(cluster, range_)
        until = (await blocklist.read(cluster)).ranges.get(range_)
        if until is not None:
            entry = msgspec.structs.replace(entry, until=until)
            await self._write(fresh, record.with_range(range_, entry))

    async def _lift(self, fence: NetworkFence, namespace: str, range_: str) -> None:
        cluster, fresh = self._cluster(namespace), await self._fresh(fence)
        leaving = fresh.metadata.deletion_timestamp is not None
        if self._wants(fresh, range_) or (leaving and fresh.spec.fence_state != UNFENCED):
            raise NoConsentError(f"{range_} is to be fenced by now: it stays so")
        found, record = await blocklist.read(cluster), record_of(fresh)
        if range_ in made_by(record, cluster.access.fsid, found) and not await self._is_kept(
            fresh, namespace, range_, found, cluster
        ):
            await self._shut_out(cluster, range_, found, frozenset())
            await blocklist.remove_range(cluster, range_)
        await self._write(fresh, record.without(range_))

    async def _is_kept(
        self, fence: NetworkFence, namespace: str, range_: str, found: Blocklist, cluster: RadosCluster
    ) -> bool:
        """Whether another NetworkFence has the range on its record.

        Raises:
            UnderWayError: One wants it that is yet to put it there.
        """
        others = await self._others(fence)
        if any(range_ in made_by(record_of(other), cluster.access.fsid, found) for other in others):
            return True
        waiting = [
            other.metadata.name
            for other in others
            if self.resolver.namespace(other) == namespace and self._wants(other, range_)
        ]
        if waiting:
            raise UnderWayError(f"NetworkFence {some(waiting, MAX_NAMED)} to take it over")
        return False

    async def _shut_out(self, cluster: RadosCluster, range_: str, found: Blocklist, sessions: frozenset[str]) -> None:
        reports = msgspec.convert(await self.client.list(REPORTS, self.home), list[NodeReport])
        known = sessions.union(*(clients_of(report) for report in reports))
        for client in sorted(blocklist.clients_within(range_, known) - found.clients):
            await blocklist.add_client(cluster, client)
            log.info("Client is shut out", client=client, range=range_)

    def _wants(self, fence: NetworkFence, range_: str) -> bool:
        return wants(fence) and not self.resolver.problem(fence) and range_ in ranges_of(fence)

    def _cluster(self, namespace: str) -> RadosCluster:
        cluster = self.connections.get(namespace)
        if cluster is None:
            raise UnderWayError(f"the CephCluster in namespace {namespace} to be reached")
        return cluster

    async def _fresh(self, fence: NetworkFence) -> NetworkFence:
        return msgspec.convert(await read_same(self.client, FENCES, fence), NetworkFence)

    async def _others(self, fence: NetworkFence) -> list[NetworkFence]:
        found = msgspec.convert(await self.client.list(FENCES), list[NetworkFence])
        return [other for other in found if other.metadata.uid != fence.metadata.uid]

    async def _write(self, fence: NetworkFence, record: Record) -> NetworkFence:
        """The NetworkFence with this record. It is refused where the object was changed since it was read."""
        meta = fence.metadata
        metadata = {"resourceVersion": meta.resource_version, "annotations": {ANNOTATION: record.text()}}
        written = await self.client.patch(FENCES, "", meta.name, {"metadata": metadata}, content_type=MERGE_PATCH)
        return msgspec.convert(written, NetworkFence)


def _of_cluster(record: Record, fence: NetworkFence, namespace: str, cluster: RadosCluster) -> Record:
    """The record; an empty one where it is of another cluster, whose blocklist is no matter here."""
    fsid = cluster.access.fsid
    return record if record.fsid == fsid else Record(uid=fence.metadata.uid, namespace=namespace, fsid=fsid)
