"""Informers on the model of the API server: what users see."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import orjson
import pytest
from structlog.testing import capture_logs

from controller.runtime import Request
from controller.testkit import Sent, now, until, virtual_time
from controller.testkit.encoding import bookmark, encode_event, partial
from informers import (
    ApiError,
    Client,
    Delta,
    IncompleteIndexError,
    Informer,
    InformerFactory,
    JsonObject,
    TransportError,
    UndecodableError,
    wire,
)
from informers.cache import Cache
from informers.errors import Cause
from informers.informer import Known
from informers.outage import Outage
from informers.reflector import Paging, Watching
from informers.transport import Stream
from informers.watcher import Watcher
from tests.mirror import Mirror, plain
from tests.turns import LOOKS, counted_turns
from tests.unit.informers.widgets import WIDGETS, WidgetServer

AHEAD = ApiError(504, "Timeout", "Too large resource version", 1.0, (Cause("ResourceVersionTooLarge"),))


class Metadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""


class Spec(msgspec.Struct):
    node: str = ""


class Widget(msgspec.Struct):
    """The fields of a widget that the tests need."""

    metadata: Metadata
    spec: Spec = msgspec.field(default_factory=Spec)


@asynccontextmanager
async def running(factory: InformerFactory, *, synced: bool = True) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        if synced:
            await factory.wait_synced()
        yield
        tasks.cancel_scope.cancel()


def names(widgets: list[Widget]) -> list[str]:
    return sorted(widget.metadata.name for widget in widgets)


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


@virtual_time
async def test_a_collection_of_any_size_is_walked_through_in_slices() -> None:
    api = WidgetServer()
    for number in range(200):
        labels = {"app": "even"} if number % 2 == 0 else {}
        metadata = {"namespace": "one", "name": f"w{number:03}", "labels": labels}
        api.put(WIDGETS, {"metadata": metadata, "spec": {"node": "n1"}})
    api.write("two", "a", node="n2")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        async with counted_turns() as had:
            found = [widget.metadata.name async for widget in widgets.walk()]
            assert found == [f"w{number:03}" for number in range(200)] + ["a"]
            assert had[0] >= len(found) // LOOKS - 1
        assert [widget.spec.node async for widget in widgets.walk("two")] == ["n2"]
        even = [widget.metadata.name async for widget in widgets.walk(labels={"app": "even"})]
        assert even == [f"w{number:03}" for number in range(0, 200, 2)]
        left: list[str] = []
        async for widget in widgets.walk("one"):
            left.append(widget.metadata.name)
            if len(left) == 1:
                api.remove("one", "w001")
                await until(lambda: widgets.get("one", "w001") is None)
        assert left == [f"w{number:03}" for number in range(200) if number != 1], "what is gone is left out"


@virtual_time
async def test_a_walk_decodes_only_what_has_changed_since_another_one() -> None:
    api = WidgetServer()
    for name in ("a", "b", "c"):
        api.write("one", name, node="n1")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    known: Known[Widget] = {}

    async def walked() -> dict[str, Widget]:
        return {widget.metadata.name: widget async for widget in widgets.walk("one", known=known)}

    async with running(factory):
        before = await walked()
        api.write("one", "a", node="n2")
        api.remove("one", "b")
        await until(lambda: widgets.get("one", "b") is None)
        now = await walked()
        assert now["a"].spec.node == "n2"
        assert now["c"] is before["c"], "nothing was decoded"
        assert now.keys() == {"a", "c"} == {name for _, name in known}, "and nothing that is gone is remembered"


@virtual_time
async def test_an_object_can_be_kept_as_it_is_now_and_decoded_later() -> None:
    api = WidgetServer()
    api.write("one", "a", node="n1")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        kept = widgets.kept("one", "a")
        assert widgets.kept("one", "b") is None
        api.write("one", "a", node="n2")
        await until(lambda: (now := widgets.get("one", "a")) is not None and now.spec.node == "n2")
        assert kept is not None
        assert kept()["spec"]["node"] == "n1"


@virtual_time
async def test_a_change_is_decoded_once_for_all_handlers() -> None:
    api = WidgetServer()
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    told: list[Delta[Widget]] = []
    for _ in range(3):
        widgets.add_handler(told.append)
    async with running(factory):
        api.write("one", "a", node="n1")
        await until(lambda: len(told) == 3)
        api.write("one", "a", node="n2")
        await until(lambda: len(told) == 6)
    assert [(d.old.spec.node if d.old else "", d.new.spec.node if d.new else "") for d in told] == [
        ("", "n1"),
        ("", "n1"),
        ("", "n1"),
        ("n1", "n2"),
        ("n1", "n2"),
        ("n1", "n2"),
    ]
    assert told[3].new is told[3].new is told[4].new is told[5].new
    assert told[3].old is told[5].old


@virtual_time
async def test_an_informer_that_is_removed_is_followed_no_more_and_can_be_made_again() -> None:
    api = WidgetServer()
    api.write("one", "a")
    factory = api.factory(namespaces=("one", "two"))
    widgets, keys = factory.informer(WIDGETS, Widget), factory.informer(WIDGETS, dict)
    told: list[str] = []
    keys.add_handler(lambda delta: told.append(delta.name))
    async with running(factory):
        reaching = asyncio.create_task(widgets.reached(1_000, 60.0, namespace="one"))
        await asyncio.sleep(1.0)
        factory.remove(widgets)
        await until(lambda: not api.streams)
        with pytest.raises(TimeoutError, match="removed"):
            await reaching
        assert list(factory.caches()) == []
        api.write("one", "b")
        with pytest.raises(ValueError, match="removed before"):
            factory.remove(keys)  # another view of the same

        again = factory.informer(WIDGETS, Widget)
        await again.wait_synced()
        assert names(again.list()) == ["a", "b"]
        assert told == ["a"]


@virtual_time
async def test_an_informer_that_is_removed_before_it_has_run_never_runs() -> None:
    api = WidgetServer()
    factory = api.factory()
    factory.remove(factory.informer(WIDGETS, Widget))
    async with running(factory):
        factory.remove(factory.informer(WIDGETS, Widget))
        await asyncio.sleep(60.0)
    assert api.requests == []


@virtual_time
async def test_reads() -> None:
    api = WidgetServer()
    api.write("one", "a", node="n1")
    api.write("two", "a", node="n2")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    widgets.add_index("node", lambda widget: [widget.spec.node] if widget.spec.node else [])
    assert widgets.get("one", "a") is None
    assert not widgets.synced
    async with running(factory):
        found = widgets.get("one", "a")
        assert found is not None
        assert found.spec.node == "n1"
        assert widgets.get("one", "a") is not found, "everyone gets an object of his own"
        assert widgets.get(Request("one", "a")) == widgets.get(found.metadata) == found
        assert names(widgets.list()) == ["a", "a"]
        assert [widget.spec.node for widget in widgets.list("two")] == ["n2"]
        assert widgets.list("three") == []
        assert widgets.keys() == [("one", "a"), ("two", "a")]
        assert widgets.keys("two") == [("two", "a")]
        assert len(widgets) == 2
        raw = widgets.raw("one", "a")
        assert raw is not None
        assert raw["kind"] == "Widget"
        assert "managedFields" not in raw["metadata"]
        assert [widget.metadata.namespace for widget in widgets.by_index("node", "n2")] == ["two"]
        api.write("two", "a", node="n1")
        api.write("two", "b")
        await settle()
        assert len(widgets.by_index("node", "n1")) == 2
        assert widgets.by_index("node", "n2") == []
        api.remove("one", "a")
        await settle()
        assert [widget.metadata.namespace for widget in widgets.by_index("node", "n1")] == ["two"]
        with pytest.raises(KeyError):
            widgets.by_index("zone", "z1")


@virtual_time
async def test_handlers_get_every_change_with_old_and_new() -> None:
    api = WidgetServer()
    api.write("one", "a", node="n1")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    seen: list[tuple[object, ...]] = []

    def handler(delta: Delta[Widget]) -> None:
        old, new = delta.old, delta.new
        seen.append((delta.type, delta.name, old and old.spec.node, new and new.spec.node, delta.initial))

    widgets.add_handler(handler)
    async with running(factory):
        api.write("one", "a", node="n2")
        api.write("one", "b", node="n3")
        api.remove("one", "a")
        await settle()
        late: list[tuple[str, bool]] = []
        widgets.add_handler(lambda delta: late.append((delta.name, delta.initial)))
        assert late == [("b", True)]
        api.write("one", "c")
        await settle()
        assert late == [("b", True), ("c", False)]
    assert seen == [
        ("added", "a", None, "n1", True),
        ("updated", "a", "n1", "n2", False),
        ("added", "b", None, "n3", False),
        ("deleted", "a", "n2", None, False),
        ("added", "c", None, "", False),
    ]


class PanicError(BaseException):
    """As those of libraries in Rust, which no `except Exception` catches."""


@pytest.mark.parametrize("error", [ValueError, PanicError])
@virtual_time
async def test_a_bad_handler_stops_neither_the_stream_nor_other_handlers(error: type[BaseException]) -> None:
    api = WidgetServer()
    api.write("one", "a")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)

    def bad(delta: Delta[Widget]) -> None:
        raise error(delta.name)

    seen: list[str] = []
    widgets.add_handler(bad)
    widgets.add_handler(lambda delta: seen.append(delta.name))
    widgets.add_index("bad", lambda widget: [str(1 / (widget.metadata.name == "a"))])
    async with running(factory):
        api.write("one", "b")
        await settle()
    assert seen == ["a", "b"]
    assert widgets.cache.stats.handler_errors == 3
    assert len(widgets.by_index("bad", "1.0")) == 1


@virtual_time
async def test_informers_are_shared_and_views_share_memory() -> None:
    factory = WidgetServer().factory(namespaces=("one",))
    widgets = factory.informer(WIDGETS, Widget)
    assert factory.informer(WIDGETS, Widget) is widgets
    whole: Informer[JsonObject] = factory.informer(WIDGETS, dict)
    assert whole.cache is widgets.cache
    assert factory.informer(WIDGETS, Widget, cluster_wide=True).cache is not widgets.cache
    assert factory.informer(WIDGETS, Widget, label_selector="a=b").cache is not widgets.cache
    assert factory.informer(WIDGETS, Widget, namespaces=("two",)).cache is not widgets.cache


@virtual_time
async def test_an_informer_that_comes_later_starts_at_once() -> None:
    api = WidgetServer()
    api.write("one", "a")
    factory = api.factory()
    async with running(factory):
        widgets = factory.informer(WIDGETS, Widget)
        await widgets.wait_synced()
        assert widgets.keys() == [("one", "a")]
        with pytest.raises(RuntimeError, match="before"):
            widgets.add_index("late", lambda widget: [])


@virtual_time
async def test_an_index_that_comes_while_the_first_list_does_is_refused() -> None:
    """The objects that are there already would not be in it."""
    api = WidgetServer(streaming=False)
    for name in "abc":
        api.write("one", name, node="n1")
    connection = api.connection()
    connection.late = 1.0
    factory = InformerFactory(Client(connection))
    widgets = factory.informer(WIDGETS, Widget)
    seen: list[str] = []
    widgets.add_handler(lambda delta: seen.append(delta.name))
    ((_, (watcher,)),) = factory.caches()
    async with running(factory, synced=False):
        await until(lambda: watcher.stats.pages == 1)
        with pytest.raises(RuntimeError, match="before"):
            widgets.add_index("node", lambda widget: [widget.spec.node])
        await widgets.wait_synced()
    assert seen == list("abc")
    assert watcher.stats.troubles == 0


@virtual_time
async def test_only_served_namespaces_are_watched() -> None:
    api = WidgetServer()
    for namespace in ("one", "two", "three"):
        api.write(namespace, "a")
    factory = api.factory(namespaces=("one", "two"))
    widgets = factory.informer(WIDGETS, Widget)
    everywhere = factory.informer(WIDGETS, Widget, cluster_wide=True)
    async with running(factory):
        assert widgets.keys() == [("one", "a"), ("two", "a")]
        assert len(everywhere) == 3
        api.remove("two", "a")
        api.write("three", "b")
        await settle()
        assert widgets.keys() == [("one", "a")]


@virtual_time
async def test_selectors_and_timeouts_are_asked_for() -> None:
    api = WidgetServer()
    factory = api.factory()
    factory.informer(WIDGETS, Widget, label_selector="app=rook", field_selector="spec.x=y")
    async with running(factory):
        await asyncio.sleep(1)
    assert [(asked.params["labelSelector"], asked.params["fieldSelector"]) for asked in api.requests] == [
        ("app=rook", "spec.x=y")
    ]
    assert 300 <= int(api.requests[0].params["timeoutSeconds"]) <= 600


@virtual_time
async def test_own_writes_are_seen_before_the_watch_tells() -> None:
    api = WidgetServer()
    api.write("one", "a", node="n1")
    factory = api.factory(namespaces=("one",))
    widgets = factory.informer(WIDGETS, Widget)
    seen: list[str] = []
    async with running(factory):
        widgets.add_handler(lambda delta: seen.append(delta.type))
        answer = api.write("one", "a", node="n2")
        widgets.observe_write(answer)
        found = widgets.get("one", "a")
        assert found is not None
        assert found.spec.node == "n2"
        raw = widgets.raw("one", "a")
        assert raw is not None
        assert "managedFields" not in raw["metadata"]
        await widgets.reached(api.version, 1.0, namespace="one")
        assert seen == ["added", "updated"], "the watch's event for it is no second change"
        widgets.observe_write(api.write("two", "x"))
        assert widgets.get("two", "x") is None, "of a namespace that is not served"


@virtual_time
async def test_a_late_answer_does_not_bring_back_what_was_deleted_since() -> None:
    api = WidgetServer()
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        answer = api.write("one", "a")
        api.remove("one", "a")
        await settle()
        widgets.observe_write(answer)
        assert widgets.keys() == []


@pytest.mark.parametrize("streaming", [True, False])
@virtual_time
async def test_an_own_write_while_a_list_is_on_its_way_stays_shown(streaming: bool) -> None:
    """The server has made the list before the write, and its answer comes after that of the write."""
    api = WidgetServer(streaming=streaming)
    for name in "ab":
        api.write("one", name, number=0)
    connection = api.connection()
    factory = InformerFactory(Client(connection))
    widgets = factory.informer(WIDGETS, dict)
    mirror = Mirror()
    widgets.add_handler(mirror)
    async with running(factory):
        await until(lambda: api.streams)
        connection.late = 1.0
        api.fail(ApiError(410, "Expired", "too old"))
        asked = len(api.requests)
        await until(lambda: any(lists(sent, streaming=streaming) for sent in api.requests[asked:]))
        (scope,) = widgets.cache.scopes.values()
        before = scope.lists_begun
        widgets.observe_write(api.write("one", "a", number=1))
        widgets.observe_write(api.write("one", "c", number=1))
        shown = {"a": 1, "b": 0, "c": 1}
        while scope.version < api.version:
            assert {obj["metadata"]["name"]: obj["spec"]["number"] for obj in widgets.list("one")} == shown
            assert scope.list_shown <= before, "it was asked for before the write"
            await asyncio.sleep(0.1)
        assert widgets.cache.stats.lists == 2
    assert widgets.cache.stats.handler_errors == 0
    assert mirror.objects == {key: plain(obj) for key, obj in api.objects.items()}


@virtual_time
async def test_a_list_does_not_tell_an_own_write_again_that_it_spells_in_another_way() -> None:
    """Servers in Go escape what is special in HTML."""
    api = WidgetServer()
    told: list[str] = []
    factory = api.factory()
    widgets = factory.informer(WIDGETS, dict)
    widgets.add_handler(lambda delta: told.append(delta.type))
    async with running(factory):
        await until(lambda: widgets.synced)
        widgets.observe_write(api.write("one", "a", node="a && b > c"))
        api.fail(ApiError(410, "Expired", "too old"))
        await until(lambda: widgets.cache.stats.lists == 2)
    assert told == ["added"]


def lists(sent: Sent, *, streaming: bool) -> bool:
    """Whether the request is one for a list, in the way that the server knows."""
    return ("sendInitialEvents" if streaming else "limit") in sent.params


@virtual_time
async def test_an_own_write_whose_answer_comes_while_a_list_that_shows_it_does_is_told_once() -> None:
    api = WidgetServer(streaming=False)
    for name in "abc":
        api.write("one", name, number=0)
    connection = api.connection()
    factory = InformerFactory(Client(connection))
    widgets = factory.informer(WIDGETS, dict)
    mirror = Mirror()
    widgets.add_handler(mirror)
    async with running(factory):
        await until(lambda: api.streams)
        connection.late = 1.0
        api.cut(0)
        answer = api.write("one", "a", number=1)
        api.compact()
        ((cache, (watcher,)),) = factory.caches()
        pages = watcher.stats.pages
        await until(lambda: watcher.stats.pages > pages)
        seen: list[str] = []
        widgets.add_handler(lambda delta: seen.append(f"{delta.type} {delta.name}"))
        seen.clear()
        widgets.observe_write(answer)
        await until(lambda: cache.stats.lists == 2)
        assert seen == ["updated a"]
    assert cache.stats.handler_errors == 0
    assert mirror.objects == {key: plain(obj) for key, obj in api.objects.items()}


@virtual_time
async def test_informers_with_selectors_ignore_own_writes() -> None:
    api = WidgetServer()
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget, label_selector="app=rook")
    async with running(factory):
        api.stall()
        widgets.observe_write(api.write("one", "a"))
        assert widgets.keys() == []


@virtual_time
async def test_reached_waits_for_an_event_or_a_bookmark_or_the_deadline() -> None:
    api = WidgetServer()
    factory = api.factory(namespaces=("one", "two"))
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        start = now()
        api.write("one", "a")
        await widgets.reached(api.version, 5.0, namespace="one")
        assert now() == start
        with pytest.raises(TimeoutError):
            await widgets.reached(api.version, 5.0)
        assert now() - start == pytest.approx(5.0)
        await widgets.reached(api.version, 100.0)
        assert now() - start == pytest.approx(60.0, abs=5.0)
        assert widgets.resource_version == api.version
        await widgets.reached(api.version + 99, 1.0, namespace="three")


@virtual_time
async def test_a_resource_that_is_not_there_yet() -> None:
    api = WidgetServer()
    api.refusals.extend([ApiError(404, "NotFound", "the server could not find the requested resource")] * 4)
    factory = api.factory(namespaces=("one",))
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory, synced=False):
        await asyncio.sleep(0.5)
        assert widgets.resource_version == 0
        assert widgets.trouble.startswith("namespace one: 404 NotFound: the server could not find")
        await asyncio.sleep(60)
        assert widgets.synced
        assert widgets.trouble == ""
    assert len(api.requests) == 5


@virtual_time
async def test_a_crd_that_goes_and_comes_back() -> None:
    api = WidgetServer()
    api.write("one", "a")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    seen: list[tuple[str, str]] = []
    widgets.add_handler(lambda delta: seen.append((delta.type, delta.name)))
    async with running(factory):
        api.refusals.extend([ApiError(404, "NotFound", "gone")] * 8)
        api.cut(0)
        await settle()
        api.remove("one", "a")
        await asyncio.sleep(2)
        assert "404" in widgets.trouble
        assert widgets.keys() == [("one", "a")], "it may be the server's start-up; nothing is deleted on a guess"
        api.write("one", "b")
        await asyncio.sleep(100)
        assert widgets.keys() == [("one", "b")]
    assert seen == [("added", "a"), ("deleted", "a"), ("added", "b")]


@virtual_time
async def test_a_server_without_streaming_lists_is_read_by_pages() -> None:
    api = WidgetServer(streaming=False)
    for name in "abcde":
        api.write("one", name)
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    start = now()
    async with running(factory):
        assert now() == start, "that is no trouble to pause for"
        assert names(widgets.list()) == list("abcde")
        await settle()
        assert [asked.params.get("limit") for asked in api.requests] == [None, "500", "500", "500", None]
        assert api.requests[-1].params["resourceVersion"] == str(api.version)
        raw = widgets.raw("one", "a")
        assert raw is not None
        assert raw["apiVersion"] == "example.org/v1"


@virtual_time
async def test_page_tokens_that_expire_lead_to_one_whole_list() -> None:
    api = WidgetServer(streaming=False)
    for name in "abcde":
        api.write("one", name)
    client = api.client()
    factory = InformerFactory(client)
    widgets = factory.informer(WIDGETS, Widget)
    request = client.request

    async def compacting(*args: str, **kwargs: object) -> bytes:
        page = await request(*args, **kwargs)  # type: ignore[arg-type]
        api.write("one", "f", number=api.version)
        api.compact()
        return page

    client.request = compacting  # type: ignore[method-assign]
    async with running(factory, synced=False):
        async with asyncio.timeout(10):
            await widgets.wait_synced()
        assert names(widgets.list()) == list("abcdef")
    assert [asked.params for asked in api.requests if not {"limit", "watch"} & asked.params.keys()] == [{}]


@virtual_time
async def test_readers_see_the_old_copy_until_a_relist_is_complete() -> None:
    api = WidgetServer(chunk=100)
    for name in "abcd":
        api.write("one", name)
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    sizes: set[int] = set()
    async with running(factory):
        api.cut(0)
        api.remove("one", "a")
        api.remove("one", "b")
        api.compact()
        while widgets.cache.stats.lists == 1:
            sizes.add(len(widgets))
            await asyncio.sleep(0.1 if not api.streams else 0)
        assert sizes == {4}
        assert names(widgets.list()) == ["c", "d"]
    assert widgets.cache.stats.tombstones == 2


@virtual_time
async def test_a_relist_keeps_what_did_not_change() -> None:
    api = WidgetServer()
    api.write("one", "a")
    api.write("one", "b")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        seen: list[tuple[str, str]] = []
        before = widgets.cache.entry("one", "a")
        widgets.cache.add_listener(lambda change: seen.append((change.name, str(change.initial))))
        seen.clear()
        api.cut(0)
        api.write("one", "b", node="changed")
        api.compact()
        await asyncio.sleep(30)
        assert widgets.cache.stats.lists == 2
        assert widgets.cache.entry("one", "a") is before
        assert seen == [("b", "False")]


@virtual_time
async def test_a_silent_stream_is_given_up_and_resumed_without_loss() -> None:
    api = WidgetServer()
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        await asyncio.sleep(1)
        start = now()
        api.stall()
        api.write("one", "a")
        appeared: list[float] = []
        widgets.add_handler(lambda delta: appeared.append(now() - start))
        await asyncio.sleep(100)
        assert len(appeared) == 1
        assert 70 <= appeared[0] <= 95
        assert widgets.cache.stats.lists == 1, "resumed, not listed anew"
    [(_, [watcher])] = factory.caches()
    assert watcher.stats.stalls == 1


@virtual_time
async def test_bookmarks_keep_a_quiet_stream_and_its_version_alive() -> None:
    api = WidgetServer()
    factory = api.factory(namespaces=("one",))
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        for _ in range(20):
            api.write("two", "elsewhere")
            await asyncio.sleep(60)
        assert widgets.resource_version >= api.version - 1
        api.cut(0)
        api.compact()
        await asyncio.sleep(100)
    assert widgets.cache.stats.lists <= 2
    [(_, [watcher])] = factory.caches()
    assert watcher.stats.stalls == 0


@virtual_time
async def test_a_server_restored_from_a_backup_is_noticed() -> None:
    api = WidgetServer()
    api.write("one", "a", node="before")
    backup = api.version
    api.write("one", "a", node="after")
    api.write("one", "b")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        api.restore(backup)
        await asyncio.sleep(600)
        found = widgets.get("one", "a")
        assert found is not None
        assert found.spec.node == "before"
        assert widgets.keys() == [("one", "a")]
        assert widgets.resource_version == backup
        api.write("one", "c")
        await settle()
        assert widgets.keys() == [("one", "a"), ("one", "c")]


@virtual_time
async def test_versions_that_a_restored_server_gives_again_are_not_taken_for_the_same() -> None:
    api = WidgetServer()
    api.write("one", "a", node="before")
    backup = api.version
    api.write("one", "a", node="lost")
    api.write("one", "b")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        known = widgets.cache.entry("one", "a")
        api.restore(backup)
        api.write("one", "a", node="after")
        await asyncio.sleep(600)
        found, entry = widgets.get("one", "a"), widgets.cache.entry("one", "a")
        assert found is not None
        assert found.spec.node == "after"
        assert known is not None
        assert entry is not None
        assert known.version == entry.version


@virtual_time
async def test_a_lagging_server_behind_a_load_balancer_is_noticed() -> None:
    api = WidgetServer()
    api.write("one", "a")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        api.tell("BOOKMARK", bookmark(WIDGETS, api.version - 5))
        api.refusals.append(AHEAD)
        await asyncio.sleep(10)
        assert widgets.cache.stats.lists == 2
        assert widgets.keys() == [("one", "a")]


@virtual_time
async def test_pauses_grow_and_shrink_again() -> None:
    api = WidgetServer()
    factory = api.factory()
    times: list[float] = []

    class Recorder(list[Sent]):
        def append(self, asked: Sent) -> None:
            times.append(now())
            super().append(asked)

    api.requests = Recorder()
    widgets = factory.informer(WIDGETS, Widget)
    api.refusals.extend([TransportError("connection reset")] * 13)
    async with running(factory):
        pauses = [after - before for before, after in itertools.pairwise(times)]
        for pause, nominal in zip(
            pauses, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30], strict=True
        ):
            assert nominal <= pause <= 2 * nominal
        await asyncio.sleep(31)
        api.cut(0)
        await asyncio.sleep(1)
        assert 0.05 <= times[-1] - times[-2] - 31 <= 0.1, "after a quiet time they start afresh"
    assert widgets.synced


@virtual_time
async def test_a_server_that_ends_every_watch_at_once_makes_no_busy_loop() -> None:
    api = WidgetServer()
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        for _ in range(1000):
            api.end()
            await asyncio.sleep(0.05)
        assert len(api.requests) < 12
        assert "without an event" in widgets.trouble


@virtual_time
async def test_the_server_s_wish_to_wait_is_respected() -> None:
    api = WidgetServer()
    api.refusals.append(ApiError(429, "TooManyRequests", "later", 25.0))
    factory = api.factory()
    factory.informer(WIDGETS, Widget)
    start = now()
    async with running(factory):
        assert now() - start == pytest.approx(25.0)


@virtual_time
async def test_events_before_an_unreadable_one_are_used() -> None:
    api = WidgetServer()
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    async with running(factory):
        api.push(
            encode_event("ADDED", {"metadata": {"name": "a", "namespace": "one", "resourceVersion": "11"}}) + b"{]\n"
        )
        await settle()
        assert widgets.keys() == [("one", "a")]
        assert "watch event" in widgets.trouble


@virtual_time
async def test_a_mistake_of_ours_starts_the_watch_over() -> None:
    api = WidgetServer()
    api.write("one", "a")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    scope = widgets.cache.scope("one")
    assert scope is not None
    stage = scope.stage

    def mistaken(changes: object) -> None:
        raise ZeroDivisionError

    scope.stage = mistaken  # type: ignore[method-assign]
    async with running(factory, synced=False):
        await asyncio.sleep(0.1)
        assert widgets.trouble == "internal error, see the log"
        scope.stage = stage  # type: ignore[method-assign]
        await asyncio.sleep(5)
        assert widgets.synced


@virtual_time
async def test_the_order_of_namespaces_makes_no_other_copy() -> None:
    factory = WidgetServer().factory()
    widgets = factory.informer(WIDGETS, Widget, namespaces=("one", "two"))
    assert factory.informer(WIDGETS, Widget, namespaces=("two", "one", "two")) is widgets


class PartialWidget(msgspec.Struct):
    metadata: Metadata


@pytest.mark.parametrize("streaming", [False, True])
@virtual_time
async def test_an_informer_of_metadata_has_nothing_else(streaming: bool) -> None:
    api = WidgetServer(streaming=streaming)
    api.write("one", "a", node="n1")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, PartialWidget, metadata_only=True)
    assert factory.informer(WIDGETS, PartialWidget).cache is not widgets.cache

    def expected() -> JsonObject:
        return partial(plain(api.objects["one", "a"]))

    async with running(factory):
        assert widgets.raw("one", "a") == expected()
        widgets.observe_write(api.write("one", "a", node="n2"))
        assert widgets.raw("one", "a") == expected()
        api.write("one", "a", node="n3")
        await settle()
        assert widgets.raw("one", "a") == expected()
        found = widgets.get("one", "a")
        assert found is not None
        assert found.metadata.uid == api.objects["one", "a"]["metadata"]["uid"]


async def test_a_handler_that_comes_late_is_told_by_slices_and_in_order() -> None:
    api = WidgetServer()
    for number in range(3000):
        api.write("one", f"widget-{number:04}")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    told: list[tuple[str, str, bool]] = []

    def slow(delta: Delta[Widget]) -> None:
        told.append((delta.type, delta.name, delta.initial))
        sum(range(2000))

    async with running(factory):
        widgets.add_handler(slow)
        assert 0 < len(told) < 3000
        api.remove("one", "widget-2999")
        turns = 0
        async with asyncio.timeout(20):
            while len(told) < 3001:  # the turns are counted
                await asyncio.sleep(0)
                turns += 1
        assert turns > 5
    assert told[:3000] == [("added", f"widget-{number:04}", True) for number in range(3000)]
    assert told[3000] == ("deleted", "widget-2999", False)


@virtual_time
async def test_a_handler_that_a_handler_adds_is_told_once() -> None:
    api = WidgetServer()
    for name in "abc":
        api.write("one", name)
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    told: list[str] = []

    def adds(delta: Delta[Widget]) -> None:
        if delta.name == "a":
            widgets.add_handler(lambda delta: told.append(delta.name))

    widgets.add_handler(adds)
    async with running(factory):
        assert told == ["a", "b", "c"]


async def test_a_big_list_lets_the_event_loop_run() -> None:
    api = WidgetServer()
    for number in range(3000):
        api.write("one", f"widget-{number:04}")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    turns = 0

    def slow(delta: Delta[Widget]) -> None:
        assert delta.new is not None
        sum(range(2000))

    async def others() -> None:
        nonlocal turns
        while not widgets.synced:
            await asyncio.sleep(0)
            turns += 1

    widgets.add_handler(slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        async with asyncio.timeout(20):
            await others()
        tasks.cancel_scope.cancel()
    assert turns > 5


@virtual_time
async def test_a_big_relist_lets_others_have_their_turns_and_readers_see_the_old_copy_until_its_end() -> None:
    api = WidgetServer()
    for number in range(300):
        api.write("one", f"w{number:03}", node="n1")
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    widgets.add_index("node", lambda widget: [widget.spec.node])
    async with running(factory):
        (scope,) = widgets.cache.scopes.values()
        scope.begin(newest=True)
        for number in range(300):
            api.write("one", f"w{number:03}", node="n2")
        objects = [
            wire.Object("one", name, int(obj["metadata"]["resourceVersion"]), orjson.dumps(obj))
            for (_, name), obj in api.objects.items()
        ]
        api.stall()
        scope.stage([wire.Upsert(found) for found in objects])
        seen: set[tuple[int, int]] = set()

        async def read() -> None:
            while True:
                await asyncio.sleep(0)
                kept = sum(len(entry.data) for _, bucket in widgets.cache.buckets(None) for entry in bucket.values())
                assert widgets.cache.size() == kept
                seen.add(tuple(len(widgets.by_index("node", node)) for node in ("n1", "n2")))  # type: ignore[arg-type]
                if not own:
                    own.append(api.write("one", "w299", node="n3"))
                    widgets.observe_write(own[0])

        own: list[JsonObject] = []
        async with counted_turns() as had:
            reader = asyncio.create_task(read())
            await scope.commit(api.version - 1)
            assert had[0] >= 300 // LOOKS - 1
            await asyncio.sleep(0)
            reader.cancel()
        assert seen == {(300, 0), (299, 0), (0, 299)}
        found = widgets.get("one", "w299")
        assert found is not None
        assert found.spec.node == "n3", "an own write that was made meanwhile stays"


@virtual_time
async def test_a_list_in_one_piece_may_take_as_long_as_it_goes_on_coming_in() -> None:
    api = WidgetServer(streaming=False)
    api.write("one", "a", node="n1")
    connection = api.connection()
    stream = connection.stream
    waited: list[float] = []

    class Slow:
        def __init__(self, body: bytes) -> None:
            self._parts = [body[:100], body[100:200], body[200:], b""]

        async def read(self) -> bytes:
            await asyncio.sleep(50)
            waited.append(now())
            return self._parts.pop(0)

    @asynccontextmanager
    async def slow(path: str, *, params: Mapping[str, str], accept: str, idle: float) -> AsyncIterator[Stream]:
        async with stream(path, params=params, accept=accept, idle=idle) as opened:
            yield opened if params.get("watch") == "true" else Slow(await opened.read())

    connection.stream = slow  # type: ignore[method-assign,assignment]
    (scope,) = Cache(WIDGETS, ("",)).scopes.values()
    watcher = Watcher(Client(connection), WIDGETS, scope, Outage(now, lambda: 0.0), {})
    taken = await watcher._page(Paging(whole=True))
    assert taken.state == Watching(api.version)
    assert scope.synced
    assert waited[-1] > 60


@virtual_time
async def test_a_kind_that_is_gone_is_logged_once() -> None:
    api = WidgetServer()
    factory = api.factory()
    factory.informer(WIDGETS, Widget)
    with capture_logs() as logs:
        async with running(factory):
            api.refusals.extend(ApiError(404, message="404 page not found") for _ in range(20))
            api.cut(0)
            await until(lambda: not api.refusals)

    reasons = [(log["log_level"], log["reason"]) for log in logs if log["event"] == "watch interrupted"]
    assert reasons.count(("warning", "404: 404 page not found")) == 1
    assert reasons.count(("debug", "404: 404 page not found")) == 19


@virtual_time
async def test_an_object_that_cannot_be_read_hurts_only_itself() -> None:
    api = WidgetServer()
    api.write("one", "a", node="n1")
    api.write("one", "bad", node=7)
    factory = api.factory()
    widgets = factory.informer(WIDGETS, Widget)
    widgets.add_index("node", lambda widget: [widget.spec.node])
    told: list[Delta[Widget]] = []
    widgets.add_handler(told.append)
    with capture_logs() as logs:
        async with running(factory):
            message = r"widgets\.example\.org one/bad cannot be read: .*\$\.spec\.node"
            with pytest.raises(UndecodableError, match=message):
                widgets.get("one", "bad")
            (delta,) = (delta for delta in told if delta.name == "bad")
            with pytest.raises(UndecodableError, match=message):
                assert delta.new
            for _ in range(2):
                assert names(widgets.list()) == ["a"]
                assert names([widget async for widget in widgets.walk()]) == ["a"]
            assert widgets.cache.stats.undecodable == 1
            assert [log["name"] for log in logs if log["event"] == "object left out"] == ["bad"]

            assert names(widgets.by_index("node", "n1")) == ["a"]
            with pytest.raises(IncompleteIndexError, match=r"index 'node' of widgets\.example\.org .* one/bad "):
                widgets.by_index("node", "n1", complete=True)
            api.cut(0)
            api.write("two", "b", node="n3")
            api.compact()  # a relist knows it too
            await until(lambda: widgets.cache.stats.lists == 2)
            with pytest.raises(IncompleteIndexError):
                widgets.by_index("node", "n1", complete=True)
            api.write("one", "bad", node="n2")
            await until(lambda: widgets.by_index("node", "n2"))
            assert names(widgets.by_index("node", "n1", complete=True)) == ["a"]


@virtual_time
async def test_a_list_whose_pages_expire_is_begun_anew() -> None:
    api = WidgetServer(page_limit=2)
    for name in "abc":
        api.write("one", name)
    connection = api.connection()
    request = connection.request
    asked = 0

    async def expiring(*args: Any, **kwargs: Any) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 2:
            api.remove("one", "a")
            api.compact()
        return await request(*args, **kwargs)

    connection.request = expiring  # type: ignore[method-assign]
    found = await Client(connection).list(WIDGETS)
    assert [obj["metadata"]["name"] for obj in found] == ["b", "c"]
    assert asked == 3
