"""Members over HTTP: questions and commands to the program in a member's pod."""

from __future__ import annotations

import base64
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import anyio.to_thread
import msgspec

from controller.cassandra.access import beans, cql
from controller.cassandra.access.answers import (
    UNREACHABLE,
    Job,
    JobState,
    Look,
    Phase,
    RefusedError,
    Report,
    Snapshot,
    UnansweredError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

    from controller.cassandra.access.answers import Command, Keyspace, Ring
    from controller.cassandra.access.members import Door, Login, Session
    from informers import JsonObject

REPORT_SECONDS = 5.0
"""The program answers at once, or something is wrong with the pod or the way to it."""
SCHEMA_SECONDS = 3.0
"""Others answer a member within this, or they do not for 10 s."""
ANSWER_SECONDS = 25.0
"""Cassandra may be at work; the program gives up a little earlier, and says so."""
MOST_BYTES = 32 << 20
SHORT = 1 << 16
"""Bytes of an answer up to which decoding it takes less than handing it to a thread."""
CONNECTIONS = 64
MOST_AUTHORITIES = 64


class _Report(msgspec.Struct, frozen=True, rename="camel"):
    phase: str
    message: str
    host_id: str
    volume_size: int
    volume_free: int
    volume_trouble: str = ""
    certificates: str = ""


class _Job(msgspec.Struct, frozen=True):
    id: str
    state: JobState
    message: str
    started: float
    ended: float | None


class HttpMembers:
    """Reaches members; implements `Members`. Enter it as a context: its connections end with that."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, limit_per_host=4, keepalive_timeout=30)
        self._client = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def member(self, door: Door) -> HttpMember:
        """See `Members.member`."""
        if self._client is None:
            raise RuntimeError("HttpMembers is used outside of its context")
        return HttpMember(self._client, door, self._trust(door.ca))

    def session(
        self, host: str, login: Login | None, *, ca: str = "", name: str = ""
    ) -> AbstractAsyncContextManager[Session]:
        """See `Members.session`."""
        return cql.connect(host, login, context=self._trust(ca), name=name)

    def _trust(self, ca: str) -> ssl.SSLContext | None:
        """TLS that trusts one authority, given as PEM. The same object each time: connections are kept by it."""
        if not ca:
            return None
        if ca not in self._contexts:
            while len(self._contexts) >= MOST_AUTHORITIES:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[ca] = ssl.create_default_context(cadata=ca)
        return self._contexts[ca]


class HttpMember:
    """One member; implements `Member`."""

    def __init__(self, client: aiohttp.ClientSession, door: Door, context: ssl.SSLContext | None) -> None:
        self._client = client
        self._door = door
        self._context = context
        host = f"[{door.host}]" if ":" in door.host else door.host
        self._url = f"{'https' if door.ca else 'http'}://{host}:{door.port}"
        credentials = base64.b64encode(f"{door.login.user}:{door.login.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}

    async def look(self) -> Look:
        """See `Member.look`."""
        told = await _decoded(await self._ask("GET", "/report", seconds=REPORT_SECONDS), _Report)
        report = Report(
            phase=_phase(told.phase),
            message=told.message,
            host_id=told.host_id,
            volume_size=told.volume_size,
            volume_free=told.volume_free,
            volume_trouble=told.volume_trouble,
            certificates=told.certificates,
        )
        if report.phase is not Phase.RUNNING:
            return Look(report)
        try:
            state = beans.state(await self._jolokia(beans.STATE_REQUESTS))
        except UnansweredError:
            return Look(report)
        return Look(report, state if state is None else replace(state, ring=await self._with_schema(state.ring)))

    async def _with_schema(self, ring: Ring) -> Ring:
        """What a member sees, with the schema: of all others that is not known, where they keep it waiting.

        One that has left the ring hears nobody, though it has not forgotten them.
        """
        try:
            (answer,) = await self._jolokia(beans.SCHEMA_REQUESTS, seconds=SCHEMA_SECONDS)
            return replace(ring, schema=beans.schema(answer))
        except UnansweredError:
            return replace(ring, schema={UNREACHABLE: ring.live})

    async def keyspaces(self) -> tuple[Keyspace, ...]:
        """See `Member.keyspaces`."""
        (answer,) = await self._jolokia(beans.KEYSPACES_REQUESTS)
        names = sorted(beans.decode(answer, list[str]))
        if not names:
            raise UnansweredError("Cassandra names no keyspaces, though it has some of its own")
        answers = await self._jolokia(beans.replication_requests(names))
        return tuple(beans.keyspace(name, answer) for name, answer in zip(names, answers, strict=True))

    async def snapshots(self) -> tuple[Snapshot, ...]:
        """See `Member.snapshots`."""
        found = await _decoded(await self._ask("GET", "/snapshots"), dict[str, list[str]])
        return tuple(Snapshot(tag, frozenset(names)) for tag, names in sorted(found.items()))

    async def start(self, job: str, command: Command) -> Job:
        """See `Member.start`."""
        content = await self._ask("PUT", f"/jobs/{job}", body=msgspec.json.encode(beans.order(command)))
        return _job(await _decoded(content, _Job))

    async def job(self, job: str) -> Job | None:
        """See `Member.job`."""
        content = await self._ask("GET", f"/jobs/{job}", seconds=REPORT_SECONDS)
        return None if content == b"null" else _job(await _decoded(content, _Job))

    async def _jolokia(self, requests: Sequence[JsonObject], *, seconds: float = ANSWER_SECONDS) -> list[beans.Answer]:
        answers = await _decoded(
            await self._ask("POST", "/jolokia", body=msgspec.json.encode(requests), seconds=seconds),
            list[beans.Answer],
        )
        if len(answers) != len(requests):
            raise UnansweredError(f"{len(answers)} answers came to {len(requests)} questions")
        return answers

    async def _ask(self, method: str, path: str, *, body: bytes = b"", seconds: float = ANSWER_SECONDS) -> bytes:
        """The content of an answer.

        Raises:
            RefusedError: The program does not do it.
            UnansweredError: None came, or the program does not know either.
        """
        where = f"{self._door.host}:{self._door.port}"
        try:
            async with self._client.request(
                method,
                self._url + path,
                data=body or None,
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                ssl=self._context if self._context is not None else False,
                server_hostname=self._door.name or None,
                allow_redirects=False,
            ) as response:
                content = await _content(response)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or f"nothing within {seconds:g} s"
            raise UnansweredError(f"{where} does not answer: {said}") from error
        if status in (200, 404):
            return content
        text = content.decode("utf-8", "replace")[:300]
        if status in (401, 409):
            raise RefusedError(f"{where} refuses: {text}")
        raise UnansweredError(f"{where} answers with status {status}: {text}")


async def _content(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            raise aiohttp.ClientPayloadError(f"more than {MOST_BYTES} bytes")
    return bytes(content)


async def _decoded[T](content: bytes, kind: type[T]) -> T:
    """What was answered. A long answer is decoded in a thread: everything else goes on meanwhile."""

    def decode() -> T:
        return msgspec.json.decode(content, type=kind)

    try:
        return decode() if len(content) <= SHORT else await anyio.to_thread.run_sync(decode)
    except msgspec.MsgspecError as error:
        raise UnansweredError(f"the answer cannot be read: {error}") from error


def _phase(text: str) -> Phase:
    try:
        return Phase(text)
    except ValueError:
        raise UnansweredError(f"the program is at {text!r}, which is not known here") from None


def _job(found: _Job) -> Job:
    return Job(found.id, found.state, found.message, found.started, found.ended)
