"""What there is of a Cassandra cluster: from the caches, and from the members' own answers. Nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio

from controller.apis.cassandra import (
    CASSANDRA_OPERATION,
    CASSANDRA_OPERATION_SCHEDULE,
    CassandraOperation,
    CassandraOperationSchedule,
)
from controller.cassandra.access import roles
from controller.cassandra.access.answers import AccessError, UnansweredError
from controller.cassandra.access.members import Door, Login
from controller.cassandra.cluster.rotation import Rotation
from controller.cassandra.cluster.users import Auth
from controller.cassandra.member.asked import asked_jobs
from controller.cassandra.member.encryption import ClientTls, encryption_of
from controller.cassandra.member.objects import claim_name
from controller.cassandra.member.ring import Scene, Seen, releases
from controller.cassandra.member.rollout import snapshot_jobs
from controller.cassandra.member.roster import KEY, Roster, decoded
from controller.cassandra.member.turn import ANNOTATION
from controller.cassandra.pods import (
    CLUSTER_LABEL,
    RACK_LABEL,
    admin_secret,
    authority_name,
    common_name,
    is_ours,
    prefix,
    roster_name,
    superuser_secret,
)
from controller.cassandra.releases import CassandraVersion
from controller.framework.caches import ClusterCaches
from controller.framework.children import Live, snapshot
from controller.framework.monitoring import Monitored
from controller.framework.pods import trouble, warnings, with_warnings
from controller.framework.tls import TRUSTED, read_all
from controller.framework.turns import Holder, holder
from controller.runtime import Request, resource_of
from controller.runtime.kube import (
    CONFIG_MAP,
    SERVICE_ACCOUNT,
    STATEFULSET,
    ConfigMap,
    ServiceAccount,
    StatefulSet,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from controller.apis.cassandra import CassandraCluster
    from controller.cassandra.access.answers import Job, Keyspace, Look
    from controller.cassandra.access.members import Member, Members
    from controller.framework.monitoring import Monitors
    from controller.runtime.apply import Applier
    from controller.runtime.kube import PersistentVolumeClaim, Pod, Service, StorageClass
    from informers import Informer, InformerFactory

OPERATIONS, SCHEDULES = resource_of(CASSANDRA_OPERATION), resource_of(CASSANDRA_OPERATION_SCHEDULE)
ASK_SECONDS = 10.0
"""Seconds that members have to answer; all are asked at the same time."""
AUTH_SECONDS = 300.0
"""Seconds after which it is looked at again whom members let in."""
MOST_ASKED = 32
"""Members that are asked at the same time."""


class Caches(ClusterCaches):
    """The informers that Clusters are observed through."""

    def __init__(self, factory: InformerFactory) -> None:
        super().__init__(factory, CLUSTER_LABEL)
        self.sets: Informer[StatefulSet] = self.ours(STATEFULSET, StatefulSet)
        self.accounts: Informer[ServiceAccount] = self.ours(SERVICE_ACCOUNT, ServiceAccount)
        self.config_maps: Informer[ConfigMap] = self.ours(CONFIG_MAP, ConfigMap)
        # Whoever has not these kinds in their API server still has Clusters.
        self.operations: Informer[CassandraOperation] = factory.informer(OPERATIONS, CassandraOperation, optional=True)
        self.schedules: Informer[CassandraOperationSchedule] = factory.informer(
            SCHEDULES, CassandraOperationSchedule, optional=True
        )

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that a cluster's children are of."""
        return self.sets, self.services, self.budgets, self.accounts, self.config_maps, self.secrets


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a member serves CQL: its IP address, whom to trust (empty: no TLS), and the name in its certificate."""

    host: str
    ca: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What there is of a cluster.

    Attributes:
        live: The objects of its namespace.
        roster: Who belongs to the ring; None: nobody ever did.
        roster_problem: Why the roster cannot be read; empty: it can, or there is none.
        turn: The Operation that has the turn to act on the ring; None: there is none.
        operations: The Operations on the cluster; schedules: the OperationSchedules that make such.
        scene: What was found of its members.
        pods: Those of members, by name.
        claims: Those of members, by the member's name.
        services: Those that members have their addresses by, by the member's name.
        classes: StorageClasses, by name.
        admin: What members' programs let the operator in by; None: there is no such Secret.
        superuser: What members let the operator in by for CQL; None: there is no such Secret.
        auth: Whether they do.
        rotation: How far rotations of it are.
        trusted: The authorities that sign the members' certificates, as PEM; empty: there are none.
        shown: The DNS name that those have in common.
        monitors: What there is of PodMonitors.
    """

    live: Live = field(default_factory=dict, repr=False)
    roster: Roster | None = None
    roster_problem: str = ""
    turn: Holder | None = None
    operations: tuple[CassandraOperation, ...] = ()
    schedules: tuple[CassandraOperationSchedule, ...] = ()
    scene: Scene = field(default_factory=lambda: Scene(now=0.0))
    pods: Mapping[str, Pod] = field(default_factory=dict)
    claims: Mapping[str, PersistentVolumeClaim] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    classes: Mapping[str, StorageClass] = field(default_factory=dict)
    admin: Login | None = None
    superuser: Login | None = None
    auth: Auth = field(default_factory=Auth)
    rotation: Rotation = field(default_factory=Rotation)
    trusted: str = ""
    shown: str = ""
    monitors: Monitored = field(default_factory=Monitored)

    @property
    def addresses(self) -> Mapping[str, str]:
        """Those of members, by name."""
        return {name: service.spec.cluster_ip for name, service in self.services.items()}

    def door(self, name: str) -> Door | None:
        """How to reach a member's program; None where there is no way."""
        pod = self.pods.get(name)
        if pod is None or not pod.status.pod_ip or self.admin is None:
            return None
        if encryption_of(pod.metadata.annotations).is_on:
            return Door(pod.status.pod_ip, self.admin, ca=self.trusted, name=self.shown)
        return Door(pod.status.pod_ip, self.admin)

    def reach(self, name: str) -> Reach | None:
        """How to reach a member for CQL; None where there is no way."""
        pod = self.pods.get(name)
        if pod is None or not pod.status.pod_ip:
            return None
        if encryption_of(pod.metadata.annotations).client is not ClientTls.OFF:
            return Reach(pod.status.pod_ip, self.trusted, self.shown)
        return Reach(pod.status.pod_ip)


class Observer:
    """Observes Clusters.

    Args:
        caches: What the API server has.
        members: How members are reached.
        applier: Applies what is wanted of the clusters' objects.
        monitors: What there is of PodMonitors; None: nobody needs to know.
    """

    def __init__(self, caches: Caches, members: Members, applier: Applier, monitors: Monitors | None = None) -> None:
        self._caches = caches
        self._monitors = monitors
        self._members = members
        self._applier = applier
        self._auth: dict[str, tuple[float, Login | None, Auth]] = {}

    def forget(self, request: Request) -> None:
        """Forgets what is remembered of a cluster that is gone."""
        self._auth.pop(str(request), None)

    async def observe(self, cluster: CassandraCluster, now: float) -> Observation:
        """What there is of `cluster` at `now`, in seconds since the epoch."""
        live = await snapshot(self._caches.children, cluster.metadata.namespace, self._applier)
        seen = replace(await self.ring(cluster, now), live=live)
        if seen.roster is not None and seen.roster.authentication and seen.roster.founded:
            request = Request(cluster.metadata.namespace, cluster.metadata.name)
            seen = replace(seen, auth=await self._let_in(request, seen, now))
        return seen

    async def ring(self, cluster: CassandraCluster, now: float) -> Observation:
        """What there is of the ring alone: who belongs to it, and what members answer."""
        namespace, name = cluster.metadata.namespace, cluster.metadata.name
        roster, problem, turn = self._roster(cluster)
        warned = warnings([event async for event in self._caches.events.walk(namespace)])
        ours = [pod for pod in self._caches.pods.list(namespace) if is_ours(pod.metadata.labels, name)]
        pods = {pod.metadata.name: pod for pod in with_warnings(ours, warned)}
        claims = self._claims(cluster)
        services = {service.metadata.name: service for service in self._caches.services.list(namespace)}
        seen = Observation(
            roster=roster,
            roster_problem=problem,
            turn=turn,
            operations=tuple(o for o in self._caches.operations.list(namespace) if o.spec.cluster == name),
            schedules=tuple(s for s in self._caches.schedules.list(namespace) if s.spec.operation.cluster == name),
            pods=pods,
            claims=claims,
            classes={found.metadata.name: found for found in self._caches.classes.list()},
            services={name: s for name, s in services.items() if s.spec.cluster_ip not in ("", "None")},
            admin=self._login(namespace, admin_secret(cluster)),
            superuser=self._login(namespace, superuser_secret(cluster)),
            rotation=self._rotation(namespace, superuser_secret(cluster)),
            trusted=self._trusted(namespace, authority_name(cluster)),
            shown=common_name(cluster),
            monitors=await self._monitored(cluster),
        )
        return await self._asked(seen, cluster.spec.version, now)

    async def _let_in(self, request: Request, seen: Observation, now: float) -> Auth:
        """Whom members let in; asked again now and then, and as long as not all is as it should be."""
        since, login, known = self._auth.get(str(request), (0.0, None, Auth()))
        if known.is_settled and login == seen.superuser and now < since + AUTH_SECONDS:
            return known
        reach = next((seen.reach(name) for name in seen.pods if seen.scene.of(name).serves), None)
        if reach is None:
            return Auth()
        superuser = await self._lets_in(reach, seen.superuser) if seen.superuser is not None else None
        auth = Auth(superuser, await self._lets_in(reach, roles.DEFAULT))
        self._auth[str(request)] = now, seen.superuser, auth
        return auth

    async def _lets_in(self, reach: Reach, login: Login) -> bool | None:
        with anyio.move_on_after(ASK_SECONDS):
            try:
                return await roles.is_let_in(self._members, reach.host, login, ca=reach.ca, name=reach.name)
            except UnansweredError:
                return None
        return None

    async def _asked(self, seen: Observation, version: str, now: float) -> Observation:
        """The observation with what members answer."""
        looks, troubles = await self._looks(seen)
        roster = seen.roster
        names = {*seen.pods, *seen.claims, *seen.services, *(roster.seats if roster is not None else ())}
        found = {
            name: Seen(
                address=seen.services[name].spec.cluster_ip if name in seen.services else "",
                look=looks.get(name),
                trouble=troubles.get(name, ""),
                pod=seen.pods[name].metadata.uid if name in seen.pods else "",
                claim=seen.claims[name].metadata.uid if name in seen.claims else "",
                service=seen.services[name].metadata.uid if name in seen.services else "",
            )
            for name in names
        }
        seats = roster.seats if roster is not None else {}
        strangers = {name: claim.metadata.uid for name, claim in seen.claims.items() if name not in seats}
        scene = Scene(now=now, seen=found, strangers=strangers)
        if roster is not None:
            keyspaces = await self._keyspaces(seen, scene)
            uids = {name: pod.metadata.uid for name, pod in seen.pods.items()}
            wanted = asked_jobs(roster, uids, keyspaces or ())
            run = {CassandraVersion.parse(found) for found in releases(roster, scene)}
            if run - {CassandraVersion.parse(version)}:
                wanted |= snapshot_jobs(roster, version)
            jobs = await self.jobs(seen, wanted)
            scene = replace(scene, keyspaces=keyspaces, jobs=jobs)
        return replace(seen, scene=scene)

    def _roster(self, cluster: CassandraCluster) -> tuple[Roster | None, str, Holder | None]:
        """The roster, or why it cannot be read, and who has the turn to act on the ring."""
        found = self._caches.config_maps.get(cluster.metadata.namespace, roster_name(cluster))
        if found is None:
            return None, "", None
        turn = holder(found.metadata.annotations, ANNOTATION)
        try:
            return decoded(found.data.get(KEY, "")), "", turn
        except ValueError as error:
            return None, f"ConfigMap {found.metadata.name}: {error}", turn

    def _claims(self, cluster: CassandraCluster) -> dict[str, PersistentVolumeClaim]:
        """The claims of members by the member's name, which theirs ends in."""
        templates = {rack.name: claim_name(rack, "") for rack in cluster.spec.datacenter.racks}
        found: dict[str, PersistentVolumeClaim] = {}
        for claim in self._caches.claims.list(cluster.metadata.namespace):
            meta = claim.metadata
            member = meta.name.removeprefix(templates.get(meta.labels.get(RACK_LABEL, ""), ""))
            if is_ours(meta.labels, cluster.metadata.name) and member.startswith(f"{prefix(cluster)}-"):
                found[member] = claim
        return found

    def _login(self, namespace: str, name: str) -> Login | None:
        found = self._caches.secrets.get(namespace, name)
        if found is None or not {"username", "password"} <= found.data.keys():
            return None
        return Login(found.data["username"].decode(), found.data["password"].decode())

    def _rotation(self, namespace: str, name: str) -> Rotation:
        found = self._caches.secrets.get(namespace, name)
        if found is None:
            return Rotation()
        return Rotation.of(found.metadata.annotations, found.metadata.resource_version)

    async def _monitored(self, cluster: CassandraCluster) -> Monitored:
        if self._monitors is None:
            return Monitored()
        selector = f"{CLUSTER_LABEL}={cluster.metadata.name}"
        return await self._monitors.observe(
            cluster.metadata.namespace, selector, wanted=cluster.spec.monitoring.enabled
        )

    def _trusted(self, namespace: str, name: str) -> str:
        """The authorities of a Secret; none where one cannot be read."""
        found = self._caches.secrets.get(namespace, name)
        pem = found.data.get(TRUSTED, b"") if found is not None else b""
        try:
            return pem.decode("ascii") if read_all(pem) else ""
        except ValueError:
            return ""

    async def _looks(self, seen: Observation) -> tuple[dict[str, Look], dict[str, str]]:
        looks: dict[str, Look] = {}
        troubles = {name: trouble([pod]) or "its pod has no address yet" for name, pod in seen.pods.items()}
        seats = seen.roster.seats if seen.roster is not None else {}
        troubles |= {name: "it has no pod" for name in seats if name not in seen.pods}

        async def look(name: str, member: Member) -> None:
            looks[name] = await member.look()

        failed = await self._each(seen, seen.pods, look)
        return looks, {**troubles, **{name: trouble([seen.pods[name]]) or text for name, text in failed.items()}}

    async def _keyspaces(self, seen: Observation, scene: Scene) -> tuple[Keyspace, ...] | None:
        serving = next((name for name, member in scene.seen.items() if member.serves), None)
        found: list[tuple[Keyspace, ...]] = []

        async def ask(_: str, member: Member) -> None:
            found.append(await member.keyspaces())

        if serving is not None:
            await self._each(seen, [serving], ask)
        return found[0] if found else None

    async def jobs(self, seen: Observation, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Job | None]:
        """What members say of jobs, by member and ID: None where they know of none. Who does not answer is missing."""
        jobs: dict[tuple[str, str], Job | None] = {}

        async def ask(name: str, member: Member) -> None:
            for job_id in sorted(job_id for member_name, job_id in wanted if member_name == name):
                jobs[name, job_id] = await member.job(job_id)

        await self._each(seen, sorted({name for name, _ in wanted}), ask)
        return jobs

    async def _each(
        self, seen: Observation, names: Mapping[str, Any] | list[str], ask: Callable[[str, Member], Awaitable[None]]
    ) -> dict[str, str]:
        """Asks members at the same time, and returns why those did not answer that did not."""
        failed: dict[str, str] = {}
        places = anyio.CapacityLimiter(MOST_ASKED)

        async def one(name: str, door: Door) -> None:
            async with places:
                failed[name] = f"no answer within {ASK_SECONDS:g} s"
                with anyio.move_on_after(ASK_SECONDS):
                    try:
                        await ask(name, self._members.member(door))
                    except AccessError as error:
                        failed[name] = str(error)
                    else:
                        del failed[name]

        async with anyio.create_task_group() as tasks:
            for name in names:
                door = seen.door(name)
                if door is not None:
                    tasks.start_soon(one, name, door)
        return failed
