"""What the operator can ask and say in a world of Cassandra clusters: `controller.cassandra.access.members`."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from controller.cassandra.access.answers import (
    Bootstrap,
    Cleanup,
    Decommission,
    Job,
    JobState,
    Keyspace,
    Look,
    Mode,
    Phase,
    RefusedError,
    RemoveNode,
    Repair,
    Report,
    Snapshot,
    State,
    StopCleanups,
    StopRepairs,
    Stream,
    UnansweredError,
)
from controller.cassandra.member.pod.jolokia import MOST_JOBS
from tests.unit.cassandra.wire import PLAIN, TLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from controller.cassandra.access.answers import Command
    from controller.cassandra.access.members import Door, Login
    from tests.unit.cassandra.daemons import Process
    from tests.unit.cassandra.world import World


FOR_EVER = 10**6


def check_wire(process: Process, speaks: str, ca: str, name: str) -> None:
    """Whether a process is reached by who speaks like this, and trusts this authority."""
    if speaks == TLS and not (ca and process.shown.is_accepted(ca, name)):
        raise UnansweredError(f"{process.name} is not trusted as {name!r}")
    if speaks == PLAIN and ca:
        raise UnansweredError(f"{process.name} speaks no TLS")


class WorldMember:
    """A member's program; see `controller.cassandra.access.members.Member`."""

    def __init__(self, world: World, door: Door) -> None:
        self._world = world
        self._door = door

    async def _process(self) -> Process:
        process = next((p for p in self._world.processes.values() if p.ip == self._door.host), None)
        if process is not None and process.name in self._world.hanging:
            await anyio.sleep_forever()
        if process is None or process.name in self._world.frozen or process.name in self._world.silent:
            raise UnansweredError("no answer")
        check_wire(process, TLS if process.wire.has_certificates else PLAIN, self._door.ca, self._door.name)
        return process

    async def look(self) -> Look:
        process = await self._process()
        volume = process.volume
        report = Report(
            process.phase,
            process.message,
            volume.mark.get("hostId", ""),
            volume_size=100,
            volume_free=90,
            certificates=process.shown.fingerprint,
        )
        if process.phase is not Phase.RUNNING:
            return Look(report)
        bootstrap = Bootstrap.COMPLETED if volume.bootstrapped else Bootstrap.NEEDED
        state = State(
            mode=process.mode,
            bootstrap=Bootstrap.DECOMMISSIONED if volume.left else bootstrap,
            host_id=volume.host_id,
            release=process.version,
            cluster_name=volume.cluster,
            datacenter="dc1",
            rack="",
            tokens=16,
            load=1,
            gossip_running=process.serves or process.mode is Mode.JOINING,
            native_running=process.serves,
            seeds=process.seeds,
            ring=process.view,
            streams=(Stream("Bulk Load"),) if process.name in self._world.loading else (),
        )
        return Look(report, state)

    async def keyspaces(self) -> tuple[Keyspace, ...]:
        await self._process()
        return tuple(self._world.keyspaces.values())

    async def snapshots(self) -> tuple[Snapshot, ...]:
        return ()

    async def job(self, job: str) -> Job | None:
        return (await self._process()).jobs.get(job)

    async def start(self, job: str, command: Command) -> Job:
        process = await self._process()
        if job in process.jobs:
            return process.jobs[job]
        world = self._world
        while len(process.jobs) >= MOST_JOBS:
            forgotten = next(name for name, known in process.jobs.items() if known.ended is not None)
            del process.jobs[forgotten]
            process.running.pop(forgotten, None)
        world.told.append((process.name, command))
        if isinstance(command, Decommission):
            world.leave(process, job, force=command.force)
            return process.jobs[job]
        if not process.serves:
            raise RefusedError("no Cassandra")
        if isinstance(command, StopRepairs | StopCleanups):
            for running in world.at_work(process):
                world.end(process, running, JobState.FAILED, "it was broken off")
        if isinstance(command, Repair | Cleanup):
            others = [f"{p.name} does {other}" for p in world.processes.values() for other in world.at_work(p)]
            if others:
                world.blame(f"{process.name} is told {job} while {others}")
        process.jobs[job] = Job(job, JobState.RUNNING, started=world.clock())
        process.running[job] = world.chance.randrange(0, 3)
        if isinstance(command, Repair | Cleanup) and process.name in world.stuck:
            process.running[job] = FOR_EVER
        if isinstance(command, Repair | Cleanup) and world.failing.get(process.name):
            world.failing[process.name] -= 1
            world.end(process, job, JobState.FAILED, "no room")
        if isinstance(command, RemoveNode):
            world.remove(process, job, command.host_id)
        return process.jobs[job]


class WorldSession:
    """A connection for CQL."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def query(self, statement: str, *, quorum: bool = False) -> Sequence[Mapping[str, object]]:
        role_statement = r'(?:CREATE|ALTER) ROLE (?:IF NOT EXISTS )?"?([\w-]+)"? .*PASSWORD = \'([^\']*)\''
        if found := re.match(r'ALTER KEYSPACE "?(\w+)"? .*\'(\w+)\': \'?(\d+)', statement):
            keyspace, datacenter, copies = found.groups()
            factors = {datacenter: int(copies)}
            if not self._world.keyspaces[keyspace].is_system:
                self._world.blame(f"keyspace {keyspace} is the user's, and gets {factors}")
            self._world.keyspaces[keyspace] = Keyspace(keyspace, "NetworkTopologyStrategy", factors)
        elif found := re.match(role_statement, statement):
            role, password = found.groups()
            self._world.roles[role] = password
            if "LOGIN = false" in statement:
                del self._world.roles[role]
        elif found := re.match(r'DROP ROLE IF EXISTS "([\w-]+)"', statement):
            self._world.roles.pop(found.group(1), None)
        elif found := re.match(r"SELECT role .* WHERE role = '([\w-]+)'", statement):
            return [{"role": found.group(1)}] if found.group(1) in self._world.roles else []
        return ()


class WorldMembers:
    """The members of a world; see `controller.cassandra.access.members.Members`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def member(self, door: Door) -> WorldMember:
        return WorldMember(self._world, door)

    @asynccontextmanager
    async def session(
        self, host: str, login: Login | None, *, ca: str = "", name: str = ""
    ) -> AsyncIterator[WorldSession]:
        process = next((p for p in self._world.processes.values() if p.ip == host), None)
        if process is None or not process.serves or process.name in self._world.frozen:
            raise UnansweredError("nobody answers")
        if (TLS if ca else PLAIN) not in process.wire.clients:
            raise UnansweredError("nobody answers like that")
        check_wire(process, TLS if ca else PLAIN, ca, name)
        if login is not None and self._world.roles.get(login.user) != login.password:
            raise RefusedError("wrong password")
        yield WorldSession(self._world)
