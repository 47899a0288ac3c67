"""Mons under any sequence of deaths, returns, edits and failed starts: the quorum is kept, and the way never ends.

What runs is simulated: processes, the monmap that they agree on, time. What is decided is the real analysis, step by
step as plans are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.access.mons import MonState, id_number, parse_endpoints
from controller.ceph.mon.act import RemoveFromMonmap, RetireMon, StartMon
from controller.ceph.mon.analyze import analyze
from controller.ceph.mon.majority import Add, Members, Remove, next_change
from controller.ceph.mon.observe import MonObservation
from controller.ceph.pods import SKIP_LABEL, Daemon, Release
from controller.framework.children import Apply, Create, Delete
from tests.unit.ceph.cases import RELEASE, a_cluster, a_context, a_node, deployment_view, live_object

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.framework.plan import Step
    from controller.runtime.kube import Deployment

PATIENCE = 600.0
MOST = 5
"""Mons wanted at most."""


@dataclass
class Simulation:
    """A cluster of mons whose processes and nodes fail and come back as they are told to."""

    node_names: tuple[str, ...]
    count: int = 3
    release: Release = RELEASE
    now: float = 0.0
    live: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    monmap: set[str] = field(default_factory=set)
    alive: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    out_since: dict[str, float] = field(default_factory=dict)

    @property
    def cluster(self) -> CephCluster:
        return a_cluster({"mon": {"count": self.count}})

    @property
    def members(self) -> tuple[str, ...]:
        found = self.live.get(("ConfigMap", "rook-ceph-mon-endpoints"))
        return () if found is None else parse_endpoints(found["data"]).ids

    @property
    def quorum(self) -> frozenset[str]:
        here = self.alive & self.monmap
        return frozenset(here if len(here) > len(self.monmap) // 2 else ())

    @property
    def settled(self) -> bool:
        return not self.steps() and len(self.members) == self.count and set(self.members) == self.monmap == self.quorum

    def node_of(self, mon_id: str) -> str:
        pod = self.live["Deployment", f"rook-ceph-mon-{mon_id}"]["spec"]["template"]["spec"]
        return str(pod["nodeSelector"]["kubernetes.io/hostname"]).removesuffix(".example")

    def deployments(self) -> dict[str, Deployment]:
        found: dict[str, Deployment] = {}
        for (kind, name), obj in self.live.items():
            mon_id = name.removeprefix("rook-ceph-mon-")
            if kind == "Deployment":
                view = deployment_view(obj, rolled_out=mon_id in self.alive)
                labels = {**view.metadata.labels} | ({SKIP_LABEL: "true"} if mon_id in self.kept else {})
                found[mon_id] = msgspec.structs.replace(
                    view, metadata=msgspec.structs.replace(view.metadata, labels=labels)
                )
        return found

    def steps(self) -> tuple[Step, ...]:
        endpoints = self.live.get(("ConfigMap", "rook-ceph-mon-endpoints"))
        seen = MonObservation(
            endpoints=None if endpoints is None else parse_endpoints(endpoints["data"]),
            state=MonState(dict.fromkeys(self.monmap, "x"), self.quorum) if self.quorum else None,
            nodes={name: a_node(name) for name in self.node_names if name not in self.gone},
            deployments=self.deployments(),
            live=self.live,
            seconds_out={m: self.now - since for m, since in self.out_since.items()},
        )
        return analyze(self.cluster.spec.mon, a_context(self.cluster, self.release), seen)

    def look(self) -> bool:
        """What the operator does at one look, and whether that was anything."""
        held: set[str] = set()
        acted = False
        for step in self.steps():
            lane = step.lane or step.subject
            if lane in held:
                continue
            if step.waits_for:
                held.add(lane)
                continue
            had_quorum = bool(self.quorum)
            self.act(step.action)
            acted = True
            assert not had_quorum or self.quorum, f"{step.title} {step.subject} ({step.reason}) cost the quorum"
        self.processes()
        return acted

    def act(self, action: Any) -> None:
        match action:
            case Apply(obj) | Create(obj):
                self.write(obj)
            case StartMon(_, _, objects) | RetireMon(_, objects):
                for obj in objects:
                    self.write(obj)
            case Delete():
                del self.live[action.resource.kind, action.name]
                if action.resource.kind == "Deployment":
                    gone = {action.name.removeprefix("rook-ceph-mon-")}
                    self.alive -= gone
                    self.dead -= gone
            case RemoveFromMonmap(mon_id):
                assert mon_id not in self.members
                assert MonState(dict.fromkeys(self.monmap, "x"), self.quorum).keeps_quorum_without(mon_id)
                self.monmap.discard(mon_id)
            case _:
                raise AssertionError(action)

    def write(self, obj: dict[str, Any]) -> None:
        made = live_object(obj)
        if obj["kind"] == "Service":
            number = id_number(obj["metadata"]["name"].removeprefix("rook-ceph-mon-"))
            made["spec"] = {**made["spec"], "clusterIP": f"10.0.{number // 250}.{1 + number % 250}"}
        self.live[obj["kind"], obj["metadata"]["name"]] = made

    def processes(self) -> None:
        """What runs begins where it can, and joins where there is a quorum, or nobody yet."""
        for mon_id in self.members:
            well = ("Deployment", f"rook-ceph-mon-{mon_id}") in self.live and mon_id not in self.dead
            if well and self.node_of(mon_id) not in self.broken | self.gone:
                self.alive.add(mon_id)
            if mon_id in self.alive and mon_id not in self.monmap and (self.quorum or not self.monmap):
                self.monmap.add(mon_id)
        out = {m: self.out_since.get(m, self.now) for m in self.members if m not in self.quorum}
        self.out_since = out

    def spares(self, *mon_ids: str) -> bool:
        """Whether a majority of the monmap lives without these."""
        return len((self.alive & self.monmap).difference(mon_ids)) > len(self.monmap) // 2

    # ---- What may happen

    def kill(self, number: int) -> None:
        """A process dies for good; `back` may bring it back."""
        candidates = sorted(m for m in self.alive if self.spares(m))
        if candidates:
            victim = candidates[number % len(candidates)]
            self.alive.discard(victim)
            self.dead.add(victim)

    def back(self, number: int) -> None:
        if self.dead:
            self.dead.discard(sorted(self.dead)[number % len(self.dead)])

    def lose_node(self, number: int) -> None:
        name = self.node_names[number % len(self.node_names)]
        there = [m for m in self.alive if self.node_of(m) == name]
        if self.spares(*there):
            self.gone.add(name)
            self.alive.difference_update(there)

    def break_node(self, number: int) -> None:
        """What runs there goes on; nothing begins there any more."""
        self.broken.add(self.node_names[number % len(self.node_names)])

    def mend(self, _: int) -> None:
        self.gone.clear()
        self.broken.clear()

    def keep(self, number: int) -> None:
        members = self.members
        if members:
            self.kept.symmetric_difference_update({members[number % len(members)]})

    def edit(self, number: int) -> None:
        self.count = 1 + number % MOST

    def wait(self, number: int) -> None:
        self.now += (5.0, 60.0, PATIENCE + 1)[number % 3]
        self.processes()


EVENTS = ("kill", "back", "lose_node", "break_node", "mend", "keep", "edit", "wait", "look")


@given(
    nodes=st.integers(MOST, MOST + 3),
    count=st.integers(1, MOST),
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 59)), max_size=60),
)
def test_the_quorum_is_kept_and_the_wanted_mons_come(nodes: int, count: int, events: list[tuple[str, int]]) -> None:
    run = Simulation(tuple(f"n{n}" for n in range(1, nodes + 1)), count)
    until_settled(run)
    for name, number in events:
        if name == "look":
            run.look()
        else:
            getattr(run, name)(number)
        assert run.quorum, "the simulation itself never takes the majority"
        assert len(run.monmap) <= MOST + 2, "the monmap does not grow without limit"
        assert len(run.members) <= 2 * MOST + 1
    run.mend(0)
    run.kept.clear()
    until_settled(run)


def until_settled(run: Simulation) -> None:
    for _ in range(400):
        run.look()
        if run.settled:
            return
        run.now += 40.0
    raise AssertionError(
        f"of {run.count} wanted, members {run.members}, monmap {sorted(run.monmap)}, quorum {sorted(run.quorum)}: "
        + "; ".join(f"{s.subject} {s.title}: {s.reason} <- {s.waits_for}" for s in run.steps())
    )


def replaced_after(run: Simulation, *dead: str) -> None:
    until_settled(run)
    for mon_id in dead:
        run.alive.discard(mon_id)
        run.dead.add(mon_id)
    until_settled(run)
    assert not set(dead) & set(run.members)


@pytest.mark.parametrize(("nodes", "count", "dead"), [(5, 5, "de"), (7, 5, "de"), (3, 3, "c"), (5, 4, "d")])
def test_mons_that_are_dead_for_good_are_replaced_also_where_only_their_nodes_are_left(
    nodes: int, count: int, dead: str
) -> None:
    replaced_after(Simulation(tuple(f"n{n}" for n in range(1, nodes + 1)), count), *dead)


def test_a_successor_that_does_not_start_is_given_up_for_one_on_another_node() -> None:
    run = Simulation(("n1", "n2", "n3", "n4", "n5"))
    until_settled(run)
    run.broken.add("n4")
    run.alive.discard("c")
    run.dead.add("c")
    until_settled(run)
    assert [run.node_of(m) for m in run.members] == ["n1", "n2", "n5"]


def test_fewer_mons_are_wanted_while_some_are_dead() -> None:
    run = Simulation(("n1", "n2", "n3", "n4", "n5"), 5)
    until_settled(run)
    run.alive -= {"d", "b"}
    run.dead |= {"d", "b"}
    run.count = 3
    for _ in range(4):
        run.look()
    assert run.settled, "at once: that the dead go only helps"
    assert run.members == ("a", "c", "e")


def test_a_mon_that_somebody_works_on_is_neither_replaced_nor_started() -> None:
    run = Simulation(("n1", "n2", "n3", "n4"))
    until_settled(run)
    run.kept.add("b")
    run.alive.discard("b")
    run.dead.add("b")
    for _ in range(40):
        run.look()
        run.now += 60
    assert run.members == ("a", "b", "c")
    (step,) = run.steps()
    assert step.waits_for == f"label {SKIP_LABEL} to be taken off Deployment {Daemon(type='mon', id='b').name}"


# ---- The rule by itself


def the(ids: str, healthy: str, lost: str = "", never_joined: str = "", kept: str = "") -> Members:
    return Members(
        ids=tuple(ids),
        healthy=frozenset(healthy),
        lost=frozenset(lost),
        joined=frozenset(ids) - frozenset(never_joined),
        kept=frozenset(kept),
    )


@pytest.mark.parametrize(
    ("wanted", "members", "change"),
    [
        pytest.param(3, the("abc", "abc"), None, id="all is well"),
        pytest.param(3, the("", ""), Add(3), id="new"),
        pytest.param(3, the("ab", "a"), Add(1), id="one is starting: the caller waits for it"),
        pytest.param(3, the("abc", "ab"), None, id="one may come back"),
        pytest.param(3, the("abc", "ab", "c"), Add(1, "c"), id="one is lost"),
        pytest.param(3, the("abcd", "ab", "c", "d"), Remove("c", after=("d",)), id="its successor starts"),
        pytest.param(3, the("abcd", "abd", "c"), Remove("c"), id="its successor came"),
        pytest.param(3, the("abcd", "abc", "", "d"), Remove("d"), id="it came back before its successor came"),
        pytest.param(3, the("abcd", "ab", "cd", "d"), Add(1, "c"), id="the successor does not come"),
        pytest.param(3, the("abcdef", "ab", "cdef", "def"), Remove("c"), id="none of many successors comes"),
        pytest.param(5, the("abcdef", "abcf", "de"), Remove("e"), id="two are lost, the first successor came"),
        pytest.param(5, the("abcdf", "abcf", "d"), Add(1, "d"), id="and then the second"),
        pytest.param(3, the("abcde", "abc", "de"), Remove("e"), id="fewer are wanted, some are lost"),
        pytest.param(3, the("abcde", "abce"), Remove("d"), id="fewer are wanted, one is away"),
        pytest.param(5, the("abcdefg", "abcd"), Remove("g"), id="fewer are wanted, too many are away"),
        pytest.param(3, the("abcd", "abcd"), Remove(), id="fewer are wanted"),
        pytest.param(3, the("abc", "ac", "", "", "b"), None, id="one is worked on"),
        pytest.param(5, the("abcde", "ace", "d", "", "b"), Add(1, "d"), id="one is worked on, another is lost"),
        pytest.param(1, the("ab", "", "", "", "ab"), None, id="all are worked on"),
    ],
)
def test_the_next_change(wanted: int, members: Members, change: Add | Remove | None) -> None:
    assert next_change(wanted, members) == change
