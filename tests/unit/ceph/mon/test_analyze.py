"""Mons: what the analysis plans for every state that they can be in, and the objects that they are made of."""

from __future__ import annotations

import base64
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.access.mons import (
    Endpoints,
    Mon,
    MonState,
    id_name,
    id_number,
    parse_endpoints,
    render_endpoints,
)
from controller.ceph.mon.analyze import (
    NOT_IN_QUORUM,
    DropClaim,
    MonObservation,
    RetireMon,
    StartMon,
    analyze,
    out_of_quorum,
    recover,
)
from controller.ceph.mon.objects import PREPARE_STORE, budget, claim, config_secret, mon_deployment, service
from controller.ceph.pods import Daemon, Release
from controller.ceph.releases import CephVersion
from controller.framework.children import Apply, Delete
from tests.unit.ceph.cases import (
    FSID,
    RELEASE,
    a_cluster,
    a_context,
    a_node,
    a_pod,
    deployment_view,
    live_objects,
    live_services,
    member,
    nodes,
    running_mons,
    told,
)
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster


def plan(cluster: CephCluster, seen: MonObservation) -> list[str]:
    return told(analyze(cluster.spec.mon, a_context(cluster), seen))


def started(cluster: CephCluster, seen: MonObservation) -> list[tuple[str, str]]:
    steps = analyze(cluster.spec.mon, a_context(cluster), seen)
    return [(s.action.mon_id, s.action.node) for s in steps if isinstance(s.action, StartMon) and not s.waits_for]


def retired(cluster: CephCluster, seen: MonObservation) -> list[tuple[str, str]]:
    steps = analyze(cluster.spec.mon, a_context(cluster), seen)
    return [(s.action.mon_id, s.waits_for) for s in steps if isinstance(s.action, RetireMon)]


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


@pytest.mark.parametrize("members", ["abc", "abcde", "a"])
def test_mons_as_they_should_be_need_nothing(members: str) -> None:
    cluster = a_cluster({"mon": {"count": len(members)}})
    assert plan(cluster, running_mons(cluster, members)) == []


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


# ---- Placement


def test_mons_are_spread_over_zones_and_then_over_nodes() -> None:
    cluster = a_cluster()
    zoned = {n: a_node(n, zone=z) for n, z in (("n1", "x"), ("n2", "x"), ("n3", "y"), ("n4", "z"))}
    steps = analyze(cluster.spec.mon, a_context(cluster), MonObservation(nodes=zoned))
    assert [s.action.node for s in steps if isinstance(s.action, StartMon)] == ["n1", "n3", "n4"]


def test_only_nodes_of_the_named_zones_get_mons() -> None:
    cluster = a_cluster({"mon": {"count": 2, "zones": [{"name": "y"}, {"name": "z"}]}})
    zoned = {n: a_node(n, zone=z) for n, z in (("n1", "x"), ("n3", "y"), ("n4", "z"))}
    steps = analyze(cluster.spec.mon, a_context(cluster), MonObservation(nodes=zoned))
    assert [s.action.node for s in steps if isinstance(s.action, StartMon)] == ["n3", "n4"]


def test_every_node_is_told_why_it_gets_no_mon() -> None:
    cluster = a_cluster()
    some = nodes("n1", "n2") | {
        "n6": a_node("n6", unschedulable=True),
        "n7": a_node("n7", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
    }
    seen = replace(running_mons(cluster, "ab"), nodes=some)
    assert plan(cluster, seen)[-1] == (
        "mon c: StartMon <- a node for it: n1 has a mon already; n2 has a mon already; n6 is cordoned; "
        "n7 has taint gpu=yes:NoSchedule, which is not tolerated"
    )


def test_mons_share_nodes_only_when_allowed_to() -> None:
    cluster = a_cluster({"mon": {"count": 3, "allowMultiplePerNode": True}})
    steps = analyze(cluster.spec.mon, a_context(cluster), MonObservation(nodes=nodes("n1", "n2")))
    assert [s.action.node for s in steps if isinstance(s.action, StartMon)] == ["n1", "n2", "n1"]


def test_mons_on_claims_are_bound_to_no_node() -> None:
    cluster = a_cluster({"mon": {"count": 1, "volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}})
    steps = analyze(
        cluster.spec.mon, a_context(cluster), MonObservation(nodes=nodes("n1"), live=live_services(cluster, "a"))
    )
    (start,) = [s.action for s in steps if isinstance(s.action, StartMon)]
    pod = start.objects[-1]["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod
    assert [o["kind"] for o in start.objects] == ["ConfigMap", "Secret", "PersistentVolumeClaim", "Deployment"]


ON_CLAIMS_OF_THE_HOST = {
    "dataDirHostPath": "",
    "network": {"provider": "host"},
    "mon": {"count": 1, "volumeClaimTemplate": {"spec": {"storageClassName": "local-path"}}},
}


def test_with_host_networking_a_mon_on_a_claim_stays_on_its_node_whose_address_it_has() -> None:
    cluster = a_cluster(ON_CLAIMS_OF_THE_HOST)
    (step,) = analyze(cluster.spec.mon, a_context(cluster), MonObservation(nodes={"n1": a_node("n1")}))
    assert isinstance(step.action, StartMon)
    objects = {o["kind"]: o for o in step.action.objects}
    assert list(objects) == ["ConfigMap", "Secret", "PersistentVolumeClaim", "Deployment"]
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "n1.example"}
    assert [v["persistentVolumeClaim"] for v in pod["volumes"] if v["name"] == "data"] == [
        {"claimName": "rook-ceph-mon-a"}
    ]
    assert not [v for v in pod["volumes"] if "hostPath" in v]
    (mon,) = parse_endpoints(objects["ConfigMap"]["data"]).mons
    assert (mon.node, mon.has_claim) == ("n1", True)


def test_a_mon_with_host_networking_whose_data_is_on_its_node_stays_there_when_the_spec_gets_a_claim_template() -> None:
    """An empty claim instead of its store would cost a mon, for each of them at once."""
    before = a_cluster({"network": {"provider": "host"}})
    seen = running_mons(before, "abc")
    seen = replace(seen, live={k: o for k, o in seen.live.items() if k[0] != "Service"})
    assert plan(before, seen) == []
    template = {"spec": {"storageClassName": "local-path"}}
    after = a_cluster({"network": {"provider": "host"}, "mon": {"volumeClaimTemplate": template}})
    assert plan(after, seen) == []


def test_where_a_mon_has_its_data_is_found_again_by_its_deployment() -> None:
    cluster = a_cluster(ON_CLAIMS_OF_THE_HOST)
    bound = Mon("a", "192.0.2.1", "n1", "n1.example", on_claim=True)
    deployed = mon_deployment(cluster.spec.mon, a_context(cluster), bound)
    seen = MonObservation(
        nodes={"n1": a_node("n1")}, deployments={"a": deployment_view(deployed)}, live=live_objects(deployed)
    )
    assert recover(seen).mons == (bound,)


def test_mons_on_claims_are_spread_over_zones_by_the_scheduler() -> None:
    template = {"spec": {"storageClassName": "fast"}}
    pod = _pod(a_cluster({"mon": {"volumeClaimTemplate": template}}))
    (rule,) = pod["topologySpreadConstraints"]
    assert (rule["topologyKey"], rule["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "ScheduleAnyway")
    assert rule["labelSelector"] == {"matchLabels": {"app": "rook-ceph-mon", "rook_cluster": "rook-ceph"}}


def test_mons_on_claims_run_in_the_named_zones_only_and_evenly() -> None:
    zones = [{"name": "y"}, {"name": "x"}]
    mon = {"volumeClaimTemplate": {"spec": {}}, "zones": zones, "failureDomainLabel": "room"}
    pod = _pod(a_cluster({"mon": mon}))
    (rule,) = pod["topologySpreadConstraints"]
    assert (rule["topologyKey"], rule["whenUnsatisfiable"], rule["maxSkew"]) == ("room", "DoNotSchedule", 1)
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "room", "operator": "In", "values": ["x", "y"]}]}


def _pod(cluster: CephCluster) -> dict[str, Any]:
    pod: dict[str, Any] = mon_deployment(cluster.spec.mon, a_context(cluster), Mon("b", "10.0.0.2"))["spec"][
        "template"
    ]["spec"]
    return pod


def test_with_host_networking_a_mon_has_its_nodes_address_and_no_service() -> None:
    cluster = a_cluster({"network": {"provider": "host"}, "mon": {"count": 1}})
    node = a_node("n1")
    (step,) = analyze(cluster.spec.mon, a_context(cluster), MonObservation(nodes={"n1": node}))
    assert isinstance(step.action, StartMon)
    assert step.action.objects[0]["data"]["data"] == f"a={node.status.addresses[0].address}:6789"


# ---- Restarts

NEWER = Release("ceph:v19", CephVersion(19, 2, 3))


def test_mons_are_restarted_one_at_a_time() -> None:
    cluster = a_cluster()
    assert told(analyze(cluster.spec.mon, a_context(cluster, NEWER), running_mons(cluster, "abc"))) == [
        "mon a: Apply",
        "mon b: Apply <- mon a to be restarted",
        "mon c: Apply <- mon a to be restarted",
    ]


def test_a_mon_is_restarted_only_while_the_others_are_in_quorum() -> None:
    cluster = a_cluster()
    assert told(analyze(cluster.spec.mon, a_context(cluster, NEWER), running_mons(cluster, "abc", quorum="ab"))) == [
        "mon a: Apply <- mon c to be in quorum, as mons are restarted one at a time",
        "mon b: Apply <- mon c to be in quorum, as mons are restarted one at a time",
        "mon c: Apply",
        "mon c: Wait <- the mon to join",
    ], "the mon that is out anyway may be restarted: that can heal it"


def test_mons_that_are_broken_are_mended_whoever_else_is_away() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc", quorum="a")
    assert [t for t in told(analyze(cluster.spec.mon, a_context(cluster, NEWER), seen)) if "Apply" in t] == [
        "mon a: Apply <- mon b, mon c to be in quorum, as mons are restarted one at a time",
        "mon b: Apply",
        "mon c: Apply",
    ]


def test_without_a_quorum_a_mon_whose_pod_runs_stays_and_those_whose_pods_do_not_are_mended() -> None:
    """A setting that two of three mons do not start with is taken back."""
    cluster = a_cluster()
    seen = running_mons(cluster, "abc", quorum="")
    broken = {
        m: deployment_view(mon_deployment(cluster.spec.mon, a_context(cluster), member(m)), rolled_out=False)
        for m in "bc"
    }
    seen = replace(seen, deployments={**seen.deployments, **broken})
    assert [t for t in told(analyze(cluster.spec.mon, a_context(cluster, NEWER), seen)) if "Apply" in t] == [
        "mon a: Apply <- mon b, mon c to be restarted",
        "mon b: Apply",
        "mon c: Apply",
    ]


def test_a_restart_waits_for_the_one_before_it_to_be_rolled_out() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    upgraded = mon_deployment(cluster.spec.mon, a_context(cluster, NEWER), member("a"))
    seen = replace(
        seen,
        deployments={**seen.deployments, "a": deployment_view(upgraded, rolled_out=False)},
        live={**seen.live, **live_objects(upgraded)},
    )
    assert told(analyze(cluster.spec.mon, a_context(cluster, NEWER), seen)) == [
        "mon b: Apply <- mon a to be restarted",
        "mon c: Apply <- mon a to be restarted",
    ]


def test_an_upgrade_on_hold_restarts_nothing() -> None:
    cluster = a_cluster()
    assert told(analyze(cluster.spec.mon, a_context(cluster, NEWER), running_mons(cluster, "abc"), hold="peace")) == [
        "mon a: Apply <- peace",
        "mon b: Apply <- peace",
        "mon c: Apply <- peace",
    ]


def test_an_upgrade_on_hold_does_not_stop_the_clock_of_a_dead_mon() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc", quorum="ab")
    steps = analyze(cluster.spec.mon, a_context(cluster, NEWER), seen, hold="peace")
    assert [(s.subject, s.reason) for s in steps if s.action is None] == [("mon c", NOT_IN_QUORUM)]
    seen = replace(seen, seconds_out={"c": 601})
    assert "mon d: StartMon <- an address for Service rook-ceph-mon-d" in told(
        analyze(cluster.spec.mon, a_context(cluster, NEWER), seen, hold="peace")
    )


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


def test_a_deployment_that_was_deleted_is_made_again_at_once() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc", quorum="ab")
    gone = {key: obj for key, obj in seen.live.items() if key != ("Deployment", "rook-ceph-mon-c")}
    seen = replace(seen, live=gone, deployments={m: d for m, d in seen.deployments.items() if m != "c"})
    assert plan(cluster, seen) == ["mon c: Apply", "mon c: Wait <- the mon to join"]


def test_a_service_that_was_deleted_gets_its_address_back() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    gone = {key: obj for key, obj in seen.live.items() if key != ("Service", "rook-ceph-mon-b")}
    (step,) = analyze(cluster.spec.mon, a_context(cluster), replace(seen, live=gone))
    assert isinstance(step.action, Apply)
    assert step.action.obj["spec"]["clusterIP"] == "10.0.0.2"


# ---- Fewer mons


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


# ---- Failover


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


@pytest.mark.parametrize("out", [True, False])
def test_a_mon_that_somebody_works_on_is_left_alone(out: bool) -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc", quorum="ab" if out else "abc", seconds_out={"c": 9999} if out else {})
    found = seen.deployments["c"]
    labels = {**found.metadata.labels, "ceph.rook.io/do-not-reconcile": "true"}
    kept = msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, labels=labels))
    seen = replace(seen, deployments={**seen.deployments, "c": kept})
    waits = "mon c: Wait <- label ceph.rook.io/do-not-reconcile to be taken off Deployment rook-ceph-mon-c"
    assert plan(cluster, seen) == ([waits] if out else [])
    assert waits in told(analyze(cluster.spec.mon, a_context(cluster, NEWER), seen)), "it is not upgraded either"
    assert out_of_quorum(seen) == frozenset(), "its time begins when the work is done"


def test_a_mon_that_is_out_says_what_is_wrong_with_its_pod() -> None:
    cluster = a_cluster()
    pods = {"c": (a_pod(Daemon(type="mon", id="c"), waiting="ImagePullBackOff"),)}
    seen = running_mons(cluster, "abc", quorum="ab", pods=pods)
    assert plan(cluster, seen)[-1] == ("mon c: Wait <- pod rook-ceph-mon-c-x: container mon: ImagePullBackOff: why")


# ---- Members


@pytest.mark.parametrize(("number", "name"), [(0, "a"), (25, "z"), (26, "aa"), (27, "ab"), (701, "zz"), (702, "aaa")])
def test_ids_are_counted_in_letters(number: int, name: str) -> None:
    assert id_name(number) == name
    assert id_number(name) == number


@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::7"])
def test_endpoints_survive_the_config_map(address: str) -> None:
    endpoints = Endpoints((Mon("a", address, "n1", "n1.example"), Mon("c", "10.0.0.9")), 4)
    assert parse_endpoints(render_endpoints(endpoints, "rook-ceph", a_cluster().spec.network)) == endpoints


def test_upstreams_config_map_is_understood() -> None:
    data = {
        "data": "b=10.96.0.5:3300,a=10.96.0.4:3300",
        "maxMonId": "1",
        "mapping": '{"node":{"a":{"Name":"w1","Hostname":"w1.example","Address":"192.0.2.1"},"b":null}}',
    }
    assert parse_endpoints(data) == Endpoints((Mon("b", "10.96.0.5"), Mon("a", "10.96.0.4", "w1", "w1.example")), 1)


def test_members_are_found_again_when_the_config_map_was_deleted() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    nodes_with_members = {m: a_node(m) for m in ("n1", "n2", "n3")}
    assert recover(replace(seen, endpoints=None, nodes=nodes_with_members)) == seen.endpoints


@pytest.mark.parametrize("known_by", ["Secret", "PersistentVolumeClaim", "Deployment"])
def test_an_id_that_was_given_before_the_config_map_was_deleted_is_not_given_again(known_by: str) -> None:
    """Mon d was removed, and its store may still be on its node."""
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    live, deployments = dict(seen.live), dict(seen.deployments)
    if known_by == "Secret":
        assert seen.endpoints is not None
        live |= live_objects(config_secret(a_context(cluster), replace(seen.endpoints, max_id=3), ()))
    elif known_by == "PersistentVolumeClaim":
        live |= live_objects({"kind": known_by, "metadata": {"name": "rook-ceph-mon-d", "namespace": "rook-ceph"}})
    else:
        deployments["d"] = deployment_view(mon_deployment(cluster.spec.mon, a_context(cluster), member("d")))
    found = recover(replace(seen, endpoints=None, live=live, deployments=deployments))
    assert (found.ids, found.max_id) == (("a", "b", "c"), 3)


def test_the_list_of_members_outlives_a_mistaken_deletion() -> None:
    cluster = a_cluster()
    seen = running_mons(cluster, "abc")
    key = ("ConfigMap", "rook-ceph-mon-endpoints")
    without = {k: v for k, v in seen.live[key]["metadata"].items() if k != "finalizers"}
    live = {**seen.live, key: {**seen.live[key], "metadata": without}}
    (step,) = analyze(cluster.spec.mon, a_context(cluster), replace(seen, live=live))
    assert isinstance(step.action, Apply), "one that was made before there was the finalizer gets it"
    assert step.action.obj["metadata"]["finalizers"] == ["ceph.rook.io/disaster-protection"]


# ---- Stores


class Pod:
    """A mon's pod that is about to make its store, on a machine whose tools of Ceph are stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "data"
        self.tools = directory / "bin"
        self.tools.mkdir()
        self.tool("chown", "exit 0")
        self.tool("ceph-mon", self.script("ceph-mon"))
        self.quorum(True)

    def script(self, name: str) -> str:
        made = 'for flag; do case $flag in --mon-data=*) touch "${flag#*=}/kv_backend";; esac; done'
        return made if name == "ceph-mon" else "exit 0"

    def tool(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def quorum(self, answers: bool) -> None:
        self.tool("ceph", f"exit {int(not answers)}")

    def prepare(self, joined: str | None, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.tools}:{os.environ['PATH']}", "DATA_PLACE": "claim x", **more}
        environment |= {} if joined is None else {"ROOK_MONS_JOINED": joined}
        command = ["sh", "-c", PREPARE_STORE, "init-mon-fs", str(self.store), FSID, "b", "--id=b"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    @property
    def has_store(self) -> bool:
        return (self.store / "kv_backend").exists() and (self.store / "rook-fsid").read_text() == f"{FSID}\n"


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.mark.parametrize(
    ("joined", "quorum", "made"),
    [
        pytest.param(None, False, True, id="the Secret is of an operator that did not note it"),
        pytest.param("", False, True, id="a new cluster"),
        pytest.param("a,bb,c", False, True, id="a new mon"),
        pytest.param("a,b,c", True, True, id="it is filled from the others"),
        pytest.param("a,b,c", False, False, id="there are no others"),
        pytest.param("b", False, False, id="the only one"),
    ],
)
def test_a_lost_store_is_made_anew_only_to_be_filled_from_others(
    pod: Pod, joined: str | None, quorum: bool, made: bool
) -> None:
    pod.quorum(quorum)
    done = pod.prepare(joined)
    assert (done.returncode == 0, pod.has_store) == (made, made), done.stderr
    assert made or "mon b has lost its store (claim x is empty)" in done.stderr


@pytest.mark.parametrize(("members", "ciphers", "own_map"), [("b", "aes,aes256k", 1), ("a,b", "x", 0), ("b", "", 0)])
def test_the_first_mon_of_a_release_with_two_types_of_keys_lets_both_in(
    pod: Pod, tmp_path: Path, members: str, ciphers: str, own_map: int
) -> None:
    """What lets in the older type has to be in the map before there is anybody who could change it."""
    for tool in ("monmaptool", "ceph-mon"):
        pod.tool(tool, f'echo {tool} "$@" >> {tmp_path}/asked; ' + pod.script(tool))
    done = pod.prepare("", ROOK_CEPH_MON_INITIAL_MEMBERS=members, ROOK_CEPH_MON_HOST="[v2:x]", MON_CIPHERS=ciphers)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text()
    assert asked.count(f"--fsid {FSID} --addv b [v2:x] --auth-allowed-ciphers {ciphers} /tmp/monmap") == own_map
    assert asked.count("--monmap=/tmp/monmap") == own_map


def test_nobody_else_on_the_node_reads_a_store(pod: Pod) -> None:
    pod.prepare("")
    assert pod.store.stat().st_mode & 0o077 == 0


def test_a_store_that_is_there_needs_no_quorum(pod: Pod) -> None:
    pod.prepare("")
    pod.tool("stat", "echo ceph")
    pod.quorum(False)
    assert pod.prepare("a,b,c").returncode == 0


def test_a_mon_that_joined_is_noted_and_not_forgotten_while_it_is_out() -> None:
    cluster = a_cluster()
    (step,) = analyze(cluster.spec.mon, a_context(cluster), running_mons(cluster, "abc", joined="ab"))
    assert isinstance(step.action, Apply)
    assert base64.b64decode(step.action.obj["data"]["mons_joined"]) == b"a,b,c"
    out = analyze(cluster.spec.mon, a_context(cluster), running_mons(cluster, "abc", quorum="ab"))
    assert not [s for s in out if s.subject == "mons"]


EMPTIED = Endpoints((), 2)


@pytest.mark.parametrize(
    ("changes", "known_by"),
    [
        (
            {"endpoints": EMPTIED},
            "id c (by ConfigMap rook-ceph-mon-endpoints, Secret rook-ceph-config or what is left of it)",
        ),
        ({"endpoints": None, "remnants": ("Deployment rook-ceph-osd-0",)}, "Deployment rook-ceph-osd-0"),
        (
            {"endpoints": Endpoints(), "remnants": ("osd.0 on /dev/sdb of node n1",)},
            "osd.0 on /dev/sdb of node n1",
        ),
    ],
)
def test_no_first_mon_is_made_where_there_were_mons_before(changes: dict[str, Any], known_by: str) -> None:
    """It would make an empty map of OSDs for the same fsid, to which the OSDs that there are do not belong."""
    cluster = a_cluster()
    seen = MonObservation(nodes=nodes("n1", "n2", "n3"), live=live_services(cluster, "a"), **changes)
    (step,) = analyze(cluster.spec.mon, a_context(cluster), seen)
    assert step.action is None
    assert step.waits_for.endswith(f"there were mons before, by {known_by}")


def test_members_that_run_are_found_again_whatever_else_there_is() -> None:
    cluster = a_cluster()
    seen = replace(running_mons(cluster, "abc"), endpoints=None, remnants=("Deployment rook-ceph-osd-0",))
    assert plan(cluster, replace(seen, nodes={m: a_node(m) for m in ("n1", "n2", "n3")})) == []


def test_quorum_is_read_from_the_mons_answer() -> None:
    answer = {
        "quorum_names": ["a", "c"],
        "monmap": {
            "mons": [
                {"name": "a", "public_addrs": {"addrvec": [{"type": "v2", "addr": "10.0.0.1:3300", "nonce": 0}]}},
                {"name": "b", "addr": "10.0.0.2:6789/0"},
                {"name": "c", "public_addrs": {"addrvec": [{"type": "v2", "addr": "[fd00::3]:3300"}]}},
            ]
        },
    }
    assert MonState.parse(answer) == MonState({"a": "10.0.0.1", "b": "10.0.0.2", "c": "fd00::3"}, frozenset({"a", "c"}))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"dataDirHostPath": ""}, "spec.dataDirHostPath is empty"),
        ({"dataDirHostPath": "/etc/ceph/"}, "spec.dataDirHostPath is /etc/ceph/"),
        ({"network": {"provider": "host"}, "mon": {"allowMultiplePerNode": True}}, "spec.mon.allowMultiplePerNode"),
    ],
)
def test_a_spec_that_cannot_be_carried_out_says_so(spec: dict[str, Any], why: str) -> None:
    (step,) = analyze(a_cluster(spec).spec.mon, a_context(a_cluster(spec)), MonObservation(nodes=nodes("n1")))
    assert step.waits_for.startswith(why)


# ---- Objects


def test_deployment_of_a_mon_on_a_node() -> None:
    spec = {
        "placement": {"all": {"tolerations": [{"key": "storage", "operator": "Exists"}]}},
        "resources": {"mon": {"limits": {"memory": "1Gi"}}},
        "annotations": {"mon": {"example": "yes"}},
        "priorityClassNames": {"all": "high"},
    }
    assert_matches_snapshot(
        mon_deployment(a_cluster(spec).spec.mon, a_context(a_cluster(spec)), member("a")), "mon-deployment"
    )


def test_deployment_of_a_mon_on_a_claim() -> None:
    cluster = a_cluster({"mon": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}})
    assert_matches_snapshot(
        mon_deployment(cluster.spec.mon, a_context(cluster), Mon("b", "10.0.0.2")), "mon-deployment-on-claim"
    )


ON_CLAIMS = {"mon": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}}


def on_claims(cluster: CephCluster, members: str, monmap: str, **changes: Any) -> MonObservation:
    """Mons on claims; whoever is in the monmap and not a member was removed. `changes`: of the claims' metadata."""
    seen = running_mons(cluster, members, monmap=monmap)
    assert seen.endpoints is not None
    mons = tuple(Mon(m.id, m.address, on_claim=True) for m in seen.endpoints.mons)
    claims = [claim(cluster.spec.mon, a_context(cluster), mon_id) for mon_id in monmap]
    for made in claims:
        assert made is not None
        made["metadata"] = {**made["metadata"], "uid": "p1", **changes}
    live = {**seen.live, **live_objects(*(c for c in claims if c is not None))}
    return replace(seen, endpoints=replace(seen.endpoints, mons=mons), live=live)


def test_claims_of_mons_are_protected_from_deletion_and_one_of_before_is_made_so() -> None:
    cluster = a_cluster(ON_CLAIMS)
    assert [
        s
        for s in analyze(cluster.spec.mon, a_context(cluster), on_claims(cluster, "abc", "abc"))
        if "Claim" in s.reason
    ] == []
    unprotected = on_claims(cluster, "abc", "abc", finalizers=["kubernetes.io/pvc-protection"])
    steps = [
        s
        for s in analyze(cluster.spec.mon, a_context(cluster), unprotected)
        if "is not protected from deletion" in s.reason
    ]
    assert len(steps) == 3
    assert isinstance(steps[0].action, Apply)
    assert steps[0].action.obj["metadata"]["finalizers"] == ["ceph.rook.io/disaster-protection"]
    assert "spec" not in steps[0].action.obj


@pytest.mark.parametrize("deleted", [False, True])
def test_the_claim_of_a_mon_that_was_removed_is_let_go(deleted: bool) -> None:
    cluster = a_cluster(ON_CLAIMS)
    changes = {"deletionTimestamp": "2027-01-15T08:00:00Z"} if deleted else {}
    seen = on_claims(cluster, "abc", "abcd", **changes)
    assert seen.state is not None
    seen = replace(seen, state=replace(seen.state, monmap={k: v for k, v in seen.state.monmap.items() if k != "d"}))
    dropped = [s.action for s in analyze(cluster.spec.mon, a_context(cluster), seen) if isinstance(s.action, DropClaim)]
    assert dropped == [DropClaim("d", "rook-ceph-mon-d", "uid-rook-ceph-mon-d")]


def test_service_of_a_mon() -> None:
    assert_matches_snapshot(service(a_context(a_cluster()), "a"), "mon-service")


def test_claim_of_a_mon() -> None:
    cluster = a_cluster({"mon": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}})
    made = claim(cluster.spec.mon, a_context(cluster), "a")
    assert made is not None
    assert "ownerReferences" not in made["metadata"], "data outlives the CephCluster"
    assert made["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "10Gi"}},
    }


def test_no_key_is_in_a_mons_arguments() -> None:
    pod = mon_deployment(a_cluster().spec.mon, a_context(a_cluster()), member("a"))["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert not any(arg.startswith("--key=") for arg in container["args"])
        assert not container["securityContext"]["privileged"]
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(("members", "left"), [("ab", None), ("abc", 2), ("abcd", 3), ("abcde", 3), ("abcdefg", 5)])
def test_a_drain_never_takes_the_majority(members: str, left: int | None) -> None:
    made = budget(a_context(a_cluster()), Endpoints(tuple(member(m) for m in members)))
    assert (None if made is None else made["spec"]["minAvailable"]) == left
    assert left is None or left > len(members) // 2


def test_a_broken_mon_does_not_keep_its_node_from_being_drained() -> None:
    made = budget(a_context(a_cluster()), Endpoints(tuple(member(m) for m in "abc")))
    assert made is not None
    assert made["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_mon_that_dies_changes_no_budget() -> None:
    cluster = a_cluster()
    assert plan(cluster, running_mons(cluster, "abc", quorum="ab")) == ["mon c: Wait <- the mon to join"]
