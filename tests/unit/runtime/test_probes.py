"""What strangers are told, and what it costs when many ask."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from controller.runtime import probes
from controller.runtime.probes import Probes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from prometheus_client import Metric

TROUBLE = {"shutdown": "ok", "informer-pods": "403 Forbidden: User system:serviceaccount:rook cannot list pods"}


class Counting(Collector):
    """How often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def collect(self) -> Iterator[Metric]:
        """One metric."""
        self.asked += 1
        yield GaugeMetricFamily("asked", "how often", value=self.asked)


@pytest.fixture
def collector() -> Counting:
    return Counting()


@pytest.fixture
async def urls(collector: Counting) -> AsyncIterator[tuple[str, str]]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    collector.asked = 0
    served = Probes(registry, live=lambda: {"workers": "ok"}, ready=lambda: TROUBLE, debug={})
    async with served.serve(("127.0.0.1", 0), ("127.0.0.1", 0)) as addresses:
        public, debug = (f"http://{host}:{port}" for host, port in addresses)
        yield public, debug


async def text(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_strangers_are_told_that_a_check_fails_and_not_why(urls: tuple[str, str]) -> None:
    public, debug = urls
    withheld = "[+]shutdown ok\n[-]informer-pods failed: reason withheld\ncheck failed\n"
    assert await text(f"{public}/readyz") == (500, withheld)
    assert await text(f"{public}/readyz?verbose") == (500, withheld)
    assert await text(f"{public}/healthz") == (200, "[+]workers ok\ncheck passed\n")
    status, body = await text(f"{debug}/readyz")
    assert status == 500
    assert f"[-]informer-pods {TROUBLE['informer-pods']}\n" in body


async def test_many_scrapes_cost_as_much_as_one(
    urls: tuple[str, str], collector: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    public, _ = urls
    monkeypatch.setattr(probes, "SCRAPE_INTERVAL", 3600.0)
    bodies = await asyncio.gather(*(text(f"{public}/metrics") for _ in range(20)))
    assert {body for _, body in bodies} == {bodies[0][1]}
    assert "asked 1.0" in bodies[0][1]
    assert collector.asked == 1
    monkeypatch.setattr(probes, "SCRAPE_INTERVAL", 0.0)
    assert "asked 2.0" in (await text(f"{public}/metrics"))[1]


async def test_who_takes_gzip_gets_it(urls: tuple[str, str]) -> None:
    public, _ = urls
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(f"{public}/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert b"asked" in gzip.decompress(await answer.read())
        async with session.get(f"{public}/metrics", headers={"Accept-Encoding": "identity"}) as answer:
            assert "Content-Encoding" not in answer.headers
            assert b"asked" in await answer.read()


async def test_nothing_needs_to_be_served() -> None:
    async with Probes(CollectorRegistry(), live=dict, ready=dict, debug={}).serve(None, None) as addresses:
        assert addresses == ()
