"""MDS daemons under any sequence of deaths, returns, edits and releases: no change costs two ranks at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from controller.apis.ceph import CephFilesystem
from controller.ceph.access.filesystems import FilesystemState, Mds
from controller.ceph.access.users import CreateKeyring
from controller.ceph.filesystem.act import CreateGroup, FailMds, RemoveUser, SetMaxMds, SetStandbyReplay, StopMds
from controller.ceph.filesystem.analyze import analyze
from controller.ceph.filesystem.objects import keyring_name, mds_budget
from controller.ceph.filesystem.observe import FilesystemObservation
from controller.ceph.filesystem.status import show
from controller.ceph.pods import Release
from controller.ceph.releases import CephVersion
from controller.framework.children import Apply, Delete
from controller.framework.kind import Look
from controller.framework.plan import APPLY, preview
from tests.unit.ceph.cases import RELEASE, live_object
from tests.unit.ceph.filesystems import (
    a_context,
    a_filesystem,
    deployed,
    keyring,
    pool_states,
    servers,
)

if TYPE_CHECKING:
    from controller.apis.ceph import CephFilesystemStatus

LOOKS = 80
"""Looks after which everything has to be as the spec has it when nothing happens any more."""


PLAIN = a_filesystem()
(BUDGET,) = (live_object(budget) for budget in mds_budget(a_context(PLAIN)))
POOLS = pool_states(PLAIN)


@cache
def _deployed(revision: int, mds: str, release: Release, alive: bool) -> Any:
    filesystem = a_filesystem(servers(1, priorityClassName=f"class-{revision}"))
    return deployed(filesystem, mds, release, rolled_out=alive)


@cache
def _keyring(mds: str) -> Any:
    return keyring(PLAIN, mds)


@dataclass
class Simulation:
    """A file system, its daemons, and Ceph as far as it matters to them."""

    active: int = 1
    following: bool = False
    revision: int = 0
    release: Release = RELEASE
    status: CephFilesystemStatus = field(default_factory=lambda: a_filesystem().status)
    deployments: dict[str, tuple[Release, int]] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    ranks: dict[int, str | None] = field(default_factory=lambda: {0: None})
    max_mds: int = 1
    standby_replay: bool = False
    groups: tuple[str, ...] = ()
    compat: Release = RELEASE

    def filesystem(self) -> CephFilesystem:
        spec = servers(self.active, activeStandby=self.following, priorityClassName=f"class-{self.revision}")
        found = a_filesystem(spec)
        return CephFilesystem(metadata=found.metadata, spec=found.spec, status=self.status)

    @property
    def standbys(self) -> set[str]:
        return self.alive - {name for name in self.ranks.values() if name}

    def seen(self) -> FilesystemObservation:
        held = [Mds(name, rank, "up:active") for rank, name in self.ranks.items() if name and rank < self.max_mds]
        held += [Mds(name, rank, "up:stopping") for rank, name in self.ranks.items() if name and rank >= self.max_mds]
        follow = sorted(self.standbys)[: len(held)] if self.standby_replay else []
        followers = [Mds(name, rank, "up:standby-replay") for rank, name in enumerate(follow)]
        live, views = {}, {}
        for mds, (release, revision) in self.deployments.items():
            obj, views[mds] = _deployed(revision, mds, release, mds in self.alive)
            live["Deployment", obj["metadata"]["name"]] = obj
        for mds in self.keys:
            live["Secret", keyring_name(mds)] = _keyring(mds)
        live["PodDisruptionBudget", "rook-ceph-mds-myfs"] = BUDGET
        state = FilesystemState(
            fscid=1,
            max_mds=self.max_mds,
            standby_replay=self.standby_replay,
            ranks=tuple(sorted(self.ranks)),
            daemons=(*held, *followers),
            metadata_pool=1,
            data_pools=(2,),
        )
        return FilesystemObservation(
            context=a_context(self.filesystem(), self.release),
            state=state,
            standbys=frozenset(self.standbys - set(follow)),
            pools=POOLS,
            deployments=views,
            live=live,
            groups=self.groups if state.active else None,
        )

    def look(self) -> bool:
        """One look of the operator, carried out; whether nothing was left to do."""
        filesystem, seen = self.filesystem(), self.seen()
        plan = analyze(filesystem, seen)
        served = dict(self.ranks)
        blocked: set[str] = set()
        taken: list[str] = []
        for step in plan.steps:
            lane = step.lane or step.subject
            if step.held_by is not None or lane in blocked:
                blocked.add(lane)
                continue
            before = {name for name in self.ranks.values() if name}
            self.act(step.action)
            taken += sorted(before - {name for name in self.ranks.values() if name})
        assert len(taken) <= 1, f"{taken} lost their ranks at one look"
        if taken:
            assert all(served.values()), f"{taken} lost its rank while {served} was not served whole"
        look = Look(obj=filesystem, spec={}, mode=APPLY, now=0.0)
        self.status = show(look, seen, preview(plan))
        return not plan.steps

    def act(self, action: Any) -> None:
        match action:
            case Apply({"kind": "Deployment"} as obj):
                mds = obj["metadata"]["name"].removeprefix("rook-ceph-mds-")
                self.deployments[mds] = (self.release, self.revision)
                self.ends(mds)
            case StopMds(mds=mds):
                if mds not in self.ranks.values():
                    self.deployments.pop(mds, None)
                    self.ends(mds)
            case FailMds(mds=mds):
                others = sorted(self.standbys)
                assert others, f"{mds} is to hand its rank over, and nobody stands by"
                self.ranks = {rank: others[0] if name == mds else name for rank, name in self.ranks.items()}
            case SetMaxMds(count=count):
                self.max_mds = count
            case SetStandbyReplay(allowed=allowed):
                self.standby_replay = allowed
            case CreateGroup(group=group):
                self.groups = (*self.groups, group)
            case CreateKeyring(entity=entity):
                self.keys.add(entity.removeprefix("mds."))
            case Delete(name=name):
                self.keys -= {mds for mds in self.keys if keyring_name(mds) == name}
            case RemoveUser(entity=entity):
                assert entity.removeprefix("mds.") not in self.deployments, f"{entity} has a daemon"
            case _:
                raise AssertionError(action)

    def ends(self, mds: str) -> None:
        self.alive.discard(mds)
        self.ranks = {rank: None if name == mds else name for rank, name in self.ranks.items()}

    def processes(self) -> None:
        """Daemons start, take ranks, and Ceph stops one rank that is too many."""
        self.alive |= {mds for mds in self.deployments if mds not in self.dead}
        for rank in range(self.max_mds):
            self.ranks.setdefault(rank, None)
        for rank in sorted(self.ranks):
            able = sorted(mds for mds in self.standbys if self.may_serve(mds))
            if self.ranks[rank] is None and able:
                self.ranks[rank] = able[0]
                self.compat = self.deployments[able[0]][0]
        last = max(self.ranks)
        if last >= self.max_mds and self.ranks[last]:
            del self.ranks[last]
        releases = {self.deployments[name][0].image for name in self.ranks.values() if name}
        assert len(releases) <= 1, f"{releases} serve one file system"

    def may_serve(self, mds: str) -> bool:
        """Ceph's rule: one of another release may only where nobody serves, and nobody may follow one who does."""
        served = any(self.ranks.values())
        return self.deployments[mds][0] == self.compat or not (served or self.standby_replay)

    def kill(self, number: int) -> None:
        mds = self.one_of(number)
        if mds:
            self.dead.add(mds)
            self.ends(mds)

    def revive(self, number: int) -> None:
        self.dead.discard(sorted(self.dead)[number % len(self.dead)] if self.dead else "")

    def restart(self, number: int) -> None:
        """A daemon's process ends by itself."""
        mds = self.one_of(number)
        if mds:
            self.ends(mds)

    def edit(self, number: int) -> None:
        self.active, self.following = 1 + number % 3, bool(number % 2)

    def change(self, _: int) -> None:
        self.revision += 1

    def upgrade(self, _: int) -> None:
        extra = self.release.version.extra + 1
        self.release = Release(f"ceph:{extra}", CephVersion(18, 2, extra))

    def nothing(self, _: int) -> None:
        return None

    def one_of(self, number: int) -> str:
        return sorted(self.deployments)[number % len(self.deployments)] if self.deployments else ""


EVENTS = ("kill", "revive", "restart", "edit", "change", "upgrade", "nothing", "nothing")


def until_settled(simulation: Simulation) -> None:
    for _ in range(LOOKS):
        if simulation.look():
            return
        simulation.processes()
    raise AssertionError([f"{s.subject}: {s.reason} <- {s.waits_for}" for s in _plan(simulation)])


def _plan(simulation: Simulation) -> Any:
    return analyze(simulation.filesystem(), simulation.seen()).steps


@given(
    active=st.integers(1, 3),
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 20), st.booleans()), max_size=30),
)
def test_whatever_happens(active: int, events: list[tuple[str, int, bool]]) -> None:
    simulation = Simulation(active=active)
    until_settled(simulation)
    for name, number, starts in events:
        getattr(simulation, name)(number)
        simulation.look()
        if starts:
            simulation.processes()
    simulation.dead.clear()
    simulation.processes()
    until_settled(simulation)
    assert len(simulation.ranks) == simulation.active == simulation.max_mds
    assert simulation.standby_replay == simulation.following
    assert len(simulation.deployments) == 2 * simulation.active
    assert set(simulation.deployments.values()) == {(simulation.release, simulation.revision)}
    assert simulation.keys == set(simulation.deployments)
    assert simulation.status.mds_upgrade.max_mds == 0
