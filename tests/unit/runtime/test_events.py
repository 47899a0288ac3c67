"""Events in virtual time: aggregated, rate-limited, bounded, and never in the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import anyio

from controller.runtime import events
from controller.runtime.events import EventRecorder
from controller.runtime.leader import NotLeaderError
from controller.testkit import now, until, virtual_time
from informers import ApiError, Client, Resource, TransportError

CLUSTER = {
    "apiVersion": "ceph.rook.io/v1",
    "kind": "CephCluster",
    "metadata": {"namespace": "ns", "name": "c", "uid": "u", "resourceVersion": "9"},
}


class Server:
    """Takes what is written to it, and answers the next requests with `errors` if there are any."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.writes: list[float] = []
        self.errors: list[Exception] = []

    async def create(self, _resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        self._count()
        self.events[obj["metadata"]["name"]] = obj
        return obj

    async def patch(
        self, _resource: Resource, _namespace: str, name: str, body: dict[str, Any], *, content_type: str
    ) -> dict[str, Any]:
        assert content_type == "application/merge-patch+json"
        self._count()
        if name not in self.events:
            raise ApiError(404, "NotFound", "gone")
        self.events[name] |= body
        return self.events[name]

    def _count(self) -> None:
        self.writes.append(now())
        if self.errors:
            raise self.errors.pop(0)

    def notes(self) -> list[str]:
        return [event["note"] for event in self.events.values()]


@asynccontextmanager
async def recording(server: Server) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(
        cast("Client", server),
        controller="rook.io/operator",
        instance="pod-1",
        clock=now,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now()),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorder.run)
        await asyncio.sleep(0)
        yield recorder
        tasks.cancel_scope.cancel()


@virtual_time
async def test_the_first_of_a_kind_is_written_at_once() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Warning", "MonDown", "mon a is out of quorum", "Wait")
        await until(lambda: bool(server.events))

    ((name, event),) = server.events.items()
    assert name.startswith("c.")
    assert event == {
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
    server = Server()
    async with recording(server) as recorder:
        for _ in range(600):
            recorder.event(CLUSTER, "Warning", "MonDown", "mon a is out of quorum")
            await asyncio.sleep(1)
        await asyncio.sleep(61)

    (event,) = server.events.values()
    assert event["series"] == {"count": 600, "lastObservedTime": "2026-01-01T00:09:59.000000Z"}
    assert len(server.writes) <= 1 + 11


@virtual_time
async def test_a_series_ends_after_six_quiet_minutes() -> None:
    server = Server()
    async with recording(server) as recorder:
        for _ in range(2):
            recorder.event(CLUSTER, "Normal", "Done", "x")
            await asyncio.sleep(400)

    assert len(server.events) == 2


@virtual_time
async def test_different_notes_are_different_events() -> None:
    server = Server()
    async with recording(server) as recorder:
        for name in "abc":
            recorder.event(CLUSTER, "Normal", "MonStarted", f"mon {name} was started")
        await until(lambda: len(server.events) == 3)

    assert server.notes() == [f"mon {name} was started" for name in "abc"]


@virtual_time
async def test_a_flood_about_one_object_is_cut_off_and_counted_and_others_are_heard() -> None:
    server = Server()
    other = {"kind": "CephBlockPool", "namespace": "ns", "name": "p", "uid": "v"}
    async with recording(server) as recorder:
        for number in range(1000):
            recorder.event(CLUSTER, "Warning", "Failed", f"error {number}")
        recorder.event(other, "Normal", "Done", "fine")
        await until(lambda: "fine" in server.notes())
        assert len(server.events) == events.BURST + 1
        assert recorder.stats.dropped_rate_limited == 1000 - events.BURST

        await asyncio.sleep(events.REFILL * 2)
        for number in range(10):
            recorder.event(CLUSTER, "Warning", "Failed", f"later error {number}")
        await asyncio.sleep(1)
        assert sum("later" in note for note in server.notes()) == 2


@virtual_time
async def test_the_buffer_is_bounded_and_never_waited_for() -> None:
    server = Server()
    recorder = EventRecorder(cast("Client", server), controller="c", instance="i", clock=now)  # nobody writes
    for number in range(events.BUFFER + 5):
        recorder.event({"kind": "Pod", "name": f"p{number}"}, "Normal", "Done", "x")

    assert recorder.stats.dropped_buffer_full == 5
    assert now() == 0


@virtual_time
async def test_a_write_that_fails_for_a_while_is_repeated() -> None:
    server = Server()
    server.errors = [TransportError("no connection"), ApiError(503, "", "busy")]
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await until(lambda: bool(server.events))

    assert recorder.stats.dropped_failed == 0


@virtual_time
async def test_a_write_that_cannot_succeed_is_given_up_and_counted() -> None:
    server = Server()
    server.errors = [ApiError(403, "Forbidden", "the namespace is being terminated")]
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(10)
        assert len(server.writes) == 1
        assert recorder.stats.dropped_failed == 1

        server.errors = [NotLeaderError("not the leader")]
        recorder.event(CLUSTER, "Normal", "Done", "y")
        await asyncio.sleep(10)
        recorder.event(CLUSTER, "Normal", "Done", "z")
        await until(lambda: server.notes() == ["z"])


@virtual_time
async def test_an_error_of_the_program_and_a_note_that_is_no_text_do_not_stop_the_others() -> None:
    server = Server()
    server.errors = [TypeError("cannot be encoded")]
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Normal", "First", "lost")
        recorder.event(CLUSTER, "Normal", "Second", "file \udcff")
        await until(lambda: len(server.events) == 1)

    assert server.notes() == ["file ?"]
    assert recorder.stats.dropped_failed == 1


@virtual_time
async def test_an_event_that_has_expired_on_the_server_begins_anew() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(1)
        server.events.clear()
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(61)
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await until(lambda: bool(server.events))

    assert recorder.stats.dropped_failed == 1


@virtual_time
async def test_closing_writes_what_is_left() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(1)
        recorder.event(CLUSTER, "Normal", "Done", "x")
        recorder.event(CLUSTER, "Normal", "Ended", "y")
        await recorder.close()

    done, ended = server.events.values()
    assert done["series"]["count"] == 2
    assert ended["note"] == "y"
    assert now() < 2


@virtual_time
async def test_fits_the_apis_limits_and_holds_no_secret() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Normal", "R" * 200, "ü" * 1000, "A" * 200)
        recorder.event({"kind": "Node", "name": "n"}, "Normal", "Key", "AQBTZ2VmAAAAABAAn3sZ0Qkq8H1vC2bJmX5W0Q==")
        await until(lambda: len(server.events) == 2)

    long, key = server.events.values()
    assert (len(long["reason"]), len(long["action"])) == (128, 128)
    assert len(long["note"].encode()) <= 1024
    assert key["note"] == "[redacted]"
    assert key["metadata"]["namespace"] == "default"


@virtual_time
async def test_at_rest_it_does_nothing() -> None:
    server = Server()
    async with recording(server) as recorder:
        recorder.event(CLUSTER, "Normal", "Done", "x")
        await asyncio.sleep(3600)

    assert len(server.writes) == 1
