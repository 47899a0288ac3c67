"""Drains: whatever is evicted when, one failure domain at a time; and `noout` for as long as a node is drained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.ceph.cluster import DisruptionManagementSpec
from controller.ceph.crush import failure_domain
from controller.ceph.osd import disruption
from controller.ceph.osd.disruption import (
    BUDGET,
    SETTLING,
    STATE,
    HoldOut,
    Member,
    Scene,
    State,
    advance,
    analyze,
    budgets,
    drained,
    handlers,
    look_again,
    parse_state,
    scene,
    state_config_map,
)
from controller.ceph.osd.observation import OsdObservation, OsdState
from controller.ceph.pods import owner_of
from controller.framework.children import Apply, Delete
from controller.runtime.kube import Deployment, Node
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.cases import a_cluster, told
from tests.unit.framework.applied import as_applied

NOW = 1_800_000_000.0
CLEAN = {"active+clean": 30, "active+clean+scrubbing+deep": 1}
UNCLEAN = {"active+clean": 20, "active+undersized+degraded": 11}
DOMAINS = "abc"
MINUTE = 60.0


OWNER = owner_of(a_cluster())


def managed(**fields: Any) -> DisruptionManagementSpec:
    return a_cluster({"disruptionManagement": {"managePodBudgets": True, **fields}}).spec.disruption_management


def members(down: str = "", leaving: str = "") -> tuple[Member, ...]:
    """Two OSDs in each of three domains, by number: a has 0 and 1, b has 2 and 3, and so on."""
    return tuple(
        Member(osd_id=number, domain=domain, up=str(number) not in down, leaving=domain in leaving)
        for number, domain in enumerate("aabbcc")
    )


def seen(state: State | None = None, **fields: Any) -> Scene:
    live = dict(fields.pop("live", {}))
    if state is not None:
        live["ConfigMap", STATE] = as_applied(state_config_map(OWNER, state))
    return Scene(**{"now": NOW, "level": "host", "members": members(), "pgs": CLEAN, "live": live, **fields})


class World:
    """Kubernetes' evictions and Ceph's data, as far as they matter to drains. PG states are shown late."""

    lag = 20.0

    def __init__(self) -> None:
        self.now = NOW
        self.down: dict[int, float] = {}
        self.whole_without: set[int] = set()
        self.leaving: set[str] = set()
        self.noout: set[str] = set()
        self.live: dict[tuple[str, str], dict[str, Any]] = {}
        self.look()

    @property
    def missing(self) -> set[str]:
        """Domains whose data is not elsewhere."""
        return {"aabbcc"[number] for number in self.down if number not in self.whole_without}

    def scene(self) -> Scene:
        late = any(at + self.lag <= self.now for n, at in self.down.items() if n not in self.whole_without)
        down = "".join(map(str, self.down))
        return Scene(
            now=self.now,
            level="host",
            members=members(down, "".join(self.leaving)),
            pgs=UNCLEAN if late else CLEAN,
            noout=frozenset(self.noout),
            live=self.live,
        )

    def look(self, steps: int = 99) -> None:
        """The operator looks, and dies after so many steps."""
        for step in analyze(managed(), OWNER, self.scene())[:steps]:
            action = step.action
            if isinstance(action, Apply):
                meta = action.obj["metadata"]
                self.live[action.obj["kind"], meta["name"]] = as_applied(action.obj) | {
                    "spec": action.obj.get("spec", {})
                }
                self.live[action.obj["kind"], meta["name"]]["metadata"]["uid"] = meta["name"]
            elif isinstance(action, Delete):
                del self.live["PodDisruptionBudget", action.name]
            elif isinstance(action, HoldOut):
                (self.noout.add if action.on else self.noout.discard)(action.unit)
        # Data comes back to an OSD more slowly than the operator sees it up.
        self.whole_without &= parse_state(self.live).absent | set(self.down)

    def may_be_evicted(self, number: int) -> bool:
        """As the eviction API decides: one budget selects the pod, and lets one go."""
        found = [b for (kind, _), b in self.live.items() if kind == "PodDisruptionBudget" and self._selects(b, number)]
        if len(found) != 1:
            return not found
        selected = [other for other in range(6) if self._selects(found[0], other)]
        unhealthy = sum(other in self.down for other in selected)
        return bool(found[0]["spec"]["maxUnavailable"] > unhealthy)

    def _selects(self, budget: dict[str, Any], number: int) -> bool:
        selector = budget["spec"]["selector"]
        labels = {"app": "rook-ceph-osd", "osd": str(number), "topology-location-host": "aabbcc"[number]}
        equal = all(labels.get(key) == value for key, value in selector["matchLabels"].items())
        return equal and not any(labels[e["key"]] in e["values"] for e in selector.get("matchExpressions", ()))

    def evict(self, number: int) -> None:
        self.leaving.add("aabbcc"[number])
        if number not in self.down and self.may_be_evicted(number):
            self.down[number] = self.now

    def uncordon(self, domain: str) -> None:
        self.leaving.discard(domain)
        for number, own in enumerate("aabbcc"):
            if own == domain:
                self.down.pop(number, None)

    def copy(self) -> None:
        """Ceph copies what was on OSDs that it may count out."""
        self.whole_without |= {number for number in self.down if "aabbcc"[number] not in self.noout}


events = st.one_of(
    st.tuples(st.just("evict"), st.integers(0, 5)),
    st.tuples(st.just("uncordon"), st.sampled_from(DOMAINS)),
    st.tuples(st.just("look"), st.integers(0, 6)),
    st.tuples(st.just("wait"), st.sampled_from([5.0, 30.0, 90.0, 31 * MINUTE])),
    st.tuples(st.just("copy"), st.none()),
)


@given(st.lists(events, max_size=40))
def test_never_two_failure_domains_at_once(story: list[tuple[str, Any]]) -> None:
    """Whatever is evicted, comes back or is copied, and whenever the operator looks, dies and looks again."""
    world = World()
    for what, argument in story:
        match what:
            case "evict":
                world.evict(argument)
            case "uncordon":
                world.uncordon(argument)
            case "look":
                world.look(argument)
            case "copy":
                world.copy()
            case _:
                world.now += argument
                world.look()
        assert len(world.missing) <= 1, (what, argument)
    # In the end all come back, and everything is as it was.
    for domain in DOMAINS:
        world.uncordon(domain)
    for _ in range(3):
        world.look()
    assert world.noout == set()
    assert [name for kind, name in world.live if kind == "PodDisruptionBudget"] == [BUDGET]
    assert world.live["PodDisruptionBudget", BUDGET]["spec"]["maxUnavailable"] == 1
    assert parse_state(world.live) == State()


def test_a_node_can_be_drained_whole_and_the_next_waits() -> None:
    world = World()
    world.evict(0)
    assert not world.may_be_evicted(1)
    world.now += 30.0
    world.look()
    assert world.noout == {"a"}
    world.evict(1)
    assert set(world.down) == {0, 1}
    assert not any(world.may_be_evicted(number) for number in (2, 3, 4, 5))
    world.uncordon("a")
    world.look()
    assert world.noout == set()
    assert world.may_be_evicted(2)


def test_a_node_that_stays_away_lets_the_next_one_go_when_its_data_is_elsewhere() -> None:
    world = World()
    world.evict(0)
    world.now += 30.0
    world.look()
    world.copy()
    assert world.missing == {"a"}, "it is not counted out"
    world.now += 31 * MINUTE
    world.look()
    assert world.noout == set()
    world.copy()
    world.now += SETTLING
    world.look()
    assert world.may_be_evicted(2)
    assert parse_state(world.live).absent == {0}


def plan(spec: DisruptionManagementSpec, now: Scene) -> list[str]:
    return told(analyze(spec, OWNER, now))


def test_at_rest_there_is_one_budget() -> None:
    (step,) = analyze(managed(), OWNER, seen())
    assert isinstance(step.action, Apply)
    obj = step.action.obj
    assert obj["metadata"]["name"] == "rook-ceph-osd"
    assert obj["spec"] == {
        "maxUnavailable": 1,
        "selector": {"matchLabels": {"app": "rook-ceph-osd"}},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def test_nothing_is_held_back_without_a_pool() -> None:
    assert analyze(managed(), OWNER, seen(level="")) == ()


def test_nobody_goes_while_placement_groups_are_not_healthy() -> None:
    (budget,) = budgets(managed(), OWNER, State(), seen(pgs=UNCLEAN))
    assert budget["spec"]["maxUnavailable"] == 0


def test_osds_that_are_their_own_failure_domain_go_one_by_one() -> None:
    now = seen(level="osd", members=members("0", "a"), pgs=UNCLEAN)
    state = advance(managed(), State(), now)
    assert (state.draining, state.hold_out) == ("", False)
    (budget,) = budgets(managed(), OWNER, state, now)
    assert (budget["metadata"]["name"], budget["spec"]["maxUnavailable"]) == (BUDGET, 1)


@pytest.mark.parametrize(
    ("down", "leaving", "draining", "hold_out"),
    [
        pytest.param("0", "a", "a", True, id="drained"),
        pytest.param("4", "", "c", False, id="crashed"),
        pytest.param("04", "c", "c", True, id="a drained one goes before one that crashed"),
        pytest.param("24", "", "b", False, id="two crashed"),
    ],
)
def test_who_may_be_drained(down: str, leaving: str, draining: str, hold_out: bool) -> None:
    state = advance(managed(), State(), seen(members=members(down, leaving), pgs=UNCLEAN))
    assert (state.draining, state.hold_out) == (draining, hold_out)


def test_another_domain_that_goes_down_after_the_first_is_back_is_the_one() -> None:
    before = State(draining="a", since=NOW - 99, missing=frozenset({0}), hold_out=False)
    assert advance(managed(), before, seen(members=members("2", "b"), pgs=UNCLEAN)).draining == "b"


def test_a_domain_stays_open_until_placement_groups_are_healthy() -> None:
    before = State(draining="a", since=NOW - 99, missing=frozenset({0}))
    assert advance(managed(), before, seen(pgs=UNCLEAN)).draining == "a"
    assert advance(managed(), before, seen()).draining == ""


def test_noout_is_let_go_after_the_maintenance_timeout() -> None:
    spec = managed(osdMaintenanceTimeout=10)
    held = State(
        draining="a",
        since=NOW - 999,
        missing=frozenset({0}),
        hold_out=True,
        held_at={"a": NOW - 10 * MINUTE},
    )
    now = seen(held, members=members("0", "a"), pgs=UNCLEAN, noout=frozenset({"a"}))
    steps = [s.action for s in analyze(spec, OWNER, now) if isinstance(s.action, HoldOut)]
    assert steps == [HoldOut("a", on=False)]
    again = replace(now, noout=frozenset())
    assert not [s for s in analyze(spec, OWNER, again) if isinstance(s.action, HoldOut)], "it is not set again"
    assert not [s for s in analyze(managed(), OWNER, now) if isinstance(s.action, HoldOut)], "half an hour is not over"


def test_what_an_administrator_holds_is_theirs() -> None:
    now = seen(members=members("0", "a"), pgs=UNCLEAN, noout=frozenset({"a", "b"}))
    assert advance(managed(), State(), now).held_at == {}
    assert not [s for s in analyze(managed(), OWNER, now) if isinstance(s.action, HoldOut)]


def test_the_state_is_written_before_anything_is_done_by_it() -> None:
    world = World()
    world.evict(0)
    world.now += 30.0
    world.live["PodDisruptionBudget", BUDGET]["metadata"]["labels"] = {"app": "rook-ceph-osd"}
    steps = analyze(managed(), OWNER, world.scene())
    assert len({step.lane for step in steps}) == 1
    names = [s.action.obj["metadata"]["name"] if isinstance(s.action, Apply) else s.title for s in steps]
    assert names == [STATE, "rook-ceph-osd-host-b", "rook-ceph-osd-host-c", "Delete", "HoldOut"]


def test_switched_off_everything_goes() -> None:
    state = State(draining="a", since=NOW, missing=frozenset({0}), hold_out=True, held_at={"a": NOW})
    off = managed(managePodBudgets=False)
    closed = budgets(managed(), OWNER, state, seen())
    live = {
        ("PodDisruptionBudget", b["metadata"]["name"]): {**b, "metadata": {**b["metadata"], "uid": "u"}} for b in closed
    }
    now = seen(state, live=live, noout=frozenset({"a"}))
    assert plan(off, now) == ["osds: Apply", "osds: Delete", "osds: Delete", "noout of a: HoldOut"]


def test_budgets_of_others_stay() -> None:
    mons = {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "rook-ceph-mon-pdb", "labels": {"app": "rook-ceph-mon"}},
    }
    steps = analyze(managed(), OWNER, seen(live={("PodDisruptionBudget", "rook-ceph-mon-pdb"): mons}))
    assert not [s for s in steps if isinstance(s.action, Delete)]


def test_state_round_trip() -> None:
    state = State(
        draining="a",
        since=NOW,
        missing=frozenset({0, 12}),
        absent=frozenset({7}),
        hold_out=True,
        held_at={"a": NOW, "b": NOW - 60},
    )
    found = state_config_map(OWNER, state)
    assert found["metadata"]["name"] == "rook-ceph-pdbstatemap"
    assert {key for key in found["data"] if not key.startswith("osds-")} == {
        "draining-failure-domain",
        "draining-failure-domain-duration",
        "set-no-out",
        "a-noout-last-set-at",
        "b-noout-last-set-at",
    }
    assert parse_state({("ConfigMap", STATE): found}) == state
    assert parse_state({}) == State()
    damaged = {"data": {"draining-failure-domain-duration": "x", "osds-missing": "x,1", "a-noout-last-set-at": "?"}}
    assert parse_state({("ConfigMap", STATE): damaged}) == State(missing=frozenset({1}))


def test_healthy_states_are_the_users_to_say() -> None:
    backfilling = {"active+clean": 1, "active+remapped+backfilling": 3}
    assert not disruption.is_clean(managed(), backfilling)
    assert disruption.is_clean(managed(pgHealthyRegex=r"^active\+"), backfilling)


def test_where_the_pattern_is_none_upstreams_counts() -> None:
    odd = managed(pgHealthyRegex="[")
    assert disruption.is_clean(odd, CLEAN)
    assert not disruption.is_clean(odd, UNCLEAN)


@pytest.mark.parametrize(
    ("state", "seconds"),
    [
        (State(), None),
        (State(missing=frozenset({0}), since=NOW - 5), 15.0),
        (State(draining="a", missing=frozenset({0}), since=NOW - 599), 15.0),
        (State(draining="a", missing=frozenset({0}), since=NOW - 3600), None),
        (State(draining="a"), 15.0),
        (State(absent=frozenset({0})), None),
    ],
)
def test_when_to_look_again(state: State, seconds: float | None) -> None:
    assert look_again(seen(state)) == seconds


def test_what_is_told_of_a_drain() -> None:
    state = State(draining="a", missing=frozenset({0}), since=NOW, hold_out=True, held_at={"a": NOW})
    assert drained(managed(), seen(state, noout=frozenset({"a"}))) == (
        "host a is down or drained: OSDs elsewhere are kept from being evicted, and Ceph counts none out until "
        "2027-01-15T08:30:00Z"
    )
    assert drained(managed(), seen()) == ""


def deployment(number: int, node: str, *, ready: int = 1, rack: str = "r1", **annotations: str) -> Deployment:
    labels = {"ceph-osd-id": str(number), "topology-location-host": node, "topology-location-rack": rack}
    record = msgspec.json.encode({"uuid": f"u{number}", "node": node, "path": "/dev/sdb"}).decode()
    progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    return msgspec.convert(
        {
            "metadata": {
                "labels": {key: value for key, value in labels.items() if value},
                "annotations": {"rook.io/osd": record, **annotations},
            },
            "status": {"readyReplicas": ready, "conditions": [progress]},
        },
        Deployment,
    )


def observation(deployments: dict[int, Deployment], *, level: str = "host") -> OsdObservation:
    open_node = msgspec.convert({"metadata": {"name": "a"}}, Node)
    cordoned = msgspec.convert({"metadata": {"name": "b"}, "spec": {"unschedulable": True}}, Node)
    states = {n: OsdState(osd_id=n, uuid=f"u{n}", up=True, is_in=True) for n in deployments}
    return OsdObservation(
        now=NOW, nodes=(open_node, cordoned), deployments=deployments, states=states, failure_domain=level
    )


def test_what_is_seen_of_osds() -> None:
    replaced = deployment(3, "a", ready=0, **{"osd.rook.io/replace-in-progress": "true"})
    found = scene(
        observation(
            {0: deployment(0, "a"), 1: deployment(1, "b", ready=0), 2: deployment(2, "gone"), 3: replaced},
        ),
        CLEAN,
    )
    assert found.members == (
        Member(osd_id=0, domain="a", up=True, leaving=False),
        Member(osd_id=1, domain="b", up=False, leaving=True),
        Member(osd_id=2, domain="gone", up=True, leaving=True),
    )


def test_hosts_tell_osds_apart_where_some_have_no_label_of_the_level() -> None:
    both = {0: deployment(0, "a"), 1: deployment(1, "b")}
    assert {m.domain for m in scene(observation(both, level="rack"), CLEAN).members} == {"r1"}
    found = scene(observation({**both, 2: deployment(2, "c", rack="")}, level="rack"), CLEAN)
    assert (found.level, [m.domain for m in found.members]) == ("host", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([], ""),
        ([("rbd", 0)], "host"),
        ([("rbd", 1), ("data", 0)], "host"),
        ([("rbd", 1)], "rack"),
        ([(".mgr", 0), ("rbd", 1)], "rack"),
        ([(".mgr", 0)], "host"),
        ([("rbd", 2)], "osd"),
        ([("ec", 3)], "host"),
        ([("rbd", 9)], "host"),
    ],
)
def test_failure_domain(pools: list[tuple[str, int]], expected: str) -> None:
    def rule(number: int, *levels: str) -> dict[str, Any]:
        steps = [{"op": "take", "item_name": "default"}, *({"op": "choose_indep", "type": level} for level in levels)]
        return {"rule_id": number, "steps": [*steps, {"op": "emit"}]}

    rules = [rule(0, "host"), rule(1, "rack"), rule(2, "osd"), rule(3, "host", "osd")]
    assert failure_domain([{"pool_name": name, "crush_rule": number} for name, number in pools], rules) == expected


async def test_how_ceph_is_told() -> None:
    ceph = FakeCeph()
    for on in (True, False):
        await handlers(ceph)[HoldOut](HoldOut("a", on))
    arguments = {"flags": "noout", "who": ["a"]}
    assert ceph.asked == [("osd set-group", arguments), ("osd unset-group", arguments)]
