"""What the pages below `/debug/` show."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import anyio
import orjson
import pytest
from prometheus_client import CollectorRegistry

from controller.runtime.controller import SLOWEST_KEPT, Controller
from controller.runtime.debug import MOST_LISTED, debug_pages
from controller.runtime.kube import POD, PartialObject
from controller.runtime.probes import Probes
from controller.runtime.reconciler import Request, Result
from controller.testkit import now, virtual_time
from informers import Client, InformerFactory, Resource
from informers.configuration import discover
from informers.entry import Entry
from informers.http import HttpTransport
from workqueue import LOW_PRIORITY

SECRET = Resource("", "v1", "Secret", "secrets")


class Sleeping:
    """A reconciler that sleeps for as many seconds as the request's name says."""

    async def reconcile(self, request: Request) -> Result:
        await asyncio.sleep(float(request.name))
        return Result()


def always(_writes: object, _caught_up: object) -> bool:
    return True


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> InformerFactory:
    """Informers that nobody runs; tests fill their caches."""
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    return InformerFactory(Client(HttpTransport(discover(), user_agent="test")))


def shown(page: str, factory: InformerFactory, *controllers: Controller) -> object:
    """What a page shows, after its way through JSON."""
    return json.loads(orjson.dumps(debug_pages(controllers, factory)[page].make()))


class TestQueues:
    @virtual_time
    async def test_the_keys_with_when_they_are_due(self) -> None:
        controller = Controller("pools", Sleeping(), workers=2, clock=now)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run, always)
            for name in ("100", "200"):
                controller.queue.add(Request("ns", name))
            while len(controller.active) < 2:  # noqa: ASYNC110  # in virtual time, of which none may pass here
                await asyncio.sleep(0)
            controller.queue.add(Request("ns", "1"))
            controller.queue.add(Request("ns", "2"), priority=LOW_PRIORITY)
            controller.queue.add_after(Request("", "3"), 30.0)
            await asyncio.sleep(10.0)

            page = debug_pages([controller], None)["queues"].make()  # type: ignore[arg-type]  # no caches here
            tasks.cancel_scope.cancel()

        assert page == {
            "pools": {
                "ready": {
                    "count": 2,
                    "first": [{"request": "ns/1", "priority": 0}, {"request": "ns/2", "priority": LOW_PRIORITY}],
                    "more": 0,
                },
                "delayed": {"count": 1, "first": [{"request": "3", "dueSeconds": 20.0, "failures": 0}], "more": 0},
                "active": {
                    "count": 2,
                    "first": [{"request": "ns/100", "seconds": 10.0}, {"request": "ns/200", "seconds": 10.0}],
                    "more": 0,
                },
                "workers": 2,
            }
        }

    async def test_long_queues_are_cut_off_and_the_rest_is_counted(self, factory: InformerFactory) -> None:
        controller = Controller("pools", Sleeping())
        for number in range(MOST_LISTED + 7):
            controller.queue.add(Request("ns", f"ready-{number}"))
            controller.queue.add_after(Request("ns", f"delayed-{number}"), 60.0 + number)

        page = shown("queues", factory, controller)

        assert isinstance(page, dict)
        for part in ("ready", "delayed"):
            found = page["pools"][part]
            assert (found["count"], len(found["first"]), found["more"]) == (MOST_LISTED + 7, MOST_LISTED, 7)
            assert found["first"][0]["request"] == f"ns/{part}-0"
        controller.shut_down()


class TestReconciles:
    @virtual_time
    async def test_the_slowest_with_when_and_by_which_id_logs_know_them(self) -> None:
        controller = Controller("pools", Sleeping(), clock=now)
        before = datetime.now(UTC)
        seconds = [5, 1, 9, *range(20, 20 + SLOWEST_KEPT - 2), 3]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run, always)
            for number in seconds:
                controller.queue.add(Request("ns", str(number)))
            await controller.queue.wait_idle()
            tasks.cancel_scope.cancel()

        page = debug_pages([controller], None)["reconciles"].make()  # type: ignore[arg-type]  # no caches here

        assert isinstance(page, dict)
        slowest = page["pools"]
        assert [slow["seconds"] for slow in slowest] == sorted(seconds, reverse=True)[:SLOWEST_KEPT]
        assert [slow["request"] for slow in slowest] == [f"ns/{slow['seconds']:.0f}" for slow in slowest]
        assert len({slow["reconcileID"] for slow in slowest}) == SLOWEST_KEPT
        for slow in slowest:
            assert before - timedelta(seconds=1) <= datetime.fromisoformat(slow["ended"]) <= datetime.now(UTC)


class TestCaches:
    async def test_sizes_and_state_and_no_contents(self, factory: InformerFactory) -> None:
        secrets = factory.informer(SECRET, dict, label_selector="app=rook", namespaces=("a", "b"))
        pods = factory.informer(POD, PartialObject, metadata_only=True)
        content = orjson.dumps({"metadata": {"name": "key", "namespace": "a"}, "data": {"key": "aGlkZGVu"}})
        secrets.cache.put("a", "key", Entry(7, content))
        pods.cache.put("a", "one", Entry(8, b"x" * 100))
        pods.cache.scopes[""].trouble = "403 Forbidden: no"
        _, watchers = next(factory.caches())
        watchers[0].stats.last_event = now() - 5.0
        watchers[0].scope.version = 7

        page = shown("caches", factory)

        assert isinstance(page, list)
        assert "aGlkZGVu" not in json.dumps(page)
        first, second = page
        ages = [scope.pop("lastEventSeconds") for scope in first["scopes"]]
        assert ages == [pytest.approx(5.0, abs=1.0), None]
        assert first == {
            "resource": "secrets",
            "metadataOnly": False,
            "selectors": {"labelSelector": "app=rook"},
            "objects": 1,
            "bytes": len(content),
            "indexes": 0,
            "synced": False,
            "trouble": "",
            "scopes": [
                {"namespace": "a", "resourceVersion": 7, "synced": False, "trouble": "", "watches": 0, "stalls": 0},
                {"namespace": "b", "resourceVersion": 0, "synced": False, "trouble": "", "watches": 0, "stalls": 0},
            ],
        }
        assert (second["resource"], second["bytes"], second["trouble"]) == ("pods", 100, "403 Forbidden: no")
        assert second["metadataOnly"]


JSON_PAGES = {"/debug/queues", "/debug/reconciles", "/debug/caches"}


class TestServing:
    @pytest.fixture
    async def url(self, factory: InformerFactory) -> AsyncIterator[str]:
        pages = debug_pages([Controller("pools", Sleeping())], factory)
        probes = Probes(CollectorRegistry(), live=dict, ready=dict, debug=pages)
        async with probes.serve(("127.0.0.1", 0), ("127.0.0.1", 0)) as (_, (host, port)):
            yield f"http://{host}:{port}"

    async def test_the_index_lists_what_is_there(self, url: str) -> None:
        async with aiohttp.ClientSession(url) as session:
            async with session.get("/debug/") as answer:
                index = await answer.json()
            assert set(index) == {
                "/healthz",
                "/readyz",
                "/debug/tasks",
                "/debug/queues",
                "/debug/reconciles",
                "/debug/caches",
            }
            for page in index:
                async with session.get(page) as answer:
                    assert answer.status == 200
                    assert answer.content_type == ("application/json" if page in JSON_PAGES else "text/plain")
                async with session.post(page) as answer:
                    assert answer.status == 405

    @pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "localhost", ""])  # noqa: S104
    async def test_an_address_that_others_can_reach_is_refused(self, host: str) -> None:
        probes = Probes(CollectorRegistry(), live=dict, ready=dict, debug={})
        with pytest.raises(ValueError, match=f"debug address {host} is not a loopback address such as 127.0.0.1"):
            async with probes.serve(("127.0.0.1", 0), (host, 0)):
                pass
