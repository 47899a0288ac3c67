"""An operator in a world of Cassandra clusters, in virtual time."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import yaml

from controller.apis.cassandra import CassandraCluster, CassandraOperation
from controller.cassandra.cluster import kind as cluster
from controller.cassandra.cluster.act import CLUSTERS
from controller.cassandra.cluster.observe import OPERATIONS
from controller.cassandra.member.roster import Roster, decoded
from controller.cassandra.operation import kind as operation
from controller.cassandra.operation import schedule
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.runtime.kube import CONFIG_MAP
from controller.testkit import ApiServer, Stored, new_manager, running, until
from tests.unit.cassandra.clock import seconds
from tests.unit.cassandra.talk import WorldMembers
from tests.unit.cassandra.world import NAMESPACE, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CRDS = Path(__file__).parents[3] / "manifests/crds"
CRD = CRDS / "cassandra.rook.io_clusters.yaml"
NAME = "store"


def spec(version: str = "5.0.3", **racks: int) -> dict[str, Any]:
    """A spec with these racks, each with its number of members."""
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    storage = {"volumeClaimTemplates": [claim]}
    found = [{"name": name, "members": count, "storage": storage} for name, count in racks.items()]
    return {"version": version, "datacenter": {"name": "dc1", "racks": found}, "upgrade": {"soakSeconds": 2}}


@cache
def crds() -> tuple[dict[str, Any], ...]:
    """The kinds of Cassandra; reading YAML takes longer than many a test."""
    return tuple(
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CRDS.glob("cassandra.rook.io_*.yaml"))
    )


class Known(Stored):
    """The server as its world sees it, which changes nothing in what it reads."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server)
        self.create, self.patch, self.delete = server.create, server.patch, server.delete


class Life:
    """A cluster, its operator and the world, as tests see them."""

    def __init__(self, server: ApiServer, world: World) -> None:
        self.server = server
        self.world = world

    def create(self, wanted: dict[str, Any]) -> None:
        meta = {"name": NAME, "namespace": NAMESPACE}
        self.server.create(CLUSTERS, {"metadata": meta, "spec": {"numTokens": 16, **wanted}})

    def edit(self, **changes: Any) -> None:
        """Changes fields of the spec."""
        self.server.patch(CLUSTERS, NAMESPACE, NAME, {"spec": changes})

    def scale(self, **racks: int) -> None:
        """Changes how many members racks have."""
        found = self.server.get(CLUSTERS, NAMESPACE, NAME)["spec"]["datacenter"]["racks"]
        wanted = [{**rack, "members": racks.get(rack["name"], rack["members"])} for rack in found]
        self.edit(datacenter={"name": "dc1", "racks": wanted})

    def order(self, name: str, **act: Any) -> None:
        """Makes an Operation on the cluster."""
        meta = {"name": name, "namespace": NAMESPACE}
        self.server.create(OPERATIONS, {"metadata": meta, "spec": {"cluster": NAME, **act}})

    def operation(self, name: str) -> CassandraOperation:
        return msgspec.convert(self.server.get(OPERATIONS, NAMESPACE, name), CassandraOperation)

    async def ended(self, name: str, phase: str = "Succeeded", within: float = 600.0) -> None:
        """Waits until an Operation has ended so."""
        try:
            await self.until(lambda: self.operation(name).status.completed, within)
        except AssertionError as error:
            raise AssertionError(f"{self.operation(name).status}; {error}") from None
        assert self.operation(name).status.phase == phase, self.operation(name).status

    @property
    def cluster(self) -> CassandraCluster:
        return msgspec.convert(self.server.get(CLUSTERS, NAMESPACE, NAME), CassandraCluster)

    @property
    def roster(self) -> Roster:
        """Who belongs to the ring: nobody, where nothing is written."""
        found = self.server.find(CONFIG_MAP, NAMESPACE, f"{NAME}-members")
        return decoded(found["data"]["roster"]) if found is not None else Roster()

    def seeds(self, member: str) -> list[str]:
        """What a member is told to take for seeds."""
        told = self.server.get(CONFIG_MAP, NAMESPACE, f"{NAME}-members")["data"][f"{member}.json"]
        found: list[str] = json.loads(told)["seeds"]
        return found

    def condition(self, type_: str) -> tuple[str, str, str]:
        found = next((c for c in self.cluster.status.conditions if c.type == type_), None)
        return (found.status, found.reason, found.message) if found is not None else ("", "", "")

    def is_ready(self, *names: str) -> bool:
        """Whether the cluster is as its spec has it, with exactly these members (none named: with any)."""
        cluster, roster = self.cluster, self.roster
        if cluster.status.observed_generation != cluster.metadata.generation:
            return False
        members = set(roster.members) == {f"{NAME}-dc1-{name}" for name in names} if names else True
        return members and self.condition("Ready")[0] == "True"

    async def ready(self, *names: str, within: float = 600.0) -> None:
        """Waits until it is; what must never be has never been."""
        await self.until(lambda: self.is_ready(*names), within=within)

    async def until(self, condition: Callable[[], object], within: float = 600.0) -> None:
        """Waits for something; what must never be has never been."""
        try:
            await until(condition, within=within, step=0.5)
        except TimeoutError:
            status = self.cluster.status
            raise AssertionError(f"{status.message}; {status.conditions}; {self.roster}") from None
        assert self.world.violations == []


@asynccontextmanager
async def operator(life: Life, *, image: str = "rook/operator:1") -> AsyncIterator[None]:
    """An operator, until the context is left: then it is gone in the midst of what it does."""
    manager = new_manager(life.server, program=PROGRAM)
    settings = Settings(operator_namespace=NAMESPACE, operator_image=image)
    for kind in (cluster, operation):
        kind.register(manager, settings, WorldMembers(life.world), clock=seconds)
    schedule.register(manager, settings, clock=seconds)
    async with running(manager):
        yield


@asynccontextmanager
async def living(*, seed: int = 0, copies: int = 2, operated: bool = True) -> AsyncIterator[Life]:
    """A world that goes on, with an operator in it."""
    server = ApiServer(namespaces=(NAMESPACE,))
    for crd in crds():
        server.install(crd)
    world = World(Known(server), seed=seed, copies=copies)
    life = Life(server, world)

    async def go_on() -> None:
        while True:
            await anyio.sleep(1)
            world.tick()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        if operated:
            async with operator(life):
                yield life
        else:
            yield life
        tasks.cancel_scope.cancel()
