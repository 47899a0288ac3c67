"""Two replicas, each behind a network of its own, which fails without a word. Never do two act.

Both write all the time, each its own name into one object, and unconditionally: nothing but leadership keeps them
apart. What the server took, and in which order, is told by a watch past their networks.
"""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest

from controller.runtime.kube import CONFIG_MAP
from e2e.apiserver import ApiServer
from informers import Client, Delta, InformerFactory, JsonObject
from tests.integration import stamper
from tests.integration.proxy import Proxy
from tests.integration.test_manager import until
from tests.integration.test_replicas import ROOT, until_held_by

LOOK = 60.0
"""Seconds in which a change of leadership must be over: the lease and an attempt, several times."""


class Replica:
    """A process, and the networks over which it writes and renews its lease."""

    def __init__(self, name: str, writes: Proxy, lease: Proxy) -> None:
        self.name = name
        self.networks = (writes, lease)
        self.process: Process

    @property
    def lease_network(self) -> Proxy:
        """The one of its lease alone."""
        return self.networks[1]


class Record:
    """Every write that the server has taken, by whom and in order: (writer, number)."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, int]] = []

    def __call__(self, delta: Delta[JsonObject]) -> None:
        new = delta.new
        if new is not None and "writer" in new.get("data", {}):
            self.writes.append((new["data"]["writer"], int(new["data"]["count"])))

    @property
    def last(self) -> str:
        """Who wrote last."""
        return self.writes[-1][0] if self.writes else ""

    def assert_one_after_the_other(self, *names: str) -> None:
        """Every replica's writes are all before those of the next one."""
        order = [name for index, (name, _) in enumerate(self.writes) if not index or self.writes[index - 1][0] != name]
        assert order == list(names)


@asynccontextmanager
async def replica(apiserver: ApiServer, namespace: str, name: str, directory: Path) -> AsyncIterator[Replica]:
    async with Proxy(apiserver.port).serve() as writes, Proxy(apiserver.port).serve() as lease:
        found = Replica(name, writes, lease)
        configs = [
            str(apiserver.write_kubeconfig(directory / f"{name}-{index}", url=f"https://127.0.0.1:{proxy.port}"))
            for index, proxy in enumerate(found.networks)
        ]
        with (directory / f"{name}.log").open("wb") as log:
            found.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                stamper.__name__,
                *configs,
                namespace,
                name,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        try:
            yield found
        finally:
            if found.process.returncode is None:
                found.process.kill()
            await found.process.wait()


@asynccontextmanager
async def recorded(client: Client, namespace: str, name: str) -> AsyncIterator[Record]:
    """What is written to an object."""
    await client.create(CONFIG_MAP, {"metadata": {"namespace": namespace, "name": name}})
    factory = InformerFactory(client, namespaces=(namespace,))
    informer = factory.informer(CONFIG_MAP, dict, field_selector=f"metadata.name={name}")
    record = Record()
    informer.add_handler(record)
    running = asyncio.create_task(factory.run())  # no task group: fixtures begin and end in different tasks
    try:
        await informer.wait_synced()
        yield record
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def record(client: Client, namespace: str) -> AsyncIterator[Record]:
    async with recorded(client, namespace, stamper.OBJECT) as record:
        yield record


@pytest.fixture
async def guarded(client: Client, namespace: str) -> AsyncIterator[Record]:
    async with recorded(client, namespace, stamper.GUARDED) as record:
        yield record


@pytest.fixture
async def pair(
    apiserver: ApiServer, client: Client, namespace: str, record: Record, guarded: Record, tmp_path: Path
) -> AsyncIterator[tuple[Replica, Replica]]:
    """A leader that writes, and a standby."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(replica(apiserver, namespace, "one", tmp_path))
        await until_held_by(client, namespace, lambda holder: holder.startswith("one_"))
        two = await stack.enter_async_context(replica(apiserver, namespace, "two", tmp_path))
        await until(
            lambda: record.last == guarded.last == "one" and "Caches are synced" in (tmp_path / "two.log").read_text()
        )
        yield one, two


@pytest.mark.parametrize("lease_alone", [False, True])
async def test_a_leader_that_is_cut_off_in_silence_has_written_its_last_before_the_next_one_writes(
    client: Client, namespace: str, record: Record, pair: tuple[Replica, Replica], lease_alone: bool
) -> None:
    one, _ = pair
    for network in one.networks[lease_alone:]:
        network.hold()

    with anyio.fail_after(LOOK):
        await until(lambda: record.last == "two")
        assert await one.process.wait() == stamper.LOST, "it finds out by itself"
    count = len(record.writes)
    await until(lambda: len(record.writes) > count + 20)
    record.assert_one_after_the_other("one", "two")


async def test_a_standby_that_is_cut_off_and_comes_back_changes_nothing(
    client: Client, namespace: str, record: Record, pair: tuple[Replica, Replica]
) -> None:
    one, two = pair
    for network in two.networks:
        network.hold()
    writes = len(record.writes)
    # Longer than the lease: whoever only counts must think that it has run out.
    with anyio.move_on_after(stamper.LEASE_DURATION * 2):
        await two.process.wait()
    for network in two.networks:
        network.release()
    await until(lambda: len(record.writes) > writes + 100)

    record.assert_one_after_the_other("one")
    one.process.terminate()
    await until(lambda: record.last == "two")
    record.assert_one_after_the_other("one", "two")


async def test_what_the_network_delivers_late_changes_nothing_that_a_version_guards(
    record: Record, guarded: Record, pair: tuple[Replica, Replica]
) -> None:
    """The limit of any lease is a write under way that comes late: `docs/runtime.md` says what to do about it."""
    one, _ = pair
    network, _ = one.networks
    network.linger = LOOK
    # Answers pass: whoever waits for one sends his next write then, and nobody else has anything to send.
    network.hold(answers=False)
    await until(lambda: network.held >= 2)  # a write of each sort
    one.process.kill()
    await until(lambda: record.last == guarded.last == "two")
    writes = len(record.writes)

    network.release()

    def late() -> list[str]:
        return [name for name, _ in record.writes[writes:] if name == "one"]

    await until(lambda: late() != [])
    after = len(record.writes)
    await until(lambda: len(record.writes) > after + 100)
    assert late() == ["one"], "the one that was under way, which nothing guarded"
    guarded.assert_one_after_the_other("one", "two")
