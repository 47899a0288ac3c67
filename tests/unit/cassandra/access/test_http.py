"""Members over HTTP: what an answer means, and that no answer means nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from controller.cassandra.access import beans, http
from controller.cassandra.access.answers import (
    UNREACHABLE,
    Drain,
    JobState,
    Mode,
    Phase,
    RefusedError,
    Snapshot,
    UnansweredError,
)
from controller.cassandra.access.http import HttpMember, HttpMembers
from controller.cassandra.access.members import Door, Login
from tests.unit.cassandra.access.test_beans import STORAGE

LOGIN = Login("operator", "secret")
REPORT = {"phase": "Running", "message": "", "hostId": "h1", "volumeSize": 100, "volumeFree": 60}
STATE = {
    str(beans.STATE_REQUESTS[0]["attribute"]): {**STORAGE, "OperationMode": "DECOMMISSIONED"},
    str(["Datacenter", "Rack"]): {"Datacenter": "dc1", "Rack": "r1"},
    "Seeds": [],
}
"""What a member that has left answers, by attributes."""
JOB = {"id": "a", "state": "Running", "message": "", "started": 1.0, "ended": None}

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def member(handler: Handler) -> AsyncIterator[HttpMember]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server, HttpMembers() as members:
        yield members.member(Door("127.0.0.1", LOGIN, port=server.port or 0))


def answering(status: int, body: object) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())

    return handler


async def test_a_program_without_cassandra() -> None:
    async with member(answering(200, {**REPORT, "phase": "Refused", "message": "why"})) as asked:
        look = await asked.look()
    assert (look.report.phase, look.report.message, look.state) == (Phase.REFUSED, "why", None)
    assert (look.report.host_id, look.report.volume_size, look.report.volume_free) == ("h1", 100, 60)


async def test_what_a_program_says_of_its_volume_and_one_of_before_does_not() -> None:
    for told, known in (({"volumeTrouble": "it is full"}, "it is full"), ({}, "")):
        async with member(answering(200, {**REPORT, **told, "phase": "Refused"})) as asked:
            assert (await asked.look()).report.volume_trouble == known


async def test_a_cassandra_that_does_not_answer_yet() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Basic b3BlcmF0b3I6c2VjcmV0"
        return web.json_response(REPORT) if request.path == "/report" else web.Response(status=503)

    async with member(handler) as asked:
        look = await asked.look()
    assert (look.report.phase, look.state) == (Phase.RUNNING, None)


async def test_a_member_that_nobody_answers_still_tells_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SCHEMA_SECONDS", 0.05)
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/report":
            return web.json_response(REPORT)
        asked = await request.json()
        if asked == beans.SCHEMA_REQUESTS:
            await ended.wait()
        values = (STATE.get(str(question["attribute"])) for question in asked)
        return web.json_response([{"status": 404} if v is None else {"status": 200, "value": v} for v in values])

    async with member(handler) as asked:
        look = await asked.look()
        ended.set()
    assert look.state is not None
    assert look.state.mode is Mode.DECOMMISSIONED
    assert look.state.ring.schema == {UNREACHABLE: {"10.0.0.1"}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"[]"),
        (200, {**REPORT, "phase": "Dancing"}),
        (404, b""),
        (500, b"oh"),
        (302, b""),
    ],
)
async def test_what_is_no_answer(status: int, body: object) -> None:
    async with member(answering(status, body)) as asked:
        with pytest.raises(UnansweredError):
            await asked.look()


async def test_a_job_that_is_not_known_is_none_but_no_answer_is_not() -> None:
    async with member(answering(404, None)) as asked:
        assert await asked.job("a") is None
    for body in (b"", b"<html>"):
        async with member(answering(404, body)) as asked:
            with pytest.raises(UnansweredError):
                await asked.job("a")


async def test_a_job() -> None:
    sent = []

    async def handler(request: web.Request) -> web.StreamResponse:
        sent.append((request.method, request.path, await request.text()))
        return web.json_response(JOB)

    async with member(handler) as asked:
        assert (await asked.start("a", Drain())).state is JobState.RUNNING
    assert sent == [("PUT", "/jobs/a", '{"operation":"drain()","arguments":[]}')]


@pytest.mark.parametrize("status", [401, 409])
async def test_a_refusal(status: int) -> None:
    async with member(answering(status, {"error": "no"})) as asked:
        with pytest.raises(RefusedError, match="no"):
            await asked.start("a", Drain())


async def test_snapshots() -> None:
    async with member(answering(200, {"b": ["app"], "a": []})) as asked:
        assert await asked.snapshots() == (Snapshot("a", frozenset()), Snapshot("b", frozenset({"app"})))


async def test_no_keyspaces_are_no_answer() -> None:
    async with member(answering(200, [{"status": 200, "value": []}])) as asked:
        with pytest.raises(UnansweredError, match="names no keyspaces"):
            await asked.keyspaces()


async def test_fewer_answers_than_questions_are_none() -> None:
    async with member(answering(200, [])) as asked:
        with pytest.raises(UnansweredError, match="0 answers"):
            await asked.keyspaces()


async def test_nobody_there() -> None:
    async with HttpMembers() as members:
        with pytest.raises(UnansweredError, match="does not answer"):
            await members.member(Door("127.0.0.1", LOGIN, port=unused_port())).look()


async def test_an_answer_that_does_not_come_and_one_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REPORT_SECONDS", 0.05)
    ended = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await ended.wait()
        return web.Response()

    async with member(silent) as asked:
        with pytest.raises(UnansweredError, match="does not answer"):
            await asked.look()
        ended.set()
    monkeypatch.setattr(http, "MOST_BYTES", 10)
    async with member(answering(200, b"x" * 11)) as asked:
        with pytest.raises(UnansweredError, match="more than 10 bytes"):
            await asked.job("a")


async def test_the_password_is_nowhere_to_be_seen() -> None:
    assert "secret" not in repr(Door("127.0.0.1", LOGIN))
