"""Real Cassandra members that are killed, lose their volumes, get others', and all go down."""

import asyncio
import json
import os
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from controller.apis.cassandra.cluster import CASSANDRA_4, NONE, UPGRADING
from controller.cassandra.access import roles
from controller.cassandra.access.answers import (
    SYSTEM_KEYSPACES,
    Flush,
    JobState,
    Mode,
    Phase,
    RefusedError,
    RemoveNode,
    Repair,
)
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.access.members import Login
from controller.cassandra.cluster.certificates import fingerprint
from controller.cassandra.member.encryption import ClientTls, Encryption, Internode
from controller.cassandra.member.record import copies
from controller.framework.tls import CERTIFICATE, TRUSTED
from tests.integration.cassandra import (
    ENCRYPTED,
    SUBNET,
    Lab,
    done,
    eventually,
    read_rows,
    serving,
    session,
    write_rows,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="containers with addresses of their own need root"),
]
ROWS = set(range(200))


async def test_members_are_killed_replaced_and_come_back(lab: Lab, members: HttpMembers) -> None:
    first, second = lab.node(0), lab.node(1)
    first.record(seeds=(first.address,), founder=True)
    await asyncio.to_thread(first.start, authentication=False)
    founder = await serving(members, first)
    await write_rows(members, first, None, len(ROWS), copies=2)

    # Killed in the midst of its join, it begins anew. A kubelet restarts it as often as it needs.
    second.record(seeds=(first.address,))
    await asyncio.to_thread(second.start)
    await eventually(
        members.member(second.door).look,
        lambda look: look.state is not None and look.state.mode is Mode.JOINING,
        "it joins",
    )
    await asyncio.to_thread(second.kill)
    joined = None
    for _ in range(6):
        await asyncio.to_thread(second.start)
        try:
            joined = await serving(members, second, seconds=60)
            break
        except AssertionError:
            await asyncio.to_thread(second.kill)
    assert joined is not None, await asyncio.to_thread(second.log)
    assert (await done(members, second, "repair-1", Repair("app"))).state is JobState.SUCCEEDED
    incremental = await done(members, second, "incremental", Repair("app", incremental=True))
    assert incremental.state is JobState.SUCCEEDED, incremental

    # Its volume is lost. It does not join as somebody new, but takes the lost place when it is told to.
    await asyncio.to_thread(second.kill)
    await asyncio.to_thread(second.lose_volume)
    second.record(seeds=(first.address,), host_id=joined.host_id)
    await asyncio.to_thread(second.start)
    look = await eventually(members.member(second.door).look, lambda look: look.report.phase is Phase.REFUSED, "no")
    assert f"the volume is empty, and this member had data as host ID {joined.host_id}" == look.report.message
    await eventually(
        members.member(first.door).look,
        lambda look: look.state is not None and look.state.ring.unreachable == {second.address},
        "the other sees that it is down",
    )
    lost, second.address = second.address, f"{SUBNET}.41"
    second.record(seeds=(first.address,), replace=lost)
    await asyncio.to_thread(second.kill)
    await asyncio.to_thread(second.start)
    replaced = await serving(members, second)
    assert replaced.host_id != joined.host_id
    ring = {first.address: founder.host_id, second.address: replaced.host_id}
    await eventually(
        members.member(first.door).look,
        lambda look: (
            look.state is not None and (dict(look.state.ring.host_ids), len(look.state.ring.live)) == (ring, 2)
        ),
        "the other knows the new one in the old place",
    )
    assert (await done(members, second, "repair-2", Repair("app", primary=False))).state is JobState.SUCCEEDED
    # The mark on its volume tells that it was done: the same record does no harm at the next start.
    await asyncio.to_thread(second.kill)
    await asyncio.to_thread(second.start)
    assert (await serving(members, second)).host_id == replaced.host_id

    # All are down, and the first never comes back: the second serves what it has, and no new cluster is made.
    for node in (first, second):
        await asyncio.to_thread(node.kill)
    both = (first.address, second.address)
    second.record(seeds=both, host_id=replaced.host_id)
    await asyncio.to_thread(second.start)
    alone = await serving(members, second)
    assert dict(alone.ring.host_ids) == ring
    assert await read_rows(members, second, None) == ROWS

    # Another's volume is not taken for its own.
    first.record(seeds=both, host_id=replaced.host_id)
    await asyncio.to_thread(first.start)
    look = await eventually(members.member(first.door).look, lambda look: look.report.phase is Phase.REFUSED, "no")
    assert (founder.host_id in look.report.message, look.report.host_id) == (True, founder.host_id)
    first.record(seeds=both, host_id=founder.host_id)
    back = await serving(members, first)
    assert dict(back.ring.host_ids) == ring
    assert await read_rows(members, first, None) == ROWS


async def test_members_join_racks_that_are_fewer_than_copies(lab: Lab, members: HttpMembers) -> None:
    nodes = [lab.node(number) for number in range(3)]
    for number, node in enumerate(nodes):
        node.record(seeds=(nodes[0].address,), founder=number == 0, copies=copies(number))
        await asyncio.to_thread(node.start, authentication=False, rack=f"r{number % 2}")
        state = await serving(members, node)
        assert (state.rack, len(state.ring.host_ids)) == (f"r{number % 2}", number + 1)


@pytest.mark.parametrize(
    ("encryption", "ports"),
    [
        (ENCRYPTED, (8778, 9042, 7000)),
        (Encryption(client=ClientTls.OPTIONAL), (8778, 9042)),
        (Encryption(internode=Internode.ACCEPTED), (8778, 7000)),
    ],
    ids=["all", "clients", "members"],
)
@pytest.mark.parametrize("lab", [True], indirect=True, ids=["tls"])
async def test_certificates_are_renewed_without_a_restart(
    lab: Lab, members: HttpMembers, encryption: Encryption, ports: tuple[int, ...]
) -> None:
    node = lab.node(0)
    node.record(seeds=(node.address,), founder=True)
    await asyncio.to_thread(node.start, authentication=False, encryption=encryption)
    await serving(members, node)
    before = [await presented(node.address, port, lab, node.name) for port in ports]
    await asyncio.to_thread(lab.certify, node.name, node.directory / "tls")

    async def now() -> list[bytes]:
        return [await presented(node.address, port, lab, node.name) for port in ports]

    after = await eventually(now, lambda found: not set(found) & set(before), "all ports show the new certificate")
    assert len(set(after)) == 1
    data = {name: (node.directory / "tls" / name).read_bytes() for name in (CERTIFICATE, TRUSTED)}
    told = await eventually(
        members.member(node.door).look,
        lambda look: look.report.certificates == fingerprint(data),
        "the program tells which one it is",
    )
    assert told.state is not None
    assert told.state.mode is Mode.NORMAL


@pytest.mark.parametrize("lab", [True], indirect=True, ids=["tls"])
async def test_two_releases_hear_each_other_by_tls(lab: Lab, members: HttpMembers) -> None:
    first, second = lab.node(0), lab.node(1)
    for node in (first, second):
        node.record(seeds=(first.address,), founder=node is first)
        await asyncio.to_thread(node.start, "cassandra-41", authentication=False)
        state = await serving(members, node)
    await write_rows(members, first, None, 10, copies=2)
    second.record(seeds=(first.address, second.address), host_id=state.host_id)
    await asyncio.to_thread(second.stop)
    await asyncio.to_thread(second.start, "cassandra-50")
    for node in (first, second):
        await eventually(
            members.member(node.door).look,
            lambda look: look.state is not None and look.state.is_serving and len(look.state.ring.live) == 2,
            f"{node.name} sees both",
        )
        async with session(members, node, None) as cql:  # of two copies both have to answer
            rows = await cql.query("SELECT id FROM app.rows", quorum=True)
        assert len(rows) == 10


async def presented(host: str, port: int, lab: Lab, name: str) -> bytes:
    """The certificate that a port shows."""
    context = ssl.create_default_context(cadata=lab.ca)
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(shown, bytes)
        return shown
    finally:
        writer.close()


@pytest.mark.parametrize("image", ["cassandra-41", "cassandra-50"])
async def test_who_was_away_for_longer_than_deleted_rows_are_remembered_does_not_start(
    lab: Lab, members: HttpMembers, image: str
) -> None:
    node = lab.node(0)
    node.record(seeds=(node.address,), founder=True)
    await asyncio.to_thread(node.start, image, authentication=False)
    founder = await serving(members, node)
    async with members.session(node.address, None) as cql:
        await cql.query("CREATE KEYSPACE app WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        await cql.query("CREATE TABLE app.kept (id int PRIMARY KEY) WITH gc_grace_seconds = 0")
        await cql.query("CREATE TABLE app.rows (id int PRIMARY KEY)")
    heartbeat = node.directory / "data/data/cassandra-heartbeat"
    assert "last_heartbeat" in heartbeat.read_text()
    await asyncio.to_thread(node.stop)
    old = datetime.now(UTC) - timedelta(days=11)
    heartbeat.write_text(json.dumps({"last_heartbeat": old.isoformat()}))
    node.record(seeds=(node.address,), host_id=founder.host_id)
    await asyncio.to_thread(node.start, image)

    async def log() -> str:
        return await asyncio.to_thread(node.log)

    told = await eventually(log, lambda text: "Invalid tables" in text, "it does not start")
    assert "gc_grace_seconds is older than the lastly known time" in told
    (line,) = [line for line in told.splitlines() if "Invalid tables: " in line][:1]
    assert "app.rows" in line
    assert "app.kept" not in line  # nothing is remembered there anyhow

    # Whoever knows that nothing was deleted meanwhile says so.
    await asyncio.to_thread(node.kill)
    heartbeat.unlink()
    await asyncio.to_thread(node.start, image)
    assert (await serving(members, node)).host_id == founder.host_id


async def test_why_a_running_ring_is_not_told_to_ask_for_roles(lab: Lab, members: HttpMembers) -> None:
    """Roles with passwords can be made only where they are asked for; until then, nobody is let in there."""
    first, second = lab.node(0), lab.node(1)
    first.record(seeds=(first.address,), founder=True)
    await asyncio.to_thread(first.start, authentication=False)
    founder = await serving(members, first)
    await write_rows(members, first, None, 10, copies=2)
    second.record(seeds=(first.address,))
    await asyncio.to_thread(second.start)
    await serving(members, second)

    # Clients that send a name and a password already are let in, whatever they are.
    shop = Login("shop", "of-the-shop")
    assert await read_rows(members, second, shop) == set(range(10))
    async with session(members, second, None) as cql:
        with pytest.raises(RefusedError, match="PASSWORD"):
            await cql.query("CREATE ROLE shop WITH LOGIN = true AND PASSWORD = 'of-the-shop'")
        with pytest.raises(RefusedError, match="not anonymous"):
            await cql.query("GRANT SELECT ON KEYSPACE app TO shop")

    # The first member that asks for roles lets the same clients in no more.
    await asyncio.to_thread(first.stop)
    first.record(seeds=(first.address,), host_id=founder.host_id)
    await asyncio.to_thread(first.start, authentication=True)
    await serving(members, first)
    await eventually(
        lambda: roles.is_let_in(members, first.address, roles.DEFAULT), lambda let: let, "Cassandra's own role is made"
    )
    assert not await roles.is_let_in(members, first.address, shop)
    async with session(members, first, roles.DEFAULT) as cql:
        await cql.query("CREATE ROLE shop WITH LOGIN = true AND PASSWORD = 'of-the-shop'")
    with pytest.raises(RefusedError, match="no SELECT permission"):
        await read_rows(members, first, shop)
    async with session(members, first, roles.DEFAULT) as cql:
        await cql.query("GRANT SELECT ON KEYSPACE app TO shop")
    await eventually(lambda: read_rows(members, first, shop), lambda rows: rows == set(range(10)), "it may read")


async def test_a_setting_that_cassandra_does_not_know_ends_it_with_a_line_that_says_so(
    lab: Lab, members: HttpMembers
) -> None:
    node = lab.node(0)
    node.record(seeds=(node.address,), founder=True)
    await asyncio.to_thread(node.start, authentication=False, config={"no_such_setting": 1})

    async def log() -> str:
        return await asyncio.to_thread(node.log)

    await eventually(log, lambda text: "no_such_setting" in text, "the log names the setting")
    ended = await asyncio.to_thread(node.status)
    assert ended == 3
    await asyncio.to_thread(node.remove)
    await asyncio.to_thread(node.start, config={})
    await serving(members, node)


async def test_files_of_5_0_are_written_from_the_second_mode_on_and_4_1_does_not_start_with_them(
    lab: Lab, members: HttpMembers
) -> None:
    node = lab.node(0)
    node.record(seeds=(node.address,), founder=True)
    formats = []
    for number, mode in enumerate((CASSANDRA_4, UPGRADING, NONE, UPGRADING)):
        await asyncio.to_thread(node.start, authentication=False, storage_mode=mode)
        founder = await serving(members, node)
        if not number:
            await write_rows(members, node, None, 1)
        async with members.session(node.address, None) as cql:
            await cql.query(f"INSERT INTO app.rows (id) VALUES ({number})")  # noqa: S608  # our own number
        assert (await done(members, node, f"flush-{number}", Flush("app"))).state is JobState.SUCCEEDED
        files = sorted(
            (node.directory / "data/data/app").glob("rows-*/*-Data.db"), key=lambda file: file.stat().st_mtime
        )
        formats.append(files[-1].name.partition("-")[0])
        assert await read_rows(members, node, None) == set(range(number + 1))
        await asyncio.to_thread(node.stop)
        node.record(seeds=(node.address,), host_id=founder.host_id)
    assert formats == ["nb", "oa", "oa", "oa"]

    await asyncio.to_thread(node.start, "cassandra-41")
    assert await asyncio.to_thread(node.status) != 0
    assert "unreadable sstables" in await asyncio.to_thread(node.log)


async def test_of_two_that_are_lost_one_is_replaced_and_the_other_joins_where_nobody_knows_it(
    lab: Lab, members: HttpMembers
) -> None:
    first, second, third = nodes = [lab.node(number) for number in range(3)]
    lost = []
    for number, node in enumerate(nodes):
        node.record(seeds=(first.address,), founder=not number)
        await asyncio.to_thread(node.start, authentication=False)
        lost.append((await serving(members, node)).host_id)
        if not number:
            await write_rows(members, first, None, len(ROWS), copies=3)
    async with session(members, first, None) as cql:
        for name in sorted(SYSTEM_KEYSPACES):
            await roles.set_replication(cql, name, {"dc1": 3})
    addresses = {second.address, third.address}
    for node in (second, third):
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.lose_volume)
    await eventually(
        members.member(first.door).look,
        lambda look: look.state is not None and look.state.ring.unreachable == addresses,
        "both are seen down",
    )

    # One is replaced while the other is down.
    gone, second.address = second.address, f"{SUBNET}.41"
    second.record(seeds=(first.address,), replace=gone)
    await asyncio.to_thread(second.start)
    assert (await serving(members, second)).host_id not in lost

    # The other is taken out by hand: nobody can take its place any more, and an empty member joins.
    assert (await done(members, first, "remove", RemoveNode(lost[2]))).state is JobState.SUCCEEDED
    # What is left of it in gossip goes after three days, or with a restart of all.
    replaced = (await serving(members, second)).host_id
    for node, host_id in ((first, lost[0]), (second, replaced)):
        node.record(seeds=(first.address, second.address), host_id=host_id)
        await asyncio.to_thread(node.stop)
    for node in (first, second):
        await asyncio.to_thread(node.start)
        await serving(members, node)
    gone, third.address = third.address, f"{SUBNET}.42"
    third.record(seeds=(first.address,), replace=gone)
    await asyncio.to_thread(third.start)
    assert await asyncio.to_thread(third.status) != 0
    log = await asyncio.to_thread(third.log)
    assert "Cannot replace_address" in log
    await asyncio.to_thread(third.remove)
    third.record(seeds=(first.address,))
    await asyncio.to_thread(third.start)
    ring = (await serving(members, third)).ring.host_ids
    assert len(ring) == 3
    assert not {lost[1], lost[2]} & set(ring.values())
    assert await read_rows(members, third, None) == ROWS
