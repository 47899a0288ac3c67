"""Reflector, watcher, cache and consistency against a model of the API server: whatever happens, readers see no wrong
state, listeners are told no wrong change, and the copies end up equal."""

import asyncio
import itertools
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from controller.runtime.consistency import Consistency
from controller.runtime.kube import SERVICE_ACCOUNT
from controller.testkit import now, virtual_time
from controller.testkit.encoding import bookmark
from informers import ApiError, Client, InformerFactory, JsonObject, Key, Resource, TransportError, turns
from tests.unit.informers.watch_model import Ledger, Moment, Times, World, views_of
from tests.unit.informers.widgets import WIDGETS, WidgetServer

HEALING_SECONDS = 600.0
"""Longest backoff, idle time and bookmark together, several times over."""

KEYS = st.tuples(st.sampled_from(["default", "kube-system"]), st.sampled_from("abc"))
LABELS = st.fixed_dictionaries({"app": st.sampled_from("xxy"), "number": st.sampled_from("0123")})
HELD = st.sampled_from([[], [], ["example.org/held"]])
MOMENTS = st.builds(Moment, st.booleans(), st.sampled_from([0.0, 0.1, 0.4, 2.0, 5.0]))
PAGES = st.builds(Moment, st.just(value=True), st.sampled_from([0.1, 0.4, 0.7, 1.0]))
TIMES = st.builds(Times, MOMENTS, MOMENTS, st.sampled_from([False, False, True]))

EXPIRED = ApiError(410, "Expired", "too old")

type Labels = dict[str, str]
type Operation = Callable[[World], object]


def wanted(world: World, key: Key, labels: Labels, finalizers: list[str]) -> JsonObject:
    """An object as it is written."""
    obj: JsonObject = {
        "metadata": {"namespace": key[0], "name": key[1], "labels": labels, "finalizers": finalizers},
    }
    return obj | ({"spec": {}} if world.resource == WIDGETS else {})


def write(world: World, key: Key, labels: Labels, finalizers: list[str]) -> None:
    """Somebody creates the object, or changes it."""
    live = world.api.find(world.resource, *key)
    if live is not None and "deletionTimestamp" in live["metadata"]:
        finalizers = live["metadata"]["finalizers"]
    world.api.put(world.resource, wanted(world, key, labels, finalizers))


def remove(world: World, key: Key) -> None:
    """Somebody deletes the object, and whatever holds it lets it go."""
    if world.api.find(world.resource, *key) is not None:
        world.api.delete(world.resource, *key)
    if world.api.find(world.resource, *key) is not None:
        world.api.patch(world.resource, *key, {"metadata": {"finalizers": None}})


def recreate(world: World, key: Key, labels: Labels) -> None:
    """Somebody puts another object in its place."""
    remove(world, key)
    write(world, key, labels, [])


def own_write(world: World, times: Times, key: Key, labels: Labels, finalizers: list[str]) -> None:
    """We create the object, or change it."""

    async def send(client: Client) -> None:
        if world.api.find(world.resource, *key) is None:
            await client.create(world.resource, wanted(world, key, labels, finalizers))
        else:
            await client.patch(
                world.resource,
                *key,
                {"metadata": {"labels": labels}},
                content_type="application/merge-patch+json",
            )

    world.own(key, times, send)


def own_release(world: World, times: Times, key: Key) -> None:
    """We take the object's finalizers away, by which it goes if it is being deleted."""
    body: JsonObject = {"metadata": {"finalizers": None}}
    world.own(
        key,
        times,
        lambda client: client.patch(world.resource, *key, body, content_type="application/merge-patch+json"),
    )


def own_delete(world: World, times: Times, key: Key) -> None:
    """We delete the object."""
    live = world.api.find(world.resource, *key)
    if live is not None:
        uid = live["metadata"]["uid"]
        world.own(key, times, lambda client: client.delete(world.resource, *key, uid=uid))


def compact_and_break(world: World) -> None:
    """What happens while nothing is watched is no longer in the history."""
    world.api.cut(0)
    write(world, ("default", "a"), {"number": "0"}, [])
    world.api.compact()


def write_before_pages(world: World, answered: Moment, key: Key, labels: Labels) -> None:
    """We write while nothing is watched, and have the answer while the list that shows it comes in, page by page."""
    world.api.streaming, world.connection.late = False, 0.3
    world.api.fail(EXPIRED)
    own_write(world, Times(Moment(in_list=False, seconds=0.0), answered), key, labels, [])


def duplicate(world: World) -> None:
    """Send the latest event once more to each stream that is to have it."""
    latest = next(iter(world.api.storage.history[-1:]), None)
    if latest is None or latest.collection != (world.resource.group, world.resource.plural):
        return
    for stream in world.api.streams:
        if stream.selection.matches(latest.key, latest.object):
            stream.tell(latest.type, latest.object)


def set_streaming(world: World, known: bool) -> None:
    world.api.streaming = known


def set_late(world: World, seconds: float) -> None:
    world.connection.late = seconds


def set_chunk(world: World, size: int) -> None:
    world.api.chunk = size


def operation(function: Callable[..., object], *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Operation]:
    """Calls of the function with drawn arguments, which show in hypothesis' reports."""

    def bind(drawn: tuple[object, ...]) -> Operation:
        def call(world: World) -> object:
            return function(world, *drawn)

        call.__qualname__ = call.__name__ = f"{function.__name__}{drawn}"
        return call

    return st.tuples(*arguments).map(bind)


def fault(
    name: str, function: Callable[..., object], *arguments: st.SearchStrategy[object]
) -> st.SearchStrategy[Operation]:
    """The same for functions without a name of their own."""
    function.__name__ = name
    return operation(function, *arguments)


ERRORS = st.sampled_from(
    [
        ApiError(403, "Forbidden", "no"),
        ApiError(404, "NotFound", "no such resource"),
        EXPIRED,
        ApiError(429, "TooManyRequests", "slow down", 7.0),
        ApiError(500, "InternalError", "oops"),
        ApiError(503, "ServiceUnavailable", "starting", 1.0),
    ]
)
WRITES: st.SearchStrategy[Operation] = st.one_of(
    operation(write, KEYS, LABELS, HELD),
    operation(remove, KEYS),
    operation(recreate, KEYS, LABELS),
)
OWN_WRITES: st.SearchStrategy[Operation] = st.one_of(
    operation(own_write, TIMES, KEYS, LABELS, HELD),
    operation(own_release, TIMES, KEYS),
    operation(own_delete, TIMES, KEYS),
)
RELISTS: st.SearchStrategy[Operation] = st.one_of(
    fault("relist", lambda world: world.api.fail(EXPIRED)),
    operation(compact_and_break),
    operation(write_before_pages, PAGES, KEYS, LABELS),
)
FAULTS: st.SearchStrategy[Operation] = st.one_of(
    fault("bookmark", lambda world: world.api.tell("BOOKMARK", bookmark(world.resource, world.api.storage.version))),
    operation(duplicate),
    fault("cut", lambda world, after: world.api.cut(after), st.integers(0, 700)),
    fault("end", lambda world: world.api.end()),
    fault("stall", lambda world: world.api.stall()),
    fault("error event", lambda world, error: world.api.fail(error), ERRORS),
    fault("garbage", lambda world: world.api.push(b'{"type":"ADDED","object":{"metadata"\n')),
    fault("refuse", lambda world, error: world.api.refusals.append(error), ERRORS),
    fault("no connection", lambda world: world.api.refusals.append(TransportError("connection refused"))),
    fault("compact", lambda world: world.api.compact()),
    operation(set_streaming, st.booleans()),
    operation(set_late, st.sampled_from([0.0, 0.3, 3.0, 3.0])),
    operation(set_chunk, st.sampled_from([1, 50, 1000, 1 << 20])),
    fault("listen", lambda world: [view.listen() for view in world.views]),
)
STEPS = st.tuples(
    st.sampled_from([0.0, 0.0, 0.01, 0.2, 0.2, 1.0, 20.0, 100.0]), st.one_of(OWN_WRITES, RELISTS, WRITES, FAULTS)
)


@pytest.mark.timeout(900)  # for hypothesis to make a history that fails short
@given(
    operations=st.one_of(st.lists(STEPS, max_size=5), st.lists(STEPS, min_size=20, max_size=40)),
    resource=st.sampled_from([WIDGETS, SERVICE_ACCOUNT]),
    namespaces=st.sampled_from([None, ("default", "kube-system")]),
    late=st.sampled_from([0.0, 0.3, 3.0, 3.0]),
    streaming=st.booleans(),
    slice_seconds=st.sampled_from([0.0, 1.0]),
)
@virtual_time
async def test_any_history_shows_no_wrong_state_and_ends_with_the_copies_equal_to_the_server(
    operations: list[tuple[float, Operation]],
    resource: Resource,
    namespaces: tuple[str, ...] | None,
    late: float,
    streaming: bool,
    slice_seconds: float,
) -> None:
    api = WidgetServer(streaming=streaming)
    connection = api.connection()
    connection.late = late
    factory = InformerFactory(Client(connection), namespaces=namespaces)
    ledger = Ledger(api, resource)
    views = views_of(factory, resource, ledger)
    with pytest.MonkeyPatch.context() as patched, capture_logs():
        patched.setattr(turns, "SLICE", slice_seconds)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(factory.run)
            consistency = Consistency(api.client(), factory, clock=now)
            tasks.start_soon(consistency.run)
            world = World(api, connection, resource, views, consistency, ledger, tasks)
            for key in itertools.product(("default", "kube-system"), "abc"):
                write(world, key, {"number": "1", "app": "x"}, [])
            for pause, act in operations:
                await asyncio.sleep(pause)
                act(world)
                for view in views:
                    view.check_indexes()
            api.refusals.clear()
            await asyncio.sleep(HEALING_SECONDS)
            tasks.cancel_scope.cancel()
    for view in views:
        view.check_quiet(api.storage.objects((resource.group, resource.plural)), api.storage.version)
        assert not view.errors, "\n".join(view.errors)
    assert world.waiting == 0
