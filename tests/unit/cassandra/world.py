"""A world for Cassandra clusters: StatefulSets that make pods, volumes, and members that follow Cassandra's rules.

The rules are those by which data are lost where an operator does not know them: who is its own seed joins without data
or makes a second ring; two members never move at once; a member that is killed while it leaves is a member again, and
one that is killed just after comes back; who has left says so for good, and its process does not end.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from controller.cassandra.access.answers import (
    Bootstrap,
    Decommission,
    Job,
    JobState,
    Keyspace,
    Look,
    Mode,
    Phase,
    RefusedError,
    RemoveNode,
    Report,
    Ring,
    Snapshot,
    State,
    UnansweredError,
)
from controller.cassandra.member.pod.start import LeftError, judge
from controller.cassandra.member.pod.start import RefusedError as NotStartedError
from controller.runtime.kube import CONFIG_MAP, POD, PVC, SERVICE, STATEFULSET
from tests.unit.cassandra.clock import seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from controller.cassandra.access.answers import Command
    from controller.cassandra.access.members import Door, Login
    from informers import JsonObject, Resource

    class Server(Protocol):
        """As much of an API server as a world needs."""

        def list(self, resource: Resource, namespace: str = "") -> list[JsonObject]: ...
        def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None: ...
        def create(self, resource: Resource, obj: JsonObject) -> JsonObject: ...
        def patch(
            self, resource: Resource, namespace: str, name: str, patch: JsonObject, *, subresource: str = ""
        ) -> JsonObject: ...
        def delete(self, resource: Resource, namespace: str, name: str, *, grace: int | None = None) -> JsonObject: ...


NAMESPACE = "db"
KEYS = range(40)
"""Rows, each with as many copies as its keyspace says."""


@dataclass
class Volume:
    host_id: str = ""
    bootstrapped: bool = False
    left: bool = False
    cluster: str = ""
    written: bool = False

    @property
    def mark(self) -> dict[str, Any]:
        if not (self.bootstrapped or self.left):
            return {}
        return {"clusterName": self.cluster, "hostId": self.host_id, "left": self.left}


@dataclass
class Process:
    """A member's pod and what runs in it."""

    name: str
    uid: str
    ip: str
    volume: Volume
    version: str
    address: str = ""
    phase: Phase = Phase.WAITING
    message: str = ""
    mode: Mode = Mode.STARTING
    busy: int = 0
    replaces: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    seeds: tuple[str, ...] = ()
    view: Ring = field(default_factory=lambda: Ring({}))

    @property
    def serves(self) -> bool:
        return self.phase is Phase.RUNNING and self.mode in (Mode.NORMAL, Mode.LEAVING, Mode.DECOMMISSION_FAILED)


class World:
    """Everything but the operator.

    Args:
        server: The API server.
        clock: Seconds since the epoch.
        seed: Of all that happens by chance.
        copies: Of the user's keyspace.
    """

    def __init__(self, server: Server, *, seed: int = 0, copies: int = 2, clock: Callable[[], float] = seconds) -> None:
        self.server = server
        self.clock = clock
        self.chance = random.Random(seed)  # noqa: S311
        self.volumes: dict[str, Volume] = {}
        self.processes: dict[str, Process] = {}
        self.ring: dict[str, str] = {}
        self.gone: set[str] = set()
        """Addresses of who has left: the others remember them for three days."""
        """By host ID: the address of who has tokens."""
        self.tokens: dict[str, str] = {}
        """By host ID: whose place in the ring it has, where it has taken another's."""
        self.rings = 0
        self.holders: dict[str, set[int]] = {}
        self.keyspaces = {
            "system_auth": Keyspace("system_auth", "SimpleStrategy", {"": 1}),
            "system_distributed": Keyspace("system_distributed", "SimpleStrategy", {"": 3}),
            "system_traces": Keyspace("system_traces", "SimpleStrategy", {"": 2}),
            "shop": Keyspace("shop", "NetworkTopologyStrategy", {"dc1": copies}),
        }
        self.roles = {"cassandra": "cassandra"}
        self.frozen: set[str] = set()
        self.silent: set[str] = set()
        self.blocked: set[str] = set()
        """Pods that the scheduler has no node for."""
        self.told: list[tuple[str, Command]] = []
        self.violations: list[str] = []
        self.starts: list[tuple[str, str]] = []
        """Pods that were started, and their versions."""
        self.most_down = 0
        """Members of the ring that were down at once, since all were up."""
        self._count = 0
        self.slow = 3

    # What the rest of Kubernetes does.

    def tick(self) -> None:
        """A second of the world."""
        for service in self.server.list(SERVICE, NAMESPACE):
            if "clusterIP" not in service["spec"]:
                self._count += 1
                address = f"10.1.{self._count // 250}.{self._count % 250 + 1}"
                self._patch(SERVICE, service["metadata"]["name"], {"spec": {"clusterIP": address}})
        for pod in self.server.list(POD, NAMESPACE):
            if "deletionTimestamp" in pod["metadata"]:
                self.kill(pod["metadata"]["name"])
        for workload in self.server.list(STATEFULSET, NAMESPACE):
            self._stateful_set(workload)
        self._bind()
        uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.server.list(POD, NAMESPACE)}
        self.processes = {name: p for name, p in self.processes.items() if uids.get(name) == p.uid}
        for process in list(self.processes.values()):
            if process.name not in self.frozen:
                self._run(process)
        for process in self.processes.values():
            if process.name not in self.frozen and self.chance.random() < 0.7:
                process.view = self._truth()
        for process in self.processes.values():
            self._show(process)
        self.check()

    def _bind(self) -> None:
        """Volumes have what their claims ask for."""
        for claim in self.server.list(PVC, NAMESPACE):
            wanted = {"phase": "Bound", "capacity": (claim["spec"].get("resources") or {}).get("requests", {})}
            if claim.get("status") != wanted:
                self.server.patch(PVC, NAMESPACE, claim["metadata"]["name"], {"status": wanted}, subresource="status")

    def _stateful_set(self, workload: dict[str, Any]) -> None:
        name, spec = workload["metadata"]["name"], workload["spec"]
        for ordinal in range(spec["replicas"]):
            pod, (template,) = f"{name}-{ordinal}", spec["volumeClaimTemplates"]
            claim = f"{template['metadata']['name']}-{pod}"
            found = self.server.find(PVC, NAMESPACE, claim)
            running = self.server.find(POD, NAMESPACE, pod)
            if running is None:
                if found is None:
                    meta = {"name": claim, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
                    claim_spec = {**template["spec"], "storageClassName": "fast"}
                    found = self.server.create(PVC, {"metadata": meta, "spec": claim_spec})
                self._start(pod, workload, found["metadata"]["uid"])
        for ordinal in range(spec["replicas"], 50):
            if self.server.find(POD, NAMESPACE, f"{name}-{ordinal}") is not None:
                self.kill(f"{name}-{ordinal}")

    def _start(self, pod: str, workload: dict[str, Any], claim: str) -> None:
        template = workload["spec"]["template"]
        self._count += 1
        meta = {**template["metadata"], "name": pod, "namespace": NAMESPACE}
        own = workload["metadata"]
        reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": own["name"], "uid": own["uid"]}
        meta["ownerReferences"] = [{**reference, "controller": True}]
        made = self.server.create(POD, {"metadata": meta, "spec": {}})
        if pod in self.blocked:
            return
        ip = f"10.0.{self._count // 250}.{self._count % 250 + 1}"
        version = meta["labels"]["cassandra.rook.io/version"]
        volume = self.volumes.setdefault(claim, Volume())
        self.starts.append((pod, version))
        self.processes[pod] = Process(pod, made["metadata"]["uid"], ip, volume, version)

    def _show(self, process: Process) -> None:
        status = {
            "podIP": process.ip,
            "conditions": [{"type": "Ready", "status": str(process.serves)}],
            "containerStatuses": [{"name": "cassandra", "ready": process.serves, "state": {"running": {}}}],
        }
        found = self.server.find(POD, NAMESPACE, process.name)
        if found is not None and found.get("status") != status:
            self.server.patch(POD, NAMESPACE, process.name, {"status": status}, subresource="status")

    def _patch(self, resource: Any, name: str, patch: dict[str, Any]) -> None:
        self.server.patch(resource, NAMESPACE, name, patch)

    @property
    def started(self) -> dict[str, int]:
        """How often each pod was started."""
        return dict(Counter(name for name, _ in self.starts))

    # What goes wrong.

    def kill(self, name: str) -> None:
        """A pod ends; its StatefulSet makes another."""
        self.processes.pop(name, None)
        if self.server.find(POD, NAMESPACE, name) is not None:
            self.server.delete(POD, NAMESPACE, name, grace=0)

    def decommission(self, name: str) -> None:
        """Somebody has a member leave, by hand."""
        process = self.processes[name]
        process.jobs["decommission-by-hand"] = Job("decommission-by-hand", JobState.RUNNING, started=self.clock())
        process.mode, process.busy = Mode.LEAVING, 1

    def lose(self, name: str) -> None:
        """A pod ends, and its volume is lost with all that was on it."""
        process = self.processes.get(name)
        if process is not None:
            uid = next(uid for uid, volume in self.volumes.items() if volume is process.volume)
            self.volumes[uid] = Volume()
            self.holders.pop(process.volume.host_id, None)
        self.kill(name)

    # Cassandra.

    def _record(self, name: str) -> dict[str, Any] | None:
        for found in self.server.list(CONFIG_MAP, NAMESPACE):
            if f"{name}.json" in found.get("data", {}):
                record: dict[str, Any] = json.loads(found["data"][f"{name}.json"])
                return record
        return None

    def _up(self, host_id: str) -> Process | None:
        return next(
            (
                p
                for p in self.processes.values()
                if p.volume.host_id == host_id and p.serves and p.name not in self.frozen and p.volume.bootstrapped
            ),
            None,
        )

    def _moving(self, but: Process) -> list[str]:
        modes = (Mode.JOINING, Mode.LEAVING)
        return [p.name for p in self.processes.values() if p is not but and p.mode in modes]

    def _run(self, process: Process) -> None:
        if process.phase is not Phase.RUNNING:
            self._begin(process)
        elif process.busy:
            process.busy -= 1
        elif process.mode is Mode.STARTING and process.volume.bootstrapped:
            process.mode = Mode.NORMAL
            self.ring[process.volume.host_id] = process.address
        elif process.mode is Mode.STARTING:
            self._join(process)
        elif process.mode is Mode.JOINING:
            self._joined(process)
        elif process.mode is Mode.LEAVING:
            self._leave(process)
        for job_id, left in list(process.running.items()):
            if left:
                process.running[job_id] = left - 1
            elif process.jobs[job_id].state is JobState.RUNNING and not job_id.startswith("decommission"):
                ended = replace(process.jobs[job_id], state=JobState.SUCCEEDED, ended=self.clock())
                process.jobs[job_id] = ended

    def _begin(self, process: Process) -> None:
        record, volume = self._record(process.name), process.volume
        if record is None:
            return
        try:
            seeds, replaces = judge(record, volume.mark, volume.written, "store")
        except NotStartedError as refusal:
            process.phase, process.message = Phase.REFUSED, str(refusal)
            return
        except LeftError:
            process.phase = Phase.LEFT
            return
        process.phase, process.mode, process.busy = Phase.RUNNING, Mode.STARTING, 1
        process.address, process.seeds, process.replaces = record["address"], tuple(seeds), replaces
        if not volume.host_id or replaces:
            self._count += 1
            volume.host_id = f"host-{self._count}"
        if replaces == process.address:
            # Cassandra gives the host ID along with the address.
            volume.host_id = next(host_id for host_id, address in self.ring.items() if address == replaces)
        volume.written, volume.cluster = True, "store"

    def _reachable(self, process: Process) -> list[Process]:
        return [p for p in self.processes.values() if p is not process and p.address in process.seeds and p.serves]

    def _join(self, process: Process) -> None:
        seeds = self._reachable(process)
        if process.address in process.seeds:
            if seeds or self.rings:
                self.violations.append(f"{process.name} makes another ring, or joins without data")
            self.rings += 1
            self._placed(process)
            return
        if not seeds:
            self.kill(process.name)  # Unable to contact any seeds
            return
        if process.replaces:
            old = [host_id for host_id, address in self.ring.items() if address == process.replaces]
            if not old or self._up(old[0]) is not None:
                self.kill(process.name)  # Cannot replace a live node
                return
        elif any(self._up(host_id) is None for host_id in self.ring) or self._moving(process):
            self.kill(process.name)  # A node required to move the data consistently is down; others move
            return
        process.mode, process.busy = Mode.JOINING, self.chance.randrange(1, self.slow + 1)

    def _joined(self, process: Process) -> None:
        if process.replaces:
            for host_id in [h for h, address in self.ring.items() if address == process.replaces]:
                del self.ring[host_id]
                self.holders.pop(host_id, None)
                self.tokens[process.volume.host_id] = self.tokens.get(host_id, host_id)
        self._placed(process)

    def _placed(self, process: Process) -> None:
        volume = process.volume
        volume.bootstrapped, process.mode = True, Mode.NORMAL
        first = not self.ring
        self.ring[volume.host_id] = process.address
        held = set(KEYS) if first else set().union(*(self.holders.get(h, set()) for h in self.ring))
        self.holders[volume.host_id] = {key for key in held if volume.host_id in self._owners(key, set(self.ring))}

    def _leave(self, process: Process) -> None:
        host_id = process.volume.host_id
        job_id = next(job_id for job_id, job in process.jobs.items() if job_id.startswith("decommission"))
        if host_id in self.ring:  # its data is with the others: it says that it has left
            rest = set(self.ring) - {host_id}
            for key in self.holders.pop(host_id, set()):
                for owner in self._owners(key, rest):
                    self.holders.setdefault(owner, set()).add(key)
            self.gone.add(self.ring.pop(host_id))
            process.volume.bootstrapped, process.busy = False, self.chance.randrange(1, self.slow + 1)
            return
        process.volume.left, process.mode = True, Mode.DECOMMISSIONED
        process.jobs[job_id] = replace(process.jobs[job_id], state=JobState.SUCCEEDED, ended=self.clock())

    def _owners(self, key: int, hosts: set[str]) -> list[str]:
        copies = next(iter(self.keyspaces["shop"].factors.values()))
        return sorted(hosts, key=lambda host: crc32(f"{key}/{self.tokens.get(host, host)}".encode()))[:copies]

    def _truth(self) -> Ring:
        known = dict(self.ring)
        ours = [p for p in self.processes.values() if p.serves and p.name not in self.frozen]
        up = {p.address for p in ours}
        joining = {p.address for p in self.processes.values() if p.mode is Mode.JOINING}
        leaving = {p.address for p in self.processes.values() if p.mode is Mode.LEAVING and p.volume.host_id in known}
        addresses = set(known.values())
        away = frozenset((addresses | self.gone) - up)
        return Ring(
            {address: host_id for host_id, address in known.items()},
            live=frozenset(up & addresses),
            unreachable=away,
            joining=frozenset(joining),
            leaving=frozenset(leaving),
            schema={
                **{
                    f"of {version}": frozenset(
                        p.address for p in ours if p.version == version and p.address in addresses
                    )
                    for version in {p.version for p in ours}
                },
                **({"UNREACHABLE": away} if away else {}),
            },
        )

    # What must never be.

    def check(self) -> None:
        """What no history may come to."""
        if self.rings > 1:
            self.violations.append("there are two rings")
        down = [host_id for host_id in self.ring if self._up(host_id) is None]
        self.most_down = max(self.most_down, len(down))
        moving = [p.name for p in self.processes.values() if p.mode in (Mode.JOINING, Mode.LEAVING)]
        if len(moving) > 1:
            self.violations.append(f"{moving} move at once")
        for key in KEYS if self.ring else ():
            if not any(key in self.holders.get(host_id, set()) for host_id in self.ring):
                self.violations.append(f"row {key} is lost")

    # What the operator can ask and say: `controller.cassandra.access.members.Members`.

    def member(self, door: Door) -> WorldMember:
        return WorldMember(self, door)

    @asynccontextmanager
    async def session(
        self, host: str, login: Login | None, *, ca: str = "", name: str = ""
    ) -> AsyncIterator[WorldSession]:
        process = next((p for p in self.processes.values() if p.ip == host), None)
        if process is None or not process.serves or process.name in self.frozen:
            raise UnansweredError("nobody answers")
        if login is not None and self.roles.get(login.user) != login.password:
            raise RefusedError("wrong password")
        yield WorldSession(self)


class WorldMember:
    """A member's program; see `controller.cassandra.access.members.Member`."""

    def __init__(self, world: World, door: Door) -> None:
        self._world = world
        self._door = door

    def _process(self) -> Process:
        process = next((p for p in self._world.processes.values() if p.ip == self._door.host), None)
        if process is None or process.name in self._world.frozen or process.name in self._world.silent:
            raise UnansweredError("no answer")
        return process

    async def look(self) -> Look:
        process = self._process()
        volume = process.volume
        report = Report(process.phase, process.message, volume.mark.get("hostId", ""), 100, 90)
        if process.phase is not Phase.RUNNING:
            return Look(report)
        bootstrap = Bootstrap.COMPLETED if volume.bootstrapped else Bootstrap.NEEDED
        serves = process.serves and volume.bootstrapped
        state = State(
            mode=process.mode,
            bootstrap=Bootstrap.DECOMMISSIONED if volume.left else bootstrap,
            host_id=volume.host_id,
            release=process.version,
            cluster_name=volume.cluster,
            datacenter="dc1",
            rack="",
            tokens=16,
            load=1,
            gossip_running=serves,
            native_running=serves,
            seeds=process.seeds,
            ring=process.view,
        )
        return Look(report, state)

    async def keyspaces(self) -> tuple[Keyspace, ...]:
        self._process()
        return tuple(self._world.keyspaces.values())

    async def snapshots(self) -> tuple[Snapshot, ...]:
        return ()

    async def job(self, job: str) -> Job | None:
        return self._process().jobs.get(job)

    async def start(self, job: str, command: Command) -> Job:
        process = self._process()
        if job in process.jobs:
            return process.jobs[job]
        if not process.serves:
            raise RefusedError("no Cassandra")
        self._world.told.append((process.name, command))
        process.jobs[job] = Job(job, JobState.RUNNING, started=self._world.clock())
        process.running[job] = self._world.chance.randrange(0, 3)
        match command:
            case Decommission(force):
                most = max(sum(k.factors.values()) for k in self._world.keyspaces.values())
                if process.mode is not Mode.NORMAL and process.mode is not Mode.DECOMMISSION_FAILED:
                    self._world.violations.append(f"{process.name} is told to leave while it is {process.mode}")
                if self._world._moving(process):
                    self._fail(process, job, "others move")
                elif most > len(self._world.ring) - 1 and not force:
                    self._fail(process, job, "not enough live nodes")
                else:
                    process.mode, process.busy = Mode.LEAVING, self._world.chance.randrange(1, self._world.slow + 1)
            case RemoveNode(host_id):
                if self._world._up(host_id) is not None:
                    self._fail(process, job, "it is alive")
                else:
                    self._world.ring.pop(host_id, None)
                    for key in KEYS:
                        if any(key in self._world.holders.get(h, set()) for h in self._world.ring):
                            for owner in self._world._owners(key, set(self._world.ring)):
                                self._world.holders.setdefault(owner, set()).add(key)
        return process.jobs[job]

    def _fail(self, process: Process, job: str, message: str) -> None:
        process.jobs[job] = replace(
            process.jobs[job], state=JobState.FAILED, message=message, ended=self._world.clock()
        )


class WorldSession:
    """A connection for CQL."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def query(self, statement: str, *, quorum: bool = False) -> Sequence[Mapping[str, object]]:
        role_statement = r'(?:CREATE|ALTER) ROLE (?:IF NOT EXISTS )?"?([\w-]+)"? .*PASSWORD = \'([^\']*)\''
        if found := re.match(r'ALTER KEYSPACE "?(\w+)"? .*\'(\w+)\': \'?(\d+)', statement):
            keyspace, datacenter, copies = found.groups()
            factors = {datacenter: int(copies)}
            self._world.keyspaces[keyspace] = Keyspace(keyspace, "NetworkTopologyStrategy", factors)
        elif found := re.match(role_statement, statement):
            role, password = found.groups()
            self._world.roles[role] = password
            if "LOGIN = false" in statement:
                del self._world.roles[role]
        return ()
