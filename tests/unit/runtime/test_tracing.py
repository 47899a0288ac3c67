"""Spans of reconciles and of the requests within them, as OpenTelemetry's SDK exports them."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from controller.framework.program import PROGRAM
from controller.runtime import Controller, Manager, Request, Result
from controller.runtime.reconciler import current_reconcile
from informers import ApiError, Client, Resource, TransportError
from tests.unit.informers.test_client import plain_client, status

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
CEPH_KEY = "AQ" + 36 * "x" + "=="
PROVIDER = (
    "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider; "
    "trace.set_tracer_provider(TracerProvider())"
)

type Work = Callable[[Client, Request], Awaitable[Result]]


class Doing:
    """A reconciler that does the given work once."""

    def __init__(self, client: Client, work: Work) -> None:
        self.ids: list[str] = []
        self._client = client
        self._work = work

    async def reconcile(self, request: Request) -> Result:
        reconcile = current_reconcile.get()
        assert reconcile is not None
        self.ids.append(reconcile.id)
        return await self._work(self._client, request)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def reconcile_once(client: Client, tracer: Tracer | None, work: Work) -> str:
    """Has a manager's controller reconcile ns/one; returns the reconcile's id."""
    manager = Manager(client, program=PROGRAM, namespaces=("ns",), identity="test", tracer=tracer)
    reconciler = Doing(client, work)
    controller = Controller("pools", reconciler)
    manager.add(controller)

    def always(_writes: object, _caught_up: object) -> bool:
        return True

    controller.queue.add(Request("ns", "one"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(controller.run, always)
        with anyio.fail_after(60):
            await controller.queue.wait_idle()
        controller.shut_down()
    return reconciler.ids[0]


async def test_a_reconcile_is_a_span_and_its_requests_are_spans_within(
    tmp_path: Path, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    async def work(client: Client, request: Request) -> Result:
        await client.get(CONFIG_MAPS, request.namespace, request.name)
        return Result(requeue_after=30.0)

    async with plain_client(tmp_path) as (client, server):
        reconcile_id = await reconcile_once(client, tracer, work)

    get, reconcile = exporter.get_finished_spans()
    assert (reconcile.name, reconcile.parent, reconcile.status.status_code) == (
        "reconcile pools",
        None,
        StatusCode.UNSET,
    )
    assert attributes(reconcile) == {
        "rook.controller": "pools",
        "rook.reconcile.id": reconcile_id,
        "rook.request.name": "one",
        "k8s.namespace.name": "ns",
        "rook.reconcile.result": "requeue_after",
        "rook.reconcile.requeue_after": 30.0,
    }
    assert (get.name, get.kind) == ("GET", SpanKind.CLIENT)
    assert get.parent is not None
    assert get.context is not None
    assert reconcile.context is not None
    assert get.parent.span_id == reconcile.context.span_id
    assert attributes(get) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "url.full": f"{server.url}/api/v1/namespaces/ns/configmaps/one",
        "http.response.status_code": 200,
    }
    assert server.headers[0]["traceparent"].startswith(f"00-{get.context.trace_id:032x}-{get.context.span_id:016x}-")


async def test_a_failed_reconcile_says_why_without_secrets(
    tmp_path: Path, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    async def work(_client: Client, _request: Request) -> Result:
        raise ValueError(f"bad key {CEPH_KEY}")

    async with plain_client(tmp_path) as (client, _):
        await reconcile_once(client, tracer, work)

    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "bad key [redacted]")
    assert attributes(span)["error.type"] == "ValueError"
    assert attributes(span)["rook.reconcile.result"] == "error"
    assert CEPH_KEY not in span.to_json()


async def test_each_attempt_of_a_request_is_a_span(
    tmp_path: Path, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    async with plain_client(tmp_path, status(429, headers={"Retry-After": "0"}), status(404, "NotFound")) as (
        client,
        _,
    ):
        client.transport.tracer = tracer
        with tracer.start_as_current_span("around"), pytest.raises(ApiError):
            await client.get(CONFIG_MAPS, "ns", "one")

    first, second, _ = exporter.get_finished_spans()
    assert [attributes(span).get("http.request.resend_count") for span in (first, second)] == [None, 1]
    assert [attributes(span)["error.type"] for span in (first, second)] == ["429", "404"]
    assert {first.status.status_code, second.status.status_code} == {StatusCode.ERROR}


async def test_a_request_without_an_answer_is_a_failed_span(
    tmp_path: Path, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with plain_client(tmp_path, hang_up) as (client, _):
        client.transport.tracer = tracer
        with tracer.start_as_current_span("around"), pytest.raises(TransportError):
            await client.create(CONFIG_MAPS, {"metadata": {"namespace": "ns", "name": "one"}})

    post, _ = exporter.get_finished_spans()
    assert post.status.status_code is StatusCode.ERROR
    assert attributes(post)["error.type"] == "ServerDisconnectedError"
    assert "http.response.status_code" not in attributes(post)


async def test_a_request_that_is_no_part_of_a_span_makes_none(
    tmp_path: Path, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    async with plain_client(tmp_path) as (client, server):
        client.transport.tracer = tracer
        await client.get(CONFIG_MAPS, "ns", "one")

    assert exporter.get_finished_spans() == ()
    assert "traceparent" not in server.headers[0]


async def test_without_a_tracer_the_server_is_told_of_no_trace(
    tmp_path: Path, tracer: Tracer, exporter: InMemorySpanExporter
) -> None:
    async with plain_client(tmp_path) as (client, server):
        with tracer.start_as_current_span("around"):
            await client.get(CONFIG_MAPS, "ns", "one")

    assert [span.name for span in exporter.get_finished_spans()] == ["around"]
    assert "traceparent" not in server.headers[0]


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("", "None False"),
        ("import opentelemetry.trace", "None True"),
        (PROVIDER, "Tracer True"),
        (f"import os; os.environ['OTEL_SDK_DISABLED'] = 'true'; {PROVIDER}", "None True"),
    ],
    ids=["not imported", "no provider", "provider", "disabled"],
)
def test_tracing_is_on_where_the_process_has_a_provider(setup: str, expected: str) -> None:
    code = (
        f"import sys\n{setup}\n"
        "import controller.__main__\n"
        "from controller.runtime.tracing import process_tracer\n"
        "tracer = process_tracer('rook')\n"
        "print(None if tracer is None else type(tracer).__name__, 'opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
