"""Two replicas as processes: the leader is killed, stopped for a while, told to end, cut off. Never do two act."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio
import pytest

from controller.runtime.kube import CONFIG_MAP, LEASE
from e2e.apiserver import ApiServer
from informers import ApiError, Client
from tests.integration import replica
from tests.integration.test_manager import read, source, until_stored

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def started(kubeconfig: Path, namespace: str, name: str, log: Path) -> AsyncIterator[Process]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.replica",
            str(kubeconfig),
            namespace,
            name,
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "default"},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_held_by(client: Client, namespace: str, condition: Callable[[str], bool]) -> str:
    """Waits until the lease's holder is as wanted; returns it."""
    with anyio.fail_after(60):
        while True:
            try:
                lease = await client.get(LEASE, namespace, replica.LEASE_NAME)
            except ApiError as error:
                if not error.is_not_found:
                    raise
            else:
                holder = lease["spec"].get("holderIdentity") or ""
                if condition(holder):
                    return holder.split("_")[0]
            await anyio.sleep(0.02)


async def until_copied(client: Client, namespace: str, name: str) -> None:
    await client.create(CONFIG_MAP, source(namespace, name))
    await until_stored(client, namespace, f"copy-{name}")


class Pair:
    """A leader that has done some work, and a standby that is ready."""

    def __init__(self, leader: Process, standby: Process, logs: Path) -> None:
        self.leader = leader
        self.standby = standby
        self.logs = logs

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text()


@pytest.fixture
async def pair(apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path) -> AsyncIterator[Pair]:
    async with started(apiserver.kubeconfig, namespace, "one", tmp_path / "one.log") as leader:
        await until_held_by(client, namespace, lambda holder: holder.startswith("one_"))
        async with started(apiserver.kubeconfig, namespace, "two", tmp_path / "two.log") as standby:
            pair = Pair(leader, standby, tmp_path)
            await until_copied(client, namespace, "first")
            with anyio.fail_after(60):
                while "Caches are synced" not in pair.log("two"):  # noqa: ASYNC110  # another process's log
                    await anyio.sleep(0.02)
            yield pair


async def test_the_standby_takes_over_from_a_leader_that_was_killed(client: Client, namespace: str, pair: Pair) -> None:
    renewed = await client.get(LEASE, namespace, replica.LEASE_NAME)
    pair.leader.kill()

    await until_held_by(client, namespace, lambda holder: holder.startswith("two_"))

    taken = await client.get(LEASE, namespace, replica.LEASE_NAME)
    waited = datetime.fromisoformat(taken["spec"]["acquireTime"]) - datetime.fromisoformat(renewed["spec"]["renewTime"])
    assert waited.total_seconds() >= replica.LEASE_DURATION
    await until_copied(client, namespace, "second")


async def test_a_leader_that_is_told_to_end_lets_the_lease_go_and_ends_well(
    client: Client, namespace: str, pair: Pair
) -> None:
    pair.leader.terminate()

    assert await pair.leader.wait() == 0
    assert "Released the lease" in pair.log("one")
    await until_held_by(client, namespace, lambda holder: holder.startswith("two_"))
    lease = await client.get(LEASE, namespace, replica.LEASE_NAME)
    assert lease["spec"]["leaseTransitions"] == 1
    await until_copied(client, namespace, "second")


async def test_a_standby_that_is_told_to_end_ends_and_leaves_the_leader_alone(
    client: Client, namespace: str, pair: Pair
) -> None:
    pair.standby.send_signal(signal.SIGINT)

    assert await pair.standby.wait() == 0
    await until_held_by(client, namespace, lambda holder: holder.startswith("one_"))
    await until_copied(client, namespace, "second")


async def test_a_leader_that_was_stopped_past_its_lease_writes_nothing_when_it_comes_back(
    client: Client, namespace: str, pair: Pair
) -> None:
    pair.leader.send_signal(signal.SIGSTOP)
    await client.create(CONFIG_MAP, source(namespace, "meanwhile"))  # work that the stopped leader has in its socket
    await until_held_by(client, namespace, lambda holder: holder.startswith("two_"))
    await until_stored(client, namespace, "copy-meanwhile")
    # What the old leader would put right if it could.
    pair.standby.send_signal(signal.SIGSTOP)
    await client.delete(CONFIG_MAP, namespace, "copy-meanwhile")

    pair.leader.send_signal(signal.SIGCONT)
    status = await pair.leader.wait()

    assert status != 0
    assert await read(client, CONFIG_MAP, namespace, "copy-meanwhile") is None
    pair.standby.kill()


async def test_a_leader_whose_lease_is_taken_ends_at_once(client: Client, namespace: str, pair: Pair) -> None:
    body = {"spec": {"holderIdentity": "usurper", "leaseDurationSeconds": 1}}
    await client.patch(LEASE, namespace, replica.LEASE_NAME, body, content_type="application/merge-patch+json")

    assert await pair.leader.wait() == replica.LOST
    await until_held_by(client, namespace, lambda holder: holder.startswith("two_"))
    await until_copied(client, namespace, "second")


async def test_an_api_server_that_is_away_past_the_lease_ends_the_leader_and_work_goes_on_after(
    apiserver: ApiServer, client: Client, namespace: str, pair: Pair
) -> None:
    await asyncio.to_thread(apiserver.kill)
    try:
        assert await pair.leader.wait() == replica.LOST
    finally:
        await asyncio.to_thread(apiserver.start)

    await until_held_by(client, namespace, lambda holder: holder.startswith("two_"))
    await until_copied(client, namespace, "second")
    assert "Traceback" not in pair.log("two")
