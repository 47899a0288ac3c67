"""Reflector, watcher and cache against a model of the API server: whatever happens, the copy ends up equal."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.testkit import Connection, virtual_time
from controller.testkit.encoding import bookmark
from informers import ApiError, Client, Informer, InformerFactory, JsonObject, Key, TransportError
from tests.mirror import Mirror, plain
from tests.unit.informers.widgets import WIDGETS, WidgetServer

HEALING_SECONDS = 600.0
"""Longest backoff, idle time and bookmark together, several times over."""

KEYS = st.tuples(st.sampled_from(["default", "kube-system"]), st.sampled_from("abcd"))


@dataclass
class World:
    """What an operation may act on."""

    api: WidgetServer
    connection: Connection
    informer: Informer[JsonObject]

    def write_and_observe(self, key: Key, number: int, delay: float) -> None:
        """A write of our own, whose answer reaches us after a while."""
        answer = self.api.write(*key, number=number)

        def observe() -> None:
            self.informer.observe_write(answer)
            version = int(answer["metadata"]["resourceVersion"])
            entry = self.informer.cache.entry(*key)
            scope = self.informer.cache.scope(key[0])
            assert scope is not None
            if scope.synced:
                assert scope.version >= version or (entry is not None and entry.version >= version)

        asyncio.get_running_loop().call_later(delay, observe)

    def duplicate(self) -> None:
        """Send the latest event once more."""
        if self.api.storage.history and self.api.storage.history[-1].collection == (WIDGETS.group, WIDGETS.plural):
            latest = self.api.storage.history[-1]
            self.api.tell(latest.type, latest.object)

    def set_streaming(self, known: bool) -> None:
        self.api.streaming = known

    def set_protobuf(self, known: bool) -> None:
        self.api.protobuf = known

    def set_late(self, seconds: float) -> None:
        self.connection.late = seconds

    def set_chunk(self, size: int) -> None:
        self.api.chunk = size


type Operation = Callable[[World], object]


def operation(
    name: str, function: Callable[..., object], *arguments: st.SearchStrategy[object]
) -> st.SearchStrategy[Operation]:
    """Calls of the function with drawn arguments, which show as the given name in hypothesis' reports."""

    def bind(drawn: tuple[object, ...]) -> Operation:
        def call(world: World) -> object:
            return function(world, *drawn)

        call.__qualname__ = call.__name__ = f"{name}{drawn}"
        return call

    return st.tuples(*arguments).map(bind)


ERRORS = st.sampled_from(
    [
        ApiError(403, "Forbidden", "no"),
        ApiError(404, "NotFound", "no such resource"),
        ApiError(410, "Expired", "too old"),
        ApiError(429, "TooManyRequests", "slow down", 7.0),
        ApiError(500, "InternalError", "oops"),
        ApiError(503, "ServiceUnavailable", "starting", 1.0),
    ]
)
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    operation("write", lambda world, key, number: world.api.write(*key, number=number), KEYS, st.integers(0, 9)),
    operation("write_and_observe", World.write_and_observe, KEYS, st.integers(0, 9), st.sampled_from([0.0, 0.5, 5.0])),
    operation("delete", lambda world, key: world.api.remove(*key), KEYS),
    operation("recreate", lambda world, key: (world.api.remove(*key), world.api.write(*key)), KEYS),
    operation("bookmark", lambda world: world.api.tell("BOOKMARK", bookmark(WIDGETS, world.api.version))),
    operation("duplicate", World.duplicate),
    operation("cut", lambda world, after: world.api.cut(after), st.integers(0, 700)),
    operation("end", lambda world: world.api.end()),
    operation("stall", lambda world: world.api.stall()),
    operation("error event", lambda world, error: world.api.fail(error), ERRORS),
    operation("garbage", lambda world: world.api.push(b'{"type":"ADDED","object":{"metadata"\n')),
    operation("garbage frame", lambda world: world.api.push(b"\0\0\0\x09\n\5ADDED\x12\7")),
    operation("refuse", lambda world, error: world.api.refusals.append(error), ERRORS),
    operation("no connection", lambda world: world.api.refusals.append(TransportError("connection refused"))),
    operation("compact", lambda world: world.api.compact()),
    operation(
        "compact and break", lambda world: (world.api.cut(0), world.api.write("default", "a"), world.api.compact())
    ),
    operation("streaming", World.set_streaming, st.booleans()),
    operation("protobuf", World.set_protobuf, st.booleans()),
    operation("late", World.set_late, st.sampled_from([0.0, 0.3, 3.0])),
    operation("chunks", World.set_chunk, st.sampled_from([1, 50, 1000, 1 << 20])),
)


def numbers(obj: JsonObject) -> list[str]:
    """The test's index function."""
    return [str(obj["spec"].get("number"))]


@settings(max_examples=300, deadline=None)
@given(
    operations=st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.01, 1.0, 20.0, 100.0]), OPERATIONS), max_size=30),
    namespaces=st.sampled_from([None, ("default", "kube-system")]),
    compact=st.booleans(),
)
@virtual_time
async def test_any_history_ends_with_the_copy_equal_to_the_server(
    operations: list[tuple[float, Operation]], namespaces: tuple[str, ...] | None, compact: bool
) -> None:
    api = WidgetServer()
    api.write("default", "a", number=1)
    connection = api.connection()
    factory = InformerFactory(Client(connection), namespaces=namespaces)
    informer: Informer[JsonObject] = factory.informer(WIDGETS, dict, compact=compact)
    informer.add_index("number", numbers)
    mirror = Mirror()
    informer.add_handler(mirror)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        for pause, act in operations:
            await asyncio.sleep(pause)
            act(World(api, connection, informer))
        api.refusals.clear()
        await asyncio.sleep(HEALING_SECONDS)
        tasks.cancel_scope.cancel()
    expected = {key: plain(obj) for key, obj in api.objects.items()}
    keys = informer.keys()
    assert {key: informer.get(*key) for key in keys} == expected
    assert mirror.objects == expected
    assert informer.cache.stats.handler_errors == 0
    assert informer.synced
    assert informer.trouble == ""
    assert informer.resource_version == api.version
    for number in map(str, range(10)):
        found = {obj["metadata"]["name"] + obj["metadata"]["namespace"] for obj in informer.by_index("number", number)}
        assert found == {key[1] + key[0] for key, obj in expected.items() if number in numbers(obj)}
