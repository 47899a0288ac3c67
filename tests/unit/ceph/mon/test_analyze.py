"""Mons that are members: their restarts, and what they wait for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.mon.analyze import analyze
from controller.ceph.mon.objects import mon_deployment
from controller.ceph.mon.observe import NOT_IN_QUORUM, MonObservation, out_of_quorum
from controller.ceph.pods import Daemon
from controller.framework.children import Apply
from tests.unit.ceph.cases import (
    a_cluster,
    a_context,
    a_pod,
    deployment_view,
    live_objects,
    member,
    nodes,
    running_mons,
    told,
)
from tests.unit.ceph.mon.plans import NEWER, plan

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize("members", ["abc", "abcde", "a"])
def test_mons_as_they_should_be_need_nothing(members: str) -> None:
    cluster = a_cluster({"mon": {"count": len(members)}})
    assert plan(cluster, running_mons(cluster, members)) == []


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
