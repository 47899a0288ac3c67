"""Any order of fences, edits, deletions, crashes and others' entries ends in exactly the blocklist that is wanted."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.ceph.networkfence.act import Actor
from controller.ceph.networkfence.analyze import analyze
from controller.ceph.networkfence.kind import FINALIZER
from controller.ceph.networkfence.kinds import FENCES, NetworkFence
from controller.ceph.networkfence.observe import Observer, Resolver
from controller.ceph.networkfence.record import record_of
from controller.framework.consent import NoConsentError
from controller.framework.kind import LetGo
from controller.framework.plan import UnderWayError
from controller.testkit import ApiServer
from informers import ApiError
from tests.unit.ceph.networkfence.ceph import OPERATOR, Ceph

if TYPE_CHECKING:
    from controller.ceph.access.rados import Connections
    from informers import Client, Informer, JsonObject, Resource

RANGES = ("10.0.0.0/24", "10.0.0.7/32", "fd01::/64")
NAMES = ("a", "b")
CEPH_CSI, A_DAY = 157784760.0, 86400.0
PARAMETERS = {"clusterID": "rook-ceph"}


class CrashError(Exception):
    """The operator dies."""


@dataclass
class World:
    """NetworkFences, one operator after the other, and others who write to the blocklist.

    `cache`: what the operator sees of the objects, which may be behind. `left`: writes that it does before it dies.
    """

    now: float = 1_800_000_000.0
    left: int | None = None
    cache: dict[str, NetworkFence] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ceph = Ceph(lambda: self.now, before=self.before)
        self.server = ApiServer()
        self.server.serve(FENCES)
        classes = cast("Informer[Any]", SimpleNamespace(get=lambda *_: None))
        resolver = Resolver(classes, lambda cluster_id: cluster_id)
        connections = cast("Connections", SimpleNamespace(get=lambda _: self.ceph))
        fences = cast("Informer[Any]", SimpleNamespace(list=lambda: list(self.cache.values())))
        self.observer = Observer(fences, resolver, lambda _: True, connections)
        self.actor = Actor(
            client=cast("Client", self),
            connections=connections,
            resolver=resolver,
            home="rook-ceph",
            sessions=self.sessions,
            clock=lambda: self.now,
        )

    # What the operator asks

    async def sessions(self, _: object) -> frozenset[str]:
        return frozenset({"10.0.0.7:0/1"})

    async def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        return self.server.get(resource, namespace, name)

    async def list(self, resource: Resource, _: str = "") -> list[JsonObject]:
        return self.server.list(resource) if resource == FENCES else []

    async def patch(self, resource: Resource, namespace: str, name: str, body: Any, **_: Any) -> JsonObject:
        self.dies()
        return self.server.patch(resource, namespace, name, body)

    def before(self, what: str) -> None:
        """Of each write to the blocklist: none lets in what is another's, or what is to be fenced."""
        self.dies()
        verb, _, range_ = what.partition(" ")
        if verb == "rm":
            assert self.ceph.by[range_] == OPERATOR
            assert range_ not in self.wanted()

    def dies(self) -> None:
        if self.left is not None:
            if not self.left:
                raise CrashError
            self.left -= 1

    # What happens

    def fences(self) -> dict[str, NetworkFence]:
        found = msgspec.convert(self.server.list(FENCES), list[NetworkFence])
        return {fence.metadata.name: fence for fence in found}

    def wanted(self) -> set[str]:
        alive = [f for f in self.fences().values() if f.metadata.deletion_timestamp is None]
        return {range_ for f in alive if f.spec.fence_state == "Fenced" for range_ in f.spec.cidrs}

    def write(self, name: str, state: str, cidrs: tuple[str, ...]) -> None:
        spec = {"driver": "d", "fenceState": state, "cidrs": list(cidrs), "parameters": PARAMETERS}
        if name in self.fences():
            self.server.patch(FENCES, "", name, {"spec": spec})
        else:
            self.server.create(FENCES, {"metadata": {"name": name, "finalizers": [FINALIZER]}, "spec": spec})

    def delete(self, name: str) -> None:
        with contextlib.suppress(ApiError):
            self.server.delete(FENCES, "", name)

    async def look(self, name: str, left: int | None = None, *, behind: bool = False) -> None:
        """One look at an object as the cache has it, by an operator that dies after so many writes."""
        if not behind:
            self.cache = self.fences()
        fence = self.cache.get(name)
        if fence is None:
            return
        self.left = left
        try:
            seen = await self.observer.observe(fence, self.now)
            ways = self.actor.handlers(fence, seen)
            for step in analyze(fence, seen).steps:
                if step.held_by is not None:
                    break
                if isinstance(step.action, LetGo):
                    self.dies()
                    self.server.patch(FENCES, "", name, {"metadata": {"finalizers": None}})
                else:
                    await ways[type(step.action)](step.action)
        except (CrashError, NoConsentError, UnderWayError, ApiError):
            pass
        finally:
            self.left = None
            self.now += 1

    async def settle(self) -> None:
        for _ in range(5):
            for name in NAMES:
                await self.look(name)


def _subset() -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(RANGES), min_size=1, unique=True).map(tuple)


STATES = st.sampled_from(("Fenced", "Unfenced"))
LOOKS = st.tuples(st.just("look"), st.sampled_from(NAMES), st.sampled_from((None, None, 0, 1, 2, 3)), st.booleans())
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES), STATES, _subset()),
        st.tuples(st.just("write"), st.sampled_from(NAMES), STATES, st.just(RANGES)),
        LOOKS,
        LOOKS,
        st.just(("settle",)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES)),
        st.tuples(st.just("another adds"), st.sampled_from(RANGES), st.sampled_from((CEPH_CSI, A_DAY))),
        st.tuples(st.just("another removes"), st.sampled_from(RANGES)),
        st.tuples(st.just("time"), st.sampled_from((60.0, 7 * A_DAY))),
    ),
    min_size=8,
    max_size=30,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
async def test_the_blocklist_ends_as_is_wanted(steps: list[Any]) -> None:
    world = World()
    others: dict[str, float] = {}
    for what, *args in steps:
        match what:
            case "write":
                world.write(*args)
            case "delete":
                world.delete(*args)
            case "look":
                await world.look(args[0], args[1], behind=args[2])
            case "settle":
                await world.settle()
            case "another adds":
                world.ceph.add(args[0], args[1], "another")
                others[args[0]] = world.ceph.ranges[args[0]]
            case "another removes":
                world.ceph.remove(*args)
                others.pop(args[0], None)
            case _:
                world.now += args[0]
        left = {range_: world.ceph.ranges.get(range_) for range_ in others}
        assert left == others, "entries of others stay, each with its own end"
    await world.settle()

    # One that is deleted while it fences keeps what it has, until there is a word.
    leaving = [f for f in world.fences().values() if f.metadata.deletion_timestamp is not None]
    kept = {range_ for fence in leaving for range_ in record_of(fence).ranges}
    present = set(world.ceph.ranges)
    assert world.wanted() | set(others) <= present <= world.wanted() | set(others) | kept
    assert all(world.ceph.by[range_] == OPERATOR for range_ in present - set(others))

    for fence in world.fences().values():
        world.write(fence.metadata.name, "Unfenced", fence.spec.cidrs)
    await world.settle()
    assert world.ceph.ranges == others
    assert all(fence.metadata.deletion_timestamp is None for fence in world.fences().values())


async def test_what_is_wanted_again_by_now_is_not_let_in() -> None:
    world = World()
    world.write("a", "Fenced", RANGES)
    await world.settle()
    world.write("a", "Unfenced", RANGES)
    await world.look("a", 0)
    world.write("a", "Fenced", RANGES)
    await world.look("a", behind=True)
    assert set(world.ceph.ranges) == set(RANGES)


async def test_what_another_wants_that_is_yet_to_put_it_there_is_not_let_in() -> None:
    world = World()
    world.write("a", "Fenced", RANGES)
    await world.settle()
    world.write("b", "Fenced", RANGES)
    world.write("a", "Unfenced", RANGES)
    await world.look("a")
    assert set(world.ceph.ranges) == set(RANGES)
    await world.settle()
    assert set(world.ceph.ranges) == set(RANGES)
