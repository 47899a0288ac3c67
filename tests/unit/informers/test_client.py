"""The client against a server on this machine that answers as told."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from structlog.testing import capture_logs

from e2e.certificates import make_certificates
from informers import (
    ApiError,
    Client,
    ConfigurationError,
    JsonObject,
    Resource,
    StalledError,
    TransportError,
    credentials,
)
from informers.configuration import discover, in_cluster, kubeconfig
from informers.credentials import environment_proxy
from informers.http import HttpTransport
from tests.clock import Clock

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")

type Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    make_certificates(directory)
    return directory


@pytest.fixture(scope="session")
def other_certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("other-certificates")
    make_certificates(directory)
    return directory


@dataclass
class Server:
    """A web server that keeps what it was asked and answers each request by the next of `answers`, the last for ever.

    Attributes:
        url: Its base URL.
    """

    answers: list[web.Response | Answer] = field(default_factory=lambda: [web.json_response({"ok": True})])
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    port: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        self.authorizations.append(request.headers.get("Authorization"))
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.read())
        certificate = request.get_extra_info("peercert")
        self.peers.append(certificate["subject"][-1][0][1] if certificate else "")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not isinstance(answer, web.Response):
            return await answer(request)
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    @asynccontextmanager
    async def serve(self, certificates: Path | None = None) -> AsyncIterator["Server"]:
        context = None
        if certificates is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.crt"))
            context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
            context.verify_mode = ssl.CERT_OPTIONAL
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        try:
            yield self
        finally:
            await runner.cleanup()


def write_kubeconfig(path: Path, server: Server, user: JsonObject, /, **cluster: object) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server.url, **cluster}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(config))
    return str(path)


@asynccontextmanager
async def plain_client(path: Path, *answers: web.Response | Answer) -> AsyncIterator[tuple[Client, Server]]:
    """A client with a token, and a server without TLS."""
    async with Server().serve() as server:
        if answers:
            server.answers = list(answers)
        config = write_kubeconfig(path / "config", server, {"token": "secret-token"})
        async with Client(HttpTransport(kubeconfig(config), user_agent="test/1")) as client:
            yield client, server


def status(code: int, reason: str = "", message: str = "", headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code, headers=headers)


# Requests


async def test_a_request_carries_what_it_should(tmp_path: Path) -> None:
    async with plain_client(tmp_path) as (client, server):
        body = await client.request("PATCH", "/api/v1/pods/a%2Fb", params={"fieldManager": "r k"}, body={"a": [1]})
        assert json.loads(body) == {"ok": True}
        assert client.host == server.url
    assert server.requests == [("PATCH", "/api/v1/pods/a%2Fb?fieldManager=r+k")]
    assert server.authorizations == ["Bearer secret-token"]
    assert server.bodies == [b'{"a":[1]}']
    assert server.headers[0]["User-Agent"] == "test/1"
    assert server.headers[0]["Content-Type"] == "application/json"
    assert client.stats.requests == {("200", "PATCH"): 1}
    assert client.stats.durations["PATCH"].count == 1
    assert (client.stats.sent, client.stats.received) == (9, 12)
    assert (client.stats.request_sizes["PATCH"].total, client.stats.response_sizes["PATCH"].total) == (9, 12)


async def test_objects(tmp_path: Path) -> None:
    obj = {"metadata": {"namespace": "one", "name": "a"}}
    async with plain_client(tmp_path, web.json_response(obj)) as (client, server):
        assert await client.get(CONFIG_MAPS, "one", "a") == obj
        assert await client.create(CONFIG_MAPS, obj) == obj
        assert await client.replace(CONFIG_MAPS, obj, subresource="status") == obj
        merge = "application/merge-patch+json"
        assert await client.patch(CONFIG_MAPS, "one", "a", {"x": 1}, content_type=merge) == obj
        await client.delete(CONFIG_MAPS, "one", "a", uid="u-1")
    path = "/api/v1/namespaces/one/configmaps"
    assert server.requests == [
        ("GET", f"{path}/a"),
        ("POST", path),
        ("PUT", f"{path}/a/status"),
        ("PATCH", f"{path}/a"),
        ("DELETE", f"{path}/a"),
    ]
    assert server.headers[3]["Content-Type"] == merge
    options = json.loads(server.bodies[4])
    assert options["preconditions"] == {"uid": "u-1"}
    assert options["propagationPolicy"] == "Background"


async def test_a_list_is_read_to_its_last_page(tmp_path: Path) -> None:
    first = {"metadata": {"continue": "t/1"}, "items": [{"metadata": {"name": "a"}}]}
    last = {"metadata": {}, "items": [{"metadata": {"name": "b"}, "kind": "ConfigMap", "apiVersion": "v1"}]}
    async with plain_client(tmp_path, web.json_response(first), web.json_response(last)) as (client, server):
        found = await client.list(CONFIG_MAPS, label_selector="app=rook")
    assert [(obj["kind"], obj["apiVersion"], obj["metadata"]["name"]) for obj in found] == [
        ("ConfigMap", "v1", "a"),
        ("ConfigMap", "v1", "b"),
    ]
    assert [path for _, path in server.requests] == [
        "/api/v1/configmaps?limit=500&labelSelector=app%3Drook",
        "/api/v1/configmaps?limit=500&labelSelector=app%3Drook&continue=t/1",
    ]


@pytest.mark.parametrize(
    ("metadata", "spec", "gone"),
    [
        ({}, {}, True),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}, {}, True),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}, {}, False),
        ({"deletionGracePeriodSeconds": 0, "finalizers": ["example.org/held"]}, {}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"finalizers": ["kubernetes"]}, False),
    ],
)
async def test_a_deletion_that_answers_with_the_object_may_have_taken_effect(
    tmp_path: Path, metadata: JsonObject, spec: JsonObject, gone: bool
) -> None:
    namespaces = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
    about = {"name": "a", "uid": "u-1", "resourceVersion": "7", **metadata}
    answer = {"apiVersion": "v1", "kind": "Namespace", "metadata": about, "spec": spec}
    told: list[JsonObject | None] = []
    async with plain_client(tmp_path, web.json_response(answer)) as (client, _):
        client.on_write = lambda _resource, _namespace, _name: told.append
        await client.delete(namespaces, "", "a")
    if gone:
        (status_of,) = told
        assert status_of is not None
        assert status_of["kind"] == "Status"
        assert status_of["details"]["uid"] == "u-1"
    else:
        assert len(told) == 1


async def test_deleting_what_is_not_there_is_a_success(tmp_path: Path) -> None:
    async with plain_client(tmp_path, status(404, "NotFound")) as (client, server):
        await client.delete(CONFIG_MAPS, "one", "a")
        server.answers = [status(409, "Conflict", "the UID in the precondition does not match")]
        with pytest.raises(ApiError) as caught:
            await client.delete(CONFIG_MAPS, "one", "a", uid="u-1")
    assert caught.value.is_conflict


@pytest.mark.parametrize(
    ("answer", "attribute", "text"),
    [
        (status(404, "NotFound", 'pods "a" not found'), "is_not_found", '404 NotFound: pods "a" not found'),
        (status(409, "AlreadyExists", "is there"), "is_already_exists", "409 AlreadyExists: is there"),
        (status(409, "Conflict", "changed"), "is_conflict", "409 Conflict: changed"),
        (status(410, "Expired", "too old"), "is_expired", "410 Expired: too old"),
        (status(422, "Invalid", "spec.x"), "is_invalid", "422 Invalid: spec.x"),
        (web.Response(status=404, text="<h1>proxy</h1>\n"), "is_not_found", "404: <h1>proxy</h1>"),
        (web.Response(status=302, text="see /login", headers={"Location": "/login"}), None, "302: see /login"),
    ],
)
async def test_errors_tell_what_the_server_said(
    tmp_path: Path, answer: web.Response, attribute: str | None, text: str
) -> None:
    async with plain_client(tmp_path, answer) as (client, server):
        with pytest.raises(ApiError) as caught:
            await client.request("GET", "/x")
    assert str(caught.value) == text
    kinds = ("is_not_found", "is_already_exists", "is_conflict", "is_expired", "is_invalid")
    assert [kind for kind in kinds if getattr(caught.value, kind)] == ([attribute] if attribute else [])
    assert len(server.requests) == 1


async def test_too_many_requests_are_repeated_when_the_server_says(tmp_path: Path) -> None:
    busy = status(429, "TooManyRequests", headers={"Retry-After": "0.2"})
    async with plain_client(tmp_path, busy, busy, web.json_response({})) as (client, server):
        start = time.monotonic()
        await client.request("POST", "/x")
        assert time.monotonic() - start >= 0.4
    assert len(server.requests) == 3
    assert client.stats.retries == {("429", "POST"): 2}
    assert client.stats.requests == {("429", "POST"): 2, ("200", "POST"): 1}


async def test_retries_end(tmp_path: Path) -> None:
    async with plain_client(tmp_path, status(429, headers={"Retry-After": "0.01"})) as (client, server):
        with pytest.raises(ApiError):
            await client.request("GET", "/x")
    assert len(server.requests) == 6


async def test_a_wait_beyond_the_deadline_is_not_begun(tmp_path: Path) -> None:
    async with plain_client(tmp_path, status(429, headers={"Retry-After": "60"})) as (client, server):
        with pytest.raises(ApiError) as caught:
            await client.request("GET", "/x", deadline=5.0)
    assert caught.value.retry_after == 60
    assert len(server.requests) == 1


@pytest.mark.parametrize(("method", "attempts"), [("GET", 2), ("PUT", 2), ("POST", 1)])
async def test_unavailable_is_repeated_unless_it_could_be_done_twice(
    tmp_path: Path, method: str, attempts: int
) -> None:
    answers = [status(503, headers={"Retry-After": "0.01"}), web.json_response({})]
    async with plain_client(tmp_path, *answers) as (client, server):
        with contextlib.suppress(ApiError):
            await client.request(method, "/x")
    assert len(server.requests) == attempts


async def test_unavailable_without_a_time_is_not_repeated(tmp_path: Path) -> None:
    async with plain_client(tmp_path, status(503)) as (client, server):
        with pytest.raises(ApiError):
            await client.request("GET", "/x")
    assert len(server.requests) == 1


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def broken(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_a_request_has_a_deadline(tmp_path: Path) -> None:
    async with plain_client(tmp_path, never) as (client, _):
        with pytest.raises(TransportError, match=r"GET /x: no answer within 0.2 s"):
            await client.request("GET", "/x", deadline=0.2)


async def test_a_connection_that_breaks(tmp_path: Path) -> None:
    async with plain_client(tmp_path, broken) as (client, _):
        with pytest.raises(TransportError, match=r"POST /x: "):
            await client.request("POST", "/x")
    assert client.stats.requests == {("<error>", "POST"): 1}


async def test_no_server(tmp_path: Path) -> None:
    async with Server().serve() as server:
        config = write_kubeconfig(tmp_path / "config", server, {"token": "secret-token"})
    async with Client(HttpTransport(kubeconfig(config), user_agent="test")) as client:
        with pytest.raises(TransportError) as caught:
            await client.request("GET", "/x")
    assert "secret-token" not in str(caught.value)


async def test_the_gate_stops_writes_before_they_are_sent(tmp_path: Path) -> None:
    class NotLeaderError(Exception):
        pass

    def gate() -> None:
        raise NotLeaderError

    async with plain_client(tmp_path) as (client, server):
        client.write_gate = gate
        await client.request("GET", "/x")
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(NotLeaderError):
                await client.request(method, "/x")
    assert server.requests == [("GET", "/x")]


async def test_the_gate_is_asked_before_each_attempt(tmp_path: Path) -> None:
    asked = 0

    def gate() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:  # twice for each attempt
            raise RuntimeError("lost the lease while waiting")

    async with plain_client(tmp_path, status(429, headers={"Retry-After": "0.01"})) as (client, server):
        client.write_gate = gate
        with pytest.raises(RuntimeError):
            await client.request("POST", "/x")
    assert len(server.requests) == 1


async def test_the_gate_is_asked_before_anything_is_done_for_a_write(tmp_path: Path) -> None:
    def gate() -> None:
        raise RuntimeError("not the leader")

    async with plain_client(tmp_path) as (client, server):
        client.write_gate = gate
        assert isinstance(client.transport, HttpTransport)
        assert client.transport._sessions is not None
        session = client.transport._sessions[0]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(session, "_request", None)  # as if the hook were never called
            with pytest.raises(RuntimeError, match="not the leader"):
                await client.request("POST", "/x")
    assert server.requests == []


def test_an_aiohttp_without_the_hook_of_the_gate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aiohttp.ClientRequest, "send")
    config = write_kubeconfig(tmp_path / "config", Server(url="http://127.0.0.1:1"), {})
    with pytest.raises(RuntimeError, match=r"ClientRequest\.send"):
        HttpTransport(kubeconfig(config), user_agent="test")


async def test_warnings_of_the_server_are_logged_once(tmp_path: Path) -> None:
    warning = '299 - "v1 Endpoints is deprecated in v1.33+; use EndpointSlice"'
    async with plain_client(tmp_path, web.json_response({}, headers={"Warning": warning})) as (client, _):
        with capture_logs() as logs:
            await client.request("GET", "/x")
            await client.request("GET", "/y")
    (entry,) = logs
    assert entry["warning"] == "v1 Endpoints is deprecated in v1.33+; use EndpointSlice"
    assert (entry["method"], entry["path"]) == ("GET", "/x")


async def test_a_closed_client_says_so(tmp_path: Path) -> None:
    async with plain_client(tmp_path) as (client, _):
        pass
    with pytest.raises(RuntimeError, match="not open"):
        await client.request("GET", "/x")


# Streams


async def streaming(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"one\n")
    await asyncio.sleep(60 if "hang" in request.query else 0)
    if "break" in request.query:
        assert request.transport is not None
        request.transport.abort()
    return response


async def test_a_stream_comes_as_it_is_sent(tmp_path: Path) -> None:
    async with plain_client(tmp_path, streaming) as (client, server):
        async with client.stream("/x", params={"watch": "true"}, accept="a/b,c/d", idle=5.0) as stream:
            assert await stream.read() == b"one\n"
            assert await stream.read() == b""
        assert server.headers[0]["Accept"] == "a/b,c/d"
        assert server.headers[0]["Accept-Encoding"] == "identity"


async def test_a_silent_stream_is_given_up(tmp_path: Path) -> None:
    async with (
        plain_client(tmp_path, streaming) as (client, _),
        client.stream("/x", params={"hang": "1"}, idle=0.2) as stream,
    ):
        assert await stream.read() == b"one\n"
        with pytest.raises(StalledError):  # the server would be silent for a minute, and then end the stream
            await stream.read()


async def test_a_stream_that_breaks(tmp_path: Path) -> None:
    async with plain_client(tmp_path, streaming) as (client, _):
        async with client.stream("/x", params={"break": "1"}, idle=5.0) as stream:
            with pytest.raises(TransportError) as caught:
                await stream.read() + await stream.read()
        assert not isinstance(caught.value, StalledError)


async def test_a_refused_stream(tmp_path: Path) -> None:
    async with plain_client(tmp_path, status(410, "Expired", "too old")) as (client, _):
        with pytest.raises(ApiError) as caught:
            async with client.stream("/x", params={}, idle=5.0):
                pass
    assert caught.value.is_expired


async def test_streams_take_no_connection_from_requests(tmp_path: Path) -> None:
    async def by_kind(request: web.Request) -> web.StreamResponse:
        return await streaming(request) if "hang" in request.query else web.json_response({})

    async with plain_client(tmp_path, by_kind) as (client, _), asyncio.TaskGroup() as tasks:
        opened = asyncio.Semaphore(0)

        async def watch() -> None:
            async with client.stream("/x", params={"hang": "1"}, idle=60.0) as stream:
                await stream.read()
                opened.release()
                await stream.read()

        watches = [tasks.create_task(watch()) for _ in range(50)]
        for _ in watches:
            await opened.acquire()
        await client.request("GET", "/y", deadline=5.0)
        for task in watches:
            task.cancel()


# Authentication


async def peer_of(source: Any, clock: Clock | None = None) -> None:
    async with Client(HttpTransport(source, user_agent="test", clock=clock or Clock())) as client:
        await client.request("GET", "/x")


async def test_client_certificate_as_files_and_inline(certificates: Path, tmp_path: Path) -> None:
    files = {"client-certificate": str(certificates / "admin.crt"), "client-key": str(certificates / "admin.key")}
    inline = {
        "client-certificate-data": b64encode((certificates / "admin.crt").read_bytes()).decode(),
        "client-key-data": b64encode((certificates / "admin.key").read_bytes()).decode(),
    }
    ca = {"certificate-authority": str(certificates / "ca.crt")}
    ca_inline = {"certificate-authority-data": b64encode((certificates / "ca.crt").read_bytes()).decode()}
    async with Server().serve(certificates) as server:
        await peer_of(kubeconfig(write_kubeconfig(tmp_path / "files", server, files, **ca)))
        await peer_of(kubeconfig(write_kubeconfig(tmp_path / "inline", server, inline, **ca_inline)))
    assert server.peers == ["admin", "admin"]
    assert server.authorizations == [None, None]


async def test_an_unknown_server_is_refused(certificates: Path, other_certificates: Path, tmp_path: Path) -> None:
    ca = {"certificate-authority": str(other_certificates / "ca.crt")}
    async with Server().serve(certificates) as server:
        config = write_kubeconfig(tmp_path / "config", server, {"token": "t"}, **ca)
        with pytest.raises(TransportError, match=r"(?i)certificate"):
            await peer_of(kubeconfig(config))
        insecure = write_kubeconfig(tmp_path / "insecure", server, {"token": "t"}, **{"insecure-skip-tls-verify": True})
        await peer_of(kubeconfig(insecure))
    assert server.authorizations == ["Bearer t"]


async def test_a_server_name_for_another_host(certificates: Path, tmp_path: Path) -> None:
    ca = {"certificate-authority": str(certificates / "ca.crt")}
    async with Server().serve(certificates) as server:
        named = write_kubeconfig(tmp_path / "named", server, {"token": "t"}, **ca, **{"tls-server-name": "localhost"})
        await peer_of(kubeconfig(named))
        wrong = write_kubeconfig(tmp_path / "wrong", server, {"token": "t"}, **ca, **{"tls-server-name": "other.host"})
        with pytest.raises(TransportError, match=r"other\.host"):
            await peer_of(kubeconfig(wrong))


async def test_user_and_password(tmp_path: Path) -> None:
    async with Server().serve() as server:
        await peer_of(kubeconfig(write_kubeconfig(tmp_path / "c", server, {"username": "u", "password": "p"})))
    assert server.authorizations == ["Basic dTpw"]


async def test_another_context_and_several_files(tmp_path: Path) -> None:
    async with Server().serve() as server:
        first = write_kubeconfig(tmp_path / "first", server, {"token": "first"})
        second = (tmp_path / "first").read_text().replace("test", "other").replace("first", "second")
        (tmp_path / "second").write_text(second.replace('"current-context": "other", ', ""))
        await peer_of(kubeconfig(f"{first}:{tmp_path / 'second'}", "other"))
        await peer_of(kubeconfig(f"{first}:{tmp_path / 'second'}"))
    assert server.authorizations == ["Bearer second", "Bearer first"]


async def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    clock = Clock()
    async with Server().serve() as server:
        config = write_kubeconfig(tmp_path / "config", server, {"tokenFile": str(token)})
        async with Client(HttpTransport(kubeconfig(config), user_agent="test", clock=clock)) as client:
            await client.request("GET", "/x")
            token.write_text("two\n")
            clock.now += 59
            await client.request("GET", "/x")
            clock.now += 1
            await client.request("GET", "/x")
            token.unlink()
            clock.now += 60
            await client.request("GET", "/x")
    assert server.authorizations == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]


async def test_a_refused_token_is_read_again_at_once_and_tried_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    async with Server().serve() as server:
        config = write_kubeconfig(tmp_path / "config", server, {"tokenFile": str(token)})
        async with Client(HttpTransport(kubeconfig(config), user_agent="test")) as client:
            server.answers = [status(401, "Unauthorized"), web.json_response({})]
            token.write_text("new")
            await client.request("POST", "/x")
            server.answers = [status(401, "Unauthorized")]
            with pytest.raises(ApiError) as caught:
                await client.request("GET", "/x")
    assert caught.value.status == 401
    assert server.authorizations == ["Bearer old", "Bearer new", "Bearer new", "Bearer new"]


async def test_many_refusals_lead_to_one_reading(tmp_path: Path) -> None:
    reads: list[bool] = []
    async with Server().serve() as server:
        source = kubeconfig(write_kubeconfig(tmp_path / "config", server, {"token": "t"}))

        async def counting(refused: bool) -> Any:
            reads.append(refused)
            configuration = await source(refused)
            configuration.api_key["BearerToken"] = f"Bearer {len(reads)}"
            return configuration

        async def only_the_second(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.05)
            return web.json_response({}, status=200 if request.headers["Authorization"] == "Bearer 2" else 401)

        server.answers = [only_the_second]
        async with Client(HttpTransport(counting, user_agent="test")) as client, asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(client.request("GET", "/x"))
    assert reads == [False, True]


async def test_tls_settings_stay_while_their_files_do(certificates: Path, tmp_path: Path) -> None:
    clock = Clock()
    ca = {"certificate-authority": str(certificates / "ca.crt")}
    async with Server().serve(certificates) as server:
        config = write_kubeconfig(tmp_path / "config", server, {"token": "t"}, **ca)
        async with HttpTransport(kubeconfig(config), user_agent="test", clock=clock) as transport:
            before = await transport._credentials.current()
            clock.now += 61
            after = await transport._credentials.current()
    assert after is not before
    assert after.tls is before.tls, "or every minute all connections would be made anew"


def write_plugin(path: Path, expiry: str | None) -> JsonObject:
    """A credential plugin that gives another token each time that it runs."""
    status = {"token": "TOKEN"} | ({"expirationTimestamp": expiry} if expiry else {})
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    path.write_text(
        f"from pathlib import Path\nimport os\n"
        f"count = Path({str(path)!r} + '.count')\nrun = int(count.read_text()) + 1 if count.exists() else 1\n"
        f"count.write_text(str(run))\n"
        f"assert 'ExecCredential' in os.environ['KUBERNETES_EXEC_INFO']\n"
        f"print({json.dumps(credential)!r}.replace('TOKEN', os.environ['PREFIX'] + str(run)))\n"
    )
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(path)],
            "env": [{"name": "PREFIX", "value": "run-"}],
        }
    }


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # kubernetes-asyncio's own
@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        # Without an expiry a token is good until it is refused; long before its expiry too; near to it, it is renewed.
        (None, ["run-1", "run-1", "run-1", "run-2"]),
        ("2126-01-01T00:00:00Z", ["run-1", "run-1", "run-1", "run-2"]),
        ("2020-01-01T00:00:00Z", ["run-1", "run-2", "run-2", "run-3"]),
    ],
)
async def test_an_exec_plugin_runs_when_it_is_due(tmp_path: Path, expiry: str | None, expected: list[str]) -> None:
    clock = Clock()
    async with Server().serve() as server:
        config = write_kubeconfig(tmp_path / "config", server, write_plugin(tmp_path / "plugin.py", expiry))
        async with Client(HttpTransport(kubeconfig(config), user_agent="test", clock=clock)) as client:
            await client.request("GET", "/x")
            clock.now += 61
            await client.request("GET", "/x")
            server.answers = [status(401), web.json_response({})]
            await client.request("GET", "/x")
    assert server.authorizations == [f"Bearer {token}" for token in expected]


async def test_an_exec_plugin_that_fails_is_named(tmp_path: Path) -> None:
    async with Server().serve() as server:
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/does/not/exist"}}
        config = write_kubeconfig(tmp_path / "config", server, user)
        with pytest.raises(ConfigurationError, match=r"config.*/does/not/exist"):
            await peer_of(kubeconfig(config))


async def test_credentials_that_do_not_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "READ_DEADLINE", 0.1)

    async def hanging(refused: bool) -> None:
        await asyncio.sleep(60)

    with pytest.raises(ConfigurationError, match="does a credential plugin wait"):
        await peer_of(hanging)


async def test_requests_go_on_with_the_credentials_that_there_are_while_reading_them_again_hangs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(credentials, "PATIENCE", 0.05)
    clock, hangs, reads = Clock(), asyncio.Event(), 0
    async with Server().serve() as server:
        source = kubeconfig(write_kubeconfig(tmp_path / "config", server, {"token": "t"}))

        async def plugin(refused: bool) -> Any:
            nonlocal reads
            reads += 1
            if reads == 2:
                await hangs.wait()
            return await source(refused)

        async with Client(HttpTransport(plugin, user_agent="test", clock=clock)) as client:
            clock.now += 61
            for _ in range(3):
                await client.request("GET", "/x", deadline=10.0)
            assert reads == 2, "all wait for the same"
            hangs.set()
            await client.request("GET", "/x")
    assert server.authorizations == ["Bearer t"] * 4


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
async def test_a_write_is_not_sent_again_when_its_connection_breaks(tmp_path: Path, method: str) -> None:
    """The server may have carried it out."""
    received: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.read(1 << 16)).decode():
            received.append(head.split()[0])
            if received[-1] != "GET":
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = write_kubeconfig(tmp_path / "config", Server(url=f"http://127.0.0.1:{port}"), {"token": "t"})
    async with server, Client(HttpTransport(kubeconfig(config), user_agent="test")) as client:
        await client.request("GET", "/x")
        with pytest.raises(TransportError, match="ServerDisconnected"):
            await client.request(method, "/x")
    assert received == ["GET", method]


async def test_a_dry_run_is_no_write(tmp_path: Path) -> None:
    answer = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}}
    told: list[JsonObject | None] = []
    obj = {"metadata": {"namespace": "one", "name": "a"}}
    async with plain_client(tmp_path, web.json_response(answer)) as (client, server):
        client.on_write = lambda _resource, _namespace, _name: told.append
        merge = "application/merge-patch+json"
        await client.patch(CONFIG_MAPS, "one", "a", {}, content_type=merge, params={"dryRun": "All"})
        await client.create(CONFIG_MAPS, obj, dry_run=True, field_validation="Strict")
        await client.replace(CONFIG_MAPS, obj, dry_run=True)
        await client.delete(CONFIG_MAPS, "one", "a", dry_run=True)
        assert told == []
        await client.delete(CONFIG_MAPS, "one", "a")
        assert len(told) == 1
    path = "/api/v1/namespaces/one/configmaps"
    assert server.requests[1:3] == [
        ("POST", f"{path}?fieldValidation=Strict&dryRun=All"),
        ("PUT", f"{path}/a?dryRun=All"),
    ]
    assert [json.loads(body).get("dryRun") for body in server.bodies[3:]] == [["All"], None]


def write_service_account(directory: Path, certificates: Path, token: str) -> None:
    (directory / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    (directory / "token").write_text(token)


async def test_in_cluster_with_rotation_of_token_and_ca(
    certificates: Path, other_certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    write_service_account(tmp_path, certificates, "one\n")
    server = Server()
    async with server.serve(certificates):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
        client = await Client(HttpTransport(in_cluster(tmp_path), user_agent="test", clock=clock)).__aenter__()
        await client.request("GET", "/x")
    async with server.serve(other_certificates):
        write_service_account(tmp_path, other_certificates, "two\n")
        with pytest.raises(TransportError):
            await client.request("GET", "/x")
        clock.now += 60
        await client.request("GET", "/x")
    await client.__aexit__(None, None, None)
    assert server.authorizations == ["Bearer one", "Bearer two"]


async def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"no Kubernetes configuration.*\.kube/config does not exist"):
        discover()
    with pytest.raises(ConfigurationError, match="/does/not/exist: there is no such file"):
        await peer_of(kubeconfig("/does/not/exist"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        await peer_of(in_cluster(tmp_path))
    (tmp_path / "broken").write_text("a: [")
    with pytest.raises(ConfigurationError, match="broken"):
        await peer_of(kubeconfig(str(tmp_path / "broken")))


async def test_discovery_goes_from_the_given_to_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server().serve() as server:
        for name in ("given", "environment"):
            write_kubeconfig(tmp_path / name, server, {"token": name})
        (tmp_path / ".kube").mkdir()
        write_kubeconfig(tmp_path / ".kube" / "config", server, {"token": "default"})
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "environment"))
        await peer_of(discover(str(tmp_path / "given")))
        await peer_of(discover())
        monkeypatch.delenv("KUBECONFIG")
        await peer_of(discover())
    assert server.authorizations == ["Bearer given", "Bearer environment", "Bearer default"]


# Proxies


@pytest.mark.parametrize(
    ("host", "environment", "expected"),
    [
        ("https://10.96.0.1:443", {}, None),
        ("https://10.96.0.1:443", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("http://10.96.0.1:80", {"https_proxy": "http://p:1"}, None),
        ("https://10.96.0.1:443", {"https_proxy": "http://p:1", "no_proxy": "a.example,10.96.0.0/12"}, None),
        ("https://10.96.0.1:443", {"https_proxy": "http://p:1", "no_proxy": "192.168.0.0/16"}, "http://p:1"),
        ("https://10.96.0.1:443", {"https_proxy": "http://p:1", "no_proxy": "10.96.0.1"}, None),
        ("https://[fd00::1]:443", {"https_proxy": "http://p:1", "no_proxy": "fd00::/8"}, None),
        ("https://api.example.org", {"https_proxy": "http://p:1", "no_proxy": ".example.org"}, None),
        ("https://api.example.org", {"https_proxy": "http://p:1", "no_proxy": "other.org"}, "http://p:1"),
    ],
)
def test_proxies_of_the_environment(
    host: str, environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(host) == expected


async def test_a_proxy_of_the_kubeconfig_is_used(tmp_path: Path) -> None:
    async with Server().serve() as server:
        cluster = {"server": "http://api.example.org", "proxy-url": server.url}
        config = write_kubeconfig(tmp_path / "config", server, {"token": "t"}, **cluster)
        await peer_of(kubeconfig(config))
    assert server.headers[0]["Host"] == "api.example.org"


# What must not be


def test_the_generated_models_are_not_imported() -> None:
    program = (
        "import sys, informers\n"
        "assert not [name for name in sys.modules if 'kubernetes_asyncio.client.models' in name]\n"
        "assert 'kubernetes_asyncio' not in sys.modules\n"
        "import kubernetes_asyncio\n"
        "assert kubernetes_asyncio.client.CoreV1Api, 'who wants the library gets it'\n"
        "assert kubernetes_asyncio.client.Configuration()\n"
        "assert kubernetes_asyncio.config.kube_config.ConfigException\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_whole_library_may_have_been_imported_before() -> None:
    program = (
        "import kubernetes_asyncio, informers\nassert kubernetes_asyncio.client.CoreV1Api\n"
        "assert kubernetes_asyncio.client.Configuration()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_secrets_are_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with plain_client(tmp_path, status(401, "Unauthorized", "no")) as (client, _):
        with pytest.raises(ApiError) as caught:
            await client.request("GET", "/x")
        assert isinstance(client.transport, HttpTransport)
        access = await client.transport._credentials.current()
    output = capsys.readouterr()
    assert "secret-token" not in f"{access} {access!r} {caught.value!r} {output.out} {output.err}"


def test_uvloop_serves_as_well(tmp_path: Path, certificates: Path) -> None:
    async def exercise() -> None:
        ca = {"certificate-authority": str(certificates / "ca.crt")}
        async with Server(answers=[streaming]).serve(certificates) as server:
            config = write_kubeconfig(tmp_path / "config", server, {"token": "t"}, **ca)
            async with Client(HttpTransport(kubeconfig(config), user_agent="test")) as client:
                assert await client.request("GET", "/x") == b"one\n"
                async with client.stream("/x", params={"hang": "1"}, idle=0.2) as stream:
                    assert await stream.read() == b"one\n"
                    with pytest.raises(StalledError):
                        await stream.read()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(exercise())
