"""A real Cassandra member whose volume becomes full while it writes."""

import asyncio
import os
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path

import anyio
import pytest

from controller.cassandra.access.answers import AccessError, Look, Phase
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.member.analyze import analyze
from controller.cassandra.member.pod.server import PROBE_PORT
from controller.cassandra.member.pod.start import LEAST_FREE
from controller.cassandra.member.ring import Problem, Scene, Seen, findings
from controller.cassandra.member.roster import Roster, Seat
from controller.cassandra.member.steps import Wish
from tests.integration.cassandra import Lab, Node, eventually, serving, session

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="containers with addresses of their own need root"),
]
VOLUME, BALLAST, ROW = 320 << 20, 150 << 20, 128 << 10
"""Bytes of the volume, of what takes up room on it and is deleted later, and of a row."""
WRITING, NOTICED, CALM = 180.0, 60.0, 15.0
"""Seconds in which the volume becomes full, in which that is seen, and for which nothing restarts."""
SYNCED = 3.0
"""Seconds after which a write is on the disk; Cassandra acknowledges it before, and blocks when it is late."""


async def test_a_member_that_ends_for_want_of_room_waits_and_has_all_its_rows(lab: Lab, members: HttpMembers) -> None:
    node = lab.node(0)
    host_id, ballast = await founded(members, node)
    written = await fill(members, node)
    assert await asyncio.to_thread(node.status) == 100
    last = (await asyncio.to_thread(node.log)).splitlines()[-1]
    assert "Cassandra ended with status 100: the volume is full" in last

    # What a kubelet does about it.
    node.record(seeds=(node.address,), host_id=host_id)
    await asyncio.to_thread(node.remove)
    await asyncio.to_thread(node.start)
    look = await eventually(members.member(node.door).look, lambda look: look.report.phase is Phase.REFUSED, "it waits")
    assert look.report.message.startswith("the volume is full")
    await stays(members, node, look)
    held(node, host_id, look)

    ballast.unlink()
    assert (await serving(members, node)).host_id == host_id
    assert await kept(members, node, written) == written


async def test_a_member_that_lives_on_without_serving_is_seen_and_recovers_by_one_restart(
    lab: Lab, members: HttpMembers
) -> None:
    """A user may want `disk_failure_policy: stop`: the Java machine and its JMX go on."""
    node = lab.node(0)
    host_id, ballast = await founded(members, node, disk_failure_policy="stop", commit_failure_policy="stop")
    written = await fill(members, node)
    look = await eventually(
        members.member(node.door).look,
        lambda look: look.state is not None and not look.state.is_serving,
        "Cassandra answers and does not serve",
        seconds=NOTICED,
    )
    assert look.report.volume_trouble.startswith("the volume is full")
    await stays(members, node, look)
    held(node, host_id, look)

    ballast.unlink()
    node.record(seeds=(node.address,), host_id=host_id)
    await asyncio.to_thread(node.stop)
    await asyncio.to_thread(node.start)
    assert (await serving(members, node)).host_id == host_id
    assert await kept(members, node, written) == written


async def founded(members: HttpMembers, node: Node, **config: object) -> tuple[str, Path]:
    """A member that is all of its ring, on a small volume; its host ID, and what takes up room there."""
    await asyncio.to_thread(node.limit_volume, VOLUME)
    ballast = node.directory / "data/ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, BALLAST)
    node.record(seeds=(node.address,), founder=True)
    settings = {"commitlog_sync_period": "1000ms", **config}
    await asyncio.to_thread(node.start, authentication=False, config=settings)
    host_id = (await serving(members, node)).host_id
    async with session(members, node, None) as cql:
        await cql.query("CREATE KEYSPACE app WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        await cql.query("CREATE TABLE app.rows (id int PRIMARY KEY, content blob)")
    return host_id, ballast


async def fill(members: HttpMembers, node: Node) -> set[int]:
    """Writes rows until the member is not ready any more; those that were acknowledged a while before the last one."""
    written: dict[int, float] = {}
    number, refused = 0, 0.0
    with anyio.fail_after(WRITING):
        while await asyncio.to_thread(is_ready, node):
            try:
                async with session(members, node, None) as cql:
                    while True:
                        number += 1
                        content = secrets.token_hex(ROW)
                        await cql.query(f"INSERT INTO app.rows (id, content) VALUES ({number}, 0x{content})")  # noqa: S608
                        written[number] = time.monotonic()
            except AccessError:
                refused = refused or time.monotonic()
                assert time.monotonic() - refused < NOTICED, "it is ready, and takes no more writes"
                await asyncio.sleep(1)
    last = max(written.values())
    synced = {number for number, at in written.items() if at + SYNCED < last}
    assert synced
    return synced


async def kept(members: HttpMembers, node: Node, written: set[int]) -> set[int]:
    """Those of the rows that the member has."""
    async with session(members, node, None) as cql:
        found = [await cql.query(f"SELECT id FROM app.rows WHERE id = {number}") for number in written]  # noqa: S608
    return {row["id"] for rows in found for row in rows}


async def stays(members: HttpMembers, node: Node, known: Look) -> None:
    """It goes on as it is: not ready, alive, and not started again."""
    until = time.monotonic() + CALM
    while time.monotonic() < until:
        look = await members.member(node.door).look()
        assert (look.report.phase, look.state is None) == (known.report.phase, known.state is None)
        assert look.report.volume_free < LEAST_FREE
        assert not await asyncio.to_thread(is_ready, node)
        assert await asyncio.to_thread(is_ready, node, "healthz")
        await asyncio.sleep(1)


def held(node: Node, host_id: str, look: Look) -> None:
    """What the operator makes of it: it tells the cause, and lets nobody join, or leave towards it."""
    seats = {node.name: Seat(rack="r1", ordinal=0, host_id=host_id)}
    roster = Roster(cluster="tests", datacenter="dc1", founded=True, seats=seats)
    scene = Scene(now=time.time(), seen={node.name: Seen(address=node.address, look=look)}, keyspaces=())
    (found,) = findings(roster, scene)
    assert (found.problem, found.member) == (Problem.DISK_FAILURE, node.name)
    assert f"{node.name} does not serve: the volume is full" in found.text
    (joins,) = analyze(Wish(prefix="tests", racks={"r1": 2}), roster, scene)
    two = roster.seated("tests-r1-1", Seat(rack="r1", ordinal=1, host_id="other"))
    (leaves,) = analyze(Wish(prefix="tests", racks={"r1": 1}), two, scene)
    for step in (joins, leaves):
        assert step.action is None
        assert found.text in step.waits_for


def is_ready(node: Node, probe: str = "readyz") -> bool:
    """What the kubelet is told."""
    try:
        with urllib.request.urlopen(f"http://{node.address}:{PROBE_PORT}/{probe}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
