"""Real Cassandra, started by our program with our configuration, and spoken to as the operator does."""

import asyncio
import os
import time

import aiohttp
import pytest

from controller.cassandra.access import roles
from controller.cassandra.access.answers import (
    SYSTEM_KEYSPACES,
    Bootstrap,
    Cleanup,
    ClearSnapshot,
    Command,
    Decommission,
    Drain,
    Flush,
    JobState,
    Look,
    Mode,
    Phase,
    RefusedError,
    Repair,
    StopCleanups,
    StopRepairs,
    TakeSnapshot,
    UnansweredError,
    UpgradeSSTables,
)
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.access.members import Login
from controller.cassandra.member.encryption import PLAIN, ClientTls, Internode, toward
from tests.integration.cassandra import (
    ENCRYPTED,
    Lab,
    Node,
    done,
    eventually,
    read_rows,
    serving,
    session,
    write_rows,
)

SUPERUSER = Login("rook", "it's a secret")

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="containers with addresses of their own need root"),
]


@pytest.mark.parametrize("lab", [True], indirect=True, ids=["tls"])
async def test_a_ring_is_founded_grown_and_shrunk(lab: Lab, members: HttpMembers) -> None:
    first, second = lab.node(0), lab.node(1)

    # Nobody starts before the operator has said how.
    await asyncio.to_thread(first.start)
    look = await eventually(members.member(first.door).look, lambda look: True, "the program answers")
    assert look.report.phase is Phase.WAITING
    with pytest.raises(RefusedError, match="does not run"):
        await members.member(first.door).start("early", Drain())
    first.record(seeds=(first.address,), founder=True)
    founder = await serving(members, first)
    assert (founder.datacenter, founder.rack, founder.tokens, founder.release[:3]) == ("dc1", "r1", 16, "5.0")
    assert founder.bootstrap is Bootstrap.COMPLETED
    assert founder.ring.host_ids == {first.address: founder.host_id}

    # Authentication: our superuser works, the one that everybody knows does not.
    reach = {"ca": lab.ca, "name": first.name}
    async with session(members, first, roles.DEFAULT) as cql:
        await roles.set_superuser(cql, SUPERUSER)
    async with session(members, first, SUPERUSER) as cql:
        await roles.lock_default(cql)
        rows = await cql.query("SELECT role, is_superuser, can_login FROM system_auth.roles", quorum=True)
        assert [row["role"] for row in rows if row["is_superuser"] and row["can_login"]] == [SUPERUSER.user]
    assert await roles.is_let_in(members, first.address, SUPERUSER, **reach)
    await eventually(  # passwords are cached for 2 s
        lambda: roles.is_let_in(members, first.address, roles.DEFAULT, **reach), lambda let: not let, "it is locked"
    )
    with pytest.raises(UnansweredError):  # not without TLS
        await roles.is_let_in(members, first.address, SUPERUSER)

    # Alone it has nobody to leave its data to.
    alone = await done(members, first, "leave-alone", Decommission())
    assert (alone.state, "no other normal nodes" in alone.message) == (JobState.FAILED, True)

    # The second one joins: it takes over data, though its record names it as a seed.
    await write_rows(members, first, SUPERUSER, 50)
    second.record(seeds=(first.address, second.address))
    await asyncio.to_thread(second.start)
    joiner = await serving(members, second)
    both = {first.address: founder.host_id, second.address: joiner.host_id}
    for node in (first, second):
        state = await serving(members, node)
        assert (dict(state.ring.host_ids), state.ring.live) == (both, frozenset(both))
    assert "JOINING" in await asyncio.to_thread(second.log)
    assert await read_rows(members, second, SUPERUSER) == set(range(50))
    assert (await done(members, first, "cleanup", Cleanup("app"))).state is JobState.SUCCEEDED
    assert await read_rows(members, first, SUPERUSER) == set(range(50))
    # Seeds of a running member follow its record.
    first.record(seeds=(second.address,))
    await eventually(
        members.member(first.door).look,
        lambda look: look.state is not None and look.state.seeds == (second.address,),
        "seeds",
    )

    # It does not leave while a keyspace wants more copies than members stay, and goes on serving.
    keyspaces = {keyspace.name: keyspace for keyspace in await members.member(first.door).keyspaces()}
    assert keyspaces.keys() == {"app", *SYSTEM_KEYSPACES}
    assert keyspaces["app"].factors == {"dc1": 1}
    assert keyspaces["system_distributed"].factors == {"": 3}
    refused = await done(members, second, "leave-1", Decommission())
    assert (refused.state, "Not enough live nodes" in refused.message) == (JobState.FAILED, True)
    assert (await serving(members, second)).mode is Mode.DECOMMISSION_FAILED
    async with session(members, first, SUPERUSER) as cql:
        for name in sorted(SYSTEM_KEYSPACES):
            await roles.set_replication(cql, name, {"dc1": 1})
    wanted = dict.fromkeys(SYSTEM_KEYSPACES, ("NetworkTopologyStrategy", {"dc1": 1}))
    await eventually(
        members.member(second.door).keyspaces,
        lambda found: {k.name: (k.strategy, k.factors) for k in found if k.is_system} == wanted,
        "the other member has heard of it",
    )

    # Then it leaves once, however often it is told to with the same job.
    first.record(seeds=(first.address,), host_id=founder.host_id)
    assert (await members.member(second.door).start("leave-2", Decommission())).state is JobState.RUNNING
    left = await done(members, second, "leave-2", Decommission())
    assert left.state is JobState.SUCCEEDED
    gone = await members.member(second.door).look()
    assert gone.state is not None
    assert (gone.state.mode, gone.state.bootstrap) == (Mode.DECOMMISSIONED, Bootstrap.DECOMMISSIONED)
    assert not gone.state.is_serving
    assert (await serving(members, first)).ring.host_ids == {first.address: founder.host_id}
    assert await read_rows(members, first, SUPERUSER) == set(range(50))

    # Its volume is not used again.
    await asyncio.to_thread(second.stop)
    await asyncio.to_thread(second.start)
    look = await eventually(
        members.member(second.door).look, lambda look: look.report.phase is Phase.LEFT, "it has left"
    )
    assert joiner.host_id in look.report.message

    # Drained, it serves no more, and only a restart ends that; everything is there again.
    assert (await done(members, first, "drain", Drain())).state is JobState.SUCCEEDED
    drained = await members.member(first.door).look()
    assert drained.state is not None
    assert (drained.state.mode, drained.state.is_serving) == (Mode.DRAINED, False)
    await asyncio.to_thread(first.stop)
    await asyncio.to_thread(first.start)
    assert (await serving(members, first)).host_id == founder.host_id
    assert await read_rows(members, first, SUPERUSER) == set(range(50))


# That a ring of 4.1 becomes one of 5.0 with its rows is in e2e; here is the way back, too.
@pytest.mark.long
async def test_4_1_becomes_5_0_with_its_data_and_goes_back(lab: Lab, members: HttpMembers) -> None:
    node = lab.node(0)
    node.record(seeds=(node.address,), founder=True)
    await asyncio.to_thread(node.start, "cassandra-41", authentication=False, metrics=True)
    old = await serving(members, node)
    assert (old.release[:3], old.bootstrap, old.mode) == ("4.1", Bootstrap.COMPLETED, Mode.NORMAL)
    await check_metrics(node)
    async with members.session(node.address, None) as cql:
        await cql.query("CREATE KEYSPACE app WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        await cql.query("CREATE TABLE app.rows (id int PRIMARY KEY)")
        await cql.query("INSERT INTO app.rows (id) VALUES (1)")
    keyspaces = {keyspace.name: keyspace.factors for keyspace in await members.member(node.door).keyspaces()}
    assert keyspaces["app"] == {"": 1}
    commands: dict[str, Command] = {
        "flush": Flush("app"),
        "snapshot": TakeSnapshot("before"),
        "repair": Repair("app"),
        "stop-repairs": StopRepairs(),
        "stop-cleanups": StopCleanups(),
    }
    for name, command in commands.items():
        job = await done(members, node, name, command)
        assert job.state is JobState.SUCCEEDED, job
    (snapshot,) = await members.member(node.door).snapshots()
    assert (snapshot.tag, {"app", "system_auth"} <= snapshot.keyspaces) == ("before", True)

    node.record(seeds=(node.address,), host_id=old.host_id)
    await asyncio.to_thread(node.stop)
    await asyncio.to_thread(node.start, "cassandra-50")
    new = await serving(members, node)
    assert (new.release[:3], new.host_id) == ("5.0", old.host_id)
    await check_metrics(node)
    async with members.session(node.address, None) as cql:
        assert await cql.query("SELECT id FROM app.rows") == [{"id": 1}]
        await cql.query("INSERT INTO app.rows (id) VALUES (2)")
    assert (await done(members, node, "upgrade", UpgradeSSTables("app"))).state is JobState.SUCCEEDED
    assert (await done(members, node, "stop-repairs", StopRepairs())).state is JobState.SUCCEEDED
    assert (await done(members, node, "stop-cleanups", StopCleanups())).state is JobState.SUCCEEDED
    assert (await done(members, node, "clear", ClearSnapshot("before"))).state is JobState.SUCCEEDED
    (kept,) = await members.member(node.door).snapshots()  # Cassandra makes one of its own tables when it is upgraded
    assert "upgrade-4.1" in kept.tag

    # As long as the storage mode is that of 4, there is a way back.
    await asyncio.to_thread(node.stop)
    await asyncio.to_thread(node.start, "cassandra-41")
    assert (await serving(members, node)).release[:3] == "4.1"
    async with members.session(node.address, None) as cql:
        assert {row["id"] for row in await cql.query("SELECT id FROM app.rows")} == {1, 2}


async def check_metrics(node: Node) -> None:
    """Prometheus finds what dashboards are made of, and all is read in a fraction of its time between two scrapes."""
    begin = time.monotonic()
    async with aiohttp.ClientSession() as client, client.get(f"http://{node.address}:9500/metrics") as response:
        lines = [line for line in (await response.text()).splitlines() if line.startswith("cassandra")]
    told = dict(line.rsplit(" ", 1) for line in lines)
    assert time.monotonic() - begin < 10
    assert float(told["cassandra_storage_load"]) > 0
    assert 'cassandra_clientrequest_unavailables_total{request="Write"}' in told


@pytest.mark.parametrize("image", ["cassandra-50", pytest.param("cassandra-41", marks=pytest.mark.long)])
@pytest.mark.parametrize("lab", [True], indirect=True, ids=["tls"])
async def test_a_running_ring_is_encrypted_step_by_step(lab: Lab, members: HttpMembers, image: str) -> None:
    """Two members with two copies of each row: a write at quorum needs both, whatever step each of them is at."""
    first, second = lab.node(0), lab.node(1)
    for node in (first, second):
        node.record(seeds=(first.address,), founder=node is first)
        await asyncio.to_thread(node.start, image, authentication=False, encryption=PLAIN)
        await serving(members, node)
    async with members.session(first.address, None) as cql:
        replication = "{'class': 'NetworkTopologyStrategy', 'dc1': 2}"
        await cql.query(f"CREATE KEYSPACE app WITH replication = {replication}")
        await cql.query("CREATE TABLE app.rows (id int PRIMARY KEY)")
    hosts = {node.name: (await serving(members, node)).host_id for node in (first, second)}

    step, written = PLAIN, 0
    while step != ENCRYPTED:
        step = toward(step, ENCRYPTED)
        for node in (first, second):
            node.record(seeds=(first.address, second.address), host_id=hosts[node.name])
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start, image, encryption=step)
            for other in (first, second):
                await eventually(members.member(other.door).look, sees_two, f"{other.name} sees both at {step}")
            for writer in (first, second):
                plain = writer is second and node is first and step.client is ClientTls.OPTIONAL
                reach = {} if plain else {"ca": lab.ca, "name": writer.name}
                async with members.session(writer.address, None, **reach) as cql:
                    await cql.query(f"INSERT INTO app.rows (id) VALUES ({written})", quorum=True)  # noqa: S608
                    written += 1
                    found = await cql.query("SELECT id FROM app.rows", quorum=True)
                    assert {row["id"] for row in found} == set(range(written))
        assert await refuses_plain(first.address) == (step.internode is Internode.REQUIRED)
    with pytest.raises(UnansweredError):
        async with members.session(first.address, None):
            pass


def sees_two(look: Look) -> bool:
    return look.state is not None and look.state.is_serving and len(look.state.ring.live) == 2


async def refuses_plain(host: str) -> bool:
    """Whether a member ends a connection from another one that does not speak TLS."""
    reader, writer = await asyncio.open_connection(host, 7000)
    try:
        writer.write(bytes.fromhex("ca552dfa") + bytes(8))
        async with asyncio.timeout(5):
            return await reader.read(1) in (b"", b"\x15")  # an alert of TLS
    except TimeoutError:
        return False
    finally:
        writer.close()
