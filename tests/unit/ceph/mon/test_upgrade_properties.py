"""Upgrades of mons under any sequence of deaths, returns, edits and releases that do not start: the quorum is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.pods import Release
from controller.ceph.releases import CephVersion
from controller.framework.children import Apply
from tests.unit.ceph.mon.test_properties import EVENTS, MOST, Simulation, until_settled


@dataclass
class Upgrades(Simulation):
    """A cluster whose release is changed; mons do not start with those in `bad`."""

    bad: set[str] = field(default_factory=set)

    def image_of(self, mon_id: str) -> str:
        pod = self.live["Deployment", f"rook-ceph-mon-{mon_id}"]["spec"]["template"]["spec"]
        return str(pod["containers"][0]["image"])

    def act(self, action: Any) -> None:
        before = set(self.quorum)
        super().act(action)
        match action:
            case Apply({"kind": "Deployment"} as obj):
                mon_id = obj["metadata"]["name"].removeprefix("rook-ceph-mon-")
                if mon_id in before:
                    assert before >= set(self.members), f"mon {mon_id} is restarted while another is away"
                self.alive.discard(mon_id)

    def processes(self) -> None:
        dead = self.dead
        made = [m for m in self.members if ("Deployment", f"rook-ceph-mon-{m}") in self.live]
        self.dead = dead | {m for m in made if m not in self.alive and self.image_of(m) in self.bad}
        super().processes()
        self.dead = dead

    def upgrade(self, number: int) -> None:
        """A release that starts, or one that does not."""
        extra = self.release.version.extra + 1
        self.release = Release(f"ceph:{extra}", CephVersion(18, 2, extra))
        if number % 2:
            self.bad.add(self.release.image)

    def edit(self, number: int) -> None:
        """Three mons at least: of two, none can be restarted without a moment without a quorum."""
        super().edit(number)
        self.count = max(self.count, 3)


@given(
    nodes=st.integers(3, MOST + 2),
    count=st.integers(3, MOST),
    events=st.lists(st.tuples(st.sampled_from((*EVENTS, "upgrade", "look", "wait")), st.integers(0, 59)), max_size=30),
)
def test_the_quorum_is_kept_and_what_starts_reaches_all(nodes: int, count: int, events: list[tuple[str, int]]) -> None:
    run = Upgrades(tuple(f"n{n}" for n in range(1, nodes + 1)), min(count, nodes))
    until_settled(run)
    for name, number in events:
        if name == "look":
            run.look()
        elif name != "edit" or nodes >= MOST:
            getattr(run, name)(number)
        assert run.quorum, "the simulation itself never takes the majority"
    run.mend(0)
    run.kept.clear()
    run.upgrade(0)
    until_settled(run)
    assert {run.image_of(mon_id) for mon_id in run.members} == {run.release.image}


@pytest.mark.parametrize("nodes", [3, 4, 5])
def test_a_release_that_does_not_start_costs_one_mon_and_never_the_quorum(nodes: int) -> None:
    run = Upgrades(tuple(f"n{n}" for n in range(1, nodes + 1)))
    until_settled(run)
    run.upgrade(1)
    for _ in range(200):
        run.look()
        run.now += 40
        assert len(run.quorum) >= 2
    assert [run.image_of(m) for m in run.quorum] == ["ceph:v18"] * len(run.quorum)
    run.upgrade(0)
    until_settled(run)
    assert {run.image_of(mon_id) for mon_id in run.members} == {run.release.image}
