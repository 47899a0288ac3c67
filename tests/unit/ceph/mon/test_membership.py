"""How mons come, go, and take each other's places."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.access.mons import parse_endpoints
from controller.ceph.mon.act import DropClaim, RetireMon, StartMon
from controller.ceph.mon.analyze import analyze
from controller.ceph.mon.observe import MonObservation
from controller.framework.children import Delete
from tests.unit.ceph.cases import (
    RELEASE,
    a_cluster,
    a_context,
    a_node,
    live_services,
    member,
    nodes,
    running_mons,
    told,
)
from tests.unit.ceph.mon.plans import NEWER, ON_CLAIMS, on_claims, plan, retired, started

if TYPE_CHECKING:
    pass


def test_a_new_cluster_gets_addresses_for_all_mons_first() -> None:
    assert plan(a_cluster(), MonObservation(nodes=nodes("n1", "n2", "n3"))) == [
        "mon a: Apply",
        "mon a: StartMon <- an address for Service rook-ceph-mon-a",
        "mon b: Apply",
        "mon b: StartMon <- mon a to be in quorum",
        "mon c: Apply",
        "mon c: StartMon <- mon a to be in quorum",
    ]


def test_the_first_mon_starts_as_soon_as_it_has_an_address() -> None:
    cluster = a_cluster()
    seen = MonObservation(nodes=nodes("n1", "n2", "n3"), live=live_services(cluster, "a"))
    (start,) = [
        s for s in analyze(cluster.spec.mon, a_context(cluster), seen) if s.subject == "mon a" and not s.waits_for
    ]
    assert isinstance(start.action, StartMon)
    kinds = [(o["kind"], o["metadata"]["name"]) for o in start.action.objects]
    assert kinds == [
        ("ConfigMap", "rook-ceph-mon-endpoints"),
        ("Secret", "rook-ceph-config"),
        ("Deployment", "rook-ceph-mon-a"),
    ], "the mon is entered as a member before it starts"
    assert start.action.objects[0]["data"]["data"] == "a=10.0.0.1:6789"


def test_one_more_mon_joins_when_all_others_are_in_quorum() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "ab")
    live = {**seen.live, **live_services(cluster, "c")}
    assert started(cluster, replace(seen, live=live)) == [("c", "n3")]


@pytest.mark.parametrize(
    ("quorum", "why"),
    [
        ("", "the existing mons to form a quorum"),
        ("a", "mon b to be in quorum, as mons join one at a time"),
    ],
)
def test_no_mon_joins_while_another_is_outside(quorum: str, why: str) -> None:
    cluster = a_cluster()
    assert f"mon c: StartMon <- {why}" in plan(cluster, running_mons(cluster, "ab", quorum=quorum))


def test_no_mon_joins_while_another_leaves() -> None:
    cluster = a_cluster({"mon": {"count": 5}})
    seen = running_mons(cluster, "abc", monmap="abcz", quorum="abcz")
    assert "mon d: StartMon <- mon z to leave the monmap" in plan(cluster, seen)


def test_a_mon_that_joins_while_an_upgrade_is_on_hold_runs_what_the_others_run() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc", quorum="ab", seconds_out={"c": 601})
    seen = replace(seen, live={**seen.live, **live_services(cluster, "d")})

    def image(hold: str) -> str:
        steps = analyze(cluster.spec.mon, a_context(cluster, NEWER), seen, hold=hold)
        (start,) = [s.action for s in steps if isinstance(s.action, StartMon)]
        found: str = start.objects[-1]["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    assert (image("peace"), image("")) == (RELEASE.image, NEWER.image)


@pytest.mark.parametrize(
    ("members", "count", "victim"),
    [("abcde", 3, "e"), ("abc", 1, "c"), ("ab", 1, "b"), ("abcd", 3, "d")],
)
def test_too_many_mons_go_one_by_one(members: str, count: int, victim: str) -> None:
    cluster = a_cluster({"mon": {"count": count}})
    (step,) = analyze(cluster.spec.mon, a_context(cluster), running_mons(cluster, members))
    assert isinstance(step.action, RetireMon)
    assert step.action.mon_id == victim
    assert not step.waits_for
    assert victim not in parse_endpoints(step.action.objects[0]["data"]).ids


def test_a_mon_leaves_the_monmap_before_it_is_deleted() -> None:
    cluster = a_cluster({"mon": {"count": 2}})
    three = running_mons(cluster, "abc")
    two = running_mons(cluster, "ab")
    seen = replace(three, endpoints=two.endpoints, live={**three.live, **two.live})
    seen = replace(seen, live={k: o for k, o in seen.live.items() if k[0] != "PodDisruptionBudget"})
    steps = analyze(cluster.spec.mon, a_context(cluster), seen)
    assert told(steps) == ["mon c: RemoveFromMonmap", "mon c: Delete", "mon c: Delete"]
    assert [s.action.resource.kind for s in steps if isinstance(s.action, Delete)] == ["Deployment", "Service"]
    assert len({s.lane or s.subject for s in steps}) == 1, "in one lane: a failure holds back what comes after"


@pytest.mark.parametrize(
    ("members", "quorum", "goes"),
    [
        ("abcde", "abce", ("d", "")),
        ("abcde", "abc", ("e", "")),
        ("abcde", "", ("e", "the mons to form a quorum")),
    ],
)
def test_of_too_many_mons_one_that_is_away_goes_first(members: str, quorum: str, goes: tuple[str, str]) -> None:
    """Without it the others have a greater majority than with it."""
    cluster = a_cluster({"mon": {"count": 2}})
    assert retired(cluster, running_mons(cluster, members, quorum=quorum)) == [goes]


def test_a_mon_goes_when_the_others_have_the_majority_without_it_and_without_whoever_else_leaves() -> None:
    """Without either of b and c there would be a majority, but not without both."""
    cluster = a_cluster({"mon": {"count": 1, "externalMonIDs": ["x"]}})
    seen = running_mons(cluster, "ab", monmap="abx", quorum="ab")
    assert retired(cluster, seen) == [("b", "enough other mons in quorum to keep the majority without it")]
    seen = running_mons(cluster, "ab", monmap="abc", quorum="abc")
    assert retired(cluster, seen) == [("b", "mon c to leave the monmap")]


def test_the_monmap_keeps_a_mon_without_which_there_is_no_majority() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc", monmap="abcd", quorum="ad")
    assert "mon d: RemoveFromMonmap <- enough other mons in quorum to keep the majority without it" in plan(
        cluster, seen
    )


def test_mons_leave_the_monmap_one_at_a_time() -> None:
    """Without either of b and c the others would still have a majority; without both of them they would not."""
    cluster = a_cluster({"mon": {"count": 2}})
    found = plan(cluster, running_mons(cluster, "ad", monmap="abcd", quorum="abc"))
    assert "mon b: RemoveFromMonmap" in found
    assert "mon c: RemoveFromMonmap <- mon b to leave the monmap" in found


def test_mons_run_by_others_stay_in_the_monmap() -> None:
    cluster = a_cluster({"mon": {"count": 3, "externalMonIDs": ["x"]}})
    assert plan(cluster, running_mons(cluster, "abc", monmap="abcx", quorum="abcx")) == []


def test_mons_that_share_a_node_go_first() -> None:
    cluster = a_cluster({"mon": {"count": 3, "allowMultiplePerNode": True}})
    seen = running_mons(cluster, "abcd")
    assert seen.endpoints is not None
    crowded = tuple(member(m.id, "n1") if m.id in "ab" else m for m in seen.endpoints.mons)
    steps = analyze(
        cluster.spec.mon, a_context(cluster), replace(seen, endpoints=replace(seen.endpoints, mons=crowded))
    )
    assert [s.action.mon_id for s in steps if isinstance(s.action, RetireMon)] == ["b"]


@pytest.mark.parametrize(
    ("health", "seconds", "replaced"),
    [
        ({}, 599, False),
        ({}, 600, True),
        ({"timeout": "30s"}, 31, True),
        ({"timeout": "0"}, 9999, False),
        ({"disabled": True}, 9999, False),
    ],
)
def test_a_mon_that_is_out_for_too_long_is_replaced(health: dict[str, Any], seconds: float, replaced: bool) -> None:
    cluster = a_cluster({"healthCheck": {"daemonHealth": {"mon": health}}})
    seen = running_mons(cluster, "abc", quorum="ac", seconds_out={"b": seconds})
    assert ("mon d: StartMon <- an address for Service rook-ceph-mon-d" in plan(cluster, seen)) is replaced


def test_a_mon_without_its_node_is_replaced_at_once() -> None:
    cluster = a_cluster()
    seen = replace(running_mons(cluster, "abc", quorum="ac"), nodes=nodes("n1", "n3", "n4"))
    assert plan(cluster, seen)[-3:] == [
        "mon b: Wait <- a mon to take its place: node n2 does not exist any more",
        "mon d: Apply",
        "mon d: StartMon <- an address for Service rook-ceph-mon-d",
    ]


def test_the_lost_mon_goes_after_its_replacement_is_in_quorum() -> None:
    cluster = a_cluster()
    out = {"b": 700.0}
    joining = running_mons(cluster, "abcd", monmap="abc", quorum="ac", seconds_out=out)
    assert retired(cluster, joining) == [
        ("b", "mon d to be in quorum, so that the majority is kept without mon b"),
    ]
    joined = running_mons(cluster, "abcd", quorum="acd", seconds_out=out)
    assert retired(cluster, joined) == [("b", "")]


def test_only_one_mon_is_replaced_at_a_time() -> None:
    cluster = a_cluster({"mon": {"count": 5}})
    more = nodes("n1", "n2", "n3", "n4", "n5", "n6", "n7")
    seen = running_mons(cluster, "abcde", quorum="ace", seconds_out={"b": 900, "d": 900}, nodes=more)
    starting = [s for s in plan(cluster, seen) if "StartMon" in s]
    assert starting == ["mon f: StartMon <- an address for Service rook-ceph-mon-f"]


@pytest.mark.parametrize("ready", [True, False])
def test_a_lost_mon_makes_room_where_only_its_node_is_left(ready: bool) -> None:
    cluster = a_cluster()
    node = a_node("n3")
    condition = msgspec.structs.replace(node.status.conditions[0], status="True" if ready else "False")
    node = msgspec.structs.replace(node, status=msgspec.structs.replace(node.status, conditions=(condition,)))
    seen = running_mons(cluster, "abc", quorum="ab", seconds_out={"c": 601}, nodes={**nodes("n1", "n2"), "n3": node})
    (step,) = [
        s for s in analyze(cluster.spec.mon, a_context(cluster), seen) if isinstance(s.action, RetireMon | StartMon)
    ]
    if ready:
        assert isinstance(step.action, RetireMon)
        assert (step.subject, step.waits_for) == ("mon c", "")
        assert step.reason == "in the place of mon c, which is lost; no other node has room for one"
    else:
        assert step.waits_for.startswith("a node for it: n1 has a mon already"), "a mon there would not start either"


@pytest.mark.parametrize("deleted", [False, True])
def test_the_claim_of_a_mon_that_was_removed_is_let_go(deleted: bool) -> None:
    cluster = a_cluster(ON_CLAIMS)
    changes = {"deletionTimestamp": "2027-01-15T08:00:00Z"} if deleted else {}
    seen = on_claims(cluster, "abc", "abcd", **changes)
    assert seen.state is not None
    seen = replace(seen, state=replace(seen.state, monmap={k: v for k, v in seen.state.monmap.items() if k != "d"}))
    dropped = [s.action for s in analyze(cluster.spec.mon, a_context(cluster), seen) if isinstance(s.action, DropClaim)]
    assert dropped == [DropClaim("d", "rook-ceph-mon-d", "uid-rook-ceph-mon-d")]
