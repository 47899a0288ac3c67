"""Monitors are made where the cluster has their type, and asked for seldom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio

from controller.framework.monitoring import (
    FRESH,
    POD_MONITOR,
    SERVICE_MONITOR,
    ApplyMonitor,
    DeleteMonitor,
    Monitored,
    Monitors,
    analyze,
    monitor,
)
from controller.testkit import ApiServer, virtual_time
from informers import ApiError

if TYPE_CHECKING:
    from informers import Client, JsonObject

META = {"name": "x", "namespace": "ns", "labels": {"app": "x"}}
WANTED = monitor(SERVICE_MONITOR, META, {"app": "x"}, "metrics", interval="10s")


def live(obj: JsonObject) -> Monitored:
    there = {**obj, "metadata": {**obj["metadata"], "uid": "u1"}}
    return Monitored(True, {("ServiceMonitor", "x"): there})


def test_a_monitor_of_services_and_one_of_pods() -> None:
    assert WANTED["spec"] == {
        "namespaceSelector": {"matchNames": ["ns"]},
        "selector": {"matchLabels": {"app": "x"}},
        "endpoints": [{"port": "metrics", "path": "/metrics", "interval": "10s"}],
    }
    pods = monitor(POD_MONITOR, META, {"app": "x"}, "metrics", scheme="https")
    assert pods["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "path": "/metrics", "scheme": "https"}]


def test_without_the_type_nothing_is_made() -> None:
    assert analyze(SERVICE_MONITOR, [WANTED], Monitored(), subject="x") == ()


def test_a_monitor_is_made_mended_and_taken_away() -> None:
    (step,) = analyze(SERVICE_MONITOR, [WANTED], Monitored(True), subject="x")
    assert step.action == ApplyMonitor(SERVICE_MONITOR, WANTED)
    assert analyze(SERVICE_MONITOR, [WANTED], live(WANTED), subject="x") == ()
    other = monitor(SERVICE_MONITOR, META, {"app": "x"}, "metrics", interval="60s")
    (step,) = analyze(SERVICE_MONITOR, [WANTED], live(other), subject="x")
    assert step.action == ApplyMonitor(SERVICE_MONITOR, WANTED)
    (step,) = analyze(SERVICE_MONITOR, [], live(WANTED), subject="x")
    assert step.action == DeleteMonitor(SERVICE_MONITOR, "ns", "x", "u1")


@virtual_time
async def test_what_is_there_is_asked_for_now_and_then() -> None:
    server = ApiServer(namespaces=("ns",))
    client = server.client()
    monitors = Monitors(client, SERVICE_MONITOR, "rook")
    assert await monitors.observe("ns", "app=x", wanted=True) == Monitored()
    server.serve(SERVICE_MONITOR)
    assert await monitors.observe("ns", "app=x", wanted=True) == Monitored(), "as it was a moment ago"
    await anyio.sleep(FRESH)
    assert await monitors.observe("ns", "app=x", wanted=True) == Monitored(True)
    await monitors.handlers()[ApplyMonitor](ApplyMonitor(SERVICE_MONITOR, WANTED))
    seen = await monitors.observe("ns", "app=x", wanted=True)
    assert analyze(SERVICE_MONITOR, [WANTED], seen, subject="x") == (), "what was written is seen at once"
    (step,) = analyze(SERVICE_MONITOR, [], seen, subject="x")
    await monitors.handlers()[DeleteMonitor](step.action)
    assert await monitors.observe("ns", "app=x", wanted=False) == Monitored(True)
    server.create(SERVICE_MONITOR, WANTED)
    await anyio.sleep(FRESH)
    assert (await monitors.observe("ns", "app=x", wanted=False)).live == {}, "nobody is asked for what is not wanted"


async def test_monitors_that_cannot_be_listed_keep_nothing_up() -> None:
    server = ApiServer(namespaces=("ns",))
    server.serve(SERVICE_MONITOR)
    server.create(SERVICE_MONITOR, WANTED)
    client = Failing(server.client())
    monitors = Monitors(cast("Client", client), SERVICE_MONITOR, "rook")
    client.status = 500
    assert await monitors.observe("ns", "app=x", wanted=True) == Monitored()
    client.status = 0
    assert len((await monitors.observe("ns", "app=x", wanted=True)).live) == 1, "it is asked again at the next look"
    monitors = Monitors(cast("Client", client), SERVICE_MONITOR, "rook")
    client.status = 403
    assert await monitors.observe("ns", "app=x", wanted=True) == Monitored(), "the role of an older chart"


class Failing:
    """A client whose lists fail with a status, unless that is 0."""

    def __init__(self, client: Client) -> None:
        self.client, self.status = client, 0

    async def list(self, *args: Any, **kwargs: Any) -> list[JsonObject]:
        if self.status:
            raise ApiError(self.status, "", "webhook is away")
        return await self.client.list(*args, **kwargs)
