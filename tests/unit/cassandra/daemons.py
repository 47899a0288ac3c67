"""Members that follow Cassandra's rules, wherever they run.

The rules are those by which data are lost where an operator does not know them: who is its own seed takes a place in
the ring without its data, or makes a second ring; of two that move at once one does not get what the other hands on;
who is told to leave once more leaves without a check; a member that is killed while it leaves is a member again, and
one that is killed just after comes back; who has left says so for good, its process does not end, and where it is
ended before anybody has heard of it, it stays in the ring.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any
from zlib import crc32

from controller.apis.cassandra.cluster import CASSANDRA_4, NONE
from controller.cassandra.access.answers import Job, JobState, Keyspace, Mode, Phase, Ring
from controller.cassandra.member.pod.start import LeftError, judge
from controller.cassandra.member.pod.start import RefusedError as NotStartedError
from tests.unit.cassandra.wire import TLS, Shown, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = range(40)
"""Rows, each with as many copies as its keyspace says."""


@dataclass
class Volume:
    host_id: str = ""
    bootstrapped: bool = False
    left: bool = False
    cluster: str = ""
    written: bool = False
    storage: str = CASSANDRA_4
    """How files were written last."""

    @property
    def mark(self) -> dict[str, Any]:
        if not (self.bootstrapped or self.left):
            return {}
        return {"clusterName": self.cluster, "hostId": self.host_id, "left": self.left}


@dataclass
class Process:
    """A member's pod and what runs in it."""

    name: str
    uid: str
    ip: str
    volume: Volume
    version: str
    storage: str = CASSANDRA_4
    address: str = ""
    phase: Phase = Phase.WAITING
    message: str = ""
    mode: Mode = Mode.STARTING
    busy: int = 0
    replaces: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    seeds: tuple[str, ...] = ()
    streams: set[int] = field(default_factory=set)
    """The rows that it gets while it joins."""
    view: Ring = field(default_factory=lambda: Ring({}))
    wire: Wire = field(default_factory=Wire)
    shown: Shown = field(default_factory=Shown)

    @property
    def serves(self) -> bool:
        return self.phase is Phase.RUNNING and self.mode in (Mode.NORMAL, Mode.LEAVING, Mode.DECOMMISSION_FAILED)


class Daemons:
    """The members of a ring.

    Args:
        clock: Seconds since the epoch.
        seed: Of all that happens by chance.
        copies: Of the user's keyspace.
    """

    def __init__(self, *, seed: int, copies: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.chance = random.Random(seed)  # noqa: S311
        self.processes: dict[str, Process] = {}
        self.ring: dict[str, str] = {}
        """By host ID: the address of who has tokens."""
        self.gone: dict[str, str] = {}
        """By host ID: the address of who has left: the others remember it for three days."""
        self.heard: set[str] = set()
        """Host IDs of those of whom somebody has heard that they left, so that all come to know it."""
        self.tokens: dict[str, str] = {}
        """By host ID: whose place in the ring it has, where it has taken another's."""
        self.rings = 0
        self.holders: dict[str, set[int]] = {}
        """By host ID: the rows that it has."""
        self.keyspaces = {
            "system_auth": Keyspace("system_auth", "SimpleStrategy", {"": 1}),
            "system_distributed": Keyspace("system_distributed", "SimpleStrategy", {"": 3}),
            "system_traces": Keyspace("system_traces", "SimpleStrategy", {"": 2}),
            "shop": Keyspace("shop", "NetworkTopologyStrategy", {"dc1": copies}),
        }
        self.frozen: set[str] = set()
        """They stand still."""
        self.silent: set[str] = set()
        """They do not answer the operator."""
        self.hanging: set[str] = set()
        """They take the operator's questions, and never answer."""
        self.deaf: set[str] = set()
        """They hear nothing new of the others."""
        self.stuck: set[str] = set()
        """What they are told to repair or clean up never ends."""
        self.loading: set[str] = set()
        """They have rows on their way of a bulk load."""
        self.failing: dict[str, int] = {}
        """So many of the next repairs and cleanups of a member fail."""
        self.split = ""
        """The address of one that has another schema; empty: there is none."""
        self.violations: list[str] = []
        self.slow = 3
        """Seconds at most for which data are streamed."""
        self._hosts = 0

    def blame(self, violation: str) -> None:
        """Something happened that must never be."""
        if violation not in self.violations:
            self.violations.append(violation)

    def up(self, host_id: str) -> Process | None:
        """The process of a member of the ring, where it serves."""
        of_it = (p for p in self.processes.values() if p.volume.host_id == host_id and p.volume.bootstrapped)
        return next((p for p in of_it if p.serves and p.name not in self.frozen), None)

    def run(self, process: Process, record: dict[str, Any] | None) -> bool:
        """A second of a process, which is told this; whether it goes on."""
        if process.phase is not Phase.RUNNING:
            self._begin(process, record)
        elif process.busy:
            process.busy -= 1
        elif process.mode is Mode.STARTING and process.volume.bootstrapped:
            process.mode = Mode.NORMAL
            self.ring[process.volume.host_id] = process.address
        elif process.mode is Mode.STARTING:
            if not self._join(process):
                return False
        elif process.mode is Mode.JOINING:
            self._joined(process)
        elif process.mode is Mode.LEAVING:
            self._leave(process)
        for job_id, left in list(process.running.items()):
            if left:
                process.running[job_id] = left - 1
            elif process.jobs[job_id].state is JobState.RUNNING and not job_id.startswith("decommission"):
                self.end(process, job_id, JobState.SUCCEEDED)
        return True

    def gossip(self) -> None:
        """Most members hear what is new."""
        truth = self._truth()
        for process in self.processes.values():
            if process.name not in self.frozen | self.deaf and self.chance.random() < 0.7:
                self.hear(process, truth)

    def hear(self, process: Process, truth: Ring | None = None) -> None:
        """A member knows all of the ring."""
        process.view = truth if truth is not None else self._truth()
        if process.serves and process.volume.host_id in self.ring:
            self.heard |= self.gone.keys()

    def stop(self, process: Process) -> None:
        """A process is ended for good. Whoever left, and nobody has heard it, is a member that is down."""
        host_id = process.volume.host_id
        if host_id in self.gone.keys() - self.heard:
            self.blame(f"{process.name} is stopped before anybody knows that it left: it stays in the ring")
            self.ring[host_id] = self.gone[host_id]

    def end(self, process: Process, job_id: str, state: JobState, message: str = "") -> None:
        """A job ends."""
        process.jobs[job_id] = replace(process.jobs[job_id], state=state, message=message, ended=self.clock())

    def at_work(self, process: Process) -> list[str]:
        """The repairs and cleanups of a member that have not ended."""
        running = (job_id for job_id, job in process.jobs.items() if job.state is JobState.RUNNING)
        return [job_id for job_id in running if job_id.startswith(("repair-", "cleanup-")) and "-stop" not in job_id]

    def leave(self, process: Process, job_id: str, *, force: bool) -> None:
        """A member is told to leave."""
        volume, ring = process.volume, self.ring
        most = max(sum(k.factors.values()) for k in self.keyspaces.values())
        if volume.left or process.mode not in (Mode.NORMAL, Mode.DECOMMISSION_FAILED):
            self.blame(f"{process.name} is told to leave while it is {process.mode}")
        if leaving_jobs(process):
            self.blame(f"{process.name} is told to leave once more")
        process.jobs[job_id] = Job(job_id, JobState.RUNNING, started=self.clock())
        if (process.view.joining | process.view.leaving) - {process.address}:
            self.end(process, job_id, JobState.FAILED, "others move")
        elif most > len(ring) - 1 and not force:
            self.end(process, job_id, JobState.FAILED, "not enough live nodes")
        else:
            process.mode, process.busy = Mode.LEAVING, self.chance.randrange(1, self.slow + 1)
            process.view = replace(process.view, leaving=process.view.leaving | {process.address})

    def split_schema(self, name: str) -> None:
        """A member has another schema than the others."""
        if name in self.processes:
            self.split = self.processes[name].address

    def break_off(self, name: str) -> None:
        """What a member streams to leave does not get through; an earlier version does not say that it stopped."""
        process = self.processes.get(name)
        if process is not None and process.mode is Mode.LEAVING and process.volume.host_id in self.ring:
            for job_id in leaving_jobs(process):
                self.end(process, job_id, JobState.FAILED, "stream failed")
            process.mode = self.chance.choice((Mode.LEAVING, Mode.DECOMMISSION_FAILED))

    def remove(self, process: Process, job_id: str, host_id: str) -> None:
        """A member is told to take a dead one out of the ring."""
        if self.up(host_id) is not None:
            self.end(process, job_id, JobState.FAILED, "it is alive")
            return
        self.take_out(host_id)

    def take_out(self, host_id: str) -> None:
        """Who is down is no member any more: those that are up make its copies anew."""
        self.ring.pop(host_id, None)
        for key in KEYS:
            if any(key in self.holders.get(h, set()) for h in self.ring):
                for owner in self._owners(set(self.ring))[key]:
                    if self.up(owner) is not None:
                        self.holders.setdefault(owner, set()).add(key)

    def check(self) -> None:
        """What no history may come to."""
        if self.rings > 1:
            self.blame("there are two rings")
        moving = [p.name for p in self.processes.values() if p.mode in (Mode.JOINING, Mode.LEAVING)]
        if len(moving) > 1:
            self.blame(f"{moving} move at once")
        working = [(p.name, job) for p in self.processes.values() for job in self.at_work(p)]
        if moving and working:
            self.blame(f"{moving} move while {working} are at work")
        modes = {p.storage for p in self.processes.values() if p.phase is Phase.RUNNING}
        if modes >= {CASSANDRA_4, NONE}:
            self.blame("a mode of files is left out")
        if moving and len(modes) > 1:
            self.blame(f"{moving} moves while files are written in {len(modes)} ways")
        self._check_wires()
        self._check_rows()

    def _check_rows(self) -> None:
        """No row is lost, and whoever serves has those that it answers for."""
        ring = set(self.ring)
        held = {host_id: self.holders.get(host_id, set()) for host_id in ring}
        serving = {host_id: process for host_id in ring if (process := self.up(host_id)) is not None}
        anywhere = set().union(*held.values())
        owners = self._owners(ring)
        for key in KEYS if ring else ():
            if key not in anywhere:
                self.blame(f"row {key} is lost")
            for host_id in owners[key]:
                if host_id in serving and key not in held[host_id]:
                    self.blame(f"{serving[host_id].name} answers for rows that it does not have")

    def _check_wires(self) -> None:
        """Members hear each other, and trust each other where they speak TLS."""
        running = [p for p in self.processes.values() if p.phase is Phase.RUNNING and p.mode is not Mode.DECOMMISSIONED]
        for one, other in combinations(running, 2):
            if not one.wire.hears(other.wire):
                self.blame(f"{one.name} and {other.name} do not hear each other: {one.wire}, {other.wire}")
            by_tls = TLS in (one.wire.begins, other.wire.begins)
            if by_tls and not (one.shown.trusts(other.shown) and other.shown.trusts(one.shown)):
                self.blame(f"{one.name} and {other.name} do not trust each other")

    def _begin(self, process: Process, record: dict[str, Any] | None) -> None:
        volume = process.volume
        if record is None:
            return
        had_place = volume.bootstrapped or volume.left or record["hostId"]
        if record["address"] in record["seeds"] and not (had_place or record["founder"]):
            self.blame(f"{process.name} is told that it is its own seed before it has joined")
        try:
            seeds, replaces = judge(record, volume.mark, volume.written, "store")
        except NotStartedError as refusal:
            process.phase, process.message = Phase.REFUSED, str(refusal)
            return
        except LeftError:
            process.phase = Phase.LEFT
            return
        process.phase, process.mode, process.busy = Phase.RUNNING, Mode.STARTING, 1
        process.address, process.seeds, process.replaces = record["address"], tuple(seeds), replaces
        if not volume.host_id or replaces:
            self._hosts += 1
            volume.host_id = f"host-{self._hosts}"
        if replaces == process.address:
            # Cassandra gives the host ID along with the address.
            volume.host_id = next(host_id for host_id, address in self.ring.items() if address == replaces)
        volume.written, volume.cluster = True, "store"
        if volume.storage != CASSANDRA_4 and (process.storage == CASSANDRA_4 or process.version < "5"):
            self.blame(f"{process.name} runs {process.version} as {process.storage}: it cannot read its files")
        volume.storage = process.storage

    def _join(self, process: Process) -> bool:
        """A member begins to join, or ends because it cannot."""
        reached = [p for p in self.processes.values() if p is not process and p.address in process.seeds and p.serves]
        if process.address in process.seeds:
            if reached or self.rings:
                self.blame(f"{process.name} makes another ring, or joins without data")
            self.rings += not reached
            if not self.ring:
                process.streams = set(KEYS)
            self._placed(process)
            return True
        if not reached:
            return False  # Unable to contact any seeds
        if process.replaces:
            old = [host_id for host_id, address in self.ring.items() if address == process.replaces]
            if not old or self.up(old[0]) is not None:
                return False  # Cannot replace a live node
            process.streams = self._rows(self.tokens.get(old[0], old[0]), set(self.ring) - {old[0]})
        else:
            known = reached[0].view  # of a move that is new nobody knows
            others = (known.joining | known.leaving | known.moving) - {process.address}
            if others or any(self.up(host_id) is None for host_id in self.ring):
                return False  # A node required to move the data consistently is down; others move
            process.streams = self._rows(process.volume.host_id, set(self.ring))
        process.mode, process.busy = Mode.JOINING, self.chance.randrange(1, self.slow + 1)
        return True

    def _rows(self, place: str, others: set[str]) -> set[int]:
        """The rows that belong to a place in the ring beside the others', of those that anybody has."""
        held = set().union(*(self.holders.get(host_id, set()) for host_id in others))
        owners = self._owners({*others, place})
        return {key for key in held if place in owners[key]}

    def _joined(self, process: Process) -> None:
        if process.replaces:
            for host_id in [h for h, address in self.ring.items() if address == process.replaces]:
                del self.ring[host_id]
                self.holders.pop(host_id, None)
                self.tokens[process.volume.host_id] = self.tokens.get(host_id, host_id)
        self._placed(process)

    def _placed(self, process: Process) -> None:
        """A member has its place in the ring, with the rows that it got."""
        volume = process.volume
        volume.bootstrapped, process.mode = True, Mode.NORMAL
        self.ring[volume.host_id] = process.address
        self.holders[volume.host_id] = process.streams
        self.gone.pop(volume.host_id, None)
        self.heard.discard(volume.host_id)

    def _leave(self, process: Process) -> None:
        host_id, jobs = process.volume.host_id, leaving_jobs(process)
        if not jobs:
            return
        if host_id in self.ring:  # its data is with the others: it says that it has left
            rest = set(self.ring) - {host_id}
            for key in self.holders.pop(host_id, set()):
                for owner in self._owners(rest)[key]:
                    self.holders.setdefault(owner, set()).add(key)
            self.gone[host_id] = self.ring.pop(host_id)
            process.volume.bootstrapped, process.busy = False, self.chance.randrange(1, self.slow + 1)
            return
        process.volume.left, process.mode = True, Mode.DECOMMISSIONED
        self.end(process, jobs[0], JobState.SUCCEEDED)

    def _owners(self, hosts: set[str]) -> tuple[tuple[str, ...], ...]:
        """By row the members that have its copies."""
        copies = next(iter(self.keyspaces["shop"].factors.values()))
        return nearest(frozenset((host, self.tokens.get(host, host)) for host in hosts), copies)

    def _truth(self) -> Ring:
        known = dict(self.ring)
        ours = [p for p in self.processes.values() if p.serves and p.name not in self.frozen]
        up = {p.address for p in ours}
        joining = {p.address for p in self.processes.values() if p.mode is Mode.JOINING}
        leaving = {p.address for p in self.processes.values() if p.mode is Mode.LEAVING and p.volume.host_id in known}
        addresses = set(known.values())
        away = frozenset((addresses | set(self.gone.values())) - up)
        schema: dict[str, set[str]] = {"UNREACHABLE": set(away)}
        for process in ours:
            if process.address in addresses:  # two releases have two schemas
                version = "other" if process.address == self.split else f"of {process.version}"
                schema.setdefault(version, set()).add(process.address)
        return Ring(
            {address: host_id for host_id, address in known.items()},
            live=frozenset(up & addresses),
            unreachable=away,
            joining=frozenset(joining),
            leaving=frozenset(leaving),
            schema={version: frozenset(who) for version, who in schema.items() if who},
        )


def leaving_jobs(process: Process) -> list[str]:
    """The jobs by which a member leaves."""
    return [j for j, job in process.jobs.items() if job.state is JobState.RUNNING and j.startswith("decommission")]


@lru_cache(1000)
def nearest(places: frozenset[tuple[str, str]], copies: int) -> tuple[tuple[str, ...], ...]:
    """By row so many members whose places in the ring are the nearest to it."""

    def distance(key: int, place: str) -> int:
        return crc32(f"{key}/{place}".encode())

    return tuple(
        tuple(host for host, _ in sorted(places, key=lambda found: distance(key, found[1]))[:copies]) for key in KEYS
    )
