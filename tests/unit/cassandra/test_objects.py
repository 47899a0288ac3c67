"""What a cluster is made of: names and labels of 2018, no rights, no tokens, and nothing that restarts by itself."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from controller.apis.cassandra import CassandraCluster
from controller.cassandra.cluster.analyze import analyze
from controller.cassandra.cluster.objects import budget, client_service, members_service, service_account
from controller.cassandra.cluster.observe import Observation
from controller.cassandra.member.encryption import ClientTls, Encryption, Internode, encryption_of
from controller.cassandra.member.objects import (
    MADE_ANNOTATION,
    claim_template,
    config_map,
    image,
    member_service,
    rack_stateful_set,
    rack_template,
    resources,
    template_hash,
)
from controller.cassandra.member.orders import orders
from controller.cassandra.member.roster import Roster, Seat, Standing
from controller.framework.children import Apply
from controller.framework.monitoring import ApplyMonitor, Monitored
from tests.unit.cassandra.life import spec

SELECTOR = {
    "app": "rook-cassandra",
    "cassandra.rook.io/cluster": "store",
    "cassandra.rook.io/datacenter": "dc1",
    "cassandra.rook.io/rack": "a",
}


def cluster(**changes: Any) -> CassandraCluster:
    wanted = {"metadata": {"name": "store", "namespace": "db", "uid": "u"}, "spec": {**spec(a=2), **changes}}
    return msgspec.convert(wanted, CassandraCluster)


def template(made: CassandraCluster) -> dict[str, Any]:
    (rack,) = made.spec.datacenter.racks
    found: dict[str, Any] = rack_template(made, rack, installer="rook/operator:1", config="config")
    return found


def test_a_rack_is_a_stateful_set_whose_pods_only_the_operator_restarts() -> None:
    made = cluster()
    (rack,) = made.spec.datacenter.racks

    found = rack_stateful_set(made, rack, template(made), [claim_template(made, rack)], replicas=2)

    assert found["metadata"]["name"] == "store-dc1-a"
    assert found["spec"]["podManagementPolicy"] == "Parallel"
    assert found["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert found["spec"]["selector"]["matchLabels"] == SELECTOR
    assert found["spec"]["serviceName"] == "store-members"
    (claim,) = found["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["metadata"]["labels"] == SELECTOR


def test_pods_have_no_rights_and_no_token() -> None:
    found = template(cluster())["spec"]

    assert found["automountServiceAccountToken"] is False
    assert found["serviceAccountName"] == "store-member"
    assert found["securityContext"]["runAsNonRoot"] is True
    for container in (*found["initContainers"], *found["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert service_account(cluster())["automountServiceAccountToken"] is False


def test_only_what_the_user_asks_for_makes_a_pod_out_of_date() -> None:
    made = cluster()
    (rack,) = made.spec.datacenter.racks
    before = template_hash(made, rack)

    newer = rack_template(made, rack, installer="rook/operator:2", config="another")
    assert newer["metadata"]["annotations"]["cassandra.rook.io/template"] == before
    for changes in (
        {"version": "5.0.4"},
        {"config": {"a": 1}},
        {"upgrade": {"restart": "now"}},
        {"annotations": {"a": "b"}},
    ):
        changed = cluster(**changes)
        assert template_hash(changed, changed.spec.datacenter.racks[0]) != before
    for changes in ({"upgrade": {"soakSeconds": 5}}, {"claimRetention": {"whenScaled": "Delete"}}, spec(a=3)):
        changed = cluster(**changes)
        assert template_hash(changed, changed.spec.datacenter.racks[0]) == before


def test_pods_without_encryption_and_monitoring_are_what_they_were_before_there_was_any() -> None:
    """Nobody is restarted by a release that serves these: the digests are those of the release before."""
    made = cluster()
    (rack,) = made.spec.datacenter.racks
    found = template(made)
    for own in ("rook.io/cassandra-program", MADE_ANNOTATION):  # they tell operators apart
        del found["metadata"]["annotations"][own]
    digest = sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]

    assert (template_hash(made, rack), digest) == ("865eacf316629b8a", "9bb3be0105eb2333")
    off = cluster(encryption={"internode": False, "client": ""}, monitoring={"enabled": False})
    assert template_hash(off, rack) == template_hash(made, rack)


def test_a_pod_is_out_of_date_by_the_step_of_encryption_that_the_ring_is_at() -> None:
    made, asked = cluster(), cluster(encryption={"internode": True})
    (rack,) = made.spec.datacenter.racks
    steps = [Encryption(internode=internode, client=client) for internode in Internode for client in ClientTls]

    assert template_hash(asked, rack) == template_hash(made, rack)
    assert len({template_hash(made, rack, step) for step in steps}) == len(steps)
    for step in steps:
        found = rack_template(made, rack, installer="i", config="c", encryption=step)
        assert encryption_of(found["metadata"]["annotations"]) == step
        secrets = [v["secret"]["secretName"] for v in found["spec"]["volumes"] if v["name"] == "tls"]
        assert secrets == (["store-dc1-a-tls"] if step.is_on else [])


MONITORED = cluster(monitoring={"enabled": True}, labels={"release": "prometheus"})


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize("made", [MONITORED, cluster()], ids=["on", "off"])
def test_prometheus_finds_members_by_a_pod_monitor_or_by_annotations(made: CassandraCluster, served: bool) -> None:
    plan = analyze(made, Observation(monitors=Monitored(served=served)), installer="i")
    applied = [step.action.obj for step in plan.steps if isinstance(step.action, Apply)]
    monitors = [step.action.obj for step in plan.steps if isinstance(step.action, ApplyMonitor)]
    (service,) = (o for o in applied if o["metadata"]["name"] == "store-members")

    annotated = made is MONITORED and not served
    assert service["metadata"].get("annotations") == (
        {"prometheus.io/scrape": "true", "prometheus.io/port": "9500", "prometheus.io/path": "/metrics"}
        if annotated
        else None
    )
    assert len(monitors) == int(made is MONITORED and served)
    for found in monitors:
        assert found["metadata"]["labels"]["release"] == "prometheus"
        (port,) = template(made)["spec"]["containers"][0]["ports"][-1:]
        assert found["spec"]["podMetricsEndpoints"] == [{"port": port["name"], "path": "/metrics"}]
        assert found["spec"]["selector"]["matchLabels"].items() <= template(made)["metadata"]["labels"].items()


def test_members_serve_metrics_where_that_is_asked_for() -> None:
    for made, expected in ((MONITORED, True), (cluster(), False)):
        assert ("exporter.yaml" in config_map(made, made.spec.datacenter.racks[0])["data"]) is expected


def test_a_configuration_s_name_changes_with_what_is_in_it() -> None:
    made, changed = cluster(), cluster(config={"concurrent_reads": 16})
    names = {config_map(c, c.spec.datacenter.racks[0])["metadata"]["name"] for c in (made, made, changed)}

    assert len(names) == 2


def test_images_and_resources_are_as_in_2018() -> None:
    assert image(cluster()) == "docker.io/library/cassandra:5.0.3"
    assert image(cluster(repository="my.io/cassandra")) == "my.io/cassandra:5.0.3"
    limits = {"limits": {"memory": "2Gi"}}
    for given in (limits, {"cassandra": limits, "sidecar": {}}):
        racks = [{**spec(a=2)["datacenter"]["racks"][0], "resources": given}]
        made = cluster(datacenter={"name": "dc1", "racks": racks})
        assert resources(made.spec.datacenter.racks[0]) == limits


def test_services_tell_members_from_those_that_serve() -> None:
    assert members_service(cluster())["spec"]["publishNotReadyAddresses"] is True
    found = client_service(cluster())
    assert found["metadata"]["name"] == "store-client"
    assert found["spec"]["publishNotReadyAddresses"] is False
    own = member_service(cluster(), "a", "store-dc1-a-0", seed=True)
    assert own["spec"]["selector"] == {"statefulset.kubernetes.io/pod-name": "store-dc1-a-0"}
    assert own["spec"]["publishNotReadyAddresses"] is True
    assert own["metadata"]["labels"]["cassandra.rook.io/seed"] == "true"


def roster(**seats: Seat) -> Roster:
    return Roster(cluster="store", datacenter="dc1", seats=seats)


def test_only_members_are_seeds_and_who_joins_is_never_told_itself() -> None:
    known = roster(
        a0=Seat(rack="a", ordinal=0, host_id="h0"),
        a1=Seat(rack="a", ordinal=1, host_id="h1"),
        a2=Seat(rack="a", ordinal=2, host_id="h2"),
        b0=Seat(rack="b", ordinal=0, host_id="h3"),
        b1=Seat(rack="b", ordinal=1, standing=Standing.JOINING),
        b2=Seat(rack="b", ordinal=2, standing=Standing.STOPPING, host_id="h5"),
    )
    addresses = {name: f"ip-{name}" for name in known.seats}

    found = orders(known, addresses, {})

    assert found.keys() == {"a0", "a1", "a2", "b0", "b1"}
    assert {record.seeds for record in found.values()} == {("ip-a0", "ip-b0", "ip-a1")}
    assert found["b1"].host_id == ""
    assert not any(record.founder for record in found.values())


def test_a_founder_is_told_so_once_and_alone() -> None:
    first = orders(roster(a0=Seat(rack="a", standing=Standing.FOUNDING)), {"a0": "ip"}, {})
    assert (first["a0"].founder, first["a0"].seeds) == (True, ("ip",))
    later = orders(roster(a0=Seat(rack="a", host_id="h0")), {"a0": "ip"}, {})
    assert (later["a0"].founder, later["a0"].seeds, later["a0"].host_id) == (False, ("ip",), "h0")


def test_who_replaces_a_member_is_told_when_volume_and_address_are_new() -> None:
    seat = Seat(rack="a", ordinal=1, standing=Standing.REPLACING, host_id="lost", replaces="old", volume="claim-1")
    known = roster(a0=Seat(rack="a", host_id="h0"), a1=seat)

    assert "a1" not in orders(known, {"a0": "ip", "a1": "new"}, {"a1": "claim-1"})
    assert "a1" not in orders(known, {"a0": "ip", "a1": "old"}, {"a1": "claim-2"})
    found = orders(known, {"a0": "ip", "a1": "new"}, {"a1": "claim-2"})["a1"]
    assert (found.replace, found.host_id, found.seeds) == ("old", "", ("ip",))


@pytest.mark.parametrize(("allowed", "unready"), [(1, "AlwaysAllow"), (0, "IfHealthyBudget")])
def test_a_drain_takes_one_member_and_none_while_the_ring_changes(allowed: int, unready: str) -> None:
    """Then not even one that is not ready: it may be the one that joins, leaves or is replaced."""
    found = budget(cluster(), allowed=allowed)

    assert found["metadata"]["name"] == "store"
    (reference,) = found["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == ("Cluster", "u", True)
    pods = {key: value for key, value in SELECTOR.items() if key != "cassandra.rook.io/rack"}
    assert pods.items() <= template(cluster())["metadata"]["labels"].items()
    assert found["spec"] == {
        "maxUnavailable": allowed,
        "selector": {"matchLabels": pods},
        "unhealthyPodEvictionPolicy": unready,
    }


@pytest.mark.parametrize("standing", list(Standing))
def test_a_drain_takes_nobody_while_a_member_is_not_settled(standing: Standing) -> None:
    """Neither who comes, goes or is replaced, nor whoever gives or gets its data."""
    known = roster(a0=Seat(rack="a", host_id="h0"), a1=Seat(rack="a", ordinal=1, standing=standing))
    plan = analyze(cluster(), Observation(roster=known), installer="rook/operator:1")
    (allowed,) = (
        step.action.obj["spec"]["maxUnavailable"]
        for step in plan.steps
        if isinstance(step.action, Apply) and step.action.obj["kind"] == "PodDisruptionBudget"
    )

    assert allowed == (1 if standing is Standing.MEMBER else 0)
