"""Measures what HTTP/2 would bring: `python -m bench.http2`.

The same work over HTTP/1.1 with the informers' client, and over HTTP/1.1 and HTTP/2 with httpx, so that what the
protocol does is told from what the library does: reading the streaming list of 10,000 Pods, and 2,000 small PATCHes, 16
at a time. Each run is a process of its own on one real API server. Prints the table of docs/performance-runtime.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from os import environ
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.cluster import machine
from bench.runtime import programs
from bench.runtime.load import Load
from controller.runtime.kube import CONFIG_MAP, POD
from e2e.apiserver import ApiServer
from informers import Client
from informers.configuration import kubeconfig
from informers.credentials import Credentials
from informers.http import HttpTransport
from informers.media import JSON
from informers.reflector import Streaming, request
from informers.wire import INITIAL_EVENTS_END

PODS = 10_000
PATCHES = 2_000
OBJECTS = tuple(f"patched-{number}" for number in range(16))
MERGE = "application/merge-patch+json"
MARKER = INITIAL_EVENTS_END.encode()
IDLE = 60.0
"""Seconds without a byte after which a stream is given up."""
TRANSPORTS = {
    "aiohttp": "HTTP/1.1, informers' client (aiohttp)",
    "httpx1": "HTTP/1.1, httpx",
    "httpx2": "HTTP/2, httpx",
}


class Transport(NamedTuple):
    """A client: reads a watch piece by piece, and sends a merge patch."""

    stream: Callable[[str, dict[str, str]], AsyncIterator[bytes]]
    patch: Callable[[str, bytes], Awaitable[object]]


@asynccontextmanager
async def with_aiohttp(config: str) -> AsyncIterator[Transport]:
    """The informers' client."""
    async with Client(HttpTransport(kubeconfig(config), user_agent="bench")) as client:

        async def stream(path: str, params: dict[str, str]) -> AsyncIterator[bytes]:
            async with client.stream(path, params=params, accept=JSON, idle=IDLE) as opened:
                while data := await opened.read():
                    yield data

        async def patch(path: str, body: bytes) -> None:
            await client.request("PATCH", path, body=body, content_type=MERGE)

        yield Transport(stream, patch)


@asynccontextmanager
async def with_httpx(config: str, *, http2: bool) -> AsyncIterator[Transport]:
    """httpx with the same credentials."""
    import httpx  # the bench's alone, in the processes that it starts

    access = await Credentials(kubeconfig(config)).current()
    async with httpx.AsyncClient(
        base_url=access.host,
        headers={"Authorization": access.authorization or "", "Accept": JSON},
        verify=access.tls,
        http1=not http2,
        http2=http2,
        timeout=IDLE,
        trust_env=False,
    ) as client:

        async def stream(path: str, params: dict[str, str]) -> AsyncIterator[bytes]:
            async with client.stream("GET", path, params=params, headers={"Accept-Encoding": "identity"}) as opened:
                assert opened.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
                async for data in opened.aiter_raw():
                    yield data

        async def patch(path: str, body: bytes) -> None:
            answer = await client.patch(path, content=body, headers={"Content-Type": MERGE})
            answer.raise_for_status()

        yield Transport(stream, patch)


async def read_list(transport: Transport) -> int:
    """Read the Pods as a reflector's first request does, without looking at them. Returns the bytes."""
    size, last = 0, b""
    async for data in transport.stream(POD.path(), request(Streaming())):
        size += len(data)
        last = last[-len(MARKER) :] + data
        if MARKER in last:
            break
    return size


async def send_patches(transport: Transport) -> int:
    """Send the patches, each another value. Returns their number."""
    numbers = iter(range(PATCHES))

    async def worker(name: str) -> None:
        for number in numbers:
            body = json.dumps({"data": {"value": f"{time.time()} {number}"}}).encode()
            await transport.patch(CONFIG_MAP.path("default", name), body)

    async with asyncio.TaskGroup() as tasks:
        for name in OBJECTS:  # each has its own, or they would wait for each other in the server
            tasks.create_task(worker(name))
    return PATCHES


WORK = {"reading 10,000 Pods": read_list, "2,000 PATCHes, 16 at a time": send_patches}


async def measured(config: str, name: str, work: str) -> dict[str, float]:
    """Do the work once; seconds and CPU seconds without imports and the first connection."""
    opened = with_aiohttp(config) if name == "aiohttp" else with_httpx(config, http2=name == "httpx2")
    async with opened as transport:
        await transport.patch(CONFIG_MAP.path("default", OBJECTS[0]), b'{"data": {"value": "warm"}}')
        started, cpu = time.perf_counter(), time.process_time()
        await WORK[work](transport)
        return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def run(config: Path, name: str, work: str) -> dict[str, float]:
    """Measure in a process of its own, with the packages of the bench."""
    command = [programs.PYTHON, "-m", "bench.http2", "--config", str(config), "--transport", name, "--work", work]
    environment = {**environ, **programs.environment()}
    done = subprocess.run(command, env=environment, cwd=programs.CHECKOUT, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def prepare(server: ApiServer) -> None:
    """Fill the API server."""
    load = Load(server)
    await load.prepare()
    await load.grow("pods", PODS)
    async with Client.connect(kubeconfig=str(server.kubeconfig), user_agent="bench") as client:
        for name in OBJECTS:
            await client.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": name}})


def table(found: dict[tuple[str, str], list[dict[str, float]]], runs: int) -> str:
    """The medians, with the least and the most."""
    lines = ["| | s | CPU s of the client |", "| --- | --- | --- |"]
    for (work, name), values in found.items():
        cells = []
        for key in ("seconds", "cpu"):
            figures = sorted(value[key] for value in values)
            cells.append(f"{statistics.median(figures):.2f} ({figures[0]:.2f} to {figures[-1]:.2f})")
        lines.append(f"| {work}: {TRANSPORTS[name]} | {' | '.join(cells)} |")
    return "\n".join(
        [*lines, "", f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; medians of {runs} runs, least and most."]
    )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.http2", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--config", help=argparse.SUPPRESS)
    parser.add_argument("--transport", choices=TRANSPORTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.config:
        print(json.dumps(uvloop.run(measured(arguments.config, arguments.transport, arguments.work))))
        return
    found: dict[tuple[str, str], list[dict[str, float]]] = {(work, name): [] for work in WORK for name in TRANSPORTS}
    with tempfile.TemporaryDirectory() as directory, ApiServer(Path(directory)) as server:
        asyncio.run(prepare(server))
        for _ in range(arguments.runs):  # in turns, so that a slow minute of the machine hits all of them
            for (work, name), values in found.items():
                values.append(run(server.kubeconfig, name, work))
    print(table(found, arguments.runs))


if __name__ == "__main__":
    main()
