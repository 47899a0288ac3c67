"""What the daemon serves over HTTP: metrics, liveness and readiness, and for a person on the spot its inner state.

`/metrics`, `/healthz` and `/readyz` are for the cluster, and show names of checks and numbers, no more. The reasons of
failed checks, and the daemon's inner state below `/debug/`, object names and the API server's words included, are shown
only on the loopback address (`kubectl port-forward` reaches it). All is read-only.
"""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
from contextlib import asynccontextmanager
from io import StringIO
from typing import TYPE_CHECKING, NamedTuple

import anyio
import orjson
from aiohttp import web
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from informers import JsonObject

type Address = tuple[str, int]
"""Host and port; port 0 takes a free one."""

type Check = Callable[[], Mapping[str, str]]
"""For each thing that is checked its state: "ok", or why it is not."""


class DebugPage(NamedTuple):
    """A page for people on the spot.

    Attributes:
        shows: What it shows, for the index.
        make: Makes its content, which is sent as JSON. It must hold neither secrets nor contents of objects.
    """

    shows: str
    make: Callable[[], JsonObject | Sequence[JsonObject]]


OK = "ok"
TASKS_SHOW = "every task with its stack, as text"
SHUTDOWN_TIMEOUT = 1.0

SCRAPE_INTERVAL = 1.0
"""Seconds for which a scrape is reused: scrapes run on the event loop that renews the lease."""

WITHHELD = "failed: reason withheld"
"""What strangers see of a failed check, in the words of the API server's own endpoints."""


class _Scrape(NamedTuple):
    made: float
    body: bytes


class Probes:
    """The HTTP endpoints.

    Args:
        registry: What `/metrics` shows.
        live: Whether the process should go on running; if not, the kubelet restarts it.
        ready: Whether it does, or could at once do, its work.
        debug: Further pages below `/debug/`, beside that of the tasks.
    """

    def __init__(
        self, registry: CollectorRegistry, *, live: Check, ready: Check, debug: Mapping[str, DebugPage]
    ) -> None:
        self._registry = registry
        self._live = live
        self._ready = ready
        self._debug = debug
        self._scrapes: dict[tuple[str, bool], _Scrape] = {}

    @asynccontextmanager
    async def serve(self, address: Address | None, debug_address: Address | None) -> AsyncIterator[tuple[Address, ...]]:
        """Serves until the context ends; yields the addresses in use.

        Args:
            address: For metrics and probes; None: they are not served.
            debug_address: For the debug endpoints; None: they are not served.

        Raises:
            ValueError: The debug address is not a loopback address.
            OSError: An address is not to be had.
        """
        servers: list[tuple[web.Application, Address]] = []
        if address is not None:
            servers.append((self._public_application(), address))
        if debug_address is not None:
            _require_loopback(debug_address[0])
            servers.append((self._debug_application(), debug_address))
        runners: list[web.AppRunner] = []
        try:
            bound: list[Address] = []
            for app, (host, port) in servers:
                runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_TIMEOUT)
                runners.append(runner)
                await runner.setup()
                await web.TCPSite(runner, host, port).start()
                bound.append((host, runner.addresses[0][1]))
            yield tuple(bound)
        finally:
            with anyio.CancelScope(shield=True):  # bounded by SHUTDOWN_TIMEOUT
                for runner in reversed(runners):
                    await runner.cleanup()

    def _public_application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", _checks(self._live, reasons=False))
        app.router.add_get("/readyz", _checks(self._ready, reasons=False))
        return app

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        zipped = "gzip" in request.headers.get("Accept-Encoding", "")
        now = asyncio.get_running_loop().time()
        self._scrapes = {key: scrape for key, scrape in self._scrapes.items() if now - scrape.made < SCRAPE_INTERVAL}
        scrape = self._scrapes.get((content_type, zipped))
        if scrape is None:
            body = encoder(self._registry)
            scrape = _Scrape(now, gzip.compress(body, compresslevel=1) if zipped else body)
            self._scrapes[content_type, zipped] = scrape
        headers = {"Content-Type": content_type} | ({"Content-Encoding": "gzip"} if zipped else {})
        return web.Response(body=scrape.body, headers=headers)

    def _debug_application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/healthz", _checks(self._live, reasons=True))
        app.router.add_get("/readyz", _checks(self._ready, reasons=True))
        app.router.add_get("/debug/", self._debug_index)
        app.router.add_get("/debug/tasks", _tasks)
        for name, page in self._debug.items():
            app.router.add_get(f"/debug/{name}", _json_page(page))
        return app

    async def _debug_index(self, _request: web.Request) -> web.Response:
        checks = {"/healthz": "why it is not alive", "/readyz": "why it is not ready"}
        pages = (
            checks | {"/debug/tasks": TASKS_SHOW} | {f"/debug/{name}": page.shows for name, page in self._debug.items()}
        )
        return _json(pages)


def _require_loopback(host: str) -> None:
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: what it resolves to may change
        loopback = False
    if not loopback:
        raise ValueError(f"debug address {host} is not a loopback address such as 127.0.0.1: it shows object names")


def _json_page(page: DebugPage) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        return _json(page.make())

    return answer


def _json(content: JsonObject | Sequence[JsonObject]) -> web.Response:
    return web.Response(body=orjson.dumps(content, option=orjson.OPT_INDENT_2), content_type="application/json")


def _checks(check: Check, *, reasons: bool) -> Callable[[web.Request], Awaitable[web.Response]]:
    """One line for each check, in the form of the API server's own endpoints."""

    async def answer(_request: web.Request) -> web.Response:
        states = check()
        failed = any(state != OK for state in states.values())
        lines = [
            f"[+]{name} {OK}" if state == OK else f"[-]{name} {state if reasons else WITHHELD}"
            for name, state in states.items()
        ]
        lines.append("check failed" if failed else "check passed")
        return web.Response(text="\n".join(lines) + "\n", status=500 if failed else 200)

    return answer


async def _tasks(_request: web.Request) -> web.Response:
    """Every task with its name and stack; values of variables are not shown."""
    out = StringIO()
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        out.write(f"{task.get_name()}\n")
        task.print_stack(file=out)
        out.write("\n")
    return web.Response(text=out.getvalue())
