"""Events in virtual time: aggregated, rate-limited, bounded, and never in the way."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from controller.framework.program import CEPH_KEY
from controller.runtime import events
from controller.runtime.events import EventRecorder
from controller.runtime.kube import CONFIG_MAP, EVENT, NAMESPACE
from controller.runtime.leader import NotLeaderError
from controller.runtime.log import hide
from controller.testkit import ApiServer, now, until, virtual_time, wall_clock
from informers import ApiError, Client, JsonObject, TransportError

CLUSTER = {
    "apiVersion": "ceph.rook.io/v1",
    "kind": "CephCluster",
    "metadata": {"namespace": "ns", "name": "c", "uid": "u", "resourceVersion": "9"},
}


def new_server() -> ApiServer:
    return ApiServer(namespaces=("default", "ns"))


def written(server: ApiServer) -> list[JsonObject]:
    """The events that there are, in the order of their creation."""
    return sorted(server.list(EVENT), key=lambda event: str(event["eventTime"]))


def notes(server: ApiServer) -> list[str]:
    return sorted(event["note"] for event in written(server))


def writes(server: ApiServer) -> int:
    return sum(sent.method != "GET" for sent in server.requests)


def new_recorder(client: Client) -> EventRecorder:
    return EventRecorder(client, controller="rook.io/operator", instance="pod-1", clock=now, now=wall_clock)


@asynccontextmanager
async def recording(client: Client) -> AsyncIterator[EventRecorder]:
    recorder = new_recorder(client)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorder.run)
        await asyncio.sleep(0)
        yield recorder
        tasks.cancel_scope.cancel()


@virtual_time
async def test_the_first_of_a_kind_is_written_at_once() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Warning", "MonDown", "mon a is out of quorum", "Wait")
        await until(lambda: bool(written(server)))

    (event,) = written(server)
    name = event["metadata"]["name"]
    assert name.startswith("c.")
    assert event | {"metadata": {"namespace": event["metadata"]["namespace"], "name": name}} == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "ns", "name": name},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "rook.io/operator",
        "reportingInstance": "pod-1",
        "regarding": {
            "apiVersion": "ceph.rook.io/v1",
            "kind": "CephCluster",
            "namespace": "ns",
            "name": "c",
            "uid": "u",
            "resourceVersion": "9",
        },
        "type": "Warning",
        "reason": "MonDown",
        "action": "Wait",
        "note": "mon a is out of quorum",
    }


@virtual_time
async def test_repetitions_become_a_series_that_is_written_once_a_minute() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        for _ in range(600):
            recorder.event(CLUSTER, "Warning", "MonDown", "mon a is out of quorum")
            await asyncio.sleep(1)
        await asyncio.sleep(61)

    (event,) = written(server)
    assert event["series"] == {"count": 600, "lastObservedTime": "2026-01-01T00:09:59.000000Z"}
    assert writes(server) <= 1 + 11


@virtual_time
async def test_a_series_ends_after_six_quiet_minutes() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        for _ in range(2):
            recorder.event(CLUSTER, "Normal", "Done", "x")
            await asyncio.sleep(400)

    assert len(written(server)) == 2


@virtual_time
async def test_different_notes_are_different_events() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        for name in "abc":
            recorder.event(CLUSTER, "Normal", "MonStarted", f"mon {name} was started")
        await until(lambda: len(written(server)) == 3)

    assert notes(server) == [f"mon {name} was started" for name in "abc"]


@virtual_time
async def test_a_flood_about_one_object_is_cut_off_and_counted_and_others_are_heard() -> None:
    server = new_server()
    other = {"kind": "CephBlockPool", "namespace": "ns", "name": "p", "uid": "v"}
    async with recording(server.client()) as recorder:
        for number in range(1000):
            recorder.event(CLUSTER, "Warning", "Failed", f"error {number}")
        recorder.event(other, "Normal", "Done", "fine")
        await until(lambda: "fine" in notes(server))
        assert len(written(server)) == events.BURST + 1
        assert recorder.stats.dropped_rate_limited == 1000 - events.BURST

        await asyncio.sleep(events.REFILL * 2)
        for number in range(10):
            recorder.event(CLUSTER, "Warning", "Failed", f"later error {number}")
        await asyncio.sleep(1)
        assert sum("later" in note for note in notes(server)) == 2


@virtual_time
async def test_a_flood_of_what_is_normal_leaves_room_for_a_warning() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        for number in range(100):
            recorder.event(CLUSTER, "Normal", "Scaled", f"step {number}")
        recorder.event(CLUSTER, "Warning", "Failed", "no quorum")
        await until(lambda: "no quorum" in notes(server))


@virtual_time
async def test_occurrences_of_series_that_are_forgotten_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SERIES_KEPT", 1)
    server = new_server()
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await until(lambda: notes(server) == ["x"])
        for _ in range(3):
            recorder.event(CLUSTER, "Normal", "Done", "x")
        recorder.event(CLUSTER, "Normal", "Done", "y")
        await asyncio.sleep(120)

    assert notes(server) == ["x", "y"]
    assert recorder.stats.dropped_buffer_full == 3


@virtual_time
async def test_the_buffer_is_bounded_and_never_waited_for() -> None:
    server = new_server()
    recorder = new_recorder(server.client())  # nobody writes
    for number in range(events.BUFFER + 5):
        recorder.event({"kind": "Pod", "name": f"p{number}"}, "Normal", "Done", "x")

    assert recorder.stats.dropped_buffer_full == 5
    assert now() == 0


@virtual_time
async def test_a_write_that_fails_for_a_while_is_repeated() -> None:
    server = new_server()
    server.refusals.extend([TransportError("no connection"), ApiError(503, "", "busy")])
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await until(lambda: bool(written(server)))

    assert writes(server) == 3
    assert recorder.stats.dropped_failed == 0


@virtual_time
async def test_a_write_that_cannot_succeed_is_given_up_and_counted() -> None:
    server = new_server()
    server.create(CONFIG_MAP, {"metadata": {"namespace": "ns", "name": "held", "finalizers": ["a.io/x"]}})
    server.delete(NAMESPACE, "", "ns")
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(10)
        assert writes(server) == 1
        assert recorder.stats.dropped_failed == 1


@virtual_time
async def test_who_does_not_lead_writes_nothing_and_goes_on_when_it_leads_again() -> None:
    def gate() -> None:
        raise NotLeaderError("not the leader")

    server = new_server()
    client = server.client()
    async with recording(client) as recorder:
        client.write_gate = gate
        recorder.event(CLUSTER, "Normal", "Done", "y")
        await asyncio.sleep(10)
        client.write_gate = None
        recorder.event(CLUSTER, "Normal", "Done", "z")
        await until(lambda: notes(server) == ["z"])

    assert writes(server) == 1


@virtual_time
async def test_an_error_of_the_program_and_a_note_that_is_no_text_do_not_stop_the_others() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        recorder.event({"kind": "Pod", "namespace": "ns", "name": "no text \udcff"}, "Normal", "First", "lost")
        recorder.event(CLUSTER, "Normal", "Second", "file \udcff")
        await until(lambda: len(written(server)) == 1)

    assert notes(server) == ["file ?"]
    assert recorder.stats.dropped_failed == 1


@virtual_time
async def test_an_event_that_has_expired_on_the_server_begins_anew() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(1)
        server.delete(EVENT, "ns", written(server)[0]["metadata"]["name"])
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(61)
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await until(lambda: bool(written(server)))

    assert recorder.stats.dropped_failed == 1


@virtual_time
async def test_closing_writes_what_is_left() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(1)
        recorder.event(CLUSTER, "Normal", "Done", "x")
        recorder.event(CLUSTER, "Normal", "Ended", "y")
        await recorder.close()

    done, ended = written(server)
    assert done["series"]["count"] == 2
    assert ended["note"] == "y"
    assert now() < 2


@virtual_time
async def test_fits_the_apis_limits_and_holds_no_secret() -> None:
    hide(CEPH_KEY)
    server = new_server()
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Normal", "R" * 200, "ü" * 1000, "A" * 200)
        recorder.event({"kind": "Node", "name": "n"}, "Normal", "Key", "AQBTZ2VmAAAAABAAn3sZ0Qkq8H1vC2bJmX5W0Q==")
        await until(lambda: len(written(server)) == 2)

    long, key = sorted(written(server), key=lambda event: str(event["regarding"]["kind"]))
    assert (len(long["reason"]), len(long["action"])) == (128, 128)
    assert len(long["note"].encode()) <= 1024
    assert key["note"] == "[redacted]"
    assert key["metadata"]["namespace"] == "default"


@virtual_time
async def test_at_rest_it_does_nothing() -> None:
    server = new_server()
    async with recording(server.client()) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(3600)

    assert writes(server) == 1


@virtual_time
async def test_an_event_does_not_look_at_all_series() -> None:
    looks = 0

    class Counted(OrderedDict[Any, Any]):
        def items(self) -> Any:
            nonlocal looks
            looks += 1
            return super().items()

    server = new_server()
    async with recording(server.client()) as recorder:
        recorder._series = Counted()
        for number in range(2):
            for _ in range(20):
                recorder.event(CLUSTER, "Warning", "MonDown", "mon a is out of quorum", "Wait")
                await asyncio.sleep(0.1)
            assert looks <= 2 * number + 2
            await asyncio.sleep(events.SERIES_WRITTEN_EVERY)
    (event,) = written(server)
    assert event["series"]["count"] == 40
