"""Mgrs: what is planned for every state that they can be in, and the objects that they are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.apis.ceph.cluster import MgrSpec
from controller.ceph.access.users import given
from controller.ceph.mgr.analyze import CAPS, analyze
from controller.ceph.mgr.objects import budgets, keyring_name, metrics_service, mgr_deployment, service_monitor
from controller.ceph.mgr.observe import MgrObservation, MgrState
from controller.ceph.pods import Daemon, Release
from controller.ceph.releases import CephVersion
from controller.framework.children import Apply
from controller.framework.monitoring import SERVICE_MONITOR, ApplyMonitor, DeleteMonitor, Monitored
from tests.unit.ceph.cases import a_cluster, a_context, a_pod, deployment_view, live_object, live_objects, told
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster

NEWER = Release("ceph:v19", CephVersion(19, 2, 3))
ON = frozenset({"prometheus"})


def mgr(mgr_id: str) -> Daemon:
    return Daemon(type="mgr", id=mgr_id)


def running(cluster: CephCluster, ids: str, **changes: Any) -> MgrObservation:
    """Mgrs that run as they should, the first of them active."""
    deployments = {i: mgr_deployment(cluster.spec.mgr, a_context(cluster), mgr(i)) for i in ids}
    keys = [
        {
            "kind": "Secret",
            "metadata": {"name": keyring_name(mgr(i)), "namespace": "rook-ceph", "annotations": given(CAPS)},
        }
        for i in ids
    ]
    found: dict[str, Any] = {
        "state": MgrState(active=ids[:1], standbys=frozenset(ids[1:]), available=True, modules=ON),
        "deployments": {i: deployment_view(obj) for i, obj in deployments.items()},
        "pods": {i: (a_pod(mgr(i), labels={"mgr_role": "active" if i == ids[0] else "standby"}),) for i in ids},
        "live": live_objects(
            *deployments.values(),
            *keys,
            metrics_service(a_context(cluster)),
            *budgets(MgrSpec(count=len(ids)), a_context(cluster)),
        ),
    }
    return MgrObservation(**{**found, **changes})


def plan(cluster: CephCluster, seen: MgrObservation) -> list[str]:
    return told(analyze(cluster.spec.mgr, a_context(cluster), seen))


@pytest.mark.parametrize("ids", ["a", "ab"])
def test_mgrs_as_they_should_be_need_nothing(ids: str) -> None:
    cluster = a_cluster({"mgr": {"count": len(ids)}})
    assert plan(cluster, running(cluster, ids)) == []


def test_a_new_mgr_gets_its_key_and_then_its_deployment() -> None:
    seen = MgrObservation(state=MgrState())
    assert plan(a_cluster(), seen) == ["mgr a: CreateKeyring", "mgr a: Apply", "mgrs: Apply"]


def test_mgrs_wait_for_a_quorum() -> None:
    assert plan(a_cluster(), MgrObservation()) == ["mgrs: Wait <- the mons to have a quorum"]


def test_a_mgr_that_does_not_report_says_what_is_wrong_with_its_pod() -> None:
    cluster = a_cluster()
    seen = running(cluster, "a", state=MgrState(), pods={"a": (a_pod(mgr("a"), waiting="ImagePullBackOff"),)})
    assert plan(cluster, seen) == ["mgr a: Wait <- pod rook-ceph-mgr-a-x: container mgr: ImagePullBackOff: why"]


def test_standbys_are_restarted_before_the_active_mgr() -> None:
    cluster = a_cluster({"mgr": {"count": 2}})
    steps = analyze(cluster.spec.mgr, a_context(cluster, NEWER), running(cluster, "ab"))
    assert told(steps) == ["mgr b: Apply", "mgr a: Apply <- mgr b to be restarted"]


def test_the_active_mgr_is_not_restarted_before_the_standby_has_reported() -> None:
    cluster = a_cluster({"mgr": {"count": 2}})
    seen = running(cluster, "ab")
    restarted = mgr_deployment(cluster.spec.mgr, a_context(cluster, NEWER), mgr("b"))
    seen = replace(
        seen,
        deployments={**seen.deployments, "b": deployment_view(restarted)},
        live={**seen.live, **live_objects(restarted)},
    )
    assert told(analyze(cluster.spec.mgr, a_context(cluster, NEWER), seen)) == ["mgr a: Apply"]
    alone = replace(seen, state=MgrState(active="a", available=True, modules=ON))
    assert told(analyze(cluster.spec.mgr, a_context(cluster, NEWER), alone)) == [
        "mgr b: Wait <- the mgr to report to the mons",
        "mgr a: Apply <- mgr b to report to the mons",
    ]


def test_mgrs_that_serve_nothing_are_mended_at_once() -> None:
    cluster = a_cluster({"mgr": {"count": 2}})
    seen = running(cluster, "ab", state=MgrState())
    assert told(analyze(cluster.spec.mgr, a_context(cluster, NEWER), seen)) == ["mgr a: Apply", "mgr b: Apply"]


def test_a_mgr_is_not_restarted_while_held() -> None:
    cluster = a_cluster()
    steps = analyze(cluster.spec.mgr, a_context(cluster, NEWER), running(cluster, "a"), hold="mon c to be restarted")
    assert told(steps) == ["mgr a: Apply <- mon c to be restarted"]


def test_a_mgr_too_many_goes_with_its_key_and_its_user() -> None:
    cluster = a_cluster({"mgr": {"count": 2}})
    steps = plan(a_cluster(), running(cluster, "ab"))
    assert steps[-4:] == ["mgr b: Delete", "mgr b: RemoveUser", "mgr b: Delete", "mgrs: Delete"]


def test_the_user_of_a_mgr_too_many_goes_also_when_its_deployment_went_before() -> None:
    """The operator died in between: the Secret with the key is what is left."""
    cluster = a_cluster({"mgr": {"count": 2}})
    seen = running(cluster, "ab")
    live = {k: o for k, o in seen.live.items() if k != ("Deployment", "rook-ceph-mgr-b")}
    seen = replace(seen, live=live, deployments={"a": seen.deployments["a"]})
    steps = plan(a_cluster(), seen)
    assert [s for s in steps if s.startswith("mgr b")] == ["mgr b: RemoveUser", "mgr b: Delete"]


def test_a_mgr_gets_the_capabilities_of_a_later_operator() -> None:
    cluster = a_cluster()
    seen = running(cluster, "a")
    live = {**seen.live, ("Secret", keyring_name(mgr("a"))): {"metadata": {"name": keyring_name(mgr("a"))}}}
    assert plan(cluster, replace(seen, live=live)) == ["mgr a: CreateKeyring"]


@pytest.mark.parametrize(
    ("spec", "modules", "always_on", "steps"),
    [
        ({}, frozenset(), frozenset(), ["mgr module prometheus: EnableModule"]),
        ({"monitoring": {"metricsDisabled": True}}, ON, frozenset(), ["mgr module prometheus: DisableModule"]),
        (
            {"mgr": {"modules": [{"name": "rook", "enabled": True}, {"name": "iostat", "enabled": False}]}},
            ON | {"iostat", "nfs"},
            frozenset(),
            ["mgr module rook: EnableModule", "mgr module iostat: DisableModule"],
        ),
        ({"mgr": {"modules": [{"name": "balancer", "enabled": True}]}}, ON, frozenset({"balancer"}), []),
        ({"mgr": {"modules": [{"enabled": True}]}}, ON, frozenset(), []),
    ],
)
def test_modules_follow_the_spec_and_others_are_left_alone(
    spec: dict[str, Any], modules: frozenset[str], always_on: frozenset[str], steps: list[str]
) -> None:
    cluster = a_cluster(spec)
    state = MgrState(active="a", available=True, modules=modules, always_on=always_on)
    assert plan(cluster, running(cluster, "a", state=state)) == steps


def test_the_service_follows_the_active_mgr() -> None:
    cluster = a_cluster({"mgr": {"count": 2}})
    taken_over = MgrState(active="b", standbys=frozenset("a"), available=True, modules=ON)
    assert plan(cluster, running(cluster, "ab", state=taken_over)) == ["mgr a: LabelMgr", "mgr b: LabelMgr"]


def test_state_is_read_from_mgr_dump() -> None:
    answer = {
        "active_name": "a",
        "available": True,
        "standbys": [{"name": "b"}],
        "modules": ["prometheus"],
        "always_on_modules": {"reef": ["balancer", "status"]},
    }
    assert MgrState.parse(answer) == MgrState("a", frozenset("b"), True, ON, frozenset({"balancer", "status"}))


def test_deployment_of_a_mgr() -> None:
    cluster = a_cluster({"mgr": {"count": 2}, "resources": {"mgr": {"requests": {"memory": "512Mi"}}}})
    assert_matches_snapshot(mgr_deployment(cluster.spec.mgr, a_context(cluster), mgr("a")), "mgr-deployment")


def test_a_mgr_moves_soon_when_its_node_is_gone() -> None:
    pod = mgr_deployment(a_cluster().spec.mgr, a_context(a_cluster()), mgr("a"))["spec"]["template"]["spec"]
    assert [t["tolerationSeconds"] for t in pod["tolerations"] if "unreachable" in t["key"]] == [5]


@pytest.mark.parametrize("known", [True, False])
def test_a_mgr_that_somebody_works_on_is_left_alone(known: bool) -> None:
    cluster = a_cluster()
    seen = running(cluster, "a", **({} if known else {"state": MgrState()}))
    label = {"ceph.rook.io/do-not-reconcile": "true"}
    found = seen.deployments["a"]
    labels = {**found.metadata.labels, **label}
    kept = msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, labels=labels))
    seen = replace(seen, deployments={"a": kept})
    waits = "Wait <- label ceph.rook.io/do-not-reconcile to be taken off Deployment rook-ceph-mgr-a"
    assert plan(cluster, seen) == ([] if known else [f"mgr a: {waits}"])
    assert f"mgr a: {waits}" in told(analyze(cluster.spec.mgr, a_context(cluster, NEWER), seen)), (
        "it is not upgraded either"
    )


def test_a_mgr_too_many_that_somebody_works_on_stays() -> None:
    cluster = a_cluster({"mgr": {"count": 2}})
    seen = running(cluster, "ab")
    found = seen.deployments["b"]
    labels = {**found.metadata.labels, "ceph.rook.io/do-not-reconcile": "true"}
    kept = msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, labels=labels))
    steps = plan(a_cluster(), replace(seen, deployments={**seen.deployments, "b": kept}))
    assert [s for s in steps if s.startswith("mgr b")] == [
        "mgr b: Wait <- label ceph.rook.io/do-not-reconcile to be taken off Deployment rook-ceph-mgr-b"
    ]


def test_a_broken_mgr_does_not_keep_its_node_from_being_drained() -> None:
    (made,) = budgets(MgrSpec(count=2), a_context(a_cluster()))
    assert made["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_with_ipv6_a_mgr_listens_on_it_and_its_service_has_such_an_address() -> None:
    cluster = a_cluster({"network": {"ipFamily": "IPv6"}})
    (container,) = mgr_deployment(cluster.spec.mgr, a_context(cluster), mgr("a"))["spec"]["template"]["spec"][
        "containers"
    ]
    assert {"--ms-bind-ipv4=false", "--ms-bind-ipv6=true"} <= set(container["args"])
    spec = metrics_service(a_context(cluster))["spec"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv6"], "SingleStack")


def test_a_port_of_metrics_that_is_not_served_does_not_break_the_service() -> None:
    (port,) = metrics_service(a_context(a_cluster({"monitoring": {"port": 9999}})))["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (9283, 9283)


def test_mgrs_are_spread_over_the_failure_domains_of_mons() -> None:
    cluster = a_cluster({"mon": {"failureDomainLabel": "room"}})
    (rule,) = mgr_deployment(cluster.spec.mgr, a_context(cluster), mgr("a"))["spec"]["template"]["spec"][
        "topologySpreadConstraints"
    ]
    assert (rule["topologyKey"], rule["whenUnsatisfiable"]) == ("room", "ScheduleAnyway")


MONITORED = {"monitoring": {"enabled": True, "interval": "30s"}, "labels": {"monitoring": {"team": "storage"}}}


def test_where_there_are_service_monitors_one_is_made() -> None:
    cluster = a_cluster(MONITORED)
    seen = running(cluster, "a", monitors=Monitored(served=True))
    (step,) = [s for s in analyze(cluster.spec.mgr, a_context(cluster), seen) if isinstance(s.action, ApplyMonitor)]
    assert isinstance(step.action, ApplyMonitor)
    made = step.action.obj
    assert made["metadata"]["labels"]["team"] == "storage"
    assert made["spec"]["endpoints"] == [{"port": "http-metrics", "path": "/metrics", "interval": "30s"}]
    service = metrics_service(a_context(cluster))
    assert made["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert "annotations" not in service["metadata"]


def test_where_there_are_none_the_service_of_the_metrics_is_annotated_and_no_pod_is() -> None:
    cluster = a_cluster(MONITORED)
    (step,) = analyze(cluster.spec.mgr, a_context(cluster), running(cluster, "a"))
    assert isinstance(step.action, Apply)
    assert (step.action.obj["kind"], step.lane) == ("Service", "mgr metrics")
    assert step.action.obj["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9283",
        "prometheus.io/path": "/metrics",
    }


@pytest.mark.parametrize("monitoring", [{}, {"enabled": True, "metricsDisabled": True}])
def test_a_service_monitor_that_is_not_wanted_goes(monitoring: dict[str, Any]) -> None:
    cluster, monitored = a_cluster({"monitoring": monitoring}), a_cluster(MONITORED)
    there = live_object(service_monitor(a_context(monitored)))
    seen = running(cluster, "a", monitors=Monitored(True, {("ServiceMonitor", "rook-ceph-mgr"): there}))
    steps = analyze(cluster.spec.mgr, a_context(cluster), seen)
    assert [s.action for s in steps if isinstance(s.action, DeleteMonitor)] == [
        DeleteMonitor(SERVICE_MONITOR, "rook-ceph", "rook-ceph-mgr", "uid-rook-ceph-mgr")
    ]
