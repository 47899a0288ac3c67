"""Where mons are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.ceph.access.mons import Mon, parse_endpoints
from controller.ceph.mon.act import StartMon
from controller.ceph.mon.analyze import analyze
from controller.ceph.mon.objects import mon_deployment
from controller.ceph.mon.observe import MonObservation, recover
from tests.unit.ceph.cases import (
    a_cluster,
    a_context,
    a_node,
    deployment_view,
    live_objects,
    live_services,
    nodes,
    running_mons,
)
from tests.unit.ceph.mon.plans import plan

if TYPE_CHECKING:
    pass


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


def test_with_host_networking_a_mon_has_its_nodes_address_and_no_service() -> None:
    cluster = a_cluster({"network": {"provider": "host"}, "mon": {"count": 1}})
    node = a_node("n1")
    (step,) = analyze(cluster.spec.mon, a_context(cluster), MonObservation(nodes={"n1": node}))
    assert isinstance(step.action, StartMon)
    assert step.action.objects[0]["data"]["data"] == f"a={node.status.addresses[0].address}:6789"
