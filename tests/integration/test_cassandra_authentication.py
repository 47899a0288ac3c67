"""Logins to a ring of real Cassandra members that grows, loses each of them in turn, and whose superuser is rotated."""

import asyncio
import os
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from controller.cassandra.access import roles
from controller.cassandra.access.answers import SYSTEM_KEYSPACES, Job, Look, UnansweredError
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.access.members import Login, Session
from controller.cassandra.cluster.rotate import Rotating
from controller.cassandra.cluster.rotation import OVERLAP, Rotation, analyze
from controller.cassandra.member import chores
from controller.cassandra.member.replication import replication
from controller.cassandra.member.ring import Scene, Seen
from controller.cassandra.member.roster import ChoreKind, Roster, Seat
from controller.cassandra.member.steps import Replicate, Tell, WriteRoster
from controller.runtime.kube import SECRET
from controller.testkit import ApiServer
from tests.integration.cassandra import Lab, Node, eventually, read_rows, serving, session, write_rows

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="containers with addresses of their own need root"),
]
SUPERUSER = Login("store-superuser", "it's a secret")
NAMESPACE, NAME = "db", "store-superuser"
PAUSE = 0.02


async def test_login_works_whoever_is_down_and_a_rotation_disturbs_nobody(lab: Lab, members: HttpMembers) -> None:
    first, *others = nodes = [lab.node(number) for number in range(3)]
    first.record(seeds=(first.address,), founder=True)
    await asyncio.to_thread(first.start)
    hosts = {first.name: (await serving(members, first)).host_id}
    async with session(members, first, roles.DEFAULT) as cql:
        await roles.set_superuser(cql, SUPERUSER)
    async with session(members, first, SUPERUSER) as cql:
        await roles.lock_default(cql)
    await replicated(members, nodes[:1], hosts)

    # It grows: as soon as a member has joined, there are as many copies of roles, and they are not empty.
    for number, node in enumerate(others, start=2):
        node.record(seeds=(first.address,))
        await asyncio.to_thread(node.start)
        hosts[node.name] = (await serving(members, node)).host_id
        for other in nodes[:number]:
            await eventually(members.member(other.door).look, sees(number), f"{other.name} sees {number}")
        await replicated(members, nodes[:number], hosts)
        found = await members.member(node.door).keyspaces()
        assert {k.name: k.factors for k in found if k.is_system} == {key: {"dc1": number} for key in SYSTEM_KEYSPACES}

    # With each member down in turn, each of the others lets the superuser in, and nobody as cassandra.
    for down in nodes:
        await asyncio.to_thread(down.stop)
        up = [node for node in nodes if node is not down]
        for node in up:
            await eventually(members.member(node.door).look, sees(2), f"{node.name} sees that {down.name} is down")
            await let_in(members, node, SUPERUSER)
            assert not await roles.is_let_in(members, node.address, roles.DEFAULT)
        down.record(seeds=tuple(node.address for node in nodes), host_id=hosts[down.name])
        await asyncio.to_thread(down.start)
        await serving(members, down)
        for node in nodes:
            await eventually(members.member(node.door).look, sees(3), f"{node.name} sees all")

    # Rotated twice, once by an operator that is killed amid it: who writes, and who logs in each time, sees nothing.
    await write_rows(members, first, SUPERUSER, 1, copies=3)
    for node in nodes:
        await eventually(lambda: read_rows(members, node, SUPERUSER), bool, f"{node.name} knows the table")  # noqa: B023
    operator = Operator(members, {node.name: node for node in nodes})
    async with writing(members, nodes[1], operator):
        await operator.settle("spring")
        spring = operator.login
        assert spring != SUPERUSER
        assert not await roles.is_let_in(members, first.address, SUPERUSER)
    async with writing(members, nodes[2], operator):
        operator.dies = True
        with pytest.raises(UnansweredError, match="the operator is killed"):
            await operator.settle("autumn")
        assert operator.login == spring
        await operator.settle("autumn")
        assert operator.login != spring
    async with session(members, first, operator.login) as cql:
        rows = await cql.query("SELECT role, can_login, is_superuser FROM system_auth.roles", quorum=True)
    assert {row["role"] for row in rows if row["can_login"]} == {operator.login.user}
    assert {row["role"] for row in rows if row["is_superuser"]} == {operator.login.user, spring.user}
    for refused in (SUPERUSER, spring, roles.DEFAULT):
        for node in nodes:
            assert not await roles.is_let_in(members, node.address, refused)

    # A Secret of the user's own, by hand: what docs/cassandra/cluster.md says.
    async with session(members, first, operator.login) as opened:
        await opened.query("CREATE ROLE \"admin-2\" WITH PASSWORD = 'two' AND SUPERUSER = true AND LOGIN = true")
        for node in nodes:
            await let_in(members, node, Login("admin-2", "two"))
        async with session(members, first, Login("admin-2", "two")) as cql:
            await cql.query(f'ALTER ROLE "{operator.login.user}" WITH LOGIN = false')
        await eventually(
            lambda: roles.is_let_in(members, first.address, operator.login), lambda let: not let, "it is locked"
        )
        await opened.query("INSERT INTO app.rows (id) VALUES (-1)", quorum=True)


def sees(number: int) -> Callable[[Look], bool]:
    def good(look: Look) -> bool:
        state = look.state
        return state is not None and state.is_serving and len(state.ring.live) == number and not state.ring.joining

    return good


async def let_in(members: HttpMembers, node: Node, login: Login) -> None:
    await eventually(lambda: roles.is_let_in(members, node.address, login), bool, f"{node.name} lets in", seconds=10)


async def replicated(members: HttpMembers, nodes: list[Node], hosts: dict[str, str]) -> None:
    """Carries out what is planned for copies of Cassandra's own keyspaces, until nothing is left of it."""
    seats = {node.name: Seat(rack="r1", ordinal=n, host_id=hosts[node.name]) for n, node in enumerate(nodes)}
    roster = Roster(cluster="tests", datacenter="dc1", authentication=True, founded=True, seats=seats)
    by_name = {node.name: node for node in nodes}

    async def left() -> int:
        nonlocal roster
        looks = {node.name: await members.member(node.door).look() for node in nodes}
        keyspaces = await members.member(nodes[0].door).keyspaces()
        jobs: dict[tuple[str, str], Job | None] = {}
        for name, job in chores.asked_jobs(roster, keyspaces):
            jobs[name, job] = await members.member(by_name[name].door).job(job)
        seen = {name: Seen(address=by_name[name].address, look=look) for name, look in looks.items()}
        scene = Scene(now=time.time(), seen=seen, keyspaces=keyspaces, jobs=jobs)
        steps = [*replication(roster, scene), *chores.analyze(roster, scene, ChoreKind.REPAIR_SYSTEM)]
        for step in steps:
            if step.waits_for:
                break
            match step.action:
                case WriteRoster(written):
                    roster = written
                    break
                case Replicate(via, keyspace, datacenter, copies):
                    async with session(members, by_name[via], SUPERUSER) as cql:
                        await roles.set_replication(cql, keyspace, {datacenter: copies})
                case Tell(member, job, command):
                    await members.member(by_name[member].door).start(job, command)
        return len(steps)

    await eventually(left, lambda steps: not steps, f"{len(nodes)} members have the copies that they are to have")


class Operator:
    """Rotates the superuser of a Secret in an API server, through real members."""

    def __init__(self, members: HttpMembers, nodes: dict[str, Node]) -> None:
        self.dies = False
        self._late = 0.0
        self._members, self._nodes = members, nodes
        self._server = ApiServer(namespaces=(NAMESPACE,))
        content = {"username": SUPERUSER.user, "password": SUPERUSER.password}
        data = {key: b64encode(value.encode()).decode() for key, value in content.items()}
        self._server.create(SECRET, {"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data})
        client = self._server.client()
        self._acts = Rotating(client, NAMESPACE, NAME, NAME, self._session, self._clock).handlers()

    @property
    def login(self) -> Login:
        """What is in the Secret now."""
        data = self._server.get(SECRET, NAMESPACE, NAME)["data"]
        return Login(*(b64decode(data[key]).decode() for key in ("username", "password")))

    async def step(self, text: str) -> int:
        """What is to be done now; returns how much that was."""
        meta = self._server.get(SECRET, NAMESPACE, NAME)["metadata"]
        rotation = Rotation.of(meta.get("annotations") or {}, meta["resourceVersion"])
        steps = list(analyze(NAME, text, self.login, rotation, tuple(self._nodes), self._clock()))
        for step in steps:
            assert not step.waits_for
            await self._acts[type(step.action)](step.action)
        return len(steps)

    async def settle(self, text: str) -> None:
        """Rotates, and, when clients have had their time, ends what was before."""
        for late in (0.0, OVERLAP):
            self._late += late
            while await self.step(text):
                continue
        await asyncio.sleep(3)  # members know it: they remember for 2 s what they knew

    def _clock(self) -> float:
        return time.time() + self._late

    @asynccontextmanager
    async def _session(self, name: str, login: Login) -> AsyncIterator[Session]:
        if self.dies and login != self.login:
            self.dies = False
            raise UnansweredError("the operator is killed")
        async with session(self._members, self._nodes[name], login) as cql:
            yield cql


@asynccontextmanager
async def writing(members: HttpMembers, node: Node, operator: Operator) -> AsyncIterator[None]:
    """Meanwhile rows are written at quorum, through one session, and each time through a new one with what is in the
    Secret: no write fails."""
    done = {"one session": 0, "new sessions": 0}

    async def insert(cql: Session, who: str) -> None:
        await cql.query(f"INSERT INTO app.rows (id) VALUES ({done[who]})", quorum=True)  # noqa: S608  # our own
        done[who] += 1
        await asyncio.sleep(PAUSE)

    async def in_one() -> None:
        async with session(members, node, operator.login) as cql:
            while True:
                await insert(cql, "one session")

    async def anew() -> None:
        while True:
            async with session(members, node, operator.login) as cql:
                await insert(cql, "new sessions")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_one)
        tasks.start_soon(anew)
        yield
        tasks.cancel_scope.cancel()
    assert min(done.values()) > 5, done
